"""The factorized codec: its densities, the tables fitted to known distributions, and its quantizer."""

import numpy as np
import pytest
import torch
from scipy import stats

from sarlab.codec.factorized.coder import KNOTS, optimized
from sarlab.codec.factorized.fit import FactorizedObjective, FactorizedPrior, add_uniform_noise, fit_tables
from sarlab.codec.model_store import load_model, model_path
from sarlab.codec.tables import FAMILIES, LAMBDA, code_costs
from sarlab.codec.transform import CodingTransform


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


def test_noise_is_one_step_wide():
    noise = add_uniform_noise(torch.zeros(100_000), 0.5, torch.Generator().manual_seed(0))
    assert noise.abs().max() <= 0.25
    assert float(noise.var()) == pytest.approx(0.25 / 12, rel=0.02)


def test_gains_keep_the_meaning_of_quality():
    trained = FactorizedObjective(CodingTransform("wavelet", 0))
    with torch.no_grad():
        trained.log_gain.normal_(generator=torch.Generator().manual_seed(0))
    assert float(trained.gains().detach().log().mean()) == pytest.approx(0, abs=1e-6)


def test_tables_fitted_to_known_distributions():
    rng = np.random.default_rng(0)
    scales = np.array([0.02, 0.2, 1.0])
    latents = [np.stack([rng.laplace(size=6000) * s / np.sqrt(2) for s in scales]) for _ in range(2)]
    indices, families = fit_tables(latents, np.ones(3), knots=(40,))
    step = np.sqrt(12) * 0.01
    expected = 32 + 8 * np.log2(scales / step)
    # Rounding towards zero makes the coded distribution a little narrower than the source.
    assert np.abs(indices[0] - expected)[1:].max() <= 4
    assert FAMILIES[families[0, 2]] in ("laplace", "heavy")


def test_rounding_is_the_cheaper_of_two():
    rng = np.random.default_rng(2)
    scaled = rng.laplace(size=(5, 3000)) * 2.0 ** np.arange(-2, 3)[:, None]
    indices, families = np.arange(16, 56, 8), np.array([0, 1, 2, 3, 1])
    values = optimized(scaled, indices, families)
    costs = code_costs()[families, indices]
    for row in range(5):
        magnitude = np.abs(scaled[row])
        near = np.rint(magnitude).astype(int)
        chosen = np.abs(values[row])
        assert set(np.unique(near - chosen)) <= {0, 1}
        score = lambda k: (magnitude - k) ** 2 + LAMBDA * costs[row][k]  # noqa: B023, E731
        below = np.maximum(near - 1, 0)
        assert (score(chosen) <= np.minimum(score(near), score(below)) + 1e-5).all()
        assert (np.sign(values[row]) * np.sign(scaled[row]) >= 0).all()


def test_knots_span_the_scale():
    model = load_model(model_path("klt8"))
    assert (KNOTS[0], KNOTS[-1]) == (model.lowest, model.highest)
    finer = np.stack([model.tables(q)[0] for q in np.arange(0, 96.001, 0.25)])
    assert (np.diff(finer.astype(int), axis=0) >= -1).all()
    assert np.abs(np.diff(finer.astype(int), axis=0)).max() <= 4
