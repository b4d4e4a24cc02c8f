"""The transform of the entropy-coded codecs: what it starts as, how far it looks, what it refuses."""

import numpy as np
import pytest
import torch

from sarlab.codec.hyper.coding_transform import CodingTransform
from sarlab.errors import ModelError

STEPS = torch.full((1, 64, 1, 1), 0.1)


@pytest.fixture(scope="module")
def rasters():
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 96, 80, generator=generator)
    return list(0.5 + 0.2 * torch.nn.functional.avg_pool2d(noise, 3, 1, 1)[:, :90, :77] + 0.05 * noise[:, :90, :77])


def random_branches(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.mark.parametrize("front", ["wavelet", "block"])
def test_starts_as_an_orthogonal_transform(front, rasters):
    network = CodingTransform(front, 16)
    network.fit_linear(rasters)
    x = torch.rand(2, 1, 64, 48, generator=torch.Generator().manual_seed(1))
    y = network.analysis(x)
    assert y.shape == (2, 64, 8, 6)
    assert (network.synthesis(y, 30.0, STEPS) - x).abs().max() < 1e-5
    assert torch.allclose(network.mixing @ network.mixing.T, torch.eye(64), atol=1e-5)
    assert (network.synthesis(torch.zeros(1, 64, 4, 4), 30.0, STEPS) - network.neutral).abs().max() < 1e-6


@pytest.mark.parametrize("front", ["wavelet", "block"])
def test_axes_are_principal(front, rasters):
    network = CodingTransform(front, 0)
    network.fit_linear(rasters)
    y = torch.cat([network.analysis(r[None, None, :88, :72])[0].flatten(1) for r in rasters], 1).double().numpy()
    moments = y @ y.T / y.shape[1]
    assert np.abs(moments - np.diag(np.diag(moments))).max() < 1e-4 * moments.max()
    assert (np.diff(np.diag(moments)) <= 1e-9).all()
    assert network.deviation.numpy() == pytest.approx(np.sqrt(np.diag(moments)), rel=1e-3)


@pytest.mark.parametrize("front", ["wavelet", "block"])
@pytest.mark.parametrize("width", [0, 12])
def test_reaches_are_what_they_say(front, width):
    network = random_branches(CodingTransform(front, width)).eval()
    x = torch.rand(1, 1, 192, 192, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network.analysis(x)
        x[..., 96:104, 96:104] += 1
        changed = ((network.analysis(x) - before).abs().sum((0, 1)) > 1e-6).nonzero()
        blocks = -(-network.analysis_reach // 8)
        assert changed.min() >= 12 - blocks
        assert changed.max() <= 12 + blocks
        y = torch.randn(1, 64, 24, 24, generator=torch.Generator().manual_seed(1))
        before = network.synthesis(y, 20.0, STEPS)
        y[..., 12, 12] += 1
        changed = ((network.synthesis(y, 20.0, STEPS) - before).abs().sum((0, 1)) > 1e-6).nonzero()
        assert changed.min() >= 8 * (12 - network.synthesis_reach)
        assert changed.max() < 8 * (13 + network.synthesis_reach)


def test_quality_reaches_the_synthesis_only():
    network = random_branches(CodingTransform("wavelet", 12)).eval()
    y = torch.randn(2, 64, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        both = network.synthesis(y, torch.tensor([10.0, 40.0]), STEPS)
        assert torch.allclose(both[:1], network.synthesis(y[:1], 10.0, STEPS), atol=1e-4)
        assert torch.allclose(both[1:], network.synthesis(y[1:], 40.0, STEPS), atol=1e-4)
        assert not torch.allclose(both[:1], network.synthesis(y[:1], 40.0, STEPS), atol=1e-2)


def test_the_correction_shrinks_with_the_step():
    network = random_branches(CodingTransform("wavelet", 12)).eval()
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    errors = []
    for step in (1e-1, 1e-2, 1e-3, 1e-4):
        with torch.inference_mode():
            y_hat = step * torch.round(network.analysis(x) / step)
            errors.append(
                float((network.synthesis(y_hat, 40.0, torch.full((1, 64, 1, 1), step)) - x).square().mean().sqrt())
            )
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert (ratios > 7).all()
    assert (ratios < 13).all()


def test_orthogonality_survives_half_precision(rasters):
    network = CodingTransform("wavelet", 0)
    network.fit_linear(rasters)
    exact = network.mixing.clone()
    network.half().float()
    network.orthogonalize()
    assert torch.allclose(network.mixing @ network.mixing.T, torch.eye(64), atol=1e-6)
    assert (network.mixing - exact).abs().max() < 1e-3


def test_wrong_use_is_refused():
    with pytest.raises(ModelError, match="unknown transform"):
        CodingTransform("dct")
    with pytest.raises(ModelError, match="at least one"):
        CodingTransform().fit_linear([])
