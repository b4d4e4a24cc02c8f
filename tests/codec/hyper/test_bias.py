"""The decoder's bias correction: its loss has the mean ratio as minimum, and a network learns the bias of the logarithm."""

import math

import pytest
import torch

from sarlab.codec.hyper.bias import NEPER_DB, BiasCorrection, ratio_loss


def speckle(looks, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    exponential = -torch.rand((looks, *shape), generator=generator).clamp_min(1e-9).log()
    return NEPER_DB * exponential.mean(0).log()


def test_the_least_loss_is_at_the_mean_ratio():
    original, decoded = speckle(4, (1, 1, 64, 64), 0), torch.full((1, 1, 64, 64), -3.0)
    weight = torch.ones_like(original)
    correction = torch.zeros(1, 1, 8, 8, requires_grad=True)
    blocks = torch.exp(original / NEPER_DB).view(1, 1, 8, 8, 8, 8).mean((3, 5)) / 10 ** (-0.3)
    for _ in range(300):
        (gradient,) = torch.autograd.grad(ratio_loss(correction, original, decoded, weight, 8), correction)
        correction.data -= 20 * gradient
    assert torch.allclose(correction.exp(), blocks, rtol=1e-3)


def test_invalid_samples_do_not_matter():
    original, decoded = speckle(4, (1, 1, 32, 32), 1), torch.zeros(1, 1, 32, 32)
    weight = torch.ones_like(original)
    weight[..., :8, :8] = 0
    other = original.clone()
    other[..., :8, :8] += 30
    correction = torch.zeros(1, 1, 4, 4)
    losses = [float(ratio_loss(correction, x, decoded, weight, 8)) for x in (original, other)]
    assert losses[0] == losses[1]


def test_a_network_learns_the_bias_of_the_mean_logarithm():
    """Of 1-look speckle decoded as its mean in dB: 2.51 dB; of speckle decoded as it is: nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BiasCorrection(1, 8)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
    for step in range(120):
        original = speckle(1, (8, 1, 64, 64), step)
        decoded = original.clone()
        decoded[:4] = -0.5772 * NEPER_DB
        scaled = torch.zeros(8, 1, 8, 8)
        scaled[4:] = 3.0  # what tells the cases apart
        loss = ratio_loss(network(scaled, 30.0), original, decoded, torch.ones_like(original), 8)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = network.in_db(torch.cat([torch.zeros(1, 1, 4, 4), 3 * torch.ones(1, 1, 4, 4)]), 30.0, 8)
    assert found.shape == (2, 1, 32, 32)
    assert float(found[0].mean()) == pytest.approx(10 * 0.5772 / math.log(10), abs=0.25)
    assert float(found[1].mean()) == pytest.approx(0, abs=0.1)


def test_before_training_nothing_is_corrected():
    assert (BiasCorrection().in_db(torch.randn(1, 64, 3, 5), 20.0, 8) == 0).all()
