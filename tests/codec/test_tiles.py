"""Tiles: payloads of any masks come back, and the grid covers every scene."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from sarlab.codec.lapped import BLOCK, LappedModel
from sarlab.codec.tiles import (
    ACTIVE,
    CODED,
    FILL_REACH,
    FLAT,
    FLAT_UNIT,
    LAST_COLUMN,
    LAST_ROW,
    MISSING,
    NOT_A_NUMBER,
    TILES_PER_RUN,
    Tiling,
    Window,
    active_flags,
    blocks_of,
    decode_tile,
    encode_tile,
    fill_invalid,
    first_mode,
    kinds_of,
)
from sarlab.codec.train_codec import initial_tables
from sarlab.errors import CodecError

MODEL = LappedModel(initial_tables(), name="test-1", content_hash=bytes(8), states=4)
masks = st.sampled_from(["valid", "missing", "scattered", "half", "one"])


def mask(kind, shape, rng):
    height, width = shape
    return {
        "valid": np.ones(shape, bool),
        "missing": np.zeros(shape, bool),
        "scattered": rng.random(shape) < 0.9,
        "half": np.add.outer(np.arange(height), 0.4 * np.arange(width)) > height / 2,
        "one": np.arange(height * width).reshape(shape) != rng.integers(height * width),
    }[kind]


def coded_tile(kinds, sides, borders, seed=0):
    """A tile of noise: its payload, and what `decode_tile` needs besides."""
    model = MODEL.for_scene(*kinds.shape[1:])
    active = active_flags(kinds == CODED, BLOCK, sides, borders)
    y = np.random.default_rng(seed).normal(0, 0.2, (len(kinds), BLOCK**2, *active.shape[1:])).astype(np.float32)
    side = model.parse_side(model.fit_side([(y, active)], 28), len(kinds))
    latent = model.quantize(y, active, 28, side)[0] if (active & ACTIVE).any() else np.zeros(y.shape, np.int32)
    payload, check = encode_tile(model, y, kinds, sides, borders, 28, side)
    assert check == zlib.crc32(latent.astype("<i4").tobytes()) & 0xFFFF
    return model, payload, latent, (kinds.shape, borders, 28, side)


@given(
    kinds=st.lists(masks, min_size=1, max_size=3), flat_share=st.sampled_from([0, 0.3, 1]), nan=st.booleans(),
    height=st.integers(1, 70), width=st.integers(1, 70), sides=st.integers(0, 15),
    borders=st.tuples(*[st.booleans()] * 4), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_tile_comes_back(kinds, flat_share, nan, height, width, sides, borders, seed):
    rng = np.random.default_rng(seed)
    valid = np.stack([mask(kind, (height, width), rng) for kind in kinds])
    flat = rng.random((len(kinds), -(-height // 8), -(-width // 8))) < flat_share
    kinds = kinds_of(valid, flat)
    for band, i, j in np.ndindex(valid.shape):
        assert kinds[band, i, j] == ((FLAT if flat[band, i // 8, j // 8] else CODED) if valid[band, i, j] else MISSING)
    kinds[~valid & (rng.random(valid.shape) < 0.5 * nan)] = NOT_A_NUMBER
    model, payload, latent, about = coded_tile(kinds, sides, borders, seed)
    found, samples = decode_tile(model, payload, *about)
    assert (found == latent).all()
    assert (samples == kinds).all()
    assert first_mode(payload) == (0 if valid.all() else 1 if (valid == valid[0]).all() else 2)


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 8, 32]), st.floats(0, 0.02), st.integers(0, 15))
@settings(max_examples=60, deadline=None)
def test_active_columns_are_those_near_coded_samples(height, width, stride, share, sides):
    coded = np.random.default_rng(sides).random((2, height, width)) < share
    flags = active_flags(coded, stride, sides, (True, False, True, False))
    h, w = -(-height // stride), -(-width // stride)
    expected = np.zeros((2, h, w), bool)
    for band, i, j in zip(*np.nonzero(coded), strict=True):
        expected[band, i // stride, j // stride] = True
    expected = binary_dilation(expected, np.ones((1, 3, 3), bool))
    for bit, where in enumerate((np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1])):
        if sides & 1 << bit:
            expected[where] = True
    assert ((flags & ACTIVE > 0) == expected).all()
    assert ((flags & LAST_ROW > 0) == (np.arange(h) == h - 1)[:, None]).all()
    assert not (flags & LAST_COLUMN).any()
    assert (blocks_of(coded, stride).sum((1, 2)) <= expected.sum((1, 2))).all()


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([64, 128, 192]), st.data())
@settings(max_examples=60, deadline=None)
def test_tiles_cover_a_scene_once_and_windows_find_theirs(height, width, tile, data):
    tiling = Tiling(height, width, tile, 32)
    seen = np.zeros((height, width), int)
    for row in range(tiling.rows):
        runs = list(tiling.runs(range(row, row + 1)))
        assert all(1 <= len(run) <= TILES_PER_RUN for run in runs)
        windows = [window for run in runs for window in run]
        assert windows == [tiling.window(row, column) for column in range(tiling.columns)]
        for top, left, rows, columns in windows:
            seen[top : top + rows, left : left + columns] += 1
    assert (seen == 1).all()
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(row, column, data.draw(st.integers(1, height - row)), data.draw(st.integers(1, width - column)))
    assert tiling.checked(window) == window
    for reach in (0, 1):
        rows, columns = tiling.tiles_of(window, reach)
        # Samples of the latent positions that the window's own and those around it stand for.
        first = [max(0, (start // 32 - reach) * 32) for start in window[:2]]
        last = [
            min(size - 1, ((start + length - 1) // 32 + reach) * 32)
            for start, length, size in zip(window[:2], window[2:], (height, width), strict=True)
        ]
        assert (rows.start, columns.start) == (first[0] // tile, first[1] // tile)
        assert (rows.stop - 1, columns.stop - 1) == (last[0] // tile, last[1] // tile)


def test_impossible_tilings_are_refused():
    with pytest.raises(CodecError, match="not a multiple"):
        Tiling(100, 100, 48, 32)
    for window in ((-1, 0, 5, 5), (0, 0, 0, 5), (90, 0, 11, 5), (0, 99, 1, 2)):
        with pytest.raises(CodecError, match="leaves the scene"):
            Tiling(100, 100, 64, 32).checked(window)


def test_missing_samples_are_filled_from_near_ones_and_pieces_agree():
    rng = np.random.default_rng(3)
    x = rng.normal(5, 1, (2, 96, 104)).astype(np.float32)
    valid = rng.random(x.shape) < 0.5
    valid[0, 8:80, 16:70] = False
    filled = fill_invalid(np.where(valid, x, 1e9).astype(np.float32), valid, neutral=-7)
    assert (filled[valid] == x[valid]).all()
    near = binary_dilation(valid, np.ones((1, 3, 3), bool))
    assert filled[near].min() >= x.min()
    assert filled[near].max() <= x.max()
    far = ~binary_dilation(valid, np.ones((1, 2 * FILL_REACH + 1, 2 * FILL_REACH + 1), bool))
    assert far.any()
    assert (filled[far] == -7).all()
    top, left = 2 * FLAT_UNIT, 3 * FLAT_UNIT
    part = fill_invalid(x[:, top:, left:90].copy(), valid[:, top:, left:90], neutral=-7)
    assert (
        part[:, FILL_REACH:, FILL_REACH:-FILL_REACH] == filled[:, top:, left:90][:, FILL_REACH:, FILL_REACH:-FILL_REACH]
    ).all()
