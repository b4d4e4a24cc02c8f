"""Carry out the jobs of a sweep: on a Dask cluster, or one after the other in this process.

A worker process that dies is replaced, and its run continues from the checkpoint. The driver submits as many jobs as there
are worker processes, whatever their threads: each process has one run at a time.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sarlab.errors import PlanError, SarlabError
from sarlab.lab.machine import cores, thread_environment
from sarlab.lab.runs import Job, base_of, describe_owner, is_held, run_hash
from sarlab.lab.sweep import ENGINES, RETRIES, DiskError, Finished, Settings, failure, note_failure, run_job, stop
from sarlab.lab.sweep.notebook import NOTEBOOK
from sarlab.scenes.catalog import load_split

if TYPE_CHECKING:
    from distributed import Client, Future

#: Seconds between looks at workers and at jobs that other processes have.
TICK = 0.5
#: Seconds that running trainings get after Ctrl-C to finish a step and write their checkpoints.
PATIENCE = 30.0
#: Seconds without any worker after which the user is told, and told again.
WORKER_SECONDS = 30.0
#: Run by a worker when it starts: Ctrl-C in the terminal is for the driver, which tells the workers to stop.
_PRELOAD = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
if hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
"""


def execute(
    jobs: Sequence[Job], settings: Settings, report: Callable[[Finished], None], say: Callable[[str], None] = print
) -> list[Finished]:
    """Carry out `jobs`; `report` is called as each ends, `say` with messages about what is waited for.

    Returns how they ended, without those for which no time was left. On Ctrl-C running jobs write their checkpoints first.
    """
    if settings.engine not in ENGINES:
        raise PlanError(f"unknown engine '{settings.engine}'; use one of {', '.join(ENGINES)}")
    queue = Queue(jobs, settings, report, say)
    if jobs:
        (_run_inline if settings.engine == "inline" else _run_on_dask)(queue)
    return [queue.ended[job.run_id] for job in jobs if job.run_id in queue.ended]


class Queue:
    """Jobs that wait, and those that have ended.

    Jobs that take over weights come after those that train, so that no worker waits for another's training. Jobs that
    another process holds come last.
    """

    def __init__(
        self, jobs: Sequence[Job], settings: Settings, report: Callable[[Finished], None], say: Callable[[str], None]
    ):
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
        job = queue.take()
        if job is None:
            time.sleep(TICK if queue.waiting else 0.0)
            continue
        item = run_job(job, queue.settings)
        queue.end(item)
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
    """Keep every worker busy until nothing waits, time is over or Ctrl-C was pressed."""
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
    """How a job ended in a worker."""
    if future.status == "cancelled":
        return Finished(job, "interrupted")
    if future.status != "error":
        return future.result()
    error = future.exception()
    if isinstance(error, ImportError):
        raise SarlabError(f"a worker of {settings.scheduler or 'the local cluster'} cannot import sarlab: {error}")
    kind, message = type(error).__name__, str(error)
    if kind == "KilledWorker":
        message = f"its worker was killed {RETRIES + 1} times; is there enough memory?"
    note_failure(job, failure(kind, message))
    return Finished(job, "failed", f"{kind}: {message}")


@contextlib.contextmanager
def _connected(jobs: Sequence[Job], settings: Settings) -> Iterator[Client]:
    """Client of the named scheduler, or of a cluster of processes on this machine that ends with the block."""
    import distributed

    with contextlib.ExitStack() as stack:
        place = settings.scheduler or stack.enter_context(_local_cluster(jobs, settings))
        try:
            client = distributed.Client(place, timeout=15, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise SarlabError(f"no Dask scheduler answers at {place} ({reason})") from None
        yield stack.enter_context(client)


def _local_cluster(jobs: Sequence[Job], settings: Settings) -> Any:
    import dask
    import distributed

    # Encrypted, because anyone on this machine could send code to an open cluster.
    security = distributed.Security.temporary()
    # Dask's own default makes malloc return memory at every step, which doubles the time of a training.
    environment = thread_environment(threads_of(jobs))
    with dask.config.set({"distributed.nanny.pre-spawn-environ": environment}), _interrupts_blocked():
        return distributed.LocalCluster(
            n_workers=worker_count(jobs, settings), threads_per_worker=1, processes=True, host="127.0.0.1", security=security,
            dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=logging.CRITICAL, preload=[_PRELOAD],
        )  # fmt: skip


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start threads and processes that do not receive Ctrl-C; it reaches this thread after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def worker_count(jobs: Sequence[Job], settings: Settings) -> int:
    """Jobs at a time: as asked for, one per GPU, or as many as the cores allow; never more than there are jobs."""
    import torch

    if settings.engine == "inline":
        return 1
    gpus = 0
    if settings.device != "cpu" and torch.cuda.is_available():
        gpus = torch.cuda.device_count() if settings.device in ("auto", "cuda") else 1
    return max(1, min(settings.workers or gpus or cores() // threads_of(jobs), len(jobs)))


def threads_of(jobs: Sequence[Job]) -> int:
    """Threads of the job that has most."""
    return max((job.spec.train.threads for job in jobs), default=1)


def _in_worker(job: Job, settings: Settings) -> Finished:  # pragma: no cover - runs in workers
    """`run_job` on a GPU of this worker, if it sees the same files and computes the same results."""
    import torch
    from distributed import get_worker

    runs, device, name = job.folder.parent, settings.device, get_worker().name
    if not runs.is_dir():
        message = f"this worker does not see {runs}; put the runs on a file system that all machines share"
        return Finished(job, "failed", message)
    try:
        if run_hash(job.spec, load_split(job.spec.scenes).digest) != job.hash:
            message = "this worker has another version of sarlab, or of the scenes, than the sweep"
            return Finished(job, "failed", message)
    except SarlabError as error:
        return Finished(job, "failed", str(error))
    if device in ("auto", "cuda") and torch.cuda.is_available():
        # that with its number on a local cluster, the first one that it sees on another
        device = f"cuda:{name % torch.cuda.device_count()}" if isinstance(name, int) else "cuda"
    return run_job(job, replace(settings, device=device))
