"""``sarlab cost``: memory and time of a plan before it runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math

from sarlab.lab.plans import load_plan, plan_names
from sarlab.specs import ModelSpec

EPILOG = """
examples:
  sarlab cost quick                          every network of the plan: memory, and time on this machine
  sarlab cost quick --memory 2000            and the largest batch that fits into 2000 MB
  sarlab cost my-plan.toml --device cuda --no-time --json

Memory is worked out from shapes alone. Time comes from a few timed steps of each kind of network, and is that of all runs
one after the other; 'sarlab sweep PLAN --dry-run' tells the wall time with several at once.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of ``sarlab cost``."""
    parser.epilog = EPILOG
    parser.add_argument("plan", nargs="?", default="quick", help=f"a plan ({', '.join(plan_names())}) or a .toml file")
    parser.add_argument("--scenes", metavar="NAME|PATH", help="scenes of the catalog, a file or a folder")
    parser.add_argument("--quantity", choices=("auto", "complex", "amplitude", "intensity", "db"), default=None)
    parser.add_argument("--device", default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:1")
    parser.add_argument("--memory", type=float, metavar="MB", help="find the largest batch for so much memory")
    parser.add_argument("--no-time", action="store_true", help="leave the calibration out")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(args: argparse.Namespace) -> int:
    """Print the costs."""
    from sarlab.errors import SarlabError
    from sarlab.lab.cost import calibrate, costs

    if args.memory is not None and not args.memory > 0:
        raise SarlabError(f"--memory must be positive, not {args.memory:g}")
    plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
    found = costs(plan.runs, args.device, budget_mb=args.memory, calibration=None if args.no_time else calibrate)
    total = sum(cost.seconds for cost in found)
    if args.json:
        rows = [
            {
                name: None if isinstance(value, float) and math.isnan(value) else value
                for name, value in {
                    "network": name_of(cost.spec.model), **dataclasses.asdict(cost.spec.model),
                    **{f.name: getattr(cost, f.name) for f in dataclasses.fields(cost) if f.name != "spec"},
                    "batch_size": cost.spec.train.batch_size, "patch_size": cost.spec.train.patch_size,
                }.items()
            }
            for cost in found
        ]  # fmt: skip
        print(
            json.dumps({"plan": plan.name, "seconds": None if math.isnan(total) else total, "networks": rows}, indent=2)
        )
        return 0
    print(f"{plan.name}: {len(plan.runs)} runs of {len(found)} networks")
    head = f"{'network':32}{'runs':>5}{'weights':>10}{'step MB':>9}{'scene MB':>9}{'run MB':>8}"
    print(head + (f"{'batch':>8}" if args.memory else "") + ("" if args.no_time else f"{'seconds':>9}"))
    for cost in found:
        line = (
            f"{name_of(cost.spec.model):32}{cost.runs:5d}{cost.parameters:10d}{cost.training_mb:9.0f}"
            f"{cost.inference_mb:9.0f}{cost.run_mb:8.0f}"
        )
        batch = "" if not args.memory else f"{cost.largest_batch if cost.largest_batch >= 0 else '–':>8}"
        print(line + batch + ("" if args.no_time else f"{cost.seconds:9.0f}"))
    if not args.no_time:
        print(f"all runs one after the other: about {total / 60:.1f} min")
    return 0


def name_of(m: ModelSpec) -> str:
    """Short name of a network: architecture, start, shape of its latent, width and depth."""
    start = "" if m.architecture == "klt" or m.init == "scratch" else f"-{m.init}"
    size = "" if m.architecture == "klt" else f"-w{m.width}-d{m.depth}"
    return f"{m.architecture}{start}-r{m.spatial_reduction}-c{m.latent_channels}{size}"
