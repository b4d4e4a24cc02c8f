"""Radiometric accuracy in linear intensity: bias, added standard deviation, equivalent looks lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sarlab.metrics.base import UndefinedMetric, pair, scalar, to_intensity
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison, Window
from sarlab.metrics.looks import scene_windows
from sarlab.metrics.windows import given_or_found


def intensity_bias(reference: np.ndarray, test: np.ndarray) -> float:
    """10·log10(ΣÎ / ΣI) of valid linear intensities; raises `UndefinedMetric` where a sum is zero."""
    before, after = reference.sum(), test.sum()
    if before <= 0 or after <= 0:
        raise UndefinedMetric("the intensity of an image sums to zero")
    return 10 * np.log10(after / before)


@scalar
def bias(reference_db: Any, test_db: Any) -> float:
    """Radiometric bias 10·log10(ΣÎ / ΣI) in dB of linear intensity, over all valid samples; in (−∞, ∞), 0 is best.

    A codec that minimizes the squared error in dB tends to 4.343·(ψ(L) − ln L) over homogeneous areas at low rate
    (`sarlab.metrics.bounds.bias_limit`).

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB.
    """
    reference, test, valid = pair(reference_db, test_db)
    return intensity_bias(to_intensity(reference[valid]), to_intensity(test[valid]))


def added_variance(reference: np.ndarray, test: np.ndarray, windows: Sequence[Window]) -> tuple[float, float]:
    """Median over windows of var(Î − I)/μ² and of var(I)/μ², the relative variances of coding noise and of speckle.

    Parameters
    ----------
    reference, test : ndarray, shape (height, width)
        Linear intensity.
    windows : sequence of Window
        Homogeneous in the reference.
    """
    added, speckle = [], []
    for window in windows:
        before, after = reference[window.slices], test[window.slices]
        valid = ~np.isnan(before)
        if valid.sum() < 2 or before[valid].mean() <= 0:
            continue
        mean = before[valid].mean()
        added.append((after[valid] - before[valid]).var() / mean**2)
        speckle.append(before[valid].var() / mean**2)
    if not added:
        raise UndefinedMetric("no homogeneous window has two valid samples above zero")
    return float(np.median(added)), float(np.median(speckle))


def _radiometric_std(variance: float) -> float:
    return 10 * np.log10(1 + np.sqrt(variance))


def _looks_lost(added: float, speckle: float) -> float:
    if speckle <= 0:
        raise UndefinedMetric("the homogeneous windows are constant: ENL is infinite")
    return 1 / speckle - 1 / (speckle + added)


@scalar
def added_radiometric_std(reference_db: Any, test_db: Any, *, windows: Sequence[Sequence[int]] | None = None) -> float:
    """Standard deviation that coding adds to a homogeneous area, 10·log10(1 + σ/μ) dB of linear intensity.

    σ/μ is that of Î − I over homogeneous windows of the original (median). Written like the radiometric resolution
    10·log10(1 + 1/√L), with which it compares.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB.
    windows : sequence of (row, column, height, width), optional
        Default: found automatically.

    Returns
    -------
    float
        dB, in [0, ∞).

    References
    ----------
    Oliver & Quegan, Understanding Synthetic Aperture Radar Images, 2004, ch. 4 (radiometric resolution).
    """
    reference, test, _ = pair(reference_db, test_db)
    intensity = to_intensity(reference)
    return _radiometric_std(added_variance(intensity, to_intensity(test), given_or_found(intensity, windows))[0])


@scalar
def equivalent_looks_lost(reference_db: Any, test_db: Any, *, windows: Sequence[Sequence[int]] | None = None) -> float:
    """Looks that coding noise costs, L − 1/(1/L + σ²/μ²), if it is independent of the speckle; in [0, L).

    L is the ENL of the original and σ²/μ² the relative variance of Î − I over its homogeneous windows: coding noise is
    counted like so much more speckle. A codec that smooths removes speckle instead: read it beside the ENL ratio.

    Parameters as for `added_radiometric_std`.
    """
    reference, test, _ = pair(reference_db, test_db)
    intensity = to_intensity(reference)
    return _looks_lost(*added_variance(intensity, to_intensity(test), given_or_found(intensity, windows)))


def case_added_variance(case: Comparison) -> tuple[float, float]:
    """`added_variance` of a comparison. For `Comparison.once`."""
    return added_variance(case.reference_intensity, case.test_intensity, case.reference.once(scene_windows))


@define(
    "bias_db", label="Radiometric bias", unit="dB", better="zero", domain="intensity", valid_range=(-np.inf, np.inf),
    source="definition", group="bias",
)  # fmt: skip
def _bias(case: Comparison) -> float:
    return intensity_bias(case.reference_intensity[case.valid], case.test_intensity[case.valid])


@define(
    "bias_clean_db", label="Radiometric bias against clean", unit="dB", better="zero", domain="intensity",
    valid_range=(-np.inf, np.inf), source="definition", group="reflectivity", needs_clean=True,
)  # fmt: skip
def _bias_clean(case: Comparison) -> float:
    return bias(case.clean_db, case.test_db)


@define(
    "added_radiometric_std_db", label="Added radiometric std.", unit="dB", better="lower", domain="intensity",
    valid_range=(0, np.inf), source="Oliver & Quegan 2004, ch. 4", group="looks",
)  # fmt: skip
def _added(case: Comparison) -> float:
    return _radiometric_std(case.once(case_added_variance)[0])


@define(
    "equivalent_looks_lost", label="Equivalent looks lost", unit="1", better="lower", domain="intensity",
    valid_range=(0, np.inf), source="this project, from Oliver & Quegan 2004, ch. 4", group="looks",
)  # fmt: skip
def _lost(case: Comparison) -> float:
    return _looks_lost(*case.once(case_added_variance))
