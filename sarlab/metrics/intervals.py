"""Bootstrap intervals over acquisitions, never over tiles or scenes of one acquisition."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sarlab.errors import MetricError


class Interval(NamedTuple):
    """A mean and its bootstrap interval.

    Attributes
    ----------
    mean, low, high : float
        `low` and `high` are NaN where they are unknown.
    groups : int
        Independent acquisitions behind it.
    reason : str
        Why there is no interval; empty where there is one.
    """

    mean: float
    low: float
    high: float
    groups: int
    reason: str = ""


def _grouped(values: Any, acquisitions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of the finite values of each acquisition."""
    values = np.asarray(values, np.float64).ravel()
    names = np.asarray(acquisitions).ravel()
    if names.size != values.size:
        raise MetricError(f"{values.size} values but {names.size} acquisitions: give one for each value")
    finite = np.isfinite(values)
    if not finite.any():
        return np.empty(0), np.empty(0)
    _, index = np.unique(names[finite].astype(str), return_inverse=True)
    return np.bincount(index, values[finite]), np.bincount(index).astype(np.float64)


def bootstrap_mean(
    values: Any, acquisitions: Any, *, level: float = 0.95, resamples: int = 2000, seed: int | np.random.Generator = 0
) -> Interval:
    """Mean of values with a percentile bootstrap interval that resamples whole acquisitions.

    Parameters
    ----------
    values : array_like, shape (n,)
        One per scene (or scene and band); NaN is left out.
    acquisitions : array_like, shape (n,)
        Which acquisition or event each value comes from. Values of one acquisition are not independent.
    level : float
        Share of resampled means inside the interval.
    resamples : int
    seed : int or numpy.random.Generator

    Returns
    -------
    Interval
        Without low and high, and with the reason, where fewer than two acquisitions are left.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13; Davison & Hinkley, Bootstrap Methods and Their
    Application, 1997, section 3.8 (resampling of clusters).
    """
    if not 0 < level < 1:
        raise MetricError(f"level must lie between 0 and 1, not {level!r}")
    sums, counts = _grouped(values, acquisitions)
    groups = len(sums)
    if groups == 0:
        return Interval(np.nan, np.nan, np.nan, 0, "no value is defined")
    mean = float(sums.sum() / counts.sum())
    if groups == 1:
        return Interval(mean, np.nan, np.nan, 1, "one acquisition gives no interval")
    generator = np.random.default_rng(seed)
    chosen = generator.integers(0, groups, (resamples, groups))
    means = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), groups)


def bootstrap_difference(
    values: Any,
    others: Any,
    acquisitions: Any,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int | np.random.Generator = 0,
) -> Interval:
    """Mean of paired differences `values` − `others` (same scenes, same order) with its interval over acquisitions.

    Pairing takes the differences between scenes out of the comparison of two codecs. Parameters as `bootstrap_mean`.
    """
    first, second = np.asarray(values, np.float64).ravel(), np.asarray(others, np.float64).ravel()
    if first.shape != second.shape:
        raise MetricError(f"paired values must be as many on both sides, not {first.size} and {second.size}")
    return bootstrap_mean(first - second, acquisitions, level=level, resamples=resamples, seed=seed)
