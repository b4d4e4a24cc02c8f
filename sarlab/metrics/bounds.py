"""Limits: what no codec, or no codec of a kind, can do; and what despeckling alone scores.

Speckle of L looks is a gamma factor of the intensity; in nepers (ln I) it has variance ψ′(L), in dB the standard
deviation 4.343·√ψ′(L). Closed forms here; rate-distortion curves of measured spectra in `sarlab.metrics.waterfilling`;
computed rate-distortion functions of scalar sources in `sarlab.metrics.blahut`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, polygamma

from sarlab.errors import MetricError
from sarlab.metrics.base import DB_PER_NEPER, checked_clip, pair
from sarlab.metrics.blahut import RatePoint, blahut_arimoto
from sarlab.metrics.waterfilling import (
    SPACE_FILLING_LOSS,
    Curve,
    reverse_water_filling,
    scalar_quantization,
    water_filling_curve,
    water_level,
)


def _looks(looks: Any) -> np.ndarray:
    values = np.asarray(looks, np.float64)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise MetricError(f"looks must be positive, not {looks!r}")
    return values


def speckle_std(looks: Any) -> Any:
    """Standard deviation of L-look speckle in dB, 4.343·√ψ′(L): 5.57 / 2.31 / 2.19 dB for L = 1 / 4 / 4.4.

    Parameters
    ----------
    looks : float or array_like

    References
    ----------
    Nicolas, Traitement du Signal 19(3), 2002.
    """
    return DB_PER_NEPER * np.sqrt(polygamma(1, _looks(looks)))


def speckle_floor(looks: Any, clip: tuple[float, float]) -> Any:
    """PSNR in dB of perfect despeckling against the recorded scene: 20·log10(W / σ_L), nothing clipped.

    A codec at this PSNR may have kept all of the scene and none of its speckle, or less of one and more of the other.
    The estimate is the one best in squared error of dB: the mean of the dB values.

    Parameters
    ----------
    looks : float or array_like
    clip : (low, high)
        In dB; W = high − low.
    """
    low, high = checked_clip(clip)
    return 20 * np.log10((high - low) / speckle_std(looks))


def bias_limit(looks: Any) -> Any:
    """Bias in dB of linear intensity that minimizing the squared error in dB tends to: 4.343·(ψ(L) − ln L).

    −2.51 dB at L = 1, −0.51 at 4.4. Over resolved homogeneous areas, at low rate; more where texture is unresolved.

    Parameters
    ----------
    looks : float or array_like
        Above 0.

    References
    ----------
    Nicolas, Traitement du Signal 19(3), 2002.
    """
    values = _looks(looks)
    return DB_PER_NEPER * (digamma(values) - np.log(values))


def speckle_entropy(looks: Any) -> Any:
    """Differential entropy of ln-speckle, h = ln Γ(L) − L·ψ(L) + L, in nats.

    Parameters
    ----------
    looks : float or array_like
        Above 0.

    References
    ----------
    Cover & Thomas, Elements of Information Theory, 2006, ch. 8 (of the logarithm of a gamma variate).
    """
    values = _looks(looks)
    return gammaln(values) - values * digamma(values) + values


def speckle_negentropy(looks: Any) -> Any:
    """Entropy that log-speckle lacks against a Gaussian of its variance, J_L in bit: 0.131 / 0.032 / 0.029 at 1 / 4 / 4.4.

    Parameters
    ----------
    looks : float or array_like
        Above 0.

    References
    ----------
    Comon, Signal Processing 36(3), 1994 (negentropy).
    """
    values = _looks(looks)
    return 0.5 * np.log2(2 * np.pi * np.e * polygamma(1, values)) - speckle_entropy(values) / np.log(2)


def shannon_lower_bound(rmse_db: Any, looks: Any) -> Any:
    """Least rate for white speckle given the scene: max(0, log2(σ_L / ε) − J_L) bit per sample at an RMSE of ε dB.

    For **simulated, white** speckle and unclipped dB only: an RMSE of 1 dB costs at least 2.35 bpp at L = 1 and 1.10 bpp
    at L = 4.4, whatever the codec, on top of the scene itself. Resampled products have correlated speckle, for which
    this is no bound (`speckle_rate_estimate`).

    Parameters
    ----------
    rmse_db : float or array_like
        ε > 0, of unclipped dB.
    looks : float or array_like

    References
    ----------
    Shannon 1959; Cover & Thomas, Elements of Information Theory, 2006, problem 10.8.
    """
    error = np.asarray(rmse_db, np.float64)
    if not (error > 0).all():
        raise MetricError(f"the RMSE must be above zero, not {rmse_db!r}")
    return np.maximum(0.0, np.log2(speckle_std(looks) / error) - speckle_negentropy(looks))


class Sandwich(NamedTuple):
    """Rates in bit per sample between which the rate-distortion function of white speckle lies."""

    lower: Any
    upper: Any


def speckle_sandwich(rmse_db: Any, looks: Any) -> Sandwich:
    """Shannon lower bound and Gaussian upper bound max(0, log2(σ_L / ε)) of white speckle given the scene.

    They are J_L apart (0.131 bit at one look), so the limit is known this well. Simulation only, as
    `shannon_lower_bound`.

    Parameters
    ----------
    rmse_db : float or array_like
        Above 0, of unclipped dB.
    looks : float or array_like
        Above 0.
    """
    upper = np.maximum(0.0, np.log2(speckle_std(looks) / np.asarray(rmse_db, np.float64)))
    return Sandwich(shannon_lower_bound(rmse_db, looks), upper)


def speckle_rate_estimate(
    recorded_db: Any, clean_db: Any, *, clip: tuple[float, float], psnr_db: Sequence[float] | None = None
) -> Curve:
    """Reverse water-filling of the speckle alone (recorded − clean, in dB): an *estimate*, also for correlated speckle.

    On real scenes, with a despeckled image in the place of the clean one, an estimate of an estimate: label it so.

    Parameters
    ----------
    recorded_db, clean_db : array_like, shape (height, width)
    clip : (low, high)
        W = high − low is the peak of PSNR; nothing is clipped.
    psnr_db : sequence of float, optional
        As in `water_filling_curve`.
    """
    low, high = checked_clip(clip)
    recorded, clean, valid = pair(recorded_db, clean_db, finite=True)
    speckle = np.where(valid, recorded - clean, np.nan)
    # a range so wide that it clips nothing, PSNR shifted to the width asked for
    reach = max(float(np.nanmax(np.abs(speckle))), 1.0) * 2
    shift = 20 * np.log10(2 * reach / (high - low))
    shifted = None if psnr_db is None else [value + shift for value in psnr_db]
    curve = water_filling_curve(speckle, clip=(-reach, reach), psnr_db=shifted)
    return Curve(curve.bpp, curve.psnr_db - shift, curve.mse)


def efficiency(bpp: Any, psnr_db: Any, bound: Curve) -> np.ndarray:
    """η = R_bound / R_actual at equal distortion; 1 at the bound, above where the bound is none for this source.

    Parameters
    ----------
    bpp, psnr_db : array_like
        Operating points of a codec, bpp > 0.
    bound : Curve
        Of the same scenes, clip range and pooling.

    Returns
    -------
    ndarray
        NaN where the bound does not reach that PSNR, or a rate is not positive.
    """
    rate = np.asarray(bpp, np.float64)
    with np.errstate(all="ignore"):
        return np.where(rate > 0, bound.rate_at(psnr_db) / rate, np.nan)


__all__ = [
    "SPACE_FILLING_LOSS",
    "Curve",
    "RatePoint",
    "Sandwich",
    "bias_limit",
    "blahut_arimoto",
    "efficiency",
    "reverse_water_filling",
    "scalar_quantization",
    "shannon_lower_bound",
    "speckle_entropy",
    "speckle_floor",
    "speckle_negentropy",
    "speckle_rate_estimate",
    "speckle_sandwich",
    "speckle_std",
    "water_filling_curve",
    "water_level",
]
