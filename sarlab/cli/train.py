"""``sarlab train``: train the model of a codec from its plan."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sarlab.errors import SarlabError

_EPILOG = """\
examples:
  sarlab train notebooks/plans/codecs/hyper.toml --out hyper-3.safetensors
  sarlab train plan.toml --out mine.safetensors --checkpoint mine.checkpoint --seconds 3000
                             train for 50 minutes; the same command goes on from there
  SARLAB_MODELS=. sarlab compress scene.tif --codec mine
A plan names its scenes by catalog name or path (relative paths start where the command is called); scenes that are not
at hand are left out, and the model's file says so. The result depends on the plan, the data and the version of PyTorch.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument("plan", type=Path, metavar="PLAN", help="TOML file, as those in notebooks/plans/codecs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="model's file (default: the plan's name, here)")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="continue from it, and leave it when interrupted"
    )
    parser.add_argument("--seconds", type=float, help="stop after this time; needs --checkpoint")
    parser.add_argument("--force", action="store_true", help="replace an existing model")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the result")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when finished, 3 when the time was over first."""
    from sarlab.codec.api import refuse_existing
    from sarlab.codec.codec_plans import load_codec_plan
    from sarlab.codec.train_codec import train_codec
    from sarlab.models.storage import History

    plan = load_codec_plan(args.plan)
    target = args.out or Path(f"{plan.name}.safetensors")
    if target.suffix != ".safetensors":
        raise SarlabError(f"{target}: the file of a model ends in .safetensors")
    if args.seconds is not None and args.checkpoint is None:
        raise SarlabError("--seconds needs --checkpoint, or what was trained is lost")
    refuse_existing(target, args.force)

    def report(history: History, steps: int) -> None:
        last = history.validations[-1]
        share = f"step {last.step} of {steps}, {history.seconds:.0f} s"
        print(f"{share}: cost {last.loss:.4f}, best at step {history.best_step}", file=sys.stderr, flush=True)

    history = train_codec(
        plan, target, checkpoint=args.checkpoint, time_budget=args.seconds, progress=None if args.quiet else report
    )
    if history.stopped != "finished":
        print(
            f"stopped after {history.steps_done} of {plan.training.steps} steps ({history.stopped}); call again to go on"
        )
        return 3
    print(target)
    return 0
