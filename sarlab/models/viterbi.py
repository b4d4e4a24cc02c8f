"""Viterbi algorithm: one step of the search for the cheapest path through a trellis."""

from __future__ import annotations

from sarlab.models.compiled import kernel


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
