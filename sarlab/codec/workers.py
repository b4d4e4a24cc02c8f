"""Parallel work in processes, in order, with a bounded number of jobs in flight."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache, partial
from multiprocessing import get_all_start_methods, get_context, set_forkserver_preload
from types import ModuleType, TracebackType
from typing import TypeVar

from sarlab.errors import CodecError

#: Samples below which starting processes takes longer than it saves.
WORTHWHILE = 1 << 23
#: If the system allows, workers are forked from a process that has imported everything and done nothing.
METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"

_DIED = "a worker process died, perhaps for lack of memory; try fewer workers"

J = TypeVar("J")
R = TypeVar("R")


class Workers:
    """A pool of processes, a context manager; with one worker, everything runs in the calling process.

    The range coder holds the interpreter lock and the transforms are small, so single-threaded processes use several
    cores best.

    Parameters
    ----------
    count : int
        Processes; 0 for all processors available to this process, if the work is worth starting them.
    samples : int
        Amount of work.
    """

    def __init__(self, count: int = 1, samples: int = 0):
        if count < 0:
            raise CodecError(f"the number of workers must be positive (or 0 for all processors), not {count}")
        self.count = count or (processors() if samples >= WORTHWHILE else 1)
        self._pool: ProcessPoolExecutor | None = None
        if self.count > 1:
            _prepare()

    def __enter__(self) -> Workers:
        if self.count > 1:
            self._pool = ProcessPoolExecutor(self.count, get_context(METHOD), initializer=_start)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def ahead(self) -> int:
        """Jobs to submit before the first result is taken."""
        return 2 * self.count if self._pool else 0

    def submit(self, work: Callable[[J], R], job: J) -> Callable[[], R]:
        """Start a job, and return a function that waits for its result. Without processes the job is done at once.

        `work` must be a function of a module; job and result are sent between processes.
        """
        if self._pool is None:
            result = work(job)
            return lambda: result
        try:
            with _nothing_to_import():
                return partial(_result, self._pool.submit(work, job))
        except BrokenProcessPool:
            raise CodecError(_DIED) from None

    def map(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Yield results in the order of `jobs`, which are drawn as needed."""
        waiting: deque[Callable[[], R]] = deque()
        for job in jobs:
            waiting.append(self.submit(work, job))
            if len(waiting) > self.ahead:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()


def _result(future: Future[R]) -> R:
    try:
        return future.result()
    except BrokenProcessPool:
        raise CodecError(_DIED) from None


@contextmanager
def _nothing_to_import() -> Iterator[None]:
    """Keep workers that start meanwhile from importing the running script, which may have no ``__main__`` guard."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@lru_cache(maxsize=1)
def _prepare() -> None:
    """Start the process that workers are forked from; it imports while this one analyzes the scene."""
    if METHOD == "forkserver":
        from multiprocessing import forkserver

        set_forkserver_preload(["sarlab.codec.pieces", "sarlab.codec.hyper.storage", "torch"])
        forkserver.ensure_running()


def processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start() -> None:
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and stops the pool
    torch.set_num_threads(1)
