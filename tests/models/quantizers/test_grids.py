"""Grids against closed forms, published optima, PyTorch's own quantizer and the guide; allocation against enumeration."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from draws import normal, ready
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from sarlab.errors import BitstreamError, QuantizerError
from sarlab.models.quantizers import build_quantizer
from sarlab.models.quantizers.grids import allocate, grid_error, least_squares_ranges, ranges, synthesis_gains
from sarlab.specs import QuantizerSpec


def heavy(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).laplace(size=shape).astype(np.float32))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integers_match_pytorchs_per_channel_quantizer(bits):
    top = 2**bits - 1
    scale = torch.tensor([0.37, 0.011, 2.5])
    zero = torch.tensor([1, top // 2, top - 1])
    low, high = -zero * scale, (top - zero) * scale
    y = normal(2, 3, 16, 16) * (high - low).view(1, 3, 1, 1)
    quantizer = ready("affine", bits, torch.stack([low, high]).view(2, 3, 1, 1))
    theirs = torch.fake_quantize_per_channel_affine(y, scale, zero.to(torch.int32), 1, 0, top)
    # At the boundary between two levels the last bit of a quotient decides.
    position = y / scale.view(1, 3, 1, 1) + zero.view(1, 3, 1, 1)
    clear = (position - position.floor() - 0.5).abs() > 1e-3
    assert clear.float().mean() > 0.99
    assert torch.allclose(quantizer.rounded(y)[clear], theirs[clear], rtol=1e-5, atol=1e-5)


def test_values_outside_are_counted_clipped_and_without_gradient():
    quantizer = ready("affine", 4, torch.tensor([[-1.0, 1.0], [0.0, 15.0]]).view(1, 2, 1, 2))
    step = torch.tensor([2 / 15, 1.0])
    y = torch.tensor([[-5.0, -1.0, 1.0, 1.0 + 0.49 * step[0], 1.0 + 0.51 * step[0]], [0.0, 15.0, 15.4, 15.6, -9e9]])
    quantized = quantizer.quantize(y.view(1, 2, 1, 5))
    assert quantized.saturated == 4
    assert quantized.integers.flatten(1).tolist() == [[0, 0, 15, 15, 15, 0, 15, 15, 15, 0]]
    y = torch.tensor([[-5.0, -0.4, 0.0, 0.9, 1.5], [1.0] * 5]).view(1, 2, 1, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(quantizer.straight_through(y)[:, 0].sum(), y)
    assert gradient[0, 0].flatten().tolist() == pytest.approx([0, 1, 1, 1, 0])
    with pytest.raises(QuantizerError, match="diverged"):
        ranges(torch.tensor([[-3e38, 3e38]]), torch.tensor([4]), "minmax", "channel")


#: Step and error of the best uniform quantizer of a unit Gaussian, Max 1960, table II.
MAX_1960 = {2: (1.596, 0.3634), 4: (0.9957, 0.1188), 8: (0.586, 0.03744), 16: (0.3352, 0.01154), 32: (0.1881, 0.003495)}


def test_least_error_range_of_a_gaussian_is_maxs():
    n, levels = 50_000, torch.tensor(list(MAX_1960))
    values = torch.from_numpy(ndtri((np.arange(n) + 0.5) / n)).float().expand(len(levels), -1)
    low, high = least_squares_ranges(values, levels)
    step, error = torch.tensor(list(MAX_1960.values())).T
    torch.testing.assert_close((high - low) / (levels - 1), step, rtol=0.01, atol=0)
    assert ((low + high).abs() < 0.02 * step).all()
    torch.testing.assert_close(grid_error(values, low, high, levels).float(), error, rtol=0.006, atol=0)


@given(st.integers(0, 200), st.sampled_from([2, 3, 5, 16, 64]), st.sampled_from(["normal", "laplace", "skewed"]))
@settings(max_examples=25)
def test_least_error_range_beats_every_shrunken_full_range(seed, levels, shape):
    generator = np.random.default_rng(seed)
    draw = {"normal": generator.normal, "laplace": generator.laplace, "skewed": partial(generator.gamma, 0.7)}
    values = torch.from_numpy(draw[shape](size=(1, 800))).float()
    count = torch.tensor([levels])
    found = float(grid_error(values, *least_squares_ranges(values, count), count))
    mean = values.mean()
    for share in np.linspace(0.05, 1, 39):
        low, high = mean + share * (values.min() - mean), mean + share * (values.max() - mean)
        assert found <= float(grid_error(values, low[None], high[None], count)) * 1.02


@pytest.mark.parametrize("levels", [3, 5])
def test_least_error_range_of_skewed_values_is_that_of_a_search_over_both_ends(levels):
    values = torch.from_numpy(np.random.default_rng(0).gamma(0.7, size=(1, 800))).float()
    count = torch.tensor([levels])
    found = float(grid_error(values, *least_squares_ranges(values, count), count))
    low, high = torch.linspace(values.min(), values.mean(), 40), torch.linspace(values.mean(), values.max(), 60)
    low, high = torch.cartesian_prod(low, high).T
    errors = grid_error(values.expand(len(low), -1), low, high, count.expand(len(low)))
    assert found <= 1.005 * float(errors.min())


@given(st.integers(0, 10_000), st.integers(0, 12))
@settings(max_examples=80)
def test_greedy_allocation_is_optimal_for_convex_distortions(seed, budget):
    generator = np.random.default_rng(seed)
    gains = np.sort(generator.exponential(size=(3, 5)), axis=1)[:, ::-1] * generator.uniform(0.1, 10, size=(3, 1))
    whole = gains.sum(1, keepdims=True)
    table = torch.from_numpy(np.concatenate([whole, whole - gains.cumsum(1)], 1))

    def distortion(bits):
        return sum(float(table[c, b]) for c, b in enumerate(bits))

    best = min(distortion(bits) for bits in itertools.product(range(6), repeat=3) if sum(bits) <= budget)
    bits = allocate(table, budget)
    assert int(bits.sum()) <= budget
    assert distortion(bits) == pytest.approx(best, abs=1e-9)


def test_allocation_gives_two_bits_at_once_where_one_is_worth_little_and_follows_reverse_water_filling():
    table = torch.tensor([[10.0, 9.5, 1.0, 0.9], [4.0, 2.0, 1.0, 0.5]])
    assert [allocate(table, budget).tolist() for budget in (1, 2, 3)] == [[0, 1], [2, 0], [2, 1]]
    values = normal(1, 1, 4, 4096)[0, 0] * torch.tensor([16.0, 4.0, 1.0, 0.01])[:, None]
    quantizer = build_quantizer(QuantizerSpec("allocated", 4, calibration="mse"), 4)
    bits = allocate(quantizer.distortions(values), 16)
    # At high rate: half the logarithm of the variance, so two bits more for four times the scale; none below the water.
    assert ((bits[:2] - bits[1:3] - 2.5).abs() < 1).all()
    assert (int(bits[3]), int(bits.sum())) == (0, 16)


def test_gains_of_a_linear_synthesis_are_its_squared_column_norms_and_weigh_in_the_allocation():
    weights = torch.tensor([1.0, 3.0, 0.5])
    gains = synthesis_gains(lambda y: (y * weights.view(1, 3, 1, 1)).repeat(1, 1, 2, 1), normal(2, 3, 8, 8))
    assert torch.allclose(gains, 2 * weights.double() ** 2, rtol=1e-3)
    y = normal(4, 2, 16, 16)
    quantizer = build_quantizer(QuantizerSpec("allocated", 4, calibration="mse"), 2)
    quantizer.calibrate(y, synthesis=lambda y: y * torch.tensor([16.0, 1.0]).view(1, 2, 1, 1))
    assert quantizer.widths[0] >= quantizer.widths[1] + 3
    assert sum(quantizer.widths) == 8


@given(bits=st.integers(2, 8), seed=st.integers(0, 100), calibration=st.sampled_from(["minmax", "percentile", "mse"]))
@settings(max_examples=15)
def test_companded_levels_are_equidistant_in_the_asinh(bits, seed, calibration):
    y = heavy(1, 2, 12, 12, seed=seed) * torch.tensor([0.3, 5.0]).view(1, 2, 1, 1) - 2
    quantizer = ready("companded", bits, y, calibration=calibration)
    low, step, top = (t.double().numpy() for t in quantizer.grid())
    mean, knee = (t.double().numpy().reshape(1, 2, 1, 1) for t in (quantizer.mean, quantizer.knee))
    position = (np.arcsinh((y.double().numpy() - mean) / knee) - low) / np.where(step > 0, step, 1)
    quantized = quantizer.quantize(y)
    integers = quantized.integers.numpy()
    inside = (position > -0.5) & (position < top + 0.5)
    assert np.abs(integers - position)[inside].max() <= 0.5 + 1e-3
    assert quantized.saturated == pytest.approx((~inside & (top > 0)).sum(), abs=1)
    expected = mean + knee * np.sinh(low + integers * step)
    assert np.allclose(quantizer.dequantize(quantized).numpy(), expected, rtol=1e-4, atol=1e-4)
    if calibration == "minmax":
        assert quantized.saturated == 0


def test_allocation_and_companding_help_where_channels_and_tails_differ_and_cost_little_elsewhere():
    def error(scheme, y, bits=4):
        return float((ready(scheme, bits, y, calibration="mse").rounded(y) - y).square().mean())

    y = normal(2, 8, 12, 12) * torch.logspace(1, -2, 8).view(1, -1, 1, 1)
    assert all(error("allocated", y, bits) <= 1.001 * error("affine", y, bits) for bits in range(2, 9))
    for y, factor in ((heavy(4, 2, 32, 32), 0.75), (normal(4, 2, 32, 32), 1.02)):
        assert error("companded", y) < factor * error("allocated", y)


@given(bits=st.integers(2, 16), seed=st.integers(0, 500), scale=st.sampled_from([1e-3, 1.0, 40.0]))
@settings(max_examples=60)
def test_the_guides_quantizer_is_its_code_and_wraps_around_above_8_bits(bits, seed, scale):
    y = normal(1, 3, 6, 5, seed=seed) * 3 * scale
    quantizer = build_quantizer(QuantizerSpec("guide", bits), 3)
    # The guide's formulas, and its cast.
    latent, vmin = y.numpy(), y.numpy().min()
    factor = (2**bits - 1) / (latent.max() - vmin + 1e-10)
    integers = (((latent - vmin) * factor).round().astype(np.int64) % 256).astype(np.uint8)
    quantized = quantizer.quantize(y)
    assert np.array_equal(quantized.integers.numpy(), integers)
    restored = quantizer.dequantize(quantized)
    assert np.array_equal(restored.numpy(), integers.astype(np.float32) / factor + vmin)
    worst = float((restored - y).abs().max() * factor)
    assert worst <= 0.5 + 1e-3 if bits <= 8 else worst > 200


def test_the_guides_quantizer_of_constant_latents_and_impossible_ranges():
    quantizer = build_quantizer(QuantizerSpec("guide", 8), 3)
    y = torch.full((1, 3, 2, 2), -2.5)
    assert torch.equal(quantizer.unpack(quantizer.pack(y)), y)
    with pytest.raises(QuantizerError, match="exceeds float32"):
        quantizer.pack(torch.tensor([-3e38, 3e38, 0.0]).view(1, 3, 1, 1))
    data = bytearray(quantizer.pack(normal(1, 3, 6, 5)))
    data[3:7] = np.array([np.nan], ">f4").tobytes()
    with pytest.raises(BitstreamError, match="impossible"):
        quantizer.unpack(bytes(data))
