"""Points of curves from tidy rows: which rows belong together, their mean and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from sarlab.metrics.intervals import Interval, interval
from sarlab.views.style import architecture_order

#: Rows of one series share these.
SERIES_KEYS = ("architecture", "init")


#: Meaning of the bars of figures whose points come from `curve`.
BARS = "95 % interval over acquisitions (the range of fewer than five)"


def spread(values: Sequence[float], acquisitions: Sequence[object], seeds: Sequence[object]) -> tuple[Interval, str]:
    """Interval over acquisitions (over seeds, if there is only one acquisition), and its meaning in words for captions."""
    found, over = interval(values, acquisitions), "acquisitions"
    if found.n == 1 and (by_seed := interval(values, seeds)).n > 1:
        found, over = by_seed, "seeds"
    words = {"95 %": f"95 % interval over {over}", "range": f"range over {found.n} {over}"}
    return found, words.get(found.kind, "")


def is_true(column: pd.Series) -> pd.Series:
    """Column of true/false/unknown, however it was read, as booleans; unknown counts as false."""
    return column.astype(str).str.lower().isin(("true", "1", "1.0"))


def measured(runs: pd.DataFrame, *, band: str | None = None, split: str | None = None) -> pd.DataFrame:
    """Rows of recorded (not simulated) scenes that were measured; simulated ones where there are no others.

    Parameters
    ----------
    runs : DataFrame
        ``tables().runs``.
    band, split : str, optional
        Keep these only.
    """
    rows = runs[pd.to_numeric(runs["psnr_db"], errors="coerce").notna()]
    simulated = is_true(rows["simulated"])
    rows = rows[~simulated] if (~simulated).any() else rows
    if band is not None:
        rows = rows[rows["band"] == band]
    return rows if split is None else rows[rows["split"] == split]


def bands(runs: pd.DataFrame) -> list[str]:
    """Bands of the measured rows in the order in which they come."""
    return [str(band) for band in pd.unique(measured(runs)["band"].dropna())]


def main_line(rows: pd.DataFrame) -> pd.DataFrame:
    """One configuration per architecture, initialization and ratio: the one that the comparison is about.

    Plans also vary shape at equal ratio, width, depth, quantizer, and how ratios share trainings. Kept are trainings of
    one ratio where there are any, the finest quantizer, the longest training, and then the
    commonest spatial reduction of each ratio and the commonest width and depth of each architecture and start.
    """
    if rows.empty:
        return rows
    if "curve" in rows:
        dedicated = rows["curve"].fillna("dedicated") == "dedicated"
        rows = rows[dedicated] if dedicated.any() else rows
    rows = rows[pd.to_numeric(rows["bits"], errors="coerce").fillna(32) == _finest(rows)]
    if "steps" in rows:
        longest = rows.groupby([*SERIES_KEYS, "dimension_ratio"])["steps"].transform("max")
        rows = rows[longest.isna() | (rows["steps"] == longest)]
    for among, chosen in (
        (["dimension_ratio"], "spatial_reduction"),
        (["architecture", "init"], "width"),
        (["architecture", "init"], "depth"),
    ):
        wanted = rows.groupby(among)[chosen].transform(lambda v: v.mode().iloc[0] if len(v.mode()) else np.nan)
        rows = rows[wanted.isna() | (rows[chosen] == wanted)]
    return rows


def _finest(rows: pd.DataFrame) -> float:
    return float(pd.to_numeric(rows["bits"], errors="coerce").fillna(32).max())


def curve(rows: pd.DataFrame, metric: str, *, by: Sequence[str] = SERIES_KEYS) -> pd.DataFrame:
    """Points of rate-distortion curves.

    Parameters
    ----------
    rows : DataFrame
        Rows of one band and one split.
    metric : str
        Column.
    by : sequence of str
        Columns that make a series.

    Returns
    -------
    DataFrame
        `by`, ``dimension_ratio``, ``bpp`` (mean), ``mean``, ``low``, ``high``, ``over``, ``scenes``, ``seeds``; series in
        the order of the architectures, from scratch first, ratios ascending.
    """
    columns = [*by, "dimension_ratio", "bpp", "mean", "low", "high", "over", "scenes", "seeds"]
    points = []
    for keys, group in rows.groupby([*by, "dimension_ratio"], sort=True):
        found, over = spread(group[metric], group["acquisition"], group["seed"])
        if found.n:
            rate, counts = pd.to_numeric(group["bpp"]).mean(), (group["scene"].nunique(), group["seed"].nunique())
            points.append((*keys, float(rate), found.mean, found.low, found.high, over, *counts))
    frame = pd.DataFrame(points, columns=columns)
    if "architecture" in by and not frame.empty:
        order = {name: i for i, name in enumerate(architecture_order(frame["architecture"]))}
        frame = frame.assign(_order=frame["architecture"].map(order), _init=frame.get("init", "") != "scratch")
        frame = frame.sort_values(["_order", "_init", "dimension_ratio"]).drop(columns=["_order", "_init"])
    return frame.reset_index(drop=True)


def per_doubling(ratios: Sequence[float], values: Sequence[float]) -> float:
    """Slope of a least-squares line of `values` over log2 of `ratios`: change for each doubling; NaN for one ratio."""
    x, y = np.log2(np.asarray(ratios, float)), np.asarray(values, float)
    if len(np.unique(x)) < 2:
        return float("nan")
    return float(np.polyfit(x, y, 1)[0])


class Step(NamedTuple):
    """One step of the ratio.

    Parameters
    ----------
    start, end : float
        Ratios.
    change : float
        Change of the value for each doubling within the step.
    """

    start: float
    end: float
    change: float


def steps(ratios: Sequence[float], values: Sequence[float]) -> list[Step]:
    """Marginal change between neighboring ratios, for each doubling."""
    order = np.argsort(ratios)
    x, y = np.asarray(ratios, float)[order], np.asarray(values, float)[order]
    pairs = zip(x[:-1], x[1:], np.diff(y) / np.diff(np.log2(x)), strict=True) if len(np.unique(x)) == len(x) else ()
    return [Step(float(a), float(b), float(change)) for a, b, change in pairs]


def bends(found: Sequence[Step]) -> bool:
    """True if the first and the last step differ by more than a quarter: one price for all of them would mislead."""
    if len(found) < 2:
        return False
    first, last = abs(found[0].change), abs(found[-1].change)
    return abs(first - last) > 0.25 * max(first, last)


def reference_ratio(rows: pd.DataFrame) -> float:
    """The ratio that front pages speak of: 16 where it was measured, otherwise the one in the middle."""
    ratios = np.sort(rows["dimension_ratio"].dropna().unique())
    return float(16 if 16 in ratios else ratios[(len(ratios) - 1) // 2])


def best(points: pd.DataFrame, ratio: float, *, higher: bool = True, network: bool = True) -> pd.Series | None:
    """Best point of `curve` at `ratio`, among networks (not the KLT) where `network`; None where there is none."""
    found = points[points["dimension_ratio"] == ratio]
    if network and (found["architecture"] != "klt").any():
        found = found[found["architecture"] != "klt"]
    if found.empty:
        return None
    return found.loc[found["mean"].idxmax() if higher else found["mean"].idxmin()]
