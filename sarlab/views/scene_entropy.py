"""How many bits a scene holds by itself: radar beside optical images of the same ground, with and without speckle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND
from sarlab.views.style import BLUE, GREEN, INK, MUTED, PAPER, VERMILION, Look
from sarlab.views.text import Prose, missing, number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

RELATIVE, PHYSICAL = "1/8 standard deviation", "0.1 dB"
#: Optical bands → what they are called.
OPTICAL = {"B04": "optical, red", "B08": "optical, near infrared"}


def entropies(tables: Tables, kinds: tuple[str, ...]) -> pd.DataFrame:
    """Rows of some kinds of image, with the smaller of the two lossless rates as ``lossless_bpp``."""
    rows = tables.table("scene_entropy")
    if rows.empty or "zeroth_bpp" not in rows:
        return rows.iloc[:0]
    rows = rows[rows["kind"].isin(kinds)].copy()
    rows["lossless_bpp"] = rows[["jpegls_bpp", "jpeg2000_bpp"]].apply(pd.to_numeric, errors="coerce").min(axis=1)
    return rows


def _name(row: pd.Series) -> str:
    return OPTICAL.get(str(row["band"]), f"radar, {row['band']}")


def radar_and_optical(tables: Tables) -> Figure:
    """Entropy, lossless rate and rate at one PSNR of the recorded scene and of optical images of the same ground."""
    rows = entropies(tables, ("radar", "optical"))
    if rows.empty:
        return Figure.nothing("entropies of scenes", COMMAND)
    panels = [_bars(rows[rows["grid"] == grid], title) for grid, title in ((RELATIVE, "steps of σ/8 (bpp)"), (PHYSICAL, "steps of 0.1 dB (bpp)"))]  # fmt: skip
    panels.append(_lossy(rows.drop_duplicates("band")))
    scene = rows[rows["kind"] == "radar"]["scene"]
    return Figure(
        panels, narrowest=230, title=_optical_title(rows),
        key=[Look("every pixel by itself (zeroth order)", INK, "", width=1.2), Look("with its neighbors (lossless file)", MUTED, "s", width=0)],
        caption=f"Recorded: {scene.iloc[0] if len(scene) else 'no radar scene'}, and Sentinel-2 images of the ground of the embedded test scene one day "
        "later; bpp: bit per pixel. σ/8: levels of an eighth of each image's own standard deviation, on which images of any contrast "
        "compare. 0.1 dB: equal relative precision. 30 dB: PSNR against each image's own range, loss included.",
    )  # fmt: skip


def _bars(rows: pd.DataFrame, title: str) -> Panel:
    spoken = []
    with style.style():
        drawing, ax = style.axes(2.9, 2.0)
        ax.set_title(title, fontsize=8.5)
        for place, (_, row) in enumerate(rows.iloc[::-1].iterrows()):
            color = GREEN if row["kind"] == "optical" else BLUE
            ax.barh(place, row["zeroth_bpp"], height=0.66, facecolor=PAPER, edgecolor=INK, linewidth=0.9)
            ax.barh(place, row["lossless_bpp"], height=0.66, color=color)
            ax.annotate(number(row["lossless_bpp"], 1), (row["lossless_bpp"], place), (-4, 0), textcoords="offset points", ha="right", va="center", color=PAPER, fontsize=8)  # fmt: skip
            spoken.append(
                f"{_name(row)}: {number(row['zeroth_bpp'], 2)} bit by themselves, {number(row['lossless_bpp'], 2)} with neighbors"
            )
        _rows_axis(ax, [_name(row) for _, row in rows.iloc[::-1].iterrows()])
    return Panel(drawing, f"{title}. {'; '.join(reversed(spoken))}.")


def _lossy(rows: pd.DataFrame) -> Panel:
    spoken = []
    with style.style():
        drawing, ax = style.axes(2.9, 2.0)
        ax.set_title("JPEG 2000 at 30 dB (bpp)", fontsize=8.5)
        for place, (_, row) in enumerate(rows.iloc[::-1].iterrows()):
            value = float(row["jpeg2000_bpp_30db"])
            ax.barh(place, value, height=0.66, color=GREEN if row["kind"] == "optical" else BLUE)
            ax.annotate(
                number(value, 2),
                (value, place),
                (-4, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                color=PAPER,
                fontsize=8,
            )
            spoken.append(f"{_name(row)}: {number(value, 2)}")
        _rows_axis(ax, [_name(row) for _, row in rows.iloc[::-1].iterrows()])
    return Panel(drawing, f"Bit per pixel of JPEG 2000 at 30 dB. {'; '.join(reversed(spoken))}.")


def _rows_axis(ax: object, names: list[str]) -> None:
    ax.set_yticks(range(len(names)), names)  # type: ignore[attr-defined]
    ax.tick_params(axis="y", labelcolor=INK)  # type: ignore[attr-defined]
    ax.grid(axis="y", visible=False)  # type: ignore[attr-defined]
    ax.set_xlim(0, None)  # type: ignore[attr-defined]


def _optical_title(rows: pd.DataFrame) -> str:
    mean = rows[rows["grid"] == RELATIVE].groupby("kind")[["zeroth_bpp", "lossless_bpp"]].mean()
    if not {"radar", "optical"} <= set(mean.index):
        return "How many bits a scene holds by itself"
    saved = mean["zeroth_bpp"] - mean["lossless_bpp"]
    return (
        f"Knowing the neighbors takes {number(saved['radar'])} of {number(mean['zeroth_bpp']['radar'])} bit off a radar pixel and "
        f"{number(saved['optical'])} of {number(mean['zeroth_bpp']['optical'])} off an optical one"
    )


def with_and_without(tables: Tables) -> Figure:
    """Lossless bits of simulated scenes over the number of looks, and of their ground without any speckle."""
    rows = entropies(tables, ("simulated", "speckle-free"))
    rows = rows[rows["grid"] == PHYSICAL] if len(rows) else rows
    if rows.empty or "correlation" not in rows:
        return Figure.nothing("entropies of simulated scenes", COMMAND)
    panels = []
    for column, title in (
        ("lossless_bpp", "lossless, steps of 0.1 dB: bit per pixel"),
        ("zeroth_bpp", "zeroth order, steps of 0.1 dB: bit per pixel"),
    ):
        panels.append(_looks_panel(rows, column, title))
    shares = speckle_shares(rows)
    return Figure(
        panels, narrowest=300,
        title=_share_title(shares),
        key=[Look("white speckle", VERMILION, "s"), Look("correlated speckle", BLUE, "o"), Look("the same ground without speckle", MUTED, "", hollow=True)],
        caption="Simulated scenes, all of the same ground; point targets are as wide as the speckle is correlated.",
    )  # fmt: skip


def _looks_panel(rows: pd.DataFrame, column: str, title: str) -> Panel:
    spoken = []
    with style.style():
        drawing, ax = style.axes(3.8, 2.8)
        ax.set_title(title)
        for correlated, color, marker in ((False, VERMILION, "s"), (True, BLUE, "o")):
            part = rows[(rows["correlation"] > 0) == correlated]
            noisy = part[part["kind"] == "simulated"].sort_values("looks")
            ax.plot(noisy["looks"], noisy[column], color=color, marker=marker, markersize=5)
            spoken.append(
                ("correlated" if correlated else "white")
                + " speckle: "
                + ", ".join(f"{number(getattr(r, column), 1)} bit at {r.looks:g} looks" for r in noisy.itertuples())
            )
        clean = rows[rows["kind"] == "speckle-free"][column].astype(float)
        if len(clean):
            ax.axhline(clean.mean(), color=MUTED, linewidth=1.2, linestyle=(0, (3.2, 2)))
            spoken.append(f"without speckle {number(clean.mean(), 1)} bit")
        ax.set_xscale("log", base=2)
        looks = sorted(rows[rows["kind"] == "simulated"]["looks"].unique())
        ax.set_xticks(looks, [f"{v:g}" for v in looks])
        ax.minorticks_off()
        ax.set_ylim(0, None)
        ax.set_xlabel("number of looks")
    return Panel(drawing, f"{title}, over the number of looks. {'; '.join(spoken)}.")


def speckle_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Share of the lossless bits that is there because of speckle: columns looks, correlation, share."""
    clean = rows[rows["kind"] == "speckle-free"].set_index("correlation")["lossless_bpp"].astype(float)
    noisy = rows[rows["kind"] == "simulated"]
    shares = 1 - noisy["correlation"].map(clean[~clean.index.duplicated()]) / noisy["lossless_bpp"].astype(float)
    return pd.DataFrame(
        {"looks": noisy["looks"].astype(float), "correlation": noisy["correlation"], "share": shares}
    ).dropna()


def _share_title(shares: pd.DataFrame) -> str:
    if shares.empty:
        return "Bits with and without speckle"
    low, high = shares.loc[shares["share"].idxmin()], shares.loc[shares["share"].idxmax()]
    if np.isclose(low["share"], high["share"]):
        return f"{number(100 * high['share'], 0)} % of the lossless bits are speckle"
    return (
        f"{number(100 * low['share'], 0)} % ({low['looks']:g} looks) to {number(100 * high['share'], 0)} % ({high['looks']:g} "
        f"{'look' if high['looks'] == 1 else 'looks'}) of the lossless bits are there because of speckle"
    )


def text(tables: Tables) -> Prose:
    """The numbers in sentences."""
    rows = entropies(tables, ("radar", "optical"))
    if rows.empty:
        return missing("entropies of scenes", COMMAND)
    lines = []
    stored = rows[rows["grid"] == "as stored"]
    spoken = [
        f"{_name(row)} {number(row['zeroth_bpp'], 1)} bit of {int(row['levels'])} levels, {number(row['lossless_bpp'], 1)} in a lossless file"
        for _, row in stored.iterrows()
    ]
    if spoken:
        lines.append(
            f"**As stored**: {'; '.join(spoken)}. These depend on how finely each product was rounded, so they do not compare sensors."
        )
    one = rows.drop_duplicates("band").assign(value=lambda r: pd.to_numeric(r["jpeg2000_bpp_30db"], errors="coerce"))
    mean = one.groupby("kind")["value"].mean()
    if {"radar", "optical"} <= set(mean.index) and np.isfinite(mean).all():
        ratio = mean["radar"] / mean["optical"]
        lines.append(
            f"**At one quality** (30 dB against its own range) the radar image costs JPEG 2000 {number(ratio, 1)} times the bits of the optical "
            f"ones. {'Radar does not compress better than optical imagery here.' if ratio > 1.05 else 'The two cost about the same here.'}"
        )
    return Prose("\n".join(f"- {line}" for line in lines))
