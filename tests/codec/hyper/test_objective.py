"""The float side of the codec `hyper`: steps, context, cost."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sarlab.codec.hyper.context import (
    FIRST_KNOT,
    KNOT_COUNT,
    KNOT_SPACING,
    ContextModel,
    at_quality,
    features,
    steps_of,
)
from sarlab.codec.hyper.objective import (
    _SPAN,
    HyperTrained,
    cheaper,
    floored,
    gamma_deviance,
    gaussian_bits,
    logistic_bits,
    tailed_bits,
)
from sarlab.codec.tables import LAMBDA
from sarlab.codec.transform import CodingTransform
from sarlab.errors import ModelError

GROUPS = ((4, 4, 5), (12, 2, 3), (48, 1, 3))


def random_model(seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        context = ContextModel(64, GROUPS, width=12, hidden=8)
        for head in context.heads:
            torch.nn.init.normal_(head.outer.weight, std=0.3)
        network = CodingTransform("wavelet", 4, 3)
        network.fit_linear([0.5 + 0.2 * torch.nn.functional.avg_pool2d(torch.randn(1, 1, 98, 98), 3, 1)[0, 0]])
    return HyperTrained(network, context, **options)


def patches(count=2, side=48, seed=1):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 1, side + 2, side + 2, generator=generator)
    return 0.5 + 0.2 * torch.nn.functional.avg_pool2d(noise, 3, 1)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([1, 2, 4])), min_size=1, max_size=5),
    st.integers(1, 7), st.integers(1, 7),
)  # fmt: skip
def test_steps_visit_every_value_once(groups, height, width):
    channels = sum(count for count, _ in groups)
    seen = torch.zeros(channels, height, width)
    for step in steps_of(tuple((*group, 3) for group in groups), channels):
        seen[step.first : step.last] += step.mask(height, width)
    assert (seen == 1).all()


def test_groups_must_hold_all_channels():
    with pytest.raises(ModelError, match="64 channels"):
        steps_of(((4, 2, 3),), 64)
    with pytest.raises(ModelError, match="phases"):
        steps_of(((64, 3, 3),), 64)


def test_what_the_networks_see():
    x = torch.tensor([-20.0, -8.0, -0.125, 0.0, 0.875, 3.0]).view(1, 1, 1, -1)
    seen = features(x)[0, :, 0]
    assert seen[0].tolist() == [-8, -8, -0.125, 0, 0.875, 3]
    assert seen[1].tolist() == pytest.approx([math.log2(65), math.log2(65), 1, 0, 3, math.log2(25)])


def test_knots_are_met_and_constant_beyond():
    knots = torch.randn(KNOT_COUNT, 5, generator=torch.Generator().manual_seed(0))
    qualities = torch.tensor([0.0, FIRST_KNOT, FIRST_KNOT + KNOT_SPACING, FIRST_KNOT + 2.5 * KNOT_SPACING, 90.0])
    expected = torch.stack([knots[0], knots[0], knots[1], (knots[2] + knots[3]) / 2, knots[-1]])
    assert torch.allclose(at_quality(knots, qualities), expected, atol=1e-6)


@torch.no_grad()
def test_a_step_sees_only_what_is_decoded_before_it():
    context = random_model().context
    quality = torch.tensor([30.0])
    size, generator = (7, 6), torch.Generator().manual_seed(2)
    values = torch.randn(1, 64, *size, generator=generator)

    def results(changed):
        walk = context.walk(context.begin(quality, size))
        out, decoded = [], None
        for number in range(len(context.steps)):
            step, mean, log_scale = walk.send(decoded)
            out.append(torch.cat([mean, log_scale], 1))
            decoded = values[:, step.first : step.last] * step.mask(*size)
            if number == changed:
                decoded = decoded + step.mask(*size)
        return out

    plain = results(None)
    for changed in range(len(context.steps)):
        same = [torch.equal(a, b) for a, b in zip(plain, results(changed), strict=True)]
        assert same == [number <= changed for number in range(len(context.steps))]


def test_before_training_the_rate_is_that_of_unit_deviations():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        context = ContextModel(64, GROUPS, width=12, hidden=8)
    trained = HyperTrained(random_model().network, context)
    x, quality = patches(), torch.tensor([20.0, 44.0])
    costs = trained.costs(x, None, quality, None)
    y = trained.network.analysis(x)
    steps = trained.step_sizes(quality)
    scale = trained.network.deviation[:, None, None] / steps
    price = torch.full_like(y, LAMBDA)
    k = cheaper(y / steps, scale.log2().expand_as(y), price, trained.tail)
    bits = tailed_bits(k, scale.log2(), trained.tail)
    assert torch.allclose(costs.rate, bits.sum((1, 2, 3)) / x[0].numel(), rtol=1e-3)


def test_costs_have_gradients_everywhere():
    trained = random_model(bias_weight=0.1)
    trained.network.g_s.outer.weight.data.normal_(std=0.01, generator=torch.Generator().manual_seed(0))
    for noise in (torch.Generator().manual_seed(3), None):
        trained.zero_grad()
        trained.costs(patches(), None, torch.tensor([25.0, 45.0]), noise).cost.mean().backward()
        without = {name for name, p in trained.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
        assert without <= ({"turn"} if noise is None else set()), without


def test_axes_stay_orthogonal_when_turned():
    trained = random_model()
    trained.turn.data.normal_(generator=torch.Generator().manual_seed(4))
    v = trained.mixing()
    assert torch.allclose(v @ v.T, torch.eye(64), atol=1e-5)
    assert not torch.allclose(v, trained.network.mixing, atol=1e-2)


def test_rounding_takes_the_cheaper_of_two():
    generator = torch.Generator().manual_seed(5)
    scaled = 6 * torch.randn(1, 3, 40, 40, generator=generator)
    log_scale = 4 * torch.rand(1, 3, 40, 40, generator=generator) - 2
    price, tail = torch.rand(1, 3, 40, 40, generator=generator), torch.tensor([[-2.0, 0, 1], [0, -0.5, 0.5]])
    k = cheaper(scaled, log_scale, price, tail)
    score = lambda k: (scaled - k).square() + price * tailed_bits(k, log_scale, tail)  # noqa: E731
    near = scaled.round()
    below = torch.sign(scaled) * (near.abs() - 1).clamp_min(0)
    assert (score(k) <= torch.minimum(score(near), score(below)) + 1e-3).all()
    assert ((k == near) | (k == below)).all()
    assert (k != near).any()


def test_densities_add_up_to_one_and_have_two_parts():
    k = torch.arange(-400.0, 401).view(1, 1, 1, -1)
    tail = torch.tensor([[-1.5], [-0.4]])
    for log_scale in (-6.0, -1.0, 0.0, 3.0):
        p = torch.exp2(-tailed_bits(k, torch.full_like(k, log_scale), tail))[0, 0, 0]
        assert float(p.sum()) == pytest.approx(1, abs=2e-3)
        scale = 2 ** float(floored(torch.tensor(log_scale)))
        share = 1 / (1 + math.exp(1.5 + 0.4 * math.log2(scale)))
        inside = [math.erf(0.5 / scale / math.sqrt(2)), math.tanh(0.25 * math.pi / math.sqrt(3) / (3 * scale))]
        assert float(p[400]) == pytest.approx((1 - share) * inside[0] + share * inside[1], rel=1e-3)


def test_the_floor_of_scales_is_soft_and_lets_others_be():
    scales = torch.tensor([-20.0, -3.5, 0.0, 6.0])
    assert floored(scales).tolist() == pytest.approx([-3.5, -3.25, 0, 6], abs=1e-3)


def test_more_quality_means_less_error_and_more_bits():
    trained = random_model()
    with torch.no_grad():
        costs = [trained.costs(patches(1), None, torch.tensor([q]), None) for q in (15.0, 25.0, 35.0, 45.0, 60.0)]
    rates, errors = [float(c.rate) for c in costs], [float(c.distortion) for c in costs]
    assert rates == sorted(rates)
    assert errors == sorted(errors, reverse=True)


def test_the_deviance_of_speckle_is_least_at_the_mean_intensity():
    """Over 4-look speckle; squared error is least at the mean of the logarithm, 0.13 nepers lower."""
    generator = torch.Generator().manual_seed(3)
    exponential = -torch.rand(4, 20000, generator=generator).clamp_min(1e-9).log()
    recorded = exponential.mean(0).log() / _SPAN
    levels = torch.linspace(-0.4, 0.4, 161) / _SPAN
    deviance = torch.stack([gamma_deviance(recorded - level).mean() for level in levels])
    squares = torch.stack([(recorded - level).square().mean() for level in levels])
    assert float(levels[deviance.argmin()] * _SPAN) == pytest.approx(0.0, abs=0.011)
    assert float(levels[squares.argmin()] * _SPAN) == pytest.approx(-0.130, abs=0.015)


def test_the_deviance_of_small_differences_is_their_square():
    small = torch.linspace(-1e-2, 1e-2, 11, dtype=torch.float64) / _SPAN
    assert torch.allclose(gamma_deviance(small), small.square(), rtol=1e-2, atol=1e-12)
    far = torch.tensor([2.999, 3.0, 3.001, 30.0], dtype=torch.float64) / _SPAN
    values = gamma_deviance(far)
    assert (values.diff() > 0).all()
    assert float(values[2] - values[1]) == pytest.approx(float(values[1] - values[0]), rel=1e-2)


def test_the_share_of_speckle_replaces_squared_error():
    model = random_model()
    x, quality = patches(), torch.tensor([20.0, 30.0])
    with torch.no_grad():
        found = []
        for share in (0.0, 0.5, 1.0):
            model.speckle_weight = share
            found.append(model.costs(x, None, quality, None))
    assert torch.allclose(found[1].distortion, (found[0].distortion + found[2].distortion) / 2)
    assert torch.equal(found[0].rate, found[2].rate)
    assert (found[2].distortion > found[0].distortion).any()


@pytest.mark.parametrize(
    ("bits", "cdf"),
    [(gaussian_bits, stats.norm.cdf), (logistic_bits, stats.logistic(scale=np.sqrt(3) / np.pi).cdf)],
)
@pytest.mark.parametrize("step", [1.0, 0.25, 3.0])
def test_bits_of_an_interval(bits, cdf, step):
    y = torch.linspace(-8, 8, 33, dtype=torch.float64)
    mean, deviation = torch.tensor(0.7, dtype=torch.float64), torch.tensor(1.9, dtype=torch.float64)
    p = cdf((y.numpy() + step / 2 - 0.7) / 1.9) - cdf((y.numpy() - step / 2 - 0.7) / 1.9)
    assert bits(y, mean, deviation, step).numpy() == pytest.approx(-np.log2(p), rel=1e-9)


def test_far_tails_stay_finite_with_gradients():
    y = torch.tensor([0.0, 50.0, -1e6], requires_grad=True)
    total = (
        gaussian_bits(y, torch.zeros(3), torch.ones(3)).sum() + logistic_bits(y, torch.zeros(3), torch.ones(3)).sum()
    )
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(y.grad).all()
