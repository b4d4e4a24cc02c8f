"""Ctrl-C as a question that a loop asks between its steps, also in threads, where the signal itself never arrives."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: One event for each loop of this process that may be asked to stop.
_listening: set[threading.Event] = set()


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C into a question, so that no step is cut in half; a second Ctrl-C interrupts at once.

    In another thread than the main one, where no signal arrives, only `interrupt_all` answers it.
    """
    asked = threading.Event()

    def handler(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, handler) if main else None
    _listening.add(asked)
    try:
        yield asked.is_set
    finally:
        _listening.discard(asked)
        if main:
            signal.signal(signal.SIGINT, before)


def interrupt_all() -> int:
    """Ask all loops of this process to stop after the step at hand; returns how many there are."""
    for asked in list(_listening):
        asked.set()
    return len(_listening)
