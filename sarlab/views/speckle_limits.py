"""What speckle costs at least, where it is known: simulated white speckle; and the limit of a source one can compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import limits, style
from sarlab.views.codec_rows import family_of, look_of, present
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND, RATE
from sarlab.views.style import BLUE, GRID, INK, MUTED, VERMILION, Look
from sarlab.views.text import number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Simulated numbers of looks whose bounds are drawn: a single-look product, and Sentinel-1 GRD.
LOOKS = (1.0, 4.4)


def sandwich(tables: Tables) -> Figure:
    """What white speckle costs at least: the Shannon bound and its upper counterpart, beside codecs; simulation only."""
    rows, table = tables.table("reflectivity"), tables.table("simulated_limits")
    if rows.empty or table.empty:
        return Figure.nothing("simulated scenes and their limits", COMMAND)
    codecs = present(rows, ("hevc12", "jpeg2000"))
    panels = []
    for looks in LOOKS:
        white = (table["correlation"] == 0) & np.isclose(table["looks"], looks)
        scenes = rows[(rows["correlation"] == 0) & np.isclose(rows["looks"], looks)]
        if not white.any() or scenes.empty:
            continue
        bound = limits.selected(table[white], scene=str(scenes["scene"].iloc[0]), band=None)
        panels.append(_sandwich_panel(scenes, bound, codecs, looks))
    keys = [look_of(codec, family_of(rows, codec)) for codec in codecs]
    costs = [
        f"{number(_rate_of_error(table, looks, 1.0), 2)} bit at {looks:g} {'look' if looks == 1 else 'looks'}"
        for looks in LOOKS
    ]
    return Figure(
        panels, key=[*keys, Look("Shannon bound of the speckle", INK, "", width=2.2), Look("Gaussian limit of the scene", MUTED, "", hollow=True, width=1.2)], narrowest=300,
        title=f"To know white speckle to 1 dB costs at least {' and '.join(costs)}, whatever the codec",
        caption="Simulated scenes with white speckle. Shaded: between the Shannon lower bound of the speckle, given the scene, and its "
        "Gaussian upper bound lies the true limit of the speckle alone; the scene comes on top. Dashed: Gaussian limit of "
        "the whole scene. RMSE of unclipped dB.",
    )  # fmt: skip


def _sandwich_panel(rows: pd.DataFrame, bound: pd.DataFrame, codecs: list[str], looks: float) -> Panel:
    lower, upper, whole = (limits.line(bound, name) for name in ("shannon", "gaussian", "rwf"))
    with style.style():
        drawing, ax = style.axes(3.9, 3.0)
        ax.set_title(f"L = {looks:g}, white (simulated): RMSE (dB)")
        both = lower.merge(upper, on="rmse_db", suffixes=("_lower", "_upper"))
        ax.fill_betweenx(both["rmse_db"], both["bpp_lower"], both["bpp_upper"], color=GRID, linewidth=0)
        ax.plot(lower["bpp"], lower["rmse_db"], color=INK, linewidth=2.2)
        ax.plot(whole["bpp"], whole["rmse_db"], color=MUTED, linewidth=1.2, linestyle=(0, (5, 2)))
        spoken = []
        for codec in codecs:
            line = rows[rows["codec"] == codec].sort_values("bpp")
            look = look_of(codec, family_of(rows, codec))
            ax.plot(line["bpp"], line["rmse_db"], **look.line)
            spoken.append(f"{look.label}: " + _errors(line))
        ax.set_yscale("log", base=2)
        ticks = [0.25, 0.5, 1, 2, 4, 8]
        top = float(rows["rmse_db"].max())
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_ylim(0.25, top * 1.1)
        ax.set_xlim(0, 4.2)
        ax.minorticks_off()
        ax.set_xlabel(RATE)
    return Panel(
        drawing, f"{looks:g} looks, RMSE in dB over {RATE}. Shannon bound: {_errors(lower)}; {'; '.join(spoken)}."
    )


def _rate_of_error(table: pd.DataFrame, looks: float, rmse_db: float) -> float:
    from sarlab.metrics.bounds import shannon_lower_bound

    return float(shannon_lower_bound(rmse_db, looks))


def _errors(line: pd.DataFrame) -> str:
    points = line.dropna(subset=["bpp", "rmse_db"]).sort_values("bpp")
    chosen = points.iloc[np.unique(np.linspace(0, len(points) - 1, min(4, len(points))).round().astype(int))]
    return ", ".join(f"{number(row.rmse_db, 2)} dB at {row.bpp:.2g} bpp" for row in chosen.itertuples())


def one_source() -> Figure:
    """A source simple enough that its limit can be computed: unit Gaussian, its R(D) three ways, and scalar quantizers."""
    from sarlab.metrics.bounds import SPACE_FILLING_LOSS, blahut_arimoto, gaussian_scalar_quantizer

    grid = np.linspace(-4.5, 4.5, 121)
    mass = np.exp(-(grid**2) / 2)
    computed = [
        blahut_arimoto(mass / mass.sum(), np.square(grid[:, None] - grid), slope, tolerance=1e-4)
        for slope in (1.0, 2.5, 6.0, 16.0, 45.0)
    ]
    table = gaussian_scalar_quantizer()
    used = table.rate <= 4
    rates = np.linspace(0, 4, 60)
    with style.style():
        drawing, ax = style.axes(5.4, 3.2)
        ax.set_title("signal to noise (dB)")
        ax.plot(rates, 20 * np.log10(2) * rates, color=INK, linewidth=2.2)
        ax.plot(
            [p.rate for p in computed],
            [-10 * np.log10(p.distortion) for p in computed],
            "o",
            color=VERMILION,
            markersize=5,
        )
        ax.plot(table.rate[used], -10 * np.log10(table.distortion[used]), color=BLUE)
        ax.annotate("R(D), closed form", (3.0, 18.1), (-6, 4), textcoords="offset points", ha="right", color=INK)
        ax.annotate("the same, computed", (computed[2].rate, -10 * np.log10(computed[2].distortion)), (-8, 6), textcoords="offset points", ha="right", color=VERMILION)  # fmt: skip
        ax.annotate("best scalar quantizers", (2.6, 14.1), (6, -12), textcoords="offset points", color=BLUE)
        ax.set_xlabel("bit per sample")
        ax.set_ylim(0, 24.5)
        ax.set_xlim(0, 4)
    points = ", ".join(f"{number(-10 * np.log10(p.distortion))} dB at {p.rate:.2f} bit" for p in computed)
    return Figure(
        [Panel(drawing, f"Signal to noise over rate for a Gaussian source. Rate-distortion function: 6.02 dB per bit. Computed by Blahut-Arimoto: {points}. Scalar quantizers approach a line {number(20 * np.log10(2) * SPACE_FILLING_LOSS, 2)} dB below.")],
        title=f"Even on the simplest source, quantizing sample by sample costs {number(SPACE_FILLING_LOSS, 2)} bit",
        caption="Independent Gaussian samples. Line: R(D) = ½ log₂(1/D). Dots: the algorithm of Blahut and Arimoto on 121 levels, which knows "
        "no formula. Below: the best entropy-coded scalar quantizers.",
    )  # fmt: skip
