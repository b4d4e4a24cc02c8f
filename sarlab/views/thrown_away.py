"""What compression drops first: by spatial frequency, and by class of ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.codec_rows import at_target, curve, evaluated, name_of, present, shown, where
from sarlab.views.fidelity import rate_axis
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND, RATE
from sarlab.views.style import GREEN, INK, MUTED, PURPLE, SERIES, VERMILION, Look
from sarlab.views.text import Prose, missing, number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Two codecs that drop what squared error does not miss, one that bounds the error of every sample.
CODECS = ("jpeg2000", "hevc12", "jpegls")
#: Matched PSNR in dB of the lines.
TARGETS = (22.0, 26.0, 30.0, 36.0)
#: Class of ground → (column, color, marker).
CLASSES = {"edges": ("rmse_edge_db", PURPLE, "D"), "texture": ("rmse_texture_db", GREEN, "^"), "point targets": ("rmse_target_db", VERMILION, "s")}  # fmt: skip
BANDS = tuple(f"lost_power_band{index}" for index in range(1, 9))


def frequencies() -> np.ndarray:
    """Middles of the bands of radial frequency, in cycles per sample."""
    from sarlab.metrics.spectra import BANDS as EDGES

    edges = np.minimum(np.asarray(EDGES), 0.5)
    return (edges[1:] + edges[:-1]) / 2


def spectrum(tables: Tables) -> Figure:
    """Share of the power that is lost by spatial frequency, at several PSNR values; and error by class of ground."""
    rows = shown(evaluated(tables))
    if rows.empty or BANDS[0] not in rows:
        return Figure.nothing("evaluated codecs", COMMAND)
    codecs = present(rows, CODECS)
    panels = [_spectrum_panel(rows[rows["codec"] == codec], codec) for codec in codecs]
    panels += [_class_panel(rows[rows["codec"] == codecs[0]], codecs[0])] if codecs else []
    return Figure(
        panels, narrowest=230, title=_title(rows),
        caption=f"{where(rows)}. Power lost: that of the error over that of the recorded image, by radial spatial frequency; 100 % is what a "
        "constant would lose, more is noise of the codec's own. Last panel: error of each class over that of homogeneous "
        "ground, where there is nothing but speckle to lose; above 1 structure is lost with it.",
        key=[Look(name, color, marker) for name, (_, color, marker) in CLASSES.items()],
    )  # fmt: skip


def lost(rows: pd.DataFrame, target: float) -> np.ndarray:
    """Share of the power lost in each band at one target, mean over scenes, shape (8,)."""
    part = rows[np.isclose(rows["target_value"].astype(float), target)]
    return part[list(BANDS)].apply(pd.to_numeric, errors="coerce").mean().to_numpy(float)


def _spectrum_panel(rows: pd.DataFrame, codec: str) -> Panel:
    x, spoken, ends = frequencies(), [], []
    with style.style():
        drawing, ax = style.axes(2.9, 2.4)
        ax.set_title(f"{name_of(codec)}: power lost (%)", fontsize=8.5)
        ax.axhline(100, color=INK, linewidth=0.9)
        for color, target in zip((MUTED, *SERIES), TARGETS, strict=False):
            y = 100 * lost(rows, target)
            if not np.isfinite(y).all():
                continue
            ax.plot(x, y, color=color, marker="o", markersize=3)
            ends.append((float(x[-1]), float(y[-1]), f"{target:g} dB", color))
            spoken.append(
                f"{target:g} dB: {number(y[0], 1)} % at {x[0]:.2f}, {number(y[3], 0)} % at {x[3]:.2f}, {number(y[-1], 0)} % at {x[-1]:.2f}"
            )
        ax.set_yscale("log")
        ax.set_yticks([0.1, 1, 10, 100, 1000], ["0.1", "1", "10", "100", "1000"])
        ax.minorticks_off()
        ax.set_ylim(0.08, 5000)
        ax.set_xlim(0, 0.5)
        ax.set_xlabel("spatial frequency (cycles/sample)")
        style.label_ends(ax, ends)
    return Panel(
        drawing,
        f"{name_of(codec)}, share of power lost over spatial frequency in cycles per sample. {'; '.join(spoken)}.",
    )


def _class_panel(rows: pd.DataFrame, codec: str) -> Panel:
    base = curve(rows, "rmse_homogeneous_db").set_index("target_value")["mean"]
    spoken = []
    with style.style():
        drawing, ax = style.axes(2.9, 2.4)
        ax.set_title(f"{name_of(codec)}: error ÷ homogeneous", fontsize=8.5)
        ax.axhline(1, color=INK, linewidth=0.9)
        rates = []
        for name, (column, color, marker) in CLASSES.items():
            points = curve(rows, column)
            share = points["mean"] / points["target_value"].map(base)
            ax.plot(points["bpp"], share, color=color, marker=marker, markersize=3.8)
            rates.append(points["bpp"])
            if len(points):
                spoken.append(
                    f"{name}: {number(share.iloc[0], 2)} at {points['bpp'].iloc[0]:.2g} bpp, {number(share.iloc[-1], 2)} at {points['bpp'].iloc[-1]:.2g} bpp"
                )
        rate_axis(ax, pd.concat(rates))
    return Panel(
        drawing,
        f"{name_of(codec)}, error of each class of ground over that of homogeneous ground, over {RATE}. {'; '.join(spoken)}.",
    )


def _title(rows: pd.DataFrame) -> str:
    part = rows[rows["codec"] == CODECS[0]]
    share = lost(part, 26.0) if len(part) else np.full(8, np.nan)
    if not np.isfinite(share).all():
        return "What is thrown away first"
    return (
        f"At 26 dB {name_of(CODECS[0])} has lost {number(100 * share[0], 1)} % of the coarse structure and "
        f"{number(min(100 * share[4:].mean(), 100), 0)} % of the finest half of the frequencies"
    )


def text(tables: Tables) -> Prose:
    """Is it speckle or structure that is lost? In sentences."""
    rows = shown(evaluated(tables))
    part = rows[rows["codec"] == CODECS[0]] if len(rows) else rows
    if part.empty:
        return missing("evaluated codecs", COMMAND)
    lines = []
    classes = {name: at_target(curve(part, column), 24.0)["mean"] for name, (column, _, _) in CLASSES.items()}
    base = at_target(curve(part, "rmse_homogeneous_db"), 24.0)["mean"]
    if len(base):
        spoken = ", ".join(
            f"{name} {number(float(v.iloc[0] / base.iloc[0]), 2)}" for name, v in classes.items() if len(v)
        )
        lines.append(
            f"**By class of ground**, {name_of(CODECS[0])} at 24 dB errs on homogeneous ground by {number(float(base.iloc[0]), 2)} dB; elsewhere "
            f"by these multiples of it: {spoken}."
        )
    unlike = curve(part, "residual_spectrum_error_db")
    white = curve(part, "residual_whiteness")
    if len(unlike) and len(white):
        lines.append(
            f"**The error itself** is correlated like the scene's speckle at low rates (its spectrum differs by {number(unlike['mean'].iloc[0], 1)} dB "
            f"at {unlike['bpp'].iloc[0]:.2g} bit per pixel) and turns into white noise of the quantizer at high ones (whiteness "
            f"{number(white['mean'].iloc[0], 2)} and {number(white['mean'].iloc[-1], 2)})."
        )
    return Prose("\n".join(f"- {line}" for line in lines))
