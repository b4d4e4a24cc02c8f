"""Power spectra and autocorrelation in dB: error by spatial frequency, and how far the error resembles speckle."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from sarlab.metrics.columns import (
    Comparison,
    Reference,
    UndefinedMetric,
    Window,
    define,
    once,
    raster,
    require_finite,
    scalar,
)
from sarlab.metrics.looks import scene_windows

#: Side of a Welch window in samples, even; largest lag of an autocorrelation.
WELCH_SIZE, LAGS = 64, 4
#: Edges of the bands of radial frequency, in cycles per sample; the corners above 0.5 belong to the last.
BANDS = (0.0, 0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.4375, np.sqrt(0.5))


def welch_spectrum(values: Any) -> np.ndarray:
    """Estimate a power spectrum by Welch's method: 64×64 Hann windows, half overlap, mean removed in each.

    Windows with an invalid sample (NaN) are left out, and so are rows and columns beyond the last whole window.

    Returns
    -------
    ndarray of float64, shape (64, 64)
        |DFT|² / Σw², averaged over windows, in the square of the unit of `values`; frequencies in the order of
        `numpy.fft.fftfreq`. Its mean is the mean variance within a (weighted) window.

    Raises
    ------
    UndefinedMetric
        No window of valid samples fits.

    References: Welch, IEEE Trans. Audio Electroacoust. 15(2), 1967.
    """
    values, size = raster(values), WELCH_SIZE
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
        require_finite(row)
        row = (row - row.mean(axis=(1, 2), keepdims=True)) * taper
        transform = np.fft.rfft2(row)
        power += (transform.real**2 + transform.imag**2).sum(axis=0)
        count += len(row)
    if not count:
        raise UndefinedMetric(f"no {size}×{size} window is free of invalid samples")
    power /= count * np.square(taper).sum()
    # the spectrum of a real image is symmetric about the origin
    whole = np.empty((size, size))
    whole[:, : size // 2 + 1] = power
    mirrored = -np.arange(size) % size
    whole[:, size // 2 + 1 :] = power[mirrored][:, size // 2 - 1 : 0 : -1]
    return whole


def radial_frequency(size: int) -> np.ndarray:
    """Radial frequency in cycles per sample of each element of a spectrum of `size`² samples."""
    frequency = np.fft.fftfreq(size)
    return np.hypot(frequency[:, None], frequency[None, :])


@scalar
def spectral_flatness(spectrum: np.ndarray) -> float:
    """Geometric over arithmetic mean of a power spectrum without its lowest frequencies: in [0, 1], 1 = white.

    An average of K independent periodograms of white noise has exp(ψ(K)) / K, a little less than 1.

    References: Gray & Markel, IEEE Trans. Acoust. Speech Signal Process. 22(3), 1974.
    """
    # removing the mean of each window empties the main lobe around zero frequency
    away = radial_frequency(len(spectrum)) > 2.5 / len(spectrum)
    power = spectrum[away]
    if not power.size or power.mean() <= 0:
        raise UndefinedMetric("the spectrum is zero: nothing varies")
    return np.exp(np.log(np.maximum(power, 1e-300)).mean()) / power.mean()


def window_autocorrelation(values: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """Estimate the normalized autocorrelation within windows, mean removed in each, weighted by their energy.

    Windows with an invalid sample, or a side not above 4, are left out. The result has shape (9, 9) for lags −4 … 4, is 1
    at the center, and unbiased in the number of products at each lag.
    """
    lags = LAGS
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


def autocorrelation_spectrum(autocorrelation: np.ndarray) -> np.ndarray:
    """Power spectrum, shape (64, 64), of an autocorrelation of few lags: tapered, at least a thousandth of its mean.

    References: Blackman & Tukey, The Measurement of Power Spectra, 1958.
    """
    taper = np.hanning(2 * LAGS + 3)[1:-1]
    padded = np.zeros((WELCH_SIZE, WELCH_SIZE))
    offsets = np.arange(-LAGS, LAGS + 1)
    padded[np.ix_(offsets, offsets)] = autocorrelation * np.outer(taper, taper)
    spectrum = np.fft.fft2(padded).real
    return np.maximum(spectrum, 1e-3 * spectrum.mean())


def band_powers(spectrum: np.ndarray) -> np.ndarray:
    """Power of a spectrum in each of the eight `BANDS`, zero frequency left out, in the unit of the spectrum."""
    frequency = radial_frequency(len(spectrum))
    band = np.digitize(frequency, BANDS[1:-1])
    inside = frequency > 0
    return np.bincount(band[inside], spectrum[inside], minlength=len(BANDS) - 1) / spectrum.size


def spectrum_error(speckle: np.ndarray, residual: np.ndarray) -> float:
    """Mean |10·log10| in dB of the ratio of two power spectra by band, each scaled to unit power."""
    before, after = band_powers(speckle), band_powers(residual)
    if before.min() <= 0 or after.min() <= 0:
        raise UndefinedMetric("a frequency band has no power")
    return np.abs(10 * np.log10((after / after.sum()) / (before / before.sum()))).mean()


@once
def scene_spectrum(reference: Reference) -> np.ndarray:
    """Welch spectrum of a scene in dB."""
    return welch_spectrum(reference.db)


@once
def scene_autocorrelation(reference: Reference) -> np.ndarray:
    """Autocorrelation of the recorded speckle in dB, over the homogeneous windows of the scene."""
    return window_autocorrelation(reference.db, scene_windows(reference))


@once
def error_spectrum(case: Comparison) -> np.ndarray:
    """Welch spectrum of the error in dB."""
    with np.errstate(all="ignore"):
        return welch_spectrum(case.db - case.reference.db)


@once
def error_autocorrelation(case: Comparison) -> np.ndarray:
    """Autocorrelation of the error in dB, over the homogeneous windows of the scene."""
    with np.errstate(all="ignore"):
        return window_autocorrelation(case.db - case.reference.db, scene_windows(case.reference))


@once
def lost_power(case: Comparison) -> np.ndarray:
    """Power of the error over that of the reference by band: 0 if nothing is lost, 1 for a constant image, NaN without any."""
    signal, lost = band_powers(scene_spectrum(case.reference)), band_powers(error_spectrum(case))
    with np.errstate(all="ignore"):
        # power of the order of the rounding error counts as none
        return np.where(signal > 1e-20, lost / signal, np.nan)


_frequency = partial(define, domain="dB of intensity", group="frequency")

for _band, (_low, _high) in enumerate(itertools.pairwise(BANDS)):
    _label = f"Lost power, {_low:.3g} to {_high:.3g} cycles/sample"

    @_frequency(f"lost_power_band{_band + 1}", _label, "1", "zero", source="Welch 1967")
    def _lost_power(case: Comparison, band: int = _band) -> float:
        share = lost_power(case)[band]
        if np.isnan(share):
            raise UndefinedMetric("the reference has no power in this band")
        return share


@_frequency("residual_whiteness", "Whiteness of the error", "1", "one", source="Gray & Markel 1974", valid_range=(0, 1))
def residual_whiteness(case: Comparison) -> float:
    """Spectral flatness of the error in dB; 1 = white."""
    return spectral_flatness(error_spectrum(case))


@_frequency(
    "residual_autocorrelation_error", "Autocorrelation of the error vs. speckle", "1", "zero", source="this project",
    valid_range=(0, 2),
)  # fmt: skip
def residual_autocorrelation_error(case: Comparison) -> float:
    """RMS difference between the autocorrelations of error and speckle at lags up to 4; 0 if the error resembles speckle.

    Both are measured in dB over homogeneous windows, where the recorded image is nothing but speckle.
    """
    speckle, residual = scene_autocorrelation(case.reference), error_autocorrelation(case)
    lags = np.ones(speckle.shape, bool)
    lags[LAGS, LAGS] = False
    return np.sqrt(np.mean(np.square(residual - speckle)[lags]))


@_frequency(
    "residual_spectrum_error_db", "Spectrum of the error vs. speckle", "dB", "zero",
    source="Blackman & Tukey 1958 (estimator); this project",
)  # fmt: skip
def residual_spectrum_error_db(case: Comparison) -> float:
    """Mean difference in dB between the spectra of error and speckle by band, both of unit power."""
    return spectrum_error(
        autocorrelation_spectrum(scene_autocorrelation(case.reference)),
        autocorrelation_spectrum(error_autocorrelation(case)),
    )
