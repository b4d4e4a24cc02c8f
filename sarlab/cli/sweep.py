"""``sarlab sweep``: run a plan."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sarlab.errors import SarlabError
from sarlab.lab.executors import EXECUTORS, Finished, Settings, cores, execute
from sarlab.lab.jobs import Job, jobs_of
from sarlab.lab.plans import load_plan, plan_names
from sarlab.lab.studies import StudyJob, study_jobs

EPILOG = """
examples:
  sarlab sweep quick                                  the default plan, on the embedded real scenes
  sarlab sweep quick --scenes my.tif --quantity db    the same on a scene of your own
  sarlab sweep my-plan.toml --executor inline         without Jupyter, for a bare GPU machine
  sarlab sweep full --time-budget 3000                stop cleanly after 50 minutes; the same command goes on

A run that is complete is not run again. Runs that failed are reported, kept apart, and tried again with --retry-failed.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of ``sarlab sweep``."""
    parser.epilog = EPILOG
    parser.add_argument("plan", help=f"a plan ({', '.join(plan_names())}) or the path of a .toml file")
    add_selection(parser)
    parser.add_argument("--executor", choices=EXECUTORS, default="papermill", help="default: papermill")
    parser.add_argument("--scheduler", default="", metavar="ADDRESS", help="of a running Dask cluster: tcp://host:8786")
    parser.add_argument("--notebooks", action="store_true", help="dask: execute notebooks on the workers as well")
    parser.add_argument("--device", default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:1")
    parser.add_argument("--workers", type=int, default=0, help="runs at a time; default: chosen by the machine")
    parser.add_argument("--time-budget", type=float, metavar="SECONDS", help="stop cleanly after so many seconds")
    parser.add_argument("--only", metavar="TEXT", help="only runs whose id contains TEXT")
    parser.add_argument("--retry-failed", action="store_true", help="run failed runs again")
    parser.add_argument("--dry-run", action="store_true", help="list what would run, and stop")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Arguments that say which runs are meant; shared with ``sarlab report``."""
    parser.add_argument("--scenes", metavar="NAME|PATH", help="scenes of the catalog, a file or a folder")
    parser.add_argument("--quantity", choices=("auto", "complex", "amplitude", "intensity", "db"), default=None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")


def run(args: argparse.Namespace) -> int:
    """Execute the plan; exit status 1 if a run failed, 3 if time ran out."""
    plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
    jobs = [job for job in jobs_of(plan, args.runs) if not args.only or args.only in job.run_id]
    if not jobs:
        raise SarlabError(f"no run of plan '{plan.name}' has '{args.only}' in its id")
    states = {job.run_id: job.state for job in jobs}
    todo = [job for job in jobs if states[job.run_id] != "complete"]
    skipped = [job for job in todo if states[job.run_id] == "failed" and not args.retry_failed]
    todo = [job for job in todo if job not in skipped]
    counts = f"{len(jobs)} runs, {len(jobs) - len(todo) - len(skipped)} complete, {len(todo)} to do"
    print(f"{plan.name}: {counts}" + (f", {len(skipped)} failed before" if skipped else ""), flush=True)
    for job in skipped:
        print(f"  failed  {job.run_id}: {job.failure.get('message', '')} (--retry-failed runs it again)")
    studies = [] if args.only else study_jobs(plan.studies, plan.runs[0].scenes, args.runs)
    if args.dry_run:
        for job in jobs:
            print(f"  {states[job.run_id]:<12}{job.run_id}")
        for study in studies:
            print(f"  {'complete' if study.manifest else 'waiting':<12}study {study.name}")
        return 0
    start = time.monotonic()
    deadline = None if args.time_budget is None else start + args.time_budget
    settings = Settings(args.device, args.workers, deadline, scheduler=args.scheduler, notebooks=args.notebooks)
    ended = execute(todo, args.executor, settings, Progress(todo, start)) if todo else []
    failed = [item for item in ended if item.outcome == "failed"]
    for item in failed:
        print(f"sarlab: error: {item.job.run_id}: {item.message}", file=sys.stderr)
    missing = [job for job in todo if job.state != "complete"]
    broken = run_studies([study for study in studies if not study.manifest], settings)
    if failed or skipped or broken:
        return 1
    if missing:
        print(f"{len(missing)} runs are left; the same command goes on with them")
        return 3
    return 0


def run_studies(studies: list[StudyJob], settings: Settings) -> int:
    """Compute the studies of a plan; those that fail are told, the others go on. Returns how many failed."""
    failed = 0
    for study in studies:
        if settings.time_left() == 0.0:
            print(f"no time is left for study {study.name}; the same command goes on with it")
            continue
        start = time.monotonic()
        try:
            study.run(settings.workers or cores())
        except (SarlabError, ImportError) as error:
            failed += 1
            print(f"sarlab: error: study {study.name}: {error}", file=sys.stderr)
        else:
            print(f"study {study.name}: {time.monotonic() - start:.1f} s", flush=True)
    return failed


class Progress:
    """Prints a line as each run ends, with the time that is left."""

    def __init__(self, todo: list[Job], start: float):
        self.total, self.done, self.start = len(todo), 0, start

    def __call__(self, item: Finished) -> None:
        self.done += 1
        elapsed = time.monotonic() - self.start
        left = elapsed / self.done * (self.total - self.done)
        print(
            f"[{self.done}/{self.total}] {item.outcome:<11} {item.job.run_id:<38} {item.seconds:6.1f} s"
            f"   about {left / 60:.1f} min left",
            flush=True,
        )
