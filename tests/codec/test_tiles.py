"""Tiles: payloads of any masks come back, and the grid covers every scene."""

import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from sarlab.codec import tiles
from sarlab.codec.block_model import fine_step, initial_tables
from sarlab.codec.lapped import BLOCK, LappedModel
from sarlab.codec.tiles import CODED, FILL_REACH, FLAT, FLAT_UNIT, MISSING, NOT_A_NUMBER, ZERO, fill_invalid
from sarlab.codec.trellis import STATES

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


@given(
    kinds=st.lists(masks, min_size=1, max_size=3), flat_share=st.sampled_from([0, 0.3, 1]), nan=st.booleans(),
    height=st.integers(1, 70), width=st.integers(1, 70), sides=st.integers(0, 15), borders=st.tuples(*[st.booleans()] * 4),
    quality=st.floats(0, 96), states=st.sampled_from(STATES[:5]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=80)
def test_any_tile_comes_back(kinds, flat_share, nan, height, width, sides, borders, quality, states, seed):
    rng = np.random.default_rng(seed)
    valid = np.stack([mask(kind, (height, width), rng) for kind in kinds])
    flat = rng.random((len(kinds), -(-height // 8), -(-width // 8))) < flat_share
    kinds = tiles.kinds_of(valid, flat)
    for band, i, j in np.ndindex(valid.shape):
        assert kinds[band, i, j] == ((FLAT if flat[band, i // 8, j // 8] else CODED) if valid[band, i, j] else MISSING)
    marked = rng.random(valid.shape) < 0.5 * nan
    kinds[marked & ~valid] = NOT_A_NUMBER
    kinds[marked & (kinds == CODED)] = ZERO

    model = LappedModel(initial_tables(), name="test-1", content_hash=bytes(8), states=states).for_scene(height, width)
    active = tiles.active_flags(kinds == CODED, BLOCK, sides, borders)
    exists = (active[:, None] & tiles.ACTIVE > 0) & ((active[:, None] & model.absent[:, None, None]) == 0)
    y = (rng.normal(0, 0.2, exists.shape) * exists).astype(np.float32)
    side = model.parse_side(model.fit_side([(y, active)], quality), len(kinds))
    payload, check = tiles.encode_tile(model, y, kinds, sides, borders, quality, side)
    about = kinds.shape, borders, quality, side
    latent, samples = tiles.decode_tile(model, payload, *about)
    assert check == zlib.crc32(latent.astype("<i4").tobytes()) & 0xFFFF
    assert (samples == kinds).all()
    assert tiles.first_mode(payload) == (0 if valid.all() else 1 if (valid == valid[0]).all() else 2)
    # Every coded value is a point of the quantizer of its state, and close to what was asked for.
    error = np.abs(model.reconstruct(latent, quality, side) - y)[exists]
    assert error.max(initial=0) < 4.5 * fine_step(quality) * (1 if states > 1 else 1.1)
    assert not latent[~exists].any()
    low, part = tiles.decode_tile(model, payload + bytes(5), *about, low=True)[0], model.order[: model.low]
    assert (low[:, part] == latent[:, part]).all()
    assert not np.delete(low, part, 1).any()


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
