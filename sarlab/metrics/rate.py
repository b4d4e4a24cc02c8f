"""Rate of a file, the compression ratios, and Bjøntegaard differences between rate-distortion curves.

Three ratios must not be confused: `dimension_ratio` counts values, `nominal_cr` bits without a file, `measured_cr` the
bytes of a real file.

Protocol of Bjøntegaard differences: at least eight points per curve, at matched targets, over one stated interval; per
scene, by PCHIP on log-rate; then the mean over scenes with its interval over acquisitions. The protocol matters: the same
codec moves by several points when files of constant rate are compared instead of files of constant PSNR.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.columns import UndefinedMetric
from sarlab.metrics.intervals import interval as interval_of

if TYPE_CHECKING:
    import pandas as pd

#: Least number of points of a curve, and the share of a stated interval that both curves must cover.
LEAST_POINTS, LEAST_COVER = 8, 0.75


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise MetricError(f"{name} must be positive, not {value!r}")


def bits_per_pixel(byte_count: int, pixels: int, bands: int = 1) -> float:
    """Rate 8·bytes / (pixels · bands) in bits per sample of the **whole file**, header and side information included.

    `pixels` are height · width, nodata included. A rate estimated from likelihoods is called ``bpp_estimated`` instead.
    """
    _positive(byte_count=byte_count, pixels=pixels, bands=bands)
    return 8 * byte_count / (pixels * bands)


def measured_cr(byte_count: int, pixels: int, bands: int = 1, *, native_bits: int) -> float:
    """Measured compression ratio: bytes of the samples at the product's **native** depth over bytes of the file.

    `native_bits` are the bits per sample of the product as delivered: Sentinel-1 GRD 16, single-look complex 32, Umbra
    GEC 8; never 32 for a float copy.
    """
    _positive(native_bits=native_bits)
    return native_bits / bits_per_pixel(byte_count, pixels, bands)


def measured_cr_lossless(byte_count: int, lossless_bytes: int) -> float:
    """Measured ratio against the best lossless file of the same integer raster (JPEG-LS or reversible JPEG 2000)."""
    _positive(byte_count=byte_count, lossless_bytes=lossless_bytes)
    return lossless_bytes / byte_count


class BDDifference(NamedTuple):
    """A Bjøntegaard difference, the range of the metric or rate it was taken over, and the reason for a NaN."""

    value: float
    low: float
    high: float
    reason: str = ""


def _curve(rate: Any, quality: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """log10 rate and quality, sorted by rate, without undefined points; checked to be monotone."""
    rate, quality = np.asarray(rate, np.float64).ravel(), np.asarray(quality, np.float64).ravel()
    if rate.size != quality.size:
        raise MetricError(f"the {name} curve has {rate.size} rates but {quality.size} values")
    used = np.isfinite(rate) & np.isfinite(quality) & (rate > 0)
    logs, index = np.unique(np.log10(rate[used]), return_index=True)
    values = quality[used][index]
    if logs.size < LEAST_POINTS:
        raise UndefinedMetric(f"the {name} curve has {logs.size} points; at least {LEAST_POINTS} are needed")
    steps = np.diff(values)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise UndefinedMetric(f"the metric is not monotone in the rate on the {name} curve")
    return logs, values


def _overlap(
    first: np.ndarray, second: np.ndarray, stated: tuple[float, float] | None, what: str
) -> tuple[float, float]:
    """Interval that both curves cover, within the stated one; checked to hold enough points of each."""
    low, high = max(first.min(), second.min()), min(first.max(), second.max())
    if not low < high:
        ranges = (f"{values.min():.4g} to {values.max():.4g}" for values in (first, second))
        raise UndefinedMetric(f"the curves share no range of {what}: {' and '.join(ranges)}")
    if stated is not None:
        if not stated[0] < stated[1]:
            raise MetricError(f"the interval must be (low, high), not {stated!r}")
        low, high = max(low, stated[0]), min(high, stated[1])
        if high - low < LEAST_COVER * (stated[1] - stated[0]):
            interval = f"{stated[0]:g} to {stated[1]:g} of {what}"
            raise UndefinedMetric(f"the curves share less than {LEAST_COVER:.0%} of the interval {interval}")
    for values, name in ((first, "anchor"), (second, "test")):
        # the nearest point beyond each end counts, since interpolation uses it
        inside = np.count_nonzero((values >= low) & (values <= high)) + (values < low).any() + (values > high).any()
        if inside < LEAST_POINTS:
            message = f"the {name} curve has {inside} points around the interval; at least {LEAST_POINTS} are needed"
            raise UndefinedMetric(message)
    return float(low), float(high)


def _difference(
    anchor: tuple[Any, Any], test: tuple[Any, Any], along: int, what: str, stated: tuple[float, float] | None = None
) -> BDDifference:
    """Mean difference of two (rate, quality) curves, along log-rate (0) or quality (1)."""
    from scipy.interpolate import PchipInterpolator

    try:
        curves = [_curve(*anchor, "anchor"), _curve(*test, "test")]
        low, high = _overlap(curves[0][along], curves[1][along], stated, what)
    except UndefinedMetric as undefined:
        return BDDifference(np.nan, np.nan, np.nan, str(undefined))
    means = []
    for curve in curves:
        order = np.argsort(curve[along])
        fitted = PchipInterpolator(curve[along][order], curve[1 - along][order])
        means.append(float(fitted.integrate(low, high)) / (high - low))
    return BDDifference(means[1] - means[0], low, high)


def bd_rate(
    rate_anchor: Any, quality_anchor: Any, rate_test: Any, quality_test: Any, *, interval: tuple[float, float] | None = None
) -> BDDifference:  # fmt: skip
    """Mean difference in rate at equal quality, in percent: −10 means 10 % fewer bits than the anchor.

    Parameters
    ----------
    rate_anchor, rate_test : array_like
        Bits per pixel (or bytes) of each point, above 0.
    quality_anchor, quality_test : array_like
        Any metric that is strictly monotone in the rate, rising or falling.
    interval : (low, high), optional
        Range of the metric. Both curves must cover three quarters of it, with eight points each, including the nearest
        beyond each end; what they do not share is left out. Default: all that they share.

    Returns
    -------
    BDDifference
        NaN with the reason for too few points, a metric that is not monotone, or disjoint ranges.

    References: Bjøntegaard, ITU-T VCEG-M33, 2001; piecewise cubic interpolation as in VCEG-AE07 / ITU-T HSTP-VID-WPOM,
    2020.
    """
    found = _difference((rate_anchor, quality_anchor), (rate_test, quality_test), 1, "the metric", interval)
    return found._replace(value=100 * (10**found.value - 1))


def bd_quality(rate_anchor: Any, quality_anchor: Any, rate_test: Any, quality_test: Any) -> BDDifference:
    """Mean difference of a metric at equal rate (BD-PSNR for PSNR), in its own unit, over log-rate, as in `bd_rate`."""
    found = _difference((rate_anchor, quality_anchor), (rate_test, quality_test), 0, "log-rate")
    return found._replace(low=10**found.low, high=10**found.high)


def bd_table(
    rows: pd.DataFrame, *, anchor: str, metric: str = "psnr_db", rate: str = "bpp",
    interval: tuple[float, float] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """BD-rate and BD-quality of every codec against an anchor: per scene, then the mean with its interval.

    Parameters
    ----------
    rows : pandas.DataFrame
        One row per codec, quality, scene and band, in columns of these names except quality; ``band`` and
        ``acquisition`` may be missing.
    anchor : str
        Name of the codec that the others are compared with.
    metric, rate : str
        Names of columns.
    interval : (low, high), optional
        Range of the metric for BD-rate.

    Returns
    -------
    pandas.DataFrame
        One row per codec: codec, anchor, metric, bd_rate_percent, bd_rate_low, bd_rate_high, bd_quality,
        bd_quality_low, bd_quality_high (`sarlab.metrics.intervals.interval` over acquisitions), scenes, acquisitions,
        interval_low, interval_high (of the metric, the widest used) and reason (of what is missing).
    """
    import pandas as pd

    keys = [name for name in ("scene", "band") if name in rows.columns]
    for column in (metric, rate, "codec"):
        if column not in rows.columns:
            raise MetricError(f"the table has no column '{column}'; it has {', '.join(map(str, rows.columns))}")
    if not keys:
        raise MetricError("the table needs one of the columns scene, band to distinguish scenes")
    if anchor not in set(rows["codec"]):
        raise MetricError(f"the anchor '{anchor}' is not in the table; it has {', '.join(sorted(set(rows['codec'])))}")
    anchors = dict(iter(rows[rows["codec"] == anchor].groupby(keys, sort=True)))
    table = []
    for name, tested in rows.groupby("codec", sort=True):
        by_rate, by_quality, groups, reasons = [], [], [], []
        for key, curve in tested.groupby(keys, sort=True):
            if key not in anchors:
                reasons.append(f"scene {'/'.join(map(str, key))} lacks the anchor")
                continue
            both = (anchors[key][rate], anchors[key][metric], curve[rate], curve[metric])
            by_rate.append(bd_rate(*both, interval=interval))
            by_quality.append(bd_quality(*both))
            reasons += sorted({by_rate[-1].reason, by_quality[-1].reason} - {""})
            groups.append(str(curve["acquisition"].iloc[0]) if "acquisition" in curve else "/".join(map(str, key)))
        rates, qualities = (interval_of([one.value for one in found], groups) for found in (by_rate, by_quality))
        defined = [found for found in by_rate if np.isfinite(found.value)]
        if rates.n < 2:
            reasons.append("one acquisition gives no interval" if rates.n else "no value is defined")
        counts = Counter(re.sub(r"has \d+ points", "has too few points", reason) for reason in reasons)
        table.append({
            "codec": name, "anchor": anchor, "metric": metric, "bd_rate_percent": rates.mean,
            "bd_rate_low": rates.low, "bd_rate_high": rates.high, "bd_quality": qualities.mean,
            "bd_quality_low": qualities.low, "bd_quality_high": qualities.high, "scenes": len(defined),
            "acquisitions": rates.n, "interval_low": min((found.low for found in defined), default=np.nan),
            "interval_high": max((found.high for found in defined), default=np.nan),
            "reason": "; ".join(f"{text} ({n} scenes)" if n > 1 else text for text, n in sorted(counts.items())),
        })  # fmt: skip
    return pd.DataFrame(table)
