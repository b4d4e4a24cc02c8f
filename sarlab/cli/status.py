"""``sarlab status``: state of the runs of a plan or a folder."""

from __future__ import annotations

import argparse
import json

from sarlab.cli.sweep import add_pattern, add_selection, matches, select
from sarlab.lab.plans import load_plan, plan_names
from sarlab.lab.runs import RunStatus, counts, jobs_of, statuses

EPILOG = """
examples:
  sarlab status                    every run below runs/
  sarlab status quick              the runs of a plan, also those that were never started
  sarlab status full --json | jq '.runs[] | select(.state == "failed")'

States: complete; running (a process holds its lock); failed (with cell and reason; 'sarlab sweep PLAN --retry-failed' runs
it again); damaged (a file of the results is missing or cut off; the next sweep repairs it); interrupted (the next sweep
continues from its checkpoint); waiting.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the arguments of ``sarlab status``."""
    parser.epilog = EPILOG
    parser.add_argument("plan", nargs="?", help=f"a plan ({', '.join(plan_names())}) or the path of a .toml file")
    add_selection(parser)
    add_pattern(parser)
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(args: argparse.Namespace) -> int:
    """Print one line per run, those that need attention last, and the totals."""
    if args.plan:
        plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
        found = statuses(args.runs, select(jobs_of(plan, args.runs), args.only))
    else:
        found = [item for item in statuses(args.runs) if matches(item.run_id, args.only)]
    totals = counts(found)
    if args.json:
        print(json.dumps({"counts": totals, "runs": [item.to_dict() for item in found]}, indent=1))
        return 0
    order = list(totals)
    for item in sorted(found, key=lambda item: order.index(item.state)):
        print(f"  {item.state:<12}{item.run_id:<40}{describe(item)}".rstrip())
    print(", ".join(f"{count} {state}" for state, count in totals.items() if count) or f"no runs below {args.runs}")
    return 0


def describe(item: RunStatus) -> str:
    """What is known about a run besides its state."""
    parts = [f"{item.seconds:.1f} s"] if item.seconds is not None else []
    parts += [f"step {item.step} of {item.steps}"] if item.step is not None else []
    parts += [f"by {item.holder}"] if item.holder else []
    parts += [f"cell {item.cell}: {item.reason}" if item.cell is not None else item.reason] if item.reason else []
    parts += [item.differs] if item.differs else []
    return ", ".join(parts)
