"""Equivalent number of looks (ENL) over homogeneous windows of **linear intensity**.

Amplitude must be squared first, dB be converted. Windows are found on the original, or given; windows of different means
are never pooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sarlab.metrics.base import UndefinedMetric, pair, raster, scalar
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison, Reference, Window
from sarlab.metrics.windows import WindowLooks, given_or_found, window_looks


def _median_looks(looks: np.ndarray) -> float:
    looks = looks[~np.isnan(looks)]
    if not looks.size:
        raise UndefinedMetric("no window has two valid samples")
    value = np.median(looks)
    if not np.isfinite(value):
        raise UndefinedMetric("the image is constant in most homogeneous windows: ENL is infinite")
    return value


@scalar
def enl(intensity: Any, *, windows: Sequence[Sequence[int]] | None = None) -> float:
    """Equivalent number of looks: median over homogeneous windows of mean² / variance of linear intensity.

    Parameters
    ----------
    intensity : array_like, shape (height, width)
        Linear intensity; NaN = nodata.
    windows : sequence of (row, column, height, width), optional
        Default: `homogeneous_windows` of this image.

    Returns
    -------
    float
        In (0, ∞), dimensionless. Windows of different means are never pooled.

    References
    ----------
    Oliver & Quegan, Understanding Synthetic Aperture Radar Images, 2004, ch. 4; as in ESA SNAP and GAMMA.
    """
    values = raster(intensity, "intensity")
    return _median_looks(window_looks(values, given_or_found(values, windows)).moments)


@scalar
def enl_mode(intensity: Any, *, windows: Sequence[Sequence[int]] | None = None) -> float:
    """Mode over homogeneous windows of mean² / variance: the peak of a Gaussian kernel density of ln ENL.

    Parameters
    ----------
    intensity : array_like, shape (height, width)
        Linear; NaN = nodata.
    windows : sequence of (row, column, height, width), optional
        Default: found automatically.
    """
    values = raster(intensity, "intensity")
    return _mode_looks(window_looks(values, given_or_found(values, windows)).moments)


def _mode_looks(looks: np.ndarray) -> float:
    logs = np.log(looks[np.isfinite(looks) & (looks > 0)])
    if not logs.size:
        raise UndefinedMetric("no homogeneous window has a finite ENL")
    width = 1.06 * logs.std() * logs.size**-0.2
    if width < 1e-9:
        return np.exp(np.median(logs))
    grid = np.linspace(logs.min(), logs.max(), 256)
    density = np.exp(-0.5 * ((grid[:, None] - logs) / width) ** 2).sum(axis=1)
    return np.exp(grid[density.argmax()])


@scalar
def enl_log_cumulant(intensity: Any, *, windows: Sequence[Sequence[int]] | None = None) -> float:
    """Equivalent number of looks by log-cumulants, var(ln I) = ψ′(L): median over homogeneous windows; in (0, ∞).

    Parameters
    ----------
    intensity : array_like, shape (height, width)
        Linear; NaN = nodata.
    windows : sequence of (row, column, height, width), optional
        Default: found automatically.
    """
    values = raster(intensity, "intensity")
    return _median_looks(window_looks(values, given_or_found(values, windows)).log_cumulants)


@scalar
def enl_ratio(
    reference_intensity: Any, test_intensity: Any, *, windows: Sequence[Sequence[int]] | None = None
) -> float:
    """ENL of the reconstruction over ENL of the original, median over identical windows (found on the original).

    Dimensionless, in (0, ∞). Not monotone in rate, and to be read beside the bias.

    Parameters
    ----------
    reference_intensity, test_intensity : array_like, shape (height, width)
        Linear; NaN = nodata.
    windows : sequence of (row, column, height, width), optional
        Default: found automatically.
    """
    reference, test, _ = pair(reference_intensity, test_intensity)
    return _looks_ratio(reference, test, given_or_found(reference, windows))


def _looks_ratio(reference: np.ndarray, test: np.ndarray, windows: Sequence[Window]) -> float:
    with np.errstate(all="ignore"):
        return _median_looks(window_looks(test, windows).moments / window_looks(reference, windows).moments)


def scene_windows(reference: Reference) -> list[Window]:
    """Homogeneous windows of a scene: the user's, or found automatically. For `Reference.once`."""
    return given_or_found(reference.intensity, reference.windows)


def scene_window_looks(reference: Reference) -> WindowLooks:
    """ENL of the scene in each of its windows. For `Reference.once`."""
    return window_looks(reference.intensity, reference.once(scene_windows))


def scene_looks(reference: Reference) -> float:
    """Number of looks of a scene: nominal where it is given, else the measured ENL. For `Reference.once`."""
    return reference.looks or _median_looks(reference.once(scene_window_looks).moments)


def case_window_looks(case: Comparison) -> WindowLooks:
    """ENL of the reconstruction in the windows of its reference. For `Comparison.once`."""
    return window_looks(case.test_intensity, case.reference.once(scene_windows))


_LOOKS = {"unit": "1", "domain": "intensity", "valid_range": (0, np.inf), "group": "looks"}
_ENL_SOURCE = "Oliver & Quegan 2004, ch. 4"
_LOG_SOURCE = "Nicolas 2002; Anfinsen et al. 2009"


@define("enl_windows", label="Homogeneous windows", better="higher", source="this project", **_LOOKS)
def _count(case: Comparison) -> float:
    try:
        return len(case.reference.once(scene_windows))
    except UndefinedMetric:
        return 0


@define("enl_reference", label="ENL of the original", better="higher", source=_ENL_SOURCE, **_LOOKS)
def _reference_looks(case: Comparison) -> float:
    return _median_looks(case.reference.once(scene_window_looks).moments)


@define("enl", label="ENL", better="higher", source=_ENL_SOURCE, **_LOOKS)
def _test_looks(case: Comparison) -> float:
    return _median_looks(case.once(case_window_looks).moments)


@define("enl_mode", label="ENL (mode)", better="higher", source=_ENL_SOURCE, **_LOOKS)
def _test_mode(case: Comparison) -> float:
    return _mode_looks(case.once(case_window_looks).moments)


@define("enl_log_cumulant", label="ENL (log-cumulants)", better="higher", source=_LOG_SOURCE, **_LOOKS)
def _test_log(case: Comparison) -> float:
    return _median_looks(case.once(case_window_looks).log_cumulants)


@define("enl_ratio", label="ENL ratio", better="one", source=_ENL_SOURCE, **_LOOKS)
def _test_ratio(case: Comparison) -> float:
    return _median_looks(case.once(case_window_looks).moments / case.reference.once(scene_window_looks).moments)
