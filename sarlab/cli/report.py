"""``sarlab report``: turn finished runs into an HTML report."""

from __future__ import annotations

import argparse
from pathlib import Path

from sarlab.cli.sweep import add_selection
from sarlab.errors import SarlabError
from sarlab.lab.book import render, stage
from sarlab.lab.executors import Settings
from sarlab.lab.executors import render as render_pages
from sarlab.lab.jobs import Job, jobs_of
from sarlab.lab.plans import load_plan
from sarlab.lab.publish import publish

EPILOG = """
examples:
  sarlab report                             the runs of the quick plan below runs/ → _build/html/index.html
  sarlab report --plan full --runs DIR --out DIR
  sarlab report --published                 the published book, from its own tables, without any run
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of ``sarlab report``."""
    parser.epilog = EPILOG
    parser.add_argument("--plan", default="quick", help="whose runs to show; default: quick")
    parser.add_argument("--out", type=Path, default=Path("_build"), metavar="DIR", help="default: _build")
    parser.add_argument("--published", action="store_true", help="render the published tables as they are")
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    """Stage, publish, render; the last line is the path of the report."""
    if args.published:
        book = stage(args.out)
    else:
        plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
        jobs = jobs_of(plan, args.runs)
        complete = [job for job in jobs if job.state == "complete"]
        render_missing_pages(complete)
        book = stage(args.out)
        manifest = publish(plan, jobs, book)
        missing = f", {manifest['missing']} missing" if manifest["missing"] else ""
        print(f"{manifest['runs']} runs{missing}; rendering", flush=True)
    print(render(book, args.out).resolve())
    return 0


def render_missing_pages(jobs: list[Job]) -> None:
    """Execute the notebooks of complete runs that were made without one.

    Raises
    ------
    SarlabError
        Naming the run whose notebook fails.
    """
    unrendered = [item for item in render_pages(jobs, Settings(), lambda item: None) if item.outcome != "complete"]
    if unrendered:
        raise SarlabError(f"the page of {unrendered[0].job.run_id} could not be made: {unrendered[0].message}")
