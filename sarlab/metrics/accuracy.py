"""Radiometric accuracy: bias, added noise, looks lost; error and bias by structure and by brightness.

Classes are derived from the original alone, so that every codec is judged on the same ones. Structure: homogeneous, edge,
texture, point target. Brightness: quarters of the scene by a 25×25 mean of linear intensity; sorting single samples would
sort by speckle and show a bias of ±2 dB that does not exist.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import numpy as np

from sarlab.metrics.columns import Comparison, Reference, UndefinedMetric, define, once, require_finite
from sarlab.metrics.edges import scene_edges
from sarlab.metrics.looks import scene_windows
from sarlab.metrics.point_targets import scene_targets
from sarlab.metrics.speckle import scene_speckle
from sarlab.scenes.radiometry import local_mean

STRUCTURE = ("homogeneous", "edge", "texture", "target")
#: Number of brightness classes.
BRIGHTNESS = 4
#: Sides in samples of the mean that sorts by brightness, and of the window that detects texture.
SMOOTHING, TEXTURE = 25, 15


def intensity_bias(reference: np.ndarray, test: np.ndarray) -> float:
    """10·log10(ΣÎ / ΣI) of valid linear intensities, in dB."""
    before, after = reference.sum(), test.sum()
    if before <= 0 or after <= 0:
        raise UndefinedMetric("the intensity of an image sums to zero")
    return 10 * np.log10(after / before)


@define(
    "bias_db", "Radiometric bias", "dB", "zero", "intensity", "definition", valid_range=(-np.inf, np.inf), group="bias",
    clean="bias_clean_db",
)  # fmt: skip
def bias_db(case: Comparison) -> float:
    """Radiometric bias 10·log10(ΣÎ / ΣI) in dB of linear intensity, over all valid samples.

    A codec that minimizes the squared error in dB tends to 4.343·(ψ(L) − ln L) over homogeneous areas at low rate
    (`sarlab.metrics.bounds.bias_limit`).
    """
    return intensity_bias(case.reference.intensity[case.valid], case.intensity[case.valid])


@once
def added_variance(case: Comparison) -> tuple[float, float]:
    """Medians over homogeneous windows of var(Î − I)/μ² and var(I)/μ²: relative variances of coding noise and speckle."""
    added, speckle = [], []
    for window in scene_windows(case.reference):
        before, after = case.reference.intensity[window.slices], case.intensity[window.slices]
        valid = ~np.isnan(before)
        if valid.sum() < 2 or before[valid].mean() <= 0:
            continue
        mean = before[valid].mean()
        added.append((after[valid] - before[valid]).var() / mean**2)
        speckle.append(before[valid].var() / mean**2)
    if not added:
        raise UndefinedMetric("no homogeneous window has two valid samples above zero")
    return float(np.median(added)), float(np.median(speckle))


@define(
    "added_radiometric_std_db", "Added radiometric std.", "dB", "lower", "intensity",
    "Oliver & Quegan 2004, ch. 4", group="looks",
)  # fmt: skip
def added_radiometric_std_db(case: Comparison) -> float:
    """Standard deviation that coding adds to a homogeneous area, 10·log10(1 + σ/μ) dB of linear intensity.

    σ/μ is that of Î − I, the median over homogeneous windows of the original. The formula is that of the radiometric
    resolution, 10·log10(1 + 1/√L), with which it compares.

    References: Oliver & Quegan, Understanding Synthetic Aperture Radar Images, 2004, ch. 4 (radiometric resolution).
    """
    return 10 * np.log10(1 + np.sqrt(added_variance(case)[0]))


@define(
    "equivalent_looks_lost", "Equivalent looks lost", "1", "lower", "intensity",
    "this project, from Oliver & Quegan 2004, ch. 4", group="looks",
)  # fmt: skip
def equivalent_looks_lost(case: Comparison) -> float:
    """Looks that coding noise costs, L − 1/(1/L + σ²/μ²), if it is independent of the speckle; in [0, L).

    L is the ENL of the original and σ²/μ² the relative variance of Î − I over its homogeneous windows: coding noise
    counts as additional speckle. A codec that smooths removes speckle instead, so read it with the ENL ratio.
    """
    added, speckle = added_variance(case)
    if speckle <= 0:
        raise UndefinedMetric("the homogeneous windows are constant: ENL is infinite")
    return 1 / speckle - 1 / (speckle + added)


@once
def scene_structure(reference: Reference) -> np.ndarray:
    """Structure of each sample of a scene, by its linear intensity: int8 index into `STRUCTURE`, −1 where invalid.

    In this order: *target* within one sample of a CFAR detection; *edge* where the ratio of averages detects one;
    *texture* where the squared coefficient of variation over 15×15 exceeds that of speckle by three standard deviations,
    its correlation taken into account; the rest is *homogeneous*.
    """
    from scipy.ndimage import maximum_filter

    valid, intensity = reference.valid, reference.intensity
    speckle = scene_speckle(reference)
    mean = local_mean(intensity, valid, TEXTURE)
    square = local_mean(intensity**2, valid, TEXTURE)
    with np.errstate(all="ignore"):
        variation = np.where(mean > 0, square / mean**2 - 1, 0.0)
    spread = np.sqrt(2 * (1 + 1 / speckle.looks) * speckle.area / TEXTURE**2)
    classes = np.where(variation > (1 + 3 * spread) / speckle.looks, STRUCTURE.index("texture"), 0)
    # a scene too small for a detector has no edges or targets
    with contextlib.suppress(UndefinedMetric):
        classes[scene_edges(reference)] = STRUCTURE.index("edge")
    with contextlib.suppress(UndefinedMetric):
        classes[maximum_filter(scene_targets(reference).mask, 3)] = STRUCTURE.index("target")
    return np.where(valid, classes, -1).astype(np.int8)


@once
def scene_brightness(reference: Reference) -> np.ndarray:
    """Brightness of each sample: quarters of the 25×25 mean of linear intensity, int8 from 0 (dark); −1 where invalid."""
    mean = local_mean(reference.intensity, reference.valid, SMOOTHING)
    edges = np.quantile(mean[reference.valid], np.arange(1, BRIGHTNESS) / BRIGHTNESS)
    return np.where(reference.valid, np.searchsorted(edges, mean, side="right"), -1).astype(np.int8)


_class = partial(define, source="this project", group="class")


def _define_class(
    name: str, label: str, classes: Callable[[Reference], np.ndarray], index: int
) -> Callable[[Comparison], float]:
    """Register RMSE and bias of the samples of one class; return the function of the bias."""

    def members(case: Comparison) -> np.ndarray:
        chosen = classes(case.reference) == index
        if not chosen.any():
            raise UndefinedMetric("the scene has no sample of this class")
        return chosen

    @_class(f"rmse_{name}_db", f"RMSE ({label})", "dB", "lower", "dB of intensity")
    def rmse(case: Comparison) -> float:
        chosen = members(case)
        reference, test = case.reference.db[chosen], case.db[chosen]
        require_finite(reference, test)
        return np.sqrt(np.mean((reference - test) ** 2))

    @_class(f"bias_{name}_db", f"Bias ({label})", "dB", "zero", "intensity", valid_range=(-np.inf, np.inf))
    def bias(case: Comparison) -> float:
        chosen = members(case)
        return intensity_bias(case.reference.intensity[chosen], case.intensity[chosen])

    return bias


def _structure_share(case: Comparison, index: int) -> float:
    return np.count_nonzero(scene_structure(case.reference) == index) / np.count_nonzero(case.valid)


for _index, _name in enumerate(STRUCTURE):
    _define_class(_name, _name, scene_structure, _index)
    _share = partial(_structure_share, index=_index)
    _class(f"share_{_name}", f"Share of samples ({_name})", "1", "higher", "original", valid_range=(0, 1))(_share)
_brightness_biases = [
    _define_class(f"brightness{k + 1}", f"brightness quarter {k + 1} of {BRIGHTNESS}", scene_brightness, k)
    for k in range(BRIGHTNESS)
]


@_class("bias_brightness_worst_db", "Largest |bias| of a brightness class", "dB", "zero", "intensity")
def _worst_bias(case: Comparison) -> float:
    values = []
    for bias in _brightness_biases:
        with contextlib.suppress(UndefinedMetric):
            values.append(abs(bias(case)))
    if not values:
        raise UndefinedMetric("no brightness class has a bias")
    return max(values)
