"""What stands beside the networks on a plot of PSNR over bits per pixel: codecs with real files, and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sarlab.views import limits as limit_lines
from sarlab.views.codec_rows import name_of, present
from sarlab.views.style import INK, Look
from sarlab.views.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Codecs that are drawn beside the networks, and how far above the networks' PSNR in dB they go on.
FEATURED, MORE_DB = ("hevc12", "jpeg2000"), 4.0
MARKERS = ("D", "v")
#: Which limits; the plot of the networks has the speckle floor already.
WHICH = ("rwf", "scalar")


def draw(ax: Axes, codecs: pd.DataFrame | None, limits: pd.DataFrame | None, rows: pd.DataFrame, band: str) -> str:
    """Draw codecs (thin lines) and limits; returns what was drawn in words and numbers.

    Parameters
    ----------
    ax : Axes
        PSNR in dB over bits per pixel.
    codecs, limits : DataFrame or None
        ``tables().codecs``, ``tables().table("limits")``.
    rows : DataFrame
        Of the networks on the plot: their scenes count.
    band : str
    """
    found = curves(codecs, rows, band)
    lines = list(found.groupby("codec", sort=False)) if len(found) else []
    for codec, line in lines:
        ax.plot(line["bpp"], line["psnr_db"], **{**look_of(str(codec)).line, "markersize": 2.8})
    if lines:
        left, right = ax.get_xlim()
        ax.set_xlim(min(left, found["bpp"].min() / 1.15), right)
    spoken = [limit_lines.draw(ax, of_scenes(limits, rows, band), band=band, which=WHICH, label=False)]
    for codec, line in lines:
        first, last = line.iloc[0], line.iloc[-1]
        spoken.append(
            f"{name_of(str(codec))}: {number(first['psnr_db'], 0)} dB at {first['bpp']:.2g} bpp to "
            f"{number(last['psnr_db'], 0)} dB at {last['bpp']:.2g} bpp"
        )
    return "; ".join(filter(None, spoken))


def key(codecs: pd.DataFrame | None, limits: pd.DataFrame | None, rows: pd.DataFrame, band: str) -> list[Look]:
    """Looks of what `draw` draws, for the key of the figure."""
    found = curves(codecs, rows, band)
    looks = [look_of(str(codec)) for codec in found["codec"].unique()] if len(found) else []
    return looks + (limit_lines.looks(WHICH) if len(of_scenes(limits, rows, band)) else [])


def look_of(codec: str) -> Look:
    """Thin and in ink: colors belong to the networks."""
    marker = MARKERS[FEATURED.index(codec)] if codec in FEATURED else "^"
    return Look(name_of(codec), INK, marker, width=0.8)


def of_scenes(limits: pd.DataFrame | None, rows: pd.DataFrame, band: str) -> pd.DataFrame:
    """Limits of the one scene of `rows`, or of all scenes of its split pooled."""
    if limits is None or limits.empty:
        return pd.DataFrame()
    scenes = [str(scene) for scene in rows["scene"].unique()]
    scene = scenes[0] if len(scenes) == 1 else None
    return limit_lines.selected(limits, scene=scene, band=band, split=str(rows["split"].iloc[0]))


def curves(codecs: pd.DataFrame | None, rows: pd.DataFrame, band: str) -> pd.DataFrame:
    """Mean curves of the codecs that stand for the others, on the scenes of `rows`, up to just above their PSNR.

    A point with files on some of the scenes only is left out: its mean would be one of other scenes.
    """
    if codecs is None or codecs.empty or not {"codec", "scene", "band", "bpp", "psnr_db"} <= set(codecs):
        return pd.DataFrame()
    scenes = set(rows["scene"].unique())
    found = codecs[(codecs["band"] == band) & codecs["scene"].isin(scenes)].dropna(subset=["bpp", "psnr_db"])
    found = found[found["codec"].isin(present(found, FEATURED) or list(found["codec"].unique()))]
    key = next((name for name in ("target_value", "quality") if name in found), "bpp")
    groups = found.groupby(["codec", key], sort=False)
    mean = groups[["bpp", "psnr_db"]].mean()[groups["scene"].nunique() == len(scenes)].reset_index()
    return mean[mean["psnr_db"] <= rows["psnr_db"].astype(float).max() + MORE_DB].sort_values(["codec", "bpp"])
