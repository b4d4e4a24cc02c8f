"""Claims about the curve of rate and distortion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sarlab.lab.operating_points import USE_CASES
from sarlab.metrics.intervals import interval
from sarlab.views.claims_old.parts import Part, concluded, counted, settles
from sarlab.views.claims_old.verdict import (
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
from sarlab.views.codec_rows import name_of
from sarlab.views.operating import knee_of
from sarlab.views.summary import per_doubling, steps
from sarlab.views.text import number, ratio, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: PSNR in dB that the guide gives for each ratio.
GUIDE = {4.0: 45.0, 8.0: 40.0, 16.0: 35.0, 32.0: 30.0, 64.0: 25.0, 128.0: 20.0}
#: A figure of the guide is met within so many dB.
NEAR_DB = 2.0
#: Rate over that of the limit up to which a codec "approaches" it, and the rate below which headers are most of a file.
NEAR_SHARE, LEAST_BPP = 1.25, 0.1
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
    amplitude = amplitude[amplitude["dimension_ratio"].isin(GUIDE)] if len(amplitude) else amplitude
    linear = [r.mean - GUIDE[r.dimension_ratio] for r in amplitude.itertuples()]
    slope = per_doubling(list(values), list(values.values()))
    knee = knee_of([(step.start, step.change) for step in steps(list(values), list(values.values()))])
    parts = [within("the dB image", near)]
    if linear:
        parts.append(within("the amplitude", [nearest(r, GUIDE[r.dimension_ratio]) for r in amplitude.itertuples()]))
    tail = f"knee at {ratio(knee)}" if knee else "no knee"
    figure = f"{at_ratios(values)}; {number(slope)} dB for each doubling, {tail}"
    if linear:
        figure += f"; of the amplitude off by {span(linear, lambda v: number(v, sign=True))} dB"
    by_looks = slopes_by_looks(tables)
    if by_looks:
        figure += "; of JPEG 2000 on simulated scenes a doubling costs " + ", ".join(
            f"{number(-cost)} dB at {looks:g} {'look' if looks == 1 else 'looks'}" for looks, cost in by_looks.items()
        )
    interval = f"over the ratios off by {number(off.min(), sign=True)} to {number(off.max(), sign=True)} dB"
    # A knee of another curve saves nothing.
    missed = {part.outcome for part in parts} == {REFUTED}
    return concluded([*parts, counted("a knee", [bool(knee)])], figure, interval, outcome=REFUTED if missed else "")


def within(what: str, gaps: list[float]) -> Part:
    """Whether the guide's curve is met at every ratio, or missed at most of them."""
    met = [gap <= NEAR_DB for gap in gaps]
    outcome = HELD if all(met) else REFUTED if sum(met) < len(met) / 2 else DEPENDS
    return Part(f"{what} within {NEAR_DB:g} dB of the guide's curve at {sum(met)} of {len(met)} ratios", outcome)


def slopes_by_looks(tables: Tables) -> dict[float, float]:
    """Looks of simulated white speckle → change of PSNR of JPEG 2000 for each doubling of the compression ratio."""
    rows = tables.table("reflectivity")
    if rows.empty or not {"looks", "codec", "measured_cr", "psnr_db", "target_value", "correlation"} <= set(rows):
        return {}
    rows = rows[(rows["codec"] == "jpeg2000") & (rows["correlation"].astype(float) == 0)]
    means = rows.groupby(["looks", "target_value"])[["measured_cr", "psnr_db"]].mean().dropna()
    return {
        float(looks): per_doubling(list(line["measured_cr"]), list(line["psnr_db"]))
        for looks, line in means.groupby(level=0)
        if len(line) > 1
    }


def nearest(point: Any, wanted: float) -> float:
    """Least distance in dB of `wanted` from the interval of a point, or from its mean where it has none."""
    low, high = (point.mean, point.mean) if not np.isfinite(point.low) else (point.low, point.high)
    return max(low - wanted, wanted - high, 0.0)


@claim(5, "No codec can beat the rate-distortion function; networks approach it.",
       "rate of every codec over that of Gaussian reverse water-filling at equal PSNR; on simulated white speckle over the Shannon bound",
       "limits")  # fmt: skip
def nobody_beats_the_limit(tables: Tables) -> Verdict:
    rates = rate_over_limit(tables.table("limits"), tables.codecs)
    if rates.empty:
        return unmeasured("codecs and limits on the same scenes (studies codecs and limits)")
    shares = np.exp(rates.groupby("codec")["log_share"].mean())
    best, worst = str(shares.idxmin()), str(shares.idxmax())
    figure = (
        f"{name_of(best)} takes {number(shares[best], 2)} times the rate of the Gaussian limit, {name_of(worst)} "
        f"{number(shares[worst], 2)} times"
    )
    simulated = rate_over_limit(tables.table("simulated_limits"), tables.table("reflectivity"))
    if len(simulated):
        by = np.exp(simulated.groupby(["codec", "scene"])["log_share"].mean())
        codec, scene = by.idxmin()
        passes = ", less than it: of edges on even ground it is no bound" if by.min() < 1 else ""
        figure += f"; on {scene} {name_of(str(codec))} takes {number(by.min(), 2)} times its rate{passes}"
    least = least_over_bound(tables)
    if np.isfinite(least):
        figure += f"; on simulated white speckle no file takes less than {number(least, 2)} times its Shannon bound"
        parts = [counted("no codec passes a bound from below", [least >= 1])]
    else:  # The Gaussian limit bounds R(D) from above: who passes it beats a Gaussian source, not the function.
        parts = [counted("no codec passes the Gaussian limit", [bool((shares >= 1).all())])]
    families = tables.codecs["family"] if "family" in tables.codecs else pd.Series("", index=tables.codecs.index)
    learned_codecs = [name for name in shares.index if (families[tables.codecs["codec"] == name] == "learned").any()]
    nearest_one = min(learned_codecs or [best], key=shares.__getitem__)
    of_it = rates[rates["codec"] == nearest_one]
    logs = of_it.groupby(["scene", "band", "acquisition"])["log_share"].mean()
    found = interval(logs, logs.index.get_level_values("acquisition"))
    near = bool(np.exp(found.mean) <= NEAR_SHARE)
    parts.append(counted(f"{name_of(nearest_one)} comes within {100 * (NEAR_SHARE - 1):.0f} % of the limit", [near]))
    tail = f"{found.kind} for {name_of(nearest_one)}: {number(np.exp(found.low), 2)} to {number(np.exp(found.high), 2)} times"
    known = tail if np.isfinite(found.low) else ""
    return concluded(parts, figure, known or f"over the codecs {span(shares, lambda v: number(v, 2))} times")


def least_over_bound(tables: Tables) -> float:
    """Least rate of any file over the Shannon bound at its RMSE, on simulated white speckle; NaN where not measured.

    The bound is that of the speckle alone, given the scene, so nothing can pass it; files of less than `LEAST_BPP` at the
    bound are left out, where a quotient says nothing.
    """
    rows = tables.table("reflectivity")
    if rows.empty or not {"looks", "correlation", "rmse_db", "bpp"} <= set(rows):
        return float("nan")
    from sarlab.metrics.bounds import shannon_lower_bound

    rows = rows[rows["correlation"].astype(float) == 0].dropna(subset=["rmse_db", "bpp", "looks"])
    bounds = [shannon_lower_bound(float(row.rmse_db), float(row.looks)) for row in rows.itertuples()]
    shares = [float(bpp) / bound for bpp, bound in zip(rows["bpp"], bounds, strict=True) if bound >= LEAST_BPP]
    return min(shares, default=float("nan"))


def rate_over_limit(limits: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Logarithm of the rate of every file over that of water-filling on its scene at its PSNR: column ``log_share``."""
    if limits.empty or rows.empty or not {"limit", "psnr_db", "bpp"} <= set(limits):
        return pd.DataFrame()
    limits = limits[(limits["limit"] == "rwf") & (limits["scene"] != "pooled")]
    found = []
    for (scene, band), line in limits.groupby(["scene", "band"]):
        line = line.dropna(subset=["psnr_db", "bpp"]).sort_values("psnr_db")
        line = line[line["bpp"] > 0]
        here = rows[(rows["scene"] == scene) & (rows["band"] == band)]
        for row in here.dropna(subset=["psnr_db", "bpp"]).itertuples():
            psnr, bpp = float(row.psnr_db), float(getattr(row, "bpp_content", row.bpp))
            if len(line) > 1 and line["psnr_db"].min() <= psnr <= line["psnr_db"].max() and bpp > LEAST_BPP:
                log_share = np.log(bpp) - np.interp(psnr, line["psnr_db"], np.log(line["bpp"]))
                found.append((str(row.codec), scene, band, str(getattr(row, "acquisition", scene)), log_share))
    return pd.DataFrame(found, columns=["codec", "scene", "band", "acquisition", "log_share"])


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
    sides = [of_image(known, wanted, "dB image")]
    off = [values[at] - wanted[at] for at in values]
    figure = at_ratios(values)
    if "psnr_amplitude" in rows:
        amplitude = best_points(rows, "psnr_amplitude")
        amplitude = amplitude[amplitude["dimension_ratio"].isin(wanted)]
        if len(amplitude):
            figure += f"; of the amplitude {at_ratios(dict(zip(amplitude['dimension_ratio'], amplitude['mean'], strict=True)))}"
            sides.append(of_image(amplitude, wanted, "amplitude"))
    figure += "; " + "; ".join(part.what for part in sides)
    return concluded(
        sides,
        figure,
        f"over the ratios off by {number(min(off), sign=True)} to {number(max(off), sign=True)} dB in the dB image",
    )


def of_image(points: pd.DataFrame, wanted: dict[float, float], image: str) -> Part:
    """Whether the guide's four figures are met in one kind of image: one that is missed for sure refutes them."""
    outcomes = [short_of(row, wanted[row.dimension_ratio]) for row in points.itertuples()]
    kinds = set(outcomes)
    outcome = DEPENDS if {HELD, REFUTED} <= kinds else REFUTED if REFUTED in kinds else OPEN if OPEN in kinds else HELD
    said = [
        f"{outcomes.count(kind)} {word}"
        for kind, word in ((HELD, "met"), (REFUTED, "missed"), (OPEN, "open"))
        if kind in kinds
    ]
    settle = "more seeds and scenes: the intervals hold the guide's figures" if outcome == OPEN else ""
    return Part(f"in the {image} {', '.join(said)}", outcome, settle)


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
    figure = f"from 4× to 8× costs {number(costs[0])} dB, 8× to 16× {number(costs[1])} dB"
    outcome = judged(found, 0.0)
    if outcome == OPEN and not np.isfinite(found.low):
        outcome = HELD if found.mean > 0.5 else REFUTED if found.mean < -0.5 else OPEN
    part = Part(
        "the second doubling costs more than twice the first", outcome, settles(found) if outcome == OPEN else ""
    )
    return concluded(
        [part], figure, f"{found.kind}, the second minus twice the first: {found.span()}" if found.span() else ""
    )
