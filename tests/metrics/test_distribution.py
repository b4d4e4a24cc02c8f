"""Distances of distributions against SciPy and closed forms."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from sarlab.metrics.distribution import BINS, hellinger, histograms, js_divergence, kl_divergence, wasserstein

CLIP = (-25.0, 5.0)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.normal(-11, 3, (300, 300)), rng.normal(-10, 4, (300, 300))


def test_against_scipy(images):
    counts = histograms(*images, clip=CLIP)
    p, q = counts.reference / counts.reference.sum(), counts.test / counts.test.sum()
    assert js_divergence(*images, clip=CLIP) == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    padded = counts.reference + 0.5, counts.test + 0.5
    assert kl_divergence(*images, clip=CLIP) == pytest.approx(stats.entropy(*padded, base=2))
    assert hellinger(*images, clip=CLIP) == pytest.approx(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2))
    exact = stats.wasserstein_distance(images[0].ravel(), images[1].ravel())
    assert wasserstein(*images, clip=CLIP) == pytest.approx(exact, abs=0.02)


def test_closed_forms_of_normal_distributions():
    rng = np.random.default_rng(1)
    x, y = rng.normal(-11, 3, (2000, 1000)), rng.normal(-9, 3, (2000, 1000))
    assert kl_divergence(x, y, clip=CLIP) == pytest.approx(4 / 18 / np.log(2), rel=0.02)
    assert hellinger(x, y, clip=CLIP) == pytest.approx(np.sqrt(1 - np.exp(-4 / 72)), rel=0.02)
    assert wasserstein(x, y, clip=CLIP) == pytest.approx(2, rel=0.01)


def test_a_shift_is_its_own_wasserstein_distance(images):
    assert wasserstein(images[0], images[0] + 0.8, clip=CLIP) == pytest.approx(0.8, abs=0.02)


def test_bins_are_fixed_by_the_clip_range_and_hold_everything():
    image = np.array([[-1000.0, -40.1, -39.9, 20.1, 400.0, -np.inf]])
    counts = histograms(image, image, clip=CLIP)
    assert counts.reference.size == BINS
    assert counts.reference.sum() == 6
    assert counts.reference[0] == 4
    assert counts.reference[-1] == 2
    assert counts.width == pytest.approx(60 / BINS)


def test_disjoint_distributions_reach_the_largest_values():
    x, y = np.full((50, 50), -20.0), np.full((50, 50), 0.0)
    assert js_divergence(x, y, clip=CLIP) == pytest.approx(1)
    assert hellinger(x, y, clip=CLIP) == pytest.approx(1)
    assert np.isfinite(kl_divergence(x, y, clip=CLIP))
