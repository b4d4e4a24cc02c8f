"""Ordered parallel work in processes, with no more in flight than memory should hold."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_all_start_methods, get_context, set_forkserver_preload
from types import TracebackType
from typing import Any, TypeVar

from sarlab.errors import CodecError

#: Samples below which starting processes takes longer than they save.
WORTHWHILE = 1 << 23
#: Workers are forked from a process that has imported everything and done nothing, where the system can do that.
METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"

J = TypeVar("J")
R = TypeVar("R")


class Workers:
    """A pool of processes, or none: with one worker everything runs where it is called; a context manager.

    The range coder holds Python's lock and the transforms are small, so processes of one thread each are what makes use
    of several cores.

    Parameters
    ----------
    count : int
        Processes; 0 stands for all processors that this process may use, where the work is worth starting them.
    samples : int
        How much work there is.
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

    def map(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Results in the order of `jobs`; jobs are made as they are needed.

        `work` is a function of a module, and jobs and results can be sent between processes.
        """
        if self._pool is None:
            yield from map(work, jobs)
            return
        waiting: deque[Future[Any]] = deque()
        try:
            for job in jobs:
                waiting.append(self._pool.submit(work, job))
                if len(waiting) > 2 * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise CodecError("a worker process died, perhaps for lack of memory; try fewer workers") from None
        finally:
            for future in waiting:
                future.cancel()


@lru_cache(maxsize=1)
def _prepare() -> None:
    """Start what the workers are forked from; it imports while this process still looks at the scene."""
    if METHOD == "forkserver":
        from multiprocessing import forkserver

        set_forkserver_preload(
            ["sarlab.coding.encoding", "sarlab.coding.decoding", "sarlab.coding.hyper_storage", "torch"]
        )
        forkserver.ensure_running()


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start() -> None:
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops the pool
    torch.set_num_threads(1)
