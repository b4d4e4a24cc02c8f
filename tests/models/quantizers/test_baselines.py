"""Floating-point formats against NumPy, and the guide's quantizer bit for bit against its formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import BitstreamError, QuantizerError
from sarlab.models.quantizers import build_quantizer
from sarlab.models.quantizers.quantizer import write_header
from sarlab.specs import QuantizerSpec


@given(st.lists(st.floats(-6e4, 6e4, width=32), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_float16_is_numpys(values):
    y = torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)
    quantizer = build_quantizer(QuantizerSpec("float16", 16), 1)
    expected = np.asarray(values, np.float32).astype(np.float16)
    assert np.array_equal(quantizer.rounded(y).numpy().ravel(), expected.astype(np.float32))
    assert quantizer.pack(y)[-2 * len(values) :] == expected.astype(">f2").tobytes()
    assert (torch.abs(quantizer.rounded(y) - y) <= quantizer.step_of(y) / 2).all()


@given(st.lists(st.floats(-(2.0**120), 2.0**120, width=32), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_bfloat16_is_the_rounded_upper_half(values):
    y = torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(">u2")
    quantizer = build_quantizer(QuantizerSpec("bfloat16", 16), 1)
    assert quantizer.pack(y)[-2 * len(values) :] == upper.tobytes()


def test_float32_changes_nothing_and_float16_saturates():
    y = torch.tensor([1e-40, -0.0, 3.4e38, 7e4, -7e4, 1 / 3]).view(1, 1, 2, 3)
    exact = build_quantizer(QuantizerSpec(), 1)
    assert torch.equal(exact.unpack(exact.pack(y)), y)
    half = build_quantizer(QuantizerSpec("float16", 16), 1).quantize(y)
    assert half.saturated == 3
    restored = build_quantizer(QuantizerSpec("float16", 16), 1).dequantize(half).flatten()
    assert restored[2:5].tolist() == [65504.0, 65504.0, -65504.0]


def test_infinite_patterns_in_a_file_are_refused():
    quantizer = build_quantizer(QuantizerSpec("float16", 16), 1)
    with pytest.raises(BitstreamError, match="NaN or infinite"):
        quantizer.unpack(write_header(1, 1, 1) + np.array([np.nan], ">f2").tobytes())


def quantize_as_written(latent: np.ndarray, bits: int) -> tuple[np.ndarray, np.float32, np.float32, np.float32]:
    """The formulas of the guide, before its cast."""
    vmin, vmax = latent.min(), latent.max()
    scale = (2**bits - 1) / (vmax - vmin + 1e-10)
    return ((latent - vmin) * scale).round(), vmin, vmax, scale


def latent(seed: int, scale: float = 3.0) -> torch.Tensor:
    return torch.randn((1, 3, 6, 5), generator=torch.Generator().manual_seed(seed)) * scale


@given(bits=st.integers(2, 16), seed=st.integers(0, 500), scale=st.sampled_from([1e-3, 1.0, 40.0]))
@settings(max_examples=60, deadline=None)
def test_it_is_the_guides_code(bits, seed, scale):
    y = latent(seed, scale)
    quantizer = build_quantizer(QuantizerSpec("guide", bits), 3)
    rounded, vmin, _, factor = quantize_as_written(y.numpy(), bits)
    integers = (rounded.astype(np.int64) % 256).astype(np.uint8)
    if bits <= 8:
        assert np.array_equal(integers, rounded.astype(np.uint8))
    quantized = quantizer.quantize(y)
    assert np.array_equal(quantized.integers.numpy(), integers)
    assert np.array_equal(quantizer.dequantize(quantized).numpy(), integers.astype(np.float32) / factor + vmin)


def test_above_8_bits_it_wraps_around():
    y = latent(1)
    error = {b: (build_quantizer(QuantizerSpec("guide", b), 3).rounded(y) - y).abs().max() for b in (8, 9, 12)}
    assert error[8] <= (y.max() - y.min()) / 255 / 2 * 1.001
    assert error[9] > 50 * error[8]
    assert error[12] > 100 * error[8]


def test_constant_latents_and_impossible_ranges():
    quantizer = build_quantizer(QuantizerSpec("guide", 8), 3)
    y = torch.full((1, 3, 2, 2), -2.5)
    assert torch.equal(quantizer.unpack(quantizer.pack(y)), y)
    with pytest.raises(QuantizerError, match="exceeds float32"):
        quantizer.pack(torch.tensor([-3e38, 3e38, 0.0]).view(1, 3, 1, 1))
    data = bytearray(quantizer.pack(latent(3)))
    data[3:7] = np.array([np.nan], ">f4").tobytes()
    with pytest.raises(BitstreamError, match="impossible"):
        quantizer.unpack(bytes(data))
