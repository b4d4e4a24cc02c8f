"""Fidelity to the recorded image beside fidelity to the reflectivity, on simulated scenes where both are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.codec_rows import look_of, name_of, present
from sarlab.views.fidelity import rate_axis
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND
from sarlab.views.style import INK, MUTED, SERIES, VERMILION, Look
from sarlab.views.text import Prose, listing, missing, number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

CODECS = ("jpeg2000", "hevc12", "jpegls")
#: Rows of the table that are no codecs.
REFERENCES = {"recorded": "recorded image", "lee": "Lee filter"}
SCALES = (1, 2, 4, 8, 16, 32)
#: Rates whose error is drawn over the scale of averaging, in bit per pixel.
RATES = (0.05, 0.18, 0.6, 1.9)


class Peak(NamedTuple):
    """Where fidelity to the clean scene is highest: rate in bit per pixel, PSNR in dB, and whether it lies inside the curve."""

    bpp: float
    psnr_db: float
    inside: bool


def peak(line: pd.DataFrame, column: str = "psnr_clean_db") -> Peak:
    """Highest point of a curve over the logarithm of the rate, by a parabola through it and its neighbors.

    Parameters
    ----------
    line : DataFrame
        Rows of one codec on one scene.
    column : str
    """
    line = line.dropna(subset=["bpp", column]).sort_values("bpp")
    if line.empty:
        return Peak(np.nan, np.nan, False)
    x, y = np.log(line["bpp"].to_numpy(float)), line[column].to_numpy(float)
    top = int(np.argmax(y))
    if top in (0, len(y) - 1):
        return Peak(float(np.exp(x[top])), float(y[top]), False)
    a, b, c = np.polyfit(x[top - 1 : top + 2] - x[top], y[top - 1 : top + 2], 2)
    shift = float(np.clip(-b / (2 * a), x[top - 1] - x[top], x[top + 1] - x[top]))
    return Peak(float(np.exp(x[top] + shift)), float(c + b * shift + a * shift**2), True)


def scenes(tables: Tables, *, correlated: bool) -> list[tuple[float, pd.DataFrame]]:
    """(looks, rows) of every simulated scene with white or with correlated speckle, fewest looks first."""
    rows = tables.table("reflectivity")
    if rows.empty or "psnr_clean_db" not in rows:
        return []
    rows = rows[(rows["correlation"] > 0) == correlated]
    return [(float(looks), part) for looks, part in rows.groupby("looks")]


def both(tables: Tables, *, correlated: bool = True, codec: str = "hevc12") -> Figure:
    """PSNR against the recorded and against the clean image over the rate, one panel per number of looks.

    Parameters
    ----------
    tables : Tables
    correlated : bool
        Correlated speckle as in resampled products, else white.
    codec : str
        Whose files; the first one that was measured where it is missing.
    """
    found = scenes(tables, correlated=correlated)
    if not found:
        return Figure.nothing("simulated scenes", COMMAND)
    codec = present(found[0][1], (codec, *CODECS))[0]
    panels = []
    for looks, rows in found:
        line = rows[rows["codec"] == codec].sort_values("bpp")
        own = rows[rows["codec"] == "recorded"]["psnr_clean_db"].astype(float)
        top = peak(line)
        with style.style():
            drawing, ax = style.axes(3.6, 2.7)
            ax.set_title(f"{looks:g} {'look' if looks == 1 else 'looks'}: PSNR (dB)")
            ax.plot(line["bpp"], line["psnr_db"], color=MUTED, marker="o", markersize=3)
            ax.plot(line["bpp"], line["psnr_clean_db"], color=VERMILION, marker="s", markersize=3)
            if len(own):
                ax.axhline(own.iloc[0], color=VERMILION, linewidth=1, linestyle=(0, (1, 2)))
            if top.inside:
                ax.plot(
                    top.bpp,
                    top.psnr_db,
                    marker="o",
                    markersize=9,
                    markerfacecolor="none",
                    markeredgecolor=INK,
                    markeredgewidth=1.2,
                )
                ax.annotate(f"{number(top.psnr_db)} dB at {top.bpp:.2g} bpp", (top.bpp, top.psnr_db), (0, 8), textcoords="offset points", ha="center", va="bottom", fontsize=7.5)  # fmt: skip
            rate_axis(ax, line["bpp"])
            low, high = ax.get_ylim()
            ax.set_ylim(low, high + 0.12 * (high - low))
        where = (
            f"highest, {number(top.psnr_db)} dB, at {top.bpp:.2g} bpp"
            if top.inside
            else "highest at the end of the range"
        )
        first, last = line.iloc[0], line.iloc[-1]
        panels.append(
            Panel(
                drawing,
                f"{looks:g} looks: PSNR against the recorded image {number(first['psnr_db'])} dB at {first['bpp']:.2g} bpp to {number(last['psnr_db'])} dB at "
                f"{last['bpp']:.2g} bpp; against the clean scene {where}; recorded image itself {number(own.iloc[0] if len(own) else np.nan)} dB.",
            )
        )
    key = [Look("against the recorded image", MUTED, "o"), Look("against the clean scene", VERMILION, "s"), Look("recorded image against the clean scene", VERMILION, "", hollow=True, width=1)]  # fmt: skip
    return Figure(
        panels, key=key, narrowest=300, title=_both_title(found, codec),
        caption=f"Simulated scenes, {_kind(correlated)} speckle, {name_of(codec)}. All four show the same ground. Circle: highest fidelity to the clean scene.",
    )  # fmt: skip


def _kind(correlated: bool) -> str:
    return "correlated" if correlated else "white"


def _both_title(found: list[tuple[float, pd.DataFrame]], codec: str) -> str:
    tops = [(looks, peak(rows[rows["codec"] == codec])) for looks, rows in found]
    inside = [(looks, top) for looks, top in tops if top.inside]
    if not inside:
        return "More bits are always nearer to the ground here"
    spoken = listing(f"{number(top.bpp, 2)} ({looks:g})" for looks, top in inside)
    return f"More bits are not nearer to the ground: the best rate is {spoken} bit per pixel, by the number of looks"


def peaks(tables: Tables) -> pd.DataFrame:
    """Peak of every codec on every simulated scene: columns looks, correlation, codec, bpp, psnr_db, inside, recorded_db, lee_db."""
    found = []
    for correlated in (False, True):
        for looks, rows in scenes(tables, correlated=correlated):
            own = {name: rows[rows["codec"] == name]["psnr_clean_db"].astype(float) for name in REFERENCES}
            for codec in present(rows, CODECS):
                top = peak(rows[rows["codec"] == codec])
                levels = {f"{name}_db": float(v.iloc[0]) if len(v) else np.nan for name, v in own.items()}
                found.append(
                    {
                        "looks": looks,
                        "correlation": float(rows["correlation"].iloc[0]),
                        "codec": codec,
                        **top._asdict(),
                        **levels,
                    }
                )
    return pd.DataFrame(found)


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
        caption=f"Simulated scene of {looks:g} looks, {_kind(correlated)} speckle, {name_of(codec)}: root mean square error in dB of means of k×k samples of "
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
        title="Edges of the ground, not of its speckle: how much of them each codec keeps",
        caption=f"Simulated scenes, {_kind(correlated)} speckle. Ratio-of-averages edge strength against that of the clean scene, 1 = the same.",
    )  # fmt: skip


def text(tables: Tables) -> Prose:
    """Where fidelity to the ground peaks, and by how much the best file beats the recorded image, in sentences."""
    found = peaks(tables)
    if found.empty:
        return missing("simulated scenes", COMMAND)
    lines = []
    for correlated in (False, True):
        part = found[(found["correlation"] > 0) == correlated]
        for codec, of_codec in part.groupby("codec", sort=False):
            inside = of_codec[of_codec["inside"]]
            words = [
                f"{number(r.bpp, 2)} bpp at {r.looks:g} looks ({number(r.psnr_db - r.recorded_db, 1, sign=True)} dB over the recorded image)"
                for r in inside.itertuples()
            ]
            never = [f"{r.looks:g}" for r in of_codec[~of_codec["inside"]].itertuples()]
            sentence = f"**{name_of(str(codec))}, {_kind(correlated)} speckle**: "
            sentence += f"nearest to the ground at {listing(words)}" if words else "no peak inside the range"
            sentence += f"; no peak at {listing(never)} looks." if never and words else "."
            lines.append(sentence)
    despeckled = found.drop_duplicates(["looks", "correlation"])
    gap = [
        f"{number(r.lee_db, 1)} dB at {r.looks:g}"
        for r in despeckled[despeckled["correlation"] > 0].itertuples()
        if np.isfinite(r.lee_db)
    ]
    if gap:
        best = [
            f"{number(g['psnr_db'].max(), 1)} dB at {count:g}"
            for count, g in found[found["correlation"] > 0].groupby("looks")
        ]
        lines.append(
            f"For comparison, a plain despeckler (Lee, 7×7) reaches {listing(gap)} looks with correlated speckle; the best files {listing(best)}."
        )
    return Prose("\n".join(f"- {line}" for line in lines))
