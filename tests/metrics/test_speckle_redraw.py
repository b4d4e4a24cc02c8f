"""The speckle of a scene and its independent redraw."""

import numpy as np
import pytest
from scipy import stats

from sarlab.metrics.base import DB_PER_NEPER
from sarlab.metrics.comparison import Reference, Window
from sarlab.metrics.speckle import Speckle, draw_speckle, lee_filter, scene_speckle
from sarlab.metrics.spectrum import window_autocorrelation

WHITE = np.zeros((9, 9))
WHITE[4, 4] = 1


@pytest.mark.parametrize("looks", [0.8, 1.0, 4.4, 64.0])
def test_white_speckle_follows_the_gamma_law(looks):
    drawn = draw_speckle((300, 300), Speckle(looks, WHITE), np.random.default_rng(0))
    assert stats.kstest(drawn.ravel(), "gamma", args=(looks, 0, 1 / looks)).pvalue > 1e-3


def test_correlated_speckle_has_the_correlation_asked_for():
    d2 = np.add.outer(np.arange(-4, 5) ** 2, np.arange(-4, 5) ** 2)
    wanted = Speckle(4.0, 0.6**d2)
    drawn = draw_speckle((512, 512), wanted, np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(1, abs=0.01)
    assert drawn.var() == pytest.approx(0.25, rel=0.05)
    measured = window_autocorrelation(DB_PER_NEPER * np.log(drawn), [Window(0, 0, 512, 512)])
    assert measured[4, 5] == pytest.approx(0.6, abs=0.04)
    assert measured[5, 5] == pytest.approx(0.36, abs=0.04)
    np.testing.assert_allclose(measured, wanted.autocorrelation, atol=0.06)


def test_speckle_of_a_scene_is_measured():
    rng = np.random.default_rng(2)
    white = rng.gamma(4.4, 1 / 4.4, (256, 256))
    measured = scene_speckle(Reference(10 * np.log10(white), clip=(-25, 5)))
    assert measured.looks == pytest.approx(4.4, rel=0.03)
    assert measured.area == pytest.approx(1, abs=0.3)
    assert scene_speckle(Reference(10 * np.log10(white), clip=(-25, 5), looks=5)).looks == 5
    without_windows = scene_speckle(Reference(np.zeros((100, 100)), clip=(-25, 5), looks=3))
    assert without_windows.looks == 3
    assert without_windows.area == 1


def test_lee_filter_smooths_speckle_and_keeps_an_isolated_target():
    rng = np.random.default_rng(3)
    intensity = rng.gamma(4, 1 / 4, (128, 128))
    intensity[64, 64] = 500
    filtered = lee_filter(intensity, np.ones(intensity.shape, bool), 4.0)
    assert filtered[:50, :50].var() < 0.15 * intensity[:50, :50].var()
    assert filtered.mean() == pytest.approx(intensity.mean(), rel=0.02)
    assert filtered[64, 64] > 300
