"""Fidelity: PSNR, RMSE, SSIM and MS-SSIM of dB data, error after averaging, and the errors of complex data.

Values are dB of intensity unless stated otherwise. Clipping happens here and nowhere else: both images are clipped to the
range (low, high) of the comparison, whose width W = high − low is the peak of PSNR and the data range of SSIM.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.columns import (
    DB_PER_NEPER,
    Comparison,
    UndefinedMetric,
    checked_clip,
    define,
    eroded,
    fill_invalid,
    once,
    require_finite,
    scalar,
)

#: Sides of the blocks that are averaged, in samples.
SCALES = (1, 2, 4, 8, 16, 32, 64)
#: Standard deviation and radius of the Gaussian window of SSIM and MS-SSIM (11 × 11 samples), and their constants.
SIGMA, RADIUS, K1, K2 = 1.5, 5, 0.01, 0.03
#: Exponents of the five scales of MS-SSIM (Wang et al. 2003), finest first.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: Smallest side for MS-SSIM: at the coarsest scale (side // 16) the window still fits.
MS_SSIM_SIDE = 2 ** (len(WEIGHTS) - 1) * (2 * RADIUS + 1)


def _clipped(case: Comparison) -> tuple[np.ndarray, np.ndarray, float]:
    """Valid samples of both images, clipped, and the width of the clip range in dB."""
    low, high = case.clip
    return np.clip(case.reference.db[case.valid], low, high), np.clip(case.db[case.valid], low, high), high - low


def _psnr(difference: np.ndarray, peak: float) -> float:
    error = float(np.mean(np.square(difference)))
    if error == 0:
        raise UndefinedMetric("the images are equal inside the clip range: PSNR is infinite")
    return 10 * np.log10(peak**2 / error)


@scalar
def psnr(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """Peak signal-to-noise ratio 20·log10(W / RMSE) of dB data, both images clipped to `clip`, whose width W is the peak.

    It is undefined (infinite) for equal images.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    clip : (low, high)
        In dB.

    References: ISO/IEC 29170-1:2017 (PSNR); the clip range is this project's convention, recorded in every row.
    """
    return psnr_db(Comparison(reference_db, test_db, clip=checked_clip(clip)))


def psnr_db(case: Comparison) -> float:
    """Peak signal-to-noise ratio of clipped dB data, 20·log10(W / RMSE)."""
    reference, test, width = _clipped(case)
    return _psnr(reference - test, width)


def _linear_psnr(case: Comparison, exponent: float) -> float:
    low, high = case.clip
    reference, test, _ = _clipped(case)
    # relative to the upper edge of the range: no overflow whatever the calibration of the product
    reference, test, floor = (
        np.exp((values - high) * (exponent / DB_PER_NEPER)) for values in (reference, test, np.float64(low))
    )
    return _psnr(reference - test, 1 - floor)


def psnr_amplitude(case: Comparison) -> float:
    """PSNR of clipped amplitude √I; the peak is the width of the clip range in amplitude.

    Bright samples weigh more than in dB, so the same file has another PSNR.
    """
    return _linear_psnr(case, 0.5)


def psnr_intensity(case: Comparison) -> float:
    """PSNR of clipped linear intensity; the peak is the width of the clip range in intensity."""
    return _linear_psnr(case, 1.0)


def _error(case: Comparison) -> np.ndarray:
    """Unclipped errors of the valid samples in dB."""
    reference, test = case.reference.db[case.valid], case.db[case.valid]
    require_finite(reference, test)
    return reference - test


def rmse_db(case: Comparison) -> float:
    """Root mean squared error in dB, unclipped."""
    return np.sqrt(np.mean(np.square(_error(case))))


def rmse_clipped_db(case: Comparison) -> float:
    """Root mean squared error in dB of clipped values: W·10^(−PSNR/20)."""
    reference, test, _ = _clipped(case)
    return np.sqrt(np.mean(np.square(reference - test)))


def peak_error_db(case: Comparison) -> float:
    """Largest absolute error in dB, unclipped."""
    return np.abs(_error(case)).max()


def max_relative_error(case: Comparison) -> float:
    """Largest |Î − I| / I of linear intensity over samples with I > 0.

    An error of ±e dB is a relative error of 10^(e/10) − 1 upwards and 1 − 10^(−e/10) downwards.
    """
    positive = case.valid & (case.reference.db > -np.inf)
    if not positive.any():
        raise UndefinedMetric("no sample of the reference is above zero")
    return np.abs(np.expm1((case.db[positive] - case.reference.db[positive]) / DB_PER_NEPER)).max()


def ssim(case: Comparison) -> float:
    """Structural similarity of clipped dB data: Gaussian 11×11 window (σ = 1.5), K = (0.01, 0.03), data range W.

    It is averaged over the windows that lie inside the image and hold no invalid sample; undefined if there are none.

    References: Wang, Bovik, Sheikh & Simoncelli, IEEE Trans. Image Process. 13(4), 2004.
    """
    from skimage.metrics import structural_similarity

    low, high = case.clip
    if min(case.valid.shape) < 2 * RADIUS + 1:
        raise UndefinedMetric(f"a side is below {2 * RADIUS + 1} samples, the window of SSIM")
    inside = eroded(case.valid, RADIUS)
    if not inside.any():
        raise UndefinedMetric("no 11×11 window is free of invalid samples")
    x, y = (fill_invalid(np.clip(image, low, high), case.valid) for image in (case.reference.db, case.db))
    _, local = structural_similarity(
        x, y, data_range=high - low, gaussian_weights=True, sigma=SIGMA, use_sample_covariance=False, full=True
    )
    return local[inside].mean()


def ms_ssim(case: Comparison) -> float:
    """Multi-scale structural similarity of clipped dB data: five scales, Gaussian 11×11 window, data range W; in [0, 1].

    Both sides must have 176 samples at least. Invalid samples are filled alike in both images, which raises the score a
    little; above 1 % of them it is undefined. Negative means of a scale count as 0.

    References: Wang, Simoncelli & Bovik, Asilomar Conference on Signals, Systems and Computers, 2003.
    """
    low, high = case.clip
    if min(case.valid.shape) < MS_SSIM_SIDE:
        raise UndefinedMetric(f"a side is below {MS_SSIM_SIDE} samples: five scales do not fit")
    if case.valid.mean() < 0.99:
        raise UndefinedMetric("more than 1 % of the samples are invalid")
    x, y = (
        (fill_invalid(np.clip(image, low, high), case.valid) - low) / (high - low)
        for image in (case.reference.db, case.db)
    )
    found = 1.0
    for scale, weight in enumerate(WEIGHTS, start=1):
        similarity, contrast = _one_scale(x, y)
        found *= max(similarity if scale == len(WEIGHTS) else contrast, 0.0) ** weight
        x, y = multilook(x, 2), multilook(y, 2)
    return found


def _one_scale(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean structural similarity of images in [0, 1], and mean of its contrast-structure term without the border."""
    from scipy.ndimage import gaussian_filter

    def smooth(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, SIGMA, mode="mirror", radius=RADIUS)

    mean_x, mean_y = smooth(x), smooth(y)
    variance_x = np.maximum(smooth(x * x) - mean_x**2, 0)
    variance_y = np.maximum(smooth(y * y) - mean_y**2, 0)
    covariance = smooth(x * y) - mean_x * mean_y
    contrast = (2 * covariance + K2**2) / (variance_x + variance_y + K2**2)
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    inside = slice(RADIUS, -RADIUS)
    return float((luminance * contrast).mean()), float(contrast[inside, inside].mean())


class ScaleError(NamedTuple):
    """RMSE and mean error, both in dB, of k×k means of linear intensity."""

    rmse: float
    bias: float


def multilook(intensity: np.ndarray, side: int) -> np.ndarray:
    """Average `side`×`side` blocks of linear intensity over valid samples; NaN where fewer than half are valid.

    Rows and columns beyond the last whole block are left out: shape (height // side, width // side).
    """
    rows, columns = intensity.shape[0] // side, intensity.shape[1] // side
    blocks = intensity[: rows * side, : columns * side].reshape(rows, side, columns, side)
    valid = ~np.isnan(blocks)
    if valid.all():
        return blocks.mean(axis=(1, 3))
    count = valid.sum(axis=(1, 3))
    with np.errstate(all="ignore"):
        return np.where(2 * count >= side**2, np.where(valid, blocks, 0).sum(axis=(1, 3)) / count, np.nan)


@once
def error_at_scale(case: Comparison, side: int) -> ScaleError:
    """RMSE and mean error in dB after multilooking both images: what remains once users average before use.

    Where the RMSE no longer falls with the side, the rest is bias and its variation over the scene.
    """
    if min(case.valid.shape) < side:
        raise UndefinedMetric(f"no {side}×{side} block fits into the image")
    before, after = multilook(case.reference.intensity, side), multilook(case.intensity, side)
    held = ~np.isnan(before)
    if not held.any():
        raise UndefinedMetric(f"no {side}×{side} block is half valid")
    if (before[held] <= 0).any() or (after[held] <= 0).any():
        raise UndefinedMetric(f"the mean of a {side}×{side} block is zero: it has no dB value")
    difference = DB_PER_NEPER * np.log(after[held] / before[held])
    return ScaleError(np.sqrt(np.mean(difference**2)), difference.mean())


for _side in SCALES:
    _means, _clean = f"{_side}×{_side} means", f"rmse_clean_k{_side}_db" if _side > 1 else ""
    _scale = partial(define, unit="dB", source="definition (multilooking)", group="aggregation")
    _scale = partial(_scale, domain=f"intensity, {_means}, then dB")
    _rmse = _scale(f"rmse_k{_side}_db", f"RMSE of {_means}", better="lower", clean=_clean)
    _rmse(lambda case, side=_side: error_at_scale(case, side).rmse)
    _bias = _scale(f"bias_k{_side}_db", f"Mean error of {_means}", better="zero", valid_range=(-np.inf, np.inf))
    _bias(lambda case, side=_side: error_at_scale(case, side).bias)

_CLIPPED, _POSITIVE, _ISO = "dB of intensity, clipped", (0, np.inf), "ISO/IEC 29170-1"
for _compute, _label, _unit, _better, _domain, _range, _source, _clean in (
    (psnr_db, "PSNR", "dB", "higher", _CLIPPED, _POSITIVE, _ISO, "psnr_clean_db"),
    (psnr_amplitude, "PSNR (amplitude)", "dB", "higher", "amplitude, clipped", _POSITIVE, _ISO, "psnr_amplitude_clean"),
    (psnr_intensity, "PSNR (intensity)", "dB", "higher", "intensity, clipped", _POSITIVE, _ISO, "psnr_intensity_clean"),
    (rmse_db, "RMSE", "dB", "lower", "dB of intensity", _POSITIVE, "definition", "rmse_clean_db"),
    (rmse_clipped_db, "RMSE (clipped)", "dB", "lower", _CLIPPED, _POSITIVE, "definition", "rmse_clipped_clean_db"),
    (peak_error_db, "Peak error", "dB", "lower", "dB of intensity", _POSITIVE, "definition", ""),
    (max_relative_error, "Max. relative error", "1", "lower", "intensity", _POSITIVE, "definition", ""),
    (ssim, "SSIM", "1", "higher", _CLIPPED, (-1, 1), "Wang et al. 2004", "ssim_clean"),
    (ms_ssim, "MS-SSIM", "1", "higher", _CLIPPED, (0, 1), "Wang et al. 2003", "ms_ssim_clean"),
):
    _define = define(
        _compute.__name__, _label, _unit, _better, _domain, _source, clean=_clean, valid_range=_range, group="fidelity"
    )
    _define(_compute)


def _complex_pair(reference: Any, test: Any) -> tuple[np.ndarray, np.ndarray]:
    """Valid samples of two complex images as one-dimensional complex128 arrays."""
    z, z_hat = np.asarray(reference), np.asarray(test)
    if z.ndim != 2 or z.size == 0 or z.shape != z_hat.shape:
        raise MetricError(f"complex images must be two-dimensional and of one shape, not {z.shape} and {z_hat.shape}")
    valid = ~np.isnan(z)
    if not valid.any():
        raise UndefinedMetric("the reference has no valid sample")
    z, z_hat = z[valid].astype(np.complex128), z_hat[valid].astype(np.complex128)
    missing = int(np.isnan(z_hat).sum())
    if missing:
        raise UndefinedMetric(f"the test image has no value at {missing} samples where the reference has one")
    return z, z_hat


def _energy(z: np.ndarray) -> float:
    return float((z.real**2 + z.imag**2).sum())


@scalar
def sqnr(reference: Any, test: Any) -> float:
    """Signal-to-quantization-noise ratio of complex data, 10·log10(Σ|z|² / Σ|z − ẑ|²) in dB; in (−∞, ∞).

    Images have the shape (height, width), here and in the next functions; NaN = nodata.

    References: Kwok & Johnson, IEEE Trans. Geosci. Remote Sens. 27(4), 1989 (block adaptive quantization of SAR data).
    """
    z, z_hat = _complex_pair(reference, test)
    signal, noise = _energy(z), _energy(z - z_hat)
    if signal == 0:
        raise UndefinedMetric("the reference is zero everywhere")
    if noise == 0:
        raise UndefinedMetric("the images are equal: SQNR is infinite")
    return 10 * np.log10(signal / noise)


@scalar
def coherence(reference: Any, test: Any) -> float:
    """Coherence |Σ z ẑ*| / √(Σ|z|² Σ|ẑ|²) of complex data; in [0, 1], blind to a common complex factor.

    References: Bamler & Hartl, Inverse Problems 14(4), 1998.
    """
    z, z_hat = _complex_pair(reference, test)
    norm = np.sqrt(_energy(z) * _energy(z_hat))
    if norm == 0:
        raise UndefinedMetric("an image is zero everywhere")
    return min(np.abs(np.vdot(z_hat, z)) / norm, 1.0)


@scalar
def phase_rmse(reference: Any, test: Any) -> float:
    """Amplitude-weighted RMS phase error √(Σ|z|·Δφ² / Σ|z|) of complex data, in radians; in [0, π].

    Δφ = arg(ẑ z*) in (−π, π]. A reconstruction of zero has no phase; it counts like a uniform phase, π/√3.
    """
    z, z_hat = _complex_pair(reference, test)
    weight = np.abs(z)
    if weight.sum() == 0:
        raise UndefinedMetric("the reference is zero everywhere")
    error = np.where(z_hat == 0, np.pi / np.sqrt(3), np.angle(z_hat * z.conj()))
    return np.sqrt((weight * error**2).sum() / weight.sum())
