"""Fidelity to the recorded image beside fidelity to the reflectivity, on simulated scenes where both are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from sarlab.views import limits, style
from sarlab.views.codec_rows import name_of, present
from sarlab.views.fidelity import rate_axis
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND
from sarlab.views.listing import table
from sarlab.views.style import INK, MUTED, VERMILION, Look
from sarlab.views.text import Html, Prose, missing, number
from sarlab.views.text import listing as spoken

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

CODECS = ("jpeg2000", "hevc12", "jpegls")
#: Rows of the table that are no codecs.
REFERENCES = {"recorded": "recorded image", "lee": "Lee filter"}


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
    known = tables.table("simulated_limits")
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
            rate_axis(ax, line["bpp"])
            clean = line["psnr_clean_db"].astype(float)
            low = min(float(line["psnr_db"].min()), float(clean.min()), *own)
            # the copy of the recorded image goes on far above: the crossing and the peak are what is to be seen
            ax.set_ylim(low - 1, max(float(clean.max()), *own) + 8)
            bound = limits.draw(ax, known, scene=str(line["scene"].iloc[0]), band=None, which=("rwf",), label=False)
            if top.inside:
                ax.plot(
                    *(top.bpp, top.psnr_db), marker="o", markersize=9, markerfacecolor="none", markeredgecolor=INK,
                    markeredgewidth=1.2,
                )  # fmt: skip
                left = np.log(top.bpp / line["bpp"].min()) < 0.35 * np.log(line["bpp"].max() / line["bpp"].min())
                ax.annotate(
                    f"{number(top.psnr_db)} dB at {top.bpp:.2g} bpp", (top.bpp, top.psnr_db), (-4 if left else 0, 8),
                    textcoords="offset points", ha="left" if left else "center", va="bottom", fontsize=7.5,
                )  # fmt: skip
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
                f"{last['bpp']:.2g} bpp; against the clean scene {where}; recorded image itself {number(own.iloc[0] if len(own) else np.nan)} dB{'; ' + bound if bound else ''}.",
            )
        )
    key = [Look("against the recorded image", MUTED, "o"), Look("against the clean scene", VERMILION, "s"), Look("recorded image against the clean scene", VERMILION, "", hollow=True, width=1)]  # fmt: skip
    caption = f"Simulated scenes, {kind_of(correlated)} speckle, {name_of(codec)}. All four show the same ground. Circle: highest fidelity to the clean scene."
    if len(known):
        key += limits.looks(("rwf",))
        caption += (
            f" {limits.meaning(('rwf',))} It is one of copies of the recorded image and says nothing about the ground."
        )
    return Figure(panels, key=key, narrowest=300, title=_both_title(found, codec), caption=caption)


def kind_of(correlated: bool) -> str:
    """Speckle in a word."""
    return "correlated" if correlated else "white"


def _both_title(found: list[tuple[float, pd.DataFrame]], codec: str) -> str:
    tops = [(looks, peak(rows[rows["codec"] == codec])) for looks, rows in found]
    inside = [(looks, top) for looks, top in tops if top.inside]
    if not inside:
        return "More bits are always nearer to the ground here"
    rates = spoken(number(top.bpp, 2) for _, top in inside)
    counts = spoken(f"{looks:g}" for looks, _ in inside)
    return f"Nearest to the ground at {rates} bit per pixel ({counts} looks): more bits bring the noise back"


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


def listing(tables: Tables) -> Html | Prose:
    """Where fidelity to the ground is highest, for every codec and number of looks, as a table."""
    found = peaks(tables)
    if found.empty:
        return missing("simulated scenes", COMMAND)
    looks = sorted(found["looks"].unique())
    body = []
    for correlated in (True, False):
        part = found[(found["correlation"] > 0) == correlated]
        for codec, of_codec in part.groupby("codec", sort=False):
            cells = of_codec.set_index("looks")
            body.append(
                [f"{name_of(str(codec))}, {kind_of(correlated)}", *(_peak_cell(cells, count) for count in looks)]
            )
        for reference, name in REFERENCES.items():
            known = part.drop_duplicates("looks").set_index("looks")[f"{reference}_db"]
            body.append(
                [f"{name}, {kind_of(correlated)}", *(f"{number(known.get(count, np.nan))} dB" for count in looks)]
            )
    return table(
        ["files, speckle", *(_looks(count) for count in looks)], body,
        caption="Highest PSNR against the clean scene, and the bits per pixel it takes; a dash: still rising or falling at the end of the range",
    )  # fmt: skip


def _peak_cell(cells: pd.DataFrame, looks: float) -> str:
    if looks not in cells.index:
        return "–"
    row = cells.loc[looks]
    rate = f"at {number(row['bpp'], 2)} bpp" if row["inside"] else "–"
    return f"{number(row['psnr_db'])} dB<br><small>{rate}</small>"


def _looks(count: float) -> str:
    return f"{count:g} {'look' if count == 1 else 'looks'}"


def text(tables: Tables) -> Prose:
    """Where fidelity to the ground peaks, and by how much the best file beats the recorded image, in sentences."""
    found = peaks(tables)
    if found.empty:
        return missing("simulated scenes", COMMAND)
    lines = []
    for correlated in (True, False):
        inside = found[((found["correlation"] > 0) == correlated) & found["inside"]]
        if inside.empty:
            continue
        best = inside.loc[inside.groupby("looks")["psnr_db"].idxmax()]
        words = spoken(
            f"{number(r.psnr_db - r.recorded_db, 1)} dB at {_looks(r.looks)} ({name_of(r.codec)}, {number(r.bpp, 2)} bit per pixel)"
            for r in best.itertuples()
        )
        lines.append(
            f"**With {kind_of(correlated)} speckle** the best file is nearer to the ground than the recorded image by {words}."
        )
    never = sorted(set(found["looks"]) - set(found[found["inside"]]["looks"]))
    if never:
        lines.append(
            f"**At {spoken(f'{count:g}' for count in never)} {'look' if never == [1.0] else 'looks'}** the smallest file measured is the nearest: "
            "there is more noise than ground in the image, and whoever smooths most wins."
        )
    despeckled = found[found["correlation"] > 0].drop_duplicates("looks").dropna(subset=["lee_db"])
    if len(despeckled):
        best = found[found["correlation"] > 0].groupby("looks")["psnr_db"].max()
        gaps = spoken(
            f"{number(r.lee_db - best[r.looks], 1, sign=True)} dB at {_looks(r.looks)}" for r in despeckled.itertuples()
        )
        lines.append(
            f"**A despeckler does it better.** Against the best file of any codec a plain Lee filter (7×7) scores {gaps}, with correlated "
            "speckle: despeckling is a side effect of compression, not a reason for it."
        )
    return Prose("\n".join(f"- {line}" for line in lines))
