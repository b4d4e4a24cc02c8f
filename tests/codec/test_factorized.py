"""The factorized codecs: their densities, their objective, and the model in NumPy arrays."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from sarlab.codec.factorized import (
    LAMBDA,
    FactorizedModel,
    FactorizedObjective,
    FactorizedPrior,
    load_factorized,
)
from sarlab.codec.fit_tables import initial_tables
from sarlab.codec.model_store import model_path
from sarlab.codec.transform import CodingTransform
from sarlab.errors import ModelError

WHOLE = (True, True, True, True)


def test_probabilities_of_the_mixture_sum_to_one():
    prior = FactorizedPrior(2, components=4)
    with torch.no_grad():
        prior.logits.normal_(generator=torch.Generator().manual_seed(0))
        prior.set_deviation(torch.tensor([0.4, 3.0]))
    k = torch.arange(-90, 91, dtype=torch.float32).expand(1, 2, 1, -1)
    for spread in (1.0, 2.0):
        p = 2.0 ** -prior.bits(k, 1.0, spread)
        assert p.sum(-1).flatten().tolist() == pytest.approx([1, 1], abs=1e-4)


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


def test_gains_keep_the_meaning_of_quality():
    trained = FactorizedObjective(CodingTransform("wavelet", 0))
    with torch.no_grad():
        trained.log_gain.normal_(generator=torch.Generator().manual_seed(0))
    assert float(trained.gains().detach().log().mean()) == pytest.approx(0, abs=1e-6)


def objective(width=0):
    trained = FactorizedObjective(CodingTransform("block", width))
    generator = torch.Generator().manual_seed(1)
    x = 0.1 * torch.randn(4, 1, 64, 64, generator=generator)
    trained.network.fit_linear(list(x[:, 0]))
    trained.fitted()
    return trained, x


def test_rounding_is_the_cheaper_of_two():
    trained, x = objective()
    y = trained.network.analysis(x)
    step = torch.full((1, 1, 1, 1), 0.11)
    spread = torch.ones(1, 1, 1, 1)
    rounded = trained._rounded(y, step, spread)
    k = rounded / step
    assert torch.allclose(k, k.round(), atol=1e-4)
    assert ((y.abs() / step - k.abs()) > -0.501).all()
    cost = lambda k: (y / step - k) ** 2 + LAMBDA * trained.prior.bits(k * step, step, spread)  # noqa: E731
    for other in (k + 1, k - 1, k * 0):
        assert (cost(k) <= cost(other) + 1e-4).all()
    assert (k == 0).float().mean() > (torch.round(y / step) == 0).float().mean()


def test_costs_weigh_bits_against_error():
    """λ makes the step that belongs to a quality the best one: finer or coarser costs more."""
    trained, x = objective()
    quality = torch.full((4,), 36.0)
    with torch.no_grad():
        found = trained.costs(x, None, quality, None)
        weight = 1 / (LAMBDA * 25 * 10**-3.6)
        assert torch.allclose(found.cost, weight * found.distortion + found.rate, rtol=1e-4)
        others = [trained.costs(x, None, quality + shift, None) for shift in (-6, 6)]
    assert all((weight * other.distortion + other.rate > found.cost).all() for other in others)
    mask = torch.zeros(4, 1, 64, 64, dtype=torch.bool)
    mask[..., :32] = True
    halves = [trained.costs(x, part, quality, None).distortion for part in (mask, ~mask)]
    assert torch.allclose(sum(halves) / 2, found.distortion, rtol=1e-4)
    assert not torch.allclose(*halves, rtol=1e-3)


@pytest.mark.parametrize("width", [0, 8])
def test_the_model_transforms_as_its_network(width):
    """Gains change the step of each channel, not the transform."""
    trained, x = objective(width)
    gains = np.exp2(np.random.default_rng(0).normal(0, 0.3, 64)).astype(np.float32)
    model = FactorizedModel(trained.network, gains, initial_tables(), name="test-1", content_hash=bytes(8))
    assert model.states == 1
    image = x[0, 0].numpy()
    y = model.transform(image, WHOLE)
    assert np.abs(y * gains[:, None, None] - trained.network.analysis(x[:1])[0].detach().numpy()).max() < 1e-5
    assert np.abs(model.inverse(y, 90.0, WHOLE) - image).max() < 1e-4
    # Deviations of a KLT fall, so their differences in the side information are small.
    side = model.fit_side([(y[None], np.ones((1, 8, 8), np.uint8))], 30.0)
    assert len(side) < 64


def test_damaged_weights_are_refused(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(model_path("klt8"), "numpy") as file:
        arrays, about = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    for name, change in (
        ("gains", lambda a: -a),
        ("mixing", lambda a: a * np.float16(math.nan)),
        ("mixing", lambda a: a[:5]),
        ("probabilities", lambda a: a * 0),
        ("offsets", lambda a: a[:5]),
    ):
        save_file({**arrays, name: np.ascontiguousarray(change(arrays[name]))}, tmp_path / "a.safetensors", about)
        with pytest.raises(ModelError, match=r"a\.safetensors"):
            load_factorized(tmp_path / "a.safetensors")
