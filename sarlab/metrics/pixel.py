"""Fidelity to an image, sample by sample and in small windows: PSNR, RMSE, peak and relative error, SSIM, MS-SSIM.

Domain, clip rule and data range are part of each name's meaning. Values are dB of intensity; clipping happens here and
nowhere else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sarlab.metrics.base import (
    DB_PER_NEPER,
    UndefinedMetric,
    checked_clip,
    eroded,
    fill_invalid,
    pair,
    scalar,
)
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison

#: Smallest side for MS-SSIM: the coarsest of five scales (side // 16) at least as wide as the 11-sample window.
MS_SSIM_SIDE = 176
#: Radius of the Gaussian window of SSIM (standard deviation 1.5, cut at 3.5): 11 × 11 samples.
SSIM_RADIUS = 5


def _psnr(difference: np.ndarray, peak: float) -> float:
    error = float(np.mean(np.square(difference)))
    if error == 0:
        raise UndefinedMetric("the images are equal inside the clip range: PSNR is infinite")
    return 10 * np.log10(peak**2 / error)


@scalar
def psnr(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """Peak signal-to-noise ratio of dB data, both images clipped to `clip`.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN where there is no measurement.
    clip : (low, high)
        In dB; the data range W = high − low is the peak.

    Returns
    -------
    float
        20·log10(W / RMSE) in dB, in [0, ∞); undefined (infinite) for equal images.

    References
    ----------
    ISO/IEC 29170-1:2017 (PSNR); the clip range is this project's convention, recorded in every row.
    """
    low, high = checked_clip(clip)
    reference, test, valid = pair(reference_db, test_db)
    return _psnr(np.clip(reference[valid], low, high) - np.clip(test[valid], low, high), high - low)


@scalar
def psnr_amplitude(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """PSNR of amplitude √I, both images clipped to `clip`; the peak is the width of the clip range in amplitude.

    Bright samples weigh more than in dB: the same file has another PSNR.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    clip : (low, high)
        In dB.
    """
    return _psnr_linear(reference_db, test_db, clip, exponent=0.5)


@scalar
def psnr_intensity(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """PSNR of linear intensity, both images clipped to `clip`; the peak is the width of the range in intensity.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    clip : (low, high)
        In dB.
    """
    return _psnr_linear(reference_db, test_db, clip, exponent=1.0)


def _psnr_linear(reference_db: Any, test_db: Any, clip: tuple[float, float], exponent: float) -> float:
    low, high = checked_clip(clip)
    reference, test, valid = pair(reference_db, test_db)

    def linear(values: np.ndarray) -> np.ndarray:
        # relative to the upper edge of the range: no overflow whatever the calibration of the product
        return np.exp((np.clip(values, low, high) - high) * (exponent / DB_PER_NEPER))

    peak = 1 - np.exp((low - high) * (exponent / DB_PER_NEPER))
    return _psnr(linear(reference[valid]) - linear(test[valid]), peak)


@scalar
def rmse(reference_db: Any, test_db: Any, *, clip: tuple[float, float] | None = None) -> float:
    """Root mean squared error in dB, of all values (`clip` None) or of values clipped to `clip`.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
    clip : (low, high), optional
        With it the result is W·10^(−PSNR/20).

    Returns
    -------
    float
        dB, in [0, ∞).
    """
    if clip is None:
        reference, test, valid = pair(reference_db, test_db, finite=True)
        difference = reference[valid] - test[valid]
    else:
        low, high = checked_clip(clip)
        reference, test, valid = pair(reference_db, test_db)
        difference = np.clip(reference[valid], low, high) - np.clip(test[valid], low, high)
    return np.sqrt(np.mean(np.square(difference)))


@scalar
def peak_error(reference_db: Any, test_db: Any) -> float:
    """Largest absolute error in dB over all samples, unclipped; in [0, ∞).

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    """
    reference, test, valid = pair(reference_db, test_db, finite=True)
    return np.abs(reference[valid] - test[valid]).max()


@scalar
def max_relative_error(reference_db: Any, test_db: Any) -> float:
    """Largest |Î − I| / I of linear intensity over samples with I > 0 (dimensionless, in [0, ∞)).

    An error of ±e dB is a relative error of 10^(e/10) − 1 upwards and 1 − 10^(−e/10) downwards.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    """
    reference, test, valid = pair(reference_db, test_db)
    positive = valid & (reference > -np.inf)
    if not positive.any():
        raise UndefinedMetric("no sample of the reference is above zero")
    return np.abs(np.expm1((test[positive] - reference[positive]) / DB_PER_NEPER)).max()


@scalar
def ssim(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """Structural similarity of dB data clipped to `clip`, Gaussian 11×11 window (σ = 1.5), K = (0.01, 0.03).

    Averaged over the windows that lie inside the image and hold no invalid sample.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
    clip : (low, high)
        In dB; `data_range` = high − low.

    Returns
    -------
    float
        In [−1, 1], 1 for equal images; undefined where no such window exists (a side below 11).

    References
    ----------
    Wang, Bovik, Sheikh & Simoncelli, IEEE Trans. Image Process. 13(4), 2004.
    """
    low, high = checked_clip(clip)
    reference, test, valid = pair(reference_db, test_db)
    if min(reference.shape) < 2 * SSIM_RADIUS + 1:
        raise UndefinedMetric(f"a side is below {2 * SSIM_RADIUS + 1} samples, the window of SSIM")
    inside = eroded(valid, SSIM_RADIUS)
    if not inside.any():
        raise UndefinedMetric("no 11×11 window is free of invalid samples")
    from skimage.metrics import structural_similarity

    x = fill_invalid(np.clip(reference, low, high), valid)
    y = fill_invalid(np.clip(test, low, high), valid)
    _, local = structural_similarity(
        x, y, data_range=high - low, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return local[inside].mean()


@scalar
def ms_ssim(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """Multi-scale structural similarity of dB data clipped to `clip`: five scales, Gaussian 11×11 window.

    Invalid samples are filled alike in both images, which raises the score a little; above 1 % of them it is undefined.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Both sides at least 176 samples.
    clip : (low, high)
        In dB; `data_range` = high − low.

    Returns
    -------
    float
        In [0, 1]; undefined for smaller images.

    References
    ----------
    Wang, Simoncelli & Bovik, Asilomar Conference on Signals, Systems and Computers, 2003.
    """
    low, high = checked_clip(clip)
    reference, test, valid = pair(reference_db, test_db)
    if min(reference.shape) < MS_SSIM_SIDE:
        raise UndefinedMetric(f"a side is below {MS_SSIM_SIDE} samples: five scales do not fit")
    if valid.mean() < 0.99:
        raise UndefinedMetric("more than 1 % of the samples are invalid")
    from sarlab.metrics.multiscale import multiscale_ssim

    scaled = [(fill_invalid(np.clip(values, low, high), valid) - low) / (high - low) for values in (reference, test)]
    return multiscale_ssim(*scaled, data_range=1.0)


def _register() -> None:
    """Columns of fidelity to the recorded image, and the same against the clean scene."""
    clipped, shown = "dB of intensity, clipped", "dB of intensity"
    rows = [
        ("psnr_db", "PSNR", "dB", "higher", clipped, (0, np.inf), "ISO/IEC 29170-1", psnr, True),
        ("psnr_amplitude", "PSNR (amplitude)", "dB", "higher", "amplitude, clipped", (0, np.inf), "ISO/IEC 29170-1",
         psnr_amplitude, True),
        ("psnr_intensity", "PSNR (intensity)", "dB", "higher", "intensity, clipped", (0, np.inf), "ISO/IEC 29170-1",
         psnr_intensity, True),
        ("rmse_db", "RMSE", "dB", "lower", shown, (0, np.inf), "definition", rmse, False),
        ("rmse_clipped_db", "RMSE (clipped)", "dB", "lower", clipped, (0, np.inf), "definition", rmse, True),
        ("peak_error_db", "Peak error", "dB", "lower", shown, (0, np.inf), "definition", peak_error, False),
        ("max_relative_error", "Max. relative error", "1", "lower", "intensity", (0, np.inf), "definition",
         max_relative_error, False),
        ("ssim", "SSIM", "1", "higher", clipped, (-1, 1), "Wang et al. 2004", ssim, True),
        ("ms_ssim", "MS-SSIM", "1", "higher", clipped, (0, 1), "Wang et al. 2003", ms_ssim, True),
    ]  # fmt: skip
    for name, label, unit, better, domain, valid_range, source, function, clips in rows:
        for clean in (False, True):
            if clean and function in (max_relative_error, peak_error):
                continue

            def compute(case: Comparison, function: Any = function, clips: bool = clips, clean: bool = clean) -> float:
                reference = case.clean_db if clean else case.reference_db
                return function(reference, case.test_db, **({"clip": case.clip} if clips else {}))

            define(
                f"{name.removesuffix('_db')}_clean{'_db' if name.endswith('_db') else ''}" if clean else name,
                label=f"{label} against clean" if clean else label,
                unit=unit,
                better=better,
                domain=domain,
                valid_range=valid_range,
                source=source,
                group="reflectivity" if clean else "fidelity",
                needs_clean=clean,
            )(compute)


_register()
