"""Verdicts on claims of the guide: their evidence, paired differences, and the table that shows them.

A claim is a text with a predicate, a function of the tables that returns readings. `conclude` makes a verdict of them. It
publishes none without satellite passes, and none on networks that have not all converged.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.lab.results import settling_steps
from sarlab.metrics.intervals import interval
from sarlab.views import page, select

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

HELD, REFUTED, DEPENDS, OPEN, UNMEASURED = "held", "refuted", "depends", "inconclusive", "not measured"
OUTCOMES = (HELD, REFUTED, DEPENDS, OPEN, UNMEASURED)
MARKS = dict(zip(OUTCOMES, "✓✗◐?–", strict=True))
#: Trainings from different seeds that a verdict about networks needs.
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Evidence:
    """Observations behind a verdict: satellite passes (0 for arithmetic and processes), seeds and steps of trainings (0
    without), and whether all of them converged."""

    passes: int = 0
    seeds: int = 0
    steps: int = 0
    converged: bool = True
    other: str = ""

    @classmethod
    def of(cls, rows: pd.DataFrame, *, trained: bool = False) -> Evidence:
        """Evidence of rows of a table, which hold trained networks or not."""
        passes = int(select.passes(rows["acquisition"]).nunique()) if len(rows) else 0
        if not trained:
            return cls(passes)
        steps = select.numbers(rows, "steps").max()
        return cls(passes, rows["seed"].nunique(), int(np.nan_to_num(steps)), select.converged(rows))

    def __str__(self) -> str:
        parts = [
            f"{self.passes} {'pass' if self.passes == 1 else 'passes'}" if self.passes else "",
            f"{self.seeds} {'seed' if self.seeds == 1 else 'seeds'}" if self.seeds else "",
            f"trainings {'converged' if self.converged else 'not converged'}" if self.seeds else "", self.other,
        ]  # fmt: skip
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class Reading:
    """One sense of a claim, with its outcome, and for an open one what would settle it."""

    text: str
    outcome: str
    settle: str = ""


@dataclass(frozen=True)
class Verdict:
    """Outcome of a claim with the numbers that it rests on.

    Raises
    ------
    ResultsError
        For an outcome without evidence, or on networks that have not converged.
    """

    outcome: str
    measured: str
    readings: tuple[Reading, ...] = ()
    evidence: Evidence = Evidence()
    settle: str = ""

    def __post_init__(self) -> None:
        if self.outcome not in (HELD, REFUTED, DEPENDS):
            return
        if not (self.evidence.passes or self.evidence.other):
            raise ResultsError(f"a verdict needs satellite passes or a stated other source: {self.measured}")
        if not self.evidence.converged:
            raise ResultsError(f"a verdict on trainings needs all of them converged: {self.measured}")


def conclude(readings: Iterable[Reading], evidence: Evidence, measured: str = "", *, outcome: str = "") -> Verdict:
    """Verdict on all readings of a claim together, or `outcome`; inconclusive on networks that have not converged.

    `measured` is what the table shows; default: the first reading.
    """
    readings = tuple(reading for reading in readings if reading.outcome != UNMEASURED)
    if not readings:
        return unmeasured("the same networks in both variants")
    measured, outcome = measured or readings[0].text, outcome or together([reading.outcome for reading in readings])
    if not evidence.converged:
        settle = f"not converged: trainings of {page.significant(settling_steps(evidence.steps))} steps would settle it"
        return Verdict(OPEN, measured, readings, evidence, settle)
    settle = "; ".join(dict.fromkeys(r.settle for r in readings if r.settle)) if outcome == OPEN else ""
    return Verdict(outcome, measured, readings, evidence, settle)


def together(outcomes: Sequence[str]) -> str:
    """Outcome of several readings: that of all, or it depends; an open one leaves it open."""
    kinds = set(outcomes)
    if len(kinds) == 1:
        return kinds.pop()
    return DEPENDS if {HELD, REFUTED} <= kinds or DEPENDS in kinds else OPEN


def unmeasured(what: str) -> Verdict:
    """Verdict where a plan lacks the measurement."""
    return Verdict(UNMEASURED, f"needs {what}")


@dataclass(frozen=True)
class Claim:
    """A claim: what the guide states, its number, and the page that measures it."""

    number: int
    text: str
    guide: str
    page: str
    judge: Callable[[Tables], Verdict]


claims: dict[int, Claim] = {}


def claim(number: int, text: str, guide: str, page: str) -> Callable[[Callable[[Tables], Verdict]], Callable]:
    """Register the decorated predicate as the judge of a claim."""

    def register(judge: Callable[[Tables], Verdict]) -> Callable[[Tables], Verdict]:
        claims[number] = Claim(number, text, guide, page, judge)
        return judge

    return register


def verdicts(t: Tables) -> dict[int, Verdict]:
    """Verdict of every claim, by its number."""
    return {number: claims[number].judge(t) for number in sorted(claims)}


# --- rows and differences ------------------------------------------------------------------------------------------------


def networks(t: Tables, *, init: str = "scratch", quantized: bool = False, curve: str = "dedicated") -> pd.DataFrame:
    """Trained networks of one start on recorded scenes, first band, unquantized or quantized."""
    rows = select.measured(t.runs)
    if rows.empty:
        return rows
    rows = rows[(rows["architecture"] != "klt") & (rows["init"] == init) & ((rows["quantizer"] != "f32") == quantized)]
    for column, wanted, usual in (("curve", curve, "dedicated"), ("loss_name", "mse", "mse")):
        rows = rows[rows[column].fillna(usual) == wanted] if column in rows else rows
    return rows


def shares(values: Iterable[bool], text: str) -> Reading:
    """Reading that holds at all of several places, at some or at none."""
    values = list(values)
    outcome = HELD if all(values) else DEPENDS if any(values) else REFUTED
    return Reading(f"{text} ({sum(values)} of {len(values)})" if len(values) > 1 else text, outcome)


def compared(
    text: str, rows: pd.DataFrame, by: str, first: object, second: object, metric: str = "psnr_db", *,
    pair: Sequence[str] = ("seed", "scene"), limit: float = 0.0, more: bool = True, digits: int = 2,
) -> Reading:  # fmt: skip
    """Reading that a metric at one value of a column exceeds that at another by more than `limit` (or less, if not `more`).

    Rows are paired by the columns `pair`. The difference counts with the wider of its intervals over passes and over
    trainings; it decides if the whole interval is on one side of the limit and there are trainings from enough seeds.
    """
    keys = [name for name in pair if name in rows]
    sides = [rows[rows[by] == value].drop_duplicates(keys).set_index(keys) for value in (first, second)]
    gap = (select.numbers(sides[0], metric) - select.numbers(sides[1], metric)).dropna()
    if gap.empty:
        return Reading(text, UNMEASURED)
    about = sides[0].loc[gap.index].reset_index()
    trainings = about[[name for name in keys if name not in ("scene", "band")]].astype(str).agg("/".join, axis=1)
    found = {"passes": interval(gap, select.passes(about["acquisition"])), "trainings": interval(gap, trainings)}
    over = max(found, key=lambda name: np.nan_to_num(found[name].high - found[name].low))
    shown = SimpleNamespace(**{**found[over]._asdict(), "mean": found["passes"].mean}, over=over)
    unit = "dB" if metric.endswith("_db") else ""
    text = f"{text} {page.interval(shown, digits if unit else 3, unit=unit, sign=True)}"
    if about["seed"].nunique() < LEAST_SEEDS:
        return Reading(text, OPEN, f"trainings from {LEAST_SEEDS} seeds")
    if shown.low > limit or shown.high < limit:
        return Reading(text, HELD if (shown.low > limit) == more else REFUTED)
    return Reading(text, OPEN, "more passes and seeds: the interval contains the limit")


# --- the page ------------------------------------------------------------------------------------------------------------


def overview(found: dict[int, Verdict]) -> page.Html:
    """One row per claim: the guide's number, what was measured with its readings folded, the verdict, the page."""
    rows = []
    for n, verdict in found.items():
        item, text = claims[n], html.escape
        readings = "".join(f"<li>{MARKS[r.outcome]} {text(r.text)}: {r.outcome}</li>" for r in verdict.readings)
        details = f"<details><summary>{text(str(verdict.evidence))}</summary><ul>{readings}</ul></details>"
        rows.append({
            "claim": f'<a id="claim-{n}"></a>{n}. {text(item.text)} <a href="{item.page}.html">Measured here.</a>',
            "verdict": f"<strong>{MARKS[verdict.outcome]} {verdict.outcome}</strong><br><small>{text(verdict.settle)}</small>",
            "the guide": text(item.guide), "measured": text(verdict.measured) + (details if readings else ""),
        })  # fmt: skip
    caption = "Claims of the guide and their verdicts, computed from the tables of this book"
    return page.table(pd.DataFrame(rows), 0, left=4, wrap=list(rows[0]), caption=caption)
