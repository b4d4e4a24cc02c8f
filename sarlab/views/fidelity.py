"""What each codec keeps of what users of SAR images need, over the rate; and whether what it drops is speckle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import limits, style
from sarlab.views.codec_rows import (
    at_target,
    bands,
    curve,
    evaluated,
    family_of,
    look_of,
    name_of,
    shown,
    where,
    with_learned,
)
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND, RATE
from sarlab.views.style import INK, MUTED, Look
from sarlab.views.text import Prose, missing, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sarlab.lab.results import Tables

#: Codecs of the small panels: one of each kind; the best learned one joins them.
FEATURED = ("jpeg2000", "hevc12", "jpeg", "jpegls")


@dataclass(frozen=True)
class Measure:
    """One panel.

    Parameters
    ----------
    column : str
    title : str
        With the unit.
    good : str
        Arrow that points the better way.
    level : float or None
        Value of a perfect reconstruction, drawn as a line.
    floor : str
        Column of the noise floor; empty for none.
    log : bool
    range : (float, float or None) or None
        Of the axis; None follows the values.
    """

    column: str
    title: str
    good: str = ""
    level: float | None = None
    floor: str = ""
    log: bool = False
    range: tuple[float, float | None] | None = None


GROUPS: dict[str, tuple[Measure, ...]] = {
    "structure": (
        Measure("epi_roa", "edges kept (ratio of averages)", "↑", floor="epi_roa_floor", range=(0.0, 1.02)),
        Measure("targets_kept", "point targets kept (share)", "↑", range=(0.0, 1.03)),
        Measure("targets_invented", "point targets invented (per target)", "↓", range=(-0.05, 3.0)),
        Measure("ssim", "structural similarity (SSIM)", "↑", range=(0.0, 1.02)),
    ),
    "radiometry": (
        Measure("bias_db", "bias of intensity (dB)", level=0.0),
        Measure("bias_brightness_worst_db", "worst bias of a class (dB)", "↓", range=(0.0, None)),
        Measure("rmse_k8_db", "error after averaging 8×8 (dB)", "↓", log=True),
        Measure("peak_error_db", "largest error of a sample (dB)", "↓", log=True),
    ),
    "statistics": (
        Measure("enl_ratio", "looks after ÷ before (ENL)", level=1.0, log=True),
        Measure("added_radiometric_std_db", "added radiometric std. (dB)", "↓", log=True),
        Measure("wasserstein_db", "distance of histograms (dB)", "↓", log=True),
        Measure("ratio_variance", "variance of the ratio image", "↓", log=True),
    ),
}  # fmt: skip


def group(tables: Tables, name: str, *, band: str | None = None) -> Figure:
    """Metrics of one group over the rate, one line per kind of codec, noise floors beside.

    Parameters
    ----------
    tables : Tables
    name : {"structure", "radiometry", "statistics"}
    band : str, optional
    """
    rows = shown(evaluated(tables), band=band)
    measures = [measure for measure in GROUPS[name] if measure.column in rows]
    if rows.empty or not measures:
        return Figure.nothing("evaluated codecs", COMMAND)
    codecs = with_learned(rows, FEATURED)
    looks = {codec: look_of(codec, family_of(rows, codec)) for codec in codecs}
    bias = limits.value(
        limits.selected(tables.table("limits"), scene=str(rows["scene"].iloc[0]), band=bands(rows)[0]),
        "bias_limit",
        "bias_db",
    )
    panels = [_panel(rows, measure, looks, bias if measure.column == "bias_db" else np.nan) for measure in measures]
    return Figure(
        panels, key=list(looks.values()), narrowest=230, title=_titles(rows, name, codecs),
        caption=f"{where(rows)}." + _notes(measures, bias),
    )  # fmt: skip


def _panel(rows: pd.DataFrame, measure: Measure, looks: dict[str, Look], bias: float) -> Panel:
    points = curve(rows[rows["codec"].isin(looks)], measure.column)
    spoken = []
    with style.style():
        drawing, ax = style.axes(2.75, 2.35)
        ax.set_title(f"{measure.title} {measure.good}".strip(), fontsize=8.5)
        for codec, look in looks.items():
            line = points[points["codec"] == codec]
            ax.plot(line["bpp"], line["mean"], **{**look.line, "markersize": 3.8, "linewidth": 1.4})
            spoken.append(_spoken(look.label, line))
        if measure.level is not None:
            ax.axhline(measure.level, color=INK, linewidth=0.9)
        if measure.floor and measure.floor in rows:
            spoken.append(_floor(ax, float(pd.to_numeric(rows[measure.floor], errors="coerce").mean()), "noise floor"))
        if np.isfinite(bias):
            spoken.append(_floor(ax, bias, "limit of squared error"))
        rate_axis(ax, points["bpp"])
        if measure.log:
            ax.set_yscale("log")
            _plain_ticks(ax, points["mean"].min(), points["mean"].max())
        if measure.range is not None:
            ax.set_ylim(*measure.range)
    return Panel(drawing, f"{measure.title} over {RATE}. {'; '.join(filter(None, spoken))}.")


def rate_axis(ax: Axes, rates: pd.Series) -> None:
    """Logarithmic axis of bits per pixel with ticks at every other power of two."""
    ax.set_xscale("log", base=2)
    ticks = 2.0 ** np.arange(-5, 3, 2)
    ax.set_xticks(ticks, [rate_label(tick) for tick in ticks])
    ax.minorticks_off()
    if len(rates):
        ax.set_xlim(float(rates.min()) / 1.25, float(rates.max()) * 1.15)
    ax.set_xlabel(RATE)


def rate_label(rate: float) -> str:
    """A power of two as a tick label: 0.03, 0.125, 2."""
    return f"{rate:.3g}" if rate > 0.1 else f"{rate:.1g}"


def _plain_ticks(ax: Axes, low: float, high: float) -> None:
    steps = np.array([m * 10.0**e for e in range(-4, 5) for m in (1, 2, 5)])
    inside = steps[(steps >= low / 1.3) & (steps <= high * 1.3)]
    inside = inside if len(inside) <= 7 else np.array([s for s in inside if f"{s:e}"[0] == "1"])
    ax.set_yticks(inside, [f"{tick:g}" for tick in inside])
    ax.minorticks_off()


def _floor(ax: Axes, value: float, name: str) -> str:
    """Dotted line with its name; what it says in words."""
    if not np.isfinite(value):
        return ""
    ax.axhline(value, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
    ax.annotate(name, (0.99, value), (0, 2), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", va="bottom", fontsize=7.5, color=MUTED)  # fmt: skip
    return f"{name}: {number(value, 2)}"


def _spoken(name: str, line: pd.DataFrame) -> str:
    if line.empty:
        return ""
    chosen = line.iloc[np.unique(np.linspace(0, len(line) - 1, min(3, len(line))).round().astype(int))]
    return f"{name}: " + ", ".join(f"{number(r.mean, 2)} at {r.bpp:.2g} bpp" for r in chosen.itertuples())


def _notes(measures: list[Measure], bias: float) -> str:
    notes = ""
    if any(measure.floor for measure in measures):
        notes += (
            " Noise floor: the score of another acquisition of the same ground, that is of newly drawn speckle; a codec at "
            "it keeps no more than the ground itself. Targets: detections (constant false alarm rate) of the original found in "
            "the reconstruction, and those found there alone."
        )
    if np.isfinite(bias) and any(measure.column == "bias_db" for measure in measures):
        notes += (
            f" A codec that minimizes the squared error of dB values tends to {number(bias, 2)} dB over homogeneous ground at low rate. "
            "Classes of brightness: quarters of the scene by its 25×25 mean."
        )
    return notes


def _titles(rows: pd.DataFrame, name: str, codecs: list[str]) -> str:
    """What a group shows, at the PSNR where codecs are compared."""
    column = {"structure": "targets_kept", "radiometry": "rmse_k8_db", "statistics": "enl_ratio"}[name]
    points = at_target(curve(rows[rows["codec"].isin(codecs)], column), 24.0)["mean"]
    if len(points) < 2:
        return {"structure": "Edges and targets", "radiometry": "Brightness", "statistics": "Speckle"}[name]
    low, high = str(points.idxmin()), str(points.idxmax())
    return {
        "structure": f"At the same PSNR of 24 dB, {name_of(high)} keeps {number(100 * points[high], 0)} % of the point targets, "
        f"{name_of(low)} {number(100 * points[low], 0)} %",
        "radiometry": f"At 24 dB, averaging 8×8 leaves an error of {number(points[low], 2)} dB ({name_of(low)}) to "
        f"{number(points[high], 2)} dB ({name_of(high)})",
        "statistics": f"At 24 dB {name_of(high)} smooths speckle ({number(points[high], 2)} times the looks), {name_of(low)} adds noise "
        f"({number(points[low], 2)} times)",
    }[name]


def shown_text(tables: Tables) -> Prose:
    """What the groups show, in sentences."""
    rows = shown(evaluated(tables))
    if rows.empty:
        return missing("evaluated codecs", COMMAND)
    codecs = with_learned(rows, FEATURED)
    part = rows[rows["codec"].isin(codecs)]
    lines = []
    floor = float(pd.to_numeric(rows.get("epi_roa_floor", pd.Series(dtype=float)), errors="coerce").mean())
    edges = curve(part, "epi_roa")
    if len(edges) and np.isfinite(floor):
        reached = {c: _first_rate(edges[edges["codec"] == c], floor) for c in codecs}
        spoken = ", ".join(f"{name_of(c)} {number(r, 2)}" for c, r in reached.items() if np.isfinite(r))
        lines.append(
            f"**Edges** rise above their noise floor of {number(floor, 2)} from these bits per pixel on: {spoken}. Below, another "
            "acquisition of the same ground would resemble the original more."
        )
    kept, invented = (at_target(curve(part, column), 24.0)["mean"] for column in ("targets_kept", "targets_invented"))
    both = [c for c in codecs if c in kept.index and c in invented.index]
    if both:
        spoken = ", ".join(
            f"{name_of(c)} keeps {number(100 * kept[c], 0)} % and invents {number(100 * invented[c], 0)} %"
            for c in both
        )
        lines.append(
            f"**Point targets** at 24 dB: {spoken} of the original's number. What keeps targets keeps speckle peaks too."
        )
    bias = curve(part, "bias_db")
    if len(bias):
        worst = bias.loc[bias["mean"].abs().idxmax()]
        at_one = bias[(bias["bpp"] > 0.8)]["mean"].abs()
        lines.append(
            f"**Brightness** is off by up to {number(worst['mean'], 2, sign=True)} dB ({name_of(str(worst['codec']))} at {worst['bpp']:.2g} bit per "
            f"pixel)"
            + (f", and by at most {number(at_one.max(), 2)} dB above 0.8 bit per pixel." if len(at_one) else ".")
        )
    return Prose("\n".join(f"- {line}" for line in lines))


def _first_rate(line: pd.DataFrame, level: float) -> float:
    """Rate from which a curve stays above a level, interpolated on the logarithm of the rate; NaN where it never does."""
    line = line.sort_values("bpp")
    below = np.nonzero(line["mean"].to_numpy() < level)[0]
    if not len(below):
        return float(line["bpp"].iloc[0])
    last = int(below[-1])
    if last + 1 >= len(line):
        return float("nan")
    a, b = line.iloc[last], line.iloc[last + 1]
    share = (level - a["mean"]) / (b["mean"] - a["mean"])
    return float(np.exp(np.log(a["bpp"]) + share * (np.log(b["bpp"]) - np.log(a["bpp"]))))
