"""The chapter on latent design: one ratio in several shapes, and how many channels a latent uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import trainings
from sarlab.views.claims_old.speckle import BANDS
from sarlab.views.claims_old.verdict import UNLEARNED_DB, networks
from sarlab.views.figure import Figure
from sarlab.views.lines import Line, panel
from sarlab.views.style import SERIES, Look, architecture_order, look_of
from sarlab.views.summary import BARS, bands, curve, main_line, measured
from sarlab.views.text import Prose, listing, missing, number, ratio, span
from sarlab.views.trainings import COMMAND

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

WHAT = "networks from scratch with latents of several shapes at one ratio"
#: Column → title with unit, which direction is better, digits.
MEASURES = {
    "psnr_db": ("PSNR (dB)", "↑ better", 1),
    "epi_roa": ("edges kept (1 = all)", "↑ better", 2),
    "rmse_target_db": ("error at point targets (dB)", "↓ better", 1),
    "wasserstein_db": ("distance of the histograms (dB)", "↓ better", 2),
}
SCRATCH = Look("plain, from scratch", SERIES[0], "o", hollow=True)
LINEAR = Look("plain, KLT start", SERIES[0], "o")
MARKS = ("o", "s", "^", "D", "v")


def side(reduction: float) -> str:
    """Positions of the latent of 256×256 pixels: ``16×16``."""
    return f"{int(256 // reduction)}×{int(256 // reduction)}"


def at_one_ratio(tables: Tables) -> Figure:
    """Fidelity over the shape of the latent, everything else being equal."""
    rows = trainings.shapes(networks(tables))
    if rows.empty or rows["spatial_reduction"].nunique() < 2:
        return Figure.nothing(WHAT, COMMAND)
    linear = from_klt(tables)
    panels = []
    for column, (title, good, digits) in MEASURES.items():
        if column in rows:
            lines = [Line.of(SCRATCH, curve(rows, column, by=("spatial_reduction",)), "spatial_reduction")]
            if len(linear):
                lines.append(Line.of(LINEAR, curve(linear, column, by=("spatial_reduction",)), "spatial_reduction"))
            panels.append(
                panel(lines, title, "latent positions for 256×256 pixels", good=good, names=side, digits=digits)
            )
    shown = rows.groupby(["spatial_reduction", "latent_channels"])["psnr_db"].mean()
    best = shown.idxmax()
    macs = rows.groupby("spatial_reduction")["macs_per_pixel"].first().astype(float)
    at = float(rows["dimension_ratio"].iloc[0])
    return Figure(
        panels, key=[SCRATCH, LINEAR] if len(linear) else [SCRATCH], narrowest=230,
        title=f"At {ratio(at)} the shape {trainings.shape_name(*best)} keeps most: {number(shown.max())} dB, against {number(shown.min())} dB for the worst",
        caption=f"From scratch: {int(rows['steps'].iloc[0])} steps, {span(macs)} multiplications a pixel, up to "
        f"{rows['seed'].nunique()} seeds. Bars: {BARS}. All shapes hold the same number of values.{unlearned(rows)}",
    )  # fmt: skip


def from_klt(tables: Tables) -> pd.DataFrame:
    """Plain networks of several shapes at the reference ratio that start from the KLT."""
    rows = networks(tables, init="klt")
    if rows.empty:
        return rows
    rows = rows[(rows["architecture"] == "plain") & (rows["dimension_ratio"] == trainings.REFERENCE)]
    return rows if rows["spatial_reduction"].nunique() > 1 else rows.iloc[:0]


def unlearned(rows: pd.DataFrame) -> str:
    """Which shapes ended far below the KLT of their own shape, as a sentence; empty where none did."""
    if "gain_over_klt_db" not in rows:
        return ""
    gain = rows.groupby(["spatial_reduction", "latent_channels"])["gain_over_klt_db"].mean().astype(float)
    far = gain[gain < -UNLEARNED_DB]
    if far.empty:
        return ""
    told = listing(f"{trainings.shape_name(*key)} by {number(-value)} dB" for key, value in far.items())
    return f" From scratch {told} ended below the KLT of the same shape: not done learning."


def by_frequency(tables: Tables) -> Figure:
    """Power lost by spatial frequency, one line per shape."""
    rows = networks(tables)
    if rows.empty or not set(BANDS) <= set(rows):
        return Figure.nothing("networks from scratch with metrics by frequency", COMMAND)
    shapes = trainings.shapes(rows)
    several = len(shapes) and shapes["spatial_reduction"].nunique() > 1
    by = "spatial_reduction" if several else "dimension_ratio"
    rows = shapes if several else main_line(rows[rows["architecture"] == "plain"])
    lines = []
    for place, (value, group) in enumerate(rows.groupby(by)):
        means = 100 * group[list(BANDS)].astype(float).mean()
        name = trainings.shape_name(value, group["latent_channels"].iloc[0]) if several else ratio(value)
        look = Look(name, SERIES[place % len(SERIES)], MARKS[place % len(MARKS)])
        nothing = [np.nan] * len(means)
        lines.append(
            Line(look, list(np.arange(1, len(BANDS) + 1) / (2 * len(BANDS))), means.to_list(), nothing, nothing)
        )
    drawn = panel(
        lines, "power lost (%)", "spatial frequency (cycles per pixel)", digits=0, label_ends=True, log=False, width=4.8,
        names=lambda v: number(v, 2),
    )  # fmt: skip
    what = f"shapes at {ratio(float(rows['dimension_ratio'].iloc[0]))}" if several else "ratios"
    finest = min(rows[BANDS[-1]].astype(float).mean(), 1.0)
    return Figure(
        [drawn], narrowest=340, title=f"Whatever the shape, {number(100 * finest, 0)} % of the power at the finest detail is gone"
        if several else f"{number(100 * finest, 0)} % of the power at the finest detail is gone",
        caption=f"Power of the error over that of the recorded image, mean over scenes, for several {what}; plain networks from "
        "scratch. At single-digit looks the finest frequencies are nearly all speckle.",
    )  # fmt: skip


def one_position(tables: Tables) -> Figure:
    """From a grid of positions down to a single one for the whole image."""
    rows = trainings.study(tables, "positions")
    if rows.empty:
        return Figure.nothing("trainings down to a latent of one position (study trainings)", COMMAND)
    lines = []
    for role, look in (
        ("train", Look("scenes it learned from", SERIES[4], "s")),
        ("test", Look("test scenes", SERIES[0], "o")),
    ):
        part = (
            rows[rows["split"] == role]
            .groupby("spatial_reduction")["psnr_db"]
            .agg(["mean", "min", "max"])
            .reset_index()
        )
        part = part.rename(columns={"min": "low", "max": "high"})
        lines.append(Line.of(look, part, "spatial_reduction"))
    drawn = panel(
        lines,
        "PSNR (dB)",
        "latent positions for 256×256 pixels",
        good="↑ better",
        names=side,
        label_ends=True,
        width=4.6,
    )
    at = float(rows["dimension_ratio"].iloc[0])
    test = rows[rows["split"] == "test"].groupby("spatial_reduction")["psnr_db"].mean()
    return Figure(
        [drawn], narrowest=340,
        title=f"At {ratio(at)} a single position loses {number(test.iloc[0] - test.iloc[-1])} dB against {side(test.index[0])}",
        caption=f"Simulated scenes of 256×256 pixels, because the recorded training patches are smaller; {int(rows['steps'].iloc[0])} "
        "steps, equal multiplications and values, one seed. Bars: from the worst to the best scene.",
    )  # fmt: skip


def channels_in_use(tables: Tables) -> Figure:
    """Effective rank of the latent over its channels."""
    rows = measured(tables.runs, split="test")
    if rows.empty or "effective_rank" not in rows:
        return Figure.nothing("runs that looked into their latents", "make book")
    rows = main_line(rows[rows["band"] == bands(rows)[0]]).dropna(subset=["effective_rank"])
    rows = rows[rows["spatial_reduction"] == rows["spatial_reduction"].mode().iloc[0]]
    rows = rows.assign(share=100 * rows["effective_rank"].astype(float) / rows["latent_channels"].astype(float))
    names = architecture_order(rows["architecture"].unique())
    lines, looks = [], []
    for (architecture, init), points in curve(rows, "share", by=("architecture", "init")).groupby(
        ["architecture", "init"], sort=False
    ):
        look = look_of(architecture, init, names)
        points = points.assign(
            latent_channels=256 / points["dimension_ratio"] * (rows["spatial_reduction"].iloc[0] / 16) ** 2
        )
        lines.append(Line.of(look, points, "latent_channels"))
        looks.append(look)
    drawn = panel(lines, "effective rank (% of the channels)", "latent channels", digits=0, width=4.6)
    lowest, highest = rows["share"].min(), rows["share"].max()
    return Figure(
        [drawn], key=looks, narrowest=340, title=f"Latents spread their variance over {number(lowest, 0)} to {number(highest, 0)} % of their channels",
        caption="Effective rank: the number of equally strong uncorrelated channels that would have the same entropy of the "
        "eigenvalues of their covariance. The KLT sorts its channels by strength, so most of them are weak.",
    )  # fmt: skip


def text(tables: Tables) -> Prose:
    """What the shapes say, in sentences."""
    rows = trainings.shapes(networks(tables))
    if rows.empty or rows["spatial_reduction"].nunique() < 2:
        return missing(WHAT, COMMAND)
    lines = []
    for column, (title, good, digits) in MEASURES.items():
        if column not in rows:
            continue
        means = rows.groupby(["spatial_reduction", "latent_channels"])[column].mean().astype(float)
        best = means.idxmax() if "↑" in good else means.idxmin()
        others = [f"{trainings.shape_name(*key)} {number(value, digits)}" for key, value in means.items()]
        lines.append(f"- **{title}**: best in {trainings.shape_name(*best)}; {listing(others)}.")
    linear = from_klt(tables)
    if len(linear):
        means, spread = (each.groupby("spatial_reduction")["psnr_db"].mean() for each in (linear, rows))
        lines.append(
            f"- **From the KLT** the shapes differ by {number(means.max() - means.min(), 2)} dB in all, from scratch by "
            f"{number(spread.max() - spread.min(), 2)} dB: the start sets apart what a shape could hold from how fast it is learned."
        )
    return Prose("\n".join(lines))


def table_of_ratios(tables: Tables) -> Prose:
    """Shapes of the runs with what each costs in values and bits."""
    rows = measured(tables.runs, split="test")
    if rows.empty:
        return missing("finished runs")
    rows = rows[rows["quantizer"] == "f32"] if (rows["quantizer"] == "f32").any() else rows
    shapes = rows[["spatial_reduction", "latent_channels", "dimension_ratio"]].drop_duplicates()
    shapes = shapes.sort_values(["dimension_ratio", "spatial_reduction"])
    head = (
        "| latent of 256×256 pixels | values | ratio of values | at a byte each, of 16-bit samples |\n|---|--:|--:|--:|"
    )
    body = [
        f"| {trainings.shape_name(r.spatial_reduction, r.latent_channels)} "
        f"| {int(256**2 / r.dimension_ratio)} | {ratio(r.dimension_ratio)} | {ratio(2 * r.dimension_ratio)} |"
        for r in shapes.itertuples()
    ]
    return Prose("\n".join([head, *body]))
