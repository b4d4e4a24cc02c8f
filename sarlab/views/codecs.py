"""Classical codecs against each other: rate and distortion, and speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import limits, style
from sarlab.views.codec_rows import (
    ANCHOR,
    bands,
    curve,
    evaluated,
    looks_of,
    name_of,
    relative_rate,
    shown,
    where,
)
from sarlab.views.differences import INTERVAL, LIMITS, differences
from sarlab.views.fidelity import rate_label
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND, QUALITY, RATE
from sarlab.views.style import INK, MUTED, PAPER, Look
from sarlab.views.text import number, significant

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Codecs above this share of the anchor's bits leave the plot of shares.
MOST_SHARE = 1.6


def rate_distortion(tables: Tables, *, band: str | None = None) -> Figure:
    """PSNR over the rate of every codec with the limits, and the same as shares of the bits of JPEG 2000."""
    rows = shown(evaluated(tables), band=band)
    if rows.empty:
        return Figure.nothing("evaluated codecs", COMMAND)
    looks = looks_of(rows)
    table_ = tables.table("limits")
    return Figure(
        [_curves(rows, table_, looks), _shares(rows, table_, looks)], key=[*looks.values(), *limits.looks()], narrowest=300,
        title=_title(rows),
        caption=f"{where(rows)}; files as they are stored. Every codec was asked for the same PSNR values. Right: bits at equal "
        f"PSNR, {name_of(ANCHOR)} = 100 %; what lies above {number(100 * MOST_SHARE, 0)} % is cut off. Color: kind of codec (blue wavelet, "
        "orange video, green block transform, purple predictive, ochre learned)." + _trained(rows)
        + (f" {limits.meaning(('rwf', 'scalar', 'speckle_floor'))}" if len(table_) else ""),
    )  # fmt: skip


def _trained(rows: pd.DataFrame) -> str:
    """Whether learned codecs have seen the scenes, in words."""
    learned = rows[rows["family"] == "learned"] if "family" in rows else rows.iloc[:0]
    if learned.empty or "seen_in_training" not in learned:
        return ""
    seen = learned["seen_in_training"].astype(str).str.lower()
    if seen.eq("false").all():
        return " The learned codecs have not seen these scenes in training."
    return " Some of these scenes were, or may have been, seen in training by the learned codecs."


def _curves(rows: pd.DataFrame, limits_table: pd.DataFrame, looks: dict[str, Look]) -> Panel:
    points = curve(rows, "psnr_db")
    with style.style():
        drawing, ax = style.axes(3.9, 3.1)
        ax.set_title(QUALITY)
        for codec, look in looks.items():
            line = points[points["codec"] == codec]
            ax.plot(line["bpp"], line["mean"], **{**look.line, "markersize": 4})
        ax.set_xscale("log", base=2)
        ticks = 2.0 ** np.arange(-5, 3)
        ax.set_xticks(ticks, [rate_label(tick) for tick in ticks])
        ax.minorticks_off()
        ax.set_xlim(points["bpp"].min() / 1.3, points["bpp"].max() * 1.1)
        ax.set_ylim(points["mean"].min() - 0.7, points["mean"].max() + 0.7)
        ax.set_xlabel(RATE)
        spoken = limits.draw(ax, limits_table, scene=str(rows["scene"].iloc[0]), band=bands(rows)[0], label=False)
    values = "; ".join(
        f"{look.label}: {number(line['mean'].min(), 0)} dB at {line['bpp'].min():.2g} bpp to {number(line['mean'].max(), 0)} dB at "
        f"{line['bpp'].max():.2g} bpp"
        for look, line in ((look, points[points["codec"] == codec]) for codec, look in looks.items())
    )
    return Panel(drawing, f"{QUALITY} over {RATE}. {values}{'; ' + spoken if spoken else ''}.")


def _shares(rows: pd.DataFrame, limits_table: pd.DataFrame, looks: dict[str, Look]) -> Panel:
    shares = relative_rate(rows)
    spoken = []
    with style.style():
        drawing, ax = style.axes(3.9, 3.1)
        ax.set_title(f"bits, {name_of(ANCHOR)} = 100 %")
        ax.set_title("↓ better", loc="right", fontsize=8, fontweight="normal", color=MUTED)
        for limit, line in limit_shares(rows, limits_table).items():
            dashes = limits.NAMES[limit][2]
            ax.plot(line["target_value"], 100 * line["share"], color=INK if limit == "rwf" else MUTED, linestyle=dashes, linewidth=limits.NAMES[limit][1])  # fmt: skip
            spoken.append(_spoken(LIMITS[limit], line))
        for codec, look in looks.items():
            line = shares[shares["codec"] == codec].sort_values("target_value")
            ax.plot(line["target_value"], 100 * line["share"], **{**look.line, "markersize": 4})
            spoken.append(_spoken(look.label, line))
        ax.set_ylim(40, 100 * MOST_SHARE)
        ax.set_xlabel(QUALITY)
    return Panel(
        drawing, f"Bits as a share of those of {name_of(ANCHOR)}, over PSNR. {'; '.join(filter(None, spoken))}."
    )


def limit_shares(rows: pd.DataFrame, limits_table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rate of each limit as a share of the anchor's at its targets, on the first scene: columns target_value, share."""
    anchor = rows[(rows["codec"] == ANCHOR) & (rows["scene"] == rows["scene"].iloc[0])].sort_values("target_value")
    bound = limits.selected(limits_table, scene=str(rows["scene"].iloc[0]), band=bands(rows)[0])
    shares = {}
    for limit in LIMITS:
        share = limits.rate_at(bound, limit, anchor["psnr_db"].astype(float)) / anchor["bpp"].astype(float)
        line = pd.DataFrame({"target_value": anchor["target_value"], "share": share}).dropna()
        if len(line):
            shares[limit] = line
    return shares


def _spoken(name: str, line: pd.DataFrame) -> str:
    inside = line[line["share"] <= MOST_SHARE]
    if inside.empty:
        return f"{name}: above {number(100 * MOST_SHARE, 0)} % throughout"
    chosen = inside.iloc[np.unique(np.linspace(0, len(inside) - 1, min(3, len(inside))).round().astype(int))]
    return f"{name}: " + ", ".join(
        f"{number(100 * r.share, 0)} % at {r.target_value:g} dB" for r in chosen.itertuples()
    )


def _title(rows: pd.DataFrame) -> str:
    shares = relative_rate(rows)
    inside = shares[
        (shares["target_value"] >= INTERVAL[0]) & (shares["target_value"] <= INTERVAL[1]) & (shares["codec"] != ANCHOR)
    ]
    if inside.empty:
        return "Rate and distortion of the codecs"
    mean = np.exp(np.log(inside["share"]).groupby(inside["codec"]).mean())
    best = str(mean.idxmin())
    return f"{name_of(best)} needs about {number(100 * (1 - mean.min()), 0)} % fewer bits than {name_of(ANCHOR)} for the same PSNR"


def speed(tables: Tables) -> Figure:
    """BD-rate over the speed of encoding, decoding beside it."""
    rows, found = evaluated(tables), differences(tables)
    if rows.empty or found.empty or "encode_seconds" not in rows:
        return Figure.nothing("evaluated codecs", COMMAND)
    band = bands(rows)[0]
    part = shown(rows, band=band)
    rate = found[(found["band"] == band) & (found["scope"] == "test") & (found["anchor"] == ANCHOR)].set_index("codec")[
        "rate"
    ]
    rate = pd.concat([rate, pd.Series({ANCHOR: 0.0})])
    timed = part[(part["target_value"] >= INTERVAL[0]) & (part["target_value"] <= INTERVAL[1])]
    megapixels = timed["pixels"].astype(float) / 1e6
    speeds = pd.DataFrame(
        {
            "codec": timed["codec"],
            "encode": megapixels / timed["encode_seconds"].astype(float),
            "decode": megapixels / timed["decode_seconds"].astype(float),
        }
    )
    median = speeds.groupby("codec").median()
    looks = looks_of(part)
    spoken, ends = [], []
    with style.style():
        drawing, ax = style.axes(4.9, 3.3)
        ax.set_title(f"bits against {name_of(ANCHOR)} (%)")
        ax.axhline(0, color=INK, linewidth=1)
        for codec, look in looks.items():
            if codec not in median.index or not np.isfinite(rate.get(codec, np.nan)):
                continue
            encode, decode = median.loc[codec, "encode"], median.loc[codec, "decode"]
            ax.plot([encode, decode], [rate[codec]] * 2, color=look.color, linewidth=0.8, zorder=2)
            ax.plot(encode, rate[codec], marker=look.marker, color=look.color, markersize=6, zorder=3)
            ax.plot(
                decode, rate[codec], marker=look.marker, color=look.color, markerfacecolor=PAPER, markersize=5, zorder=3
            )
            ends.append((max(encode, decode), rate[codec], look.label, look.color))
            spoken.append(
                f"{look.label}: encodes {significant(encode, 2)}, decodes {significant(decode, 2)} Mpixel/s, {number(rate[codec], 0, sign=True)} % bits"
            )
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
        ax.set_xlabel("Mpixel/s on one thread (filled: encode, hollow: decode)")
        ax.yaxis.set_major_formatter(lambda v, _: number(v, 0, sign=True))
        style.label_ends(ax, ends)
    fastest = median["encode"].idxmax()
    return Figure(
        [Panel(drawing, f"BD-rate over speed. {'; '.join(spoken)}.")],
        title=f"Between the fastest and the slowest of these encoders lies a factor of {significant(median['encode'].max() / median['encode'].min(), 2)}; "
        f"{name_of(str(fastest))} encodes {significant(median['encode'].max(), 2)} Mpixel/s",
        caption=f"{where(part)}; median over the files between {INTERVAL[0]:g} and {INTERVAL[1]:g} dB, one thread, with all that stands around the "
        "encoder in its file. A scene this small favors codecs that start quickly.",
    )  # fmt: skip
