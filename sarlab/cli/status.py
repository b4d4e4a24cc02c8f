"""``sarlab status``: state of the runs of a plan or a folder."""

from __future__ import annotations

import argparse
import json

from sarlab.cli.sweep import add_pattern, add_selection, matches, select
from sarlab.lab.plans import load_plan, plan_names
from sarlab.lab.runs import STATES, jobs_of, statuses

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
        found = [item for item in statuses(args.runs) if matches(item["run_id"], args.only)]
    totals = {state: sum(item["state"] == state for item in found) for state in STATES}
    if args.json:
        print(json.dumps({"counts": totals, "runs": found}, indent=1))
        return 0
    for item in sorted(found, key=lambda item: STATES.index(item["state"])):
        print(f"  {item['state']:<12}{item['run_id']:<40}{describe(**item)}".rstrip())
    print(", ".join(f"{count} {state}" for state, count in totals.items() if count) or f"no runs below {args.runs}")
    return 0


def describe(
    run_id: str, state: str, seconds=None, step=None, steps=None, holder="", cell=None, reason="", differs=""
) -> str:
    """What is known about a run besides its state."""
    parts = [
        f"{seconds:.1f} s" if seconds is not None else "",
        f"step {step} of {steps}" if step is not None else "",
        f"by {holder}" if holder else "",
        f"cell {cell}: {reason}" if cell is not None else reason,
        differs,
    ]
    return ", ".join(part for part in parts if part)
