"""Compile a function with numba, keep the machine code on disk, and let other threads run meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` when it is first called.

    Floating-point sums keep their order and products are not fused with sums, so results are equal on all processors.
    """
    try:
        return njit(function, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # no folder for the machine code can be written
        return njit(function, nogil=True, error_model="numpy")
