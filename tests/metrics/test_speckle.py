"""The speckle of a scene and its redraw; the ratio image of ideal despecklers, and the M-index against scikit-image."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma

from sarlab.metrics import Comparison, Reference, UndefinedMetric, Window, speckle
from sarlab.metrics.applications import to_db
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.spectra import window_autocorrelation

WHITE = np.zeros((9, 9))
WHITE[4, 4] = 1


def test_speckle_follows_the_gamma_law_and_has_the_correlation_asked_for():
    for looks in (0.8, 1.0, 4.4, 64.0):
        drawn = speckle.draw_speckle((300, 300), speckle.Speckle(looks, WHITE), np.random.default_rng(0))
        assert stats.kstest(drawn.ravel(), "gamma", args=(looks, 0, 1 / looks)).pvalue > 1e-3
    d2 = np.add.outer(np.arange(-4, 5) ** 2, np.arange(-4, 5) ** 2)
    wanted = speckle.Speckle(4.0, 0.6**d2)
    drawn = speckle.draw_speckle((512, 512), wanted, np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(1, abs=0.01)
    assert drawn.var() == pytest.approx(0.25, rel=0.05)
    measured = window_autocorrelation(DB_PER_NEPER * np.log(drawn), [Window(0, 0, 512, 512)])
    assert measured[4, 5] == pytest.approx(0.6, abs=0.04)
    assert measured[5, 5] == pytest.approx(0.36, abs=0.04)
    np.testing.assert_allclose(measured, wanted.autocorrelation, atol=0.06)
    # that of a scene is measured
    measured = speckle.scene_speckle(Reference(to_db(drawn)))
    assert measured.looks == pytest.approx(4, rel=0.1)
    assert measured.autocorrelation[4, 5] == pytest.approx(0.6, abs=0.05)
    without_windows = speckle.scene_speckle(Reference(np.zeros((100, 100)), looks=3))
    assert (without_windows.looks, without_windows.area) == (3, 1)
    assert np.array_equal(without_windows.autocorrelation, WHITE)
    # a redraw has the same ground and the same law, and lacks the same samples
    clean = np.linspace(-20, 0, 512) * np.ones((512, 1))
    clean[:9] = np.nan
    again = speckle.redraw(Reference(clean + to_db(drawn), looks=4, clean_db=clean))
    factors = 10 ** ((again.db - clean) / 10)
    assert np.array_equal(np.isnan(again.db), np.isnan(clean))
    assert (np.nanmean(factors), np.nanvar(factors)) == pytest.approx((1, 1 / 4), rel=0.05)


def test_lee_filter_smooths_speckle_and_keeps_an_isolated_target():
    rng = np.random.default_rng(3)
    intensity = rng.gamma(4, 1 / 4, (128, 128))
    intensity[64, 64] = 500
    filtered = speckle.lee_filter(intensity, np.ones(intensity.shape, bool), 4.0)
    for row, column in ((64, 64), *np.argwhere(intensity[3:40, 3:40] > 0) + 3):
        window = intensity[row - 3 : row + 4, column - 3 : column + 4]
        variance = max(window.var() - window.mean() ** 2 / 4, 0) / (1 + 1 / 4)
        expected = window.mean() + variance / window.var() * (intensity[row, column] - window.mean())
        assert filtered[row, column] == pytest.approx(expected)


@pytest.mark.parametrize("looks", [1.0, 4.4])
def test_ratio_of_ideal_estimates(looks):
    rng = np.random.default_rng(0)
    clean = np.tile(np.linspace(-20, 0, 700), (700, 1))
    recorded = clean + to_db(rng.gamma(looks, 1 / looks, clean.shape))
    ideal = Comparison(recorded, clean)
    assert speckle.ratio_mean(ideal) == pytest.approx(1, abs=0.01)
    assert speckle.ratio_variance(ideal) == pytest.approx(1 / looks, rel=0.02)
    assert speckle.ratio_whiteness(ideal) > 0.97
    # the best estimate in squared dB is the mean of the dB values
    in_db = clean + 10 / np.log(10) * (digamma(looks) - np.log(looks))
    assert speckle.ratio_mean(Comparison(recorded, in_db)) == pytest.approx(looks * np.exp(-digamma(looks)), rel=0.01)
    in_db[3, 4] = -np.inf
    assert np.isnan(speckle.ratio_image(Comparison(recorded, in_db))[3, 4])


def test_cooccurrence_is_that_of_a_plain_loop():
    rng = np.random.default_rng(1)
    levels, valid = rng.integers(0, 6, (12, 9)), rng.random((12, 9)) > 0.2
    counts = np.zeros((6, 6))
    for row, column in np.argwhere(valid):
        for other in ((row + 1, column), (row, column + 1)):
            if other[0] < 12 and other[1] < 9 and valid[other]:
                counts[levels[row, column], levels[other]] += 1
    matrix = speckle.cooccurrence(levels, valid, 6)
    np.testing.assert_allclose(matrix, (counts + counts.T) / (counts + counts.T).sum())
    gray = np.arange(6)
    assert speckle.texture(matrix, "homogeneity") == pytest.approx((matrix / (1 + (gray[:, None] - gray) ** 2)).sum())
    with pytest.raises(UndefinedMetric, match="neighbors"):
        speckle.cooccurrence(levels, np.zeros((12, 9), bool), 6)


def test_structure_is_measured_against_the_mean_over_shuffles():
    rng = np.random.default_rng(2)
    ratio = np.repeat(np.minimum(rng.gamma(4, 1 / 4, (64, 32)), 3.9), 2, axis=1)
    whole = np.ones(ratio.shape, bool)

    def homogeneity(image):
        return speckle.texture(speckle.cooccurrence((image * 8).astype(int), whole, 32), "homogeneity")

    shuffles = [homogeneity(rng.permutation(ratio.ravel()).reshape(ratio.shape)) for _ in range(60)]
    expected = 100 * (homogeneity(ratio) - np.mean(shuffles)) / homogeneity(ratio)
    tolerance = 400 * np.std(shuffles) / homogeneity(ratio) / 7
    assert speckle.structure_percent(ratio) == pytest.approx(expected, abs=tolerance)
    assert speckle.structure_percent(rng.gamma(4, 1 / 4, (400, 400))) < 1


def test_m_index_is_the_mean_of_the_first_order_and_the_structure():
    rng = np.random.default_rng(3)
    clean = np.full((256, 256), -12.0)
    clean[:, ::32] = -3
    clean[100:150, 100:150] = -5
    recorded = clean + to_db(rng.gamma(4, 1 / 4, clean.shape))
    windows = [(160, 2, 80, 29), (20, 34, 60, 29), (170, 100, 60, 28)]
    reference = Reference(recorded, windows=windows)
    ideal = speckle.m_index(Comparison(reference, clean))
    assert ideal < 1
    ratio, first_order = 10 ** ((recorded - clean) / 10), []
    for row, column, height, width in windows:
        before, after = (image[row : row + height, column : column + width] for image in (10 ** (recorded / 10), ratio))
        looks, left = (samples.mean() ** 2 / samples.var() for samples in (before, after))
        first_order.append((abs(looks - left) / looks + abs(1 - after.mean())) / 2)
    assert ideal == pytest.approx(np.mean(first_order) + speckle.structure_percent(ratio))
    with np.errstate(all="ignore"), pytest.raises(UndefinedMetric, match="equal"):
        speckle.m_index(Comparison(reference, recorded))
