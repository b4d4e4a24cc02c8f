"""What networks from scratch lose first and last as the ratio rises: the evidence for the claim about the order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sarlab.views.claims_old.speckle import BANDS, FIRST, LAST, lost_by_frequency
from sarlab.views.claims_old.verdict import main_shapes
from sarlab.views.figure import Figure
from sarlab.views.lines import Line, panel
from sarlab.views.style import INK, SERIES, Look
from sarlab.views.summary import BARS, curve
from sarlab.views.text import number, ratio
from sarlab.views.trainings import COMMAND

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: What may be lost, and how it is drawn.
LOOKS = {
    "fine": Look("finest detail", SERIES[0], "o"),
    "target": Look("point targets", SERIES[1], "s"),
    "edge": Look("edges", SERIES[2], "^"),
    "coarse": Look("coarsest detail", SERIES[3], "D"),
    "texture": Look("texture", SERIES[4], "v"),
    "homogeneous": Look("homogeneous ground", INK, "o"),
}


def lost_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares lost in percent: columns fine, coarse, edge, target; NaN where a scene has no targets."""
    shares = {"fine": rows[BANDS[-1]].clip(upper=1), "coarse": rows[BANDS[0]].clip(upper=1)}
    if "epi_roa" in rows:
        shares["edge"] = 1 - rows["epi_roa"].astype(float)
    if {"targets", "targets_kept"} <= set(rows):
        shares["target"] = (1 - rows["targets_kept"].astype(float)).where(rows["targets"].astype(float) > 0)
    return 100 * pd.DataFrame(shares)


def by_ratio(tables: Tables) -> Figure:
    """Shares lost over the ratio, and the error in dB by class of ground."""
    rows = main_shapes(lost_by_frequency(tables))
    if rows.empty:
        return Figure.nothing("networks from scratch with metrics by frequency", COMMAND)
    about = rows[["dimension_ratio", "bpp", "acquisition", "scene", "seed"]]
    shares = lost_shares(rows)
    classes = {name: rows[f"rmse_{name}_db"].astype(float) for name in (*FIRST, *LAST) if f"rmse_{name}_db" in rows}
    axis = "compression ratio (values in ÷ values out)"
    panels = [panel(_lines(about, shares), "lost (%)", axis, good="↓ better", names=ratio, digits=0)]
    if classes:
        errors = _lines(about, pd.DataFrame(classes))
        panels.append(panel(errors, "error (dB)", axis, good="↓ better", names=ratio, digits=1))
    least = rows["dimension_ratio"].min()
    lost = shares[rows["dimension_ratio"] == least].mean()
    return Figure(
        panels, key=[LOOKS[name] for name in LOOKS if name in {*shares, *classes}], narrowest=280,
        title=f"Even at {ratio(float(least))} {number(lost['fine'], 0)} % of the finest detail is lost, and {number(lost['coarse'], 0)} % of the coarsest",
        caption="Networks from scratch, first band, all architectures and scenes, one shape and width for each ratio; point targets where a scene has any. "
        f"Bars: {BARS}. Left: shares of power, of edge strength (ratio of averages) and of detected targets. Right: root "
        "mean square error by class of ground.",
    )  # fmt: skip


def _lines(about: pd.DataFrame, values: pd.DataFrame) -> list[Line]:
    """One line for each column that has values."""
    found = []
    for name in [name for name in LOOKS if name in values and values[name].notna().any()]:
        points = curve(about.assign(value=values[name]).dropna(subset=["value"]), "value", by=())
        found.append(Line.of(LOOKS[name], points, "dimension_ratio"))
    return found
