"""Environment variables for processes that are started meanwhile."""

from __future__ import annotations

import contextlib
import os
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
