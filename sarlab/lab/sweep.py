"""Sweeps: carry out the jobs of a plan on a Dask cluster, or one after the other in this process::

    sarlab sweep ──jobs──▶ engine ──inline──▶ run_job(job, settings) in this process   ──▶ runs/<run_id>/
                                  ──dask────▶ run_job(job, settings) in worker processes ──▶ runs/<run_id>/

Only specifications and outcomes travel; results are files. A job executes the notebook of the experiment, or calls the
experiment as a function; either gives the same results. A worker process that dies is replaced, and its run continues
from the checkpoint. The driver submits as many jobs as there are worker processes, each of which has one run at a time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import signal
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from sarlab.errors import DiskError, PlanError, SarlabError
from sarlab.files import replacing, write_json
from sarlab.lab.machine import cores, inherited_threads
from sarlab.lab.results import shared_folder
from sarlab.lab.runs import FAILURE, Job, base_of, describe_owner, is_held, owner_of, run_hash
from sarlab.scenes.catalog import load_split

if TYPE_CHECKING:
    from distributed import Client, Future

ENGINES = ("dask", "inline")
#: The executed notebook in the folder of a run, and what a failed execution leaves.
NOTEBOOK, FAILED_NOTEBOOK = "notebook.ipynb", "failed.ipynb"
#: Further attempts at a job whose process died; seconds between checks of workers and of jobs of other processes, for
#: trainings to write their checkpoints after Ctrl-C, and without any worker until a message.
RETRIES, TICK, PATIENCE, WORKER_SECONDS = 3, 0.5, 30.0, 30.0
#: Run by a worker when it starts: Ctrl-C in the terminal is for the driver, which stops the workers.
_PRELOAD = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
if hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
"""
#: What an error means for the job; any other is a failure.
_OUTCOMES = {"OutOfTime": "out of time", "Busy": "busy", "KeyboardInterrupt": "interrupted"}
#: Disk errors that every other run would meet too.
_FATAL = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; choose another folder",
}
#: Runs share PyTorch's threads and its device memory: one at a time in a process, however many threads call `run_job`.
_one_at_a_time = threading.Lock()
#: The job of this process by its sweep, and the sweeps that were stopped.
_running: dict[str, Job] = {}
_stopped: set[str] = set()
#: Kernels of this process that were interrupted; a second interrupt would cut a training's last step in half.
_interrupted: set[int] = set()


@dataclass(frozen=True)
class Settings:
    """Settings of a sweep; its name `sweep` distinguishes sweeps on one cluster.

    `notebook` executes the notebook of each run. 0 `workers` are one per GPU, or as many as the cores allow. Without the
    address of a `scheduler`, a local cluster is started. At the `deadline` of `time.time()`, training stops.
    """

    engine: str = "inline"
    notebook: bool = False
    device: str = "auto"
    workers: int = 0
    scheduler: str = ""
    deadline: float | None = None
    sweep: str = field(default_factory=lambda: uuid.uuid4().hex)

    def time_left(self) -> float | None:
        """Seconds until the deadline, None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.time())


@dataclass(frozen=True)
class Finished:
    """Outcome of a job: ``"complete"``, ``"failed"``, ``"busy"``, ``"out of time"``, ``"interrupted"`` or ``"disk"``."""

    job: Job
    outcome: str
    message: str = ""
    seconds: float = 0.0


#: Callbacks for a job that ended, and for a sweep that waits.
Report = Callable[[Finished], None]
Say = Callable[[str], None]


def run_job(job: Job, settings: Settings) -> Finished:
    """Carry out one job in this process, whichever engine calls; a failure becomes a record in the folder of the run."""
    with _one_at_a_time:
        start = time.monotonic()
        _running[settings.sweep] = job
        record = _attempt(job, settings)
        _running.clear()
    outcome, message = "complete", ""
    if record:
        outcome = _OUTCOMES.get(record["error"], "failed")
        message = f"cell {record['cell']}: " * (record["cell"] is not None) + f"{record['error']}: {record['message']}"
        if sentence := explain(record["message"]):
            outcome, message = "disk", sentence
    if outcome == "failed":
        note_failure(job, record)
    elif outcome != "disk":
        for stale in (FAILURE, FAILED_NOTEBOOK):
            (job.folder / stale).unlink(missing_ok=True)
    return Finished(job, outcome, message, time.monotonic() - start)


def _attempt(job: Job, settings: Settings) -> dict[str, Any]:
    """Run the notebook or the function; returns the record of an error, empty if there was none."""
    from sarlab.lab import experiment

    try:
        if settings.sweep in _stopped:
            raise KeyboardInterrupt
        if (left := settings.time_left()) == 0.0:
            raise experiment.OutOfTime("no time was left to begin")
        if settings.notebook:
            execute_notebook(parameters_of(job, settings), job.folder)
        else:
            experiment.run(job.spec, job.folder, device=settings.device, time_budget=left)
    except (Exception, KeyboardInterrupt) as error:  # any failure of one run must leave the others going
        # a kernel that had not begun when the sweep was stopped has died
        return failure(KeyboardInterrupt() if settings.sweep in _stopped else error)
    return {}


def parameters_of(job: Job, settings: Settings) -> dict[str, Any]:
    """Parameters of the notebook."""
    found = {**job.spec.to_dict(), "folder": str(job.folder), "device": settings.device}
    return found if settings.deadline is None else {**found, "time_budget": settings.time_left()}


def failure(error: Any) -> dict[str, Any]:
    """Record of an exception; papermill's is that of an error in a cell, with its number among the code cells."""
    if hasattr(error, "ename"):
        cell, kind, message, lines = error.exec_count, error.ename, error.evalue, error.traceback
    else:
        cell, kind, message, lines = None, type(error).__name__, str(error), traceback.format_exception(error)
    texts = {"message": message, "traceback": "\n".join(lines)}
    plain = {name: re.sub(r"\x1b\[[0-9;]*m", "", text) for name, text in texts.items()}  # without colors
    return {"cell": cell, "error": kind, **plain}


def note_failure(job: Job, record: dict[str, Any]) -> None:
    """Keep the reason of a failure in the folder of the run, if it can be written."""
    with contextlib.suppress(OSError):
        write_json(job.folder / FAILURE, record)


def execute_notebook(parameters: Mapping[str, Any], folder: Path) -> None:
    """Execute ``notebooks/run_experiment.py`` into the folder; if a cell raises, the partial notebook is ``failed.ipynb``."""
    import jupytext
    import papermill

    template = jupytext.read(shared_folder("notebooks") / "run_experiment.py", fmt="py:percent")
    # In the main thread nbclient would answer Ctrl-C itself, by killing the kernel.
    with ThreadPoolExecutor(1) as pool, replacing(folder / NOTEBOOK) as temporary:
        # A kernel that is shut down is interrupted, and would log that as an error. Everything is on disk by then.
        execution = pool.submit(
            papermill.execute_notebook, template, str(temporary), parameters=dict(parameters), progress_bar=False,
            shutdown_kernel="immediate", extra_arguments=["--log-level=CRITICAL"],
        )  # fmt: skip
        try:
            execution.result()
        except papermill.PapermillExecutionError:
            temporary.replace(folder / FAILED_NOTEBOOK)
            raise
        except KeyboardInterrupt:
            while not execution.done():
                interrupt_kernel(folder)
                time.sleep(0.2)
            raise
        # papermill stores its input, which is the whole notebook.
        notebook = json.loads(temporary.read_text(encoding="utf-8"))
        notebook["metadata"]["papermill"] |= {"input_path": "notebooks/run_experiment.py", "output_path": NOTEBOOK}
        temporary.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def interrupt_kernel(folder: Path) -> None:
    """Interrupt the kernel that carries out the run in `folder`, once; kill kernels that have not begun or have ended it."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if not any("ipykernel" in part for part in process.cmdline()):
                continue
            owner = owner_of(folder)
            if os.name != "posix" or owner is None or owner[0] != process.pid or not is_held(folder):
                process.kill()
            elif process.pid not in _interrupted:
                _interrupted.add(process.pid)
                process.send_signal(signal.SIGINT)


def stop(sweep: str) -> None:
    """Stop the run of a sweep in this process, which writes a checkpoint; repeat it, as a training may not have begun."""
    from sarlab.models.training import interrupt_all

    _stopped.add(sweep)
    if job := _running.get(sweep):
        interrupt_all()
        interrupt_kernel(job.folder)


def explain(message: str) -> str:
    """One sentence for the message of a disk error that stops every run; empty for all other errors."""
    # libraries in other languages have only the number in their text
    found = re.search(r"\[Errno (\d+)\]|\(os error (\d+)\)", message)
    sentence = _FATAL.get(int(found[1] or found[2])) if found else None
    path = re.search(r"'(/[^']+)'", message)
    return (f"{path[1]}: " if path else "") + sentence if sentence else ""


def execute(jobs: Sequence[Job], settings: Settings, report: Report, say: Say = print) -> list[Finished]:
    """Carry out `jobs`; `report` is called as each ends, `say` with messages while it waits.

    Returns how they ended, without those for which no time was left. On Ctrl-C running jobs write their checkpoints first.
    """
    if settings.engine not in ENGINES:
        raise PlanError(f"unknown engine '{settings.engine}'; use one of {', '.join(ENGINES)}")
    queue = Queue(jobs, settings, report, say)
    if jobs:
        (_run_inline if settings.engine == "inline" else _run_on_dask)(queue)
    return [queue.ended[job.run_id] for job in jobs if job.run_id in queue.ended]


class Queue:
    """Jobs that wait, and those that have ended; jobs that another process holds come last."""

    def __init__(self, jobs: Sequence[Job], settings: Settings, report: Report, say: Say):
        # Those that take over weights come after those that train, so that no worker waits for another's training.
        self.waiting = deque(sorted(jobs, key=lambda job: base_of(job.spec) is not None))
        self.ended: dict[str, Finished] = {}
        self.settings, self.report, self.say = settings, report, say
        self._told: set[str] = set()

    def take(self) -> Job | None:
        """Remove and return the next job that no other process holds; None if there is none."""
        for _ in range(len(self.waiting)):
            job = self.waiting.popleft()
            if is_held(job.folder):
                self.waiting.append(job)
                if job.run_id not in self._told:
                    self._told.add(job.run_id)
                    self.say(f"{job.run_id} is in use by {describe_owner(job.folder)}; waiting for it")
            elif job.state == "complete" and (not self.settings.notebook or (job.folder / NOTEBOOK).is_file()):
                self.end(Finished(job, "complete", "by another process"))
            else:
                return job
        return None

    def end(self, item: Finished) -> None:
        """Note how a job ended."""
        if item.outcome == "disk":
            raise DiskError(item.message)
        if item.outcome == "busy":
            self.waiting.append(item.job)
        elif item.outcome != "interrupted":
            self.ended[item.job.run_id] = item
            self.report(item)


def _run_inline(queue: Queue) -> None:
    while queue.waiting and queue.settings.time_left() != 0.0:
        if (job := queue.take()) is None:
            time.sleep(TICK if queue.waiting else 0.0)
            continue
        queue.end(item := run_job(job, queue.settings))
        if item.outcome == "interrupted":
            raise KeyboardInterrupt


def _run_on_dask(queue: Queue) -> None:
    from sarlab.models.training import interrupts_deferred

    # Workers take it for the sign that they see the same file system.
    queue.waiting[0].folder.parent.mkdir(parents=True, exist_ok=True)
    with interrupts_deferred() as interrupted:
        try:
            with _connected(queue.waiting, queue.settings) as client, client.as_current():
                _drive(client, queue, interrupted)
        except Exception:
            if not interrupted():
                raise
        if interrupted():
            raise KeyboardInterrupt


def _drive(client: Client, queue: Queue, interrupted: Callable[[], bool]) -> None:
    """Keep every worker busy until all jobs are done, time is over or Ctrl-C was pressed."""
    from distributed import wait

    settings = queue.settings
    running: dict[Future, Job] = {}

    def collect() -> None:
        for future in [future for future in running if future.done()]:
            queue.end(_result(future, running.pop(future), settings))

    alone_since = time.monotonic()
    while not interrupted():
        over, workers = settings.time_left() == 0.0, _workers_of(client, settings)
        if workers:
            alone_since = time.monotonic()
        elif over:
            break
        elif time.monotonic() - alone_since > WORKER_SECONDS:
            alone_since, address = time.monotonic(), client.scheduler.address
            queue.say(f"no worker at {address} yet; start some with 'dask worker {address}' (Ctrl-C stops waiting)")
        # one job even without workers, so that clusters that grow on demand begin to
        while not over and len(running) < max(1, workers) and (job := queue.take()):
            key = f"{job.run_id}-{time.time_ns()}"
            running[client.submit(_in_worker, job, settings, key=key, retries=0, pure=False)] = job
        if running:
            with contextlib.suppress(TimeoutError):
                wait(list(running), timeout=TICK, return_when="FIRST_COMPLETED")
            collect()
        elif over or not queue.waiting:
            return
        else:
            time.sleep(TICK)
    give_up = time.monotonic() + PATIENCE
    while running and time.monotonic() < give_up:
        begun = {key for keys in client.processing().values() for key in keys}
        client.cancel([future for future in running if future.key not in begun], force=True)
        client.run(stop, settings.sweep, on_error="ignore")
        time.sleep(0.3)
        collect()


def _workers_of(client: Client, settings: Settings) -> int:
    try:
        count = len(client.scheduler_info(n_workers=-1)["workers"])
    except OSError:
        raise SarlabError(f"the Dask scheduler {settings.scheduler} is gone; repeat the command to resume") from None
    return min(count, settings.workers or count)


def _result(future: Future, job: Job, settings: Settings) -> Finished:
    """Outcome of a job in a worker."""
    if future.status == "cancelled":
        return Finished(job, "interrupted")
    if future.status != "error":
        return future.result()
    error = future.exception()
    if isinstance(error, ImportError):
        raise SarlabError(f"a worker of {settings.scheduler or 'the local cluster'} cannot import sarlab: {error}")
    record = failure(error)
    if record["error"] == "KilledWorker":
        record["message"] = f"its worker was killed {RETRIES + 1} times; is there enough memory?"
    note_failure(job, record)
    return Finished(job, "failed", f"{record['error']}: {record['message']}")


@contextlib.contextmanager
def _connected(jobs: Sequence[Job], settings: Settings) -> Iterator[Client]:
    """Client of the named scheduler, or of a cluster of processes on this machine that ends with the block."""
    import dask
    import distributed

    with contextlib.ExitStack() as stack:
        place: Any = settings.scheduler
        if not place:
            # Dask's own default makes malloc return memory at every step, which doubles the time of a training.
            # Dask sets them in this process too, and leaves them.
            environment = stack.enter_context(inherited_threads(threads_of(jobs)))
            # Dask gives up a worker that is not back 15 s after its process died, or dies again at that moment.
            stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}))
            with dask.config.set({"distributed.nanny.pre-spawn-environ": environment}), _interrupts_blocked():
                place = stack.enter_context(distributed.LocalCluster(
                    n_workers=worker_count(jobs, settings), threads_per_worker=1, host="127.0.0.1", memory_limit=0,
                    # encrypted, because anyone on this machine could send code to an open cluster
                    security=distributed.Security.temporary(), dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL, preload=[_PRELOAD],
                ))  # fmt: skip
        try:
            client = distributed.Client(place, timeout=15, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise SarlabError(f"no Dask scheduler answers at {place} ({str(error).splitlines()[0]})") from None
        yield stack.enter_context(client)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start threads and processes that do not receive Ctrl-C; it reaches this thread after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The tracker starts with the first process of a program, and unblocks Ctrl-C in the thread that starts it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def worker_count(jobs: Sequence[Job], settings: Settings) -> int:
    """Parallel jobs: as stated, one per GPU, or as many as the cores allow; never more than there are jobs."""
    import torch

    if settings.engine == "inline":
        return 1
    usable = settings.device != "cpu" and torch.cuda.is_available()
    gpus = usable * (torch.cuda.device_count() if settings.device in ("auto", "cuda") else 1)
    return max(1, min(settings.workers or gpus or cores() // threads_of(jobs), len(jobs)))


def threads_of(jobs: Sequence[Job]) -> int:
    """Threads of the job that has most."""
    return max((job.spec.train.threads for job in jobs), default=1)


def _in_worker(job: Job, settings: Settings) -> Finished:  # pragma: no cover - runs in workers
    """`run_job` on a GPU of this worker, if it sees the same files and computes the same results."""
    import torch
    from distributed import get_worker

    runs, device, name = job.folder.parent, settings.device, get_worker().name
    try:
        if not runs.is_dir():
            raise SarlabError(f"this worker cannot access {runs}; keep the runs on a shared file system")
        if run_hash(job.spec, load_split(job.spec.scenes).digest) != job.hash:
            raise SarlabError("this worker has another version of sarlab or of the scenes than the sweep")
    except SarlabError as error:
        return Finished(job, "failed", str(error))
    if device in ("auto", "cuda") and torch.cuda.is_available():
        # that with its number on a local cluster, the first one that it sees on another
        device = f"cuda:{name % torch.cuda.device_count()}" if isinstance(name, int) else "cuda"
    return run_job(job, replace(settings, device=device))
