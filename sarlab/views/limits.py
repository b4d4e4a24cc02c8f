"""Limits beside codecs: what a spectrum allows, what speckle costs, and how far each codec is from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sarlab.views.style import INK, MUTED, Look
from sarlab.views.summary import is_true
from sarlab.views.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Limit → (name on a figure, line width, dashes).
NAMES = {
    "rwf": ("Gaussian limit", 2.2, "-"),
    "scalar": ("scalar ceiling", 1.2, (0, (5, 2))),
    "speckle": ("its speckle alone", 1.2, (0, (1, 1.6))),
    "shannon": ("Shannon bound of the speckle", 2.2, "-"),
    "gaussian": ("upper bound of the speckle", 1.2, (0, (5, 2))),
    "speckle_floor": ("speckle floor", 1.0, (0, (1, 2))),
}
#: Limits that no codec of a Gaussian source passes; the others are lighter.
BOLD = ("rwf", "shannon")
#: Limits that are dotted on a figure.
DOTTED = ("speckle", "speckle_floor")
#: Limits that are one number.
SINGLE = ("speckle_floor", "bias_limit")

#: What each limit says and does not say, for captions and pages.
MEANING = {
    "rwf": "Gaussian limit: reverse water-filling on the measured spectrum. A codec to its right has work left; scenes are "
    "neither Gaussian nor stationary, so a codec may also pass it.",
    "scalar": "Scalar ceiling: the same behind an ideal scalar quantizer, ½ log₂(πe/6) bit per pixel to the right at high rate.",
    "speckle_floor": "Speckle floor: the PSNR of a reconstruction that holds all of the scene and none of its speckle. It is "
    "no goal, and no minimum: a codec at it may have kept some of one and some of the other.",
}


def meaning(which: Sequence[str]) -> str:
    """What limits say and do not say, in sentences."""
    return " ".join(MEANING[name] for name in which)


def selected(limits: pd.DataFrame, *, scene: str | None, band: str | None, split: str = "test") -> pd.DataFrame:
    """Limits of one scene and band: the scene named, else the pooled ones of a split, else its first scene.

    Parameters
    ----------
    limits : DataFrame
        ``tables().table("limits")``.
    scene, band : str or None
        None takes the pooled rows, or the first of the table.
    split : {"test", "independent"}
    """
    if limits.empty or "limit" not in limits:
        return limits.iloc[:0]
    rows = limits if band is None else limits[limits["band"] == band]
    if scene is not None:
        return rows[rows["scene"] == scene]
    rows = rows[rows["split"] == split]
    pooled = rows[rows["scene"] == "pooled"]
    if len(pooled):
        # what is one number for each scene is not pooled: the numbers of the scenes stand for it
        single = rows[rows["limit"].isin(SINGLE)]
        pooled = pd.concat([pooled, single[~single["limit"].isin(pooled["limit"])]])
    chosen = pooled if len(pooled) else rows[rows["scene"] == rows["scene"].iloc[0]] if len(rows) else rows
    return chosen if band is not None else chosen[chosen["band"] == chosen["band"].iloc[0]] if len(chosen) else chosen


def line(limits: pd.DataFrame, limit: str) -> pd.DataFrame:
    """Points of one curve, rate ascending."""
    rows = limits[limits["limit"] == limit] if "limit" in limits else limits
    return rows.dropna(subset=["bpp", "psnr_db"]).sort_values("bpp") if len(rows) else rows


def value(limits: pd.DataFrame, limit: str, column: str) -> float:
    """A limit that is one number, ``speckle_floor`` (psnr_db) or ``bias_limit`` (bias_db): its mean; NaN where unknown."""
    rows = limits[limits["limit"] == limit] if "limit" in limits else limits
    return float(rows[column].astype(float).mean()) if len(rows) else float("nan")


def rate_at(limits: pd.DataFrame, limit: str, psnr_db: Sequence[float] | float) -> np.ndarray:
    """Rate of a curve at PSNR values, in bit per pixel; NaN outside it."""
    points = line(limits, limit).sort_values("psnr_db")
    if points.empty:
        return np.full(np.shape(psnr_db), np.nan)
    return np.interp(psnr_db, points["psnr_db"].astype(float), points["bpp"].astype(float), left=np.nan, right=np.nan)


def draw(
    ax: Axes,
    limits: pd.DataFrame,
    *,
    scene: str | None = None,
    band: str | None = None,
    split: str = "test",
    which: Sequence[str] = ("rwf", "scalar", "speckle_floor"),
    label: bool = True,
) -> str:
    """Draw limits into a plot of PSNR over bits per pixel, without moving its axes.

    Call it last, when the axes have their final limits.

    Parameters
    ----------
    ax : Axes
        PSNR in dB over bit per pixel.
    limits : DataFrame
        ``tables().table("limits")``; an empty one draws nothing.
    scene, band, split
        See `selected`.
    which : sequence of str
        Among ``rwf``, ``scalar``, ``speckle``, ``shannon``, ``gaussian`` and ``speckle_floor``.
    label : bool
        Write the names of the curves into the upper left corner; the floor always has its name.

    Returns
    -------
    str
        What was drawn in words and numbers, for the alternative text; empty where nothing was.
    """
    rows = selected(limits, scene=scene, band=band, split=split)
    (left, right), (bottom, top) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    spoken: list[str] = []
    handles: list[Any] = []
    for limit in which:
        if limit == "speckle_floor":
            floor = value(rows, "speckle_floor", "psnr_db")
            if bottom < floor < top:
                ax.axhline(floor, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
                ax.annotate(
                    "speckle floor", (0.995, floor), (0, 2), xycoords=("axes fraction", "data"),
                    textcoords="offset points", ha="right", va="bottom", fontsize=7.5, color=MUTED,
                )  # fmt: skip
                spoken.append(f"speckle floor at {number(floor)} dB")
            continue
        points = line(rows, limit)
        if points.empty:
            continue
        name, width, dashes = NAMES[limit]
        estimate = bool(is_true(points["estimate"]).any()) if "estimate" in points else False
        x, y = points["bpp"].to_numpy(float), points["psnr_db"].to_numpy(float)
        color = INK if limit in BOLD else MUTED
        (drawn,) = ax.plot(x, y, color=color, linewidth=width, linestyle=dashes, zorder=1.5)
        drawn.set_label(f"{name} (estimate)" if estimate else name)
        inside = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        if not inside.any():
            continue
        handles.append(drawn)
        spoken.append(f"{name}{' (an estimate)' if estimate else ''}: {_spoken(x[inside], y[inside])}")
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    if label and handles:
        _legend(ax, handles)
    return "; ".join(spoken)


def _legend(ax: Axes, handles: Sequence[Any]) -> None:
    """Names of the curves in the upper left corner, which a rising curve leaves empty."""
    from matplotlib.legend import Legend

    # an artist of its own, so that a legend of the plot may stand beside it
    legend = Legend(
        ax, handles, [handle.get_label() for handle in handles], loc="upper left", frameon=False, fontsize=7.5,
        handlelength=2.2, labelcolor=MUTED, borderaxespad=0.2, labelspacing=0.25,
    )  # fmt: skip
    ax.add_artist(legend)


def looks(which: Sequence[str] = ("rwf", "scalar")) -> list[Look]:
    """Looks of the curves, for the key of a figure that several panels share (call `draw` without labels then)."""
    return [
        Look(
            NAMES[limit][0],
            INK if limit in BOLD else MUTED,
            "",
            hollow=limit not in BOLD,
            width=NAMES[limit][1],
            dotted=limit in DOTTED,
        )
        for limit in which
    ]


def _spoken(x: np.ndarray, y: np.ndarray) -> str:
    """A few points of a curve in words."""
    chosen = np.unique(np.linspace(0, len(x) - 1, min(4, len(x))).round().astype(int))
    return ", ".join(f"{number(y[i], 0)} dB at {x[i]:.2g} bpp" for i in chosen)
