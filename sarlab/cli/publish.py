"""``sarlab report`` and ``sarlab publish``: finished runs as an HTML report, and in the book of the repository."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sarlab.cli.sweep import add_selection
from sarlab.errors import SarlabError
from sarlab.lab import publish
from sarlab.lab.plans import load_plan, plan_names
from sarlab.lab.results import book_root
from sarlab.lab.runs import Job, jobs_of
from sarlab.lab.studies.study_jobs import study_jobs
from sarlab.lab.sweep import Settings, check_writable
from sarlab.lab.sweep.engine import execute
from sarlab.lab.sweep.notebook import NOTEBOOK

EPILOG = {
    "report": """
examples:
  sarlab report                             the runs of the quick plan below runs/ → _build/html/index.html
  sarlab report --plan full --runs DIR --out DIR
  sarlab report --published                 the published book, from its own tables, without any run
""",
    "publish": """
examples:
  sarlab publish full                 into the book of this checkout; 'make report' renders it
  sarlab publish full --book DIR      into another copy of the book

Refuses a plan with runs that failed or are missing. One seed of each architecture and ratio gets a page as long as there
is room, the others are rows. Only files that an earlier publication wrote are replaced or removed.
""",
}


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of both verbs."""
    parser.epilog = EPILOG[verb]
    if verb == "publish":
        parser.add_argument("plan", help=f"a plan ({', '.join(plan_names())}) or the path of a .toml file")
        parser.add_argument("--book", type=Path, metavar="DIR", help="default: the book of this checkout")
    else:
        parser.add_argument("--plan", default="quick", help="whose runs to show; default: quick")
        parser.add_argument("--out", type=Path, default=Path("_build"), metavar="DIR", help="default: _build")
        parser.add_argument("--published", action="store_true", help="render the published tables as they are")
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    """Make the report, or publish; the last line says where."""
    return run_publish(args) if args.verb == "publish" else run_report(args)


def run_report(args: argparse.Namespace) -> int:
    """Stage a copy of the book, publish into it, render it."""
    check_writable(args.out, "--out")
    if args.published:
        book = publish.stage(args.out)
    else:
        plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
        jobs = jobs_of(plan, args.runs)
        render_missing_pages([job for job in jobs if job.state == "complete"])
        book = publish.stage(args.out)
        manifest = publish.publish(plan, jobs, book)
        missing = f", {manifest['missing']} missing" if manifest["missing"] else ""
        print(f"{manifest['runs']} runs{missing}; rendering", flush=True)
    print(publish.render(book, args.out).resolve())
    return 0


def run_publish(args: argparse.Namespace) -> int:
    """Check the plan and the book, render pages that are missing, publish."""
    plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
    jobs = jobs_of(plan, args.runs)
    book = args.book or book_root()
    publish.check_book(book)
    check_writable(book, "--book")
    publish.check_complete(plan.argument, jobs, study_jobs(plan.studies, plan.runs[0].scenes, args.runs))
    render_missing_pages(publish.with_pages(jobs))
    manifest = publish.publish(plan, jobs, book, tracked=True)
    total = publish.folder_bytes(book / "results", book / "runs")
    print(f"{manifest['runs']} runs, {manifest['pages']} pages, {total / 1e6:.1f} MB in {book}")
    return 0


def render_missing_pages(jobs: Sequence[Job]) -> None:
    """Execute the notebooks of complete runs that have none.

    Raises
    ------
    SarlabError
        Naming the run whose notebook fails.
    """
    bare = [job for job in jobs if not (job.folder / NOTEBOOK).is_file()]
    settings = Settings("dask" if len(bare) > 1 else "inline", notebook=True)
    for item in execute(bare, settings, lambda item: None):
        if item.outcome != "complete":
            raise SarlabError(f"the page of {item.job.run_id} could not be made: {item.message}")
