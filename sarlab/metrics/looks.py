"""Equivalent number of looks (ENL) over homogeneous windows of **linear intensity**.

Amplitude must be squared first, dB be converted. Windows are found on the original, or given; windows of different means
are never pooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import polygamma

from sarlab.metrics.base import UndefinedMetric, pair, raster, scalar
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison, Reference, Window

#: Side of an automatic window in samples, and in images too small for it.
WINDOW_SIDES = (32, 16)
#: Moment and log-cumulant estimates may differ by this share in a homogeneous window.
AGREEMENT = 0.1
#: A homogeneous window has at least this share of the looks of the best ones: texture and gradients only lower ENL.
LEAST_SHARE = 0.5


class WindowLooks(NamedTuple):
    """ENL of each window by two estimators; NaN where a window has none."""

    moments: np.ndarray
    log_cumulants: np.ndarray


def looks_from_log_variance(variance: np.ndarray) -> np.ndarray:
    """Number of looks L of gamma speckle from var(ln I) = ψ′(L), by Newton's method on ln L.

    Parameters
    ----------
    variance : ndarray
        In square nepers of intensity; positive.

    Returns
    -------
    ndarray
        L, NaN where the variance is not positive.

    References
    ----------
    Nicolas, "Introduction aux statistiques de deuxième espèce", Traitement du Signal 19(3), 2002;
    Anfinsen, Doulgeris & Eltoft, IEEE Trans. Geosci. Remote Sens. 47(11), 2009.
    """
    variance = np.asarray(variance, np.float64)
    with np.errstate(all="ignore"):
        target = np.where((variance > 0) & np.isfinite(variance), variance, np.nan)
        # ψ′(L) lies between 1/L and 1/L + 1/L²: start from the positive root of v·L² = L + 1/2
        log_looks = np.log((1 + np.sqrt(1 + 2 * target)) / (2 * target))
        for _ in range(12):
            looks = np.exp(log_looks)
            # ln ψ′ is nearly linear in ln L
            step = np.log(polygamma(1, looks) / target) * polygamma(1, looks) / (looks * polygamma(2, looks))
            log_looks = log_looks - np.clip(step, -1, 1)
        return np.exp(log_looks)


def window_looks(intensity: np.ndarray, windows: Sequence[Window]) -> WindowLooks:
    """ENL of each window: mean²/variance, and from the variance of ln I.

    Parameters
    ----------
    intensity : ndarray, shape (height, width)
        Linear; NaN = nodata (left out).
    windows : sequence of Window

    Returns
    -------
    WindowLooks
        A window of zero variance has an infinite moment estimate; one of fewer than 2 samples has NaN.
    """
    moments, variances = np.full(len(windows), np.nan), np.full(len(windows), np.nan)
    with np.errstate(all="ignore"):
        for index, window in enumerate(windows):
            samples = intensity[window.slices]
            samples = samples[~np.isnan(samples)]
            if samples.size < 2:
                continue
            spread = samples.var()
            # a difference of the order of rounding is no variance
            moments[index] = samples.mean() ** 2 / spread if spread > 1e-20 * samples.mean() ** 2 else np.inf
            variances[index] = np.log(samples).var() if samples.min() > 0 else np.nan
        return WindowLooks(moments, looks_from_log_variance(variances))


def homogeneous_windows(intensity: Any, *, side: int | None = None, agreement: float = AGREEMENT) -> list[Window]:
    """Find the windows where speckle is all there is.

    Of half-overlapping windows without invalid or zero samples those stay where both ENL estimators agree: texture and
    edges move them apart. A few kinds of texture move both alike, so windows below half the ENL of the best tenth (90th
    percentile) go too.

    Parameters
    ----------
    intensity : array_like, shape (height, width)
        Linear intensity of the original.
    side : int, optional
        Of a window, in samples; default 32, or 16 where the image is smaller.
    agreement : float
        Largest |difference| / mean of the two estimates.

    Returns
    -------
    list of Window
        Possibly empty.
    """
    values = raster(intensity, "intensity")
    if side is None:
        side = next((s for s in WINDOW_SIDES if s <= min(values.shape)), 0)
    if side < 2 or side > min(values.shape):
        return []
    half = side // 2
    rows, columns = values.shape[0] // half, values.shape[1] // half
    values = values[: rows * half, : columns * half]
    usable = values > 0
    with np.errstate(all="ignore"):
        logs = np.log(np.where(usable, values, 1.0))
    values = np.where(usable, values, 0.0)

    def window_sums(array: np.ndarray) -> np.ndarray:
        blocks = array.reshape(rows, half, columns, half).sum(axis=(1, 3))
        return blocks[:-1, :-1] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[1:, 1:]

    count = (2 * half) ** 2
    # an offset near the values keeps the difference of large sums exact
    offset = logs[usable].mean() if usable.any() else 0.0
    logs = np.where(usable, logs - offset, 0.0)
    complete = window_sums(usable.astype(np.float64)) == count
    mean, square = window_sums(values) / count, window_sums(values**2) / count
    log_mean, log_square = window_sums(logs) / count, window_sums(logs**2) / count
    with np.errstate(all="ignore"):
        moments = mean**2 / (square - mean**2)
        varied = complete & (square - mean**2 > 1e-10 * mean**2) & (log_square - log_mean**2 > 1e-10)
        log_cumulants = looks_from_log_variance(np.where(varied, log_square - log_mean**2, np.nan))
        agree = varied & (np.abs(moments - log_cumulants) <= agreement * (moments + log_cumulants) / 2)
        if agree.any():
            agree &= moments >= LEAST_SHARE * np.quantile(moments[agree], 0.9)
    return [Window(int(r) * half, int(c) * half, 2 * half, 2 * half) for r, c in zip(*np.nonzero(agree), strict=True)]


def given_or_found(intensity: np.ndarray, windows: Sequence[Sequence[int]] | None) -> list[Window]:
    """The caller's homogeneous windows, or those found automatically; `UndefinedMetric` where there are none."""
    found = homogeneous_windows(intensity) if windows is None else [Window(*window) for window in windows]
    if not found:
        raise UndefinedMetric("no homogeneous window was found")
    return found


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
    """Mode over homogeneous windows of mean² / variance: the peak of a Gaussian kernel density of ln ENL."""
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
    """Equivalent number of looks by log-cumulants, var(ln I) = ψ′(L): median over homogeneous windows; in (0, ∞)."""
    values = raster(intensity, "intensity")
    return _median_looks(window_looks(values, given_or_found(values, windows)).log_cumulants)


@scalar
def enl_ratio(
    reference_intensity: Any, test_intensity: Any, *, windows: Sequence[Sequence[int]] | None = None
) -> float:
    """ENL of the reconstruction over ENL of the original, median over identical windows (found on the original).

    Dimensionless, in (0, ∞). Not monotone in rate, and to be read beside the bias.
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
