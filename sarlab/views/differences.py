"""Bjøntegaard differences of codecs and limits, with their intervals; and what the protocol itself can be trusted for."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.codec_rows import ANCHOR, bands, evaluated, looks_of, name_of, order_by_rate, shown
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND
from sarlab.views.listing import table
from sarlab.views.style import INK, MUTED, PAPER, Look
from sarlab.views.summary import BARS
from sarlab.views.text import Html, Prose, listing, missing, number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Interval of PSNR in dB of the protocol (METRICS), and the anchors.
INTERVAL = (25.0, 40.0)
ANCHORS = (ANCHOR, "hevc12")
#: What the Gaussian limits are called among codecs.
LIMITS = {"rwf": "Gaussian limit", "scalar": "scalar ceiling"}


def differences(tables: Tables) -> pd.DataFrame:
    """BD-rate of every codec and limit against every anchor.

    Returns
    -------
    DataFrame
        Columns codec, anchor, band, scope, rate, low, high, scenes, acquisitions, reason; `rate`, `low` and `high` in
        percent. Scope ``"test"``: the test scenes, files as they are. Scope ``"all"``: all scenes, what an empty file
        costs taken off, the interval over acquisitions.
    """
    from sarlab.metrics.rate import bd_table

    rows = evaluated(tables)
    if rows.empty:
        return pd.DataFrame()
    columns = ["codec", "scene", "band", "split", "acquisition", "bpp", "bpp_content", "psnr_db"]
    rows = pd.concat([rows.reindex(columns=columns), _limit_rows(rows, tables.table("limits"))], ignore_index=True)
    parts = []
    for band, of_band in rows.groupby("band", sort=False):
        for scope, part, rate in (
            ("test", shown(of_band, band=str(band)), "bpp"),
            ("all", of_band.dropna(subset=["bpp_content"]), "bpp_content"),
        ):
            for anchor in ANCHORS:
                if anchor in set(part["codec"]):
                    found = bd_table(part, anchor=anchor, rate=rate, interval=INTERVAL)
                    parts.append(found[found["codec"] != anchor].assign(band=band, scope=scope))
    names = {"bd_rate_percent": "rate", "bd_rate_low": "low", "bd_rate_high": "high"}
    kept = ["codec", "anchor", "band", "scope", "rate", "low", "high", "scenes", "acquisitions", "reason"]
    return pd.concat(parts, ignore_index=True).rename(columns=names)[kept] if parts else pd.DataFrame(columns=kept)


def _limit_rows(rows: pd.DataFrame, limits_table: pd.DataFrame) -> pd.DataFrame:
    """Limits as if they were codecs, on the scenes of `rows`."""
    if limits_table.empty:
        return pd.DataFrame()
    chosen = limits_table[limits_table["limit"].isin(LIMITS) & limits_table["scene"].isin(rows["scene"].unique())]
    chosen = chosen.dropna(subset=["bpp"]).rename(columns={"limit": "codec"})
    return chosen.assign(bpp_content=chosen["bpp"])[
        ["codec", "scene", "band", "split", "acquisition", "bpp", "bpp_content", "psnr_db"]
    ]


def bd_figure(tables: Tables) -> Figure:
    """BD-rate of every codec against both anchors: the test scene, and all scenes with their interval."""
    rows, found = evaluated(tables), differences(tables)
    if rows.empty or found.empty:
        return Figure.nothing("evaluated codecs", COMMAND)
    band = bands(rows)[0]
    found = found[found["band"] == band]
    looks = looks_of(rows)
    panels = [
        _forest(found[found["anchor"] == anchor], anchor, looks) for anchor in ANCHORS if anchor in set(found["anchor"])
    ]
    key = [
        Look("test scene, whole files", MUTED, "o", hollow=True, width=0),
        Look("all scenes, mean and interval", MUTED, "o"),
    ]
    whole = found[found["scope"] == "all"]
    return Figure(
        panels, key=key, narrowest=300, title=_bd_title(found),
        caption=f"Band {band}. Mean difference in rate at equal PSNR, {INTERVAL[0]:g} to {INTERVAL[1]:g} dB, per scene, then averaged; "
        f"bars: {BARS}; {int(whole['acquisitions'].max()) if len(whole) else 0} acquisitions. The scenes of other acquisitions "
        "are patches so small that the header of a file would weigh as much as the picture; for the filled dots what an "
        "empty file costs was taken off.",
    )  # fmt: skip


def _forest(found: pd.DataFrame, anchor: str, looks: dict[str, Look]) -> Panel:
    order = found.groupby("codec")["rate"].mean().sort_values().index[::-1]
    spoken = []
    with style.style():
        drawing, ax = style.axes(3.9, 0.9 + 0.26 * len(order))
        ax.set_title(f"against {name_of(anchor)} (%)")
        ax.axvline(0, color=INK, linewidth=1)
        for place, codec in enumerate(order):
            look = looks.get(codec)
            color = look.color if look else MUTED
            marker = (look.marker if look else "") or "o"
            for row in found[found["codec"] == codec].itertuples():
                if row.scope == "test":
                    ax.plot(
                        row.rate,
                        place,
                        marker=marker,
                        color=color,
                        markerfacecolor=PAPER,
                        markersize=7,
                        markeredgewidth=1.3,
                        zorder=2,
                    )
                else:
                    ax.plot([row.low, row.high], [place, place], color=color, linewidth=1.6, zorder=3)
                    ax.plot(row.rate, place, marker=marker, color=color, markersize=5, zorder=4)
            spoken.append(_bd_words(found[found["codec"] == codec], _label(codec)))
        ax.set_yticks(range(len(order)), [_label(codec) for codec in order])
        ax.tick_params(axis="y", labelcolor=INK)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(lambda v, _: number(v, 0, sign=True))
        ax.set_xlabel("← fewer bits        more bits →")
    return Panel(drawing, f"BD-rate against {name_of(anchor)}. {'; '.join(reversed(spoken))}.")


def _label(codec: str) -> str:
    return LIMITS.get(codec, name_of(codec))


def _bd_words(found: pd.DataFrame, name: str) -> str:
    parts = []
    for row in found.itertuples():
        scope = "test scene" if row.scope == "test" else "all scenes"
        interval = (
            f" [{number(row.low, 0, sign=True)}, {number(row.high, 0, sign=True)}]" if np.isfinite(row.low) else ""
        )
        parts.append(
            f"{number(row.rate, 1, sign=True)} %{interval} ({scope})"
            if np.isfinite(row.rate)
            else f"not defined ({scope})"
        )
    return f"{name}: {', '.join(parts)}"


def _bd_title(found: pd.DataFrame) -> str:
    test = found[(found["scope"] == "test") & (found["anchor"] == ANCHOR)].set_index("codec")["rate"]
    parts = [
        f"{_label(c)} {number(test[c], 0, sign=True)} %"
        for c in ("hevc12", "scalar", "rwf")
        if c in test and np.isfinite(test[c])
    ]
    return f"Bits at equal PSNR against {name_of(ANCHOR)}: {', '.join(parts)}" if parts else "Bits at equal PSNR"


def bd_listing(tables: Tables) -> Html | Prose:
    """The same numbers as a table, for every band and both anchors."""
    rows, found = evaluated(tables), differences(tables)
    if rows.empty or found.empty:
        return missing("evaluated codecs", COMMAND)
    names = bands(rows)
    order = [*LIMITS, *order_by_rate(shown(rows), list(rows["codec"].unique()))]
    columns = [(anchor, band) for anchor in ANCHORS if anchor in set(found["anchor"]) for band in names]
    body = []
    for codec in [c for c in order if c in set(found["codec"])]:
        cells = [_cell(found, codec, anchor, band) for anchor, band in columns]
        body.append([html.escape(_label(codec)), *cells])
    caption = (
        f"BD-rate in percent, {INTERVAL[0]:g} to {INTERVAL[1]:g} dB. Large: test scenes, whole files. Small: all scenes without what an empty "
        f"file costs, with the {BARS}. A dash: the curves cannot be compared."
    )
    return table(["codec", *(f"{band}, against {name_of(anchor)}" for anchor, band in columns)], body, caption=caption)


def _cell(found: pd.DataFrame, codec: str, anchor: str, band: str) -> str:
    if codec == anchor:
        return "0"
    rows = found[(found["codec"] == codec) & (found["anchor"] == anchor) & (found["band"] == band)].set_index("scope")
    parts = []
    for scope in ("test", "all"):
        row = (
            rows.loc[scope]
            if scope in rows.index
            else pd.Series({"rate": np.nan, "low": np.nan, "high": np.nan, "reason": "not measured"})
        )
        if not np.isfinite(row["rate"]):
            parts.append(f'<abbr title="{html.escape(str(row["reason"]), quote=True)}">–</abbr>')
            continue
        value = number(row["rate"], 1, sign=True)
        interval = (
            f" [{number(row['low'], 1, sign=True)}, {number(row['high'], 1, sign=True)}]"
            if np.isfinite(row["low"])
            else ""
        )
        parts.append(value if scope == "test" else f"<small>{value}{interval}</small>")
    return "<br>".join(parts)


def protocol(tables: Tables) -> Prose:
    """JPEG 2000 against itself at other operating points: what the protocol itself can be trusted for."""
    from sarlab.metrics.rate import bd_rate

    rows = tables.table("protocol")
    if rows.empty or "points" not in rows:
        return missing("check of the protocol", COMMAND)
    rows = rows.dropna(subset=["bpp", "psnr_db"])
    names = {
        "between": "PSNR values between the matched ones",
        "grid": "its own default qualities",
        "rate": "stated rates",
    }
    worst, parts = {}, []
    for points in names:
        values = []
        for _, scene in rows.groupby(["scene", "band"], sort=False):
            anchor, other = scene[scene["points"] == "matched"], scene[scene["points"] == points]
            values.append(
                bd_rate(anchor["bpp"], anchor["psnr_db"], other["bpp"], other["psnr_db"], interval=INTERVAL).value
            )
        values = [value for value in values if np.isfinite(value)]
        if values:
            worst[points] = max(values, key=abs)
            parts.append(f"{number(float(np.mean(values)), 2, sign=True)} % at {names[points]}")
    if not parts:
        return missing("check of the protocol", COMMAND)
    far = max(worst.values(), key=abs)
    return Prose(
        f"The protocol checks itself: {name_of(ANCHOR)} against {name_of(ANCHOR)}, measured at other operating points of the same scenes, "
        f"differs by {listing(parts)} on average, and by {number(abs(far), 2)} % at most on one scene. Differences between codecs below "
        "that are none."
    )
