"""The transform: CDF 9/7 wavelet against the published filters, its start as a linear transform, its reach."""

import numpy as np
import pytest
import torch

from sarlab.codec.transform import (
    REACH,
    CodingTransform,
    _split,
    block_analysis,
    block_synthesis,
    wavelet_analysis,
    wavelet_synthesis,
)
from sarlab.errors import ModelError

#: ISO/IEC 15444-1 (JPEG 2000), table F.1: analysis filters of the 9/7 transform, from the middle outwards.
LOW = [0.602949018236360, 0.266864118442875, -0.078223266528990, -0.016864118442875, 0.026748757410810]
HIGH = [1.115087052456994, -0.591271763114250, -0.057543526228500, 0.091271763114250]


def test_filters_are_those_of_the_standard():
    rows = torch.eye(64, dtype=torch.float64)
    low, high = _split(rows, -1)  # row i: response to an impulse at i
    low_taps = low[:, 16].numpy()[28:37]
    high_taps = high[:, 16].numpy()[30:37]
    assert low_taps == pytest.approx(np.array([*LOW[:0:-1], *LOW]) * np.sqrt(2), abs=1e-9)
    assert high_taps == pytest.approx(np.array([*HIGH[:0:-1], *HIGH]) / np.sqrt(2), abs=1e-9)


@pytest.mark.parametrize("size", [(8, 8), (8, 64), (40, 24), (128, 8)])
def test_perfect_reconstruction(size):
    x = torch.randn(3, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = wavelet_analysis(x)
    assert y.shape == (3, 64, size[0] // 8, size[1] // 8)
    assert (wavelet_synthesis(y) - x).abs().max() < 1e-12
    assert (block_synthesis(block_analysis(x)) == x).all()


def test_polynomials_have_no_details_and_a_mean_has_gain_eight():
    ramp = torch.arange(128, dtype=torch.float64)
    x = (0.3 + 0.01 * ramp[:, None] - 1e-4 * ramp[None] ** 2 + 1e-6 * ramp[None] ** 3)[None, None]
    inner = wavelet_analysis(x)[0, :, 5:11, 5:11]
    assert inner[1:].abs().max() < 1e-9
    flat = wavelet_analysis(torch.ones(1, 1, 64, 64, dtype=torch.float64))
    assert flat[0, 0].numpy() == pytest.approx(8.0)
    assert flat[0, 1:].abs().max() < 1e-9


def test_reach():
    x = torch.zeros(1, 1, 256, 256)
    reached = 0
    for place in range(120, 136):
        x.zero_()
        x[..., place] = 1
        columns = (wavelet_analysis(x).abs().sum((0, 1, 2)) > 1e-12).nonzero()[:, 0]
        reached = max(reached, place - (8 * int(columns.min()) + 7), 8 * int(columns.max()) - place)
    assert reached == REACH


# --- with the KLT and the learned correction -----------------------------------------------------------------------------

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
    assert not network.synthesis(torch.zeros(1, 64, 4, 4), 30.0, STEPS).any()


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


def test_wrong_use_is_refused():
    with pytest.raises(ModelError, match="unknown transform"):
        CodingTransform("dct")
    with pytest.raises(ModelError, match="at least one"):
        CodingTransform().fit_linear([])
