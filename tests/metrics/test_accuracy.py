"""Bias and added noise against closed forms; classes of ground of the original, and error by class."""

import numpy as np
import pytest

from sarlab.metrics import Comparison, Reference, UndefinedMetric, accuracy, score
from sarlab.metrics.applications import to_db
from sarlab.metrics.speckle import scene_speckle
from sarlab.scenes.simulate import speckle as draw

CLIP = (-25.0, 5.0)


def test_bias_is_the_ratio_of_sums_not_the_mean_of_db():
    reference = to_db(np.array([[0.01, 0.03]]))
    assert accuracy.bias_db(Comparison(reference, to_db(np.array([[0.02, 0.06]])))) == pytest.approx(10 * np.log10(2))
    assert accuracy.bias_db(Comparison(reference, to_db(np.array([[0.03, 0.01]])))) == pytest.approx(0)
    zeros, ones = np.full((3, 3), -np.inf), np.zeros((3, 3))
    for images in ((zeros, zeros), (ones, zeros), (zeros, ones)):
        with pytest.raises(UndefinedMetric, match="zero"):
            accuracy.bias_db(Comparison(*images))


def test_added_noise_of_known_variance():
    rng = np.random.default_rng(1)
    intensity = 5 * rng.gamma(100, 1 / 100, (256, 256))
    windows = [(0, 0, 128, 128), (128, 0, 128, 128), (0, 128, 128, 128), (128, 128, 128, 128)]
    noisy = intensity + 5 * 0.05 * rng.standard_normal(intensity.shape)
    case = Comparison(to_db(intensity), to_db(noisy), windows=windows)
    assert accuracy.added_radiometric_std_db(case) == pytest.approx(10 * np.log10(1.05), rel=0.02)
    # 1/L = 0.01 grows by 0.0025
    assert accuracy.equivalent_looks_lost(case) == pytest.approx(100 - 80, rel=0.1)
    same = Comparison(to_db(intensity), to_db(intensity), windows=windows)
    assert accuracy.added_radiometric_std_db(same) == accuracy.equivalent_looks_lost(same) == 0


@pytest.fixture(scope="module")
def ground():
    """A field, a step of 10 dB, strong texture on the right, a point target; correlated speckle."""
    rng = np.random.default_rng(0)
    intensity = np.full((256, 256), 0.1)
    intensity[128:, :160] = 1.0
    intensity[:, 176:] *= np.kron(rng.gamma(1.5, 1 / 1.5, (64, 20)), np.ones((4, 4)))
    intensity[60, 60] = 40.0
    return to_db(intensity * draw(intensity.shape, 16, rng, correlation=0.5))


def test_structure_is_found_where_it_is(ground):
    reference = Reference(ground, looks=16)
    classes = accuracy.scene_structure(reference)
    found = np.array(accuracy.STRUCTURE)[classes]
    assert np.mean(found[127:129, 20:140] == "edge") > 0.97
    assert (found[59:62, 59:62] == "target").all()
    assert not (found[57:64, 58] == "target").any()
    most = (1 + 3 * np.sqrt(2 * (1 + 1 / 16) * scene_speckle(reference).area / 15**2)) / 16
    for row, column in np.argwhere((classes[7:-7, 7:-7] % 2 == 0) & (np.arange(242) % 5 == 0)) + 7:
        window = reference.intensity[row - 7 : row + 8, column - 7 : column + 8]
        assert (found[row, column] == "texture") == (window.var() / window.mean() ** 2 > most)
    holed = np.where(np.arange(256)[:, None] < 10, np.nan, ground)
    for classes in (accuracy.scene_structure, accuracy.scene_brightness):
        assert ((classes(Reference(holed, looks=16)) == -1) == np.isnan(holed)).all()


def test_error_by_class_is_that_of_its_samples(ground):
    brightness = [f"brightness{k + 1}" for k in range(accuracy.BRIGHTNESS)]
    for find, names in ((accuracy.scene_structure, accuracy.STRUCTURE), (accuracy.scene_brightness, brightness)):
        classes = find(Reference(ground, looks=16))
        errors = dict(zip(names, (-0.4, 0.2, 0.3, 0.1), strict=True))
        scores = score(ground, ground + np.choose(classes, list(errors.values())), clip=CLIP, looks=16)
        for index, (name, error) in enumerate(errors.items()):
            assert scores[f"bias_{name}_db"] == pytest.approx(error)
            assert scores[f"rmse_{name}_db"] == pytest.approx(abs(error))
            assert scores.get(f"share_{name}", np.mean(classes == index)) == pytest.approx(np.mean(classes == index))
    assert scores["bias_brightness_worst_db"] == pytest.approx(0.4)


def test_brightness_classes_are_quarters_of_means_not_of_single_samples():
    rng = np.random.default_rng(5)
    first = 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (512, 512)))
    means = np.lib.stride_tricks.sliding_window_view(10 ** (first / 10), (25, 25)).mean(axis=(2, 3)).ravel()
    # quarters from dark to bright
    classes = accuracy.scene_brightness(Reference(first))
    assert (np.bincount(classes.ravel()) == classes.size / 4).all()
    assert (np.diff(classes[12:-12, 12:-12].ravel()[np.argsort(means)].astype(int)) >= 0).all()
