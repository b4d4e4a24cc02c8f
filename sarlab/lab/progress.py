"""Progress of a sweep: a line as each run ends, and on a terminal one that moves while they run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

from sarlab.lab.executors import Finished
from sarlab.lab.forecast import weight
from sarlab.lab.jobs import Job, progress_of


class Progress:
    """Prints how far a sweep is and what is left of it.

    Runs count by their work, not by their number; runs in flight count by their steps.

    Parameters
    ----------
    todo : sequence of Job
    stream : text stream
        Standard output by default.
    every : float
        Seconds between looks at runs in flight, on a terminal.
    """

    def __init__(self, todo: Sequence[Job], stream: TextIO | None = None, every: float = 2.0):
        self.stream = stream or sys.stdout
        self.weights = {job.run_id: weight(job.spec) for job in todo}
        self.jobs = {job.run_id: job for job in todo}
        self.done: set[str] = set()
        self.start = time.monotonic()
        #: What interrupted runs had done before; the time and the share at which work was first seen to move.
        self._before = self.share()
        self._moving: tuple[float, float] | None = None
        self.live = self.stream.isatty()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._every = every

    def __enter__(self) -> Progress:
        if self.live:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.live:
            self._thread.join()
            self._clear()

    def __call__(self, item: Finished) -> None:
        """Say that a run has ended, or that another process has it."""
        with self._lock:
            if item.outcome == "busy":
                self._print(f"  waiting   {item.message}")
                return
            self.done.add(item.job.run_id)
            self._print(
                f"[{len(self.done)}/{len(self.jobs)}] {item.outcome:<11} {item.job.run_id:<38} {item.seconds:6.1f} s"
                f"   {self.left()}"
            )

    def left(self) -> str:
        """Time that is left, in words; empty until two looks have seen the work move.

        The time before the first of them does not count: processes start, libraries are imported and scenes are read
        once, and taken for the pace of the work it would make a sweep look many times as long.
        """
        share, now = self.share(), time.monotonic()
        if share >= 1:
            return f"{duration(now - self.start)} in all"
        if self._moving is None:
            if share > self._before:
                self._moving = now, share
            return ""
        since, had = self._moving
        if share <= had:
            return ""
        return f"about {duration((now - since) * (1 - share) / (share - had))} left"

    def share(self) -> float:
        """Share of the work that is done, from 0 to 1."""
        finished = sum(self.weights[name] for name in self.done)
        running = sum(self.weights[name] * steps_share(self.jobs[name]) for name in set(self.jobs) - self.done)
        total = sum(self.weights.values())
        return (finished + running) / total if total else 1.0

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            with self._lock:
                text = f"{100 * self.share():3.0f} %  {len(self.done)} of {len(self.jobs)} runs  {self.left()}"
                self.stream.write(f"\r\x1b[K{text}")
                self.stream.flush()

    def _print(self, text: str) -> None:
        self._clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def _clear(self) -> None:
        if self.live:
            self.stream.write("\r\x1b[K")


def steps_share(job: Job) -> float:
    """Share of its training that a run in flight has done; 0 where it has left no word."""
    state = progress_of(job.folder)
    return min(1.0, state.get("step", 0) / max(1, state.get("steps", 1)))


def duration(seconds: float) -> str:
    """Time for people: ``40 s``, ``12.5 min``, ``3.2 h``."""
    if seconds != seconds:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
