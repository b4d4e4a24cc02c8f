"""Equivalent number of looks (ENL), and the homogeneous windows that it is measured in.

ENL is a ratio of moments of **linear intensity**: square amplitudes, convert dB. Windows are found on the original, or
given; windows of different means are never pooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.special import polygamma

from sarlab.metrics.columns import Comparison, Reference, UndefinedMetric, Window, define, once, raster, scalar

#: Sides of an automatic window in samples: the first if the fields are large enough, else the second.
WINDOW_SIDES = (32, 16)
#: Side of the blocks of local statistics.
LOCAL_SIDE = 9
#: Relative difference allowed between the moment and the log-cumulant estimate of a homogeneous window, and between the
#: looks of the two sides if the fields are large enough.
AGREEMENT = 0.1
#: Least share of the looks of the best windows: texture and gradients only lower ENL.
LEAST_SHARE = 0.5
#: Fully developed speckle has at least one look; a window clearly below that (estimated from 1024 samples) is no speckle.
LEAST_LOOKS = 0.8


class WindowLooks(NamedTuple):
    """ENL of each window by two estimators; NaN where a window has none."""

    moments: np.ndarray
    log_cumulants: np.ndarray


def looks_from_log_variance(variance: np.ndarray) -> np.ndarray:
    """Invert var(ln I) = ψ′(L) for gamma speckle, by Newton's method on ln L; NaN where the variance is not positive.

    References: Nicolas, "Introduction aux statistiques de deuxième espèce", Traitement du Signal 19(3), 2002; Anfinsen,
    Doulgeris & Eltoft, IEEE Trans. Geosci. Remote Sens. 47(11), 2009.
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
    """Estimate the ENL of each window of linear intensity: mean²/variance of I, and from the variance of ln I.

    A window of zero variance has an infinite moment estimate; one of fewer than two valid samples has NaN.
    """
    moments, variances = np.full(len(windows), np.nan), np.full(len(windows), np.nan)
    with np.errstate(all="ignore"):
        for index, window in enumerate(windows):
            samples = intensity[window.slices]
            samples = samples[~np.isnan(samples)]
            if samples.size < 2:
                continue
            spread = samples.var()
            # a variance of the order of the rounding error counts as zero
            moments[index] = samples.mean() ** 2 / spread if spread > 1e-20 * samples.mean() ** 2 else np.inf
            variances[index] = np.log(samples).var() if samples.min() > 0 else np.nan
        return WindowLooks(moments, looks_from_log_variance(variances))


def homogeneous_windows(intensity: Any, side: int | None = None) -> list[Window]:
    """Find the windows that contain nothing but speckle.

    Candidates are half-overlapping windows without invalid or zero samples. Those are kept in which both ENL estimators
    agree within 10 %: texture and edges drive them apart. Some texture moves both alike, so windows below half the ENL of
    the best tenth (90th percentile), or below 0.8 looks, are dropped too.

    A window that holds more than one field has fewer looks than each of them. So the windows are 32 × 32 samples large,
    unless there are none, or windows of 16 × 16 have 10 % more looks.

    Parameters
    ----------
    intensity : array_like, shape (height, width)
        Linear intensity of the original; NaN = nodata.
    side : int, optional
        Side of the windows instead of these two, even.

    Returns
    -------
    list of Window
        Possibly empty.
    """
    values = raster(intensity, "intensity")
    if side is not None:
        return _windows(values, side)[0]
    (large, large_looks), (small, small_looks) = (_windows(values, side) for side in WINDOW_SIDES)
    return small if not large or small_looks > (1 + AGREEMENT) * large_looks else large


def _windows(values: np.ndarray, side: int) -> tuple[list[Window], float]:
    """Homogeneous windows of one side, and their median ENL; NaN without any."""
    if side > min(values.shape):
        return [], np.nan
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

    count = side**2
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
        agree = varied & (np.abs(moments - log_cumulants) <= AGREEMENT * (moments + log_cumulants) / 2)
        agree &= moments >= LEAST_LOOKS
        if agree.any():
            agree &= moments >= LEAST_SHARE * np.quantile(moments[agree], 0.9)
    windows = [Window(int(r) * half, int(c) * half, side, side) for r, c in zip(*np.nonzero(agree), strict=True)]
    return windows, float(np.median(moments[agree])) if windows else np.nan


def given_or_found(intensity: np.ndarray, windows: Sequence[Sequence[int]] | None) -> list[Window]:
    """Return the given windows, or find them; raise `UndefinedMetric` if there are none."""
    found = homogeneous_windows(intensity) if windows is None else [Window(*window) for window in windows]
    if not found:
        raise UndefinedMetric("no homogeneous window was found")
    return found


def _median(looks: np.ndarray) -> float:
    looks = looks[~np.isnan(looks)]
    if not looks.size:
        raise UndefinedMetric("no window has two valid samples")
    value = np.median(looks)
    if not np.isfinite(value):
        raise UndefinedMetric("the image is constant in most homogeneous windows: ENL is infinite")
    return value


def mode(looks: np.ndarray) -> float:
    """Mode of ENL values: the peak of a Gaussian kernel density of their logarithms."""
    logs = np.log(looks[np.isfinite(looks) & (looks > 0)])
    if not logs.size:
        raise UndefinedMetric("no homogeneous window has a finite ENL")
    width = 1.06 * logs.std() * logs.size**-0.2
    if width < 1e-9:
        return float(np.exp(np.median(logs)))
    grid = np.linspace(logs.min(), logs.max(), 256)
    density = np.exp(-0.5 * ((grid[:, None] - logs) / width) ** 2).sum(axis=1)
    return float(np.exp(grid[density.argmax()]))


def local_looks(intensity: np.ndarray) -> np.ndarray:
    """ENL mean² / variance of all disjoint 9×9 blocks without invalid samples, homogeneous or not: 1-D.

    Their mode needs no windows, because most blocks of most scenes hold a single field.
    """
    side = LOCAL_SIDE
    rows, columns = (length // side for length in intensity.shape)
    blocks = intensity[: rows * side, : columns * side].reshape(rows, side, columns, side)
    mean, variance = blocks.mean(axis=(1, 3)), blocks.var(axis=(1, 3), ddof=1)
    with np.errstate(all="ignore"):
        looks = np.where(variance > 1e-20 * mean**2, mean**2 / variance, np.nan)
    return looks[np.isfinite(looks)]


@scalar
def enl(intensity: Any, *, windows: Sequence[Sequence[int]] | None = None) -> float:
    """Equivalent number of looks: median of mean² / variance of linear intensity over windows; in (0, ∞).

    `windows` are (row, column, height, width), by default the `homogeneous_windows` of this image.

    References: Oliver & Quegan, Understanding Synthetic Aperture Radar Images, 2004, ch. 4; as in ESA SNAP and GAMMA.
    """
    values = raster(intensity, "intensity")
    return _median(window_looks(values, given_or_found(values, windows)).moments)


@once
def scene_windows(reference: Reference) -> list[Window]:
    """Homogeneous windows of a scene: the user's, or found automatically."""
    return given_or_found(reference.intensity, reference.windows)


@once
def scene_window_looks(reference: Reference) -> WindowLooks:
    """ENL of a scene in each of its windows."""
    return window_looks(reference.intensity, scene_windows(reference))


@once
def scene_looks(reference: Reference) -> float:
    """Number of looks of a scene: the nominal one if given, else the measured ENL."""
    return reference.looks or _median(scene_window_looks(reference).moments)


@once
def case_window_looks(case: Comparison) -> WindowLooks:
    """ENL of the reconstruction in the windows of its reference."""
    return window_looks(case.intensity, scene_windows(case.reference))


_OLIVER = "Oliver & Quegan 2004, ch. 4"
_looks = partial(define, unit="1", domain="intensity", group="looks")


@_looks("enl_windows", "Homogeneous windows", better="higher", source="this project")
def enl_windows(case: Comparison) -> float:
    """Number of homogeneous windows of the scene."""
    try:
        return len(scene_windows(case.reference))
    except UndefinedMetric:
        return 0


@_looks("enl_reference", "ENL of the original", better="higher", source=_OLIVER)
def enl_reference(case: Comparison) -> float:
    """ENL of the original: median of mean² / variance over homogeneous windows."""
    return _median(scene_window_looks(case.reference).moments)


@_looks("enl", "ENL", better="higher", source=_OLIVER)
def _enl(case: Comparison) -> float:
    return _median(case_window_looks(case).moments)


@_looks("enl_mode", "ENL (mode)", better="higher", source=_OLIVER)
def enl_mode(case: Comparison) -> float:
    """Mode of mean² / variance over homogeneous windows."""
    return mode(case_window_looks(case).moments)


@_looks("enl_log_cumulant", "ENL (log-cumulants)", better="higher", source="Nicolas 2002; Anfinsen et al. 2009")
def enl_log_cumulant(case: Comparison) -> float:
    """ENL by log-cumulants, var(ln I) = ψ′(L): median over homogeneous windows."""
    return _median(case_window_looks(case).log_cumulants)


@_looks("enl_ratio", "ENL ratio", better="one", source=_OLIVER)
def enl_ratio(case: Comparison) -> float:
    """ENL of the reconstruction over that of the original: median over identical windows.

    It is not monotone in the rate; read it with the bias.
    """
    return _median(case_window_looks(case).moments / scene_window_looks(case.reference).moments)
