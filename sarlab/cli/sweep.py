"""``sarlab sweep``: run a plan."""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sarlab.errors import SarlabError
from sarlab.lab.plans import load_plan, plan_names
from sarlab.lab.runs import FAILURE, Job, jobs_of, read_record
from sarlab.lab.studies.study_jobs import StudyJob, study_jobs
from sarlab.lab.sweep import ENGINES, Finished, Settings, check_writable
from sarlab.lab.sweep.engine import execute, worker_count

EPILOG = """
examples:
  sarlab sweep quick                                  the default plan, on the embedded real scenes
  sarlab sweep quick --scenes my.tif --quantity db    the same on a scene of your own
  sarlab sweep my-plan.toml --no-notebook             only the results, without a page for each run
  sarlab sweep full --dry-run                         every run with its time and memory
  sarlab sweep full --only '*-r16-c16-*'              some runs of a plan, without its studies
  sarlab sweep full --scheduler tcp://10.0.0.7:8786   on the workers of a running Dask cluster
  sarlab sweep smoke --engine inline                  in this process: for debuggers and profilers

Complete runs are not run again: interrupt with Ctrl-C and repeat the command to resume. Runs that failed are reported and
left alone until --retry-failed. Exit status: 0, 1 if a run failed, 3 if the time budget left some, 130 after Ctrl-C.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the arguments of ``sarlab sweep``."""
    parser.epilog = EPILOG
    parser.add_argument("plan", help=f"a plan ({', '.join(plan_names())}) or the path of a .toml file")
    add_selection(parser)
    parser.add_argument(
        "--engine", choices=ENGINES, default="dask",
        help="dask: worker processes; inline: this process, one run after the other (default: dask)",
    )  # fmt: skip
    parser.add_argument("--scheduler", default="", metavar="ADDRESS", help="use this Dask cluster: tcp://host:8786")
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="runs at a time (default: one per GPU, or as the cores allow)"
    )
    parser.add_argument(
        "--notebook", action=argparse.BooleanOptionalAction, default=None,
        help="execute the notebook of each run, which becomes its page, or only its function (default: the notebook; "
        "with --engine inline the function)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto (CUDA if there is a GPU), cpu, cuda, cuda:1")
    parser.add_argument("--time-budget", type=float, metavar="SECONDS", help="stop cleanly after so many seconds")
    add_pattern(parser)
    parser.add_argument("--retry-failed", action="store_true", help="run failed runs again")
    parser.add_argument("--dry-run", action="store_true", help="list the runs with their time and memory, and stop")


def positive(text: str) -> int:
    """Whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that select runs, which several verbs share."""
    parser.add_argument("--scenes", metavar="NAME|PATH", help="scenes of the catalog, a file or a folder")
    parser.add_argument("--quantity", choices=("auto", "complex", "amplitude", "intensity", "db"), default=None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")


def add_pattern(parser: argparse.ArgumentParser) -> None:
    """Add ``--only``."""
    parser.add_argument(
        "--only", metavar="PATTERN", help="only runs whose id contains PATTERN, or matches it: '*-c16-*'"
    )


def run(args: argparse.Namespace) -> int:
    """Execute the plan; exit status 1 if a run failed, 3 if time ran out."""
    plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
    jobs = select(jobs_of(plan, args.runs), args.only)
    if not jobs:
        raise SarlabError(f"no run of plan '{plan.name}' has '{args.only}' in its id")
    studies = [] if args.only else study_jobs(plan.studies, plan.runs[0].scenes, args.runs)
    settings = settings_of(args)
    states = {job.run_id: job.state for job in jobs}
    todo = [job for job in jobs if states[job.run_id] != "complete"]
    skipped = [job for job in todo if states[job.run_id] == "failed" and not args.retry_failed]
    todo = [job for job in todo if job not in skipped]
    counts = [f"{len(jobs)} runs", f"{len(jobs) - len(todo) - len(skipped)} complete", f"{len(todo)} to do"]
    counts += [f"{len(skipped)} failed before"] if skipped else []
    damaged = sum(states[job.run_id] == "damaged" for job in todo)
    counts += [f"{damaged} of them damaged"] if damaged else []
    print(f"{plan.name}: {', '.join(counts)}", flush=True)
    for job in skipped:
        print(
            f"  failed  {job.run_id}: {read_record(job.folder / FAILURE).get('message', '')} (--retry-failed runs it again)"
        )
    if args.dry_run:
        dry_run(jobs, todo, states, settings)
        for study in studies:
            print(f"  {'complete' if study.manifest else 'waiting':<12}study {study.name}")
        return 0
    if todo or not all(study.manifest for study in studies):
        check_writable(args.runs)
    with Progress(todo, worker_count(todo, settings) if todo else 1) as progress:
        ended = execute(todo, settings, progress, progress.say)
    failed = [item for item in ended if item.outcome == "failed"]
    for item in failed:
        print(f"sarlab: error: {item.job.run_id}: {item.message}", file=sys.stderr)
    missing = [job for job in todo if job.state not in ("complete", "failed")]
    broken = run_studies([study for study in studies if not study.manifest], settings)
    if failed or skipped or broken:
        return 1
    if missing:
        print(f"{len(missing)} runs are left; repeat the command to resume")
        return 3
    return 0


def settings_of(args: argparse.Namespace) -> Settings:
    """Settings of a sweep from the command line."""
    if args.scheduler and args.engine == "inline":
        raise SarlabError("--scheduler names a Dask cluster; leave --engine inline out")
    notebook = args.engine == "dask" if args.notebook is None else args.notebook
    if notebook and importlib.util.find_spec("papermill") is None:
        raise SarlabError("notebooks need papermill; run pip install 'sarlab[lab]', or add --no-notebook")
    deadline = None if args.time_budget is None else time.time() + args.time_budget
    return Settings(args.engine, notebook, args.device, args.workers or 0, args.scheduler, deadline)


def select(jobs: list[Job], only: str | None) -> list[Job]:
    """Jobs whose id contains a text, or matches a pattern with ``*``, ``?`` or ``[…]``."""
    return [job for job in jobs if matches(job.run_id, only)]


def matches(run_id: str, only: str | None) -> bool:
    """Return True if an id contains a text or matches a pattern; without one every id does."""
    if not only:
        return True
    pattern = only if any(sign in only for sign in "*?[") else f"*{only}*"
    return fnmatch.fnmatchcase(run_id, pattern)


def dry_run(jobs: list[Job], todo: list[Job], states: dict[str, str], settings: Settings) -> None:
    """Print every run with its state, and the time and memory of those that are to do."""
    from sarlab.lab.cost import calibrate, run_mb, wall_seconds
    from sarlab.lab.machine import pick_device
    from sarlab.scenes.catalog import load_split

    seconds, memory = {}, {}
    if todo:
        speed, device = calibrate([job.spec for job in todo], settings.device), pick_device(settings.device)
        splits = {scenes: load_split(scenes) for scenes in {job.spec.scenes for job in todo}}
        for job in todo:
            seconds[job.run_id] = speed.seconds(job.spec) + (NOTEBOOK_SECONDS if settings.notebook else 0.0)
            memory[job.run_id] = run_mb(job.spec, splits[job.spec.scenes], device)
    for job in jobs:
        costs = f"{duration(seconds[job.run_id]):>10}{memory[job.run_id]:8.0f} MB" if job.run_id in seconds else ""
        print(f"  {states[job.run_id]:<12}{job.run_id:<40}{costs}".rstrip())
    if todo:
        workers = worker_count(todo, settings)
        whole, most = wall_seconds(list(seconds.values()), workers), sum(sorted(memory.values())[-workers:])
        print(f"about {duration(whole)} and {most:.0f} MB of memory, {workers} at a time (from a few timed steps)")


#: Seconds that a kernel takes to start, to import and to draw the figures of a page, beyond the run itself.
NOTEBOOK_SECONDS = 6.0


class Progress:
    """Print a line as each run ends, and on a terminal a bar with the time that is left.

    Parameters
    ----------
    todo : sequence of Job
    workers : int
        Jobs at a time.
    every : float
        Seconds between updates of the bar.
    """

    def __init__(self, todo: Sequence[Job], workers: int, every: float = 2.0):
        from tqdm import tqdm

        self.todo, self.workers, self.every = todo, workers, every
        self.start = time.time()
        self.ended: dict[str, float] = {}
        layout = "{percentage:3.0f}% |{bar:30}| {n_fmt} of {total_fmt} runs{postfix}"
        self.bar = tqdm(
            total=len(todo), file=sys.stdout, disable=None if todo else True, leave=False, bar_format=layout
        )
        self._over = threading.Event()

    def __enter__(self) -> Progress:
        if not self.bar.disable:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.bar.close()

    def __call__(self, item: Finished) -> None:
        """Print how a run ended."""
        measured = item.outcome == "complete" and item.seconds > 0
        self.ended[item.job.run_id] = item.seconds if measured else float("nan")
        self.bar.update()
        count = f"[{len(self.ended)}/{len(self.todo)}]"
        self.say(f"{count} {item.outcome:<11} {item.job.run_id:<38} {item.seconds:6.1f} s   {self.left()}".rstrip())

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.bar.write(text, file=sys.stdout)
        sys.stdout.flush()

    def left(self) -> str:
        """Time that is left in words; empty while too little is known to estimate it."""
        from sarlab.lab.cost import seconds_left

        if len(self.ended) == len(self.todo):
            return f"{duration(time.time() - self.start)} in all"
        seconds = seconds_left(self.todo, self.ended, self.start, self.workers)
        return "" if seconds != seconds else f"about {duration(seconds)} left"

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self.bar.set_postfix_str(self.left())


def duration(seconds: float) -> str:
    """Time for people: ``40 s``, ``12.5 min``, ``3.2 h``."""
    if seconds != seconds:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def run_studies(studies: list[StudyJob], settings: Settings) -> int:
    """Compute the studies of a plan; a failure is reported and the others continue. Returns the number of failures."""
    from sarlab.lab.machine import cores

    failed = 0
    for study in studies:
        if settings.time_left() == 0.0:
            print(f"no time is left for study {study.name}; repeat the command to resume")
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
