"""The trellis of trellis-coded quantization: which levels a value may have after those before it, and the best path.

Twice as many levels as integers, in ascending order, belong to the subsets D0 D1 D2 D3 D0 D1 … in turn::

    level      0   1   2   3   4   5   6   7  …
    subset     D0  D1  D2  D3  D0  D1  D2  D3 …
    integer    0   0   1   1   2   2   3   3  …        level = 2 · integer + state mod 2

An even state allows D0 and D2, an odd one D1 and D3; the integer counts the levels of the two in ascending order. Its
lowest bit tells the subset, and with it the next state; the bits above it choose within the subset.

References
----------
Ungerboeck 1982 (the code of 8 states); Marcellin & Fischer 1990.
"""

from __future__ import annotations

import numpy as np

#: State after a state and the lowest bit of an integer.
NEXT = ((0, 1), (2, 3), (5, 4), (7, 6), (1, 0), (3, 2), (4, 5), (6, 7))
STATES = len(NEXT)
#: Most values of a path. The first ones have fewer levels to choose from, so paths should not be short; all paths take
#: a step at once, so they should not be long.
LONGEST = 512
_HALF = STATES // 2
# Before state n come n // 2 and n // 2 + _HALF; the branch from there to n is of subset _SUBSETS[which of them, n].
_SUBSETS = np.array(
    [[2 * NEXT[n // 2 + first].index(n) + (n // 2 + first) % 2 for n in range(STATES)] for first in (0, _HALF)]
)
_FOLLOWING = np.array(NEXT).ravel()


def lane_count(count: int, longest: int = LONGEST) -> int:
    """Paths that a sequence of `count` values is dealt to: value i to path i mod lanes."""
    return max(1, -(-count // longest))


def best_subsets(cost: np.ndarray) -> np.ndarray:
    """Subset of each value on the path of least cost, by the Viterbi algorithm; all paths begin in state 0.

    Parameters
    ----------
    cost : ndarray, shape (4, steps, paths)
        Cost of each value in each subset.

    Returns
    -------
    ndarray of int64, shape (steps, paths)
    """
    _, steps, paths = cost.shape
    order = _SUBSETS.ravel()
    later = np.empty((steps, STATES, paths), bool)
    total = np.full((STATES, paths), np.inf, cost.dtype)
    total[0] = 0
    reached = np.empty((2 * STATES, paths), cost.dtype)
    ways, before = reached.reshape(2, _HALF, 2, paths), total.reshape(2, _HALF, 1, paths)
    one, two = reached[:STATES], reached[STATES:]
    for step in range(steps):
        np.take(cost[:, step], order, axis=0, out=reached)
        np.add(ways, before, out=ways)
        np.less(two, one, out=later[step])
        np.minimum(one, two, out=total)
    state = total.argmin(axis=0)
    place = np.arange(paths)
    flat = later.reshape(steps, -1)
    found = np.empty((steps, paths), np.int64)
    for step in range(steps - 1, -1, -1):
        second = flat[step].take(state * paths + place)
        found[step] = order.take(state + STATES * second)
        state = (state >> 1) + _HALF * second
    return found


def parities_of_states(bits: np.ndarray) -> np.ndarray:
    """State mod 2 before each value, from the lowest bits of the integers; all paths begin in state 0.

    Parameters
    ----------
    bits : ndarray of int, shape (steps, paths)

    Returns
    -------
    ndarray of int, same shape
    """
    state = np.zeros(bits.shape[1], np.int64)
    states = np.empty(bits.shape, np.int64)
    for step, lowest in enumerate(bits):
        states[step] = state
        state = _FOLLOWING.take(2 * state + lowest)
    return states & 1


def to_lanes(values: np.ndarray, longest: int = LONGEST) -> np.ndarray:
    """Sequences (…, rows, count) dealt to paths, shape (…, steps, rows · lanes); the last step is filled with zeros."""
    *more, rows, count = values.shape
    lanes = lane_count(count, longest)
    steps = -(-count // lanes)
    padded = np.zeros((*more, rows, steps * lanes), values.dtype)
    padded[..., :count] = values
    return np.moveaxis(padded.reshape(*more, rows, steps, lanes), -2, -3).reshape(*more, steps, rows * lanes)


def from_lanes(values: np.ndarray, rows: int, count: int) -> np.ndarray:
    """Inverse of `to_lanes` for one set of sequences, shape (rows, count)."""
    steps = len(values)
    return values.reshape(steps, rows, -1).swapaxes(0, 1).reshape(rows, -1)[:, :count]
