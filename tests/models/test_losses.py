"""Losses against closed forms."""

import math

import numpy as np
import pytest
import torch

from sarlab.models.data import Batch
from sarlab.models.training import BIAS_WEIGHT, SSIM_WEIGHT, losses, ssim

SPAN = 25.0


def batch_of(x: torch.Tensor, mask: torch.Tensor | None = None) -> Batch:
    return Batch(x, mask, torch.full((len(x), 1, 1, 1), SPAN))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", list(losses))
def test_equal_images_lose_nothing_and_invalid_samples_carry_no_gradient(name):
    x, mask = noise(2, 1, 16, 16), noise(2, 1, 16, 16, seed=1) > 0.3
    assert float(losses[name](x.clone(), batch_of(x))) == pytest.approx(0.0, abs=1e-6)
    x_hat = noise(2, 1, 16, 16, seed=2).requires_grad_()
    (gradient,) = torch.autograd.grad(losses[name](x_hat, batch_of(x, mask)), x_hat)
    assert torch.isfinite(gradient).all()
    assert float(gradient[~mask].abs().max()) == 0
    assert float(gradient[mask].abs().min()) > 0
    loss = losses[name](x_hat, batch_of(x, torch.zeros_like(mask)))
    (gradient,) = torch.autograd.grad(loss, x_hat)
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(gradient).all()


def test_squared_error_is_in_square_decibels():
    x = noise(3, 1, 8, 8)
    assert float(losses["mse"](x + 0.1, batch_of(x))) == pytest.approx((0.1 * SPAN) ** 2, rel=1e-5)
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[..., :2] = True
    other = torch.where(mask, x + 0.2, 99.0)
    assert float(losses["mse"](other, batch_of(x, mask))) == pytest.approx((0.2 * SPAN) ** 2, rel=1e-5)


def test_bias_is_that_of_the_mean_intensity():
    x = noise(1, 1, 16, 16)
    constant = torch.full_like(x, float(x.mean()))
    mean_db = 10 * np.log10(np.mean(10 ** (SPAN * (x.double().numpy() - 0.5) / 10)))
    bias = (float(x.mean()) - 0.5) * SPAN - mean_db
    extra = float(losses["mse+bias"](constant, batch_of(x)) - losses["mse"](constant, batch_of(x)))
    assert bias < -1
    assert extra == pytest.approx(BIAS_WEIGHT * bias**2, rel=1e-4)


def test_gamma_loss_is_the_likelihood_of_speckle():
    x, x_hat = noise(1, 1, 8, 8), noise(1, 1, 8, 8, seed=1)
    intensity, mean = (10 ** (SPAN * v.double() / 10) for v in (x, x_hat))
    expected = (torch.log(mean) + intensity / mean - torch.log(intensity) - 1).mean()
    assert float(losses["gamma"](x_hat, batch_of(x))) == pytest.approx(float(expected), rel=1e-5)


def test_gamma_loss_stays_finite_far_below_the_target():
    x_hat = torch.full((1, 1, 4, 4), -40.0, requires_grad=True)
    loss = losses["gamma"](x_hat, batch_of(torch.ones(1, 1, 4, 4)))
    (gradient,) = torch.autograd.grad(loss, x_hat)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    # One slope from d = −8 on, and no jump there.
    samples = [torch.tensor(d / (SPAN * math.log(10) / 10)).view(1, 1, 1, 1) for d in (-7.999, -8.001)]
    ends = [losses["gamma"](sample, batch_of(torch.zeros(1, 1, 1, 1))) for sample in samples]
    assert float(ends[1]) / float(ends[0]) == pytest.approx(1.0, abs=0.003)


def test_ssim_is_that_of_the_metrics():
    from sarlab.metrics.columns import Comparison
    from sarlab.metrics.fidelity import ssim as metric

    x, y = noise(1, 1, 48, 37), noise(1, 1, 48, 37, seed=1)
    y = 0.7 * x + 0.3 * y
    case = Comparison(*(SPAN * v[0, 0].double().numpy() for v in (x, y)), clip=(0.0, SPAN))
    assert float(ssim(x, y)) == pytest.approx(metric(case), abs=1e-6)
    batch = batch_of(x)
    extra = float(losses["mse+ssim"](y, batch) - losses["mse"](y, batch))
    assert extra == pytest.approx(SSIM_WEIGHT * (1 - metric(case)), rel=1e-4)


def test_errors_at_an_edge_weigh_more():
    x = torch.zeros(1, 1, 40, 40)
    x[..., 20:] = 1.0
    batch, weights = batch_of(x), []
    for column in (5, 18, 20):
        x_hat = x.clone()
        x_hat[..., column] += 0.1
        weights.append(float(losses["mse-edge"](x_hat, batch) / losses["mse"](x_hat, batch)))
    # Between windows of 5 samples a step reads, from 5 columns before it on, 1, 2, 3, 4, 5, 5, … 1 fifths: 6 in all.
    strength = [0.0, 4 / 5, 1.0]
    assert weights == pytest.approx([0.5 + 0.5 * s / (6 / 40) for s in strength], rel=1e-4)
    everywhere = losses["mse-edge"](x + 0.1, batch)
    assert float(everywhere) == pytest.approx(float(losses["mse"](x + 0.1, batch)), rel=1e-4)
