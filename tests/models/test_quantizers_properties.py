"""What every quantizer owes, whatever its scheme: half a step of error, less error for more bits, bytes that are counted."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.models.quantizers import Quantized, build_quantizer, quantizers
from sarlab.specs import QuantizerSpec

#: Scheme → bits that are compared with each other.
BITS = {
    "affine": range(2, 11), "allocated": range(1, 9), "companded": range(2, 7), "trellis": range(1, 7), "fsq": range(2, 9), "lsq": range(2, 11),
    "guide": range(2, 9), "float16": (16,), "bfloat16": (16,), "float32": (32,),
}  # fmt: skip
UNIFORM = ("affine", "allocated", "lsq", "guide")


def latent(seed: int, scale: float = 1.0, channels: int = 3) -> torch.Tensor:
    """Channels of different strength with heavy tails, as those of a transform."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(2, channels, 16, 16, generator=generator) * torch.rand(2, channels, 16, 16, generator=generator)
    return scale * y * 4.0 ** -torch.arange(channels).view(1, -1, 1, 1)


def ready(scheme: str, bits: int, y: torch.Tensor, calibration: str = "mse"):
    granularity = "tensor" if scheme == "guide" else "channel"
    quantizer = build_quantizer(QuantizerSpec(scheme, bits, granularity, calibration), y.shape[1])
    quantizer.calibrate(y)
    return quantizer


def test_every_scheme_is_here():
    assert set(BITS) == set(quantizers)


@given(seed=st.integers(0, 10_000), bits=st.integers(2, 8), scale=st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("scheme", UNIFORM)
def test_error_of_uniform_grids_is_at_most_half_a_step_inside_their_range(scheme, seed, bits, scale):
    y = latent(seed, scale)
    quantizer = ready(scheme, bits, y, "minmax")
    quantized = quantizer.quantize(y)
    step = quantizer.step_of(y).expand_as(y)
    error = (quantizer.dequantize(quantized) - y).abs()
    inside = step > 0  # a channel without bits has one level and no step
    assert quantized.saturated == 0
    assert (error[inside] <= (0.5 + 1e-3) * step[inside]).all()


@given(seed=st.integers(0, 10_000), bits=st.integers(2, 6))
@settings(max_examples=15, deadline=None)
def test_companding_never_goes_past_a_neighboring_level(seed, bits):
    y = latent(seed)
    quantizer = ready("companded", bits, y, "minmax")
    rounded = quantizer.rounded(y)
    for channel, width in enumerate(quantizer.widths):
        integers = torch.zeros(1, y.shape[1], 1, 2**width, dtype=torch.int64)
        integers[0, channel, 0] = torch.arange(2**width)
        grid = quantizer.dequantize(Quantized(integers))[0, channel, 0]
        assert (grid.diff() > 0).all(), "levels rise"
        if width == 0:
            continue
        values, found = y[:, channel].flatten(), rounded[:, channel].flatten()
        inside = (values > grid[0]) & (values < grid[-1])
        above = torch.searchsorted(grid, values[inside]).clamp(1, len(grid) - 1)
        gap = grid[above] - grid[above - 1]
        assert ((found - values).abs()[inside] <= gap * (1 + 1e-4)).all()


@pytest.mark.parametrize("scheme", [name for name, bits in BITS.items() if len(bits) > 1])
@pytest.mark.parametrize("seed", [0, 1])
def test_more_bits_never_make_more_error(scheme, seed):
    y = latent(seed)
    errors = [float((ready(scheme, bits, y).rounded(y) - y).square().mean()) for bits in BITS[scheme]]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))


@given(seed=st.integers(0, 10_000), n=st.integers(1, 3), h=st.integers(1, 40), w=st.integers(1, 40))
@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize(("scheme", "bits"), [(s, b[-1]) for s, b in BITS.items()] + [("affine", 10), ("allocated", 3)])
def test_every_byte_is_counted_and_every_value_comes_back(scheme, bits, seed, n, h, w):
    quantizer = ready(scheme, bits, latent(0))
    y = torch.randn(n, 3, h, w, generator=torch.Generator().manual_seed(seed))
    data = quantizer.pack(y)
    assert 8 * len(data) == quantizer.bits(y.shape) >= n * h * w * sum(quantizer.widths) + 8 * quantizer.side_bytes
    assert torch.equal(quantizer.unpack(data), quantizer.rounded(y))
