"""Range coding of quantized latents: the same values back, sizes within a hair of the information, no trust in bytes."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from sarlab.codec.latent_coding import (
    decode_latent,
    encode_latent,
    fit_latent_tables,
    ideal_bits,
)
from sarlab.errors import BitstreamError, CodecError
from sarlab.models.quantizers import build_quantizer
from sarlab.specs import QuantizerSpec

SPECS = [
    QuantizerSpec("affine", 4),
    QuantizerSpec("affine", 8, calibration="mse"),
    QuantizerSpec("affine", 12, granularity="tensor"),
    QuantizerSpec("allocated", 2, calibration="mse"),
    QuantizerSpec("companded", 3, calibration="mse"),
    QuantizerSpec("trellis", 3, calibration="mse"),
    QuantizerSpec("lsq", 5),
    QuantizerSpec("fsq", 3, calibration="mse"),
    QuantizerSpec("guide", 6),
    QuantizerSpec("float16", 16),
    QuantizerSpec("bfloat16", 16),
    QuantizerSpec("float32", 32),
]
IDS = [f"{s.scheme}{s.bits}" for s in SPECS]
CHANNELS = 5


def latent(*shape: int, seed: int = 0, laplace: bool = False) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    draw = generator.laplace if laplace else generator.normal
    scale = np.logspace(1, -2, shape[1]).reshape(1, -1, 1, 1)
    return torch.from_numpy((draw(size=shape) * scale + 1).astype(np.float32))


def ready(spec: QuantizerSpec, train: torch.Tensor):
    quantizer = build_quantizer(spec, train.shape[1])
    quantizer.calibrate(train)
    return quantizer, fit_latent_tables(quantizer, train.split(1))


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_decodes_to_the_quantized_latent(spec):
    quantizer, model = ready(spec, latent(4, CHANNELS, 12, 12))
    for shape, seed in (((1, CHANNELS, 1, 1), 1), ((2, CHANNELS, 7, 9), 2), ((1, CHANNELS, 40, 30), 3)):
        y = latent(*shape, seed=seed)
        y[0, 0, 0, 0] = 60000.0  # far outside the calibrated range
        data = encode_latent(quantizer, y, model)
        assert encode_latent(quantizer, quantizer.quantize(y), model) == data
        restored = decode_latent(quantizer, data, model)
        assert torch.equal(restored, quantizer.rounded(y))
        assert restored.dtype == torch.float32


@given(seed=st.integers(0, 500), bits=st.integers(2, 16), n=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_size_is_the_information_within_half_a_percent_and_a_few_bytes(seed, bits, n):
    quantizer, model = ready(QuantizerSpec("affine", bits), latent(2, CHANNELS, 8, 8, seed=seed))
    y = latent(n, CHANNELS, 16, 16, seed=seed + 1, laplace=True)
    size = 8 * len(encode_latent(quantizer, y, model))
    ideal = ideal_bits(quantizer, y, model)
    header = 8 * 4
    # Zeros at the end are dropped, seldom more than one.
    assert header + ideal - 16 <= size <= header + 1.005 * ideal + 64


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_size_is_the_plug_in_entropy_of_a_memoryless_latent(bits):
    """Against an independent entropy of the integers."""
    y = latent(4, 3, 120, 120)
    quantizer, model = ready(QuantizerSpec("affine", bits), y)
    integers = quantizer.quantize(y).integers
    planes = integers.movedim(1, 0).reshape(3, -1).numpy()
    counts = [np.bincount(plane, minlength=2**bits) for plane in planes]
    plug_in = sum(entropy(c, base=2) * c.sum() for c in counts)
    size = 8 * len(encode_latent(quantizer, y, model))
    # Probabilities that follow the values cost 0.5 % on a distribution that does not change.
    assert plug_in - 64 <= size <= 1.006 * plug_in + 128


@pytest.mark.parametrize("spec", [s for s in SPECS if s.scheme != "guide"], ids=[i for i in IDS if "guide" not in i])
def test_values_do_not_depend_on_threads_or_batch(spec):
    """But for the guide's quantizer, whose range is that of the batch."""
    quantizer, model = ready(spec, latent(4, CHANNELS, 16, 16))
    y = latent(4, CHANNELS, 17, 15, seed=1)
    data = encode_latent(quantizer, y, model)
    singles = [encode_latent(quantizer, one, model) for one in y.split(1)]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        whole = decode_latent(quantizer, data, model)
        parts = torch.cat([decode_latent(quantizer, single, model) for single in singles])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(whole, decode_latent(quantizer, data, model))
    assert torch.equal(whole, parts)
    assert torch.equal(whole, quantizer.rounded(y))


def test_channels_without_bits_take_none_and_frequencies_are_checked():
    quantizer, model = ready(QuantizerSpec("allocated", 2, calibration="mse"), latent(2, CHANNELS, 16, 16))
    assert 0 in quantizer.widths
    y = latent(1, CHANNELS, 8, 8, seed=3)
    assert torch.equal(decode_latent(quantizer, encode_latent(quantizer, y, model), model), quantizer.rounded(y))
    other, _ = ready(QuantizerSpec("affine", 5), latent(1, CHANNELS + 1, 8, 8))
    with pytest.raises(CodecError, match="do not fit"):
        encode_latent(other, latent(1, CHANNELS + 1, 8, 8), model)
    with pytest.raises(CodecError, match="no latents"):
        fit_latent_tables(quantizer, [])


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_damaged_bytes_raise_or_decode_to_something_finite(spec):
    quantizer, model = ready(spec, latent(2, CHANNELS, 8, 8))
    data = encode_latent(quantizer, latent(1, CHANNELS, 6, 6, seed=1), model)
    generator = np.random.default_rng(0)
    for position in range(min(len(data), 30)):
        damaged = bytearray(data)
        damaged[position] ^= int(generator.integers(1, 256))
        with contextlib.suppress(BitstreamError):
            assert torch.isfinite(decode_latent(quantizer, bytes(damaged), model, most_values=10_000)).all()
    for cut in (b"", data[:3]):
        with pytest.raises(BitstreamError):
            decode_latent(quantizer, cut, model)
