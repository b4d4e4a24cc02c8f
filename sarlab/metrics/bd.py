"""Bjøntegaard differences between rate-distortion curves, for any metric that is monotone in the rate.

Protocol: at least eight points a curve, at matched targets, over one stated interval; per scene, PCHIP on log-rate; then
the mean over scenes with an interval over acquisitions. The protocol matters: the same codec moves by several points
when files of constant rate are compared with files of constant PSNR.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.base import UndefinedMetric
from sarlab.metrics.intervals import bootstrap_mean

if TYPE_CHECKING:
    import pandas as pd

#: Points a curve must have, and the share of a stated interval that both curves must cover.
LEAST_POINTS, LEAST_COVER = 8, 0.75


class Difference(NamedTuple):
    """A Bjøntegaard difference and the interval it was taken over.

    Attributes
    ----------
    value : float
        Percent of rate (`bd_rate`) or unit of the metric (`bd_quality`); NaN with the reason where undefined.
    low, high : float
        Interval of the metric (`bd_rate`) or of the rate in bpp (`bd_quality`).
    reason : str
    """

    value: float
    low: float
    high: float
    reason: str = ""


def _curve(rate: Any, quality: Any, name: str, least: int) -> tuple[np.ndarray, np.ndarray]:
    """log10 rate and quality, sorted by rate, without undefined points; checked to be monotone."""
    rate, quality = np.asarray(rate, np.float64).ravel(), np.asarray(quality, np.float64).ravel()
    if rate.size != quality.size:
        raise MetricError(f"the {name} curve has {rate.size} rates but {quality.size} values")
    used = np.isfinite(rate) & np.isfinite(quality) & (rate > 0)
    logs, index = np.unique(np.log10(rate[used]), return_index=True)
    values = quality[used][index]
    if logs.size < least:
        raise UndefinedMetric(f"the {name} curve has {logs.size} points; at least {least} are needed")
    steps = np.diff(values)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise UndefinedMetric(f"the metric is not monotone in the rate on the {name} curve")
    return logs, values


def _overlap(
    first: np.ndarray, second: np.ndarray, stated: tuple[float, float] | None, what: str
) -> tuple[float, float]:
    low, high = max(first.min(), second.min()), min(first.max(), second.max())
    if not low < high:
        raise UndefinedMetric(
            f"the curves share no range of {what}: {first.min():.4g} to {first.max():.4g} "
            f"and {second.min():.4g} to {second.max():.4g}"
        )
    if stated is None:
        return float(low), float(high)
    if not stated[0] < stated[1]:
        raise MetricError(f"the interval must be (low, high), not {stated!r}")
    low, high = max(low, stated[0]), min(high, stated[1])
    if high - low < LEAST_COVER * (stated[1] - stated[0]):
        raise UndefinedMetric(
            f"the curves share less than {LEAST_COVER:.0%} of the interval {stated[0]:g} to {stated[1]:g} of {what}"
        )
    return float(low), float(high)


def _check_support(values: np.ndarray, low: float, high: float, least: int, name: str) -> None:
    """Enough points between `low` and `high`, the nearest one beyond on each side (which interpolation uses) included."""
    inside = np.count_nonzero((values >= low) & (values <= high))
    inside += int((values < low).any()) + int((values > high).any())
    if inside < least:
        raise UndefinedMetric(f"the {name} curve has {inside} points around the interval; at least {least} are needed")


def _mean_between(x: np.ndarray, y: np.ndarray, low: float, high: float) -> float:
    from scipy.interpolate import PchipInterpolator

    order = np.argsort(x)
    return float(PchipInterpolator(x[order], y[order]).integrate(low, high)) / (high - low)


def bd_rate(
    rate_anchor: Any,
    quality_anchor: Any,
    rate_test: Any,
    quality_test: Any,
    *,
    interval: tuple[float, float] | None = None,
    least_points: int = LEAST_POINTS,
) -> Difference:
    """Mean difference in rate at equal quality, in percent: −10 says 10 % fewer bits than the anchor.

    Parameters
    ----------
    rate_anchor, rate_test : array_like
        Bit per pixel (or bytes) of each point, above 0.
    quality_anchor, quality_test : array_like
        Any metric that is strictly monotone in the rate, rising or falling.
    interval : (low, high), optional
        Of the metric. Both curves must cover three quarters of it; what they do not share is left out. Default: all
        that they share.
    least_points : int
        So many points of each curve in the interval, the nearest beyond each end included.

    Returns
    -------
    Difference
        NaN with the reason for too few points, a metric that is not monotone, disjoint ranges.

    References
    ----------
    Bjøntegaard, ITU-T VCEG-M33, 2001; piecewise cubic interpolation as in VCEG-AE07 / ITU-T HSTP-VID-WPOM, 2020.
    """
    try:
        x_anchor, y_anchor = _curve(rate_anchor, quality_anchor, "anchor", least_points)
        x_test, y_test = _curve(rate_test, quality_test, "test", least_points)
        low, high = _overlap(y_anchor, y_test, interval, "the metric")
        _check_support(y_anchor, low, high, least_points, "anchor")
        _check_support(y_test, low, high, least_points, "test")
        difference = _mean_between(y_test, x_test, low, high) - _mean_between(y_anchor, x_anchor, low, high)
    except UndefinedMetric as undefined:
        return Difference(np.nan, np.nan, np.nan, str(undefined))
    return Difference(100 * (10**difference - 1), low, high)


def bd_quality(
    rate_anchor: Any,
    quality_anchor: Any,
    rate_test: Any,
    quality_test: Any,
    *,
    interval: tuple[float, float] | None = None,
    least_points: int = LEAST_POINTS,
) -> Difference:
    """Mean difference of a metric at equal rate (BD-PSNR for PSNR), in its own unit, over log-rate.

    Parameters and refusals as `bd_rate`; `interval` is of the rate, in the unit of the rates.
    """
    try:
        x_anchor, y_anchor = _curve(rate_anchor, quality_anchor, "anchor", least_points)
        x_test, y_test = _curve(rate_test, quality_test, "test", least_points)
        if interval is not None and not interval[0] > 0:
            raise MetricError(f"an interval of rates must lie above 0, not {interval!r}")
        stated = None if interval is None else (float(np.log10(interval[0])), float(np.log10(interval[1])))
        low, high = _overlap(x_anchor, x_test, stated, "log-rate")
        _check_support(x_anchor, low, high, least_points, "anchor")
        _check_support(x_test, low, high, least_points, "test")
        difference = _mean_between(x_test, y_test, low, high) - _mean_between(x_anchor, y_anchor, low, high)
    except UndefinedMetric as undefined:
        return Difference(np.nan, np.nan, np.nan, str(undefined))
    return Difference(difference, 10**low, 10**high)


def bd_table(
    rows: pd.DataFrame,
    *,
    anchor: str,
    metric: str = "psnr_db",
    rate: str = "bpp",
    codec: str = "codec",
    scene: Sequence[str] = ("scene", "band"),
    acquisition: str = "acquisition",
    interval: tuple[float, float] | None = None,
    rate_interval: tuple[float, float] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """BD-rate and BD-quality of every codec against an anchor: per scene, then the mean with its interval.

    Parameters
    ----------
    rows : pandas.DataFrame
        Tidy: one row per codec, quality, scene and band.
    anchor : str
        Name of the codec the others are held against.
    metric, rate, codec, acquisition : str
        Columns.
    scene : sequence of str
        Columns that tell one curve from another within a codec; those absent are ignored.
    interval, rate_interval : (low, high), optional
        Of the metric (BD-rate) and of the rate (BD-quality).
    seed : int
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row per codec: codec, anchor, metric, bd_rate_percent, bd_rate_low, bd_rate_high, bd_quality,
        bd_quality_low, bd_quality_high (bootstrap intervals over acquisitions), scenes, acquisitions, interval_low,
        interval_high (of the metric, the widest used) and reason (of what is missing).
    """
    import pandas as pd

    keys = [name for name in scene if name in rows.columns]
    for column in (metric, rate, codec):
        if column not in rows.columns:
            raise MetricError(f"the table has no column '{column}'; it has {', '.join(map(str, rows.columns))}")
    if not keys:
        raise MetricError(f"the table has none of the columns {', '.join(scene)} that tell scenes apart")
    if anchor not in set(rows[codec]):
        raise MetricError(f"the anchor '{anchor}' is not in the table; it has {', '.join(sorted(set(rows[codec])))}")
    anchors = dict(iter(rows[rows[codec] == anchor].groupby(keys, sort=True)))
    table = []
    for name, tested in rows.groupby(codec, sort=True):
        rates, qualities, groups, reasons = [], [], [], []
        ranges: list[Difference] = []
        for key, curve in tested.groupby(keys, sort=True):
            if key not in anchors:
                reasons.append(f"scene {'/'.join(map(str, key))} lacks the anchor")
                continue
            both = (anchors[key][rate], anchors[key][metric], curve[rate], curve[metric])
            by_rate, by_quality = bd_rate(*both, interval=interval), bd_quality(*both, interval=rate_interval)
            reasons += sorted({difference.reason for difference in (by_rate, by_quality)} - {""})
            rates.append(by_rate.value)
            qualities.append(by_quality.value)
            groups.append(str(curve[acquisition].iloc[0]) if acquisition in curve.columns else "/".join(map(str, key)))
            ranges.append(by_rate)
        rate_mean = bootstrap_mean(rates, groups, seed=seed)
        quality_mean = bootstrap_mean(qualities, groups, seed=seed)
        lows = [r.low for r in ranges if np.isfinite(r.low)]
        highs = [r.high for r in ranges if np.isfinite(r.high)]
        reasons += [rate_mean.reason] if rate_mean.reason else []
        table.append(
            {
                "codec": name,
                "anchor": anchor,
                "metric": metric,
                "bd_rate_percent": rate_mean.mean,
                "bd_rate_low": rate_mean.low,
                "bd_rate_high": rate_mean.high,
                "bd_quality": quality_mean.mean,
                "bd_quality_low": quality_mean.low,
                "bd_quality_high": quality_mean.high,
                "scenes": int(np.isfinite(rates).sum()) if rates else 0,
                "acquisitions": rate_mean.groups,
                "interval_low": min(lows, default=np.nan),
                "interval_high": max(highs, default=np.nan),
                "reason": "; ".join(_told(reasons)),
            }
        )
    return pd.DataFrame(table)


def _told(reasons: Sequence[str]) -> list[str]:
    """Reasons without repetition, and on how many scenes those hold that hold on several."""
    counts = Counter(re.sub(r"has \d+ points", "has too few points", reason) for reason in reasons)
    return [text if count == 1 else f"{text} ({count} scenes)" for text, count in sorted(counts.items())]
