"""The ratio image of ideal despecklers, and the M-index against scikit-image's co-occurrence matrices."""

import numpy as np
import pytest
from scipy.special import digamma

from sarlab.metrics.ratio import (
    homogeneity,
    m_index,
    ratio_image,
    ratio_mean,
    ratio_variance,
    ratio_whiteness,
    shuffled_homogeneity,
    structure_percent,
)


def db(intensity):
    return 10 * np.log10(intensity)


@pytest.mark.parametrize("looks", [1.0, 4.4])
def test_ratio_of_ideal_estimates(looks):
    rng = np.random.default_rng(0)
    speckle = rng.gamma(looks, 1 / looks, (700, 700))
    clean = np.tile(np.linspace(-20, 0, 700), (700, 1))
    recorded = clean + db(speckle)
    assert ratio_mean(recorded, clean) == pytest.approx(1, abs=0.01)
    assert ratio_variance(recorded, clean) == pytest.approx(1 / looks, rel=0.02)
    # the best estimate in squared dB is the mean of the dB values
    in_db = clean + 10 / np.log(10) * (digamma(looks) - np.log(looks))
    assert ratio_mean(recorded, in_db) == pytest.approx(looks * np.exp(-digamma(looks)), rel=0.01)
    assert ratio_whiteness(recorded, clean) > 0.97


def test_published_values_of_the_biased_mean():
    assert np.exp(-digamma(1)) == pytest.approx(1.78, abs=0.005)
    assert 4.4 * np.exp(-digamma(4.4)) == pytest.approx(1.125, abs=0.001)


def test_ratio_to_itself_and_to_zero():
    image = np.random.default_rng(0).normal(-10, 3, (80, 80))
    assert ratio_mean(image, image) == 1
    assert ratio_variance(image, image) == 0
    holed = image.copy()
    holed[3, 4] = -np.inf
    assert np.isnan(ratio_image(image, holed)[3, 4])
    assert "zero" in ratio_mean(image, np.full_like(image, -np.inf)).reason


def test_homogeneity_is_scikit_images():
    from skimage.feature import graycomatrix, graycoprops

    levels = np.random.default_rng(1).integers(0, 32, (40, 60))
    levels[10:30, 10:30] = 5
    counts = graycomatrix(levels.astype(np.uint8), [1], [0, np.pi / 2], levels=32).sum(axis=3, keepdims=True)
    expected = graycoprops(counts.astype(np.uint32), "homogeneity").item()
    assert homogeneity(levels, np.ones(levels.shape, bool)) == pytest.approx(expected)


def test_shuffled_homogeneity_is_the_mean_over_shuffles():
    rng = np.random.default_rng(2)
    levels = np.minimum(rng.gamma(4, 2, (64, 64)).astype(int), 31)
    whole = np.ones(levels.shape, bool)
    shuffles = [homogeneity(rng.permutation(levels.ravel()).reshape(levels.shape), whole) for _ in range(60)]
    assert shuffled_homogeneity(levels) == pytest.approx(np.mean(shuffles), abs=4 * np.std(shuffles) / np.sqrt(60))


def test_m_index_ranks_ideal_before_blurred_before_nothing_done():
    from scipy.ndimage import uniform_filter

    rng = np.random.default_rng(3)
    clean = np.full((256, 256), -12.0)
    clean[:, ::32] = -3
    clean[100:150, 100:150] = -5
    recorded = clean + db(rng.gamma(4, 1 / 4, clean.shape))
    windows = [(160, 2, 80, 29), (20, 34, 60, 29), (170, 100, 60, 28)]
    ideal = m_index(recorded, clean, windows=windows)
    blurred = m_index(recorded, db(uniform_filter(10 ** (recorded / 10), 9)), windows=windows)
    assert ideal < 1
    assert blurred > 5 * ideal
    assert "equal" in m_index(recorded, recorded, windows=windows).reason


def test_structure_of_white_speckle_is_none():
    assert structure_percent(np.random.default_rng(4).gamma(4, 1 / 4, (400, 400))) < 1
