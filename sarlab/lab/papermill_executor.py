"""The papermill executor: one notebook a run, in threads that only pass messages; the work is done by the kernels."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from sarlab.lab import locks
from sarlab.lab.executors import (
    ATTEMPTS,
    Finished,
    Report,
    Settings,
    note_failure,
    places,
    thread_environment,
    threads_of,
    worker_count,
)
from sarlab.lab.faults import DiskError, explain
from sarlab.lab.jobs import Job
from sarlab.lab.variables import inherited

#: What an error in a cell means for the job.
_OUTCOMES = {"OutOfTime": "out of time", "Busy": "busy", "KeyboardInterrupt": "interrupted"}


def run_notebooks(jobs: Sequence[Job], settings: Settings, report: Report) -> list[Finished]:
    """Execute the notebooks of `jobs`, several at a time."""
    done: list[Finished] = []
    stopping = threading.Event()
    count = worker_count(jobs, settings)
    # A notebook takes a place on a device for as long as it runs: never more on a GPU than were asked for.
    free: queue.SimpleQueue[str] = queue.SimpleQueue()
    for device in places(settings, count):
        free.put(device)

    def work(job: Job) -> Finished:
        start = time.monotonic()
        if stopping.is_set() or settings.time_left() == 0.0:
            return Finished(job, "interrupted")
        device = free.get()
        try:
            outcome, message = run_notebook(job, replace(settings, device=device))
        finally:
            free.put(device)
        return Finished(job, outcome, message, time.monotonic() - start)

    with inherited(thread_environment(threads_of(jobs))), ThreadPoolExecutor(max_workers=count) as pool:
        waiting: set[Future[Finished]] = {pool.submit(work, job) for job in jobs}
        try:
            while waiting:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ended:
                    done.append(future.result())
                    if done[-1].outcome != "interrupted":
                        report(done[-1])
        except BaseException:
            stopping.set()
            for future in waiting:
                future.cancel()
            _interrupt(jobs)
            raise
    return done


def run_notebook(job: Job, settings: Settings) -> tuple[str, str]:
    """Execute the notebook of one run in a kernel of its own; a kernel that dies is followed by another one.

    Raises
    ------
    DiskError
        If nothing can be written any more.
    """
    from sarlab.lab import notebooks

    if locks.is_held(job.folder / ".lock"):
        return "busy", f"{job.folder} is in use by {locks.describe(job.folder / '.lock')}"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            notebooks.execute(parameters_of(job, settings), job.folder)
        except notebooks.NotebookFailed as failure:
            if sentence := explain(failure.record["message"]):
                raise DiskError(sentence) from None
            return _OUTCOMES.get(failure.record["error"], "failed"), str(failure)
        except Exception as error:
            if sentence := explain(error):
                raise DiskError(sentence) from None
            dead = type(error).__name__ == "DeadKernelError"
            if dead and attempt < ATTEMPTS:
                continue
            message = f"its kernel was killed {ATTEMPTS} times; is there memory enough?" if dead else str(error)
            note_failure(job, {"cell": None, "source": "", "error": type(error).__name__, "message": message})
            return "failed", f"{type(error).__name__}: {message}"
        break
    return "complete", ""


def parameters_of(job: Job, settings: Settings) -> dict[str, Any]:
    """Parameters of the notebook."""
    described = job.spec.to_dict()
    described["model"]["options"] = [list(pair) for pair in job.spec.model.options]
    parameters = {**described, "folder": str(job.folder), "device": settings.device}
    left = settings.time_left()
    return parameters if left is None else {**parameters, "time_budget": left}


def _interrupt(jobs: Sequence[Job]) -> None:
    """Ask running experiments to stop: they leave a checkpoint."""
    for job in jobs:
        lock = job.folder / ".lock"
        process = locks.holder(lock)
        if process and process != os.getpid() and lock.exists() and locks.is_held(lock):
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGINT)
