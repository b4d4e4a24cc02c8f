"""``sarlab train``: train the model of a codec from its plan."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sarlab.errors import SarlabError

_EPILOG = """\
examples:
  sarlab train notebooks/plans/codecs/factorized.toml --out factorized-1.safetensors
  sarlab train plan.toml --out mine.safetensors --checkpoint mine.checkpoint --seconds 3000
                             train for 50 minutes; the same command resumes the training
  SARLAB_MODELS=. sarlab compress scene.tif scene.sarl --codec mine
A plan names its scenes by catalog name or path; relative paths start at the working directory. The result depends on the
plan, the data and the version of PyTorch.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the arguments of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument("plan", type=Path, metavar="PLAN", help="TOML file, like those in notebooks/plans/codecs")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="model file (default: NAME.safetensors, in this folder)"
    )
    parser.add_argument("--allow-missing", action="store_true", help="train without the scenes that are missing")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="file to resume from, written on interruption")
    parser.add_argument("--seconds", type=float, help="stop after this time; needs --checkpoint")
    parser.add_argument("--force", action="store_true", help="replace an existing model")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """Train; returns 0 when finished, 3 if the time was up first."""
    from sarlab.codec.api import refuse_existing, refuse_unwritable
    from sarlab.codec.codec_plans import load_codec_plan, missing_scenes

    plan = load_codec_plan(args.plan)
    target = args.out or Path(f"{plan.name}.safetensors")
    if target.suffix != ".safetensors":
        raise SarlabError(f"{target}: the file name of a model ends in .safetensors")
    if args.seconds is not None and args.checkpoint is None:
        raise SarlabError("--seconds needs --checkpoint; otherwise the training would be lost")
    refuse_existing(target, args.force)
    for path in filter(None, (target, args.checkpoint)):
        refuse_unwritable(path)
    if args.allow_missing and (missing := missing_scenes(plan)):
        print(f"missing, left out: {', '.join(missing)}", file=sys.stderr)

    from tqdm import tqdm

    from sarlab.codec.train_codec import train_codec
    from sarlab.models.storage import History

    steps = plan.training.steps
    with tqdm(total=steps, unit="step", disable=args.quiet or not steps, mininterval=1.0) as bar:

        def on_step(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)

        def report(history: History, steps: int) -> None:
            last = history.validations[-1]
            bar.write(f"step {last.step}: validation cost {last.loss:.4f}, best {history.best_step}", file=sys.stderr)
            if last.step == steps:
                bar.write("fitting tables and writing the model …", file=sys.stderr)

        history = train_codec(
            plan, target, allow_missing=args.allow_missing, checkpoint=args.checkpoint, time_budget=args.seconds,
            progress=None if args.quiet else report, on_step=on_step,
        )  # fmt: skip
    if history.stopped != "finished":
        print(f"stopped after {history.steps_done} of {steps} steps ({history.stopped}); the same command resumes")
        return 3
    print(target)
    return 0
