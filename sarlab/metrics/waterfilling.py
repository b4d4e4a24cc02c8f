"""Rate-distortion curves of a Gaussian process with the measured power spectrum: reverse water-filling.

What it says: a Gaussian source of this spectrum cannot be coded with fewer bits at this squared error, and any source of
this spectrum can be coded with at most as many, in principle. A codec above the line has work left. What it does not say:
images are neither Gaussian nor stationary, so a codec may go *below* it. The mean of each window is not counted.

With an ideal entropy-coded *scalar* quantizer behind an ideal transform the line lies higher, by 0.254 bit at high rate:
the scalar ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from sarlab.errors import MetricError
from sarlab.metrics.base import checked_clip, raster
from sarlab.metrics.spectrum import WELCH_SIZE, welch_spectrum

#: Rate that an ideal entropy-coded uniform quantizer loses at high rate: ½·log2(πe/6) bit.
SPACE_FILLING_LOSS = 0.5 * np.log2(np.pi * np.e / 6)


class Curve(NamedTuple):
    """A rate-distortion curve, rate ascending.

    Attributes
    ----------
    bpp : ndarray
        Rate in bit per sample, pooled over samples.
    psnr_db : ndarray
        PSNR in dB of the pooled squared error.
    mse : ndarray
        Pooled squared error in dB².
    """

    bpp: np.ndarray
    psnr_db: np.ndarray
    mse: np.ndarray

    def rate_at(self, psnr_db: Any) -> np.ndarray:
        """Rate at given PSNR values by linear interpolation; NaN outside the curve."""
        return np.interp(psnr_db, self.psnr_db, self.bpp, left=np.nan, right=np.nan)

    def psnr_at(self, bpp: Any) -> np.ndarray:
        """PSNR at given rates by linear interpolation; NaN outside the curve."""
        return np.interp(bpp, self.bpp, self.psnr_db, left=np.nan, right=np.nan)


def reverse_water_filling(variances: Any, mse: Any, *, weights: Any = None) -> np.ndarray:
    """Rate of independent Gaussian components at a mean squared error: R = Σ w·max(0, ½·log2(σ²/θ)).

    Parameters
    ----------
    variances : array_like
        Power of each component, ≥ 0; any shape.
    mse : array_like
        Mean squared errors Σ w·min(σ², θ), above 0; any shape.
    weights : array_like, optional
        Share of each component, same shape as `variances`; default equal shares.

    Returns
    -------
    ndarray, shape of `mse`
        Bit per component on (weighted) average; 0 where the error is the whole power. Exact, not interpolated.

    References
    ----------
    Cover & Thomas, Elements of Information Theory, 2006, theorem 10.3.3.
    """
    level, above, logs = _water_level(variances, mse, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(above > 0, np.maximum(0.5 * (logs - above * np.log2(level)), 0.0), 0.0)


def water_level(variances: Any, mse: Any, *, weights: Any = None) -> np.ndarray:
    """Level θ at which Σ w·min(σ², θ) is `mse`; the largest variance where the error is all of the power.

    Parameters
    ----------
    variances, mse, weights
        As in `reverse_water_filling`.
    """
    return _water_level(variances, mse, weights)[0]


def _water_level(variances: Any, mse: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level, weight of the components above it, and their weighted sum of log2 variances."""
    power = np.asarray(variances, np.float64).ravel()
    mse = np.asarray(mse, np.float64)
    if not power.size or not np.isfinite(power).all() or (power < 0).any():
        raise MetricError("variances must be finite, not negative, and at least one")
    if not (np.isfinite(mse).all() and (mse > 0).all()):
        raise MetricError("the mean squared error must be above zero")
    share = np.full(power.size, 1 / power.size) if weights is None else np.asarray(weights, np.float64).ravel()
    if share.size != power.size or (share < 0).any() or share.sum() <= 0:
        raise MetricError("weights must be as many as variances, not negative, and not all zero")
    share = share / share.sum()
    order = np.argsort(power)
    power, share = power[order], share[order]
    # error when the level is the k-th variance: all below it whole, all from it on at the level
    below = np.concatenate([[0.0], np.cumsum(share * power)])
    above = np.concatenate([np.cumsum(share[::-1])[::-1], [0.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(share > 0, share * np.log2(power), 0.0)
    logs_above = np.concatenate([np.cumsum(logs[::-1])[::-1], [0.0]])
    at_variance = below[:-1] + above[:-1] * power
    k = np.searchsorted(at_variance, mse, side="right")
    whole = k >= power.size
    k = np.minimum(k, power.size - 1)
    level = np.where(whole, power[-1], (mse - below[k]) / above[k])
    return level, np.where(whole, 0.0, above[k]), np.where(whole, 0.0, logs_above[k])


class Quantizer(NamedTuple):
    """Best entropy-coded scalar quantizers of a unit Gaussian: slope −dD/dR per bit, rate in bit, distortion."""

    slope: np.ndarray
    rate: np.ndarray
    distortion: np.ndarray


def dead_zone_quantizer(step: float, zone: float) -> tuple[float, float]:
    """Entropy in bit and distortion of a uniform quantizer of a unit Gaussian with centroids.

    Parameters
    ----------
    step : float
        Width of the cells.
    zone : float
        Half the width of the cell at zero, in steps: 0.5 for the plain uniform quantizer.
    """
    edges = step * zone + step * np.arange(int(9 / step) + 2)
    edges = np.concatenate([[-edges[0]], edges, [np.inf]])
    # tails of the complement: differences of the distribution function itself lose their digits there
    mass = ndtr(-edges[:-1]) - ndtr(-edges[1:])
    density = np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    moment = density[:-1] - density[1:]
    sides = np.where(np.arange(mass.size) == 0, 1, 2)
    used = mass > 1e-15
    mass, moment, sides = mass[used], moment[used], sides[used]
    return float(-(sides * mass * np.log2(mass)).sum()), float(1 - (sides * moment**2 / mass).sum())


@lru_cache(maxsize=1)
def gaussian_scalar_quantizer() -> Quantizer:
    """Lower convex hull of (rate, distortion) of dead-zone quantizers of a unit Gaussian, by slope.

    Entropy-constrained Lloyd quantizers gain less than 0.001 bit on it.

    References
    ----------
    Sullivan, IEEE Trans. Inf. Theory 42(5), 1996.
    """
    points = [(0.0, 1.0)]
    points += [
        dead_zone_quantizer(step, zone) for step in np.geomspace(0.08, 6, 140) for zone in np.arange(0.5, 1.45, 0.05)
    ]
    hull: list[np.ndarray] = []
    for point in np.array(sorted(points)):
        while len(hull) > 1 and _turns_up(hull[-2], hull[-1], point):
            hull.pop()
        if not hull or point[1] < hull[-1][1]:
            hull.append(point)
    rate, distortion = np.array(hull).T
    slopes = -np.diff(distortion) / np.diff(rate)
    # a slope belongs to a chord: give the points the mean of both sides, the first and last their only one
    middle = np.sqrt(slopes[1:] * slopes[:-1])
    return Quantizer(np.concatenate([[slopes[0]], middle, [slopes[-1]]]), rate, distortion)


def _turns_up(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    """Whether b lies on or above the chord from a to c."""
    return bool((b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0]))


def scalar_quantization(variances: np.ndarray, slope: float, weights: np.ndarray) -> tuple[float, float]:
    """Rate and squared error of Gaussian components behind ideal scalar quantizers of one slope −dD/dR.

    Parameters
    ----------
    variances, weights : ndarray, one-dimensional
        Weights sum to 1.
    slope : float
        Squared error that one more bit must save.

    Returns
    -------
    rate, mse : float
        Bit per component, weighted mean squared error.
    """
    table = gaussian_scalar_quantizer()
    with np.errstate(divide="ignore"):
        relative = slope / variances
    # the table's slopes fall with its rates; beyond it the uniform quantizer's own law holds
    position = np.log(np.clip(relative, table.slope[-1], table.slope[0]))
    rate = np.interp(position, np.log(table.slope[::-1]), table.rate[::-1])
    distortion = np.interp(position, np.log(table.slope[::-1]), table.distortion[::-1])
    off = relative > table.slope[0]
    fine = relative < table.slope[-1]
    fine_distortion = np.where(fine, relative, 1.0) / (2 * np.log(2))
    rate = np.where(off, 0.0, np.where(fine, SPACE_FILLING_LOSS - 0.5 * np.log2(fine_distortion), rate))
    distortion = np.where(off, 1.0, np.where(fine, fine_distortion, distortion))
    return float((weights * rate).sum()), float((weights * variances * distortion).sum())


def _spectra(scenes: Any, clip: tuple[float, float], size: int) -> tuple[list[np.ndarray], list[int]]:
    low, high = clip
    images = [scenes] if getattr(scenes, "ndim", 0) == 2 else list(scenes)
    if not images:
        raise MetricError("reverse water-filling needs at least one scene")
    rasters = [raster(image, "scene") for image in images]
    spectra = [welch_spectrum(np.clip(image, low, high), size=size) for image in rasters]
    return spectra, [int(np.count_nonzero(~np.isnan(image))) for image in rasters]


def water_filling_curve(
    scenes_db: Any,
    *,
    clip: tuple[float, float],
    psnr_db: Sequence[float] | None = None,
    scalar: bool = False,
    size: int = WELCH_SIZE,
) -> Curve:
    """Curve of a scene, or pooled over scenes at one θ, on their power spectra; PSNR against the clip width.

    Parameters
    ----------
    scenes_db : array_like of shape (height, width), or sequence of them
        Intensity in dB, NaN = nodata. The spectrum is that of the clipped values, which PSNR judges. Scenes weigh by
        their valid samples.
    clip : (low, high)
        In dB; W = high − low is the peak of PSNR.
    psnr_db : sequence of float, optional
        Values to give the rate at; default 121 between the PSNR of the mean alone and 60 dB.
    scalar : bool
        Ideal entropy-coded scalar quantization in the place of the Gaussian rate-distortion function.
    size : int
        Side of the Welch windows.

    Returns
    -------
    Curve
        Rate ascending. A PSNR below that of the mean alone has rate 0.

    Raises
    ------
    UndefinedMetric
        A scene has no window of valid samples.

    References
    ----------
    Cover & Thomas 2006, theorem 10.3.3; Gish & Pierce, IEEE Trans. Inf. Theory 14(5), 1968 (the 0.254 bit).
    """
    low, high = checked_clip(clip)
    spectra, samples = _spectra(scenes_db, (low, high), size)
    power = np.concatenate([spectrum.ravel() for spectrum in spectra])
    share = np.concatenate([np.full(s.size, n / s.size) for s, n in zip(spectra, samples, strict=True)])
    share = share / share.sum()
    whole = float((share * power).sum())
    if psnr_db is None:
        lowest = 10 * np.log10((high - low) ** 2 / whole) if whole > 0 else 30.0
        psnr = np.linspace(min(lowest, 59.0), 60, 121)
    else:
        psnr = np.sort(np.asarray(psnr_db, np.float64))
    mse = (high - low) ** 2 * 10 ** (-psnr / 10)
    if not scalar:
        return Curve(reverse_water_filling(power, mse, weights=share), psnr, mse)
    slopes = np.geomspace(max(mse.min(), 1e-12) * 0.5, max(power.max(), mse.max()) * 16, 600)
    rates, errors = np.array([scalar_quantization(power, slope, share) for slope in slopes]).T
    rate = np.interp(np.log(mse), np.log(np.maximum.accumulate(errors)), rates)
    return Curve(np.where(mse >= whole, 0.0, rate), psnr, mse)
