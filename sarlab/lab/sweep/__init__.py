"""Sweeps: settings, one job, and how it ended.

::

    sarlab sweep ──jobs──▶ engine ──inline──▶ run_job(job, settings) in this process   ──▶ runs/<run_id>/
                                  ──dask────▶ run_job(job, settings) in worker processes ──▶ runs/<run_id>/

Only specifications and outcomes travel; results are files. A job executes the notebook of the experiment, or calls the
experiment as a function; either gives the same results.
"""

import contextlib
import errno
import re
import tempfile
import threading
import time
import traceback
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sarlab.errors import SarlabError
from sarlab.files import write_json
from sarlab.lab.runs import FAILURE, Job
from sarlab.lab.sweep import notebook

ENGINES = ("dask", "inline")
#: Further attempts at a job whose process died.
RETRIES = 3
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
#: The job of this process with its sweep, and sweeps that were told to stop.
_running: list[tuple[Job, str]] = []
_stopped: set[str] = set()


class DiskError(SarlabError):
    """The file system accepts no more data: no run can continue."""


@dataclass(frozen=True)
class Settings:
    """Settings that all jobs of a sweep share, whose name tells sweeps on one cluster apart."""

    engine: str = "inline"
    #: Execute the notebook of each run instead of its function.
    notebook: bool = False
    device: str = "auto"
    #: Worker processes of a local cluster; 0: one per GPU, or as many as the cores allow.
    workers: int = 0
    #: Address of a running Dask scheduler; empty: a cluster of processes on this machine.
    scheduler: str = ""
    #: `time.time()` at which training stops with a checkpoint.
    deadline: float | None = None
    sweep: str = field(default_factory=lambda: uuid.uuid4().hex)

    def time_left(self) -> float | None:
        """Seconds until the deadline, None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.time())


@dataclass(frozen=True)
class Finished:
    """How a job ended: ``"complete"``, ``"failed"``, ``"busy"``, ``"out of time"``, ``"interrupted"`` or ``"disk"``."""

    job: Job
    outcome: str
    message: str = ""
    seconds: float = 0.0


def run_job(job: Job, settings: Settings) -> Finished:
    """Carry out one job in this process, whichever engine calls; a failure becomes a record in the folder of the run."""
    with _one_at_a_time:
        start = time.monotonic()
        _running[:] = [(job, settings.sweep)]
        try:
            record = _attempt(job, settings)
        finally:
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
        for stale in (FAILURE, notebook.FAILED):
            (job.folder / stale).unlink(missing_ok=True)
    return Finished(job, outcome, message, time.monotonic() - start)


def _attempt(job: Job, settings: Settings) -> dict[str, Any]:
    """Run the notebook or the function; returns the record of an error, empty if there was none."""
    for _ in range(RETRIES + 1):
        left = settings.time_left()
        if settings.sweep in _stopped:
            return failure("KeyboardInterrupt", "stopped")
        if left == 0.0:
            return failure("OutOfTime", "no time was left to begin")
        try:
            if settings.notebook:
                notebook.execute(parameters_of(job, settings), job.folder)
            else:
                from sarlab.lab import experiment

                experiment.run(job.spec, job.folder, device=settings.device, time_budget=left)
            return {}
        except notebook.NotebookFailed as failed:
            if failed.record["error"] != "DeadKernelError":
                return failed.record
        except (Exception, KeyboardInterrupt) as error:  # any failure of one run must leave the others going
            return failure(type(error).__name__, str(error)) | {"traceback": traceback.format_exc()}
    if settings.sweep in _stopped:
        return failure("KeyboardInterrupt", "stopped")
    return failure("DeadKernelError", f"its kernel was killed {RETRIES + 1} times; is there enough memory?")


def parameters_of(job: Job, settings: Settings) -> dict[str, Any]:
    """Parameters of the notebook."""
    left = settings.time_left()
    budget = {} if left is None else {"time_budget": left}
    return {**job.spec.to_dict(), "folder": str(job.folder), "device": settings.device, **budget}


def failure(error: str, message: str) -> dict[str, Any]:
    """Record of a failure outside of a notebook's cells."""
    return {"cell": None, "source": "", "error": error, "message": message}


def note_failure(job: Job, record: dict[str, Any]) -> None:
    """Keep the reason of a failure in the folder of the run, if it can be written."""
    with contextlib.suppress(OSError):
        write_json(job.folder / FAILURE, record)


def stop(sweep: str) -> None:
    """Stop the runs of a sweep in this process: trainings write a checkpoint, waiting jobs do not begin.

    Repeat it until the run has ended: before its training has begun there is nothing to stop.
    """
    from sarlab.models.training import interrupt_all

    _stopped.add(sweep)
    for job, of in list(_running):
        if of == sweep:
            interrupt_all()
            notebook.interrupt(job.folder)


def explain(message: str) -> str:
    """One sentence for the message of a disk error that stops every run; empty for all other errors."""
    # libraries in other languages have only the number in their text
    found = re.search(r"\[Errno (\d+)\]|\(os error (\d+)\)", message)
    sentence = _FATAL.get(int(found[1] or found[2])) if found else None
    path = re.search(r"'(/[^']+)'", message)
    return (f"{path[1]}: " if path else "") + sentence if sentence else ""


def check_writable(folder: Path, option: str = "--runs") -> None:
    """Create `folder` and write a byte into it, or raise `DiskError`; `option` of the command line chooses the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"?")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space" if full else f"choose another folder with {option}"
        raise DiskError(f"{folder}: cannot be written to ({error.strerror}); {advice}") from None
