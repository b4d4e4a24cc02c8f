"""Claims about networks and their training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views.claims.verdict import (
    DEPENDS,
    HELD,
    OPEN,
    REFUTED,
    Verdict,
    claim,
    difference,
    judged,
    main_shapes,
    networks,
    unmeasured,
)
from sarlab.views.summary import is_true, measured
from sarlab.views.text import number, ratio, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: What must agree between two networks that are compared at equal budgets.
EQUAL = ("dimension_ratio", "spatial_reduction", "steps", "batch_size", "seed", "scene")
#: Largest overhead in multiply-accumulates at which two networks count as matched.
MATCHED = 0.25
#: Memory in GB that the guide states for batches of 16, 8 and 4, and the card it speaks of.
STATED_GB, CARD_GB = {16: 4.0, 8: 2.5, 4: 1.5}, 8.0
SCRATCH = "plain, residual and attention networks from scratch at equal steps (plan full)"


@claim(7, "Four to five layers are the right depth; shallow trains fast, deep is slow with vanishing gradients.",
       "PSNR and time from scratch at one shape over depth", "architectures")  # fmt: skip
def depth(tables: Tables) -> Verdict:
    rows = varied(networks(tables), "depth", least=2)
    if rows.empty:
        return unmeasured("one shape from scratch at several depths (plan full)")
    lowest, highest = rows["depth"].min(), rows["depth"].max()
    found = difference(rows, "depth", highest, lowest, "psnr_db", pair=EQUAL)
    seconds = rows.groupby("depth")["train_seconds"].mean()
    figure = f"depth {int(highest)} against {int(lowest)}: {found.text()}, {number(seconds[highest] / seconds[lowest])} times as long"
    # Deep nets that gain without end, or shallow ones that lose nothing, both speak against a best depth between them.
    middle = rows[(rows["depth"] > lowest) & (rows["depth"] < highest)]
    if middle.empty:
        return Verdict(OPEN, figure, found.span())
    inner = difference(rows, "depth", middle["depth"].median(), highest, "psnr_db", pair=EQUAL)
    outer = difference(rows, "depth", middle["depth"].median(), lowest, "psnr_db", pair=EQUAL)
    outcomes = {judged(inner, 0.0), judged(outer, 0.0)}
    return Verdict(HELD if outcomes == {HELD} else REFUTED if REFUTED in outcomes else OPEN, figure, found.span())


@claim(8, "Residual blocks gain 2 dB at 16×, or double the ratio at equal quality.",
       "residual minus plain from scratch at 16×, equal steps", "architectures")  # fmt: skip
def residual_gain(tables: Tables) -> Verdict:
    rows = main_shapes(networks(tables))
    rows = rows[rows["dimension_ratio"] == 16] if len(rows) else rows
    found = difference(rows, "architecture", "residual", "plain", "psnr_db", pair=EQUAL) if len(rows) else None
    if found is None or not found.pairs:
        return unmeasured(SCRATCH)
    outcome = HELD if judged(found, 1.5) == HELD else REFUTED if judged(found, 1.5) == REFUTED else OPEN
    return Verdict(outcome, f"{found.text()} at {ratio(16)}{_cost(rows, 'residual', 'plain')}", found.span())


@claim(9, "Attention at the bottleneck preserves edges better and costs little.",
       "edge preservation of attention minus residual from scratch, and what it adds in operations", "architectures")  # fmt: skip
def attention_edges(tables: Tables) -> Verdict:
    rows = main_shapes(networks(tables))
    if rows.empty or "epi_roa" not in rows:
        return unmeasured(SCRATCH)
    found = difference(rows, "architecture", "attention", "residual", "epi_roa", pair=EQUAL)
    if not found.pairs:
        return unmeasured(SCRATCH)
    macs = rows.groupby("architecture")["macs_per_pixel"].mean()
    overhead = float(macs["attention"] / macs["residual"] - 1)
    edges = judged(found, 0.0)
    outcome = edges if edges != HELD or overhead <= MATCHED else DEPENDS
    return Verdict(
        outcome,
        f"{found.text('of 1', 3)} in edges kept, {number(100 * overhead, 0)} % more operations",
        found.span("", 3),
    )


@claim(10, "A width of 64 to 128 is a good start on 8 GB; wider overfits with little data.",
       "PSNR from scratch at one shape over width", "architectures")  # fmt: skip
def width(tables: Tables) -> Verdict:
    rows = varied(networks(tables), "width", least=2)
    if rows.empty:
        return unmeasured("one shape from scratch at several widths (plan full)")
    means = rows.groupby("width")["psnr_db"].mean()
    best = float(means.idxmax())
    largest = means.index.max()
    figure = f"best of {', '.join(str(int(w)) for w in means.index)}: {int(best)} with {number(means.max())} dB"
    narrower = means.index[means.index < 64]
    if not len(narrower) or largest < 64:
        return Verdict(OPEN, figure)
    found = difference(rows, "width", best if best >= 64 else largest, narrower.max(), "psnr_db", pair=EQUAL)
    return Verdict(judged(found, 0.0), f"{figure}; against {int(narrower.max())}: {found.text()}", found.span())


@claim(15, "The memory formula is right, and batches of 16, 8 and 4 take 4, 2.5 and 1.5 GB.",
       "the formula for the networks and batches of the runs beside their measured peak", "cost")  # fmt: skip
def memory_formula(tables: Tables) -> Verdict:
    stated = {batch: guide_memory(batch, 256 * 256, 5e6) for batch in STATED_GB}
    own = [abs(stated[batch] / STATED_GB[batch] - 1) for batch in STATED_GB]
    figure = f"for its own case the formula gives {', '.join(number(stated[b], 2) for b in STATED_GB)} GB"
    rows = tables.table("cost")
    column = "train_peak_mb" if "train_peak_mb" in rows else "peak_mb"
    if len(rows) and {"batch_size", "parameters", "patch_size", column} <= set(rows):
        told = [guide_memory(r.batch_size, r.patch_size**2, r.parameters) for r in rows.itertuples()]
        shares = rows[column].astype(float) / 1e3 / np.array(told)
        figure += f"; measured peaks are {span(shares.dropna(), number)} times what it gives"
    return Verdict(HELD if max(own) < 0.15 else REFUTED, figure)


def guide_memory(batch: float, pixels: float, parameters: float) -> float:
    """The guide's `estimate_memory`, in GB, at 32 bits."""
    return 4e-9 * (batch * pixels + parameters + 2 * batch * parameters + 2 * parameters)


@claim(16, "High ratios train less stably and collapse.",
       "collapsed trainings and spread over seeds from scratch, by ratio", "architectures")  # fmt: skip
def stability(tables: Tables) -> Verdict:
    rows = main_shapes(networks(tables))
    if rows.empty or rows["seed"].nunique() < 3:
        return unmeasured("trainings from scratch of three seeds (plan full)")
    by_run = rows.groupby(["architecture", "dimension_ratio", "seed"], as_index=False).agg(
        psnr=("psnr_db", "mean"), collapsed=("collapsed", "first")
    )
    spread = by_run.groupby(["architecture", "dimension_ratio"])["psnr"].std().groupby("dimension_ratio").mean()
    lost = is_true(by_run["collapsed"]).groupby(by_run["dimension_ratio"]).mean()
    figure = (
        f"{number(100 * lost.iloc[-1], 0)} % collapsed at {ratio(lost.index[-1])}, {number(100 * lost.iloc[0], 0)} % at {ratio(lost.index[0])}; "
        f"spread over seeds {number(spread.iloc[-1], 2)} and {number(spread.iloc[0], 2)} dB"
    )
    if lost.iloc[-1] > lost.iloc[0]:
        return Verdict(HELD, figure)
    return Verdict(REFUTED if spread.iloc[-1] <= spread.iloc[0] else DEPENDS, figure)


@claim(22, "A GPU of 8 GB is enough at batches of 8 to 16.",
       "largest measured peak of memory of the runs", "runs")  # fmt: skip
def card(tables: Tables) -> Verdict:
    rows = measured(tables.runs)
    rows = rows[(rows["architecture"] != "klt") & (rows["batch_size"] >= 8)] if len(rows) else rows
    peaks = (
        pd.to_numeric(rows["peak_memory_mb"], errors="coerce").dropna() / 1e3 if len(rows) else pd.Series(dtype=float)
    )
    if peaks.empty:
        return unmeasured("trainings with batches of 8 or more")
    largest = int(rows["batch_size"].max())
    return Verdict(
        HELD if peaks.max() < CARD_GB else REFUTED, f"at most {number(peaks.max())} GB, in batches of up to {largest}"
    )


def varied(rows: pd.DataFrame, column: str, *, least: int) -> pd.DataFrame:
    """Rows of the one architecture, ratio and shape at which most values of `column` were trained."""
    if rows.empty:
        return rows
    others = [name for name in ("width", "depth") if name != column]
    keys = ["architecture", "dimension_ratio", "spatial_reduction", "steps", *others]
    counts = rows.groupby(keys)[column].nunique()
    if counts.empty or counts.max() < least:
        return rows.iloc[:0]
    wanted = dict(zip(keys, counts.idxmax(), strict=True))
    return rows[np.logical_and.reduce([rows[name] == value for name, value in wanted.items()])]


def _cost(rows: pd.DataFrame, one: str, other: str) -> str:
    macs = rows.groupby("architecture")["macs_per_pixel"].mean()
    share = float(macs[one] / macs[other] - 1)
    return f" with {number(100 * abs(share), 0)} % {'more' if share >= 0 else 'fewer'} operations"
