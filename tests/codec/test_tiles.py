"""Nodata masks: lossless for anything, and nearly free where they should be."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tiles import PROBABILITIES, decode_masks, encode_masks, first_mode
from sarlab.errors import BitstreamError


def coded(valid):
    encoder = RangeEncoder()
    encode_masks(encoder, valid)
    data = encoder.finish()
    assert (decode_masks(RangeDecoder(data), valid.shape) == valid).all()
    return len(data)


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=24)))
@settings(max_examples=200, deadline=None)
def test_any_mask_comes_back(valid):
    coded(valid)


@given(st.integers(1, 70), st.integers(1, 70), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_any_size_and_density_comes_back(height, width, share, seed):
    coded(np.random.default_rng(seed).random((2, height, width)) < share)


def test_cost_of_common_masks():
    rows, columns = np.mgrid[:512, :512]
    assert coded(np.ones((2, 512, 512), bool)) == 0
    assert coded(np.zeros((2, 512, 512), bool)) <= 1
    border = (0.37 * rows + columns > 200)[None]
    assert coded(border) < 200  # 540 edge samples
    assert coded(np.repeat(border, 2, 0)) <= coded(border) + 1  # shared by both bands
    disc = ((rows - 200) ** 2 + (columns - 260) ** 2 < 180**2)[None]
    assert coded(disc) < 400  # 1130 edge samples


@pytest.mark.parametrize("share", [1e-4, 1e-3, 1e-2, 0.1, 0.5])
def test_scattered_samples_cost_their_entropy(share):
    valid = np.random.default_rng(0).random((1, 512, 512)) >= share
    entropy = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * valid.size / 8
    assert coded(valid) < 1.05 * entropy + 60


def test_real_line_of_nodata(shared_data):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(shared_data / "sentinel1_grd_chips" / "Nigeria_812045_S1Hand.tif") as file:
        valid = ~np.isnan(file.read())
    assert (~valid).sum() == 2 * 579
    assert coded(valid) < 260


def test_first_mode_is_seen_without_decoding_the_rest():
    for valid, mode in ((np.ones((2, 8, 8), bool), 0), (np.zeros((2, 8, 8), bool), 1)):
        encoder = RangeEncoder()
        encode_masks(encoder, valid)
        encoder.encode_uniform(np.arange(200), 256)
        assert first_mode(encoder.finish()) == mode


def test_probabilities_rise_and_are_symmetric():
    values = np.array(PROBABILITIES)
    assert (np.diff(values) > 0).all()
    assert (values + values[::-1] == 65536).all()


def test_damaged_masks_end():
    rng = np.random.default_rng(1)
    encoder = RangeEncoder()
    encode_masks(encoder, rng.random((2, 60, 60)) < 0.7)
    data = bytearray(encoder.finish())
    for _ in range(200):
        damaged = bytearray(data[: rng.integers(len(data))])
        if damaged:
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        with contextlib.suppress(BitstreamError):
            assert decode_masks(RangeDecoder(bytes(damaged)), (2, 60, 60)).shape == (2, 60, 60)
