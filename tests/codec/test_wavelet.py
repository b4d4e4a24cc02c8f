"""The wavelet front end against the published CDF 9/7 filters, and as a transform."""

import numpy as np
import pytest
import torch

from sarlab.codec.hyper.wavelet import (
    REACH,
    _merge,
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


def test_one_dimension_is_undone():
    x = torch.randn(2, 3, 10, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for axis in (-1, -2):
        assert (_merge(*_split(x, axis), axis) - x).abs().max() < 1e-13


def test_polynomials_have_no_details_and_a_mean_has_gain_eight():
    ramp = torch.arange(128, dtype=torch.float64)
    x = (0.3 + 0.01 * ramp[:, None] - 1e-4 * ramp[None] ** 2 + 1e-6 * ramp[None] ** 3)[None, None]
    inner = wavelet_analysis(x)[0, :, 5:11, 5:11]
    assert inner[1:].abs().max() < 1e-9
    flat = wavelet_analysis(torch.ones(1, 1, 64, 64, dtype=torch.float64))
    assert flat[0, 0].numpy() == pytest.approx(8.0)
    assert flat[0, 1:].abs().max() < 1e-9


def test_nearly_orthonormal():
    x = torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(2))
    variances = wavelet_analysis(x).var((0, 2, 3))
    assert 0.9 < variances.min() < variances.max() < 1.35


def test_reach():
    x = torch.zeros(1, 1, 256, 256)
    reached = 0
    for place in range(120, 136):
        x.zero_()
        x[..., place] = 1
        columns = (wavelet_analysis(x).abs().sum((0, 1, 2)) > 1e-12).nonzero()[:, 0]
        reached = max(reached, place - (8 * int(columns.min()) + 7), 8 * int(columns.max()) - place)
    assert reached == REACH


def test_wrong_shapes_are_refused():
    for shape in ((1, 1, 12, 16), (1, 2, 16, 16), (16, 16), (1, 1, 0, 8)):
        with pytest.raises(ModelError, match="multiples of 8"):
            wavelet_analysis(torch.zeros(shape))
