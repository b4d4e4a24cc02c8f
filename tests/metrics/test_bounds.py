"""Limits against draws, closed forms, numerical inversion and an independent search."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

from sarlab.errors import MetricError
from sarlab.metrics import UndefinedMetric, bounds
from sarlab.metrics.fidelity import psnr


def test_published_values():
    np.testing.assert_allclose(bounds.speckle_std([1, 4, 4.4]), [5.57, 2.31, 2.19], atol=0.005)
    np.testing.assert_allclose(bounds.speckle_negentropy([1, 4, 4.4]), [0.131, 0.032, 0.029], atol=5e-4)
    np.testing.assert_allclose(bounds.bias_limit([1, 4.4]), [-2.51, -0.51], atol=0.005)
    np.testing.assert_allclose(bounds.shannon_lower_bound(1.0, [1, 4.4]), [2.35, 1.10], atol=0.005)
    # more error than the speckle has
    assert bounds.shannon_lower_bound(6.0, 1.0) == bounds.gaussian_upper_bound(6.0, 1.0) == 0


@pytest.mark.parametrize("looks", [1.0, 4.4, 64.0])
def test_limits_of_simulated_speckle(looks):
    """The entropy by Vasicek's spacing estimator, which knows nothing of the gamma law."""
    intensity = np.random.default_rng(0).gamma(looks, 1 / looks, 1_000_000)
    db = 10 * np.log10(intensity)
    assert bounds.speckle_std(looks) == pytest.approx(db.std(), abs=0.015)
    assert bounds.bias_limit(looks) == pytest.approx(db.mean() - 10 * np.log10(intensity.mean()), abs=0.015)
    # the best constant reconstruction, judged by the metric itself
    clip, recorded = (-150.0, 50.0), db.reshape(1000, 1000)
    floor = psnr(recorded, np.full_like(recorded, db.mean()), clip=clip)
    assert floor == pytest.approx(bounds.speckle_floor(looks, clip), abs=0.05)
    logs, m = np.sort(np.log(intensity)), 300
    entropy = np.mean(np.log((logs[2 * m :] - logs[: -2 * m]) * logs.size / (2 * m)))
    assert bounds.speckle_entropy(looks) == pytest.approx(entropy, abs=0.01)
    simulated = (entropy + np.log(10 / np.log(10))) / np.log(2) - 0.5 * np.log2(2 * np.pi * np.e)
    assert bounds.shannon_lower_bound(0.2, looks) == pytest.approx(simulated - np.log2(0.2), abs=0.02)


def test_rate_estimate_of_white_and_of_correlated_speckle():
    from sarlab.scenes.simulate import speckle

    rng = np.random.default_rng(1)
    clean = np.kron(rng.uniform(-20, 0, (8, 8)), np.ones((64, 64)))
    recorded = clean + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, clean.shape))
    errors = np.array([2.0, 1.0, 0.5, 0.25])
    curve = bounds.speckle_rate_estimate(recorded, clean, clip=(-30, 0), psnr_db=20 * np.log10(30 / errors))
    np.testing.assert_allclose(np.sqrt(curve.mse), errors)
    np.testing.assert_allclose(curve.psnr_db, 20 * np.log10(30 / errors))
    np.testing.assert_allclose(curve.bpp, bounds.gaussian_upper_bound(errors, 4.4), atol=0.03)
    recorded = 10 * np.log10(speckle((512, 512), 4, rng, correlation=0.8))
    curve = bounds.speckle_rate_estimate(recorded, 0 * recorded, clip=(-30, 0), psnr_db=[20 * np.log10(30 / 0.5)])
    assert curve.bpp[0] < bounds.shannon_lower_bound(0.5, 4.0) - 0.5


# --- reverse water-filling ----------------------------------------------------------------------------------------------


def test_water_filling_by_hand_by_numerical_inversion_and_by_kolmogorovs_formula():
    assert bounds.reverse_water_filling(4.0, [4.0, 1.0, 0.25, 9.0]) == pytest.approx([0, 1, 2, 0])
    # θ = 1 above the weak one: D = (0.5 + 1)/2, R = ½·½·log2(16)
    assert bounds.reverse_water_filling([0.5, 16.0], 0.75) == pytest.approx(1.0)
    assert bounds.reverse_water_filling([0.0, 0.0, 8.0], 1.0) == pytest.approx(0.5 * np.log2(8 / 3) / 3)
    assert bounds.reverse_water_filling([0.0], 1.0) == 0
    rng = np.random.default_rng(0)
    power, weights = rng.exponential(3, 500) ** 2, rng.random(500)
    share = weights / weights.sum()
    for mse in (0.01, 0.3, 2.0, 8.0):
        theta = brentq(lambda t, d=mse: (share * np.minimum(power, t)).sum() - d, 1e-9, power.max())
        rate = (share * np.maximum(0, 0.5 * np.log2(power / theta))).sum()
        assert bounds.reverse_water_filling(power, mse, weights=weights) == pytest.approx(rate, rel=1e-9)
    # of an autoregressive process above its spectrum's minimum: R(D) = ½·log2(σ_innovation² / D)
    spectrum = 1 / np.abs(1 - 0.9 * np.exp(-2j * np.pi * np.arange(4096) / 4096)) ** 2
    assert bounds.reverse_water_filling(spectrum, 0.2) == pytest.approx(0.5 * np.log2(1 / 0.2), abs=1e-9)


@pytest.mark.parametrize("scalar", [False, True])
def test_curve_of_white_noise(scalar):
    image, errors = np.random.default_rng(1).normal(-10, 2, (512, 512)), np.array([2.5, 1.0, 0.25, 0.05])
    curve = bounds.water_filling_curve(image, clip=(-40, 20), psnr_db=20 * np.log10(60 / errors), scalar=scalar)
    extra = [0, 0.239, bounds.SPACE_FILLING_LOSS, bounds.SPACE_FILLING_LOSS] if scalar else 0
    np.testing.assert_allclose(curve.bpp, np.maximum(0, np.log2(2 / errors)) + extra, atol=0.03)
    np.testing.assert_allclose(curve.psnr_db, 10 * np.log10(60**2 / curve.mse))
    if not scalar:
        curve = bounds.water_filling_curve(image, clip=(-40, 20))
        assert curve.bpp[0] == pytest.approx(0, abs=1e-12)
        assert (np.diff(curve.bpp) > 0).all()
        assert curve.psnr_db[0] == pytest.approx(20 * np.log10(60 / 2), abs=0.1)
        assert (len(curve.bpp), curve.psnr_db[-1]) == (121, 60)


def test_pooled_scenes_share_one_level_and_weigh_by_their_samples():
    rng = np.random.default_rng(3)
    quiet, loud = rng.normal(-10, 0.5, (256, 256)), rng.normal(-10, 4, (128, 256))
    # first both above the level: R = Σ w·log2(σ/ε) with weights 2/3 and 1/3; then the quiet scene gets nothing
    for mse, rate in ((0.04, (2 * np.log2(0.5 / 0.2) + np.log2(4 / 0.2)) / 3), ((2 * 0.25 + 1.0) / 3, np.log2(4) / 3)):
        curve = bounds.water_filling_curve([quiet, loud], clip=(-40, 20), psnr_db=[10 * np.log10(3600 / mse)])
        assert curve.bpp[0] == pytest.approx(rate, abs=0.02)
    # the clip rule is that of PSNR
    image = rng.normal(-10, 3, (128, 128))
    narrow = bounds.water_filling_curve(image, clip=(-9, -8), psnr_db=[20.0])
    wide = bounds.water_filling_curve(image, clip=(-40, -9), psnr_db=[20 + 20 * np.log10(31)])
    assert narrow.bpp < wide.bpp


# --- scalar quantizers --------------------------------------------------------------------------------------------------


def test_scalar_quantizer_of_a_gaussian():
    table = bounds.gaussian_scalar_quantizer()
    gap = table.rate - 0.5 * np.log2(1 / table.distortion)
    assert (gap >= -1e-12).all()
    assert np.interp(4, table.rate, gap) == pytest.approx(bounds.SPACE_FILLING_LOSS, abs=1e-4)
    assert pytest.approx(0.2546, abs=1e-4) == bounds.SPACE_FILLING_LOSS
    assert (np.diff(table.slope) < 0).all()
    # high rate: D = Δ²/12 and R = h − log2 Δ + Δ²/(24 ln 2)
    rate, distortion = bounds.dead_zone_quantizer(0.1, 0.5)
    assert distortion == pytest.approx(0.01 / 12, rel=1e-3)
    expected = 0.5 * np.log2(2 * np.pi * np.e) - np.log2(0.1) + 0.01 / (24 * np.log(2))
    assert rate == pytest.approx(expected, abs=1e-5)
    # in the table, of other variance, and beyond it
    for k in (1, len(table.rate) // 2, len(table.rate) - 2):
        found = bounds.scalar_quantization(np.array([4.0]), 4 * table.slope[k], np.array([1.0]))
        assert found == pytest.approx((table.rate[k], 4 * table.distortion[k]))
    rate, mse = bounds.scalar_quantization(np.array([1.0]), 1e-6, np.array([1.0]))
    assert mse == pytest.approx(1e-6 / (2 * np.log(2)))
    assert rate == pytest.approx(0.5 * np.log2(1 / mse) + bounds.SPACE_FILLING_LOSS)
    assert bounds.scalar_quantization(np.array([1.0]), 50.0, np.array([1.0])) == (0.0, 1.0)


def test_no_entropy_constrained_lloyd_quantizer_is_better():
    """An independent search, with free thresholds, must not beat the table by a thousandth of a bit."""
    table = bounds.gaussian_scalar_quantizer()
    for slope in (0.05, 0.2, 0.5):
        levels = np.arange(-30, 31) * np.sqrt(6 * slope / np.log(2))
        p = np.exp(-0.5 * levels**2) / np.exp(-0.5 * levels**2).sum()
        for _ in range(300):
            with np.errstate(all="ignore"):
                t = (levels[1:] + levels[:-1]) / 2 + slope * np.log2(p[:-1] / p[1:]) / (2 * np.diff(levels))
            edges = np.concatenate([[-np.inf], np.maximum.accumulate(t), [np.inf]])
            p, density = np.diff(ndtr(edges)), np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
            levels = ((density[:-1] - density[1:])[p > 1e-12]) / p[p > 1e-12]
            p = p[p > 1e-12]
        lloyd = 1 - (p * levels**2).sum() - slope * (p * np.log2(p)).sum()
        assert np.min(table.distortion + slope * table.rate) <= lloyd + 1e-3 * slope


# --- Blahut-Arimoto -----------------------------------------------------------------------------------------------------


def h(p):
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


@pytest.mark.parametrize(("p", "slope"), [(0.5, 7.0), (0.2, 2.5)])
def test_bernoulli_with_hamming_distortion(p, slope):
    # the third reproduction is of no use
    point = bounds.blahut_arimoto([1 - p, p], [[0, 1, 2], [1, 0, 2]], slope, tolerance=1e-9)
    # dh/dD = log2((1 − D)/D) is the slope, where D is below p
    expected = 1 / (1 + 2**slope)
    assert point.distortion == pytest.approx(expected, abs=1e-6)
    assert point.rate == pytest.approx(h(p) - h(expected), abs=1e-6)
    assert point.gap < 1e-9
    # too small a slope: the best constant
    point = bounds.blahut_arimoto([0.8, 0.2], [[0, 1], [1, 0]], 0.5)
    assert (point.rate, point.distortion) == pytest.approx((0, 0.2), abs=1e-5)


def test_what_is_refused():
    hamming = [[0, 1], [1, 0]]
    for call, error, message in (
        *((lambda looks=looks: bounds.speckle_std(looks), MetricError, "looks") for looks in (0, -1, np.nan, np.inf)),
        (lambda: bounds.shannon_lower_bound(0.0, 1.0), MetricError, "above zero"),
        (lambda: bounds.water_filling_curve(np.zeros((30, 30)), clip=(0, 1)), UndefinedMetric, "64"),
        (lambda: bounds.water_filling_curve([], clip=(0, 1)), MetricError, "at least one"),
        (lambda: bounds.reverse_water_filling([1.0], 0.0), MetricError, "above zero"),
        (lambda: bounds.reverse_water_filling([1.0], [1.0, np.inf]), MetricError, "above zero"),
        (lambda: bounds.reverse_water_filling([-1.0], 1.0), MetricError, "not negative"),
        (lambda: bounds.reverse_water_filling([1.0], 1.0, weights=[1, 2]), MetricError, "weights"),
        (lambda: bounds.reverse_water_filling([1.0], 1.0, weights=[0]), MetricError, "weights"),
        (lambda: bounds.blahut_arimoto([0.5, 0.5], [[0, 1]], 1), MetricError, "row per source symbol"),
        (lambda: bounds.blahut_arimoto([-1, 2], hamming, 1), MetricError, "not negative"),
        (lambda: bounds.blahut_arimoto([0.5, 0.5], hamming, 0), MetricError, "slope"),
        (lambda: bounds.blahut_arimoto([0.5, 0.5], [[0, np.inf], [1, 0]], 1), MetricError, "finite"),
    ):
        with pytest.raises(error, match=message):
            call()
