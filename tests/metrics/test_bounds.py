"""Closed forms of speckle against draws: within 0.05 dB and 0.02 bit."""

import numpy as np
import pytest

from sarlab.errors import MetricError
from sarlab.metrics.blahut import blahut_arimoto
from sarlab.metrics.bounds import (
    bias_limit,
    efficiency,
    shannon_lower_bound,
    speckle_entropy,
    speckle_floor,
    speckle_negentropy,
    speckle_rate_estimate,
    speckle_sandwich,
    speckle_std,
)
from sarlab.metrics.pixel import psnr
from sarlab.metrics.waterfilling import Curve

LOOKS = [1.0, 4.0, 4.4, 16.0, 64.0]


def draws(looks, count=2_000_000, seed=0):
    return np.random.default_rng(seed).gamma(looks, 1 / looks, count)


def test_published_values():
    np.testing.assert_allclose(speckle_std([1, 4, 4.4]), [5.57, 2.31, 2.19], atol=0.005)
    np.testing.assert_allclose(speckle_negentropy([1, 4, 4.4]), [0.131, 0.032, 0.029], atol=5e-4)
    np.testing.assert_allclose(bias_limit([1, 4.4]), [-2.51, -0.51], atol=0.005)
    np.testing.assert_allclose(shannon_lower_bound(1.0, [1, 4.4]), [2.35, 1.10], atol=0.005)


@pytest.mark.parametrize("looks", LOOKS)
def test_floor_and_bias_of_simulated_speckle(looks):
    intensity = draws(looks)
    db = 10 * np.log10(intensity)
    assert speckle_std(looks) == pytest.approx(db.std(), abs=0.01)
    assert bias_limit(looks) == pytest.approx(db.mean() - 10 * np.log10(intensity.mean()), abs=0.01)
    # the best constant reconstruction, judged by the metric itself
    clip = (-150.0, 50.0)
    recorded = db[:1_000_000].reshape(1000, 1000)
    assert psnr(recorded, np.full_like(recorded, db.mean()), clip=clip) == pytest.approx(
        speckle_floor(looks, clip), abs=0.05
    )


@pytest.mark.parametrize("looks", LOOKS)
def test_entropy_and_shannon_bound_of_simulated_speckle(looks):
    """Vasicek's spacing estimator knows nothing of the gamma law."""
    logs = np.sort(np.log(draws(looks, 1_000_000)))
    m = 300
    spacing = logs[2 * m :] - logs[: -2 * m]
    entropy = np.mean(np.log(spacing * logs.size / (2 * m)))
    assert speckle_entropy(looks) == pytest.approx(entropy, abs=0.01)
    simulated = (entropy + np.log(10 / np.log(10))) / np.log(2) - 0.5 * np.log2(2 * np.pi * np.e)
    assert shannon_lower_bound(0.2, looks) == pytest.approx(simulated - np.log2(0.2), abs=0.02)


@pytest.mark.parametrize("looks", [1.0, 4.4])
@pytest.mark.parametrize("rmse", [0.5, 1.0, 2.0])
def test_the_computed_rate_lies_inside_the_sandwich(looks, rmse):
    """Blahut-Arimoto on the log-gamma law, with the slope sought that gives this RMSE."""
    from scipy.special import gammaln

    x = np.linspace(-8 * speckle_std(looks), 4 * speckle_std(looks), 500)
    neper = x * np.log(10) / 10
    law = np.exp(looks * (np.log(looks) + neper - np.exp(neper)) - gammaln(looks))
    distortion = (x[:, None] - x) ** 2
    # a Gaussian's slope at this error is near enough; the point is judged at the error that it has
    point = blahut_arimoto(law, distortion, 1 / (2 * np.log(2) * rmse**2), tolerance=1e-3)
    lower, upper = speckle_sandwich(np.sqrt(point.distortion), looks)
    assert lower - 0.002 <= point.rate <= upper + 0.002
    assert upper - lower == pytest.approx(speckle_negentropy(looks), abs=1e-9) or lower == 0


def test_more_error_than_speckle_costs_nothing():
    assert shannon_lower_bound(6.0, 1.0) == 0
    assert speckle_sandwich(6.0, 1.0) == (0, 0)


def test_rate_estimate_of_white_speckle_meets_the_gaussian_bound():
    rng = np.random.default_rng(1)
    clean = np.kron(rng.uniform(-20, 0, (8, 8)), np.ones((64, 64)))
    recorded = clean + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, clean.shape))
    clip = (-30.0, 0.0)
    psnr_db = 20 * np.log10(30 / np.array([2.0, 1.0, 0.5, 0.25]))
    curve = speckle_rate_estimate(recorded, clean, clip=clip, psnr_db=psnr_db)
    np.testing.assert_allclose(np.sqrt(curve.mse), [2.0, 1.0, 0.5, 0.25])
    np.testing.assert_allclose(curve.psnr_db, psnr_db)
    np.testing.assert_allclose(curve.bpp, speckle_sandwich(np.sqrt(curve.mse), 4.4).upper, atol=0.03)


def test_correlated_speckle_costs_less_than_the_white_bound():
    from sarlab.scenes.simulate import speckle

    recorded = 10 * np.log10(speckle((512, 512), 4, np.random.default_rng(2), correlation=0.8))
    curve = speckle_rate_estimate(recorded, np.zeros_like(recorded), clip=(-30, 0), psnr_db=[20 * np.log10(30 / 0.5)])
    assert curve.bpp[0] < shannon_lower_bound(0.5, 4.0) - 0.5


def test_efficiency_is_bound_over_actual_at_equal_psnr():
    bound = Curve(np.array([0.0, 1.0, 2.0]), np.array([20.0, 26.0, 32.0]), np.ones(3))
    np.testing.assert_allclose(efficiency([2.0, 1.0], [26.0, 29.0], bound), [0.5, 1.5])
    assert np.isnan(efficiency([1.0, 0.0, 1.0], [40.0, 26.0, np.nan], bound)).all()


@pytest.mark.parametrize("looks", [0, -1, np.nan, np.inf])
def test_impossible_looks_are_refused(looks):
    with pytest.raises(MetricError, match="looks"):
        speckle_std(looks)
