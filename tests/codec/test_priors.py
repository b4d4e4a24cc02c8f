"""Entropy models against SciPy's distributions and against the sum of all probabilities."""

import numpy as np
import pytest
import torch
from scipy import stats

from sarlab.codec.priors import FactorizedPrior, add_uniform_noise, gaussian_bits, logistic_bits, round_through


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


def test_probabilities_of_the_mixture_sum_to_one():
    prior = FactorizedPrior(2, components=4)
    with torch.no_grad():
        prior.logits.normal_(generator=torch.Generator().manual_seed(0))
        prior.set_deviation(torch.tensor([0.4, 3.0]))
    k = torch.arange(-90, 91, dtype=torch.float32).expand(1, 2, 1, -1)
    for spread in (1.0, 2.0):
        p = 2.0 ** -prior.bits(k, 1.0, spread)
        assert p.sum(-1).flatten().tolist() == pytest.approx([1, 1], abs=1e-4)


def test_a_wider_step_is_the_sum_of_its_parts():
    prior = FactorizedPrior(1)
    y = torch.tensor([-3.0, 0.0, 1.5]).reshape(1, 1, 1, 3)
    parts = sum(2.0 ** -prior.bits(y + shift, 0.5) for shift in (-0.75, -0.25, 0.25, 0.75))
    assert prior.bits(y, 2.0).flatten().tolist() == pytest.approx((-torch.log2(parts)).flatten().tolist(), rel=1e-4)


def test_spread_is_a_change_of_unit():
    prior = FactorizedPrior(3)
    y = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(prior.bits(3 * y, 3 * 0.7, 3.0), prior.bits(y, 0.7, 1.0), atol=1e-4)


def test_learning_the_density_of_samples():
    generator = torch.Generator().manual_seed(0)
    y = torch.distributions.Laplace(0.0, 2.0).icdf(torch.rand(1, 1, 64, 64, generator=generator) * 0.9998 + 1e-4)
    prior = FactorizedPrior(1)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss = prior.bits(y, 1.0).mean()
        loss.backward()
        optimizer.step()
    entropy = float(stats.laplace.entropy(scale=2.0)) / np.log(2)
    assert float(loss.detach()) == pytest.approx(entropy, abs=0.04)


def test_rounding_and_noise():
    y = torch.tensor([0.2, 0.9, -1.4], requires_grad=True)
    rounded = round_through(y, 0.5)
    assert rounded.tolist() == pytest.approx([0.0, 1.0, -1.5])
    rounded.sum().backward()
    assert y.grad.tolist() == [1, 1, 1]
    noise = add_uniform_noise(torch.zeros(100_000), 0.5, torch.Generator().manual_seed(0))
    assert noise.abs().max() <= 0.25
    assert float(noise.var()) == pytest.approx(0.25 / 12, rel=0.02)
