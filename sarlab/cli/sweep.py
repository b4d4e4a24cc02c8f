"""``sarlab sweep``: run a plan."""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from pathlib import Path

from sarlab.errors import SarlabError
from sarlab.lab.executors import EXECUTORS, Finished, Settings, cores, execute
from sarlab.lab.faults import check_writable
from sarlab.lab.jobs import Job, jobs_of
from sarlab.lab.plans import load_plan, plan_names
from sarlab.lab.progress import Progress, duration
from sarlab.lab.studies import StudyJob, study_jobs

EPILOG = """
examples:
  sarlab sweep quick                                  the default plan, on the embedded real scenes
  sarlab sweep quick --scenes my.tif --quantity db    the same on a scene of your own
  sarlab sweep my-plan.toml --executor inline         without Jupyter, for a bare GPU machine
  sarlab sweep full --dry-run                         what would run, how long, in how much memory
  sarlab sweep full --executor dask                   worker processes of this machine, one for each GPU
  sarlab sweep full --executor dask --scheduler tcp://10.0.0.7:8786     a Dask cluster that runs already
  sarlab sweep full --only '*-r16-c16-*'              some runs of a plan
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
    parser.add_argument(
        "--only", metavar="PATTERN", help="only runs whose id contains PATTERN, or matches it: '*-c16-*'"
    )
    parser.add_argument("--retry-failed", action="store_true", help="run failed runs again")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would run, how long and in how much memory, and stop"
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Arguments that say which runs are meant; shared with ``sarlab report``."""
    parser.add_argument("--scenes", metavar="NAME|PATH", help="scenes of the catalog, a file or a folder")
    parser.add_argument("--quantity", choices=("auto", "complex", "amplitude", "intensity", "db"), default=None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")


def run(args: argparse.Namespace) -> int:
    """Execute the plan; exit status 1 if a run failed, 3 if time ran out."""
    plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
    jobs = select(jobs_of(plan, args.runs), args.only)
    if not jobs:
        raise SarlabError(f"no run of plan '{plan.name}' has '{args.only}' in its id")
    studies = [] if args.only else study_jobs(plan.studies, plan.runs[0].scenes, args.runs)
    states = {job.run_id: job.state for job in jobs}
    todo = [job for job in jobs if states[job.run_id] != "complete"]
    skipped = [job for job in todo if states[job.run_id] == "failed" and not args.retry_failed]
    todo = [job for job in todo if job not in skipped]
    counts = f"{len(jobs)} runs, {len(jobs) - len(todo) - len(skipped)} complete, {len(todo)} to do"
    print(f"{plan.name}: {counts}" + (f", {len(skipped)} failed before" if skipped else ""), flush=True)
    tell_skipped(skipped)
    start = time.monotonic()
    deadline = None if args.time_budget is None else start + args.time_budget
    settings = Settings(args.device, args.workers, deadline, args.scheduler, args.notebooks)
    if args.dry_run:
        foretell(jobs, todo, states, args.executor, settings)
        for study in studies:
            print(f"  {'complete' if study.manifest else 'waiting':<12}study {study.name}")
        return 0
    if todo or not all(study.manifest for study in studies):
        check_writable(args.runs)
    ended: list[Finished] = []
    if todo:
        with Progress(todo) as progress:
            ended = execute(todo, args.executor, settings, progress)
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


def tell_skipped(jobs: list[Job]) -> None:
    """Say which runs failed before and are not tried again."""
    for job in jobs:
        print(f"  failed  {job.run_id}: {job.failure.get('message', '')} (--retry-failed runs it again)")


def select(jobs: list[Job], only: str | None) -> list[Job]:
    """Jobs whose id contains a text, or matches a pattern with ``*``, ``?`` or ``[…]``."""
    return [job for job in jobs if matches(job.run_id, only)]


def matches(run_id: str, only: str | None) -> bool:
    """Whether an id contains a text, or matches a pattern; every id does where there is none."""
    if not only:
        return True
    pattern = only if any(sign in only for sign in "*?[") else f"*{only}*"
    return fnmatch.fnmatchcase(run_id, pattern)


def foretell(jobs: list[Job], todo: list[Job], states: dict[str, str], executor: str, settings: Settings) -> None:
    """Print every run with its state, and what those that are to do will take."""
    from sarlab.lab.forecast import forecast, together

    estimates = dict(zip((job.run_id for job in todo), forecast(todo, settings), strict=True))
    for job in jobs:
        known = estimates.get(job.run_id)
        costs = f"{duration(known.seconds):>10}{known.memory_mb:8.0f} MB" if known else ""
        print(f"  {states[job.run_id]:<12}{job.run_id:<40}{costs}".rstrip())
    if todo:
        whole = together(todo, list(estimates.values()), executor, settings)
        print(f"about {duration(whole.seconds)} and {whole.memory_mb:.0f} MB of memory with {executor} ({whole.basis})")


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
