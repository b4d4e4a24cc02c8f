"""Training views: noise as wide as the true step, straight-through gradients, learned steps, bounded levels."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import QuantizerError
from sarlab.models.quantizers import TRAINING_VIEWS, build_quantizer
from sarlab.models.quantizers.trained_grids import RATE
from sarlab.specs import QuantizerSpec

SCHEMES = [
    ("float16", 16), ("affine", 4), ("allocated", 4), ("companded", 4), ("trellis", 4), ("lsq", 4), ("fsq", 4), ("guide", 4)
]  # fmt: skip


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ready(scheme: str, bits: int, y: torch.Tensor, **options: str):
    quantizer = build_quantizer(QuantizerSpec(scheme, bits, **options), y.shape[1])
    quantizer.calibrate(y)
    return quantizer


@pytest.mark.parametrize("training", TRAINING_VIEWS)
@pytest.mark.parametrize(("scheme", "bits"), SCHEMES)
def test_every_view_is_finite_and_differentiable(scheme, bits, training):
    y = normal(2, 3, 8, 8).requires_grad_()
    quantizer = build_quantizer(QuantizerSpec(scheme, bits, training=training), 3)
    seen = quantizer.training_view(y, generator=seeded(), progress=0.3)
    assert seen.shape == y.shape
    (gradient,) = torch.autograd.grad(seen.sum(), y)
    assert torch.isfinite(seen).all()
    assert float(gradient.abs().sum()) > 0
    if training == "none":
        assert seen is y


@pytest.mark.parametrize(("scheme", "bits"), [case for case in SCHEMES if case[0] not in ("fsq", "trellis")])
def test_noise_is_as_wide_as_the_true_step(scheme, bits):
    y = (torch.rand((8, 2, 32, 32), generator=seeded(1)) - 0.5) * torch.tensor([1.0, 7.0]).view(1, 2, 1, 1)
    quantizer = ready(scheme, bits, y, training="noise")
    noise = (quantizer.training_view(y, generator=seeded(3)) - y).detach() / quantizer.step_of(y).detach()
    assert float(noise.abs().max()) <= 0.5 + 1e-3
    assert float(noise.std()) == pytest.approx(12**-0.5, rel=0.03)
    real = (quantizer.rounded(y) - y) / quantizer.step_of(y).detach()
    assert float(real.abs().max()) <= 0.5 + 1e-3
    assert float(noise.square().mean()) == pytest.approx(float(real.square().mean()), rel=0.1)


def test_guide_noise_is_of_the_unit_range_whatever_the_latent():
    for scheme, bits in (("affine", 6), ("guide", 6)):
        y = normal(4, 2, 32, 32) * 100
        quantizer = ready(scheme, bits, y, training="guide-noise")
        noise = (quantizer.training_view(y, generator=seeded()) - y).double()
        assert float(noise.abs().max()) <= 0.5 / 63 + 2e-5
        assert float(noise.std()) == pytest.approx(1 / 63 / 12**0.5, rel=0.05)
        assert float(quantizer.step_of(y).mean()) > 100 / 63


@pytest.mark.parametrize(("scheme", "bits"), [case for case in SCHEMES if case[0] != "trellis"])
def test_straight_through_shows_real_rounding(scheme, bits):
    y = normal(2, 3, 8, 8)
    quantizer = ready(scheme, bits, y, training="ste")
    expected = copy.deepcopy(quantizer.state_dict())
    seen = quantizer.training_view(y, progress=1.0)
    quantizer.load_state_dict(expected)
    assert torch.allclose(seen, quantizer.rounded(y), atol=1e-5)


def test_straight_through_gradient_is_one_inside_and_zero_outside():
    quantizer = ready("affine", 4, torch.linspace(-1, 1, 16).view(1, 1, 4, 4))
    y = torch.tensor([-5.0, -0.4, 0.0, 0.9, 1.5]).view(1, 1, 1, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(quantizer.straight_through(y).sum(), y)
    assert gradient.flatten().tolist() == pytest.approx([0, 1, 1, 1, 0])


def test_mixed_is_noise_first_and_rounding_later():
    y = normal(1, 2, 8, 8)
    for progress, rounded in ((0.0, False), (0.49, False), (0.5, True), (1.0, True)):
        quantizer = ready("affine", 3, y, training="mixed")
        seen = quantizer.training_view(y, generator=seeded(), progress=progress)
        assert torch.allclose(seen, quantizer.rounded(y), atol=1e-6) is rounded


def test_noise_needs_a_generator_and_repeats_with_it():
    y = normal(1, 2, 4, 4)
    quantizer = ready("affine", 8, y, training="noise")
    with pytest.raises(QuantizerError, match=r"torch\.Generator"):
        quantizer.training_view(y)
    first, second = (quantizer.training_view(y, generator=seeded(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_forward_is_the_training_view_in_training_and_rounding_in_evaluation():
    y = normal(2, 2, 8, 8)
    quantizer = build_quantizer(QuantizerSpec("affine", 4, training="noise"), 2, seed=5)
    twin = build_quantizer(QuantizerSpec("affine", 4, training="noise"), 2)
    seen = quantizer(y)
    assert torch.equal(seen, twin.training_view(y, generator=seeded(5)))
    assert torch.equal(quantizer.eval()(y), quantizer.rounded(y))


def test_ranges_follow_a_training():
    quantizer = build_quantizer(QuantizerSpec("affine", 8, training="noise"), 2)
    for step in range(60):
        scale = 1 + step / 6
        quantizer.training_view(normal(4, 2, 16, 16, seed=step) * scale, generator=seeded(step))
    y = normal(4, 2, 16, 16) * 11
    own = ready("affine", 8, y)
    ratio = (quantizer.high - quantizer.low) / (own.high - own.low)
    assert (ratio > 0.6).all()
    assert (ratio < 1.15).all()


@pytest.mark.parametrize("scheme", ["allocated", "trellis"])
def test_a_training_resumed_from_its_state_sees_the_same_views(scheme):
    spec = QuantizerSpec(scheme, 3, calibration="mse", training="ste")
    batches = [normal(2, 3, 8, 8, seed=s) * torch.tensor([1 + s, 1.0, 0.1]).view(1, 3, 1, 1) for s in range(60)]
    straight, first, second = (build_quantizer(spec, 3) for _ in range(3))
    expected = [straight.training_view(y) for y in batches]
    for y in batches[:31]:
        first.training_view(y)
    second.load_state_dict(first.state_dict())
    for y, seen in zip(batches[31:], expected[31:], strict=True):
        assert torch.equal(second.training_view(y), seen)


# --- learned step -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 100), st.sampled_from([2, 3, 4, 8]))
@settings(max_examples=20, deadline=None)
def test_learned_step_gradient_is_the_papers(seed, bits):
    y = normal(1, 1, 8, 8, seed=seed)
    quantizer = ready("lsq", bits, y * 0.6, training="ste")
    weights = normal(1, 1, 8, 8, seed=seed + 1)
    quantizer._values = 64  # the view without moving the ranges
    seen = quantizer.straight_through(y)
    log_step, shift = torch.autograd.grad((seen * weights).sum(), [quantizer.log_step, quantizer.shift])
    # Esser et al. 2020, equation 3, about the center c = (low + high) / 2 of the grid, times the gradient scale.
    top = 2**bits - 1
    low, high = float(quantizer.low), float(quantizer.high)
    step, center = (high - low) / top, (low + high) / 2
    position = ((y.double() - low) / step).numpy()
    inside = (position > 0) & (position < top)
    by_step = np.where(inside, np.rint(position.clip(0, top)) - position, np.where(position <= 0, -top / 2, top / 2))
    scale = RATE * (64 * top) ** -0.5
    assert float(log_step) == pytest.approx(scale * step * float((by_step * weights.numpy()).sum()), rel=1e-3, abs=1e-5)
    by_center = np.where(inside, 0.0, 1.0) * (high - low) / 2
    assert float(shift) == pytest.approx(scale * float((by_center * weights.numpy()).sum()), rel=1e-3, abs=1e-5)
    assert center == pytest.approx((low + high) / 2)


@given(st.integers(0, 100), st.sampled_from([2, 3, 4, 8]), st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=20, deadline=None)
def test_learned_step_and_its_gradients_are_those_of_pytorchs_learnable_quantizer(seed, bits, log_step, shift):
    y = normal(1, 1, 8, 8, seed=seed)
    quantizer = ready("lsq", bits, y * 0.6, training="ste")
    with torch.no_grad():
        quantizer.log_step.fill_(log_step)
        quantizer.shift.fill_(shift)
    quantizer._values = 64
    # The same grid out of its step and center; theirs begins at zero.
    top, low, high = 2**bits - 1, float(quantizer.low), float(quantizer.high)
    step = torch.tensor([float((high - low) / top * np.exp(RATE * log_step))], requires_grad=True)
    center = torch.tensor([(low + high) / 2 + RATE * shift * (high - low) / 2], requires_grad=True)
    start = center - step * top / 2
    # Left out: half a step beyond the outer levels, inside for them, outside in the paper; and where the last bit of a
    # quotient decides between two levels.
    position = ((y - start) / step).detach()
    beyond = ((position > -0.51) & (position < 0)) | ((position > top) & (position < top + 0.51))
    clear = ~beyond & ((position - position.floor() - 0.5).abs() > 1e-3)
    weights = torch.where(clear, normal(1, 1, 8, 8, seed=seed + 1), 0.0)
    seen = quantizer.straight_through(y)
    ours = torch.autograd.grad((seen * weights).sum(), [quantizer.log_step, quantizer.shift])
    theirs = torch._fake_quantize_learnable_per_tensor_affine(y - start, step, torch.zeros(1), 0, top, 1.0) + start
    by_step, by_center = (float(g) for g in torch.autograd.grad((theirs * weights).sum(), [step, center]))
    assert torch.allclose(seen[clear], theirs[clear], atol=1e-5)
    scale = RATE * (64 * top) ** -0.5
    assert float(ours[0]) == pytest.approx(scale * float(step.detach()) * by_step, rel=1e-3, abs=1e-5)
    assert float(ours[1]) == pytest.approx(scale * (high - low) / 2 * by_center, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_a_learned_step_finds_the_least_error(granularity):
    y = normal(4, 2, 32, 32)
    best = ready("affine", 3, y, calibration="mse", granularity=granularity)
    quantizer = ready("lsq", 3, y, granularity=granularity, training="ste")
    start = float((quantizer.rounded(y) - y).square().mean())
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02 / RATE)
    for _ in range(150):
        optimizer.zero_grad()
        (quantizer.training_view(y, progress=0.5) - y).square().mean().backward()
        optimizer.step()
    error = float((quantizer.rounded(y) - y).square().mean())
    goal = float((best.rounded(y) - y).square().mean())
    assert error < 0.8 * start
    assert error < 1.1 * goal


def test_calibration_sets_the_range_and_keeps_what_was_learned():
    y = normal(2, 2, 8, 8)
    quantizer = ready("lsq", 4, y, training="ste")
    plain = ready("affine", 4, y * 50)
    with torch.no_grad():
        quantizer.log_step.fill_(np.log(1.5) / RATE)
    quantizer.calibrate(y * 50)
    assert torch.allclose(quantizer.grid()[1], 1.5 * plain.grid()[1])
    center = [q.grid()[0] + q.grid()[1] * 7.5 for q in (quantizer, plain)]
    assert torch.allclose(*center, atol=1e-4)


def test_learned_steps_are_seen_by_an_optimizer():
    names = dict(build_quantizer(QuantizerSpec("lsq", 4), 5).named_parameters())
    assert {name: p.shape for name, p in names.items()} == {"log_step": (5,), "shift": (5,)}
    assert not list(build_quantizer(QuantizerSpec("affine", 4), 5).parameters())


# --- finite scalar quantization ---------------------------------------------------------------------------------------


@given(bits=st.integers(2, 10), seed=st.integers(0, 100), calibration=st.sampled_from(["minmax", "percentile", "mse"]))
@settings(max_examples=30, deadline=None)
def test_fsq_rounds_the_tanh_to_equidistant_levels(bits, seed, calibration):
    y = normal(1, 2, 8, 8, seed=seed) * torch.tensor([0.3, 9.0]).view(1, 2, 1, 1) + 2
    quantizer = ready("fsq", bits, y, calibration=calibration)
    quantized = quantizer.quantize(y)
    center, scale = (t.double().numpy().reshape(1, 2, 1, 1) for t in (quantizer.center, quantizer.scale))
    bounded = np.tanh((y.double().numpy() - center) / scale)
    level = 2 * quantized.integers.numpy() / (2**bits - 1) - 1
    assert np.abs(level - bounded).max() <= 1 / (2**bits - 1) + 1e-5
    assert np.abs(quantizer.dequantize(quantized).numpy() - (center + scale * level)).max() < 1e-4
    assert quantized.saturated == 0
    assert quantizer.quantize(y * 3).saturated > 0


def test_fsq_error_in_its_own_coordinate_falls_with_bits():
    y = normal(2, 2, 16, 16)
    errors = [float((ready("fsq", b, y, calibration="mse").rounded(y) - y).square().mean()) for b in range(2, 9)]
    assert all(a > b for a, b in itertools.pairwise(errors))


def test_fsq_gradient_is_that_of_the_tanh():
    y = normal(1, 1, 4, 4).requires_grad_()
    quantizer = ready("fsq", 4, y.detach(), calibration="mse", training="ste")
    for view in (quantizer.straight_through(y), quantizer.noisy(y, seeded())):
        (gradient,) = torch.autograd.grad(view.sum(), y)
        expected = 1 - torch.tanh((y.detach() - quantizer.center) / quantizer.scale) ** 2
        assert torch.allclose(gradient, expected, atol=1e-5)
    noise = quantizer.noisy(y.detach(), seeded()) - (
        quantizer.center + quantizer.scale * torch.tanh((y.detach() - quantizer.center) / quantizer.scale)
    )
    assert float(noise.abs().max()) <= float(quantizer.scale) / 15 + 1e-5


# --- companded levels -------------------------------------------------------------------------------------------------


def heavy(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).laplace(size=shape).astype(np.float32))


@given(bits=st.integers(2, 8), seed=st.integers(0, 100), calibration=st.sampled_from(["minmax", "percentile", "mse"]))
@settings(max_examples=15, deadline=None)
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


def test_companding_helps_heavy_tails_and_costs_light_ones_nothing():
    for draw, factor in ((heavy, 0.75), (normal, 1.02)):
        y = draw(4, 2, 32, 32)
        uniform, companded = (ready(s, 4, y, calibration="mse") for s in ("allocated", "companded"))
        errors = [float((q.rounded(y) - y).square().mean()) for q in (uniform, companded)]
        assert errors[1] < factor * errors[0]


def test_companded_error_falls_with_bits():
    y = heavy(2, 3, 24, 24)
    errors = [float((ready("companded", b, y, calibration="mse").rounded(y) - y).square().mean()) for b in range(1, 8)]
    assert all(a > b for a, b in itertools.pairwise(errors))
