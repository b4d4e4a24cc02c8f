"""Parts that the classical codecs share: the integer grid, and the fill of nodata."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.peers.band_codec import Grid, filled


@settings(max_examples=200, deadline=None)
@given(
    low=st.floats(-300, 300, width=32),
    span=st.floats(2.0**-20, 400, width=32),
    top=st.sampled_from([1, 255, 1023, 4095, 65535]),
    seed=st.integers(0, 2**31),
)
def test_grid_clips_nothing_and_rounds_to_half_a_step(low, span, top, seed):
    plane = np.float32(low) + np.float32(span) * np.random.default_rng(seed).random((5, 7), np.float32)
    if plane.min() == plane.max():
        return
    grid = Grid.spanning(plane, top)
    codes = grid.codes(plane)
    assert codes.min() == 0
    assert codes.max() <= top
    error = np.abs(grid.offset + grid.step * codes - plane.astype(np.float64))
    assert error.max() <= 0.5 * grid.step * (1 + 1e-9)
    assert np.float32(grid.step) == grid.step
    assert np.float32(grid.offset) == grid.offset


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_filled_samples_lie_between_the_valid_ones(rows, columns, share, seed):
    generator = np.random.default_rng(seed)
    plane = generator.normal(-10, 5, (rows, columns)).astype(np.float32)
    valid = generator.random(plane.shape) < share
    valid[generator.integers(rows), generator.integers(columns)] = True
    found = filled(np.where(valid, plane, np.nan).astype(np.float32), valid)
    assert np.array_equal(found[valid], plane[valid])
    assert plane[valid].min() - 1e-4 <= found.min()
    assert found.max() <= plane[valid].max() + 1e-4


def test_a_hole_in_a_ramp_is_filled_smoothly():
    ramp = np.add.outer(np.arange(64.0), np.arange(64.0)).astype(np.float32)
    valid = np.ones((64, 64), bool)
    valid[20:40, 20:40] = False
    found = filled(np.where(valid, ramp, np.nan).astype(np.float32), valid)
    jumps = [np.abs(np.diff(found, axis=axis)).max() for axis in (0, 1)]
    # The ramp rises by 1 a sample, the hole is 20 wide: a constant fill would jump by 20.
    assert max(jumps) < 10
