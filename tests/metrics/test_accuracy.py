"""Bias and added noise against closed forms."""

import numpy as np
import pytest

from sarlab.metrics.accuracy import added_radiometric_std, bias, equivalent_looks_lost
from sarlab.metrics.bounds import bias_limit


def db(intensity):
    return 10 * np.log10(intensity)


def test_bias_is_the_ratio_of_sums_not_the_mean_of_db():
    reference = db(np.array([[1.0, 3.0]]))
    assert bias(reference, db(np.array([[2.0, 6.0]]))) == pytest.approx(10 * np.log10(2))
    assert bias(reference, db(np.array([[3.0, 1.0]]))) == pytest.approx(0)


@pytest.mark.parametrize("looks", [1.0, 4.4, 16.0])
def test_the_best_constant_in_db_has_the_limiting_bias(looks):
    recorded = db(np.random.default_rng(0).gamma(looks, 1 / looks, (1000, 1000)))
    assert bias(recorded, np.full_like(recorded, recorded.mean())) == pytest.approx(bias_limit(looks), abs=0.02)


def test_bias_of_an_all_zero_scene_says_why():
    zeros = np.full((3, 3), -np.inf)
    assert "zero" in bias(zeros, zeros).reason
    assert "zero" in bias(np.zeros((3, 3)), zeros).reason


def test_added_noise_of_known_variance():
    rng = np.random.default_rng(1)
    intensity = 5 * rng.gamma(100, 1 / 100, (256, 256))
    windows = [(0, 0, 128, 128), (128, 0, 128, 128), (0, 128, 128, 128), (128, 128, 128, 128)]
    noisy = intensity + 5 * 0.05 * rng.standard_normal(intensity.shape)
    value = added_radiometric_std(db(intensity), db(noisy), windows=windows)
    assert value == pytest.approx(10 * np.log10(1.05), rel=0.02)
    # 1/L = 0.01 grows by 0.0025
    assert equivalent_looks_lost(db(intensity), db(noisy), windows=windows) == pytest.approx(100 - 80, rel=0.1)
    assert added_radiometric_std(db(intensity), db(intensity), windows=windows) == 0
    assert equivalent_looks_lost(db(intensity), db(intensity), windows=windows) == 0
