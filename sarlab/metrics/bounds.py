"""Limits: the best that any codec, or any codec of a kind, can do, and the score of despeckling alone.

Speckle of L looks is a gamma factor of the intensity. In nepers (ln I) it has variance ψ′(L), in dB the standard deviation
4.343·√ψ′(L). The first functions are closed forms of that.

Reverse water-filling gives the rate-distortion curve of a Gaussian process with the measured power spectrum. Any source of
this spectrum can be coded with as few bits in principle, so a codec above the line can still improve. It is no lower bound:
images are neither Gaussian nor stationary, so a codec may be better. The means of the windows are not counted.
With an ideal entropy-coded *scalar* quantizer behind an ideal transform the line lies higher, by 0.254 bit at high rate.

Blahut-Arimoto computes the rate-distortion function of a discrete source.

References
----------
Blahut, IEEE Trans. Inf. Theory 18(4), 1972; Arimoto, ibid. 18(1).
Comon, Signal Processing 36(3), 1994 (negentropy).
Cover & Thomas, Elements of Information Theory, 2006.
Gish & Pierce, IEEE Trans. Inf. Theory 14(5), 1968 (the 0.254 bit).
Nicolas, Traitement du Signal 19(3), 2002.
Sullivan, IEEE Trans. Inf. Theory 42(5), 1996.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, ndtr, polygamma

from sarlab.errors import MetricError
from sarlab.metrics.columns import DB_PER_NEPER, checked_clip, pair, raster, require_finite
from sarlab.metrics.spectra import WELCH_SIZE, welch_spectrum

#: Rate that an ideal entropy-coded uniform quantizer loses at high rate: ½·log2(πe/6) bit.
SPACE_FILLING_LOSS = 0.5 * np.log2(np.pi * np.e / 6)


def _looks(looks: Any) -> np.ndarray:
    values = np.asarray(looks, np.float64)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise MetricError(f"looks must be positive, not {looks!r}")
    return values


def speckle_std(looks: Any) -> Any:
    """Standard deviation of L-look speckle in dB, 4.343·√ψ′(L): 5.57 / 2.31 / 2.19 dB for L = 1 / 4 / 4.4 [Nicolas 2002]."""
    return DB_PER_NEPER * np.sqrt(polygamma(1, _looks(looks)))


def speckle_floor(looks: Any, clip: tuple[float, float]) -> Any:
    """PSNR in dB of perfect despeckling against the recorded scene: 20·log10(W / σ_L), nothing clipped.

    Perfect means best in squared error of dB: the mean of the dB values. A codec with this PSNR may have kept all of the
    scene and none of its speckle, or less of one and more of the other. W is the width of the clip range in dB.
    """
    low, high = checked_clip(clip)
    return 20 * np.log10((high - low) / speckle_std(looks))


def bias_limit(looks: Any) -> Any:
    """Bias in dB of linear intensity to which minimizing the squared error in dB tends: 4.343·(ψ(L) − ln L).

    −2.51 dB at L = 1, −0.51 at 4.4 [Nicolas 2002]. It holds over resolved homogeneous areas at low rate; unresolved
    texture adds to it.
    """
    values = _looks(looks)
    return DB_PER_NEPER * (digamma(values) - np.log(values))


def speckle_entropy(looks: Any) -> Any:
    """Differential entropy of ln-speckle, h = ln Γ(L) − L·ψ(L) + L, in nats [Cover & Thomas 2006, ch. 8]."""
    values = _looks(looks)
    return gammaln(values) - values * digamma(values) + values


def speckle_negentropy(looks: Any) -> Any:
    """Entropy that log-speckle lacks compared to a Gaussian of its variance, J_L in bits [Comon 1994].

    0.131 / 0.032 / 0.029 bit for L = 1 / 4 / 4.4.
    """
    values = _looks(looks)
    return 0.5 * np.log2(2 * np.pi * np.e * polygamma(1, values)) - speckle_entropy(values) / np.log(2)


def shannon_lower_bound(rmse_db: Any, looks: Any) -> Any:
    """Least rate of white speckle given the scene: max(0, log2(σ_L / ε) − J_L) bits per sample at an RMSE of ε dB.

    For **simulated, white** speckle and unclipped dB only. An RMSE of 1 dB costs at least 2.35 bpp at L = 1 and 1.10 bpp
    at L = 4.4, whatever the codec, in addition to the scene itself. Resampled products have correlated speckle, for which
    this is no bound (`speckle_rate_estimate`) [Shannon 1959; Cover & Thomas 2006, problem 10.8].
    """
    error = np.asarray(rmse_db, np.float64)
    if not (error > 0).all():
        raise MetricError(f"the RMSE must be above zero, not {rmse_db!r}")
    return np.maximum(0.0, np.log2(speckle_std(looks) / error) - speckle_negentropy(looks))


def gaussian_upper_bound(rmse_db: Any, looks: Any) -> Any:
    """Rate max(0, log2(σ_L / ε)) of Gaussian noise of the variance of the speckle, under which a code of it exists.

    It is J_L above `shannon_lower_bound` (0.131 bit at one look), whose parameters and conditions it has.
    """
    return np.maximum(0.0, np.log2(speckle_std(looks) / np.asarray(rmse_db, np.float64)))


class RateCurve(NamedTuple):
    """A rate-distortion curve: bits per sample (ascending), PSNR in dB and squared error in dB², pooled over samples."""

    bpp: np.ndarray
    psnr_db: np.ndarray
    mse: np.ndarray


def reverse_water_filling(variances: Any, mse: Any, *, weights: Any = None) -> np.ndarray:
    """Rate of independent Gaussian components at a mean squared error: R = Σ w·max(0, ½·log2(σ²/θ)).

    Parameters
    ----------
    variances : array_like
        Power of each component, ≥ 0; any shape.
    mse : array_like
        Mean squared errors Σ w·min(σ², θ), above 0; any shape.
    weights : array_like, optional
        Share of each component, of the shape of `variances`; default: equal shares.

    Returns
    -------
    ndarray, shape of `mse`
        Bits per component on (weighted) average, exact; 0 where the error is the whole power [Cover & Thomas 2006,
        theorem 10.3.3].
    """
    power, mse = np.asarray(variances, np.float64).ravel(), np.asarray(mse, np.float64)
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
    # error if the level θ is the k-th variance: the components below it are lost, those from it on are off by θ
    below = np.concatenate([[0.0], np.cumsum(share * power)])
    above = np.concatenate([np.cumsum(share[::-1])[::-1], [0.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(share > 0, share * np.log2(power), 0.0)
    logs_above = np.concatenate([np.cumsum(logs[::-1])[::-1], [0.0]])
    at_variance = below[:-1] + above[:-1] * power
    k = np.searchsorted(at_variance, mse, side="right")
    whole = k >= power.size
    k = np.minimum(k, power.size - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = (mse - below[k]) / above[k]
        return np.where(whole, 0.0, np.maximum(0.5 * (logs_above[k] - above[k] * np.log2(level)), 0.0))


class ScalarQuantizers(NamedTuple):
    """Best entropy-coded scalar quantizers of a unit Gaussian: slope −dD/dR per bit, rate in bits, distortion."""

    slope: np.ndarray
    rate: np.ndarray
    distortion: np.ndarray


def dead_zone_quantizer(step: float, zone: float) -> tuple[float, float]:
    """Entropy in bits and distortion of a uniform quantizer of a unit Gaussian, reconstructing centroids.

    `zone` is half the width of the cell at zero in steps: 0.5 for the plain uniform quantizer.
    """
    edges = step * zone + step * np.arange(int(9 / step) + 2)
    edges = np.concatenate([[-edges[0]], edges, [np.inf]])
    # tails of the complement: differences of the distribution function itself would lose their digits there
    mass = ndtr(-edges[:-1]) - ndtr(-edges[1:])
    density = np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    moment = density[:-1] - density[1:]
    sides = np.where(np.arange(mass.size) == 0, 1, 2)
    used = mass > 1e-15
    mass, moment, sides = mass[used], moment[used], sides[used]
    return float(-(sides * mass * np.log2(mass)).sum()), float(1 - (sides * moment**2 / mass).sum())


@lru_cache(maxsize=1)
def gaussian_scalar_quantizer() -> ScalarQuantizers:
    """Lower convex hull of (rate, distortion) of dead-zone quantizers of a unit Gaussian, by slope.

    Entropy-constrained Lloyd quantizers are better by less than 0.001 bit [Sullivan 1996].
    """
    points = [(0.0, 1.0)]
    points += [
        dead_zone_quantizer(step, zone) for step in np.geomspace(0.08, 6, 140) for zone in np.arange(0.5, 1.45, 0.05)
    ]
    hull: list[np.ndarray] = []
    for point in np.array(sorted(points)):
        while len(hull) > 1:
            before, last = hull[-1] - hull[-2], point - hull[-2]
            # below the chord, the last point stays
            if before[1] * last[0] < last[1] * before[0]:
                break
            hull.pop()
        if not hull or point[1] < hull[-1][1]:
            hull.append(point)
    rate, distortion = np.array(hull).T
    slopes = -np.diff(distortion) / np.diff(rate)
    # a slope belongs to a chord: give the points the mean of both sides, the first and last their only one
    middle = np.sqrt(slopes[1:] * slopes[:-1])
    return ScalarQuantizers(np.concatenate([[slopes[0]], middle, [slopes[-1]]]), rate, distortion)


def scalar_quantization(variances: np.ndarray, slope: float, weights: np.ndarray) -> tuple[float, float]:
    """Rate (bits per component) and mean squared error of Gaussian components behind ideal scalar quantizers.

    `slope` is −dD/dR, the squared error that one more bit must save; `weights` sum to 1.
    """
    table = gaussian_scalar_quantizer()
    with np.errstate(divide="ignore"):
        relative = slope / variances
    # the table's slopes fall with its rates; beyond it the law of the uniform quantizer holds
    position = np.log(np.clip(relative, table.slope[-1], table.slope[0]))
    rate = np.interp(position, np.log(table.slope[::-1]), table.rate[::-1])
    distortion = np.interp(position, np.log(table.slope[::-1]), table.distortion[::-1])
    off = relative > table.slope[0]
    fine = relative < table.slope[-1]
    fine_distortion = np.where(fine, relative, 1.0) / (2 * np.log(2))
    rate = np.where(off, 0.0, np.where(fine, SPACE_FILLING_LOSS - 0.5 * np.log2(fine_distortion), rate))
    distortion = np.where(off, 1.0, np.where(fine, fine_distortion, distortion))
    return float((weights * rate).sum()), float((weights * variances * distortion).sum())


def water_filling_curve(
    scenes_db: Any, *, clip: tuple[float, float], psnr_db: Sequence[float] | None = None, scalar: bool = False
) -> RateCurve:
    """Rate-distortion curve of the power spectrum of a scene, or of scenes pooled at one θ; PSNR by the clip width.

    Parameters
    ----------
    scenes_db : array_like of shape (height, width), or sequence of them
        Intensity in dB, NaN = nodata. The spectrum is that of the clipped values, which PSNR judges. Scenes weigh by
        their valid samples.
    clip : (low, high)
        In dB; W = high − low is the peak of PSNR.
    psnr_db : sequence of float, optional
        PSNR values of the curve; default: 121 between the PSNR of the mean alone and 60 dB.
    scalar : bool
        Use ideal entropy-coded scalar quantization instead of the Gaussian rate-distortion function.

    Returns
    -------
    RateCurve
        A PSNR below that of the mean alone has rate 0.

    Raises
    ------
    UndefinedMetric
        A scene has no 64×64 window of valid samples.
    """
    low, high = checked_clip(clip)
    images = [scenes_db] if getattr(scenes_db, "ndim", 0) == 2 else list(scenes_db)
    if not images:
        raise MetricError("reverse water-filling needs at least one scene")
    images = [raster(image, "scene") for image in images]
    power = np.concatenate([welch_spectrum(np.clip(image, low, high)).ravel() for image in images])
    samples = [np.count_nonzero(~np.isnan(image)) / WELCH_SIZE**2 for image in images]
    share = np.repeat(samples, WELCH_SIZE**2)
    share = share / share.sum()
    whole = float((share * power).sum())
    if psnr_db is None:
        lowest = 10 * np.log10((high - low) ** 2 / whole) if whole > 0 else 30.0
        psnr = np.linspace(min(lowest, 59.0), 60, 121)
    else:
        psnr = np.sort(np.asarray(psnr_db, np.float64))
    mse = (high - low) ** 2 * 10 ** (-psnr / 10)
    if not scalar:
        return RateCurve(reverse_water_filling(power, mse, weights=share), psnr, mse)
    slopes = np.geomspace(max(mse.min(), 1e-12) * 0.5, max(power.max(), mse.max()) * 16, 600)
    rates, errors = np.array([scalar_quantization(power, slope, share) for slope in slopes]).T
    rate = np.interp(np.log(mse), np.log(np.maximum.accumulate(errors)), rates)
    return RateCurve(np.where(mse >= whole, 0.0, rate), psnr, mse)


def speckle_rate_estimate(
    recorded_db: Any, clean_db: Any, *, clip: tuple[float, float], psnr_db: Sequence[float] | None = None
) -> RateCurve:
    """Reverse water-filling of the speckle alone (recorded − clean, in dB): an *estimate*, also for correlated speckle.

    On real scenes, with a despeckled image for the clean one, the result is an estimate of an estimate: label it so.
    Parameters are those of `water_filling_curve`, but nothing is clipped.
    """
    low, high = checked_clip(clip)
    recorded, clean, valid = pair(recorded_db, clean_db)
    clean = np.where(valid, clean, np.nan)
    require_finite(recorded, clean)
    speckle = recorded - clean
    # a range so wide that it clips nothing, PSNR shifted to the width asked for
    reach = max(float(np.nanmax(np.abs(speckle))), 1.0) * 2
    shift = 20 * np.log10(2 * reach / (high - low))
    shifted = None if psnr_db is None else [value + shift for value in psnr_db]
    curve = water_filling_curve(speckle, clip=(-reach, reach), psnr_db=shifted)
    return RateCurve(curve.bpp, curve.psnr_db - shift, curve.mse)


class RatePoint(NamedTuple):
    """Bits per symbol, mean distortion, and the bits by which the rate may still lie above the true function."""

    rate: float
    distortion: float
    gap: float


def blahut_arimoto(probability: Any, distortion: Any, slope: float, *, tolerance: float = 1e-6) -> RatePoint:
    """Find the point of R(D) of a discrete memoryless source where the slope −dR/dD is `slope`.

    Parameters
    ----------
    probability : array_like, shape (symbols,)
        Of the source; it is normalized.
    distortion : array_like, shape (symbols, reproductions)
        d(x, x̂) ≥ 0.
    slope : float
        Bits per unit of distortion, > 0.
    tolerance : float
        Bits; stop when the rate is known this well, or after 20,000 iterations.
    """
    p, d = np.asarray(probability, np.float64), np.asarray(distortion, np.float64)
    if p.ndim != 1 or d.ndim != 2 or len(p) != len(d):
        raise MetricError(f"distortion must have a row per source symbol: {p.shape} symbols but {d.shape}")
    if (p < 0).any() or not p.sum() > 0 or (d < 0).any() or not np.isfinite(d).all():
        raise MetricError("probabilities and distortions must be finite and not negative")
    if not slope > 0:
        raise MetricError(f"the slope must be positive, not {slope!r}")
    p = p / p.sum()
    # subtract the least distortion of each symbol, so that no row of weights vanishes
    weight = np.exp2(-slope * (d - d.min(axis=1, keepdims=True)))
    q = np.full(d.shape[1], 1 / d.shape[1])
    gap = np.inf
    for _ in range(20_000):
        growth = (p / (weight @ q)) @ weight
        # Blahut's bounds: the true rate at this slope lies between these two terms
        gap = np.log2(growth.max()) - float((q * growth) @ np.log2(np.maximum(growth, 1e-300)))
        q = q * growth
        if gap < tolerance:
            break
    q = q / q.sum()
    conditional = p[:, None] * weight * q / (weight @ q)[:, None]
    mean = float((conditional * d).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.where(conditional > 0, conditional * np.log2(conditional / (p[:, None] * q)), 0.0)
    return RatePoint(float(max(information.sum(), 0.0)), mean, float(gap))
