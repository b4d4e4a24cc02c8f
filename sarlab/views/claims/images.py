"""Claims about images: PSNR over the ratio, speckle, the order of loss, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.lab.operating_points import USE_CASES
from sarlab.metrics.bounds import shannon_lower_bound
from sarlab.metrics.intervals import Interval
from sarlab.views import page, select
from sarlab.views.page import number

from sarlab.views.claims.verdict import (  # isort: skip
    DEPENDS, HELD, REFUTED, Evidence, Reading, Verdict, claim, compared, conclude, networks, shares, unmeasured,
)  # fmt: skip

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

SCRATCH = "networks from scratch at several ratios"
DOMAINS = {"psnr_db": "dB", "psnr_amplitude": "amplitude", "psnr_intensity": "intensity"}
GUIDE = {4.0: 45.0, 8.0: 40.0, 16.0: 35.0, 32.0: 30.0, 64.0: 25.0, 128.0: 20.0}
#: A value of the guide is met within this many dB; a codec approaches a limit within this factor of its rate.
NEAR_DB, NEAR_RATE = 2.0, 1.25
#: Rate in bits per pixel below which headers are most of a file.
LEAST_BPP = 0.1


def best(rows: pd.DataFrame, metric: str) -> pd.Series:
    """Mean of the best architecture at each ratio."""
    points = select.means(rows, metric, ["architecture", "dimension_ratio"])
    return points.groupby("dimension_ratio")["mean"].max().dropna()


def at_ratios(values: pd.Series, digits: int = 1) -> str:
    """``31.2 at 4×, 27.0 at 8×``."""
    return ", ".join(f"{number(v, digits)} at {page.ratio(at)}" for at, v in values.items())


@claim(1, "PSNR falls from 4× to 128×, with a knee.", "45, 40, 35, 30, 25, 20 dB", "rate_distortion")
def psnr_over_ratio(t: Tables) -> Verdict:
    rows, readings = select.main_line(networks(t)), []
    curves = {name: best(rows, column).reindex([*GUIDE]).dropna() for column, name in DOMAINS.items()}
    if len(curves["dB"]) < 3:
        return unmeasured(SCRATCH)
    for name, curve in curves.items():
        near = (curve - curve.index.map(GUIDE)).abs() <= NEAR_DB
        outcome = HELD if near.all() else REFUTED if near.mean() < 0.5 else DEPENDS
        if len(near):
            readings.append(
                Reading(f"PSNR in {name} within {NEAR_DB:g} dB at {near.sum()} of {len(near)} ratios", outcome)
            )
    missed = {reading.outcome for reading in readings} == {REFUTED}
    costs = -np.diff(curves["dB"]) / np.diff(np.log2(curves["dB"].index))
    knee = bool((costs[1:] > 1.5 * costs[:-1]).any())
    readings.append(shares([knee], "a knee, where a doubling costs half as much again as the one before"))
    measured = f"{at_ratios(curves['dB'])} (dB); {number(costs.mean())} dB per doubling"
    return conclude(readings, Evidence.of(rows, trained=True), measured, outcome=REFUTED if missed else "")


@claim(17, "Each use case has a ratio and a quality.", "8× > 35 dB, 16× > 30, 32× > 27, 64× > 24", "operating_point")
def use_cases(t: Tables) -> Verdict:
    rows, readings, shown = select.main_line(networks(t)), [], []
    wanted = {float(at): limit for _, limit, at in USE_CASES.values()}
    for column, name in DOMAINS.items():
        curve = best(rows, column).reindex([*wanted]).dropna()
        if len(curve):
            readings.append(shares(curve > curve.index.map(wanted), f"met with PSNR in {name}"))
            shown.append(f"in {name} {at_ratios(curve)}")
    if not readings:
        return unmeasured(SCRATCH)
    return conclude(readings, Evidence.of(rows, trained=True), f"PSNR (dB) {'; '.join(shown)}")


@claim(18, "8× may be the sweet spot.", "4→8× costs 1 dB, 8→16× costs 5 dB", "operating_point")
def sweet_spot(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    rows = rows[rows["dimension_ratio"].isin((4.0, 8.0, 16.0))]
    if rows["dimension_ratio"].nunique() < 3:
        return unmeasured("networks from scratch at 4×, 8× and 16×")
    at = rows.pivot_table("psnr_db", ["architecture", "seed", "scene", "acquisition"], "dimension_ratio").dropna()
    first, second = at[4.0] - at[8.0], at[8.0] - at[16.0]
    both = pd.concat([(2 * first).rename("cost_db").reset_index(), second.rename("cost_db").reset_index()], keys=[1, 2])
    both, pair = both.reset_index(level=0, names="step"), ("architecture", "seed", "scene")
    excess = compared("second doubling minus twice the first", both, "step", 2, 1, "cost_db", pair=pair)
    measured = f"4→8× costs {number(first.mean())} dB, 8→16× costs {number(second.mean())} dB"
    return conclude([excess], Evidence.of(rows, trained=True), measured)


@claim(2, "Speckle can be compressed; SAR compresses well.", "speckle high, structure low entropy", "scene_entropy")
def speckle_compresses(t: Tables) -> Verdict:
    entropy = t.table("scene_entropy", ["grid", "kind", "looks", "jpegls_bpp", "acquisition"])
    files = t.table("reflectivity", ["correlation", "measured_cr", "rmse_clean_db", "scene"])
    fine, relative = (entropy[entropy["grid"] == name] for name in ("0.1 dB", "1/8 standard deviation"))
    files = files[files["correlation"] == 0]
    bits = relative.groupby("kind")["jpegls_bpp"].agg(["min", "max"]).reindex(["radar", "optical"])
    if bits["min"].isna().any() or files.empty:
        return unmeasured("the studies scene_entropy and reflectivity")
    single = fine[(fine["kind"] == "simulated") & (fine["looks"] == 1)]["jpegls_bpp"].mean()
    share = 1 - fine[fine["kind"] == "speckle-free"]["jpegls_bpp"].mean() / single
    recorded = files.groupby("scene")["rmse_clean_db"].max()  # of the mildest compression, which keeps all speckle
    closer = files[files["measured_cr"] >= 16].groupby("scene")["rmse_clean_db"].min() < recorded
    cheaper = bool(bits["min"]["radar"] < bits["max"]["optical"])
    radar, optical = (page.span(bits.loc[kind], lambda v: number(v, 2)) for kind in bits.index)
    readings = [
        shares(closer, "lossy: 16× files can be closer to the speckle-free scene than the recorded image is"),
        shares(
            [bool(share < 0.5)], f"lossless: {number(100 * share, 0)} % of the bits of a single-look scene are speckle"
        ),
        shares([cheaper], f"lossless at equal precision: radar takes {radar} bpp, optical images {optical} bpp"),
    ]
    evidence = Evidence(
        Evidence.of(entropy[entropy["kind"] == "radar"]).passes, other=f"{len(closer)} simulated scenes"
    )
    return conclude(readings, evidence, "; ".join(reading.text for reading in readings[:2]))


@claim(19, "First lost: noise and texture; last: edges and objects.", "an order, no number", "fidelity")
def order_of_loss(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    kinds, ends = ("edge", "target", "homogeneous", "texture"), ["lost_power_band8", "lost_power_band1"]
    columns = [*ends, "epi_roa", *(f"rmse_{kind}_db" for kind in kinds)]
    if rows.empty or not set(columns) <= set(rows):
        return unmeasured("networks from scratch with errors by frequency")
    lost = rows.groupby("dimension_ratio")[columns].mean().clip(upper=pd.Series(1.0, ends).reindex(columns), axis=1)
    structure, ground = (lost[[f"rmse_{kind}_db" for kind in part]].mean(axis=1) for part in (kinds[:2], kinds[2:]))
    readings = [
        shares(lost[ends[0]] > lost[ends[1]], "fine detail loses more of its power than coarse, by ratio"),
        shares(1 - lost["epi_roa"] < lost[ends[0]], "edges lose less than the finest detail, by ratio"),
        shares(structure < ground, "in dB, edges and targets err less than ground without them, by ratio"),
    ]
    fine, coarse = (at_ratios(100 * lost[end].iloc[[0, -1]], 0) for end in ends)
    measured = f"power lost at the finest detail: {fine} (%); at the coarsest: {coarse} (%)"
    return conclude(readings, Evidence.of(rows, trained=True), measured)


@claim(5, "No codec beats R(D); networks approach it.", "a bound, no number", "limits")
def bound(t: Tables) -> Verdict:
    columns = ["correlation", "looks", "rmse_db", "bpp"]
    white = t.table("reflectivity", columns).query("correlation == 0").dropna(subset=columns)
    found = rates_over_limit(t.table("limits", ["limit", "scene", "band", "psnr_db", "bpp"]), t.codecs)
    if found.empty or white.empty:
        return unmeasured("codecs and limits of the same scenes")
    least = np.array([shannon_lower_bound(*row) for row in white[["rmse_db", "looks"]].to_numpy()])
    quotient = (white["bpp"] / least)[least >= LEAST_BPP].min()
    learned = set(t.codecs.loc[t.codecs["family"] == "learned", "codec"])
    means = found.groupby("codec")["log"].mean()
    chosen = means[means.index.isin(learned) | (not learned & set(means.index))].idxmin()
    point = select.means(found[found["codec"] == chosen], "log", "codec").iloc[0]
    mean, low, high = (float(np.exp(point[end])) for end in ("mean", "low", "high"))
    over = Interval(mean, low, high, int(point["n"]), str(point["kind"]))
    name = page.name_of(chosen)
    near = f"{name} takes {page.interval(over, 2)} times the rate of Gaussian water-filling; near: {NEAR_RATE:g}"
    theorem = f"a theorem; on simulated speckle no file takes less than {number(quotient, 2)} times the Shannon bound"
    return conclude(
        [shares([over.mean <= NEAR_RATE], near), shares([bool(quotient >= 1)], theorem)], Evidence.of(found)
    )


def rates_over_limit(limits: pd.DataFrame, codecs: pd.DataFrame) -> pd.DataFrame:
    """Logarithm of each file's rate over that of Gaussian water-filling on its scene at its PSNR: column ``log``."""
    limits = limits[(limits["limit"] == "rwf") & (limits["bpp"] > 0)]
    lines, parts = dict(list(limits.groupby(["scene", "band"]))), []
    for key, rows in select.measured(codecs, band=None).groupby(["scene", "band"]) if len(codecs) else ():
        if key in lines:
            rate = rows["bpp_content"] if "bpp_content" in rows else rows["bpp"]
            least = select.interpolate(rows["psnr_db"], lines[key]["psnr_db"], np.log(lines[key]["bpp"]))
            parts.append(rows.assign(log=np.log(rate.where(rate > LEAST_BPP)) - least).dropna(subset=["log"]))
    return pd.concat(parts) if parts else pd.DataFrame()
