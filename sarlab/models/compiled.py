"""Compiled functions: numba with machine code kept on disk, and the step of the Viterbi algorithm that trellises share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

#: All modules that may contain compiled functions, and their digest.
_PATHS = [path for wing in ("models", "codec") for path in sorted((Path(__file__).parents[1] / wing).rglob("*.py"))]
_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in _PATHS)).hexdigest()


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile `function` when it is first called; other threads run meanwhile.

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


@kernel
def advance(cost, before, branches, totals, now, second, step):
    """Advance the search for the cheapest path by one step of a trellis with two branches to each state, in all lanes.

    Parameters
    ----------
    cost : ndarray, shape (classes, lanes)
        Cost of each class of branches.
    before, branches : ndarray of int, shape (states, 2)
        State at the beginning, and class, of both branches to each state.
    totals : ndarray, shape (2, states, lanes)
        Least cost of a path to each state: `now` is read, the other one written.
    second : ndarray of uint8, shape (steps, ⌈states / 8⌉, lanes)
        Filled in at `step`: whether the second branch to a state is cheaper, bit (state mod 8) of its byte.
    """
    source, target, words = totals[now], totals[1 - now], second[step]
    for state in range(before.shape[0]):
        bit, keep = np.uint8(1 << (state & 7)), np.uint8(255 if state & 7 else 0)
        # Unsigned, so that no index counts from the end, and the inner loop becomes vector instructions.
        one, two = np.uint64(before[state, 0]), np.uint64(before[state, 1])
        first_class, second_class = np.uint64(branches[state, 0]), np.uint64(branches[state, 1])
        word, least = words[state >> 3], target[state]
        for lane in range(cost.shape[1]):
            first, other = source[one, lane] + cost[first_class, lane], source[two, lane] + cost[second_class, lane]
            better = other < first
            word[lane] = (word[lane] & keep) | (bit if better else np.uint8(0))
            least[lane] = other if better else first
