"""Windows of an image: their equivalent number of looks by two estimators, and which of them are homogeneous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import polygamma

from sarlab.metrics.base import UndefinedMetric, raster
from sarlab.metrics.comparison import Window

#: Side of an automatic window in samples, and in images too small for it.
WINDOW_SIDES = (32, 16)
#: Moment and log-cumulant estimates may differ by this share in a homogeneous window.
AGREEMENT = 0.1
#: A homogeneous window has at least this share of the looks of the best ones: texture and gradients only lower ENL.
LEAST_SHARE = 0.5
#: Fully developed speckle has one look or more; a window clearly below (in an estimate from 1024 samples) is no speckle.
LEAST_LOOKS = 0.8


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
    percentile) go too, and those below 0.8 looks, which no speckle has.

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
        agree &= moments >= LEAST_LOOKS
        if agree.any():
            agree &= moments >= LEAST_SHARE * np.quantile(moments[agree], 0.9)
    return [Window(int(r) * half, int(c) * half, 2 * half, 2 * half) for r, c in zip(*np.nonzero(agree), strict=True)]


def given_or_found(intensity: np.ndarray, windows: Sequence[Sequence[int]] | None) -> list[Window]:
    """The caller's homogeneous windows, or those found automatically; `UndefinedMetric` where there are none."""
    found = homogeneous_windows(intensity) if windows is None else [Window(*window) for window in windows]
    if not found:
        raise UndefinedMetric("no homogeneous window was found")
    return found
