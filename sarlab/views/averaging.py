"""What averaging after decompression gives back of the ground, and how much of its edges a file keeps: simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.codec_rows import look_of, name_of, present
from sarlab.views.fidelity import rate_axis
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND
from sarlab.views.reflectivity import CODECS, kind_of, scenes
from sarlab.views.style import INK, MUTED, SERIES, Look
from sarlab.views.text import number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

SCALES = (1, 2, 4, 8, 16, 32)
#: Rates whose error is drawn over the scale of averaging, in bit per pixel.
RATES = (0.05, 0.18, 0.6, 1.9)
#: Share of the recorded image's agreement of edges that counts as kept.
NEARLY = 0.95


def averaging(tables: Tables, *, correlated: bool = True, looks: float = 4.4, codec: str = "hevc12") -> Figure:
    """Error against the clean scene after averaging k×k: what averaging gives back, and what stays lost."""
    found = [rows for found_looks, rows in scenes(tables, correlated=correlated) if np.isclose(found_looks, looks)]
    if not found:
        return Figure.nothing("simulated scenes", COMMAND)
    rows = found[0]
    codecs = present(rows, CODECS)
    panels = []
    for column, title in (("rmse_clean", "against the clean scene (dB)"), ("rmse", "against the recorded image (dB)")):
        panels.append(
            _scale_panel(rows, codec if codec in codecs else codecs[0], column, title, recorded=column == "rmse_clean")
        )
    clean = _errors(rows[(rows["codec"] == "recorded")], "rmse_clean")
    return Figure(
        panels, narrowest=300, title=_averaging_title(rows, codec if codec in codecs else codecs[0], clean),
        caption=f"Simulated scene of {looks:g} looks, {kind_of(correlated)} speckle, {name_of(codec)}: root mean square error in dB of means of k×k samples of "
        "intensity. Dotted: the recorded image, that is what averaging leaves of the speckle itself.",
    )  # fmt: skip


def _errors(row: pd.DataFrame, column: str) -> np.ndarray:
    """Error by scale of the first row, NaN where it is unknown."""
    names = [f"{column}_db" if column == "rmse_clean" and side == 1 else f"{column}_k{side}_db" for side in SCALES]
    return row.reindex(columns=names).astype(float).iloc[0].to_numpy() if len(row) else np.full(len(SCALES), np.nan)


def _nearest(rows: pd.DataFrame, codec: str, rate: float) -> pd.DataFrame:
    line = rows[rows["codec"] == codec].dropna(subset=["bpp"])
    return line.iloc[(np.log(line["bpp"].astype(float)) - np.log(rate)).abs().argsort()[:1]]


def _scale_panel(rows: pd.DataFrame, codec: str, column: str, title: str, *, recorded: bool) -> Panel:
    spoken, ends = [], []
    with style.style():
        drawing, ax = style.axes(3.9, 3.0)
        ax.set_title(title)
        for color, rate in zip((MUTED, *SERIES), RATES, strict=False):
            row = _nearest(rows, codec, rate)
            errors = _errors(row, column)
            if not np.isfinite(errors).any() or abs(np.log(float(row["bpp"].iloc[0]) / rate)) > 0.3:
                continue
            ax.plot(SCALES, errors, color=color, marker="o", markersize=4)
            ends.append((SCALES[-1], float(errors[-1]), f"{number(float(row['bpp'].iloc[0]), 2)} bpp", color))
            spoken.append(
                f"{number(float(row['bpp'].iloc[0]), 2)} bpp: "
                + ", ".join(f"{number(e, 2)} at {k}×{k}" for k, e in zip(SCALES, errors, strict=True))
            )
        if recorded:
            own = _errors(rows[rows["codec"] == "recorded"], column)
            ax.plot(SCALES, own, color=INK, linewidth=1.2, linestyle=(0, (1, 2)))
            ends.append((SCALES[-1], float(own[-1]), "recorded", INK))
            spoken.append(
                "recorded: " + ", ".join(f"{number(e, 2)} at {k}×{k}" for k, e in zip(SCALES, own, strict=True))
            )
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(SCALES, [f"{side}×{side}" for side in SCALES])
        steps = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5])
        low, high = ax.get_ylim()
        ax.set_yticks(
            steps[(steps >= low) & (steps <= high)], [f"{s:g}" for s in steps[(steps >= low) & (steps <= high)]]
        )
        ax.minorticks_off()
        ax.set_xlabel("samples averaged")
        style.label_ends(ax, ends)
    return Panel(drawing, f"{name_of(codec)}, error {title} over the size of the mean. {'; '.join(spoken)}.")


def _averaging_title(rows: pd.DataFrame, codec: str, own: np.ndarray) -> str:
    row = _nearest(rows, codec, 0.18)
    errors = _errors(row, "rmse_clean")
    at = SCALES.index(8)
    if not np.isfinite([errors[at], own[at]]).all():
        return "What averaging after decompression gives back"
    return (
        f"After averaging 8×8 the ground is known to {number(errors[at], 2)} dB from a file of {number(float(row['bpp'].iloc[0]), 2)} bit per pixel, and to "
        f"{number(own[at], 2)} dB from the recorded image"
    )


def edges(tables: Tables, *, correlated: bool = True) -> Figure:
    """Agreement of edges with those of the clean scene over the rate, beside the noise floor, by number of looks."""
    found = scenes(tables, correlated=correlated)
    if not found or "epi_roa_clean" not in found[0][1]:
        return Figure.nothing("simulated scenes", COMMAND)
    codecs = present(found[0][1], CODECS)
    looks_ = {codec: look_of(codec, str(found[0][1].set_index("codec")["family"][codec].iloc[0])) for codec in codecs}
    panels = []
    for looks, rows in found:
        spoken = []
        with style.style():
            drawing, ax = style.axes(3.6, 2.5)
            ax.set_title(f"{looks:g} {'look' if looks == 1 else 'looks'}: edges of the ground")
            for codec, look in looks_.items():
                line = rows[rows["codec"] == codec].sort_values("bpp")
                ax.plot(line["bpp"], line["epi_roa_clean"], **{**look.line, "markersize": 3})
                best = line.loc[line["epi_roa_clean"].astype(float).idxmax()]
                spoken.append(f"{look.label}: best {number(best['epi_roa_clean'], 2)} at {best['bpp']:.2g} bpp")
            own = rows[rows["codec"] == "recorded"]["epi_roa_clean"].astype(float)
            if len(own):
                ax.axhline(own.iloc[0], color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
                spoken.append(f"recorded image {number(own.iloc[0], 2)}")
            ax.set_ylim(0, 1.02)
            rate_axis(ax, rows["bpp"].dropna())
        panels.append(Panel(drawing, f"{looks:g} looks, agreement of edges with the clean scene. {'; '.join(spoken)}."))
    return Figure(
        panels, key=[*looks_.values(), Look("recorded image", MUTED, "", hollow=True, width=1)], narrowest=300,
        title=_edges_title(found, codecs[0]),
        caption=f"Simulated scenes, {kind_of(correlated)} speckle. Ratio-of-averages edge strength against that of the clean scene, 1 = the same.",
    )  # fmt: skip


def _edges_title(found: list[tuple[float, pd.DataFrame]], codec: str) -> str:
    """From which rate on edges of the ground are nearly those of the recorded image."""
    rates = []
    for _, rows in found:
        own = rows[rows["codec"] == "recorded"]["epi_roa_clean"].astype(float)
        line = rows[rows["codec"] == codec].sort_values("bpp")
        near = line[line["epi_roa_clean"].astype(float) >= NEARLY * own.iloc[0]] if len(own) else line.iloc[:0]
        rates += [float(near["bpp"].iloc[0])] if len(near) else []
    if not rates:
        return "Edges of the ground, not of its speckle"
    return (
        f"Edges of the ground: {name_of(codec)} needs {number(min(rates), 2)} to {number(max(rates), 2)} bit per pixel to keep "
        f"{number(100 * NEARLY, 0)} % of what the recorded image shows of them"
    )
