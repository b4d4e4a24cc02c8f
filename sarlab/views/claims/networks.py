"""Claims about networks and their training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import page, select
from sarlab.views.page import number

from sarlab.views.claims.verdict import (  # isort: skip
    HELD, REFUTED, Evidence, Reading, Verdict, claim, compared, conclude, networks, shares, together, unmeasured,
)  # fmt: skip

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

SCRATCH = "plain, residual and attention networks from scratch"
SHAPES = "latents of several shapes at one ratio"
#: Memory in GB that the guide states by batch size, and its card.
STATED_GB, CARD_GB = {16: 4.0, 8: 2.5, 4: 1.5}, 8.0
#: Gain in dB that counts as the guide's two, and the ratio that counts as high.
TWO_DB, HIGH = 1.5, 32.0
THRESHOLDS = (20.0, 22.0, 24.0, 26.0, 28.0, 30.0)
PAIR = ("dimension_ratio", "spatial_reduction", "steps", "seed", "scene")


def shapes(rows: pd.DataFrame) -> pd.DataFrame:
    """Networks of one architecture and equal steps at 16× that differ in the shape of their latent, with most seeds.

    Multiplications are equal if there are several shapes of those, else the width is.
    """
    rows = rows[(rows["dimension_ratio"] == 16) & ~rows["experiment"].astype(str).str.startswith("depth")]
    if rows.empty:
        return rows
    rows = rows[rows["architecture"] == rows.groupby("architecture")["spatial_reduction"].nunique().idxmax()]
    for column in ("stem", "steps"):
        if column in rows and rows[column].notna().any():
            rows = rows[rows[column] == rows[column].mode().iloc[0]]
    equal = rows[(rows["macs_per_pixel"] / rows["macs_per_pixel"].median() - 1).abs() <= 0.1]
    several = equal["spatial_reduction"].nunique() > 1
    rows = equal if several else rows[rows["width"] == rows["width"].mode().iloc[0]]
    seeds = rows.groupby("spatial_reduction")["seed"].transform("nunique")
    return rows[seeds == seeds.max()]


def budget(rows: pd.DataFrame) -> str:
    """What two architectures have in common, in words: operations within 15 %, or the width."""
    found = rows.groupby("architecture")[["macs_per_pixel", "width"]].median()
    equal = found["macs_per_pixel"].max() <= 1.15 * found["macs_per_pixel"].min()
    return "at equal operations" if equal else "at equal width" if found["width"].nunique() == 1 else "at unequal size"


@claim(3, "Spend spatial resolution on edges, not on speckle.", "16×16, moderate channels", "latent_design")
def resolution_for_edges(t: Tables) -> Verdict:
    rows = shapes(networks(t))
    if rows["spatial_reduction"].nunique() < 2:
        return unmeasured(SHAPES)
    ends = rows["spatial_reduction"].min(), rows["spatial_reduction"].max()
    name = "one position per {:g}×{:g} against {:g}×{:g} pixels".format(*np.repeat(ends, 2))
    edges = compared(f"{name}: edges kept", rows, "spatial_reduction", *ends, "epi_roa")
    fine = compared("finest detail lost", rows, "spatial_reduction", *ends, "lost_power_band8", limit=-0.1)
    return conclude([edges, fine], Evidence.of(rows, trained=True))


@claim(6, "16×16 latents suit SAR better than 8×8 with more channels.", "16×16 with 16 to 64 channels", "latent_design")
def shape(t: Tables) -> Verdict:
    rows = shapes(networks(t))
    if not {16, 32} <= set(rows["spatial_reduction"]):
        return unmeasured(SHAPES)
    readings = [
        compared("16×16×16 against 8×8×64: PSNR", rows, "spatial_reduction", 16, 32),
        compared("edges kept", rows, "spatial_reduction", 16, 32, "epi_roa"),
        compared("error at targets", rows, "spatial_reduction", 16, 32, "rmse_target_db", more=False),
    ]
    return conclude(readings, Evidence.of(rows, trained=True))


@claim(7, "Four to five layers are the right depth.", "4–5 layers", "architectures")
def depth(t: Tables) -> Verdict:
    rows = networks(t)
    rows = rows[(rows["dimension_ratio"] == 16) & (rows["spatial_reduction"] == 16)]
    usual = np.where(rows["experiment"] == "depth: 3 layers", 3, 4 + 3 * rows["depth"])
    rows = rows.assign(layers=select.numbers(rows, "layers").fillna(pd.Series(usual, rows.index)))
    counts = rows.groupby("architecture")["layers"].nunique()
    rows = rows[rows["architecture"] == (counts.idxmax() if len(counts) else "")]
    right = rows["layers"].between(4, 5)
    others = sorted(rows.loc[~right, "layers"].unique())
    if not right.any() or not others:
        return unmeasured("one shape at several depths")
    rows = rows.assign(layers=rows["layers"].where(~right, 4))
    readings = [compared(f"4 or 5 against {n:g} layers: PSNR", rows, "layers", 4, n, pair=PAIR) for n in others]
    return conclude(readings, Evidence.of(rows, trained=True), "; ".join(reading.text for reading in readings))


@claim(8, "Residual blocks gain 2 dB, or double the ratio at equal quality.", "16×: 30 → 32 dB", "architectures")
def residual_gain(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    at = rows[(rows["dimension_ratio"] == 16) & rows["architecture"].isin(("plain", "residual"))]
    twice = rows[
        (rows["architecture"].astype(str) + rows["dimension_ratio"].map(" {:g}".format).astype(str)).isin(
            ("plain 16", "residual 32")
        )
    ]
    sides = "architecture", "residual", "plain"
    gain = compared(f"{budget(at)}: PSNR", at, *sides, limit=TWO_DB)
    double = compared("at twice the ratio: PSNR", twice, *sides)
    outcome = HELD if double.outcome == HELD else ""
    return conclude([gain, double], Evidence.of(pd.concat([at, twice]), trained=True), outcome=outcome)


@claim(9, "Attention preserves edges better, at little cost.", "no number", "architectures")
def attention(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    rows = rows[rows["architecture"].isin(("attention", "residual"))]
    if rows["architecture"].nunique() < 2:
        return unmeasured(SCRATCH)
    sides = "architecture", "attention", "residual"
    readings = [
        compared(f"{budget(rows)}: edges kept", rows, *sides, "epi_roa", pair=PAIR),
        compared("error at edges", rows, *sides, "rmse_edge_db", pair=PAIR, more=False),
        compared("PSNR", rows, *sides, pair=PAIR),
    ]
    same = ["dimension_ratio", "spatial_reduction", "width", "depth"]
    macs = t.runs.groupby([*same, "architecture"])["macs_per_pixel"].first().unstack()
    if {"attention", "residual"} <= set(macs):
        added = 100 * (macs["attention"] / macs["residual"] - 1).mean()
        readings.append(shares([added <= 25], f"{number(added, 0)} % more operations at equal width"))
    failed = REFUTED if readings[0].outcome == REFUTED else ""  # edges are what it is for
    return conclude(readings, Evidence.of(rows, trained=True), outcome=failed)


@claim(10, "64 to 128 channels are a good start; wider overfits with little data.", "64–128 channels", "architectures")
def width(t: Tables) -> Verdict:
    rows = t.table("trainings", ["sweep", "psnr_db", "width", "split", "patches", "band", "seed"])
    rows = rows[(rows["sweep"] == "width") & rows["psnr_db"].notna() & (rows["split"] != "train")]
    rows = rows[rows["band"] == rows["band"].head(1).squeeze()]
    narrow = rows.loc[rows["width"] < 64, "width"].max()
    if not (rows["width"] == 64).any() or not np.isfinite(narrow):
        return unmeasured("the study trainings")
    every, one = (rows[rows["patches"] == kind] for kind in ("all", "one"))
    readings = [
        compared(f"64 against {narrow:g} channels, all patches: PSNR", every, "width", 64, narrow),
        compared("one patch: PSNR", one, "width", 64, narrow, more=False),
    ]
    return conclude(readings, Evidence.of(rows, trained=True))


@claim(15, "The memory formula, and batches of 16, 8 and 4.", "4, 2.5 and 1.5 GB", "scale")
def memory_formula(t: Tables) -> Verdict:
    own = [guide_memory(batch, 256 * 256, 5e6) for batch in STATED_GB]
    off = max(abs(gb / stated - 1) for gb, stated in zip(own, STATED_GB.values(), strict=True))
    shown = f"formula for the guide's example: {', '.join(number(gb, 2) for gb in own)} GB"
    readings, rows = [shares([off < 0.15], shown)], peaks(t).sort_values("batch_size", ascending=False)
    if len(rows):
        used = (rows["peak_mb"] - rows["process_mb"]) / 1e3
        formula = [guide_memory(row.batch_size, row.patch_size**2, row.parameters) for row in rows.itertuples()]
        shown += f"; measured {', '.join(number(gb, 2) for gb in used)} GB"
        readings.append(shares([bool((used / formula - 1).abs().max() < 0.15)], "peaks within 15 % of the formula"))
    return conclude(readings, Evidence(other=f"arithmetic, {len(rows)} processes on a CPU (no CUDA memory)"), shown)


def peaks(t: Tables) -> pd.DataFrame:
    """Peaks of a training step of 256×256 images, by batch size, each measured in a fresh process."""
    rows = t.table("trainings", ["sweep", "peak_mb", "process_mb", "batch_size", "patch_size", "parameters"])
    return rows[rows["sweep"] == "memory"].dropna(subset=["peak_mb"])


def guide_memory(batch: float, pixels: float, parameters: float) -> float:
    """The guide's `estimate_memory` in GB at 32 bits."""
    return 4e-9 * (batch * pixels + parameters + 2 * batch * parameters + 2 * parameters)


@claim(16, "High ratios train less stably and may collapse; a warm start helps.", "64×: may collapse", "training")
def stability(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    keys = ["architecture", "dimension_ratio", "seed"]
    if rows.empty:
        return unmeasured(SCRATCH)
    runs = rows.groupby(keys).agg(psnr=("psnr_db", "mean"), collapsed=("collapsed", "max")).reset_index()
    runs["high"] = runs["dimension_ratio"] >= HIGH
    spread = runs.groupby(["high", *keys[:2]])["psnr"].var().groupby("high").mean() ** 0.5
    if spread.notna().sum() < 2:
        return unmeasured("trainings of several seeds at several ratios")
    lost = runs.groupby("high")["collapsed"].agg(["sum", "count", "mean"]).astype(float)
    counts = " and ".join("{:g} of {:g}".format(*lost.loc[high, ["sum", "count"]]) for high in (True, False))
    deviations = " and ".join(number(spread[high], 2) for high in (True, False))
    collapse = Reading(
        f"collapsed from 32× on and below: {counts}", HELD if lost["mean"][True] > lost["mean"][False] else REFUTED
    )
    readings = [collapse, shares([spread[True] > 2 * spread[False]], f"spread over seeds {deviations} dB")]
    warm = networks(t, curve="progressive")
    starts = pd.concat([rows.assign(start="own"), warm[warm["steps"] < warm["steps"].max()].assign(start="warm")])
    readings.append(compared("warm start: PSNR", starts, "start", "warm", "own", pair=(*keys, "scene")))
    outcome = HELD if collapse.outcome == HELD else together([reading.outcome for reading in readings[:2]])
    return conclude(readings, Evidence.of(rows, trained=True), outcome=outcome)


@claim(21, "A better architecture passes at twice the ratio.", "32×: 31 dB with residual", "architectures")
def twice_the_ratio(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    points, readings = select.means(rows, "psnr_db", ["architecture", "dimension_ratio"]), []
    for threshold in THRESHOLDS:
        reached = points[points["mean"] >= threshold].groupby("architecture")["dimension_ratio"].max()
        if "plain" in reached and len(reached) > 1:
            ratios = f"{page.ratio(reached['plain'])} and {page.ratio(reached.max())}"
            text = f"{threshold:g} dB: plain and the best network reach {ratios}"
            readings.append(shares([bool(reached.max() >= 2 * reached["plain"])], text))
    twice = sum(reading.outcome == HELD for reading in readings)
    measured = f"twice the ratio at {twice} of {len(readings)} thresholds of PSNR"
    return conclude(readings, Evidence.of(rows, trained=True), measured)


@claim(22, "A GPU of 8 GB is enough at batches of 8 to 16.", "8 GB", "scale")
def card(t: Tables) -> Verdict:
    runs = t.runs[(t.runs["architecture"] != "klt") & (t.runs["batch_size"] >= 8)]
    gb = runs.groupby("batch_size")["peak_memory_mb"].max().dropna() / 1e3
    known = {f"a run with batches of {batch:g}": peak for batch, peak in gb.items()}
    steps = [row for row in peaks(t).itertuples() if row.batch_size >= 8]
    known |= {f"a step of {row.batch_size:g} images of 256×256": row.peak_mb / 1e3 for row in steps}
    if not known:
        return unmeasured("trainings with batches of 8 or more")
    devices = page.listing(dict.fromkeys(str(name) for name in runs["device"].dropna())) or "a CPU"
    readings = [shares([peak < CARD_GB], f"{name}: {number(peak)} GB") for name, peak in known.items()]
    measured = f"at most {number(max(known.values()))} GB"
    return conclude(readings, Evidence(other=f"peak memory of processes on {devices}"), measured)
