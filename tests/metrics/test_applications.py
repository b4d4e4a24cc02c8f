"""Applications on images whose maps, detections and textures are known; a copy is perfect, a constant image is useless."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from scipy.optimize import minimize
from scipy.special import expit

from sarlab.metrics import Reference, UndefinedMetric, described, score
from sarlab.metrics.applications import FEATURES, RIDGE, WaterMapper, iou, texture_features, to_db, train_classifier
from sarlab.metrics.speckle import lee_filter

CLIP = (-25.0, 5.0)
COLUMNS = [metric.name for metric in described() if metric.group == "applications"]


def disc(column, shape=(256, 256), radius=50):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(rows - 128, columns - column) < radius


def lake(column, looks=16.0, seed=0):
    """A lake of 10 dB contrast in dB, with a ship every 40 samples."""
    image = np.where(disc(column), -20.0, -10.0)
    image += to_db(np.random.default_rng(seed).gamma(looks, 1 / looks, image.shape))
    image[20::40, 20::40] = 3.0
    return image


@pytest.fixture(scope="module")
def reference():
    return Reference(lake(128), clip=CLIP, looks=16)


def test_the_identity_is_perfect_and_a_constant_image_useless(reference):
    copy = score(reference, reference.db, columns=COLUMNS)
    assert not copy.reasons
    assert copy.pop("water_share") == pytest.approx(disc(128).mean(), rel=0.02)
    assert copy.pop("water_contrast_db") == pytest.approx(10, abs=0.5)
    assert copy == {name: pytest.approx(float(name.startswith(("iou", "cfar_kept"))), abs=1e-12) for name in copy}
    null = score(reference, np.full(reference.db.shape, to_db(reference.intensity.mean())), columns=COLUMNS)
    assert null["iou_water"] == null["iou_water_classifier"] == null["cfar_kept"] == null["cfar_invented"] == 0
    assert null["field_variance_error"] == pytest.approx(1)
    assert null["texture_contrast_error"] == pytest.approx(1)
    assert null["field_mean_error_db"] > 1
    assert not set(COLUMNS) & set(score(reference, reference.db)), "they are computed only if named"


def test_iou_of_shifted_discs():
    """Two circles of radius r at distance d share 2r²·acos(d/2r) − (d/2)·√(4r² − d²)."""
    radius, shift = 50, 20
    lens = 2 * radius**2 * np.arccos(shift / 2 / radius) - shift / 2 * np.sqrt(4 * radius**2 - shift**2)
    expected = lens / (2 * np.pi * radius**2 - lens)
    assert iou(disc(128), disc(128 + shift)) == pytest.approx(expected, rel=0.01)
    with pytest.raises(UndefinedMetric):
        iou(np.zeros(3, bool), np.zeros(3, bool))
    shifted = score(Reference(lake(128), clip=CLIP, looks=16), lake(148), columns=["iou_water", "iou_water_classifier"])
    assert list(shifted.values()) == pytest.approx([expected, expected], abs=0.02)


def test_maps_are_below_the_threshold_and_above_even_odds(reference):
    intensity, everywhere = reference.intensity, np.ones(reference.db.shape, bool)
    square, mean = uniform_filter(reference.db**2, 7), uniform_filter(reference.db, 7)
    features = (
        *(to_db(uniform_filter(intensity, side)) for side in (3, 7, 15)),
        np.sqrt(np.maximum(square - mean**2, 0)),
    )
    weights = np.array([-1.0, 0.5, -0.4, 0.3, -14.0])
    maps = WaterMapper(4.0, -15.0, 10.0, weights)(intensity, everywhere)
    assert (maps[0] == (to_db(lee_filter(intensity, everywhere, 4.0)) < -15).ravel()).all()
    assert (maps[1] == (np.tensordot(weights[:4], features, 1) > 14).ravel()).all()


def test_the_classifier_minimizes_the_penalized_likelihood():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 2))
    labels = rng.random(400) < expit(2 * x[:, 0] - x[:, 1] + 0.5)
    found = train_classifier(x, labels)
    z = np.column_stack([(x - x.mean(axis=0)) / x.std(axis=0), np.ones(400)])

    def loss(weights):
        penalty = RIDGE * 400 * (np.square(weights[:2]).sum() + 1e-6 * weights[2] ** 2) / 2
        return np.logaddexp(0, np.where(labels, -1, 1) * (z @ weights)).sum() + penalty

    best = minimize(loss, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(x @ found[:2] + found[2], z @ best, atol=1e-4)
    separable = train_classifier(x, x[:, 0] > 0)
    assert np.isfinite(separable).all()
    assert np.mean((x @ separable[:2] + separable[2] > 0) == (x[:, 0] > 0)) > 0.97


def test_fields_of_scaled_and_averaged_speckle():
    recorded, other = (np.random.default_rng(seed).gamma(4, 1 / 4, (256, 256)) for seed in (3, 4))
    scaled = score(Reference(to_db(recorded), clip=CLIP), to_db(1.25 * recorded), columns=COLUMNS)
    assert scaled["field_mean_error_db"] == pytest.approx(to_db(1.25))
    assert scaled["field_variance_error"] == pytest.approx(0, abs=1e-9)
    # the mean with an independent draw has half the variance
    averaged = score(Reference(to_db(recorded), clip=CLIP), to_db((recorded + other) / 2), columns=COLUMNS)
    assert averaged["field_variance_error"] == pytest.approx(0.5, abs=0.05)


def test_texture_errors_are_those_of_features_by_hand():
    """Of a checkerboard and stripes, whose co-occurrence matrices are known."""
    rows, columns = np.mgrid[:64, :64]
    board, stripes = (np.where(pattern % 2, -10.0, -20.0) for pattern in (rows + columns, columns))
    found = score(Reference(board, clip=CLIP), stripes, columns=[f"texture_{name}_error" for name in FEATURES])
    # 32 gray levels over 30 dB: −10 dB is 16, −20 dB is 5
    assert texture_features(Reference(board), CLIP)["contrast"] == pytest.approx((16 - 5) ** 2)
    # every pair of the board differs by a contrast c²; of the stripes, half of them; correlations are −1 and 0
    assert found["texture_contrast_error"] == pytest.approx(0.5)
    assert found["texture_correlation_error"] == pytest.approx(1)
    # p of the board is ½ in two cells, of the stripes ¼ in four
    assert found["texture_energy_error"] == pytest.approx(1 - np.sqrt(4 / 16) / np.sqrt(2 / 4))
