"""Applications: maps, detections and statistics of the original, compared with those of a reconstruction.

Everything that an application learns comes from the original: the threshold and the classifier of the water map, the
number of looks of the detector, the fields. It is then applied to both images. These metrics are optional: request them by name.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from sarlab.metrics.columns import (
    DB_PER_NEPER,
    Comparison,
    Image,
    Reference,
    UndefinedMetric,
    define,
    fill_invalid,
    once,
)
from sarlab.metrics.looks import scene_looks, scene_windows
from sarlab.metrics.point_targets import cfar_threshold, exceeds, kept_and_invented
from sarlab.metrics.speckle import cooccurrence, lee_filter, texture
from sarlab.scenes.radiometry import local_mean

#: Probability that the detector finds a cell of pure speckle.
FALSE_ALARM = 1e-5
#: Sides in samples of the means that the classifier sees, and of the window of its local deviation.
SIDES, DEVIATION_SIDE = (3, 7, 15), 7
#: Most samples of one class to train the classifier, its iterations and its ridge penalty per sample.
SAMPLES, ITERATIONS, RIDGE = 10_000, 30, 1e-3
#: Gray levels of the co-occurrence matrix over the clip range, and the features that are compared.
GRAY_LEVELS = 32
FEATURES = ("contrast", "homogeneity", "energy", "correlation")
#: Intensity below which dB are not computed.
LEAST = 1e-12


def to_db(intensity: np.ndarray) -> np.ndarray:
    """Convert linear intensity to dB, at least −120."""
    return DB_PER_NEPER * np.log(np.maximum(intensity, LEAST))


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks."""
    union = np.count_nonzero(first | second)
    if not union:
        raise UndefinedMetric("neither map has a sample of the class")
    return np.count_nonzero(first & second) / union


def otsu_threshold(values: np.ndarray) -> float:
    """Threshold between two classes that maximizes the variance between their means.

    References: Otsu, IEEE Trans. Syst. Man Cybern. 9(1), 1979.
    """
    from skimage.filters import threshold_otsu

    if not np.isfinite(values).all() or np.ptp(values) == 0:
        raise UndefinedMetric("the image is constant or infinite: it has no two classes")
    return float(threshold_otsu(values))


def train_classifier(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit a logistic regression by Newton's method, with a small ridge so that separable classes have a solution.

    `features` have the shape (samples, count), `labels` are bool. Returns a weight per feature, and the constant.
    """
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    x = np.concatenate([(features - mean) / scale, np.ones((len(features), 1))], axis=1)
    weights = np.zeros(x.shape[1])
    penalty = RIDGE * len(x) * np.append(np.ones(x.shape[1] - 1), 1e-6)
    for _ in range(ITERATIONS):
        p = expit(x @ weights)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(hessian, x.T @ (p - labels) + penalty * weights)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    weights[:-1] /= scale
    weights[-1] -= weights[:-1] @ mean
    return weights


def water_features(intensity: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Features of each valid sample, shape (samples, 4): means of 3, 7 and 15 samples a side in dB, local deviation in dB."""
    means = [to_db(local_mean(intensity, valid, side))[valid] for side in SIDES]
    db = fill_invalid(to_db(intensity), valid)
    spread = local_mean(db**2, valid, DEVIATION_SIDE) - local_mean(db, valid, DEVIATION_SIDE) ** 2
    return np.stack([*means, np.sqrt(np.maximum(spread, 0))[valid]], axis=1)


def despeckled(intensity: np.ndarray, valid: np.ndarray, looks: float) -> np.ndarray:
    """Lee estimate of the valid samples in dB: 1-D."""
    return to_db(lee_filter(intensity, valid, looks))[valid]


class WaterMapper(NamedTuple):
    """Water mapping learned from a scene: looks of its Lee filter, threshold and contrast in dB, weights of the classifier.

    In a scene without water it separates two kinds of land; water has a contrast of at least 6 dB.
    """

    looks: float
    threshold: float
    contrast_db: float
    weights: np.ndarray

    def __call__(self, intensity: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maps of an image of linear intensity by the threshold and by the classifier, one bool per valid sample."""
        likely = water_features(intensity, valid) @ self.weights[:-1] + self.weights[-1]
        return despeckled(intensity, valid, self.looks) < self.threshold, likely > 0


@once
def scene_water(reference: Reference) -> WaterMapper:
    """Learn to map the water of a scene.

    The threshold is Otsu's of the despeckled scene in dB. The classifier is trained on the samples beyond the mean of
    their class, like polygons drawn where the class is certain.
    """
    looks, valid = scene_looks(reference), reference.valid
    db, features = despeckled(reference.intensity, valid, looks), water_features(reference.intensity, valid)
    threshold = otsu_threshold(db)
    water, land = db[db < threshold].mean(), db[db >= threshold].mean()
    certain = [np.flatnonzero(beyond) for beyond in (db <= water, db >= land)]
    certain = [found[:: -(-len(found) // SAMPLES)] for found in certain]
    labels = np.repeat([True, False], [len(found) for found in certain])
    return WaterMapper(looks, threshold, land - water, train_classifier(features[np.concatenate(certain)], labels))


@once
def scene_water_maps(reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Water maps of a scene."""
    return scene_water(reference)(reference.intensity, reference.valid)


@once
def case_water(case: Comparison) -> tuple[float, float]:
    """IoU of the water maps of reconstruction and original: by the threshold, by the classifier."""
    before, after = scene_water_maps(case.reference), scene_water(case.reference)(case.intensity, case.valid)
    return iou(before[0], after[0]), iou(before[1], after[1])


@once
def case_detections(case: Comparison) -> tuple[float, float]:
    """Share of the detected cells of the original that the reconstruction keeps, and those it invents per one of them."""
    threshold = cfar_threshold(scene_looks(case.reference), FALSE_ALARM)
    images = (case.reference.intensity, case.intensity)
    return kept_and_invented(*(exceeds(image, case.valid, threshold) for image in images))


@once
def case_fields(case: Comparison) -> tuple[float, float]:
    """RMS error in dB of the means of the fields (homogeneous windows), and that of their variances relative to mean²."""
    means, variances = [], []
    for window in scene_windows(case.reference):
        before, after = case.reference.intensity[window.slices], case.intensity[window.slices]
        before, after = (image[~np.isnan(image)] for image in (before, after))
        if before.size > 1 and before.var() > 0 and after.mean() > 0:
            means.append(DB_PER_NEPER * np.log(after.mean() / before.mean()))
            variances.append(after.var() / after.mean() ** 2 * before.mean() ** 2 / before.var() - 1)
    if not means:
        raise UndefinedMetric("no field has a mean and a variance")
    return tuple(np.sqrt(np.mean(np.square(errors))) for errors in (means, variances))  # type: ignore[return-value]


@once
def texture_features(image: Image, clip: tuple[float, float]) -> dict[str, float]:
    """Features of the gray-level co-occurrence matrix of dB values, 32 levels over the clip range."""
    scaled = (fill_invalid(image.db, image.valid) - clip[0]) * (GRAY_LEVELS / (clip[1] - clip[0]))
    matrix = cooccurrence(np.clip(scaled, 0, GRAY_LEVELS - 1).astype(np.uint8), image.valid, GRAY_LEVELS)
    return {name: texture(matrix, name) for name in FEATURES}


@once
def texture_errors(case: Comparison) -> dict[str, float]:
    """Relative error of each texture feature, |after − before| / |before|."""
    before, after = (texture_features(image, case.clip) for image in (case.reference, case))
    with np.errstate(all="ignore"):
        return {name: float(np.abs(np.float64(after[name]) - before[name]) / np.abs(before[name])) for name in FEATURES}


_POSITIVE, _OTSU, _FINN = (0, np.inf), "Otsu 1979", "Finn & Johnson 1968"
for _name, _label, _unit, _better, _range, _source, _compute in (
    ("water_share", "Share of water", "1", "higher", (0, 1), _OTSU, lambda c: scene_water_maps(c.reference)[0].mean()),
    ("water_contrast_db", "Contrast of water and land", "dB", "higher", _POSITIVE, "definition",
     lambda c: scene_water(c.reference).contrast_db),
    ("iou_water", "IoU of the water map (threshold)", "1", "higher", (0, 1), _OTSU, lambda c: case_water(c)[0]),
    ("iou_water_classifier", "IoU of the water map (classifier)", "1", "higher", (0, 1), "this project",
     lambda c: case_water(c)[1]),
    ("cfar_kept", "Detected cells kept", "1", "higher", (0, 1), _FINN, lambda c: case_detections(c)[0]),
    ("cfar_invented", "Detected cells invented", "1", "lower", _POSITIVE, _FINN, lambda c: case_detections(c)[1]),
    ("field_mean_error_db", "RMS error of field means", "dB", "lower", _POSITIVE, "definition", lambda c: case_fields(c)[0]),
    ("field_variance_error", "RMS relative error of field variances", "1", "lower", _POSITIVE, "definition",
     lambda c: case_fields(c)[1]),
    *((f"texture_{name}_error", f"Relative error of texture {name}", "1", "lower", _POSITIVE, "Haralick et al. 1973",
       lambda c, name=name: texture_errors(c)[name]) for name in FEATURES),
):  # fmt: skip
    _define = partial(define, valid_range=_range, group="applications", optional=True)
    _define(_name, _label, _unit, _better, "intensity", _source)(_compute)
