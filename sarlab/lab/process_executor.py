"""Several runs at a time without Jupyter or Dask: the inline executor with processes of its own.

::

    sarlab sweep --executor inline --workers 8
      ├─▶ process on cuda:0 ──▶ runs/<run_id>/
      ├─▶ process on cuda:1       …
      ◀── outcome, message ──

Processes live through the sweep, so that each imports PyTorch and meets its GPU once. One that dies is replaced, and its run
goes on from the checkpoint. When the driver dies they finish the run they have, and end.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import Any

from sarlab.errors import SarlabError
from sarlab.lab.executors import (
    ATTEMPTS,
    PATIENCE,
    Finished,
    Report,
    Settings,
    note_failure,
    places,
    run_job,
    thread_environment,
    threads_of,
)
from sarlab.lab.faults import DiskError
from sarlab.lab.jobs import Job
from sarlab.lab.variables import inherited, interrupts_ignored


@dataclass
class Worker:
    """A process and what it is doing.

    Parameters
    ----------
    device : str
        Where it runs its jobs, one after the other.
    """

    device: str
    process: Any = None
    connection: Any = None
    ready: bool = False
    job: Job | None = None
    attempt: int = 0
    since: float = field(default=0.0)

    def start(self) -> None:
        """Start a process; it says when it is ready."""
        # Not forked: a process that has met a GPU does not survive that, and nothing of this one is needed.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.ready = False
        with interrupts_ignored():
            self.process.start()
        theirs.close()

    def give(self, job: Job, attempt: int, settings: Settings) -> None:
        """Send a job to a process that is ready."""
        self.job, self.attempt, self.since = job, attempt, time.monotonic()
        with contextlib.suppress(OSError):  # a process that has died is found so when its answer is waited for
            self.connection.send((job, self.device, settings.time_left()))

    def hear(self) -> Any:
        """Next message; raises EOFError where the process is dead."""
        try:
            return self.connection.recv()
        except OSError as error:
            raise EOFError from error

    def let_go(self) -> None:
        """End the process: at once where it does something, and otherwise by the end of its input."""
        if self.process is not None:
            self.connection.close()
            if self.job is not None or not self.ready:
                self.process.terminate()

    def wait(self) -> None:
        """Wait for the end of a process that was let go."""
        if self.process is not None:
            self.process.join(PATIENCE)
            if self.process.is_alive():
                self.process.kill()
                self.process.join()
        self.process, self.job, self.ready = None, None, False


def run_in_processes(jobs: Sequence[Job], settings: Settings, report: Report, count: int) -> list[Finished]:
    """Carry out `jobs` in `count` processes, which share the GPUs evenly.

    Raises
    ------
    SarlabError
        If the processes do not even start.
    DiskError
        If one cannot write any more.
    """
    waiting = deque((job, 1) for job in jobs)
    workers = [Worker(device) for device in places(settings, min(count, len(jobs)))]
    done: list[Finished] = []
    failed_starts = 0
    with inherited(thread_environment(threads_of(jobs))):
        try:
            for worker in workers:
                worker.start()
            while True:
                if settings.time_left() == 0.0:
                    done += [Finished(job, "interrupted") for job, _ in waiting]
                    waiting.clear()
                for worker in workers:
                    if waiting and worker.ready and worker.job is None:
                        worker.give(*waiting.popleft(), settings)
                spoken = {worker.connection: worker for worker in workers if worker.job or not worker.ready}
                if not waiting and not any(worker.job for worker in workers):
                    break
                for worker in [spoken[connection] for connection in wait(list(spoken))]:  # type: ignore[index]
                    try:
                        message = worker.hear()
                    except EOFError:
                        failed_starts = 0 if worker.ready else failed_starts + 1
                        if failed_starts == ATTEMPTS:
                            raise SarlabError("processes for the runs do not start; try --workers 1") from None
                        if worker.job is not None:
                            _after_death(worker, waiting, done, report)
                        worker.job = None
                        worker.let_go()
                        worker.wait()
                        worker.start()
                        continue
                    if message is None:
                        worker.ready, failed_starts = True, 0
                        continue
                    done.append(_finished(worker, *message))
                    worker.job = None
                    if done[-1].outcome != "interrupted":
                        report(done[-1])
        except BaseException:
            _interrupt(workers)
            raise
        finally:
            for worker in workers:
                worker.let_go()
            for worker in workers:
                worker.wait()
    return done


def _finished(worker: Worker, outcome: str, message: str) -> Finished:
    assert worker.job is not None
    if outcome == "disk":
        raise DiskError(message)
    return Finished(worker.job, outcome, message, time.monotonic() - worker.since)


def _after_death(worker: Worker, waiting: deque[tuple[Job, int]], done: list[Finished], report: Report) -> None:
    """Let another process go on with the job of one that died, or call it failed."""
    assert worker.job is not None
    if worker.attempt < ATTEMPTS:
        waiting.appendleft((worker.job, worker.attempt + 1))
        return
    message = f"its process was killed {ATTEMPTS} times; is there memory enough?"
    note_failure(worker.job, {"cell": None, "source": "", "error": "ProcessKilled", "message": message})
    done.append(Finished(worker.job, "failed", message, time.monotonic() - worker.since))
    report(done[-1])


def _interrupt(workers: Sequence[Worker]) -> None:
    """Ask running trainings to stop, and wait for their checkpoints."""
    busy = [worker for worker in workers if worker.job is not None and worker.process.is_alive()]
    for worker in busy:
        with contextlib.suppress(OSError):
            os.kill(worker.process.pid, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    while busy and (left := deadline - time.monotonic()) > 0:
        answered = wait([worker.connection for worker in busy], left)
        for worker in busy:
            if worker.connection in answered:
                worker.job = None
        busy = [worker for worker in busy if worker.job is not None]


# --- in the processes -------------------------------------------------------------------------------------------------


def serve(connection: Any) -> None:  # pragma: no cover - runs in processes
    """Carry out one job after the other until the driver closes the connection, or dies."""
    # Ctrl-C in a terminal is for the driver, which asks this process then.
    with contextlib.suppress(OSError):
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from sarlab.lab import experiment  # noqa: F401  (now, so that no run waits for it)

    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        connection.send(None)
        while True:
            job, device, left = connection.recv()
            deadline = None if left is None else time.monotonic() + left
            connection.send(_outcome(job, replace(Settings(device=device), deadline=deadline)))


def _outcome(job: Job, settings: Settings) -> tuple[str, str]:  # pragma: no cover - runs in processes
    try:
        return run_job(job, settings)
    except KeyboardInterrupt:
        return "interrupted", ""
    except DiskError as error:
        return "disk", str(error)
