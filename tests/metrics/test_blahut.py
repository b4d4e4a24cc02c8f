"""Blahut-Arimoto against the rate-distortion functions that are known in closed form."""

import numpy as np
import pytest

from sarlab.errors import MetricError
from sarlab.metrics.blahut import blahut_arimoto


def h(p):
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


@pytest.mark.parametrize("p", [0.5, 0.2])
@pytest.mark.parametrize("slope", [2.5, 4.0, 7.0])
def test_bernoulli_with_hamming_distortion(p, slope):
    point = blahut_arimoto([1 - p, p], [[0, 1], [1, 0]], slope, tolerance=1e-9)
    # dh/dD = log2((1 − D)/D) is the slope, where D is below p
    expected = 1 / (1 + 2**slope)
    assert expected < p
    assert point.distortion == pytest.approx(expected, abs=1e-6)
    assert point.rate == pytest.approx(h(p) - h(expected), abs=1e-6)
    assert point.gap < 1e-9


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_gaussian_with_squared_error(rate):
    x = np.linspace(-5.5, 5.5, 401)
    distortion = 4.0**-rate
    point = blahut_arimoto(np.exp(-(x**2) / 2), (x[:, None] - x) ** 2, 1 / (2 * np.log(2) * distortion), tolerance=1e-4)
    assert point.rate == pytest.approx(0.5 * np.log2(1 / point.distortion), abs=1e-3)
    assert point.rate == pytest.approx(rate, abs=0.01)


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_laplacian_with_absolute_error(rate):
    """R(D) = −log2(α·D) of the law α/2·exp(−α|x|)."""
    x = np.linspace(-10, 10, 801)
    distortion = 2.0**-rate
    point = blahut_arimoto(np.exp(-np.abs(x)), np.abs(x[:, None] - x), 1 / (np.log(2) * distortion), tolerance=1e-3)
    assert point.rate == pytest.approx(-np.log2(point.distortion), abs=5e-3)
    assert point.rate == pytest.approx(rate, abs=0.03)


def test_too_small_a_slope_gives_rate_zero_at_the_best_constant():
    point = blahut_arimoto([0.8, 0.2], [[0, 1], [1, 0]], 0.5)
    assert point.rate == pytest.approx(0, abs=1e-5)
    assert point.distortion == pytest.approx(0.2, abs=1e-5)


@pytest.mark.parametrize(
    ("probability", "distortion", "slope"),
    [([0.5, 0.5], [[0, 1]], 1), ([-1, 2], [[0, 1], [1, 0]], 1), ([0.5, 0.5], [[0, 1], [1, 0]], 0),
     ([0.5, 0.5], [[0, np.inf], [1, 0]], 1)],
)  # fmt: skip
def test_impossible_sources_are_refused(probability, distortion, slope):
    with pytest.raises(MetricError):
        blahut_arimoto(probability, distortion, slope)
