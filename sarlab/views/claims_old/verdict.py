"""What a verdict is, and the comparisons that claims share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.metrics.intervals import interval
from sarlab.views.summary import bands, curve, measured
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
    because : tuple of str
        What the outcome depends on, or what would settle it; every verdict that is neither held nor refuted says so.

    Raises
    ------
    ResultsError
        For an outcome that needs a reason and has none.
    """

    outcome: str
    figure: str
    interval: str = ""
    because: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.outcome in (DEPENDS, OPEN) and not self.because:
            raise ResultsError(
                f"a verdict '{self.outcome}' says what it depends on or what would settle it: {self.figure}"
            )


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


def networks(
    tables: Tables, *, init: str = "scratch", split: str | None = None, curve: str = "dedicated"
) -> pd.DataFrame:
    """Rows of unquantized networks of one start on recorded scenes, first band.

    Parameters
    ----------
    tables : Tables
    init : {"scratch", "klt"}
    split : {"test", "independent"}, optional
        Default: both, so that differences have an interval over acquisitions.
    curve : str
        Trainings of a ratio's own, or those that ratios share.
    """
    rows = measured(tables.runs, split=split)
    if rows.empty:
        return rows
    rows = rows[(rows["band"] == bands(rows)[0]) & (rows["init"] == init) & (rows["architecture"] != "klt")]
    if "curve" in rows:
        rows = rows[rows["curve"].fillna("dedicated") == curve]
    return rows[rows["quantizer"] == "f32"]


#: A network this far below the KLT of its own latent, in dB, has not learned what it could: it decides nothing.
UNLEARNED_DB = 1.0


def learned(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of trainings that came near the KLT of their own latent, or passed it; all where that was not measured."""
    if rows.empty or "gain_over_klt_db" not in rows or rows["gain_over_klt_db"].isna().all():
        return rows
    gain = pd.to_numeric(rows["gain_over_klt_db"], errors="coerce").groupby(rows["run_id"]).transform("mean")
    return rows[gain.isna() | (gain >= -UNLEARNED_DB)]


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
    """Mean paired difference with its interval; `low` and `high` are NaN below three acquisitions and trainings.

    Parameters
    ----------
    mean, low, high : float
    pairs : int
        Rows that were paired.
    trainings : int
        Networks that they come from, on the first side.
    kind : str
        Kind of interval: "95 %", or "range" of fewer than five acquisitions or trainings.
    """

    mean: float
    low: float
    high: float
    pairs: int
    trainings: int = 3
    kind: str = "95 %"

    def text(self, unit: str = "dB", digits: int = 2) -> str:
        """Mean with sign."""
        return f"{number(self.mean, digits, sign=True)} {unit}".strip()

    def certain(self, unit: str = "dB", digits: int = 2) -> str:
        """Interval, called by what it is; empty where there is none."""
        return f"{self.kind}: {self.span(unit, digits)}" if np.isfinite(self.low) else ""

    def span(self, unit: str = "dB", digits: int = 2) -> str:
        """Interval; empty where there is none."""
        if not np.isfinite(self.low):
            return ""
        return f"{number(self.low, digits, sign=True)} to {number(self.high, digits, sign=True)} {unit}".strip()


#: Columns of a pair that tell scenes apart, not trainings.
SCENE_KEYS = ("scene", "band", "split")


def difference(
    rows: pd.DataFrame, by: str, first: object, second: object, metric: str, *, pair: Sequence[str]
) -> Difference:
    """Mean of `metric` at ``by == first`` minus that at ``by == second``, rows paired by the columns `pair`.

    Returns
    -------
    Difference
        With the wider of two intervals: that over acquisitions and that over trainings.
    """
    sides = [
        rows[rows[by] == value].drop_duplicates(list(pair)).set_index(list(pair))[[metric, "acquisition"]]
        for value in (first, second)
    ]
    joined = sides[0].join(sides[1][metric].rename("_other"), how="inner").dropna(subset=[metric, "_other"])
    if joined.empty:
        return Difference(np.nan, np.nan, np.nan, 0, 0)
    gap = joined[metric].astype(float) - joined["_other"].astype(float)
    return widest(gap, joined["acquisition"], [name for name in joined.index.names if name not in SCENE_KEYS])


def widest(values: pd.Series, acquisitions: pd.Series, trainings: Sequence[str]) -> Difference:
    """Mean of `values` with the wider of the intervals over acquisitions and over trainings.

    Parameters
    ----------
    values : Series
        Its index holds the columns that tell rows apart.
    acquisitions : Series
        Of the same rows.
    trainings : sequence of str
        Levels of the index that tell one training from another.
    """
    networks = [
        "/".join(map(str, key)) for key in zip(*(values.index.get_level_values(n) for n in trainings), strict=True)
    ]
    networks = networks or ["only"] * len(values)
    over = [interval(values, acquisitions), interval(values, networks)]
    known = [item for item in over if item.n >= 3]
    low, high = min((item.low for item in known), default=np.nan), max((item.high for item in known), default=np.nan)
    kind = " and ".join(sorted({item.kind for item in known}))
    return Difference(over[0].mean, low, high, len(values), len(set(networks)), kind)


def judged(found: Difference, limit: float, *, more: bool = True, trainings: int = 3) -> str:
    """Whether a difference lies beyond `limit` with its whole interval, short of it, or neither can be said.

    Fewer trainings than `trainings`, or no interval, decide nothing: a network trained from another seed may differ by as
    much.
    """
    if not found.pairs:
        return UNMEASURED
    if not np.isfinite(found.low) or found.trainings < trainings:
        return OPEN
    sign = 1 if more else -1
    low, high = sorted((sign * (found.low - limit), sign * (found.high - limit)))
    return HELD if low > 0 else REFUTED if high < 0 else OPEN


def together(outcomes: Sequence[str]) -> str:
    """Outcome of a claim of several parts: all of one kind, or it depends; what is open leaves it open."""
    kinds = {outcome for outcome in outcomes if outcome != UNMEASURED}
    if not kinds:
        return UNMEASURED
    return kinds.pop() if len(kinds) == 1 else DEPENDS if {HELD, REFUTED} <= kinds or DEPENDS in kinds else OPEN


def at_ratios(values: dict[float, float], unit: str = "dB", digits: int = 1) -> str:
    """``31.2 dB at 4×, 27.0 dB at 8×``."""
    return ", ".join(f"{number(value, digits)} {unit}".strip() + f" at {ratio(at)}" for at, value in values.items())
