"""What a bit costs: limits and codecs on one plot, the distance between them, and what white speckle costs at least."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import limits, style
from sarlab.views.codec_rows import (
    bands,
    curve,
    evaluated,
    family_of,
    look_of,
    looks_of,
    name_of,
    shown,
    where,
    with_learned,
)
from sarlab.views.figure import Figure, Panel
from sarlab.views.style import INK, MUTED
from sarlab.views.text import Prose, listing, missing, number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Codecs that stand for the others beside the limits, in the order of their names on a figure.
FEATURED = ("vvc10", "hevc12", "jpeg2000")
RATE, QUALITY = "bits per pixel of the file", "PSNR of the dB image (dB)"
COMMAND = "sarlab sweep quick"
#: What one bit more buys far up, on every image.
DB_PER_BIT = 20 * np.log10(2)
#: The upper end of the plots of PSNR: above it the curves only go on.
MOST_DB = 40.0


def price(tables: Tables) -> Figure:
    """PSNR over the rate on the test scene: limits, and the codecs that stand for the others; one panel per band."""
    rows, table = evaluated(tables), tables.table("limits")
    if rows.empty or table.empty:
        return Figure.nothing("limits and evaluated codecs", COMMAND)
    panels = []
    featured = with_learned(shown(rows), FEATURED)
    for band in bands(rows)[:2]:
        part = shown(rows, band=band)
        points = curve(part[part["codec"].isin(featured)], "psnr_db")
        with style.style():
            drawing, ax = style.axes(3.9, 3.1)
            ax.set_title(f"{band}: {QUALITY}")
            for codec in featured:
                line = points[points["codec"] == codec]
                ax.plot(line["bpp"], line["mean"], **look_of(codec, family_of(part, codec)).line)
            low = points[points["target_value"] <= MOST_DB]
            ax.set_xlim(0, low["bpp"].max() * 1.05)
            ax.set_ylim(low["mean"].min() - 1, low["mean"].max() + 0.5)
            ax.set_yticks(np.arange(20, MOST_DB + 1, 5))
            ax.set_xlabel(RATE)
            spoken = limits.draw(ax, table, scene=_scene(part), band=band, label=False)
        panels.append(Panel(drawing, f"{band}, {QUALITY} over {RATE}. {_lines(points)}; {spoken}."))
    looks = [look_of(codec, family_of(rows, codec)) for codec in featured]
    part = shown(rows)
    return Figure(
        panels, key=[*looks, *limits.looks()], title=_price_title(tables), narrowest=300,
        caption=f"{where(part)} and {listing(bands(rows)[1:2]) or 'no other'}; files as they are stored, headers counted. "
        + limits.meaning(("rwf", "scalar", "speckle_floor")),
    )  # fmt: skip


def distance(tables: Tables) -> Figure:
    """Share of its bits that the limit would need, over PSNR, for every codec: the efficiency η."""
    rows, table = evaluated(tables), tables.table("limits")
    if rows.empty or table.empty:
        return Figure.nothing("limits and evaluated codecs", COMMAND)
    shares = efficiency(tables)
    part = shown(rows)
    looks = looks_of(part)
    with style.style():
        drawing, ax = style.axes(4.9, 3.3)
        ax.set_title("bits of the limit ÷ bits of the codec (%)")
        ends = []
        ceiling = _scalar_share(tables)
        if len(ceiling):
            ax.plot(ceiling["psnr_db"], 100 * ceiling["share"], color=MUTED, linewidth=1.2, linestyle=(0, (5, 2)))
            ends.append(
                (float(ceiling["psnr_db"].max()), float(100 * ceiling["share"].iloc[-1]), "scalar ceiling", MUTED)
            )
        for codec, line in shares.groupby("codec", sort=False):
            look = looks[str(codec)]
            ax.plot(line["target_value"], 100 * line["share"], **look.line)
            ends.append(
                (float(line["target_value"].max()), float(100 * line["share"].iloc[-1]), look.label, look.color)
            )
        ax.axhline(100, color=INK, linewidth=2.2)
        ends.append((float(shares["target_value"].max()), 100.0, "Gaussian limit", INK))
        ax.set_ylim(0, 106)
        ax.set_xlim(shares["target_value"].min() - 0.5, shares["target_value"].max() + 0.5)
        ax.set_xlabel(QUALITY)
        style.label_ends(ax, ends)
    best = shares.loc[shares["share"].idxmax()]
    spoken = "; ".join(
        f"{looks[str(c)].label}: {number(100 * g['share'].min(), 0)} to {number(100 * g['share'].max(), 0)} %"
        for c, g in shares.groupby("codec", sort=False)
    )
    return Figure(
        [Panel(drawing, f"Share of the limit over PSNR. {spoken}.")],
        title=f"The nearest that any of these codecs comes to the limit is {number(100 * best['share'], 0)} %: "
        f"{looks[str(best['codec'])].label} at {number(best['target_value'], 0)} dB",
        caption=f"{where(part)}. At low rates the header of the file counts most: it is part of the bits of the codec, not of the limit.",
    )  # fmt: skip


def efficiency(tables: Tables) -> pd.DataFrame:
    """η of every codec on the test scenes of the first band: columns codec, target_value, share; mean over scenes."""
    rows, table = shown(evaluated(tables)), tables.table("limits")
    found = []
    for scene, part in rows.groupby("scene", sort=False):
        bound = limits.selected(table, scene=str(scene), band=bands(rows)[0])
        found.append(
            part.assign(share=limits.rate_at(bound, "rwf", part["psnr_db"].astype(float)) / part["bpp"].astype(float))
        )
    shares = pd.concat(found).dropna(subset=["share"])
    return (
        shares.groupby(["codec", "target_value"], as_index=False, sort=False)["share"]
        .mean()
        .sort_values("target_value")
    )


def _scalar_share(tables: Tables) -> pd.DataFrame:
    """Share of the limit that an ideal scalar quantizer reaches, within the PSNR range of the codecs."""
    rows = shown(evaluated(tables))
    bound = limits.selected(tables.table("limits"), scene=_scene(rows), band=bands(rows)[0])
    line = limits.line(bound, "scalar")
    targets = rows["target_value"].astype(float)
    line = line[(line["psnr_db"] >= targets.min()) & (line["psnr_db"] <= targets.max())].sort_values("psnr_db")
    return line.assign(share=limits.rate_at(bound, "rwf", line["psnr_db"]) / line["bpp"]).dropna(subset=["share"])


# --- sentences --------------------------------------------------------------------------------------------------------


def price_text(tables: Tables) -> Prose:
    """What one more dB costs at the limit and in practice, in sentences."""
    rows, table = evaluated(tables), tables.table("limits")
    if rows.empty or table.empty:
        return missing("limits and evaluated codecs", COMMAND)
    part = shown(rows)
    bound = limits.selected(table, scene=_scene(part), band=bands(rows)[0])
    lines = []
    costs = {psnr: marginal(bound, psnr) for psnr in (24.0, 30.0, 40.0)}
    costs = {psnr: cost for psnr, cost in costs.items() if np.isfinite(cost)}
    if costs:
        spoken = ", ".join(f"{number(cost, 3)} bit at {psnr:g} dB" for psnr, cost in costs.items())
        lines.append(
            f"**One more dB costs, at the limit, {spoken}** per pixel. Far up it is {number(1 / DB_PER_BIT, 3)} bit for every image (a "
            f"bit is {number(DB_PER_BIT, 2)} dB); the first dB are cheap because only the few strongest frequencies need any bits."
        )
    anchor = curve(part[part["codec"] == "jpeg2000"], "psnr_db")
    if len(anchor):
        point = anchor.iloc[(anchor["target_value"] - 30).abs().argmin()]
        ideal = float(limits.rate_at(bound, "rwf", point["psnr_db"]))
        speckle = float(limits.rate_at(bound, "speckle", point["psnr_db"]))
        lines.append(
            f"**At {number(point['psnr_db'], 0)} dB JPEG 2000 writes {number(point['bpp'], 2)} bit per pixel where the limit asks for "
            f"{number(ideal, 2)}**"
            + (
                f", of which the speckle alone takes about {number(speckle, 2)} (an estimate)."
                if np.isfinite(speckle)
                else "."
            )
        )
    floor = limits.value(bound, "speckle_floor", "psnr_db")
    if np.isfinite(floor):
        at_floor = float(limits.rate_at(bound, "rwf", floor))
        cost = f" and {number(at_floor, 2)} bit per pixel at the limit" if np.isfinite(at_floor) else ""
        lines.append(
            f"**The speckle floor lies at {number(floor)} dB**{cost}: above it, most of every further bit is spent on the "
            "waveform of the noise."
        )
    return Prose("\n".join(f"- {line}" for line in lines))


def marginal(bound: pd.DataFrame, psnr_db: float) -> float:
    """Bit per pixel for one more dB at a PSNR, on the Gaussian limit; NaN outside the curve."""
    low, high = limits.rate_at(bound, "rwf", [psnr_db - 0.5, psnr_db + 0.5])
    return float(high - low)


def _price_title(tables: Tables) -> str:
    part = shown(evaluated(tables))
    bound = limits.selected(tables.table("limits"), scene=_scene(part), band=bands(part)[0])
    anchor = curve(part[part["codec"] == "jpeg2000"], "psnr_db")
    if anchor.empty:
        return "Codecs and what their scene allows"
    point = anchor.iloc[(anchor["target_value"] - 30).abs().argmin()]
    share = float(limits.rate_at(bound, "rwf", point["psnr_db"])) / point["bpp"]
    return f"At {number(point['psnr_db'], 0)} dB, {number(100 * share, 0)} % of the bits of JPEG 2000 would do in principle"


def _scene(rows: pd.DataFrame) -> str:
    return str(rows["scene"].iloc[0])


def _lines(points: pd.DataFrame) -> str:
    parts = []
    for codec, line in points.groupby("codec", sort=False):
        chosen = line.iloc[np.unique(np.linspace(0, len(line) - 1, min(4, len(line))).round().astype(int))]
        parts.append(
            f"{name_of(str(codec))}: "
            + ", ".join(f"{number(r.mean, 0)} dB at {r.bpp:.2g} bpp" for r in chosen.itertuples())
        )
    return "; ".join(parts)
