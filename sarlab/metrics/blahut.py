"""Blahut-Arimoto algorithm: the rate-distortion function of a scalar source, computed instead of derived."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sarlab.errors import MetricError


class RatePoint(NamedTuple):
    """One point of a rate-distortion function.

    Attributes
    ----------
    rate : float
        Bit per symbol.
    distortion : float
        Mean distortion, in the unit of the distortion matrix.
    gap : float
        Bit by which `rate` may still lie above the function.
    reproduction : ndarray
        Probability of each reproduction symbol.
    """

    rate: float
    distortion: float
    gap: float
    reproduction: np.ndarray


def blahut_arimoto(
    probability: Any, distortion: Any, slope: float, *, tolerance: float = 1e-6, iterations: int = 20_000
) -> RatePoint:
    """Point of R(D) of a discrete memoryless source where its slope −dR/dD is `slope`.

    Parameters
    ----------
    probability : array_like, shape (symbols,)
        Of the source; sums to 1 (it is normalized).
    distortion : array_like, shape (symbols, reproductions)
        d(x, x̂) ≥ 0.
    slope : float
        Bit per unit of distortion, > 0.
    tolerance : float
        Bit; stop when the rate is known so well.
    iterations : int
        At most so many.

    Returns
    -------
    RatePoint

    References
    ----------
    Blahut, IEEE Trans. Inf. Theory 18(4), 1972; Arimoto, ibid. 18(1).
    """
    p, d = np.asarray(probability, np.float64), np.asarray(distortion, np.float64)
    if p.ndim != 1 or d.ndim != 2 or len(p) != len(d):
        raise MetricError(f"distortion must have a row per source symbol: {p.shape} symbols but {d.shape}")
    if (p < 0).any() or not p.sum() > 0 or (d < 0).any() or not np.isfinite(d).all():
        raise MetricError("probabilities and distortions must be finite and not negative")
    if not slope > 0:
        raise MetricError(f"the slope must be positive, not {slope!r}")
    p = p / p.sum()
    # the least distortion of each symbol is taken out, so that no row of weights vanishes
    weight = np.exp2(-slope * (d - d.min(axis=1, keepdims=True)))
    q = np.full(d.shape[1], 1 / d.shape[1])
    gap = np.inf
    for _ in range(iterations):
        growth = (p / (weight @ q)) @ weight
        # Blahut's bounds: the true rate at this slope lies between these two terms
        gap = np.log2(growth.max()) - float((q * growth) @ np.log2(np.maximum(growth, 1e-300)))
        q = q * growth
        if gap < tolerance:
            break
    q = q / q.sum()
    joint = p[:, None] * weight * q
    conditional = joint / (weight @ q)[:, None]
    mean = float((conditional * d).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.where(conditional > 0, conditional * np.log2(conditional / (p[:, None] * q)), 0.0)
    return RatePoint(float(max(information.sum(), 0.0)), mean, float(gap), q)
