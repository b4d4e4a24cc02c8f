"""The Dask executor: experiments as functions in worker processes, here or on a cluster.

::

    sarlab sweep ──jobs──▶ scheduler ──▶ worker ──▶ runs/<run_id>/   (one folder that all of them see)
                 ◀─outcome, message───── worker ──▶ runs/<run_id>/

Only specifications and outcomes travel; results are files. A worker that dies is replaced and its run goes on from the
checkpoint. The workers of a local cluster are processes with one thread for Dask and ``TrainSpec.threads`` for the run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sarlab.errors import SarlabError
from sarlab.lab.executors import (
    ATTEMPTS,
    PATIENCE,
    Finished,
    Report,
    Settings,
    devices,
    note_failure,
    run_job,
    thread_environment,
    threads_of,
    worker_count,
)
from sarlab.lab.faults import DiskError
from sarlab.lab.jobs import Job
from sarlab.lab.variables import interrupts_ignored

if TYPE_CHECKING:
    from distributed import Client, Future

#: Name of the resource that workers with a GPU announce: one each, so that none has two runs.
GPU = "GPU"


def run_on_dask(jobs: Sequence[Job], settings: Settings, report: Report) -> list[Finished]:
    """Carry out `jobs` on a Dask cluster.

    Raises
    ------
    SarlabError
        If Dask is not installed, no scheduler answers, or its workers cannot import this package.
    DiskError
        If a worker cannot write any more.
    """
    with connected(jobs, settings) as client:
        from distributed import as_completed

        resources = {GPU: 1} if _announced(client) else {}
        left = settings.time_left()
        finish_by = None if left is None else time.time() + left
        # The shared folder: workers tell from it that they see the same file system.
        jobs[0].folder.parent.mkdir(parents=True, exist_ok=True)
        waiting: dict[Future, Job] = {
            client.submit(
                work, job, settings.device, finish_by, settings.notebooks,
                key=f"{job.run_id}-{time.time_ns()}", resources=resources, retries=0, pure=False,
            ): job
            for job in jobs
        }  # fmt: skip
        done: list[Finished] = []
        try:
            for future in as_completed(list(waiting), loop=client.loop):
                job = waiting.pop(future)
                done.append(_result(future, job, settings))
                if done[-1].outcome != "interrupted":
                    report(done[-1])
        except BaseException:
            _stop(client, list(waiting))
            raise
    return done


def work(
    job: Job, device: str, finish_by: float | None, notebooks: bool
) -> tuple[str, str, float]:  # pragma: no cover - runs in workers
    """What a worker does: outcome, message and seconds of one job."""
    start = time.monotonic()
    outcome, message = _work(job, device, finish_by, notebooks)
    return outcome, message, time.monotonic() - start


def _work(job: Job, device: str, finish_by: float | None, notebooks: bool) -> tuple[str, str]:
    from sarlab.lab.identity import run_hash
    from sarlab.scenes.catalog import load_split

    if not job.folder.parent.is_dir():
        return "failed", f"this worker does not see {job.folder.parent}; put the runs on a file system that all share"
    try:
        if run_hash(job.spec, load_split(job.spec.scenes).digest) != job.hash:
            return "failed", "this worker has another version of sarlab, or of the scenes, than the sweep"
    except SarlabError as error:
        return "failed", str(error)
    left = None if finish_by is None else finish_by - time.time()
    if left is not None and left <= 0:
        return "interrupted", ""
    settings = Settings(
        device=_own_device(device), deadline=None if left is None else time.monotonic() + left, workers=1
    )
    try:
        if notebooks:
            from sarlab.lab.papermill_executor import run_notebook

            return run_notebook(job, settings)
        return run_job(job, settings)
    except KeyboardInterrupt:
        return "interrupted", ""
    except DiskError as error:
        return "disk", str(error)


def _own_device(device: str) -> str:
    """GPU of this worker: the one with its number on a local cluster, the first one that it sees elsewhere."""
    import torch
    from distributed import get_worker

    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    name = get_worker().name
    return f"cuda:{name % torch.cuda.device_count()}" if isinstance(name, int) else "cuda"


def _result(future: Any, job: Job, settings: Settings) -> Finished:
    """Outcome of a finished future."""
    error = future.exception() if future.status == "error" else None
    if future.status == "cancelled":
        return Finished(job, "interrupted")
    if error is None:
        outcome, message, seconds = future.result()
        if outcome == "disk":
            raise DiskError(message)
        return Finished(job, outcome, message, seconds)
    if isinstance(error, ImportError):
        raise SarlabError(f"a worker of {settings.scheduler or 'the local cluster'} cannot import sarlab: {error}")
    killed = type(error).__name__ == "KilledWorker"
    message = f"its worker was killed {ATTEMPTS} times; is there memory enough?" if killed else str(error)
    note_failure(job, {"cell": None, "source": "", "error": type(error).__name__, "message": message})
    return Finished(job, "failed", f"{type(error).__name__}: {message}")


def _announced(client: Client) -> bool:
    """Whether some worker announces a GPU."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any(worker.get("resources", {}).get(GPU) for worker in workers)


def _stop(client: Client, waiting: list[Any]) -> None:
    """Cancel what has not begun, and let running trainings write their checkpoints."""
    from sarlab.models.interrupts import interrupt_all

    with contextlib.suppress(Exception):
        running = {key for keys in client.processing().values() for key in keys}
        client.cancel([future for future in waiting if future.key not in running], force=True)
        begun = [future for future in waiting if future.key in running]
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not all(future.done() for future in begun):
            client.run(interrupt_all, on_error="ignore")
            time.sleep(0.3)


# --- clusters ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def connected(jobs: Sequence[Job], settings: Settings) -> Iterator[Client]:
    """Client of the scheduler that was named, or of a cluster of local processes that ends with the block."""
    try:
        import dask
        import distributed
    except ImportError:
        raise SarlabError("the executor dask needs Dask; install it with: pip install 'sarlab[dask]'") from None
    dask.config.set({"distributed.scheduler.allowed-failures": ATTEMPTS - 1})
    if settings.scheduler:
        try:
            client = distributed.Client(settings.scheduler, timeout=15, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise SarlabError(f"no Dask scheduler answers at {settings.scheduler} ({reason})") from None
        with client:
            client.wait_for_workers(1)
            yield client
        return
    own = _local_cluster(worker_count(jobs, settings), threads_of(jobs), bool(devices(settings)))
    with own as cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def _local_cluster(count: int, threads: int, gpu: bool) -> Any:
    import logging

    import dask
    import distributed

    # Encrypted where that is possible: the sockets of a cluster run whatever reaches them.
    try:
        security: Any = distributed.Security.temporary()
    except ImportError:
        security = None
    # Dask's own default makes malloc return memory at every step, which doubles the time of a training.
    dask.config.set({"distributed.nanny.pre-spawn-environ": thread_environment(threads)})
    # Only the driver may take Ctrl-C: it asks the trainings to stop.
    with interrupts_ignored():
        return distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, host="127.0.0.1", security=security,
            dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=logging.CRITICAL,
            resources={GPU: 1} if gpu else None,
        )  # fmt: skip
