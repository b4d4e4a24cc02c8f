"""Entropy of the latent: what range coding takes off a fixed length, how full histograms are, what channels carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import listing, style
from sarlab.views.figure import Figure, Panel
from sarlab.views.quant_rows import COMMAND, SCHEMES, Scheme, family, loss, study
from sarlab.views.quantizers import three
from sarlab.views.scene_entropy import entropies
from sarlab.views.style import BLUE, GREEN, INK, MUTED, PAPER, Look, look_of
from sarlab.views.summary import curve, main_line, measured
from sarlab.views.text import Html, Prose, missing, number, ratio, series_name, span
from sarlab.views.text import listing as spoken_list

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

WHAT = "quantized latents of the KLT"
#: Bits of the quantizer that single numbers speak of: 8, whose histogram can be fine or empty.
BITS = 8
#: Fixed length and range-coded, in this order, wherever both are drawn.
FIXED, CODED = "fixed length", "range-coded"


def fixed_and_coded(tables: Tables) -> Figure:
    """Loss over bits a value, each family twice: as packed, and after range coding of the same integers."""
    rows = study(tables)
    if rows.empty or rows["coded_bits"].isna().all():
        return Figure.nothing(WHAT, COMMAND)
    families = [scheme for scheme in SCHEMES if scheme.key in ("tensor", "minmax", "companded")]
    keys = [
        Look(scheme.look.label + word, scheme.look.color, scheme.look.marker, hollow=hollow)
        for scheme in families
        for word, hollow in ((f", {FIXED}", False), (f", {CODED}", True))
    ]
    panels = [_fixed_and_coded(rows, at, families) for at in three(rows)[:2]]
    return Figure(
        panels, key=keys, narrowest=300, title=_coded_title(rows),
        caption="The same integers stored at their fixed length (filled) and range-coded with one frozen table of frequencies a channel, "
        "learned from training scenes (hollow). KLT, mean over the bands of the test scenes.",
    )  # fmt: skip


def _fixed_and_coded(rows: pd.DataFrame, at: float, families: list[Scheme]) -> Panel:
    lines = []
    with style.style():
        drawing, ax = style.axes(4.2, 3.1)
        ax.set_title(f"{ratio(at)}: loss of PSNR (dB)")
        ax.set_title("↓ better", loc="right", fontsize=8, fontweight="normal", color=MUTED)
        ax.set_yscale("log")
        for scheme in families:
            line = family(rows, scheme.key, at=at).sort_values("bits")
            for column, hollow in (("fixed_bits", False), ("coded_bits", True)):
                look = Look(scheme.look.label, scheme.look.color, scheme.look.marker, hollow=hollow, width=1.4)
                ax.plot(line[column], line["loss_db"].clip(lower=0.002), **look.line)
            pairs = ", ".join(
                f"{number(r.fixed_bits, 0)} bits become {number(r.coded_bits)} for {loss(r.loss_db)} dB"
                for r in line.itertuples()
            )
            lines.append(f"{scheme.look.label}: {pairs}")
        ax.set_ylim(0.002, 20)
        ax.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
        ax.minorticks_off()
        ax.set_xlim(0.5, 9)
        ax.set_xlabel("bits a latent value, in the file")
    return Panel(drawing, f"Loss of PSNR over bits a value at {ratio(at)}, fixed length and range-coded. {'; '.join(lines)}.")  # fmt: skip


def _coded_title(rows: pd.DataFrame) -> str:
    saved = _saved(rows)
    if not {"tensor", "companded"} <= set(saved):
        return "Fixed length and range-coded"
    return (
        f"Range coding takes {number(100 * saved['tensor'], 0)} % off one step for all channels and "
        f"{number(100 * saved['companded'], 0)} % off bits that were allocated and companded"
    )


def _saved(rows: pd.DataFrame) -> dict[str, float]:
    """Share of its bits that range coding saves, by family, at the bits that sentences speak of, mean over ratios."""
    found = {}
    for key in ("tensor", "minmax", "mse", "allocated", "companded"):
        line = family(rows, key)
        line = line[line["bits"] == min(BITS, line["bits"].max())] if len(line) else line
        if len(line):
            found[key] = float((1 - line["coded_bits"] / line["fixed_bits"]).mean())
    return found


def text(tables: Tables) -> Prose:
    """What range coding saves and why, in sentences."""
    rows = study(tables)
    if rows.empty:
        return missing(WHAT, COMMAND)
    lines = []
    tensor, each = (line[line["bits"] == BITS] for line in (family(rows, "tensor"), family(rows, "minmax")))
    if len(tensor) and len(each):
        lines.append(
            f"**Fixed length wants full histograms.** With a range per channel, {BITS} bits hold {span(each['latent_entropy'], number)} bits of "
            f"entropy; with one range for all, {span(tensor['latent_entropy'], number)}: weak channels use few of the levels "
            f"({span(100 * tensor['level_usage'], lambda v: number(v, 0))} % instead of {span(100 * each['level_usage'], lambda v: number(v, 0))} %)."
        )
        lines.append(
            f"**A range coder wants the opposite.** It charges a value what it is worth, so levels that nobody uses cost nothing: one step for "
            f"all channels becomes {span(tensor['coded_bits'], number)} bits a value at a loss of {span(tensor['loss_db'], loss)} dB. A full "
            "histogram is then no sign of quality: it only says that the step is fine."
        )
    companded = family(rows, "companded")
    if len(companded):
        companded = companded[companded["bits"] == companded["bits"].max()]
        lines.append(
            f"**What is best packed is not best coded.** Companding fills the levels evenly and leaves the coder "
            f"{number(100 * (1 - companded['coded_bits'] / companded['fixed_bits']).mean(), 0)} % to take off."
        )
    excess = (rows["coded_bpp"] - rows["ideal_bpp"]) / rows["ideal_bpp"]
    excess = excess[np.isfinite(excess) & (rows["scheme"] == "affine")]
    if len(excess):
        lines.append(
            f"**The coder itself loses {number(100 * excess.median(), 1)} %** against the information of its own tables (median; most of "
            "it is the header of a small file)."
        )
    return Prose("\n".join(f"- {line}" for line in lines))


# --- scene and latent -------------------------------------------------------------------------------------------------


def scene_and_latent(tables: Tables) -> Figure:
    """Bits per pixel: of the scene without loss, and of latents as floats, at a fixed length, range-coded."""
    rows = study(tables)
    if rows.empty:
        return Figure.nothing(WHAT, COMMAND)
    panels = [_ladder(rows, tables, at) for at in three(rows)]
    return Figure(
        panels, narrowest=215, title=_ladder_title(rows, tables),
        key=[Look("scene, no loss", MUTED, "s", width=0), Look("latent, fixed length", BLUE, "s", width=0), Look("latent, range-coded", GREEN, "s", width=0)],
        caption="Mean over the bands of the test scenes. Scene: its samples as stored; zeroth order ignores neighbors, the file is the "
        "better of JPEG-LS and reversible JPEG 2000. Latent: whole files with headers. PSNR against the recorded scene beside each bar.",
    )  # fmt: skip


def _bars(rows: pd.DataFrame, tables: Tables, at: float) -> list[tuple[str, float, float, str]]:
    """(name, bits per pixel, PSNR, color) of a ladder from the scene down."""
    scene = entropies(tables, ("radar",))
    scene = scene[scene["grid"] == "as stored"] if len(scene) else scene
    bars = []
    if len(scene):
        bars += [
            ("scene, pixels alone", float(scene["zeroth_bpp"].mean()), np.inf, MUTED),
            ("scene, lossless file", float(scene["lossless_bpp"].mean()), np.inf, MUTED),
        ]
    here = rows[rows["dimension_ratio"] == at]
    for name, part, column, color in (
        ("32-bit floats", here[here["scheme"] == "float32"], "bpp", BLUE),
        ("8 bits a channel", _of(here, "minmax", BITS), "bpp", BLUE),
        ("8 bits, range-coded", _of(here, "minmax", BITS), "coded_bpp", GREEN),
        ("one step, range-coded", _of(here, "tensor", BITS), "coded_bpp", GREEN),
        ("4 bits, companded", _of(here, "companded", 4), "bpp", BLUE),
    ):
        if len(part) and np.isfinite(part[column].iloc[0]):
            bars.append((name, float(part[column].iloc[0]), float(part["psnr_db"].iloc[0]), color))
    return bars


def _of(rows: pd.DataFrame, key: str, bits: int) -> pd.DataFrame:
    line = family(rows, key)
    return line[line["bits"] == bits]


def _ladder(rows: pd.DataFrame, tables: Tables, at: float) -> Panel:
    bars = _bars(rows, tables, at)
    spoken = []
    with style.style():
        drawing, ax = style.axes(3.3, 2.5)
        ax.set_title(f"{ratio(at)}: bits per pixel", fontsize=8.5)
        top = max(value for _, value, _, _ in bars)
        for place, (name, value, psnr, color) in enumerate(bars[::-1]):
            ax.barh(place, value, height=0.66, color=color)
            exact = "" if np.isfinite(psnr) else "exact"
            note = f"{number(value, 2)} · {exact or number(psnr) + ' dB'}"
            inside = value > 0.5 * top
            ax.annotate(note, (value, place), (-4 if inside else 4, 0), textcoords="offset points", ha="right" if inside else "left", va="center", fontsize=7.5, color=PAPER if inside else INK)  # fmt: skip
            spoken.append(f"{name}: {note.replace(' · ', ' bit per pixel, ')}")
        ax.set_yticks(range(len(bars)), [name for name, *_ in bars[::-1]])
        ax.tick_params(axis="y", labelcolor=INK)
        ax.grid(axis="y", visible=False)
        ax.set_xlim(0, None)
    return Panel(drawing, f"Bits per pixel at {ratio(at)}. {'; '.join(reversed(spoken))}.")


def _ladder_title(rows: pd.DataFrame, tables: Tables) -> str:
    at = three(rows)[-2 if len(three(rows)) > 1 else 0]
    bars = {name: value for name, value, _, _ in _bars(rows, tables, at)}
    if not {"scene, lossless file", "one step, range-coded"} <= set(bars):
        return "Bits of the scene and bits of its latent"
    return (
        f"A pixel holds {number(bars['scene, lossless file'])} bit without loss; its latent at {ratio(at)}, range-coded, "
        f"{number(bars['one step, range-coded'], 2)}"
    )


# --- what channels carry ----------------------------------------------------------------------------------------------


def channels(tables: Tables) -> Figure:
    """Effective rank and share of dead channels of the networks' latents over the ratio."""
    rows = main_line(measured(tables.runs, split="test"))
    if rows.empty or "effective_rank" not in rows or rows["effective_rank"].isna().all():
        return Figure.nothing("statistics of networks' latents", COMMAND)
    rows = rows.assign(
        rank_share=100 * rows["effective_rank"].astype(float) / rows["latent_channels"].astype(float),
        dead_share=100 * rows["dead_channels"].astype(float) / rows["latent_channels"].astype(float),
    )
    names = list(rows["architecture"].unique())
    panels = [_over_ratio(rows, column, title, names) for column, title in (("rank_share", "effective rank (% of channels)"), ("dead_share", "dead channels (%)"))]  # fmt: skip
    points = curve(rows, "rank_share")
    series = list(dict.fromkeys(zip(points["architecture"], points["init"], strict=True)))
    return Figure(
        panels, key=[look_of(a, i, names) for a, i in series], narrowest=300,
        title="How many of its channels a latent really uses",
        caption="Effective rank: the exponential of the entropy of the normalized eigenvalues of the channels' covariance; all channels "
        "equally strong and uncorrelated would be 100 %. Dead: a standard deviation below a thousandth of the strongest channel's.",
    )  # fmt: skip


def _over_ratio(rows: pd.DataFrame, column: str, title: str, names: list[str]) -> Panel:
    points = curve(rows, column)
    lines = []
    with style.style():
        drawing, ax = style.axes(4.2, 2.9)
        ax.set_title(title)
        ax.set_xscale("log", base=2)
        for (architecture, init), line in points.groupby(["architecture", "init"], sort=False):
            look = look_of(architecture, init, names)
            ax.plot(line["dimension_ratio"], line["mean"], **look.line)
            values = ", ".join(f"{number(v, 0)} at {ratio(at)}" for at, v in zip(line["dimension_ratio"], line["mean"], strict=True))  # fmt: skip
            lines.append(f"{look.label}: {values}")
        ticks = sorted(points["dimension_ratio"].unique())
        ax.set_xticks(ticks, [ratio(t) for t in ticks])
        ax.minorticks_off()
        ax.set_ylim(0, max(5.0, ax.get_ylim()[1]))
        ax.set_xlabel("compression ratio (values in ÷ values out)")
    return Panel(drawing, f"{title} over the ratio. {'; '.join(lines)}.")


def channels_text(tables: Tables) -> Prose:
    """Ranks and dead channels in sentences."""
    rows = main_line(measured(tables.runs, split="test"))
    if rows.empty or "effective_rank" not in rows or rows["effective_rank"].isna().all():
        return missing("statistics of networks' latents", COMMAND)
    at = float(np.sort(rows["dimension_ratio"].unique())[0])
    here = rows[rows["dimension_ratio"] == at]
    parts = []
    for (architecture, init), group in here.groupby(["architecture", "init"], sort=False):
        rank = group["effective_rank"].astype(float).mean()
        parts.append((rank, f"{series_name(architecture, init)} {number(rank, 0)}"))
    total = int(here["latent_channels"].iloc[0])
    dead = rows["dead_channels"].astype(float)
    return Prose(
        f"Of {total} channels at {ratio(at)} the effective rank counts: {spoken_list(words for _, words in sorted(parts, key=lambda p: p[0]))}. "
        + (
            f"Up to {int(dead.max())} channels are dead in some latent."
            if dead.max() > 0
            else "No channel is dead in any latent."
        )
    )


def statistics(tables: Tables) -> Html | Prose:
    """Entropies of latents at one number of bits, over the ratio."""
    rows = study(tables)
    if rows.empty:
        return missing(WHAT, COMMAND)
    ratios = sorted(rows["dimension_ratio"].unique())
    body = []
    for name, key, bits in (("range per channel, 4 bits", "minmax", 4), ("bits allocated, 4 bits", "allocated", 4), ("one step for all, 8 bits", "tensor", 8)):  # fmt: skip
        part = _of(rows, key, bits).set_index("dimension_ratio")
        for words, column in (
            ("entropy of a channel", "latent_entropy"),
            ("given the left neighbor", "latent_spatial_entropy"),
            ("one table for all channels", "latent_pooled_entropy"),
            ("range-coded file", "coded_bits"),
        ):
            if column in part and part[column].notna().mean() >= 0.5:
                body.append([name, words, *(number(part[column].get(at, np.nan), 2) for at in ratios)])
    return listing.table(
        ["quantizer", "bits a value", *(ratio(at) for at in ratios)], body, left=2, wrap=(0, 1),
        caption="Entropies of latents in bit a value, corrected for few samples (a dash: too few), and what files take",
    )  # fmt: skip
