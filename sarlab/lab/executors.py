"""Executors: how the jobs of a sweep are carried out. They all call the same experiment with the same specification.

``inline``
    The experiment as a function, one after the other in this process. Needs no Jupyter.
``papermill``
    One notebook a run, several at a time: each has its own kernel process; on a GPU one at a time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from sarlab.errors import PlanError, SarlabError
from sarlab.files import write_json
from sarlab.lab import locks
from sarlab.lab.jobs import FAILURE, Job

EXECUTORS = ("papermill", "inline")


@dataclass(frozen=True)
class Finished:
    """How a job ended: ``"complete"``, ``"failed"``, ``"busy"``, ``"out of time"`` or ``"interrupted"``."""

    job: Job
    outcome: str
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Settings:
    """What all jobs of a sweep share.

    Parameters
    ----------
    device : str
    workers : int
        Jobs at a time; 0 chooses: cores over threads of a run on a CPU, one on a GPU.
    deadline : float, optional
        `time.monotonic()` at which training stops with a checkpoint.
    """

    device: str = "auto"
    workers: int = 0
    deadline: float | None = None

    def time_left(self) -> float | None:
        """Seconds left, None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


Report = Callable[[Finished], None]


def execute(jobs: Sequence[Job], executor: str, settings: Settings, report: Report) -> list[Finished]:
    """Carry out `jobs`; `report` is called as each ends.

    Raises
    ------
    KeyboardInterrupt
        After running jobs have left their checkpoints.
    """
    if executor == "inline":
        return _inline(jobs, settings, report)
    if executor == "papermill":
        return _papermill(jobs, settings, report)
    raise PlanError(f"unknown executor '{executor}'; use one of {', '.join(EXECUTORS)}")


def _inline(jobs: Sequence[Job], settings: Settings, report: Report) -> list[Finished]:
    done = []
    for job in jobs:
        if settings.time_left() == 0.0:
            break
        start = time.monotonic()
        outcome, message = run_job(job, settings)
        done.append(Finished(job, outcome, message, time.monotonic() - start))
        report(done[-1])
    return done


def render(jobs: Sequence[Job], settings: Settings, report: Report) -> list[Finished]:
    """Execute the notebooks of complete runs that have none: they load the saved result and train nothing."""
    from sarlab.lab.notebooks import NOTEBOOK

    return _papermill([job for job in jobs if not (job.folder / NOTEBOOK).is_file()], settings, report)


def run_job(job: Job, settings: Settings) -> tuple[str, str]:
    """Run one experiment in this process; errors become a record in its folder."""
    from sarlab.lab import experiment

    try:
        experiment.run(
            job.spec,
            job.folder,
            device=settings.device,
            time_budget=settings.time_left(),
        )
    except experiment.OutOfTime as stop:
        return "out of time", str(stop)
    except locks.Busy as busy:
        return "busy", str(busy)
    except Exception as error:  # any failure of one run must leave the others going
        record = {"cell": None, "source": "", "error": type(error).__name__, "message": str(error)}
        if not isinstance(error, SarlabError):
            import traceback

            record["traceback"] = traceback.format_exc()
        with contextlib.suppress(OSError):
            write_json(job.folder / FAILURE, record)
        return "failed", f"{record['error']}: {error}"
    (job.folder / FAILURE).unlink(missing_ok=True)
    return "complete", ""


def _papermill(jobs: Sequence[Job], settings: Settings, report: Report) -> list[Finished]:
    """Notebooks in threads: a thread only passes messages, the work is done by its kernel's process."""
    done: list[Finished] = []
    stopping = threading.Event()

    def work(job: Job) -> Finished:
        start = time.monotonic()
        if stopping.is_set() or settings.time_left() == 0.0:
            return Finished(job, "interrupted")
        outcome, message = run_notebook(job, settings)
        return Finished(job, outcome, message, time.monotonic() - start)

    with _thread_environment(jobs), ThreadPoolExecutor(max_workers=worker_count(jobs, settings)) as pool:
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
    """Execute the notebook of one run in a kernel of its own."""
    from sarlab.lab import notebooks

    described = job.spec.to_dict()
    described["model"]["options"] = [list(pair) for pair in job.spec.model.options]
    parameters = {**described, "folder": str(job.folder), "device": settings.device}
    left = settings.time_left()
    if left is not None:
        parameters["time_budget"] = left
    try:
        notebooks.execute(parameters, job.folder)
    except notebooks.NotebookFailed as failure:
        kind = {"OutOfTime": "out of time", "Busy": "busy", "KeyboardInterrupt": "interrupted"}
        return kind.get(failure.record["error"], "failed"), str(failure)
    except Exception as error:  # a kernel that was killed, for one
        return "failed", f"{type(error).__name__}: {error}"
    return "complete", ""


def worker_count(jobs: Sequence[Job], settings: Settings) -> int:
    """Jobs at a time: as asked; else one on a GPU, and the cores shared fairly on a CPU."""
    if settings.workers:
        return settings.workers
    if settings.device != "cpu":
        import torch

        if torch.cuda.is_available():
            return max(1, torch.cuda.device_count()) if settings.device in ("auto", "cuda") else 1
    threads = max((job.spec.train.threads for job in jobs), default=1)
    return max(1, cores() // threads)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _thread_environment(jobs: Sequence[Job]) -> Iterator[None]:
    """Threads of NumPy's libraries in the kernels, which inherit this environment."""
    threads = str(max((job.spec.train.threads for job in jobs), default=1))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before: dict[str, Any] = {name: os.environ.get(name) for name in names}
    os.environ.update({name: threads for name in names})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _interrupt(jobs: Sequence[Job]) -> None:
    """Ask running experiments to stop: they leave a checkpoint."""
    for job in jobs:
        lock = job.folder / ".lock"
        process = locks.holder(lock)
        if process and process != os.getpid() and lock.exists() and locks.is_held(lock):
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGINT)
