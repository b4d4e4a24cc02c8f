"""Viterbi algorithm: the cheapest path through a trellis, many lanes at once, and how sequences are dealt to lanes."""

from __future__ import annotations

import numpy as np

from sarlab.models.compiled import kernel

#: States of the trellis of `cheapest_path`.
STATES = 8


@kernel
def advance(cost, before, branches, totals, now, second, step):
    """Advance all lanes by one step of a trellis with two branches to each state.

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


def cheapest_path(cost: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the class of each value on the path of least cost through its lane; lanes start in state 0.

    States form a shift register: the states before state n are n // 2 and n // 2 + 4.

    Parameters
    ----------
    cost : ndarray of float32 or float64, shape (classes, steps, lanes)
        Cost of each value in each class.
    classes : ndarray of int, shape (2, 8)
        Class of the branch to state n, from state n // 2 and from state n // 2 + 4.

    Returns
    -------
    ndarray of int64, shape (steps, lanes)
    """
    _, steps, lanes = cost.shape
    before = np.arange(STATES)[:, None] // 2 + np.array([0, STATES // 2])
    branches = np.ascontiguousarray(classes.T)
    totals = np.full((2, STATES, lanes), np.inf, cost.dtype)
    totals[0, 0] = 0
    second = np.empty((steps, STATES, lanes), np.bool_)
    for step in range(steps):
        advance(np.ascontiguousarray(cost[:, step]), before, branches, totals, step & 1, second, step)
    state, found = totals[steps & 1].argmin(0), np.empty((steps, lanes), np.int64)
    for step in reversed(range(steps)):
        branch = second[step, state, np.arange(lanes)].astype(np.int64)
        found[step], state = branches[state, branch], before[state, branch]
    return found


def to_lanes(values: np.ndarray, longest: int) -> np.ndarray:
    """Deal sequences (…, rows, count) to as few lanes as have at most `longest` steps: (…, steps, rows · lanes).

    Value i goes to lane i mod lanes; the last step is padded with zeros.
    """
    *more, rows, count = values.shape
    lanes = max(1, -(-count // longest))
    steps = -(-count // lanes)
    padded = np.zeros((*more, rows, steps * lanes), values.dtype)
    padded[..., :count] = values
    return np.moveaxis(padded.reshape(*more, rows, steps, lanes), -2, -3).reshape(*more, steps, rows * lanes)


def from_lanes(values: np.ndarray, rows: int, count: int) -> np.ndarray:
    """Invert `to_lanes` for one set of sequences: shape (rows, count)."""
    steps = len(values)
    return values.reshape(steps, rows, -1).swapaxes(0, 1).reshape(rows, -1)[:, :count]
