"""Error by spatial frequency, and whether what was thrown away looks like speckle or like structure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from sarlab.metrics.base import UndefinedMetric, pair, scalar
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison, Reference
from sarlab.metrics.looks import scene_windows
from sarlab.metrics.spectrum import radial_frequency, spectral_flatness, welch_spectrum, window_autocorrelation
from sarlab.metrics.windows import given_or_found

#: Edges of the bands of radial frequency, in cycles per sample; the corners above 0.5 belong to the last.
BANDS = (0.0, 0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.4375, np.sqrt(0.5))


def band_powers(spectrum: np.ndarray) -> np.ndarray:
    """Power of a spectrum in each of the `BANDS` (zero frequency left out): shape (8,), in the unit of the spectrum.

    Parameters
    ----------
    spectrum : ndarray, shape (size, size)
        In the order of `numpy.fft.fftfreq`.
    """
    frequency = radial_frequency(len(spectrum))
    band = np.digitize(frequency, BANDS[1:-1])
    inside = frequency > 0
    return np.bincount(band[inside], spectrum[inside], minlength=len(BANDS) - 1) / spectrum.size


def error_by_frequency(reference_db: Any, test_db: Any) -> np.ndarray:
    """Share of the reference's power that is lost, in eight bands of radial spatial frequency.

    Power of the error over power of the reference, both by `welch_spectrum` of dB values: 0 nothing lost, 1 as much
    error as signal (what a constant reconstruction has).

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)

    Returns
    -------
    ndarray, shape (8,)
        In [0, ∞), by band of `BANDS`; NaN where the reference has no power.

    Raises
    ------
    UndefinedMetric
        No 64×64 window of valid samples.
    """
    reference, test, valid = pair(reference_db, test_db, finite=True)
    error = welch_spectrum(np.where(valid, test - reference, np.nan))
    return _lost(welch_spectrum(reference), error)


def _lost(reference: np.ndarray, error: np.ndarray) -> np.ndarray:
    signal, lost = band_powers(reference), band_powers(error)
    with np.errstate(all="ignore"):
        # power of the order of rounding is none
        return np.where(signal > 1e-20, lost / signal, np.nan)


@scalar
def residual_whiteness(reference_db: Any, test_db: Any) -> float:
    """Spectral flatness of the error in dB: in [0, 1], 1 = white.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.

    References
    ----------
    Gray & Markel, IEEE Trans. Acoust. Speech Signal Process. 22(3), 1974.
    """
    reference, test, valid = pair(reference_db, test_db, finite=True)
    return spectral_flatness(welch_spectrum(np.where(valid, test - reference, np.nan)))


def _autocorrelation_error(speckle: np.ndarray, residual: np.ndarray) -> float:
    lags = np.ones(speckle.shape, bool)
    lags[speckle.shape[0] // 2, speckle.shape[1] // 2] = False
    return np.sqrt(np.mean(np.square(residual - speckle)[lags]))


@scalar
def residual_autocorrelation_error(
    reference_db: Any, test_db: Any, *, windows: Sequence[Sequence[int]] | None = None
) -> float:
    """How unlike speckle the error is: RMS difference of normalized autocorrelations at lags up to 4.

    Of the error x̂ − x against that of x itself, in dB, over homogeneous windows, where x is speckle and nothing else.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
    windows : sequence of (row, column, height, width), optional
        Default: found automatically.

    Returns
    -------
    float
        In [0, 2]; 0 where what was thrown away is correlated like speckle.
    """
    reference, test, _ = pair(reference_db, test_db, finite=True)
    chosen = given_or_found(10 ** (reference / 10), windows)
    return _autocorrelation_error(
        window_autocorrelation(reference, chosen), window_autocorrelation(test - reference, chosen)
    )


def spectrum_error(speckle: np.ndarray, residual: np.ndarray) -> float:
    """Mean |10·log10| in dB of the ratio of two power spectra by band, each scaled to unit power; in [0, ∞).

    Parameters
    ----------
    speckle, residual : ndarray, shape (size, size)
        Power spectra.
    """
    before, after = band_powers(speckle), band_powers(residual)
    if before.min() <= 0 or after.min() <= 0:
        raise UndefinedMetric("a frequency band has no power")
    return np.abs(10 * np.log10((after / after.sum()) / (before / before.sum()))).mean()


def autocorrelation_spectrum(autocorrelation: np.ndarray, size: int = 64) -> np.ndarray:
    """Power spectrum of an autocorrelation of few lags (tapered, Blackman-Tukey), not below a thousandth of its mean.

    Parameters
    ----------
    autocorrelation : ndarray, shape (2·lags + 1, 2·lags + 1)
    size : int
        Side of the spectrum.

    References
    ----------
    Blackman & Tukey, The Measurement of Power Spectra, 1958.
    """
    lags = autocorrelation.shape[0] // 2
    taper = np.hanning(2 * lags + 3)[1:-1]
    padded = np.zeros((size, size))
    offsets = np.arange(-lags, lags + 1)
    padded[np.ix_(offsets, offsets)] = autocorrelation * np.outer(taper, taper)
    spectrum = np.fft.fft2(padded).real
    return np.maximum(spectrum, 1e-3 * spectrum.mean())


def scene_spectrum(reference: Reference) -> np.ndarray:
    """Welch spectrum of a scene in dB. For `Reference.once`."""
    return welch_spectrum(reference.db)


def scene_autocorrelation(reference: Reference) -> np.ndarray:
    """Autocorrelation of the recorded speckle. For `Reference.once`."""
    return window_autocorrelation(reference.db, reference.once(scene_windows))


def error_spectrum(case: Comparison) -> np.ndarray:
    """Welch spectrum of the error in dB. For `Comparison.once`."""
    with np.errstate(all="ignore"):
        return welch_spectrum(np.where(case.valid, case.test_db - case.reference_db, np.nan))


def error_autocorrelation(case: Comparison) -> np.ndarray:
    """Autocorrelation of the error over the homogeneous windows of the scene. For `Comparison.once`."""
    with np.errstate(all="ignore"):
        return window_autocorrelation(case.test_db - case.reference_db, case.reference.once(scene_windows))


def _lost_share(case: Comparison, band: int) -> float:
    share = case.once(_lost_shares)[band]
    if np.isnan(share):
        raise UndefinedMetric("the reference has no power in this band")
    return share


def _lost_shares(case: Comparison) -> np.ndarray:
    return _lost(case.reference.once(scene_spectrum), case.once(error_spectrum))


_FREQUENCY = {"unit": "1", "domain": "dB of intensity", "group": "frequency"}

for _band, (_low, _high) in enumerate(itertools.pairwise(BANDS)):
    define(
        f"lost_power_band{_band + 1}",
        label=f"Lost power, {_low:.3g} to {_high:.3g} cycles/sample",
        better="zero",
        valid_range=(0, np.inf),
        source="Welch 1967",
        **_FREQUENCY,
    )(partial(_lost_share, band=_band))


@define(
    "residual_whiteness", label="Whiteness of the error", better="one", valid_range=(0, 1),
    source="Gray & Markel 1974", **_FREQUENCY,
)  # fmt: skip
def _whiteness(case: Comparison) -> float:
    return spectral_flatness(case.once(error_spectrum))


@define(
    "residual_autocorrelation_error", label="Error's correlation unlike speckle", better="zero", valid_range=(0, 2),
    source="this project", **_FREQUENCY,
)  # fmt: skip
def _correlation(case: Comparison) -> float:
    return _autocorrelation_error(case.reference.once(scene_autocorrelation), case.once(error_autocorrelation))


@define(
    "residual_spectrum_error_db", label="Error's spectrum unlike speckle", better="zero", valid_range=(0, np.inf),
    source="Blackman & Tukey 1958 (estimator); this project", **{**_FREQUENCY, "unit": "dB"},
)  # fmt: skip
def _spectrum(case: Comparison) -> float:
    return spectrum_error(
        autocorrelation_spectrum(case.reference.once(scene_autocorrelation)),
        autocorrelation_spectrum(case.once(error_autocorrelation)),
    )
