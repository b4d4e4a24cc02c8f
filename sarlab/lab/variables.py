"""What processes inherit that are started meanwhile: environment variables, and whether Ctrl-C is for them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def inherited(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that processes started inside the block inherit; afterwards they are as before.

    Parameters
    ----------
    values : mapping of str to str
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Let processes started inside the block ignore Ctrl-C, which reaches every process of a terminal.

    Outside of the main thread, which alone may decide that, nothing changes.
    """
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
