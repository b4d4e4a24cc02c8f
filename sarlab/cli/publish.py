"""``sarlab publish``: put the finished runs of a plan into the report that is kept in the repository."""

from __future__ import annotations

import argparse
from pathlib import Path

from sarlab.cli.report import render_missing_pages
from sarlab.cli.sweep import add_selection
from sarlab.lab import release
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import load_plan, plan_names
from sarlab.lab.publish import publish
from sarlab.lab.share import shared_folder
from sarlab.lab.studies import study_jobs

EPILOG = """
examples:
  sarlab publish full                 into book/ of this checkout; 'make report' renders it
  sarlab publish full --book DIR      into another copy of the book

Refuses a plan with runs that failed or are missing. One seed of each architecture and ratio gets a page, the others are
rows. Pages and pictures are kept small, and name no folder of this machine.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of ``sarlab publish``."""
    parser.epilog = EPILOG
    parser.add_argument("plan", help=f"a plan ({', '.join(plan_names())}) or the path of a .toml file")
    parser.add_argument("--book", type=Path, metavar="DIR", help="default: book/ of the checkout")
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    """Check, render pages that are missing, publish."""
    plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
    jobs = jobs_of(plan, args.runs)
    release.check(plan.name, jobs, study_jobs(plan.studies, plan.runs[0].scenes, args.runs))
    render_missing_pages(release.with_pages(jobs))
    book = args.book or shared_folder("book")
    manifest = publish(plan, jobs, book, tracked=True)
    total = release.folder_bytes(book / "results", book / "runs")
    print(f"{manifest['runs']} runs, {manifest['pages']} pages, {total / 1e6:.1f} MB in {book}")
    return 0
