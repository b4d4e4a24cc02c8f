"""Compile functions with numba, keep the machine code on disk, and let other threads run meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

#: Digest of all modules that may contain compiled functions.
_SOURCES = hashlib.sha256(
    b"".join(
        path.read_bytes()
        for wing in ("models", "codec")
        for path in sorted((Path(__file__).parents[1] / wing).rglob("*.py"))
    )
).hexdigest()


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile `function` when it is first called.

    Floating-point sums keep their order and products are not fused with sums, so results are equal on all processors.
    """
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        found = njit(function, cache=True, **options)
    except RuntimeError:  # no folder for the machine code can be written
        return njit(function, **options)
    # Machine code contains functions of other modules, and numba looks for changes in the module of `function` alone.
    found._cache._cache_file._source_stamp = _SOURCES  # type: ignore[attr-defined]
    return found


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that makes no arrays: calls among such functions cost nothing, as no references are counted."""
    return compiled(function, _nrt=False)
