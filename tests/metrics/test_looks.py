"""Equivalent number of looks on speckle of known looks."""

import numpy as np
import pytest
from scipy.special import polygamma
from scipy.stats import gaussian_kde

from sarlab.metrics import Comparison, UndefinedMetric, Window
from sarlab.metrics.looks import (
    enl,
    enl_log_cumulant,
    enl_mode,
    enl_ratio,
    homogeneous_windows,
    local_looks,
    looks_from_log_variance,
    mode,
    window_looks,
)

LOOKS = [1.0, 4.4, 16.0, 64.0]


def speckle(looks, shape=(256, 256), seed=0):
    return np.random.default_rng(seed).gamma(looks, 1 / looks, shape)


def compared(intensity, other):
    return Comparison(10 * np.log10(intensity), 10 * np.log10(other))


@pytest.mark.parametrize("looks", LOOKS)
def test_looks_of_gamma_speckle(looks):
    image = 37.0 * speckle(looks)
    case = compared(image, image)
    assert enl(image) == pytest.approx(looks, rel=0.025)
    assert enl_log_cumulant(case) == pytest.approx(looks, rel=0.025)
    # the mode of about 150 windows is coarser than their median
    assert enl_mode(case) == pytest.approx(looks, rel=0.06)
    assert mode(local_looks(image)) == pytest.approx(looks, rel=0.15)
    slope = image[:27, :40] * np.linspace(1, 2, 40)
    blocks = [slope[row : row + 9, column : column + 9] for row in (0, 9, 18) for column in (0, 9, 18, 27)]
    assert local_looks(slope) == pytest.approx([block.mean() ** 2 / block.var(ddof=1) for block in blocks])
    logs = np.random.default_rng(1).gamma(2, 1, 300)
    density, grid = gaussian_kde(logs, 1.06 * 300**-0.2 * np.sqrt(299 / 300)), np.linspace(logs.min(), logs.max(), 256)
    assert mode(np.exp(logs)) == pytest.approx(np.exp(grid[density(grid).argmax()]))


def test_log_variance_inverts_the_trigamma_function():
    looks = np.geomspace(0.03, 1e5, 200)
    np.testing.assert_allclose(looks_from_log_variance(polygamma(1, looks)), looks, rtol=1e-9)
    assert np.isnan(looks_from_log_variance(np.array([0.0, -1.0, np.nan, np.inf]))).all()


def test_window_selection_is_that_of_a_plain_loop():
    # with texture, for which the two estimators differ by more and by less than 10 %
    texture = np.random.default_rng(6).gamma(2, 0.5, (12, 10))
    image = speckle(3.0, (96, 80), 5) * np.kron(texture, np.ones((8, 8)))
    image[40, 3] = np.nan
    image[70, 70] = 0.0
    found = []
    for row in range(0, 96 - 31, 16):
        for column in range(0, 80 - 31, 16):
            samples = image[row : row + 32, column : column + 32]
            if np.isnan(samples).any() or (samples <= 0).any():
                continue
            moments = samples.mean() ** 2 / samples.var()
            logs = looks_from_log_variance(np.array(np.log(samples).var()))
            if abs(moments - logs) <= 0.1 * (moments + logs) / 2:
                found.append((moments, (row, column, 32, 32)))
    assert all(moments > 0.8 for moments, _ in found)
    best = np.quantile([moments for moments, _ in found], 0.9)
    expected = [window for moments, window in found if moments >= best / 2]
    assert 0 < len(expected) < 20
    assert homogeneous_windows(image, 32) == expected


def test_given_windows_are_used_without_nodata_and_those_of_the_original_for_the_ratio():
    image = speckle(4.0)
    image[10:14, 10:14] = np.nan
    samples = image[:40, :60]
    samples = samples[~np.isnan(samples)]
    assert enl(image, windows=[(0, 0, 40, 60)]) == pytest.approx(samples.mean() ** 2 / samples.var())
    image = speckle(4.0)
    # averaging with an independent draw doubles the looks; the ratio is that of gamma(8) over gamma(4)
    better = (image + speckle(4.0, seed=11)) / 2
    assert enl_ratio(compared(image, better)) == pytest.approx(2, rel=0.05)
    assert enl_ratio(compared(image, 3 * image)) == pytest.approx(1)
    with pytest.raises(UndefinedMetric, match="infinite"):
        enl_ratio(compared(image, np.full_like(image, 0.3)))
    image = np.full((64, 64), 2.5)
    assert np.isinf(window_looks(image, [Window(0, 0, 32, 32)]).moments).all()
    assert np.isnan(window_looks(np.array([[1.0, np.nan]]), [Window(0, 0, 1, 2)]).moments).all()
    assert "no homogeneous window" in enl(image).reason


def test_windows_fit_the_fields():
    """Fields of 24 samples, 6 dB apart: no window of 32 holds one field, and its looks are those of the mixture."""
    rows, columns = np.mgrid[:288, :288] // 24
    fields = speckle(8.0, (288, 288)) * np.where((rows + columns) % 2, 4, 1)
    found = homogeneous_windows(fields)
    assert {window[2:] for window in found} == {(16, 16)}
    assert np.median(window_looks(fields, found).moments) == pytest.approx(8, rel=0.1)
    assert {window[2:] for window in homogeneous_windows(speckle(8.0))} == {(32, 32)}
    assert {window[2:] for window in homogeneous_windows(fields, 8)} == {(8, 8)}
    assert {window[2:] for window in homogeneous_windows(speckle(4.0, (17, 400)))} == {(16, 16)}
    assert homogeneous_windows(speckle(4.0, (15, 400))) == []
    # some texture moves both estimators alike: windows below half the looks of the best are left out
    for looks, found in ((6.0, {True}), (10.0, {True, False})):
        mixed = np.hstack([speckle(16.0, (256, 96)), speckle(looks, (256, 160))])
        assert {window.column < 96 for window in homogeneous_windows(mixed)} == found
    # below one look: a floor under many samples, as in products of eight bits
    assert homogeneous_windows(np.maximum(speckle(1.0) - 0.7, 1e-4)) == []
