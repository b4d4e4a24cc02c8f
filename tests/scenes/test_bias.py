"""Bias of the mean of dB, and its correction."""

import json

import numpy as np
import pytest

from sarlab.errors import SceneError
from sarlab.scenes.bias import BiasCorrection, fit_bias_correction, log_mean_bias_db, smoothed_db
from sarlab.scenes.speckle import speckle


@pytest.mark.parametrize(("looks", "bias"), [(1, -2.5068), (4.4, -0.51), (16, -0.1371)])
def test_bias_of_the_log_mean_against_its_known_values(looks, bias):
    # At one look the mean of ln of an exponential is minus Euler's constant: −0.5772 · 4.3429.
    assert log_mean_bias_db(looks) == pytest.approx(bias, abs=5e-3)


def test_bias_of_the_log_mean_against_simulated_speckle():
    field = speckle((400, 400), 2.5, np.random.default_rng(3))
    assert np.mean(10 * np.log10(field)) == pytest.approx(log_mean_bias_db(2.5), abs=0.03)
    with pytest.raises(SceneError, match="positive"):
        log_mean_bias_db(0)


def test_smoothing_is_a_linear_mean_that_leaves_nodata_out():
    db = np.full((9, 9), 0.0)
    db[4, 4], db[0, 0] = 10.0, np.nan
    smooth = smoothed_db(db, 3)
    assert smooth[4, 4] == pytest.approx(10 * np.log10((8 + 10) / 9))
    assert smooth[7, 7] == pytest.approx(0)
    assert np.isfinite(smooth[0, 0])
    assert np.isnan(smoothed_db(np.full((5, 5), np.nan), 3)).all()


def test_one_class_restores_the_mean_intensity():
    generator = np.random.default_rng(0)
    reference = 10 * np.log10(speckle((64, 64), 1, generator))
    reference[3, :] = np.nan
    blurred = np.full_like(reference, np.nanmean(reference))
    correction = fit_bias_correction(reference, blurred)
    fixed = correction.apply(blurred)
    valid = np.isfinite(reference)
    assert np.mean(10 ** (fixed[valid] / 10)) == pytest.approx(np.mean(10 ** (reference[valid] / 10)), rel=1e-5)
    assert BiasCorrection.from_dict(json.loads(json.dumps(correction.to_dict()))) == correction


def test_classes_remove_a_bias_that_depends_on_brightness():
    level = np.where(np.arange(200) < 100, -20.0, -5.0)[None, :] * np.ones((120, 1))
    test = level - np.where(level < -10, 2.0, 0.5)
    one, two = (fit_bias_correction(level, test, classes=k, window=5).apply(test) - level for k in (1, 2))
    inner = np.r_[10:90, 110:190]
    assert np.abs(two[:, inner]).max() < 0.01
    assert np.abs(one[:, inner]).max() > 1


def test_corrections_need_data():
    with pytest.raises(SceneError, match="no valid pixel"):
        fit_bias_correction(np.full((2, 2), np.nan), np.zeros((2, 2)))
    with pytest.raises(SceneError, match="as many offsets"):
        BiasCorrection((1.0, 2.0), (0.0,))
