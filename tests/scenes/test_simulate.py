"""Simulated scenes and their speckle, compared to closed forms."""

import numpy as np
import pytest
from scipy.special import polygamma
from scipy.stats import gamma, kstest

from sarlab.errors import SceneError
from sarlab.scenes.simulate import gaussian_field, reflectivity, simulate, simulated_split, speckle


def test_the_ratio_to_the_clean_scene_is_speckle_of_the_looks_asked_for():
    noisy, clean = simulate((256, 256), seed=7)
    ratio = np.divide(*(one.data[0].astype(float) - reflectivity((256, 256), 7)[1] for one in (noisy, clean)))
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert ratio.mean() ** 2 / ratio.var() == pytest.approx(4.4, rel=0.03)
    assert (noisy.quantity, noisy.simulated, noisy.looks, clean.looks) == ("intensity", True, 4.4, float("inf"))


def test_reflectivity_has_what_the_metrics_look_for():
    background, targets = reflectivity((256, 256), seed=1)
    assert background.shape == targets.shape == (256, 256)
    assert (background > 0).all()
    assert targets[targets > 0].size == 7
    assert (targets[targets > 0] >= 1 - 1e-9).all()
    levels, counts = np.unique(background, return_counts=True)
    # Roads, and regions without texture, are exactly homogeneous; textured ones are not.
    roads = np.isclose(10 * np.log10(levels), -18)
    assert 0 < counts[roads].sum() / background.size < 0.2
    assert (counts[~roads] > 100).sum() >= 5
    assert (counts == 1).sum() > 1000


def test_correlation_changes_nothing_but_the_width_of_point_targets():
    (sharp, peaks), (wide, blurred) = (reflectivity((128, 128), 2, correlation) for correlation in (0.0, 0.6))
    assert np.array_equal(sharp, wide)
    row, column = next(p for p in np.argwhere(peaks) if (p > 8).all() and (p < 120).all())
    assert blurred[row, column] == pytest.approx(peaks[row, column], rel=1e-6)
    assert blurred[row, column + 1] / blurred[row, column] == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (17, 1000), (3, 2)])
def test_tiny_scenes(shape):
    scene, clean = simulate(shape, correlation=0.5)
    assert scene.shape == clean.shape == (1, *shape)
    assert np.isfinite(scene.data).all()


def test_catalog_splits_share_reflectivity_and_differ_in_seeds():
    white, other = simulated_split(4.4), simulated_split(64.0)
    acquisitions = [scene.acquisition for _, scene in white.roles()]
    assert len(set(acquisitions)) == len(acquisitions) == len(white.clean)
    for role, scene in white.roles():
        assert white.clean[scene.name].shape == scene.shape
        assert scene.seen_in_training == ("true" if role == "train" else "false")
        assert np.array_equal(scene.data * 256, np.round(scene.data * 256))
    for a, b in zip(white.test, other.test, strict=True):
        assert np.array_equal(white.clean[a.name].data, other.clean[b.name].data)
        assert not np.array_equal(a.data, b.data)


@pytest.mark.parametrize(
    ("looks", "correlation"), [*((looks, 0) for looks in (0, -1, np.inf, np.nan)), (1, -0.1), (1, 1)]
)
def test_impossible_speckle_is_refused(looks, correlation):
    with pytest.raises(SceneError, match="correlation" if correlation else "looks"):
        speckle((2, 2), looks, np.random.default_rng(0), correlation)


# Speckle

SIDE = 400


def lag(field, rows, columns):
    x = field - field.mean()
    height, width = x.shape
    return np.mean(x[: height - rows, : width - columns] * x[rows:, columns:]) / np.mean(x * x)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7, 0.9])
@pytest.mark.parametrize("looks", [0.6, 1, 4.4, 16, 64])
def test_marginal_is_gamma_of_the_looks_and_neighbors_are_correlated_as_asked_for(looks, correlation):
    field = speckle((SIDE, SIDE), looks, np.random.default_rng(11), correlation)
    # Independent samples per correlation area; the tolerances are five standard errors or more.
    area = 1 if correlation == 0 else -np.pi / np.log(correlation)
    error = 5 * np.sqrt(area / field.size)
    assert field.mean() == pytest.approx(1, abs=error / np.sqrt(looks))
    assert field.mean() ** 2 / field.var() == pytest.approx(looks, rel=error * np.sqrt(2 + 6 / looks))
    assert np.log(field).var() == pytest.approx(polygamma(1, looks), rel=error * 2.5)
    sparse = field[::10, ::10].ravel()
    assert kstest(sparse, gamma(looks, scale=1 / looks).cdf).pvalue > 1e-3
    assert lag(field, 0, 1) == pytest.approx(correlation, abs=error)
    assert lag(field, 1, 0) == pytest.approx(correlation, abs=error)
    # The autocorrelation has a Gaussian shape: ρ^(d²). After the copula this holds to a few hundredths.
    assert lag(field, 1, 1) == pytest.approx(correlation**2, abs=error + 0.02)


def test_gaussian_fields_do_not_wrap_around():
    field = gaussian_field((64, 4000), np.random.default_rng(1), 0.9)
    assert abs(np.mean(field[0] * field[-1])) < 5 * np.sqrt(-np.pi / np.log(0.9) / 4000)
    assert np.mean(field[0] * field[1]) == pytest.approx(0.9, abs=0.1)
    assert field.std() == pytest.approx(1, abs=0.05)
