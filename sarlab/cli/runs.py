"""``sarlab runs``: carry finished runs from one machine to another as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from sarlab.cli.sweep import add_selection, matches, select

EPILOG = """
examples:
  sarlab runs pack full.zip --plan full     the finished runs of a plan and its studies, on the machine that ran them
  sarlab runs pack all.zip                  everything that is finished below runs/
  sarlab runs unpack full.zip               on the machine that makes the report

Runs that are there already stay as they are. Unpacking checks names, sizes and hashes, and writes below --runs only.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of ``sarlab runs``."""
    parser.epilog = EPILOG
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument("file", type=Path, metavar="FILE", help="the pack")
    parser.add_argument("--plan", help="pack: only the runs of this plan; default: all that are complete")
    parser.add_argument("--only", metavar="PATTERN", help="pack: only runs whose id contains PATTERN, or matches it")
    parser.add_argument("--most-gb", type=float, default=8.0, help="unpack: refuse packs of larger files; default: 8")
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    """Pack or unpack, and say what was done."""
    from sarlab.lab import packing
    from sarlab.lab.faults import check_writable

    if args.action == "unpack":
        check_writable(args.runs)
        done = packing.unpack(args.file, args.runs, most_bytes=int(args.most_gb * 1e9))
        kept = f", {len(done.kept)} there already" if done.kept else ""
        print(f"{len(done.runs)} runs{kept} and {len(done.studies)} studies: {done.bytes / 1e6:.1f} MB in {args.runs}")
        return 0
    folders, studies = chosen(args)
    done = packing.pack(folders, args.file, studies=studies)
    left = len(folders) - len(done.runs)
    missing = f" ({left} are not complete and stayed behind)" if left else ""
    print(f"{len(done.runs)} runs{missing} and {len(done.studies)} studies: {done.bytes / 1e6:.1f} MB in {args.file}")
    return 0


def chosen(args: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Folders of runs and tables of studies that are to be packed."""
    if not args.plan:
        folders = sorted(path.parent for path in args.runs.glob("*/manifest.json"))
        return [path for path in folders if matches(path.name, args.only)], sorted(
            (args.runs / "studies").glob("*.csv")
        )
    from sarlab.lab.jobs import jobs_of
    from sarlab.lab.plans import load_plan
    from sarlab.lab.studies import study_jobs

    plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
    jobs = select(jobs_of(plan, args.runs), args.only)
    studies = study_jobs(plan.studies, plan.runs[0].scenes, args.runs)
    return [job.folder for job in jobs], [study.table_path for study in studies if study.manifest]
