"""Parallel work in threads, in order, with a bounded number of jobs in flight."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from sarlab.errors import CodecError

J = TypeVar("J")
R = TypeVar("R")


class Workers:
    """A pool of threads, a context manager; with one worker, everything runs in the calling thread.

    Threads share the cores well, because compiled code and NumPy do not hold the lock of the interpreter.

    Parameters
    ----------
    count : int
        Threads; 0 for as many as this process may use processors.
    """

    def __init__(self, count: int = 1):
        if count < 0:
            raise CodecError(f"the number of workers must be positive (or 0 for all processors), not {count}")
        self.count = count or processors()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            self._pool = ThreadPoolExecutor(self.count)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def ahead(self) -> int:
        """Jobs to submit before the first result is taken."""
        return 2 * self.count if self._pool else 0

    def submit(self, work: Callable[[J], R], job: J) -> Callable[[], R]:
        """Start a job, and return a function that waits for its result. Without threads the job is done at once."""
        if self._pool is None:
            result = work(job)
            return lambda: result
        return self._pool.submit(work, job).result

    def map(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Yield results in the order of `jobs`, which are drawn as needed."""
        waiting: deque[Callable[[], R]] = deque()
        for job in jobs:
            waiting.append(self.submit(work, job))
            if len(waiting) > self.ahead:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()


def processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
