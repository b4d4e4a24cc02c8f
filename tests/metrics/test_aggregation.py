"""Error after multilooking: the mean of k² independent looks-L samples is gamma with k²·L looks."""

import numpy as np
import pytest

from sarlab.errors import MetricError
from sarlab.metrics import score
from sarlab.metrics.aggregation import SCALES, aggregated_bias, aggregated_rmse, multilook
from sarlab.metrics.bounds import bias_limit, speckle_std
from sarlab.metrics.pixel import rmse


@pytest.mark.parametrize("looks", [1.0, 4.4])
def test_speckle_averages_out_by_the_gamma_law(looks):
    shape = (1024, 1024)
    speckled = 10 * np.log10(np.random.default_rng(3).gamma(looks, 1 / looks, shape))
    clean = np.zeros(shape)
    for side in (1, 2, 4, 8, 16):
        expected = np.hypot(speckle_std(looks * side**2), bias_limit(looks * side**2))
        assert aggregated_rmse(clean, speckled, side=side) == pytest.approx(expected, rel=0.03)
        assert aggregated_bias(clean, speckled, side=side) == pytest.approx(bias_limit(looks * side**2), abs=0.02)


def test_a_common_factor_is_a_plateau_of_bias():
    reference = np.random.default_rng(0).normal(-10, 4, (128, 192))
    for side in SCALES:
        assert aggregated_rmse(reference, reference + 0.18, side=side) == pytest.approx(0.18)
        assert aggregated_bias(reference, reference + 0.18, side=side) == pytest.approx(0.18)


def test_one_sample_is_the_plain_rmse():
    rng = np.random.default_rng(0)
    reference, test = rng.normal(-10, 4, (2, 33, 20))
    assert aggregated_rmse(reference, test, side=1) == pytest.approx(rmse(reference, test))


def test_multilook_against_a_loop_and_skimage():
    from skimage.measure import block_reduce

    image = np.random.default_rng(0).random((37, 50))
    np.testing.assert_allclose(multilook(image, 4), block_reduce(image[:36, :48], (4, 4), np.mean))
    image[0:2, 0:4] = np.nan
    image[4:8, 4:7] = np.nan
    averaged = multilook(image, 4)
    assert averaged[0, 0] == pytest.approx(image[2:4, 0:4].mean())
    assert np.isnan(averaged[1, 1])


def test_columns_against_the_clean_scene_are_the_function():
    rng = np.random.default_rng(0)
    clean = rng.normal(-10, 4, (64, 64))
    recorded = clean + 10 * np.log10(rng.gamma(4, 1 / 4, clean.shape))
    scores = score(recorded, recorded, clip=(-25, 5), clean_db=clean, columns=["rmse_clean_k8_db", "rmse_k8_db"])
    assert scores["rmse_clean_k8_db"] == pytest.approx(aggregated_rmse(clean, recorded, side=8))
    assert scores["rmse_k8_db"] == 0


def test_blocks_that_do_not_fit_say_why():
    image = np.zeros((17, 1000))
    assert "32×32" in aggregated_rmse(image, image, side=32).reason
    with pytest.raises(MetricError, match="side"):
        aggregated_rmse(image, image, side=0)
