"""Range coding of quantized latents: the same values back, sizes within a hair of the information, no trust in bytes."""

import contextlib

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from sarlab.codec.latent_coding import decode_latent, encode_latent, fit_latent_tables, ideal_bits
from sarlab.errors import BitstreamError
from sarlab.models.quantizers import build_quantizer
from sarlab.specs import QuantizerSpec

SPECS = [
    QuantizerSpec(scheme, bits, calibration="mse")
    for scheme, bits in (
        ("affine", 4), ("affine", 8), ("allocated", 2), ("companded", 3), ("trellis", 3), ("lsq", 5), ("fsq", 3),
        ("guide", 6), ("float16", 16), ("bfloat16", 16), ("float32", 32),
    )
] + [QuantizerSpec("affine", 12, granularity="tensor")]  # fmt: skip
CHANNELS = 5


def latent(*shape, seed=0, laplace=False):
    generator = np.random.default_rng(seed)
    draw = generator.laplace if laplace else generator.normal
    scale = np.logspace(1, -2, shape[1]).reshape(1, -1, 1, 1)
    return torch.from_numpy((draw(size=shape) * scale + 1).astype(np.float32))


def ready(spec, train):
    quantizer = build_quantizer(spec, train.shape[1])
    quantizer.calibrate(train)
    return quantizer, fit_latent_tables(quantizer, train.split(1))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.scheme}{spec.bits}")
def test_latents_come_back_and_damage_is_refused_or_finite(spec):
    quantizer, model = ready(spec, latent(4, CHANNELS, 12, 12))
    for shape, seed in (((1, CHANNELS, 1, 1), 1), ((2, CHANNELS, 7, 9), 2), ((1, CHANNELS, 40, 30), 3)):
        y = latent(*shape, seed=seed)
        y[0, 0, 0, 0] = 60000.0  # far outside the calibrated range
        data = encode_latent(quantizer.quantize(y), model)
        restored = decode_latent(quantizer, data, model)
        assert restored.dtype == torch.float32
        assert torch.equal(restored, quantizer.rounded(y))
        if spec.scheme != "guide":  # whose range is that of the batch
            parts = [
                decode_latent(quantizer, encode_latent(quantizer.quantize(one), model), model) for one in y.split(1)
            ]
            assert torch.equal(restored, torch.cat(parts))
    data = encode_latent(quantizer.quantize(latent(1, CHANNELS, 6, 6, seed=1)), model)
    for position in range(min(len(data), 30)):
        damaged = bytearray(data)
        damaged[position] ^= 37 * position % 255 + 1
        with contextlib.suppress(BitstreamError):
            assert torch.isfinite(decode_latent(quantizer, bytes(damaged), model, most_values=10_000)).all()
    for cut in (b"", data[:3]):
        with pytest.raises(BitstreamError):
            decode_latent(quantizer, cut, model)


@pytest.mark.parametrize("bits", [3, 6, 8])
def test_size_is_the_plug_in_entropy_of_a_memoryless_latent(bits):
    """Against an independent entropy of the integers; probabilities that follow the values cost 0.5 %."""
    y = latent(4, 3, 120, 120)
    quantizer, model = ready(QuantizerSpec("affine", bits), y)
    planes = quantizer.quantize(y).integers.movedim(1, 0).reshape(3, -1).numpy()
    plug_in = sum(entropy(np.bincount(plane), base=2) * len(plane) for plane in planes)
    size, ideal = 8 * len(encode_latent(quantizer.quantize(y), model)), ideal_bits(quantizer.quantize(y), model)
    assert plug_in - 64 <= size <= 1.006 * plug_in + 128
    # Zero bytes at the end of each of four streams are dropped, seldom more than two.
    assert ideal - 4 * 24 <= size - 8 * 4 <= 1.005 * ideal + 64
