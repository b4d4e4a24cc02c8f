"""The chapter on architectures: what blocks and attention bring at equal cost, depth, width and data, length, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import trainings
from sarlab.views.claims_old.networks import EQUAL
from sarlab.views.claims_old.training import memory, spread_over_seeds
from sarlab.views.claims_old.verdict import Difference, difference, main_shapes, networks
from sarlab.views.figure import Figure
from sarlab.views.lines import Line, panel
from sarlab.views.style import BLUE, GREEN, MUTED, PURPLE, VERMILION, Look, look_of
from sarlab.views.summary import BARS, curve, main_line
from sarlab.views.text import Prose, compact, listing, missing, number, ratio, span
from sarlab.views.trainings import COMMAND

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

RATIO = "compression ratio (values in ÷ values out)"
#: Column → title with unit, whether more is better, digits.
GAINS = {
    "psnr_db": ("PSNR − plain (dB)", "↑ better", 2),
    "epi_roa": ("edges kept − plain", "↑ better", 3),
    "rmse_edge_db": ("edge error − plain (dB)", "↓ better", 2),
}


def rows_of(tables: Tables, init: str) -> pd.DataFrame:
    """Comparable networks of one start."""
    rows = networks(tables, init=init)
    return main_shapes(rows) if init == "scratch" else main_line(rows)


def against_plain(tables: Tables, init: str) -> Figure:
    """What residual blocks and attention bring over plain layers, by ratio."""
    rows = rows_of(tables, init)
    others = [n for n in ("residual", "attention") if len(rows) and n in set(rows["architecture"])]
    if rows.empty or "plain" not in set(rows["architecture"]) or not others:
        start = "from scratch" if init == "scratch" else "from the KLT"
        return Figure.nothing(f"plain, residual and attention networks {start}", COMMAND)
    panels, over_all = [], {}
    for column, (title, good, digits) in GAINS.items():
        if column not in rows:
            continue
        lines = []
        for name in others:
            found = {
                at: difference(part, "architecture", name, "plain", column, pair=EQUAL)
                for at, part in rows.groupby("dimension_ratio")
            }
            found = {at: item for at, item in found.items() if item.pairs}
            if column == "psnr_db":
                over_all[name] = difference(rows, "architecture", name, "plain", column, pair=EQUAL)
            frame = pd.DataFrame(
                [(at, item.mean, item.low, item.high) for at, item in found.items()],
                columns=["at", "mean", "low", "high"],
            )
            lines.append(Line.of(look_of(name, init, rows["architecture"].unique()), frame, "at"))
        panels.append(panel(lines, title, RATIO, good=good, names=ratio, digits=digits, zero="plain", sign=True))
    macs = rows.groupby("architecture")["macs_per_pixel"].mean().astype(float)
    seeds = rows.groupby("architecture")["seed"].nunique()
    gains = "; ".join(f"{name} gains {item.text()}{_in(item)}" for name, item in over_all.items())
    return Figure(
        panels, key=[look_of(name, init, rows["architecture"].unique()) for name in others], narrowest=230,
        title=f"Over all ratios {gains}",
        caption=f"Test scene and other acquisitions; bars: the wider of the intervals over acquisitions and over trainings. "
        f"Multiplications a pixel: {', '.join(f'{n} {compact(v)}' for n, v in macs.items())}; seeds: "
        f"{', '.join(f'{n} {v}' for n, v in seeds.items())}.",
    )  # fmt: skip


def _in(item: Difference) -> str:
    return f" ({item.span()})" if item.span() else ""


def costs_table(tables: Tables) -> Prose:
    """Parameters, multiplications, steps, throughput and PSNR of the networks that are compared, at one ratio."""
    both = [rows_of(tables, init) for init in ("scratch", "klt")]
    both = [rows for rows in both if len(rows)]
    if not both:
        return missing("trained networks")
    rows = pd.concat(both)
    at = (
        trainings.REFERENCE
        if (rows["dimension_ratio"] == trainings.REFERENCE).any()
        else rows["dimension_ratio"].median()
    )
    rows = rows[rows["dimension_ratio"] == at]
    head = (
        f"| network at {ratio(at)} | first layer | parameters | multiplications a pixel | steps | PSNR |\n"
        "|---|--:|--:|--:|--:|--:|"
    )
    body = []
    for (architecture, init), part in rows.groupby(["architecture", "init"], sort=False):
        one = part.iloc[0]
        name = look_of(architecture, init, [architecture]).label
        body.append(
            f"| {name} | {int(one['width'])} channels | {compact(one['parameters'])} | {compact(one['macs_per_pixel'])} | {int(one['steps'])} "
            f"| {number(part['psnr_db'].mean())} dB |"
        )
    return Prose("\n".join([head, *body]))


def over_depth(tables: Tables) -> Figure:
    """PSNR and gradients over the number of layers."""
    rows = trainings.depths(networks(tables))
    if rows.empty or rows["layers"].nunique() < 2:
        return Figure.nothing("one latent shape from scratch at several depths", COMMAND)
    look = Look("plain, from scratch", BLUE, "o", hollow=True)
    axis = "layers on the way down"
    panels = [
        panel(
            [Line.of(look, curve(rows, "psnr_db", by=("layers",)), "layers")],
            "PSNR (dB)",
            axis,
            good="↑ better",
            names=lambda v: f"{v:g}",
        )
    ]
    shares = trainings.gradients(tables, rows).merge(rows[["run_id", "layers"]].drop_duplicates(), on="run_id")
    if len(shares):
        by = shares.groupby("layers")["share"].agg(["median", "min", "max"]).reset_index()
        by = by.rename(columns={"median": "mean", "min": "low", "max": "high"})
        panels.append(
            panel([Line.of(look, by, "layers")], "gradient, first ÷ last layer", axis, names=lambda v: f"{v:g}")
        )
    means = rows.groupby("layers")["psnr_db"].mean()
    return Figure(
        panels, key=[look], narrowest=230,
        title=f"At equal multiplications {int(means.idxmax())} layers do best ({number(means.max(), 2)} dB), {int(means.idxmin())} worst ({number(means.min(), 2)} dB)",
        caption=f"Latent 16×16×16, {int(rows['steps'].iloc[0])} steps, {rows['seed'].nunique()} seeds; channels of the first layer fall from "
        f"{int(rows['width'].max())} to {int(rows['width'].min())} as layers are added. Bars: {BARS}; of the gradient, "
        "least and most over trainings. The three layers fold blocks of pixels into channels first.",
    )  # fmt: skip


def over_width(tables: Tables) -> Figure:
    """PSNR on scenes seen and unseen over width, with much and with little to learn from."""
    rows = trainings.study(tables, "width")
    if rows.empty:
        return Figure.nothing("trainings over width and data (study trainings)", COMMAND)
    looks = {
        ("all", "held"): Look("all patches: other scenes", BLUE, "o"), ("all", "train"): Look("all patches: training scenes", BLUE, "s", hollow=True),
        ("one", "held"): Look("one patch: other scenes", VERMILION, "o"), ("one", "train"): Look("one patch: that patch", VERMILION, "s", hollow=True),
    }  # fmt: skip
    rows = rows.assign(kind=np.where(rows["split"] == "train", "train", "held"))
    lines = []
    for key, look in looks.items():
        part = rows[(rows["patches"] == key[0]) & (rows["kind"] == key[1])]
        each = (
            part.groupby(["width", "seed"])["psnr_db"].mean().groupby("width").agg(["mean", "min", "max"]).reset_index()
        )
        lines.append(Line.of(look, each.rename(columns={"min": "low", "max": "high"}), "width"))
    drawn = panel(lines, "PSNR (dB)", "channels of the first layer", good="↑ better", width=4.6)
    held = rows[rows["kind"] == "held"].groupby(["patches", "width"])["psnr_db"].mean()
    pixels = rows.groupby("patches")["training_pixels"].first()
    return Figure(
        [drawn], key=list(looks.values()), narrowest=340,
        title=f"On other scenes {int(held['all'].idxmax())} channels do best with all patches, {int(held['one'].idxmax())} with one",
        caption=f"Plain networks at {ratio(float(rows['dimension_ratio'].iloc[0]))} from scratch, {int(rows['steps'].iloc[0])} steps, "
        f"{compact(pixels['all'])} and {compact(pixels['one'])} pixels to learn from. Bars: least and most over seeds.",
    )  # fmt: skip


def over_steps(tables: Tables) -> Figure:
    """What longer trainings bring: whether the networks that verdicts rest on are done learning."""
    rows = trainings.study(tables, "steps")
    if rows.empty:
        return Figure.nothing("trainings of several lengths (study trainings)", COMMAND)
    rows = rows[rows["split"] != "train"]
    colors, marks = (BLUE, VERMILION, GREEN, PURPLE), ("o", "s", "^", "D")
    lines, gains = [], []
    for place, (at, part) in enumerate(rows.groupby("dimension_ratio")):
        means = part.groupby("steps")["psnr_db"].mean()
        frame = pd.DataFrame({"steps": means.index, "mean": means.to_numpy(), "low": np.nan, "high": np.nan})
        lines.append(Line.of(Look(ratio(at), colors[place % 4], marks[place % 4], hollow=True), frame, "steps"))
        gains.append(f"{number(means.iloc[-1] - means.iloc[-2], 2, sign=True)} dB at {ratio(at)}")
    drawn = panel(lines, "PSNR (dB)", "steps of the whole training", good="↑ better", label_ends=True, width=4.6)
    return Figure(
        [drawn], narrowest=340, title=f"The last doubling of the steps brought {listing(gains)}",
        caption="Plain networks from scratch, one seed, each training with its own schedule down to its end; mean over the test "
        "scene and other acquisitions.",
    )  # fmt: skip


def over_seeds(tables: Tables) -> Figure:
    """Spread of trainings that differ in nothing but their seed."""
    spread = spread_over_seeds(main_shapes(networks(tables)))
    if len(spread) < 2:
        return Figure.nothing("trainings from scratch from several seeds", COMMAND)
    frame = pd.DataFrame({"at": spread.index, "mean": spread["deviation"].to_numpy(), "low": np.nan, "high": np.nan})
    look = Look("from scratch, all architectures", MUTED, "o")
    drawn = panel(
        [Line.of(look, frame, "at")], "standard deviation over seeds (dB)", RATIO, names=ratio, digits=3, width=4.6
    )
    worst = spread["deviation"].idxmax()
    return Figure(
        [drawn], key=[look], narrowest=340, title=f"Trainings differ most at {ratio(worst)}: by {number(spread['deviation'].max(), 2)} dB",
        caption=f"Deviation of the mean PSNR of a training, pooled over architectures; {span(spread['degrees'], lambda v: number(v, 0))} degrees of freedom.",
    )  # fmt: skip


def memory_table(tables: Tables) -> Prose:
    """Measured memory of a training step beside the guide's formula and figures."""
    rows = memory(tables)
    if rows.empty:
        return missing("measured peaks of memory (study trainings)", COMMAND)
    head = (
        "| images of 256×256 a step | measured | counted by shapes | the guide's formula, this network | the guide states |\n"
        "|--:|--:|--:|--:|--:|"
    )
    body = [
        f"| {int(r.batch_size)} | {number(r.used_gb, 2)} GB | {number(r.estimated_mb / 1e3, 2)} GB | {number(r.formula_gb, 2)} GB | {number(r.stated_gb)} GB |"
        for r in rows.itertuples()
    ]
    first = rows.iloc[0]
    note = (
        f"A plain network of {int(first['width'])} channels in its first layer and {compact(first['parameters'])} parameters, in float32 on a CPU; what the "
        f"process takes before it trains, {number(first['process_mb'] / 1e3, 2)} GB, is left out."
    )
    return Prose("\n".join([head, *body]), note)
