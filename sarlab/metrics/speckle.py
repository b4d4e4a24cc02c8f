"""The speckle of a scene, and an independent redraw of it: what a metric scores when only the speckle is new.

An edge measure means little without its noise floor. The floor is the score of another acquisition of the same ground:
the reflectivity (known in simulation, else estimated) times newly drawn speckle of the same looks and correlation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaincinv, ndtr

from sarlab.metrics.base import DB_PER_NEPER, UndefinedMetric, fill_invalid
from sarlab.metrics.comparison import Comparison, Reference
from sarlab.metrics.looks import scene_looks, scene_windows
from sarlab.metrics.spectrum import window_autocorrelation


class Speckle(NamedTuple):
    """Looks, and the autocorrelation of dB values over homogeneous windows, 1 at its centre (lags −4…4)."""

    looks: float
    autocorrelation: np.ndarray

    @property
    def area(self) -> float:
        """Samples that share one independent value: the sum of the autocorrelation, at least 1."""
        return max(1.0, float(self.autocorrelation.sum()))


def scene_speckle(reference: Reference) -> Speckle:
    """Looks (nominal or measured) and correlation of a scene's speckle. For `Reference.once`.

    Without a homogeneous window the speckle counts as white.
    """
    looks = reference.once(scene_looks)
    try:
        correlation = window_autocorrelation(reference.db, reference.once(scene_windows))
    except UndefinedMetric:
        correlation = np.zeros((9, 9))
        correlation[4, 4] = 1.0
    return Speckle(looks, correlation)


def draw_speckle(shape: tuple[int, int], speckle: Speckle, generator: np.random.Generator) -> np.ndarray:
    """Draw unit-mean gamma speckle of given looks and correlation, as factors of linear intensity.

    White Gaussian noise is filtered to the correlation and mapped to the gamma law by its rank (Gaussian copula), so
    the looks are exact and the correlation that of dB values nearly so.

    Parameters
    ----------
    shape : (height, width)
    speckle : Speckle
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (height, width)
    """
    noise = generator.standard_normal(shape)
    lags = speckle.autocorrelation.shape[0] // 2
    if speckle.area > 1 and min(shape) > 2 * lags:
        # tapered to zero at the largest lag: the transform of a cut autocorrelation would dip below zero
        taper = np.hanning(2 * lags + 3)[1:-1]
        kernel = np.zeros(shape)
        offsets = np.arange(-lags, lags + 1)
        kernel[np.ix_(offsets, offsets)] = speckle.autocorrelation * np.sqrt(np.outer(taper, taper))
        power = np.maximum(np.fft.rfft2(kernel).real, 0)
        noise = np.fft.irfft2(np.fft.rfft2(noise) * np.sqrt(power), shape)
        noise /= noise.std()
    # a table of the quantile function: exact enough, and a hundred times faster than one call per sample
    grid = np.linspace(-6, 6, 2049)
    quantiles = gammaincinv(speckle.looks, ndtr(grid)) / speckle.looks
    return np.interp(noise, grid, quantiles)


def lee_filter(intensity: np.ndarray, valid: np.ndarray, looks: float, *, side: int = 7) -> np.ndarray:
    """Estimate the reflectivity: local linear minimum-mean-square-error filter of linear intensity.

    References
    ----------
    Lee, IEEE Trans. Pattern Anal. Mach. Intell. 2(2), 1980.
    """
    from scipy.ndimage import uniform_filter

    filled = fill_invalid(intensity, valid)
    mean = uniform_filter(filled, side, mode="reflect")
    variance = np.maximum(uniform_filter(filled**2, side, mode="reflect") - mean**2, 0)
    with np.errstate(all="ignore"):
        texture = np.maximum(variance - mean**2 / looks, 0) / (1 + 1 / looks)
        gain = np.where(variance > 0, texture / variance, 0.0)
    return mean + gain * (filled - mean)


def redraw(reference: Reference) -> Comparison:
    """Another acquisition of the same ground, as if it were a reconstruction. For `Reference.once`.

    Reflectivity: the clean scene where it is known; else the Lee estimate, which keeps some of the recorded speckle at
    edges, so that the floor is an estimate, slightly too high. Speckle: drawn from the reference's seed.
    """
    speckle = reference.once(scene_speckle)
    if reference.clean_db is not None:
        ground = np.where(np.isnan(reference.clean_db), reference.db, reference.clean_db)
    else:
        with np.errstate(all="ignore"):
            ground = DB_PER_NEPER * np.log(lee_filter(reference.intensity, reference.valid, speckle.looks))
    factors = draw_speckle(reference.db.shape, speckle, np.random.default_rng(reference.seed))
    with np.errstate(all="ignore"):
        drawn: Any = ground + DB_PER_NEPER * np.log(factors)
    return Comparison(reference, np.where(reference.valid, drawn, np.nan))
