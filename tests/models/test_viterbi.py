"""The search against all paths, and sequences dealt to lanes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.models.viterbi import STATES, cheapest_path, from_lanes, to_lanes


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 9), dtype=st.sampled_from([np.float32, np.float64]))
@settings(max_examples=40, deadline=None)
def test_search_finds_what_all_paths_together_find(seed, steps, dtype):
    """With any table of classes: those of the quantizers for latents and of the codec are two of them."""
    generator = np.random.default_rng(seed)
    cost = generator.exponential(size=(4, steps, 3)).astype(dtype)
    classes = generator.integers(0, 4, (2, STATES))
    found = cheapest_path(cost, classes)
    for lane in range(3):
        totals = {}
        for bits in itertools.product((0, 1), repeat=steps):
            state, path = 0, []
            for bit in bits:  # from a state s the shift register moves to 2 s or 2 s + 1, without its highest bit
                after = (2 * state + bit) % STATES
                path.append(classes[state // (STATES // 2), after])
                state = after
            totals[tuple(path)] = sum(cost[c, t, lane] for t, c in enumerate(path))
        assert tuple(found[:, lane]) in totals, "a path that the trellis does not have"
        assert totals[tuple(found[:, lane])] == pytest.approx(min(totals.values()), rel=1e-5)


def test_nothing_is_searched_where_nothing_is():
    assert cheapest_path(np.zeros((4, 0, 0)), np.zeros((2, STATES), np.int64)).shape == (0, 0)


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 4), count=st.integers(1, 1300), longest=st.integers(1, 600))
@settings(max_examples=30, deadline=None)
def test_dealing_to_lanes_is_undone_and_keeps_them_short(seed, rows, count, longest):
    values = np.random.default_rng(seed).integers(0, 9, (rows, count))
    lanes = to_lanes(values, longest)
    assert np.array_equal(to_lanes(np.stack([values, values + 1]), longest)[0], lanes)
    per_row = -(-count // longest)
    assert lanes.shape == (-(-count // per_row), rows * per_row)
    assert len(lanes) <= longest
    assert np.array_equal(from_lanes(lanes, rows, count), values)
