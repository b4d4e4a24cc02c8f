"""The speckle of a scene: an independent redraw of it, and the ratio image as a test for pure speckle.

An edge measure means little without its noise floor, the score of another acquisition of the same ground: the reflectivity
(known in simulation, otherwise estimated) times newly drawn speckle of the same looks and correlation.

The ratio image I / Î is a despeckling test only. A linear-mean estimate of the reflectivity leaves pure speckle: mean 1,
variance 1/L. An output that minimizes the squared error in dB has mean L·e^(−ψ(L)) (1.78 at L = 1, 1.125 at 4.4). At high
rate the reconstruction approaches the recorded image and the variance goes to 0: that measures only how close the copy is.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv, ndtr

from sarlab.metrics.columns import (
    DB_PER_NEPER,
    Comparison,
    Reference,
    UndefinedMetric,
    define,
    fill_invalid,
    once,
    to_intensity,
)
from sarlab.metrics.looks import scene_looks, scene_window_looks, scene_windows, window_looks
from sarlab.metrics.spectra import LAGS, scene_autocorrelation, spectral_flatness, welch_spectrum

#: Gray levels of the co-occurrence matrix, over ratios from 0 to `GRAY_TOP`.
GRAY_LEVELS, GRAY_TOP = 32, 4.0


class Speckle(NamedTuple):
    """Number of looks, and the autocorrelation of dB values over homogeneous windows (lags −4 … 4, 1 at the center)."""

    looks: float
    autocorrelation: np.ndarray

    @property
    def area(self) -> float:
        """Samples per independent value: the sum of the autocorrelation, at least 1."""
        return max(1.0, float(self.autocorrelation.sum()))


@once
def scene_speckle(reference: Reference) -> Speckle:
    """Looks (nominal or measured) and correlation of a scene's speckle; white if no window is homogeneous."""
    looks = scene_looks(reference)
    try:
        correlation = scene_autocorrelation(reference)
    except UndefinedMetric:
        correlation = np.zeros((2 * LAGS + 1, 2 * LAGS + 1))
        correlation[LAGS, LAGS] = 1.0
    return Speckle(looks, correlation)


def draw_speckle(shape: tuple[int, int], speckle: Speckle, generator: np.random.Generator) -> np.ndarray:
    """Draw unit-mean gamma speckle of given looks and correlation, as factors of linear intensity.

    White Gaussian noise is filtered to the correlation and mapped to the gamma distribution by rank (Gaussian copula):
    the looks are exact, the correlation of dB values nearly so.
    """
    noise = generator.standard_normal(shape)
    if speckle.area > 1 and min(shape) > 2 * LAGS:
        # tapered to zero at the largest lag: the transform of a truncated autocorrelation would be negative in places
        taper = np.hanning(2 * LAGS + 3)[1:-1]
        kernel = np.zeros(shape)
        offsets = np.arange(-LAGS, LAGS + 1)
        kernel[np.ix_(offsets, offsets)] = speckle.autocorrelation * np.sqrt(np.outer(taper, taper))
        power = np.maximum(np.fft.rfft2(kernel).real, 0)
        noise = np.fft.irfft2(np.fft.rfft2(noise) * np.sqrt(power), shape)
        noise /= noise.std()
    # a table of the quantile function: exact enough, and a hundred times faster than one call per sample
    grid = np.linspace(-6, 6, 2049)
    quantiles = gammaincinv(speckle.looks, ndtr(grid)) / speckle.looks
    return np.interp(noise, grid, quantiles)


def lee_filter(intensity: np.ndarray, valid: np.ndarray, looks: float) -> np.ndarray:
    """Estimate the reflectivity: local linear minimum-mean-square-error filter of linear intensity over 7×7 samples.

    References: Lee, IEEE Trans. Pattern Anal. Mach. Intell. 2(2), 1980.
    """
    from scipy.ndimage import uniform_filter

    filled = fill_invalid(intensity, valid)
    mean = uniform_filter(filled, 7, mode="reflect")
    variance = np.maximum(uniform_filter(filled**2, 7, mode="reflect") - mean**2, 0)
    with np.errstate(all="ignore"):
        texture = np.maximum(variance - mean**2 / looks, 0) / (1 + 1 / looks)
        gain = np.where(variance > 0, texture / variance, 0.0)
    return mean + gain * (filled - mean)


@once
def redraw(reference: Reference) -> Comparison:
    """Simulate another acquisition of the same ground and compare it as if it were a reconstruction.

    Reflectivity: the clean scene if it is known; otherwise the Lee estimate, which keeps some of the recorded speckle at
    edges, so that the noise floor is slightly too high. Speckle: drawn from the reference's seed.
    """
    speckle = scene_speckle(reference)
    with np.errstate(all="ignore"):
        if reference.clean_db is not None:
            ground = np.where(np.isnan(reference.clean_db), reference.db, reference.clean_db)
        else:
            ground = DB_PER_NEPER * np.log(lee_filter(reference.intensity, reference.valid, speckle.looks))
        factors = draw_speckle(reference.db.shape, speckle, np.random.default_rng(reference.seed))
        drawn = ground + DB_PER_NEPER * np.log(factors)
    return Comparison(reference, np.where(reference.valid, drawn, np.nan))


@once
def ratio_image(case: Comparison) -> np.ndarray:
    """I / Î of linear intensity, shape (height, width); NaN where there is no sample or Î is zero."""
    with np.errstate(all="ignore"):
        ratio = to_intensity(case.reference.db - case.db)
    ratio = np.where(np.isfinite(ratio), ratio, np.nan)
    if np.isnan(ratio).all():
        raise UndefinedMetric("the reconstruction is zero everywhere")
    return ratio


def cooccurrence(levels: np.ndarray, valid: np.ndarray, count: int) -> np.ndarray:
    """Co-occurrence matrix of right and lower neighbors, symmetric, shape (count, count); its elements sum to 1.

    `levels` are integers from 0 to `count` − 1; pairs with an invalid sample do not count.
    """
    from skimage.feature import graycomatrix

    # level 0 is given to the invalid samples, and its row and column are dropped
    marked = np.where(valid, levels + 1, 0).astype(np.uint8)
    pairs = graycomatrix(marked, [1], [0, np.pi / 2], count + 1, symmetric=True)[1:, 1:, 0].sum(axis=2)
    if not pairs.sum():
        raise UndefinedMetric("no two valid neighbors")
    return pairs / pairs.sum()


def texture(matrix: np.ndarray, feature: str) -> float:
    """Feature of a co-occurrence matrix by its name in scikit-image: contrast, homogeneity, energy, correlation …

    References: Haralick, Shanmugam & Dinstein, IEEE Trans. Syst. Man Cybern. 3(6), 1973.
    """
    from skimage.feature import graycoprops

    return float(graycoprops(matrix[..., None, None], feature)[0, 0])


def structure_percent(ratio: np.ndarray) -> float:
    """Structure left in a ratio image, in percent: 100·|h₀ − h̄| / h₀.

    h₀ is its homogeneity, h̄ the mean over all shuffles of its samples, whose neighbors are independent.
    """
    valid = ~np.isnan(ratio)
    levels = np.zeros(ratio.shape, np.int64)
    levels[valid] = np.clip(ratio[valid] * (GRAY_LEVELS / GRAY_TOP), 0, GRAY_LEVELS - 1).astype(np.int64)
    before = texture(cooccurrence(levels, valid, GRAY_LEVELS), "homogeneity")
    share = np.bincount(levels[valid], minlength=GRAY_LEVELS) / valid.sum()
    return 100 * abs(before - texture(np.outer(share, share), "homogeneity")) / before


_ratio = partial(define, unit="1", domain="intensity", source="Gómez, Ospina & Frery 2017", group="ratio")


@_ratio("ratio_mean", "Mean of the ratio image", better="one")
def ratio_mean(case: Comparison) -> float:
    """Mean of the ratio image I / Î over all valid samples."""
    return np.nanmean(ratio_image(case))


@_ratio("ratio_variance", "Variance of the ratio image", better="zero")
def ratio_variance(case: Comparison) -> float:
    """Variance of the ratio image I / Î over all valid samples."""
    return np.nanvar(ratio_image(case))


@_ratio(
    "ratio_whiteness", "Whiteness of the ratio image", better="one", source="Gray & Markel 1974", valid_range=(0, 1)
)
def ratio_whiteness(case: Comparison) -> float:
    """Spectral flatness of the ratio image I / Î; 1 = white. Correlated speckle is not white itself."""
    return spectral_flatness(welch_spectrum(ratio_image(case)))


@_ratio("m_index", "M-index", better="lower")
def m_index(case: Comparison) -> float:
    """M-index of a despeckled image, the deviation of the ratio image from pure speckle; 0 is ideal.

    First order, over homogeneous windows: the mean of ½(|ENL − ENL_ratio| / ENL + |1 − mean ratio|). Second order:
    `structure_percent` of the ratio image (32 gray levels over 0 … 4; the mean over shuffles in closed form). Correlated
    speckle has structure of its own: compare codecs on one scene, not scenes.

    References: Gómez, Ospina & Frery, Remote Sensing 9(4) 389, 2017.
    """
    ratio, windows = ratio_image(case), scene_windows(case.reference)
    looks, ratio_looks = scene_window_looks(case.reference).moments, window_looks(ratio, windows).moments
    means = np.array([ratio[window.slices].mean() for window in windows])
    residual = (np.abs(looks - ratio_looks) / looks + np.abs(1 - means)) / 2
    residual = residual[np.isfinite(residual)]
    if not residual.size:
        raise UndefinedMetric("the ratio image has no ENL in any homogeneous window: the images are equal there")
    return residual.mean() + structure_percent(ratio)
