"""Error and bias by class of ground. Classes belong to the original alone; every codec is judged on the same.

Structure: homogeneous, edge, texture, point target. Brightness: quarters of the scene by a 25×25 mean of the original;
classes by the value of single samples would sort by speckle and show a bias of ±2 dB that is not there.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import numpy as np

from sarlab.metrics.accuracy import intensity_bias
from sarlab.metrics.base import UndefinedMetric, pair, to_intensity
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison, Reference
from sarlab.metrics.roa import scene_roa_edges
from sarlab.metrics.speckle import scene_speckle
from sarlab.metrics.targets import scene_targets
from sarlab.scenes.radiometry import local_mean

STRUCTURE = ("homogeneous", "edge", "texture", "target")
BRIGHTNESS = 4
#: Side of the mean that sorts by brightness, and of the window that tells texture.
SMOOTHING, TEXTURE = 25, 15


def structure_classes(reference_db: Any, *, looks: float | None = None) -> np.ndarray:
    """Structure of each sample of an original, by its linear intensity.

    In this order: *target* within a sample of a CFAR detection; *edge* where the ratio of averages shows one;
    *texture* where the squared coefficient of variation over 15×15 exceeds what speckle explains (three standard
    deviations, correlation counted); the rest is *homogeneous*.

    Parameters
    ----------
    reference_db : array_like, shape (height, width)
    looks : float, optional
        Nominal; measured where absent.

    Returns
    -------
    ndarray of int8, shape (height, width)
        Index into `STRUCTURE`; −1 where invalid.

    Raises
    ------
    UndefinedMetric
        The looks are not given and cannot be measured.
    """
    return scene_structure(Reference(reference_db, clip=(-1, 1), looks=looks))


def brightness_classes(reference_db: Any, *, count: int = BRIGHTNESS) -> np.ndarray:
    """Brightness of each sample of an original: quantiles of its 25×25 mean in linear intensity.

    Parameters
    ----------
    reference_db : array_like, shape (height, width)
    count : int
        Number of classes of about equal area.

    Returns
    -------
    ndarray of int8, shape (height, width)
        0 (darkest) … count − 1; −1 where invalid.
    """
    reference, _, valid = pair(reference_db, reference_db)
    return _brightness(to_intensity(reference), valid, count)


def _brightness(intensity: np.ndarray, valid: np.ndarray, count: int) -> np.ndarray:
    mean = local_mean(intensity, valid, SMOOTHING)
    edges = np.quantile(mean[valid], np.arange(1, count) / count)
    return np.where(valid, np.searchsorted(edges, mean, side="right"), -1).astype(np.int8)


def scene_structure(reference: Reference) -> np.ndarray:
    """Structure classes of a scene. For `Reference.once`."""
    from scipy.ndimage import maximum_filter

    valid, intensity = reference.valid, reference.intensity
    if not valid.any():
        raise UndefinedMetric("the reference has no valid sample")
    speckle = reference.once(scene_speckle)
    mean = local_mean(intensity, valid, TEXTURE)
    square = local_mean(intensity**2, valid, TEXTURE)
    with np.errstate(all="ignore"):
        variation = np.where(mean > 0, square / mean**2 - 1, 0.0)
    spread = np.sqrt(2 * (1 + 1 / speckle.looks) * speckle.area / TEXTURE**2)
    classes = np.where(variation > (1 + 3 * spread) / speckle.looks, STRUCTURE.index("texture"), 0)
    # a scene too small for a detector has no edges or targets to tell
    with contextlib.suppress(UndefinedMetric):
        classes[reference.once(scene_roa_edges)] = STRUCTURE.index("edge")
    with contextlib.suppress(UndefinedMetric):
        classes[maximum_filter(reference.once(scene_targets).mask, 3)] = STRUCTURE.index("target")
    return np.where(valid, classes, -1).astype(np.int8)


def scene_brightness(reference: Reference) -> np.ndarray:
    """Brightness classes of a scene. For `Reference.once`."""
    return _brightness(reference.intensity, reference.valid, BRIGHTNESS)


def _chosen(classes: np.ndarray, index: int) -> np.ndarray:
    chosen = classes == index
    if not chosen.any():
        raise UndefinedMetric("the scene has no sample of this class")
    return chosen


def class_rmse(reference_db: np.ndarray, test_db: np.ndarray, chosen: np.ndarray) -> float:
    """RMSE in dB over the samples of a mask."""
    difference = reference_db[chosen] - test_db[chosen]
    if not np.isfinite(difference).all():
        raise UndefinedMetric("infinite samples: give exact zeros a floor in dB")
    return np.sqrt(np.mean(difference**2))


def _structure_rmse(case: Comparison, index: int) -> float:
    return class_rmse(case.reference_db, case.test_db, _chosen(case.reference.once(scene_structure), index))


def _structure_bias(case: Comparison, index: int) -> float:
    chosen = _chosen(case.reference.once(scene_structure), index)
    return intensity_bias(case.reference_intensity[chosen], case.test_intensity[chosen])


def _structure_share(case: Comparison, index: int) -> float:
    return np.count_nonzero(case.reference.once(scene_structure) == index) / np.count_nonzero(case.valid)


def _brightness_bias(case: Comparison, index: int) -> float:
    chosen = _chosen(case.reference.once(scene_brightness), index)
    return intensity_bias(case.reference_intensity[chosen], case.test_intensity[chosen])


def _brightness_rmse(case: Comparison, index: int) -> float:
    return class_rmse(case.reference_db, case.test_db, _chosen(case.reference.once(scene_brightness), index))


def _worst_bias(case: Comparison) -> float:
    values = []
    for index in range(BRIGHTNESS):
        try:
            values.append(abs(_brightness_bias(case, index)))
        except UndefinedMetric:
            continue
    if not values:
        raise UndefinedMetric("no brightness class has a bias")
    return max(values)


_CLASS = {"group": "class", "source": "this project"}
_ERROR = {"unit": "dB", "better": "lower", "domain": "dB of intensity", "valid_range": (0, np.inf)}
_BIAS = {"unit": "dB", "better": "zero", "domain": "intensity", "valid_range": (-np.inf, np.inf)}
_SHARE = {"unit": "1", "better": "higher", "domain": "original", "valid_range": (0, 1)}
for _index, _name in enumerate(STRUCTURE):
    define(f"rmse_{_name}_db", label=f"RMSE ({_name})", **_ERROR, **_CLASS)(partial(_structure_rmse, index=_index))
    define(f"bias_{_name}_db", label=f"Bias ({_name})", **_BIAS, **_CLASS)(partial(_structure_bias, index=_index))
    define(f"share_{_name}", label=f"Share of samples ({_name})", **_SHARE, **_CLASS)(
        partial(_structure_share, index=_index)
    )
for _index in range(BRIGHTNESS):
    _label = f"brightness quarter {_index + 1} of {BRIGHTNESS}"
    define(f"rmse_brightness{_index + 1}_db", label=f"RMSE ({_label})", **_ERROR, **_CLASS)(
        partial(_brightness_rmse, index=_index)
    )
    define(f"bias_brightness{_index + 1}_db", label=f"Bias ({_label})", **_BIAS, **_CLASS)(
        partial(_brightness_bias, index=_index)
    )
define(
    "bias_brightness_worst_db", label="Largest |bias| of a brightness class", unit="dB", better="zero",
    domain="intensity", valid_range=(0, np.inf), **_CLASS,
)(_worst_bias)  # fmt: skip
