"""The law of simulated speckle: moments, distribution and correlation, against closed forms."""

import numpy as np
import pytest
from scipy.special import polygamma
from scipy.stats import gamma, kstest

from sarlab.errors import SceneError
from sarlab.scenes.speckle import complex_speckle, gaussian_field, speckle, speckle_over

SIDE = 400


def lag(field, rows, columns):
    x = field - field.mean()
    height, width = x.shape
    return np.mean(x[: height - rows, : width - columns] * x[rows:, columns:]) / np.mean(x * x)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("looks", [0.6, 1, 4.4, 16, 64])
def test_marginal_is_gamma_of_the_looks_asked_for(looks, correlation):
    field = speckle((SIDE, SIDE), looks, np.random.default_rng(11), correlation)
    # Independent samples per correlation area; the tolerances are five standard errors or more.
    area = 1 if correlation == 0 else -np.pi / np.log(correlation)
    error = 5 * np.sqrt(area / field.size)
    assert field.mean() == pytest.approx(1, abs=error / np.sqrt(looks))
    assert field.mean() ** 2 / field.var() == pytest.approx(looks, rel=error * np.sqrt(2 + 6 / looks))
    assert np.log(field).var() == pytest.approx(polygamma(1, looks), rel=error * 2.5)
    sparse = field[::10, ::10].ravel()
    assert kstest(sparse, gamma(looks, scale=1 / looks).cdf).pvalue > 1e-3


@pytest.mark.parametrize("looks", [1, 4, 4.4, 64])
@pytest.mark.parametrize("correlation", [0.2, 0.6, 0.9])
def test_neighbors_are_correlated_as_asked_and_alike_in_both_directions(looks, correlation):
    field = speckle((SIDE, SIDE), looks, np.random.default_rng(5), correlation)
    area = -np.pi / np.log(correlation)
    error = 5 * np.sqrt(area / field.size)
    assert lag(field, 0, 1) == pytest.approx(correlation, abs=error)
    assert lag(field, 1, 0) == pytest.approx(correlation, abs=error)
    # The autocorrelation has a Gaussian shape: ρ^(d²). After the copula this holds to a few hundredths.
    assert lag(field, 1, 1) == pytest.approx(correlation**2, abs=error + 0.02)


def test_both_constructions_of_correlated_speckle_have_the_same_law():
    """Integer looks come from complex fields, fractional ones from a copula: next to each other they must agree."""
    fields, copula = (speckle((SIDE, SIDE), looks, np.random.default_rng(2), 0.5) for looks in (4, 4 + 1e-9))
    assert kstest(fields[::8, ::8].ravel(), copula[::8, ::8].ravel()).pvalue > 1e-3
    assert lag(fields, 0, 1) == pytest.approx(lag(copula, 0, 1), abs=0.02)


def test_white_speckle_has_no_correlation():
    field = speckle((SIDE, SIDE), 3, np.random.default_rng(8))
    assert abs(lag(field, 0, 1)) < 5 / SIDE
    assert abs(lag(field, 1, 0)) < 5 / SIDE


def test_gaussian_fields_do_not_wrap_around():
    field = gaussian_field((64, 4000), np.random.default_rng(1), 0.9)
    assert abs(np.mean(field[0] * field[-1])) < 5 * np.sqrt(-np.pi / np.log(0.9) / 4000)
    assert np.mean(field[0] * field[1]) == pytest.approx(0.9, abs=0.1)
    assert field.std() == pytest.approx(1, abs=0.05)


def test_complex_speckle_is_circular_with_exponential_intensity():
    z = complex_speckle((SIDE, SIDE), np.random.default_rng(4), 0.6)
    assert np.mean(np.abs(z) ** 2) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(z * z)) < 0.03
    assert np.mean(z[:, 1:] * z[:, :-1].conj()).real == pytest.approx(0.6, abs=0.03)
    assert lag(np.abs(z) ** 2, 0, 1) == pytest.approx(0.36, abs=0.03)


def test_seeds_decide():
    for correlation in (0.0, 0.5):
        first, again, other = (speckle((8, 8), 4.4, np.random.default_rng(s), correlation) for s in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_speckle_over_a_reflectivity_keeps_levels_and_nodata():
    reflectivity = np.full((2, 200, 200), 0.01)
    reflectivity[1] = 4.0
    reflectivity[0, 0, 0] = np.nan
    noisy = speckle_over(reflectivity, 4.4, np.random.default_rng(0))
    assert np.isnan(noisy[0, 0, 0])
    assert np.nanmean(noisy[0]) == pytest.approx(0.01, rel=0.02)
    assert noisy[1].mean() == pytest.approx(4, rel=0.02)
    assert np.corrcoef(noisy[0].ravel()[1:], noisy[1].ravel()[1:])[0, 1] == pytest.approx(0, abs=0.03)


def test_despeckled_real_scene_gets_speckle_of_known_looks(shared_data):
    path = shared_data / "airsar_despeckled" / "T33.bin"
    if not path.exists():
        pytest.skip(f"no {path}")
    from sarlab.scenes.readers import read_scene

    scene = read_scene(path, "intensity")
    noisy = speckle_over(scene.data, 4.4, np.random.default_rng(0))
    ratio = noisy / scene.data
    assert ratio.mean() ** 2 / ratio.var() == pytest.approx(4.4, rel=0.02)


def test_impossible_parameters_are_refused():
    for looks in (0, -1, np.inf, np.nan):
        with pytest.raises(SceneError, match="looks"):
            speckle((2, 2), looks, np.random.default_rng(0))
    for correlation in (-0.1, 1.0):
        with pytest.raises(SceneError, match="correlation"):
            speckle((2, 2), 1, np.random.default_rng(0), correlation)
    with pytest.raises(SceneError, match="never negative"):
        speckle_over(-np.ones((2, 2)), 1, np.random.default_rng(0))
