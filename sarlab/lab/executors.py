"""Executors: how the jobs of a sweep are carried out. They all call the same experiment with the same specification.

``inline``
    The experiment as a function, one after the other in this process.
``papermill``
    One notebook a run, several at a time: each has its own kernel process.
``dask``
    The experiment as a function in worker processes, on this machine or on a cluster: `sarlab.lab.dask_executor`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sarlab.errors import PlanError, SarlabError
from sarlab.files import write_json
from sarlab.lab import locks
from sarlab.lab.faults import DiskError, explain
from sarlab.lab.jobs import FAILURE, Job
from sarlab.lab.lineage import base_of

EXECUTORS = ("papermill", "inline", "dask")
#: How often a job is tried whose process dies, and seconds between looks at jobs that another process has.
ATTEMPTS, LOOK_EVERY = 3, 0.5
#: Seconds that running trainings get after Ctrl-C to finish a step and write their checkpoints.
PATIENCE = 30.0


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
        Jobs at a time; 0 chooses: one on each GPU, and cores over threads of a run on a CPU. Inline: always one.
    deadline : float, optional
        `time.monotonic()` at which training stops with a checkpoint.
    scheduler : str
        Address of a Dask scheduler that runs already; empty: a cluster of this machine's own processes.
    notebooks : bool
        Let Dask workers execute notebooks, as papermill does, instead of the function.
    """

    device: str = "auto"
    workers: int = 0
    deadline: float | None = None
    scheduler: str = ""
    notebooks: bool = False

    def time_left(self) -> float | None:
        """Seconds left, None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


Report = Callable[[Finished], None]


def execute(jobs: Sequence[Job], executor: str, settings: Settings, report: Report) -> list[Finished]:
    """Carry out `jobs`; `report` is called as each ends.

    Jobs that take over the weights of others come after those that train, so that no worker waits for another's training.
    Jobs that another process has at the moment come last: when it is done, or dead, they are found complete or go on
    from its checkpoint.

    Raises
    ------
    KeyboardInterrupt
        After running jobs have left their checkpoints.
    DiskError
        If nothing can be written any more.
    """
    if executor not in EXECUTORS:
        raise PlanError(f"unknown executor '{executor}'; use one of {', '.join(EXECUTORS)}")
    if executor == "inline":
        carry_out = _inline
    elif executor == "papermill":
        from sarlab.lab.papermill_executor import run_notebooks as carry_out
    else:
        from sarlab.lab.dask_executor import run_on_dask as carry_out
    ended: dict[str, Finished] = {}
    left = sorted(jobs, key=lambda job: base_of(job.spec) is not None)
    while left:
        ended |= {item.job.run_id: item for item in carry_out(left, settings, report)}
        left = []
        while not left and (busy := [item.job for item in ended.values() if item.outcome == "busy"]):
            free = released(busy, settings)
            if not free:
                break
            for job in free:
                if job.state == "complete":
                    ended[job.run_id] = Finished(job, "complete", "by another process")
                    report(ended[job.run_id])
                else:
                    left.append(job)
    return [ended[job.run_id] for job in jobs if job.run_id in ended]


def released(busy: Sequence[Job], settings: Settings) -> list[Job]:
    """Wait until other processes let go of some of these jobs; returns those, or none when time is up."""
    while settings.time_left() != 0.0:
        free = [job for job in busy if not locks.is_held(job.folder / ".lock")]
        if free:
            return free
        time.sleep(LOOK_EVERY)
    return []


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
    from sarlab.lab.papermill_executor import run_notebooks

    bare = [job for job in jobs if not (job.folder / NOTEBOOK).is_file()]
    return run_notebooks(bare, settings, report) if bare else []


def run_job(job: Job, settings: Settings) -> tuple[str, str]:
    """Run one experiment in this process; errors become a record in its folder.

    Raises
    ------
    DiskError
        If nothing can be written any more: that is no fault of the run.
    """
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
        if sentence := explain(error):
            raise DiskError(sentence) from None
        record = {"cell": None, "source": "", "error": type(error).__name__, "message": str(error)}
        if not isinstance(error, SarlabError):
            import traceback

            record["traceback"] = traceback.format_exc()
        note_failure(job, record)
        return "failed", f"{record['error']}: {error}"
    (job.folder / FAILURE).unlink(missing_ok=True)
    return "complete", ""


def note_failure(job: Job, record: dict) -> None:
    """Keep why a run failed in its folder, if anything can be kept there."""
    with contextlib.suppress(OSError):
        write_json(job.folder / FAILURE, record)


def worker_count(jobs: Sequence[Job], settings: Settings) -> int:
    """Jobs at a time: as asked; else some on each GPU, and the cores shared fairly on a CPU."""
    if settings.workers:
        return settings.workers
    if gpus := devices(settings):
        return len(gpus)
    return max(1, cores() // threads_of(jobs))


def places(settings: Settings, count: int) -> list[str]:
    """Devices of `count` jobs at a time, which share the GPUs evenly."""
    named = devices(settings) or [settings.device]
    return [named[index % len(named)] for index in range(count)]


def devices(settings: Settings) -> list[str]:
    """GPUs that the jobs share; empty on a CPU."""
    if settings.device == "cpu":
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    if settings.device not in ("auto", "cuda"):
        return [settings.device]
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def threads_of(jobs: Sequence[Job]) -> int:
    """Threads of the job that has most."""
    return max((job.spec.train.threads for job in jobs), default=1)


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that gives NumPy's libraries as many threads as the training has."""
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
