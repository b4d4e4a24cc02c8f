"""What a verdict is, and the comparisons that claims share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from sarlab.views.summary import bands, curve, interval, measured
from sarlab.views.text import number, ratio

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

HELD, REFUTED, DEPENDS, OPEN, UNMEASURED = "held", "refuted", "depends", "inconclusive", "not measured here"
OUTCOMES = (HELD, REFUTED, DEPENDS, OPEN, UNMEASURED)


@dataclass(frozen=True)
class Verdict:
    """Outcome of a claim.

    Parameters
    ----------
    outcome : str
        One of `OUTCOMES`.
    figure : str
        What was measured, with units.
    interval : str
        Its 95 % interval or range; empty where there is none.
    """

    outcome: str
    figure: str
    interval: str = ""


@dataclass(frozen=True)
class Claim:
    """One claim of the guide.

    Parameters
    ----------
    number : int
    text : str
        What the guide says.
    measured : str
        What is measured to judge it.
    page : str
        Chapter with the evidence.
    judge : callable
        Tables → Verdict.
    """

    number: int
    text: str
    measured: str
    page: str
    judge: Callable[[Tables], Verdict]


claims: dict[int, Claim] = {}


def claim(number: int, text: str, measured: str, page: str) -> Callable[[Callable[[Tables], Verdict]], Callable]:
    """Register the decorated predicate as the judge of a claim."""

    def register(judge: Callable[[Tables], Verdict]) -> Callable[[Tables], Verdict]:
        claims[number] = Claim(number, text, measured, page, judge)
        return judge

    return register


def unmeasured(what: str) -> Verdict:
    """This copy of the book holds no such measurement."""
    return Verdict(UNMEASURED, f"needs {what}")


# --- rows -------------------------------------------------------------------------------------------------------------


def networks(tables: Tables, *, init: str = "scratch", split: str = "test") -> pd.DataFrame:
    """Rows of unquantized networks of one start on recorded scenes, first band."""
    rows = measured(tables.runs, split=split)
    if rows.empty:
        return rows
    rows = rows[(rows["band"] == bands(rows)[0]) & (rows["init"] == init) & (rows["architecture"] != "klt")]
    return rows[rows["quantizer"] == "f32"]


def main_shapes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one width and depth, the commonest, and of one shape for each ratio."""
    for among, chosen in (
        (["architecture"], "width"),
        (["architecture"], "depth"),
        (["dimension_ratio"], "spatial_reduction"),
    ):
        if len(rows):
            rows = rows[rows[chosen] == rows.groupby(among)[chosen].transform(lambda v: v.mode().iloc[0])]
    return rows


def best_points(rows: pd.DataFrame, metric: str = "psnr_db") -> pd.DataFrame:
    """Best architecture at each ratio: rows of `curve`, ratios ascending."""
    if rows.empty:
        return rows
    points = curve(main_shapes(rows), metric).dropna(subset=["mean"])
    return points.loc[points.groupby("dimension_ratio")["mean"].idxmax()].sort_values("dimension_ratio")


class Difference(NamedTuple):
    """Mean paired difference with its 95 % interval; `low` and `high` are NaN where nothing varies enough to tell."""

    mean: float
    low: float
    high: float
    pairs: int

    def text(self, unit: str = "dB", digits: int = 2) -> str:
        """Mean with sign."""
        return f"{number(self.mean, digits, sign=True)} {unit}".strip()

    def span(self, unit: str = "dB", digits: int = 2) -> str:
        """Interval; empty where there is none."""
        if not np.isfinite(self.low):
            return ""
        return f"{number(self.low, digits, sign=True)} to {number(self.high, digits, sign=True)} {unit}".strip()


def difference(
    rows: pd.DataFrame, by: str, first: object, second: object, metric: str, *, pair: Sequence[str]
) -> Difference:
    """Mean of `metric` at ``by == first`` minus that at ``by == second``, rows paired by the columns `pair`."""
    sides = [
        rows[rows[by] == value].drop_duplicates(list(pair)).set_index(list(pair))[[metric, "acquisition"]]
        for value in (first, second)
    ]
    joined = sides[0].join(sides[1][metric].rename("_other"), how="inner").dropna(subset=[metric, "_other"])
    if joined.empty:
        return Difference(np.nan, np.nan, np.nan, 0)
    gap = joined[metric].astype(float) - joined["_other"].astype(float)
    seeds = joined.index.get_level_values("seed") if "seed" in joined.index.names else [0] * len(gap)
    found = interval(gap, joined["acquisition"], seeds)
    return Difference(found.mean, found.low, found.high, len(gap))


def judged(found: Difference, limit: float, *, more: bool = True) -> str:
    """Whether a difference lies beyond `limit` with its whole interval, short of it, or neither can be said.

    Without an interval the mean decides only where it is on the far side by as much as the limit itself; a single training
    on a single scene proves little.
    """
    if not found.pairs:
        return UNMEASURED
    sign = 1 if more else -1
    mean, low, high = (sign * (value - limit) for value in (found.mean, found.low, found.high))
    low, high = min(low, high), max(low, high)
    if not np.isfinite(low):
        margin = max(abs(limit), 0.1)
        return HELD if mean >= margin else REFUTED if mean <= -margin else OPEN
    return HELD if low > 0 else REFUTED if high < 0 else OPEN


def at_ratios(values: dict[float, float], unit: str = "dB", digits: int = 1) -> str:
    """``31.2 dB at 4×, 27.0 dB at 8×``."""
    return ", ".join(f"{number(value, digits)} {unit}".strip() + f" at {ratio(at)}" for at, value in values.items())
