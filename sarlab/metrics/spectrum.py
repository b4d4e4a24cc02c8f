"""Second-order statistics of an image: Welch power spectrum, whiteness, autocorrelation over windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sarlab.metrics.base import UndefinedMetric, raster, scalar
from sarlab.metrics.comparison import Window

#: Side of a Welch window in samples.
WELCH_SIZE = 64


def welch_spectrum(values: Any, *, size: int = WELCH_SIZE) -> np.ndarray:
    """Power spectrum by Welch's method: `size`² Hann windows, half overlap, mean removed in each.

    Windows with an invalid sample are left out; the rim that no whole window covers too.

    Parameters
    ----------
    values : array_like, shape (height, width)
        NaN = nodata.
    size : int
        Side of a window.

    Returns
    -------
    ndarray of float64, shape (size, size)
        |DFT|² / Σw², averaged over windows, frequencies in the order of `numpy.fft.fftfreq`; in the square of the unit
        of `values`. Its mean is the mean variance within a (weighted) window.

    Raises
    ------
    UndefinedMetric
        No window of valid samples fits.

    References
    ----------
    Welch, IEEE Trans. Audio Electroacoust. 15(2), 1967.
    """
    values = raster(values)
    if min(values.shape) < size:
        raise UndefinedMetric(f"a side is below {size} samples, the window of the power spectrum")
    # periodic Hann: with half overlap the windows add up to a constant
    hann = np.hanning(size + 1)[:-1]
    taper = np.outer(hann, hann)
    step = size // 2
    tiles = np.lib.stride_tricks.sliding_window_view(values, (size, size))[::step, ::step]
    power, count = np.zeros((size, size // 2 + 1)), 0
    for row in tiles:
        row = row[~np.isnan(row).any(axis=(1, 2))]
        if not len(row):
            continue
        if np.isinf(row).any():
            raise UndefinedMetric("infinite samples: give exact zeros a floor in dB")
        row = (row - row.mean(axis=(1, 2), keepdims=True)) * taper
        transform = np.fft.rfft2(row)
        power += (transform.real**2 + transform.imag**2).sum(axis=0)
        count += len(row)
    if not count:
        raise UndefinedMetric(f"no {size}×{size} window is free of invalid samples")
    power /= count * np.square(taper).sum()
    # a real image: the other half mirrors this one through the origin
    whole = np.empty((size, size))
    whole[:, : size // 2 + 1] = power
    mirrored = -np.arange(size) % size
    whole[:, size // 2 + 1 :] = power[mirrored][:, size // 2 - 1 : 0 : -1]
    return whole


def radial_frequency(size: int = WELCH_SIZE) -> np.ndarray:
    """Radial frequency in cycles per sample of each element of a spectrum of `size`² samples."""
    frequency = np.fft.fftfreq(size)
    return np.hypot(frequency[:, None], frequency[None, :])


@scalar
def spectral_flatness(spectrum: np.ndarray) -> float:
    """Geometric over arithmetic mean of a power spectrum without its zero frequency: in [0, 1], 1 = white.

    An average of K independent periodograms of white noise has exp(ψ(K)) / K, a little less than 1.

    Parameters
    ----------
    spectrum : ndarray, shape (size, size)
        In the order of `numpy.fft.fftfreq`.

    References
    ----------
    Gray & Markel, IEEE Trans. Acoust. Speech Signal Process. 22(3), 1974.
    """
    # mean removal takes the window's main lobe out of the spectrum around zero
    away = radial_frequency(len(spectrum)) > 2.5 / len(spectrum)
    power = spectrum[away]
    if not power.size or power.mean() <= 0:
        raise UndefinedMetric("the spectrum is zero: nothing varies")
    return np.exp(np.log(np.maximum(power, 1e-300)).mean()) / power.mean()


def window_autocorrelation(values: np.ndarray, windows: Sequence[Window], *, lags: int = 4) -> np.ndarray:
    """Normalized autocorrelation of `values`, mean removed in each window, averaged over windows by their energy.

    Parameters
    ----------
    values : ndarray, shape (height, width)
    windows : sequence of Window
        Those that hold an invalid sample, or whose sides are not above `lags`, are left out.
    lags : int
        Largest lag in samples.

    Returns
    -------
    ndarray, shape (2·lags + 1, 2·lags + 1)
        1 at the centre, unbiased in the number of products at each lag.

    Raises
    ------
    UndefinedMetric
        No window is usable, or nothing varies in any.
    """
    total = np.zeros((2 * lags + 1, 2 * lags + 1))
    by_shape: dict[tuple[int, int], list[np.ndarray]] = {}
    for window in windows:
        samples = values[window.slices]
        if min(samples.shape) > lags and np.isfinite(samples).all():
            by_shape.setdefault(samples.shape, []).append(samples)
    for (rows, columns), group in by_shape.items():
        samples = np.stack(group)
        samples = samples - samples.mean(axis=(1, 2), keepdims=True)
        # zero padding turns the circular correlation of the transform into a linear one
        transform = np.fft.rfft2(samples, (rows + lags, columns + lags))
        energy = (transform.real**2 + transform.imag**2).sum(axis=0)
        lagged = np.fft.irfft2(energy, (rows + lags, columns + lags))
        offset = np.arange(-lags, lags + 1)
        products = np.outer(rows - np.abs(offset), columns - np.abs(offset))
        total += lagged[np.ix_(offset, offset)] / products * (rows * columns)
    center = total[lags, lags]
    if not by_shape or center <= 1e-24:
        raise UndefinedMetric("nothing varies in the homogeneous windows" if by_shape else "no usable window")
    return total / center
