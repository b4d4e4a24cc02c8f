"""Figures and tables of the chapter on the codec: shares of bits by scene, fidelity at equal bytes, ablation, despeckling."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.codec_goals import (
    ANCHOR,
    COMMAND,
    FIDELITY,
    OURS,
    RATES,
    SENTINEL1,
    VIDEO,
    bd_rates,
    comparisons,
    shares,
)
from sarlab.views.codec_rows import look_of, name_of
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import RATE
from sarlab.views.listing import table
from sarlab.views.style import INK
from sarlab.views.text import Html, Prose, missing, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sarlab.lab.results import Tables
    from sarlab.views.style import Look

_FAMILY = {OURS: "learned", VIDEO: "video"}
#: Groups of scenes in words.
GROUPS = {
    "test": "embedded test scene",
    "independent": "embedded, another acquisition",
    "ssl4eo": "elsewhere, another date",
}
ABLATION, DESPECKLING = (
    "python benchmarks/codec_ablation.py --out book/results",
    "python benchmarks/codec_despeckling.py --out book/results",
)


def by_scene(tables: Tables) -> Figure:
    """Bits as a share of those of JPEG 2000 over the rate, a line for every Sentinel-1 scene, a panel for every band."""
    bits = shares(tables)
    bits = bits[bits["group"].isin(SENTINEL1) & (bits["bpp"] >= 0.04) & (bits["bpp"] <= RATES[1])]
    if bits.empty:
        return Figure.nothing("measurements of the codec's goals", COMMAND)
    looks = {codec: look_of(codec, family) for codec, family in _FAMILY.items() if codec in set(bits["codec"])}
    panels = []
    with style.style():
        for band, of_band in bits.groupby("band", sort=False):
            drawing, ax = style.axes(3.9, 3.0)
            ax.set_title(f"{band}: bits, {name_of(ANCHOR)} = 100 %")
            ax.axhline(100, color=INK, linewidth=1)
            spoken = []
            for codec, look in looks.items():
                part = of_band[of_band["codec"] == codec]
                draw_shares(ax, part, look)
                spoken.append(
                    f"{look.label}: {number(100 * part['share'].min(), 0)} to {number(100 * part['share'].max(), 0)} %"
                )
            rate_axis(ax, 2.0 ** np.arange(-4, 2))
            ax.set_xlabel(RATE)
            panels.append(
                Panel(
                    drawing,
                    f"Bits of {band} as a share of those of {name_of(ANCHOR)} over the rate. {'; '.join(spoken)}.",
                )
            )
    scenes = bits["scene"].nunique()
    return Figure(
        panels, key=list(looks.values()), title=_by_scene_title(bits),
        caption=f"{scenes} Sentinel-1 scenes that were not trained on, files as they are. Thick: the embedded test scene. On the smallest "
        "(120×120 pixels) headers weigh most.",
    )  # fmt: skip


def draw_shares(ax: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Bits in percent over the rate, a line for every scene, the test scene thick: scene, group, bpp, share."""
    for (_, group), line in rows.groupby(["scene", "group"], sort=False):
        line, wide = line.sort_values("bpp"), group == "test"
        ax.plot(
            line["bpp"], 100 * line["share"], color=look.color, linewidth=2.0 if wide else 0.8, alpha=1 if wide else 0.6
        )


def rate_axis(ax: Axes, ticks: np.ndarray) -> None:
    """Logarithmic axis to the right with these ticks only."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    ax.minorticks_off()


def _by_scene_title(bits: pd.DataFrame) -> str:
    ours = bits[(bits["codec"] == OURS) & (bits["bpp"] >= RATES[0])]
    below = (ours["share"] < 1).mean()
    return f"{name_of(OURS)} needs fewer bits than {name_of(ANCHOR)} in {number(100 * below, 0)} % of the files from {RATES[0]:g} bpp up"


def by_sensor(tables: Tables) -> Html | Prose:
    """BD-rate of every scene and band against JPEG 2000."""
    found = bd_rates(tables)
    if found.empty:
        return missing("measurements of the codec's goals", COMMAND)
    wide = found.pivot(index=["group", "scene", "band"], columns="codec", values="rate").reindex(
        found.drop_duplicates(["group", "scene", "band"]).set_index(["group", "scene", "band"]).index
    )
    codecs = [codec for codec in (OURS, VIDEO) if codec in wide]
    body = [
        [
            f"{html.escape(scene)}, {html.escape(band)}<br><small>{html.escape(GROUPS.get(group, group))}</small>",
            *(number(row[codec], 1, sign=True) for codec in codecs),
        ]
        for (group, scene, band), row in wide.iterrows()
    ]
    caption = (
        f"BD-rate against {name_of(ANCHOR)} in percent, per scene. Where the curves cannot be compared a dash stands."
    )
    return table(["scene", *map(name_of, codecs)], body, caption=caption, wrap=(0,))


def fidelity(tables: Tables) -> Html | Prose:
    """What PSNR does not see, at equal bytes: means over scenes of the codec, corrected and not, and of the better of its peers."""
    found, plain = comparisons(tables), comparisons(tables, OURS)
    if found.empty:
        return missing("measurements at equal bytes", COMMAND)
    rates = sorted(found["target_value"].unique())
    body = []
    for metric, (name, direction) in FIDELITY.items():
        arrow = "↑" if direction == "higher" else "↓"
        lines = (
            (name_of(OURS), plain, "ours"),
            ("the same, --radiometric", found, "ours"),
            ("better peer", found, "peer"),
        )
        for who, rows, column in lines:
            means = rows[rows["metric"] == metric].groupby("target_value")[column].mean()
            values = [number(means.get(rate, np.nan), 2) for rate in rates]
            body.append([f"{html.escape(who)}<br><small>{html.escape(name)} {arrow}</small>", *values])
    caption = (
        f"By bits per pixel: means over the Sentinel-1 scenes at equal bytes, errors and bias in dB; the better peer is the better of "
        f"{name_of(ANCHOR)} and {name_of(VIDEO)} on each file."
    )
    return table(["codec", *(f"{rate:g}" for rate in rates)], body, caption=caption, wrap=(0,))


def ablation(tables: Tables) -> Html | Prose:
    """Variants with one part left out, each trained as briefly as the complete one."""
    rows = tables.table(
        "codec_ablation", ("variant", "steps", "seconds", "rate_vv", "rate_vh", "over_complete", "bias_vv_db", "bytes")
    )
    if rows.empty:
        return missing("ablation of the codec", ABLATION)
    body = [
        [
            html.escape(str(row.variant)), number(row.steps, 0), number(row.rate_vv, 1, sign=True), number(row.rate_vh, 1, sign=True),
            number(row.over_complete, 1, sign=True), number(row.bias_vv_db, 2, sign=True),
        ]
        for row in rows.itertuples()
    ]  # fmt: skip
    caption = (
        f"BD-rate in percent on the embedded test scene against {name_of(ANCHOR)} (VV, VH) and against the complete variant (mean of both); last, the bias of "
        "VV in dB near a third of a bit per pixel, uncorrected."
    )
    return table(["variant", "steps", "VV", "VH", "over the complete", "bias"], body, caption=caption)


def despeckling(tables: Tables) -> Html | Prose:
    """Error against the reflectivity of simulated scenes: the decoder's estimate beside filters of the same file."""
    rows = tables.table("codec_despeckling", ("looks", "correlated", "method", "target_value", "rmse_db"))
    decoded = rows.dropna(subset=["target_value"])
    if decoded.empty:
        return missing("measurements of despeckling", DESPECKLING)
    rates = sorted(decoded["target_value"].unique())
    body = []
    for (looks, correlated), part in decoded.groupby(["looks", "correlated"], sort=False):
        errors = part.groupby(["method", "target_value"])["rmse_db"].mean().unstack()
        filters = errors[[method.startswith("decoded, ") for method in errors.index]]
        lines = {"as recorded": errors.loc["decoded"], "best filter of each": filters.min()}
        if "despeckled" in errors.index:
            lines["despeckled"] = errors.loc["despeckled"]
        true = str(correlated).lower() == "true"
        for name, values in lines.items():
            scene = f"{looks:g} look{'s' if looks > 1 else ''}{', correlated' if true else ''}"
            shown = [number(values.get(rate, np.nan), 2) for rate in rates]
            body.append([f"{name}<br><small>{scene}</small>", *shown])
    caption = (
        "By bits per pixel: RMSE in dB against the speckle-free scene, simulated scenes of other seeds than those learned from; lower is better. The filter is the best of mean and "
        "Lee filters of three sizes, chosen with the truth at hand for each column, which no user can."
    )
    return table(["decoded", *(f"{rate:g}" for rate in rates)], body, caption=caption, wrap=(0,))
