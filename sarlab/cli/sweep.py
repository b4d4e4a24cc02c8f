"""``sarlab sweep``, ``status``, ``cost``, ``report`` and ``publish``: a plan from its runs to the pages of the book."""

import argparse
import fnmatch
import importlib.util
import sys
import time
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from statistics import fmean

from sarlab.cli import add_options, add_plan, format_table, show
from sarlab.errors import SarlabError
from sarlab.files import check_writable
from sarlab.lab import publish
from sarlab.lab.results import book_root, read_record
from sarlab.lab.runs import FAILURE, STATES, Job, Plan, jobs_of, load_plan, statuses, trains
from sarlab.lab.studies import StudyJob, study_jobs
from sarlab.lab.sweep import ENGINES, Finished, Settings, execute, worker_count

EXAMPLES = {
    "sweep": """\
  sarlab sweep quick --scenes my.tif --quantity db    the default plan, on a scene of your own
  sarlab sweep full --only '*-r16-c16-*' --dry-run    time and memory of some runs

Finished runs are cached: interrupt with Ctrl-C and repeat the command to resume. Failed runs are reported and skipped until
--retry-failed. Exit status: 0 on success, 1 if a run failed, 3 if the time budget ran out, 130 after Ctrl-C.
""",
    "status": """\
  sarlab status quick               the runs of a plan; without a plan, every run in runs/

States: complete; running; failed (repeat it with --retry-failed); damaged (a result file is missing or cut off; the next
sweep repairs it); interrupted (the next sweep continues from its checkpoint); waiting.
""",
    "reproduce": """\
  sarlab reproduce runs/plain-r16-c16-f32-s0-1f3a9c

On the same kind of machine a run repeats itself exactly; on another one arithmetic is ordered differently. The column
'spread' is the standard deviation over the seeds of the run in the same folder. Exit status 1 beyond the tolerance.
""",
    "cost": """\
  sarlab cost quick --memory 2000   every network of the plan, and the largest batch that fits in 2000 MB

Memory is computed from layer shapes, time from a few timed steps of each kind of network. 'sarlab sweep PLAN --dry-run'
estimates the wall-clock time of parallel runs.
""",
    "report": """\
  sarlab report                     the runs of the quick plan in runs/ → _build/html/index.html
""",
    "publish": """\
  sarlab publish full               into the book of this checkout; 'make report' renders it

All runs of the plan must be complete. One seed of each architecture and ratio gets a page while there is room; the others
appear as rows. Only files from earlier publications are replaced or removed.
""",
}
#: Details of the state of a run.
DETAILS = {
    "seconds": "{seconds:.1f} s", "step": "step {step} of {steps}", "holder": "by {holder}", "cell": "cell {cell}",
    "reason": "{reason}", "differs": "{differs}",
}  # fmt: skip
#: Seconds that a kernel takes to start, to import and to draw the figures of a page, beyond the run itself.
NOTEBOOK_SECONDS = 6.0


def load(args: argparse.Namespace) -> tuple[Plan, list[Job]]:
    """Plan of the command line, and its jobs."""
    plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
    return plan, jobs_of(plan, args.runs)


def matches(run_id: str, only: str | None) -> bool:
    """Return True if an id contains a text or matches a pattern with ``*``, ``?`` or ``[…]``; without one every id does."""
    pattern = only if only and any(sign in only for sign in "*?[") else f"*{only or ''}*"
    return fnmatch.fnmatchcase(run_id, pattern)


def duration(seconds: float) -> str:
    """Format a time: ``40 s``, ``12.5 min``, ``3.2 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def add_sweep(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_plan(parser, "--runs", "--only")
    add("--engine", choices=ENGINES, default="dask", help="dask (default): worker processes; inline: this process")
    add("--scheduler", default="", metavar="ADDRESS", help="use this Dask cluster: tcp://host:8786")
    text = "parallel runs (default: one per GPU, or as many as the cores allow)"
    add_options(parser, "--workers", help=text)
    text = "execute the notebook of each run, which becomes its page (default: with dask)"
    add("--notebook", action=argparse.BooleanOptionalAction, default=None, help=text)
    add_options(parser, "--device")
    add("--time-budget", type=float, metavar="SECONDS", help="stop cleanly after this many seconds")
    add("--retry-failed", action="store_true", help="repeat failed runs")
    add("--dry-run", action="store_true", help="list the runs with their estimated time and memory, and stop")


def run_sweep(args: argparse.Namespace) -> int:
    """Execute the plan; exit status 1 if a run failed, 3 if time ran out."""
    plan, jobs = load(args)
    jobs = [job for job in jobs if matches(job.run_id, args.only)]
    if not jobs:
        raise SarlabError(f"no run of plan '{plan.name}' matches '{args.only}'")
    studies = study_jobs(plan.studies, plan.runs[0].scenes, args.runs) if plan.studies and not args.only else []
    if args.scheduler and args.engine == "inline":
        raise SarlabError("--scheduler cannot be combined with --engine inline")
    notebook = args.engine == "dask" if args.notebook is None else args.notebook
    if notebook and importlib.util.find_spec("papermill") is None:
        raise SarlabError("notebooks need papermill; run pip install 'sarlab[lab]', or add --no-notebook")
    deadline = None if args.time_budget is None else time.time() + args.time_budget
    settings = Settings(args.engine, notebook, args.device, args.workers, args.scheduler, deadline)
    states = {job.run_id: job.state for job in jobs}
    skipped = [job for job in jobs if states[job.run_id] == "failed" and not args.retry_failed]
    todo = [job for job in jobs if states[job.run_id] != "complete" and job not in skipped]
    count = Counter(states.values())
    more = f", {len(skipped)} failed earlier" if skipped else ""
    more += f", {count['damaged']} of them damaged" if count["damaged"] else ""
    more += f"; the whole plan takes {plan.takes}" if plan.takes and todo and not args.only else ""
    print(f"{plan.name}: {len(jobs)} runs, {count['complete']} complete, {len(todo)} to do{more}", flush=True)
    for job in skipped:
        reason = read_record(job.folder / FAILURE).get("message", "")
        print(f"  failed  {job.run_id}: {reason} (repeat it with --retry-failed)")
    if args.dry_run:
        dry_run(todo, states, settings)
        for study in studies:
            print(f"  {'complete' if study.manifest else 'waiting':<12}study {study.name}")
        return 0
    if todo or not all(study.manifest for study in studies):
        check_writable(args.runs)
    ended, start = list[Finished](), time.monotonic()

    def report(item: Finished) -> None:
        ended.append(item)
        # a cluster that others started is as parallel as it has been so far
        seconds, busy = time.monotonic() - start, sum(item.seconds for item in ended)
        workers = max(1, busy / seconds if settings.scheduler else worker_count(todo, settings))
        print(ending(ended, todo, workers, seconds), flush=True)

    execute(todo, settings, report, partial(print, flush=True))
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


def dry_run(todo: list[Job], states: dict[str, str], settings: Settings) -> None:
    """Print every run with its state, and the time and memory of those that are to do."""
    costs, total = dict[str, str](), ""
    if todo:
        from sarlab.lab.cost import memory_mb, run_seconds

        specs, workers = [job.spec for job in todo], worker_count(todo, settings)
        memory = memory_mb(specs, settings.device)
        seconds = [one + settings.notebook * NOTEBOOK_SECONDS for one in run_seconds(specs, settings.device)]
        for job, time_, mb in zip(todo, seconds, memory, strict=True):
            costs[job.run_id] = f"{duration(time_):>10}{mb:8.0f} MB"
        whole, most = max(sum(seconds) / workers, *seconds), sum(sorted(memory)[-workers:])
        total = f"about {duration(whole)} and {most:.0f} MB of memory, {workers} at a time (from a few timed steps)\n"
    for run_id, state in states.items():
        print(f"  {state:<12}{run_id:<40}{costs.get(run_id, '')}".rstrip())
    print(total, end="")


def ending(ended: list[Finished], todo: list[Job], workers: float, seconds: float) -> str:
    """Line for the run that ended last, `seconds` after the sweep began, with the time left once it can be estimated."""
    item, done, times = ended[-1], {item.job.run_id for item in ended}, defaultdict[bool, list[float]](list)
    for other in ended:
        times[trains(other.job.spec)].append(other.seconds)  # runs that train take longer
    waiting, left = [trains(job.spec) for job in todo if job.run_id not in done], ""
    if not waiting:
        left = f"{duration(seconds)} in all"
    elif set(waiting) <= set(times):
        left = f"about {duration(sum(fmean(times[kind]) for kind in waiting) / workers)} left"
    run = f"{item.outcome:<11} {item.job.run_id:<38} {item.seconds:6.1f} s"
    return f"[{len(ended)}/{len(todo)}] {run}   {left}".rstrip()


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


def add_status(parser: argparse.ArgumentParser) -> None:
    add_plan(parser, "--runs", "--only", "--json", nargs="?")


def run_status(args: argparse.Namespace) -> int:
    """Print one line per run, those that need attention last, and the totals."""
    found = [i for i in statuses(args.runs, load(args)[1] if args.plan else None) if matches(i["run_id"], args.only)]
    totals = {state: sum(item["state"] == state for item in found) for state in STATES}
    lines = []
    for item in sorted(found, key=lambda item: STATES.index(item["state"])):
        known = [text.format(**item) for name, text in DETAILS.items() if item.get(name) is not None]
        lines.append(f"  {item['state']:<12}{item['run_id']:<40}{', '.join(known)}".rstrip())
    counts = [f"{count} {state}" for state, count in totals.items() if count]
    lines.append(", ".join(counts) or f"no runs in {args.runs}")
    return show(args, {"counts": totals, "runs": found}, "\n".join(lines))


def add_reproduce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of a finished run")
    what = "largest difference of a metric in dB (default: %(default)s)"
    parser.add_argument("--tolerance", type=float, default=0.05, metavar="DB", help=what)
    add_options(parser, "--device", "--json")


def run_reproduce(args: argparse.Namespace) -> int:
    """Repeat a run and print how far its metrics are from those recorded."""
    from sarlab.lab.experiment import reproduce
    from sarlab.metrics import metrics

    table = reproduce(args.folder, device=args.device)
    largest = float(table.loc[[metrics[name].unit == "dB" for name in table["metric"]], "difference"].max())
    same = largest <= args.tolerance
    verdict = f"metrics in dB differ by at most {largest:.3g} dB; the tolerance is {args.tolerance:g} dB"
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    show(args, {"reproduced": same, "largest_db": largest, "metrics": rows}, f"{format_table(rows)}\n{verdict}")
    return 0 if same else 1


def add_cost(parser: argparse.ArgumentParser) -> None:
    add_plan(parser, "--device", nargs="?", default="quick")
    parser.add_argument("--memory", type=float, metavar="MB", help="find the largest batch that fits in this memory")
    parser.add_argument("--no-time", action="store_true", help="skip the estimate of time")
    add_options(parser, "--json")


def run_cost(args: argparse.Namespace) -> int:
    from sarlab.lab.cost import costs, run_seconds

    if args.memory is not None and not args.memory > 0:
        raise SarlabError(f"--memory must be positive, not {args.memory:g}")
    plan = load_plan(args.plan, scenes=args.scenes, quantity=args.quantity)
    seconds = [] if args.no_time else run_seconds(plan.runs, args.device)
    rows = costs(plan.runs, args.device, budget_mb=args.memory, seconds=seconds)
    shown = ["network", "width", "depth", "runs", "parameters", "training_mb", "inference_mb", "run_mb"]
    shown += ["largest_batch"] * (args.memory is not None) + ["seconds"] * (not args.no_time)
    whole = [{key: round(row[key]) if isinstance(row[key], float) else row[key] for key in shown} for row in rows]
    lines = [f"{plan.name}: {len(plan.runs)} runs of {len(rows)} networks", format_table(whole)]
    lines += [f"all runs one after the other: about {duration(sum(seconds))}"] if seconds else []
    report = {"plan": plan.name, "seconds": sum(seconds) if seconds else None, "networks": rows}
    return show(args, report, "\n".join(lines))


def add_report(parser: argparse.ArgumentParser) -> None:
    add_plan(parser, "--runs", name="--plan", default="quick")
    parser.add_argument("--out", type=Path, default=Path("_build"), metavar="DIR", help="folder (default: _build)")
    parser.add_argument("--published", action="store_true", help="render the published tables instead of runs")


def run_report(args: argparse.Namespace) -> int:
    """Stage a copy of the book, publish into it, render it; the last line is the path of the first page."""
    check_writable(args.out, "--out")
    if args.published:
        book = publish.stage(args.out)
    else:
        plan, jobs = load(args)
        book = publish.stage(args.out)
        manifest = publish.publish(plan, jobs, book)
        missing = f", {manifest['missing']} missing" if manifest["missing"] else ""
        print(f"{manifest['runs']} runs{missing}; rendering", flush=True)
    print(publish.render(book, args.out).resolve())
    return 0


def add_publish(parser: argparse.ArgumentParser) -> None:
    add_plan(parser, "--runs")
    parser.add_argument("--book", type=Path, metavar="DIR", help="folder of the book (default: that of this checkout)")


def run_publish(args: argparse.Namespace) -> int:
    plan, jobs = load(args)
    book = args.book or book_root()
    manifest = publish.publish(plan, jobs, book, tracked=True)
    total = publish.folder_bytes(book / "results", book / "runs")
    print(f"{manifest['runs']} runs, {manifest['pages']} pages, {total / 1e6:.1f} MB in {book}")
    return 0
