"""Claims about the curve of rate and distortion."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    main_shapes,
    networks,
    unmeasured,
)
from sarlab.views.operating import knee_of
from sarlab.views.summary import curve, per_doubling, steps
from sarlab.views.text import listing, number, ratio, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: PSNR in dB that the guide gives for each ratio.
GUIDE = {4.0: 45.0, 8.0: 40.0, 16.0: 35.0, 32.0: 30.0, 64.0: 25.0, 128.0: 20.0}
#: A figure of the guide is met within so many dB.
NEAR_DB = 2.0
#: Thresholds of PSNR in dB for the highest ratio that passes.
THRESHOLDS = (20.0, 22.0, 24.0, 26.0, 28.0, 30.0)
SCRATCH = "networks trained from scratch at several ratios (plan full)"


@claim(1, "PSNR falls 45, 40, 35, 30, 25, 20 dB from 4× to 128×, with a knee.",
       "PSNR of the best network from scratch at each ratio; the knee by marginal cost", "rate_distortion")  # fmt: skip
def psnr_over_ratio(tables: Tables) -> Verdict:
    points = best_points(networks(tables))
    known = points[points["dimension_ratio"].isin(GUIDE)] if len(points) else points
    if len(known) < 3:
        return unmeasured(SCRATCH)
    values = dict(zip(known["dimension_ratio"], known["mean"], strict=True))
    off = np.array([values[at] - GUIDE[at] for at in values])
    slope = per_doubling(list(values), list(values.values()))
    knee = knee_of([(step.start, step.change) for step in steps(list(values), list(values.values()))])
    outcome = HELD if (np.abs(off) <= NEAR_DB).all() and knee else REFUTED if (np.abs(off) > NEAR_DB).any() else DEPENDS
    tail = f"knee at {ratio(knee)}" if knee else "no knee"
    return Verdict(
        outcome,
        f"{at_ratios(values)}; {number(slope)} dB for each doubling, {tail}",
        f"off by {number(off.min(), sign=True)} to {number(off.max(), sign=True)} dB",
    )


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
       "PSNR of the best network from scratch at these ratios", "operating_point")  # fmt: skip
def use_cases_hold(tables: Tables) -> Verdict:
    points = best_points(networks(tables))
    wanted = {float(at): limit for _, limit, at in USE_CASES.values()}
    known = points[points["dimension_ratio"].isin(wanted)] if len(points) else points
    if len(known) < 2:
        return unmeasured(SCRATCH)
    values = dict(zip(known["dimension_ratio"], known["mean"], strict=True))
    held = [values[at] > wanted[at] for at in values]
    outcome = HELD if all(held) else REFUTED if not any(held) else DEPENDS
    off = [values[at] - wanted[at] for at in values]
    return Verdict(
        outcome, at_ratios(values), f"off by {number(min(off), sign=True)} to {number(max(off), sign=True)} dB"
    )


@claim(18, "8× may be the sweet spot: from 4× to 8× costs 1 dB, from 8× to 16× 5 dB.",
       "loss of PSNR for these two doublings; knee detector", "operating_point")  # fmt: skip
def sweet_spot(tables: Tables) -> Verdict:
    points = best_points(networks(tables))
    values = dict(zip(points["dimension_ratio"], points["mean"], strict=True)) if len(points) else {}
    if not {4.0, 8.0, 16.0} <= set(values):
        return unmeasured(SCRATCH)
    first, second = values[4.0] - values[8.0], values[8.0] - values[16.0]
    figure = f"4× to 8× costs {number(first)} dB, 8× to 16× {number(second)} dB"
    return Verdict(HELD if second > 2 * first > 0 else REFUTED, figure)


@claim(21, "A better architecture makes 32× pass where plain reached 16×.",
       "highest ratio from scratch that passes a threshold, by architecture, for several thresholds", "rate_distortion")  # fmt: skip
def twice_the_ratio(tables: Tables) -> Verdict:
    rows = main_shapes(networks(tables))
    if rows.empty or not {"plain", "residual"} <= set(rows["architecture"]):
        return unmeasured("plain and residual networks from scratch at equal steps (plan full)")
    points = curve(rows, "psnr_db")
    gains = []
    for threshold in THRESHOLDS:
        reached = highest_passing(points, threshold)
        if "plain" in reached:
            gains.append(max(reached.values()) / reached["plain"])
    if not gains:
        return Verdict(OPEN, f"plain passes none of the thresholds from {number(THRESHOLDS[0], 0)} dB up")
    twice = sum(gain >= 2 for gain in gains)
    outcome = HELD if twice == len(gains) else REFUTED if not twice else DEPENDS
    return Verdict(outcome, f"at {twice} of {len(gains)} thresholds another network passes at twice the ratio of plain")


def highest_passing(points: pd.DataFrame, threshold: float) -> dict[str, float]:
    """Architecture → highest ratio at which its mean PSNR passes."""
    passing = points[points["mean"] >= threshold]
    return passing.groupby("architecture")["dimension_ratio"].max().to_dict()
