"""Compiled functions: numba with machine code kept on disk, and the step of the Viterbi algorithm that trellises share."""

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
    second : ndarray of bool, shape (steps, states, lanes)
        Filled in at `step`: whether the second branch is cheaper.
    """
    for state in range(before.shape[0]):
        one, two, first_class, second_class = before[state, 0], before[state, 1], branches[state, 0], branches[state, 1]
        for lane in range(cost.shape[1]):
            first = totals[now, one, lane] + cost[first_class, lane]
            other = totals[now, two, lane] + cost[second_class, lane]
            better = other < first
            second[step, state, lane] = better
            totals[1 - now, state, lane] = other if better else first
