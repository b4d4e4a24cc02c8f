"""Claims about the curve of rate and distortion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sarlab.lab.operating_points import USE_CASES
from sarlab.views.claims.verdict import (
    DEPENDS,
    HELD,
    OPEN,
    REFUTED,
    Verdict,
    at_ratios,
    best_points,
    claim,
    judged,
    learned,
    main_shapes,
    networks,
    unmeasured,
    widest,
)
from sarlab.views.operating import knee_of
from sarlab.views.summary import per_doubling, steps
from sarlab.views.text import listing, number, ratio, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: PSNR in dB that the guide gives for each ratio.
GUIDE = {4.0: 45.0, 8.0: 40.0, 16.0: 35.0, 32.0: 30.0, 64.0: 25.0, 128.0: 20.0}
#: A figure of the guide is met within so many dB.
NEAR_DB = 2.0
SCRATCH = "networks trained from scratch at several ratios (plan cpu or full)"


@claim(1, "PSNR falls 45, 40, 35, 30, 25, 20 dB from 4× to 128×, with a knee.",
       "PSNR of the best network from scratch at each ratio, of the dB image and of the amplitude; the knee by marginal cost",
       "rate_distortion")  # fmt: skip
def psnr_over_ratio(tables: Tables) -> Verdict:
    rows = networks(tables)
    points = best_points(rows)
    known = points[points["dimension_ratio"].isin(GUIDE)] if len(points) else points
    if len(known) < 3:
        return unmeasured(SCRATCH)
    values = dict(zip(known["dimension_ratio"], known["mean"], strict=True))
    # Farthest and nearest that the intervals allow; without an interval, the mean.
    near = [nearest(row, GUIDE[row.dimension_ratio]) for row in known.itertuples()]
    off = np.array([values[at] - GUIDE[at] for at in values])
    amplitude = best_points(rows, "psnr_amplitude") if "psnr_amplitude" in rows else known.iloc[:0]
    linear = {
        r.dimension_ratio: r.mean - GUIDE[r.dimension_ratio]
        for r in amplitude.itertuples()
        if r.dimension_ratio in GUIDE
    }
    slope = per_doubling(list(values), list(values.values()))
    knee = knee_of([(step.start, step.change) for step in steps(list(values), list(values.values()))])
    outside = [gap > NEAR_DB for gap in near]
    outcome = HELD if not any(outside) and knee else REFUTED if sum(outside) > len(outside) / 2 else DEPENDS
    tail = f"knee at {ratio(knee)}" if knee else "no knee"
    figure = f"{at_ratios(values)}; {number(slope)} dB for each doubling, {tail}"
    if linear:
        figure += f"; of the amplitude off by {span(linear.values(), lambda v: number(v, sign=True))} dB"
    return Verdict(outcome, figure, f"off by {number(off.min(), sign=True)} to {number(off.max(), sign=True)} dB")


def nearest(point: Any, wanted: float) -> float:
    """Least distance in dB of `wanted` from the interval of a point, or from its mean where it has none."""
    low, high = (point.mean, point.mean) if not np.isfinite(point.low) else (point.low, point.high)
    return max(low - wanted, wanted - high, 0.0)


@claim(5, "No codec can beat the rate-distortion function; networks approach it.",
       "rate of every codec over that of Gaussian reverse water-filling at equal PSNR", "limits")  # fmt: skip
def nobody_beats_the_limit(tables: Tables) -> Verdict:
    shares = rate_over_limit(tables)
    if not shares:
        return unmeasured("codecs and limits on the same scenes (studies codecs and limits)")
    best, worst = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    beaten = [name for name, share in shares.items() if share < 1]
    figure = (
        f"{best} takes {number(shares[best], 2)} times the rate of the limit, {worst} {number(shares[worst], 2)} times"
    )
    if beaten:
        return Verdict(
            DEPENDS, f"{figure}: {listing(beaten)} below the limit of a Gaussian source, which a scene is not"
        )
    return Verdict(HELD, figure, f"{span(shares.values(), lambda v: number(v, 2))} times")


def rate_over_limit(tables: Tables) -> dict[str, float]:
    """Codec → geometric mean of its rate over that of water-filling, on the test scene and the PSNR values of both."""
    limits, rows = tables.table("limits"), tables.codecs
    if limits.empty or rows.empty or not {"limit", "psnr_db", "bpp"} <= set(limits):
        return {}
    limits = limits[(limits["limit"] == "rwf") & (limits["split"] == "test") & (limits["scene"] != "pooled")]
    shares: dict[str, list[float]] = {}
    for (scene, band), line in limits.groupby(["scene", "band"]):
        line = line.dropna(subset=["psnr_db", "bpp"]).sort_values("psnr_db")
        line = line[line["bpp"] > 0]
        here = rows[(rows["scene"] == scene) & (rows["band"] == band)]
        for row in here.dropna(subset=["psnr_db", "bpp"]).itertuples():
            psnr, bpp = float(row.psnr_db), float(getattr(row, "bpp_content", row.bpp))
            if len(line) > 1 and line["psnr_db"].min() <= psnr <= line["psnr_db"].max() and bpp > 0.1:
                bound = np.exp(np.interp(psnr, line["psnr_db"], np.log(line["bpp"])))
                shares.setdefault(str(row.codec), []).append(np.log(bpp / bound))
    return {name: float(np.exp(np.mean(values))) for name, values in shares.items()}


@claim(17, "8× gives more than 35 dB, 16× 30, 32× 27, 64× 24: archive, bandwidth, extreme, preview.",
       "PSNR of the best network from scratch at these ratios, of the dB image and of the amplitude", "operating_point")  # fmt: skip
def use_cases_hold(tables: Tables) -> Verdict:
    rows = networks(tables)
    points = best_points(rows)
    wanted = {float(at): limit for _, limit, at in USE_CASES.values()}
    known = points[points["dimension_ratio"].isin(wanted)] if len(points) else points
    if len(known) < 2:
        return unmeasured(SCRATCH)
    values = dict(zip(known["dimension_ratio"], known["mean"], strict=True))
    outcomes = [short_of(row, wanted[row.dimension_ratio]) for row in known.itertuples()]
    off = [values[at] - wanted[at] for at in values]
    figure = at_ratios(values)
    if "psnr_amplitude" in rows:
        amplitude = best_points(rows, "psnr_amplitude")
        linear = {r.dimension_ratio: r.mean for r in amplitude.itertuples() if r.dimension_ratio in wanted}
        figure += f"; of the amplitude {at_ratios(linear)}" if linear else ""
    kinds = set(outcomes)
    outcome = kinds.pop() if len(kinds) == 1 else DEPENDS if {HELD, REFUTED} <= kinds else OPEN
    return Verdict(outcome, figure, f"off by {number(min(off), sign=True)} to {number(max(off), sign=True)} dB")


def short_of(point: Any, limit: float) -> str:
    """Whether a point lies above a limit with its interval, below it, or neither; without one, by half a dB."""
    low, high = (point.low, point.high) if np.isfinite(point.low) else (point.mean - 0.5, point.mean + 0.5)
    return HELD if low > limit else REFUTED if high < limit else OPEN


@claim(18, "8× may be the sweet spot: from 4× to 8× costs 1 dB, from 8× to 16× 5 dB.",
       "loss of PSNR for these two doublings, by scene; knee detector", "operating_point")  # fmt: skip
def sweet_spot(tables: Tables) -> Verdict:
    rows = networks(tables)
    points = best_points(rows)
    values = dict(zip(points["dimension_ratio"], points["mean"], strict=True)) if len(points) else {}
    if not {4.0, 8.0, 16.0} <= set(values):
        return unmeasured(SCRATCH)
    rows = learned(main_shapes(rows))
    keys = ["architecture", "seed", "scene", "acquisition"]
    at = (
        rows.groupby([*keys, "dimension_ratio"])["psnr_db"]
        .mean()
        .unstack("dimension_ratio")
        .reindex(columns=[4.0, 8.0, 16.0])
        .dropna()
    )
    if at.empty:
        return unmeasured(f"{SCRATCH}, done learning at 4×, 8× and 16×")
    # Positive where the second doubling costs more than twice the first, as a sweet spot between them needs.
    excess = (at[8.0] - at[16.0]) - 2 * (at[4.0] - at[8.0])
    found = widest(excess, pd.Series(at.index.get_level_values("acquisition")), ["architecture", "seed"])
    costs = (at[4.0] - at[8.0]).mean(), (at[8.0] - at[16.0]).mean()
    figure = f"4× to 8× costs {number(costs[0])} dB, 8× to 16× {number(costs[1])} dB"
    outcome = judged(found, 0.0)
    if outcome == OPEN and not np.isfinite(found.low):
        outcome = HELD if found.mean > 0.5 else REFUTED if found.mean < -0.5 else OPEN
    return Verdict(outcome, figure, f"the second minus twice the first: {found.span()}" if found.span() else "")
