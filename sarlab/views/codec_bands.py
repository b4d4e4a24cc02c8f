"""What two bands in one file save over a file for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.codec_goals import COMMAND, OURS
from sarlab.views.codec_parts import draw_shares, rate_axis
from sarlab.views.codec_rows import look_of, name_of
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import RATE
from sarlab.views.style import INK
from sarlab.views.text import number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

_COLUMNS = ("scene", "band", "group", "after", "quality", "first_bytes", "second_bytes", "both_bytes", "bpp")
#: Rates of a band between which the mean saving is stated, in bit per pixel.
STATED = (0.05, 1.0)


def savings(tables: Tables) -> pd.DataFrame:
    """Bytes that the second band adds to a file of the first, as a share of those of its own file: scene, band, after, bpp, share."""
    rows = tables.table("codec_goal_pairs", _COLUMNS)
    rows = rows.assign(share=(rows["both_bytes"] - rows["first_bytes"]) / rows["second_bytes"])
    return rows[["scene", "band", "group", "after", "bpp", "share"]]


def two_bands(tables: Tables) -> Figure:
    """Share over the rate of the band's own file, a line for every scene, a panel for each order."""
    found = savings(tables)
    if found.empty:
        return Figure.nothing("measurements of two bands in one file", COMMAND)
    look, panels = look_of(OURS, "learned"), []
    with style.style():
        for (band, after), part in found.groupby(["band", "after"], sort=False):
            drawing, ax = style.axes(3.9, 3.0)
            ax.set_title(f"{band} after {after}: bits, own file = 100 %")
            ax.axhline(100, color=INK, linewidth=1)
            draw_shares(ax, part, look)
            rate_axis(ax, 2.0 ** np.arange(-6, 3, 2))
            ax.set_xlabel(f"{RATE}, {band} alone")
            low, high = (number(100 * value, 0) for value in (part["share"].min(), part["share"].max()))
            panels.append(
                Panel(drawing, f"Bits of {band} after {after} as a share of its own file: {low} to {high} %.")
            )
    return Figure(
        panels, key=[look], title=_title(found),
        caption=f"{found['scene'].nunique()} Sentinel-1 scenes that were not trained on; one file of both bands beside a file for each "
        "at the same quality, headers included. Thick: the embedded test scene.",
    )  # fmt: skip


def _title(found: pd.DataFrame) -> str:
    stated = found[(found["bpp"] >= STATED[0]) & (found["bpp"] <= STATED[1])]
    saved = number(100 * (1 - stated["share"].mean()), 0)
    return f"{name_of(OURS)}: a second band saves {saved} % of its bits on average between {STATED[0]:g} and {STATED[1]:g} bpp"
