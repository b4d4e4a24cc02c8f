"""Rate-distortion curves by architecture, with the KLT as the line to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import beside, style
from sarlab.views import limits as limit_lines
from sarlab.views.figure import Figure, Panel
from sarlab.views.speckle import speckle_deviation_db
from sarlab.views.style import MUTED, Look, look_of
from sarlab.views.summary import SERIES_KEYS, bands, bends, best, curve, main_line, measured, per_doubling, steps
from sarlab.views.text import number, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATIO_LABEL = "compression ratio (values in ÷ values out)"

#: Panel name → (column, title with unit, digits in the alternative text, what is good).
QUALITY = {
    "psnr": ("psnr_db", "PSNR of the dB image (dB)", 1, "↑ better"),
    "ssim": ("ssim", "SSIM (1 = identical)", 2, "↑ better"),
    "bpp": ("psnr_db", "PSNR of the dB image (dB)", 1, "↑ better"),
    "gain": ("gain_over_klt_db", "gain over the KLT (dB)", 2, ""),
}


def rate_distortion(
    runs: pd.DataFrame,
    *,
    band: str | None = None,
    split: str = "test",
    codecs: pd.DataFrame | None = None,
    limits: pd.DataFrame | None = None,
    panels: Sequence[str] = ("psnr", "ssim", "bpp", "gain"),
    title: str = "",
) -> Figure:
    """Quality over compression: one line per architecture and initialization, and the KLT.

    Parameters
    ----------
    runs : DataFrame
        ``tables().runs``.
    band : str, optional
        Default: the first.
    split : {"test", "independent"}
    codecs : DataFrame, optional
        ``tables().codecs``: drawn as thin lines where quality is plotted over bits per pixel of real files.
    limits : DataFrame, optional
        ``tables().table("limits")``: drawn on the same plot.
    panels : sequence of {"psnr", "ssim", "bpp", "gain"}
        PSNR and SSIM over the ratio, PSNR over bits per pixel, gain over the KLT.
    title : str
        Default: what the curves say, computed.

    Returns
    -------
    Figure
    """
    if measured(runs, band=band, split=split).empty:
        return Figure.nothing("measured runs")
    band = band or bands(runs)[0]
    rows = main_line(measured(runs, band=band, split=split))
    names = list(rows["architecture"].unique())
    drawn = [_panel(name, rows, codecs, limits, band) for name in panels]
    looks = [look_of(a, i, names) for a, i in _series(curve(rows, "psnr_db"))]
    about = caption(rows, band, split)
    if "bpp" in panels:
        looks += beside.key(codecs, limits, rows, band)
        if len(beside.of_scenes(limits, rows, band)):
            about += " " + limit_lines.meaning(beside.WHICH)
    return Figure(drawn, title=title or headline(rows), caption=about, key=looks, narrowest=280)


def by_acquisition(runs: pd.DataFrame) -> Figure:
    """PSNR over the ratio for every band and split: does the order of the architectures hold elsewhere?"""
    rows = main_line(measured(runs))
    if rows.empty:
        return Figure.nothing("measured runs")
    names = list(rows["architecture"].unique())
    panels = []
    cells = [
        (band, split)
        for band in bands(runs)
        for split in ("test", "independent")
        if not rows[(rows["band"] == band) & (rows["split"] == split)].empty
    ]
    with style.style():
        for band, split in cells:
            points = curve(rows[(rows["band"] == band) & (rows["split"] == split)], "psnr_db")
            drawing, ax = style.axes(3.6, 2.7)
            where = "test scenes" if split == "test" else "other acquisitions"
            _draw(ax, points, "dimension_ratio", names, f"{band}, {where}: PSNR (dB)")
            panels.append(Panel(drawing, _alt(points, f"PSNR in dB, {band}, {where}", 1)))
    kinds = set(curve(rows[rows["split"] == "independent"], "psnr_db", by=(*SERIES_KEYS, "band"))["over"]) - {""}
    note = f" Bars: {kinds.pop()}." if len(kinds) == 1 else ""
    looks = [look_of(a, i, names) for a, i in _series(curve(rows, "psnr_db"))]
    return Figure(
        panels, key=looks, narrowest=230,
        title="The same networks on every band, on the test scenes and on other acquisitions",
        caption="The vertical axes differ: bands and scenes differ in contrast, and PSNR is relative to each band's clip range." + note,
    )  # fmt: skip


def headline(rows: pd.DataFrame) -> str:
    """What the curves say in one sentence, computed."""
    # Series end at different ratios: the steps are those of the middle of all that were run at a ratio.
    middle = curve(rows, "psnr_db").groupby("dimension_ratio")["mean"].median()
    found = steps(list(middle.index), list(middle))
    parts = []
    if bends(found):
        first, last = found[0], found[-1]
        parts.append(
            f"a doubling of the ratio costs {number(-first.change)} dB at first ({ratio(first.start)} to {ratio(first.end)}) "
            f"and {number(-last.change)} dB at last ({ratio(last.start)} to {ratio(last.end)})"
        )
    elif found:
        parts.append(
            f"each doubling of the ratio costs about {number(-per_doubling(list(middle.index), list(middle)))} dB"
        )
    gains = curve(rows[rows["architecture"] != "klt"], "gain_over_klt_db")["mean"]
    if len(gains):
        top = gains.max()
        parts.append(
            f"no network beats the KLT by more than {number(top)} dB" if top > 0 else "no network beats the KLT"
        )
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def caption(rows: pd.DataFrame, band: str, split: str) -> str:
    """Scenes, clip range, seeds and intervals of a figure."""
    points = curve(rows, "psnr_db")
    scenes = ", ".join(sorted(str(s) for s in rows["scene"].unique())[:3])
    more = rows["scene"].nunique() - 3
    width = (rows["clip_high"] - rows["clip_low"]).astype(float).mean()
    kinds = sorted(set(points["over"]) - {""})
    seeds = int(points["seeds"].max()) if len(points) else 0
    certain = (
        f"Bars: {', '.join(kinds)}."
        if kinds
        else f"{'One seed' if seeds == 1 else f'{seeds} seeds'} and {_count(rows['acquisition'].nunique(), 'acquisition')}: "
        "no interval can be stated."
    )
    where = "Test" if split == "test" else "Other acquisitions"
    return (
        f"{where}: {scenes}{f' and {more} more' if more > 0 else ''}, band {band}; values in dB, clipped to a range of "
        f"{number(width)} dB inside the metric only. {certain}{_about_floor(rows)}"
    )


def _about_floor(rows: pd.DataFrame) -> str:
    """What the speckle floor is, where it can be drawn."""
    if rows["looks"].isna().any() or rows["looks"].nunique() != 1:
        return ""
    return f" Speckle floor: PSNR of an image freed of all white speckle of {float(rows['looks'].iloc[0]):g} looks."


def _count(count: int, word: str) -> str:
    return f"one {word}" if count == 1 else f"{count} {word}s"


def _series(points: pd.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(points["architecture"], points["init"], strict=True)))


def _panel(name: str, rows: pd.DataFrame, codecs: pd.DataFrame | None, limits: pd.DataFrame | None, band: str) -> Panel:
    column, title, digits, good = QUALITY[name]
    points = curve(rows, column)
    names = list(rows["architecture"].unique())
    with style.style():
        drawing, ax = style.axes()
        if name == "gain":
            points = points[points["architecture"] != "klt"]
            ax.axhline(0, color=MUTED, linewidth=3.2, zorder=1)
        x = "bpp" if name == "bpp" else "dimension_ratio"
        _draw(ax, points, x, names, title, good=good)
        spoken = beside.draw(ax, codecs, limits, rows, band) if name == "bpp" else ""
        if column == "psnr_db":
            _floor(ax, rows, right=name == "bpp")
        if name == "gain" and len(points):
            low, high = ax.get_ylim()
            pad = 0.08 * max(high, 0.05, -low)
            ax.set_ylim(min(low, -pad), max(high, pad))
            ax.yaxis.set_major_formatter(lambda v, _: f"{v:+g}".replace("-", "\u2212") if v else "0")
            end = points["dimension_ratio"].max()
            last = points[points["dimension_ratio"] == end]
            ends = [
                (
                    end,
                    row.mean,
                    _short(look_of(row.architecture, row.init, names)),
                    look_of(row.architecture, row.init, names).color,
                )
                for row in last.itertuples()
            ]
            style.label_ends(ax, [*ends, (end, 0.0, "KLT", MUTED)])
    over = "bits per pixel of the file" if x == "bpp" else "compression ratio"
    alt = _alt(points, f"{title} over {over}", digits, x=x)
    return Panel(drawing, f"{alt} {spoken}." if spoken else alt)


def _draw(
    ax: Axes, points: pd.DataFrame, x: str, names: Sequence[str], title: str, *, good: str = ""
) -> None:  # fmt: skip
    """Lines, intervals and ticks of one panel."""
    import seaborn

    ax.set_title(title)
    if good:
        ax.set_title(good, loc="right", fontsize=8, fontweight="normal", color=MUTED)
    ax.set_xscale("log", base=2)
    for architecture, init in _series(points):
        line = points[(points["architecture"] == architecture) & (points["init"] == init)].sort_values(x)
        look = look_of(architecture, init, names)
        order = 2 if architecture == "klt" else 3
        seaborn.lineplot(line, x=x, y="mean", estimator=None, ax=ax, legend=False, zorder=order, **look.line)
        barred = line.dropna(subset=["low", "high"])
        if len(barred):
            ax.errorbar(
                barred[x], barred["mean"], yerr=[barred["mean"] - barred["low"], barred["high"] - barred["mean"]],
                fmt="none", ecolor=look.color, elinewidth=1, capsize=2, zorder=2,
            )  # fmt: skip
    ax.set_xlabel("bits per pixel of the file" if x == "bpp" else RATIO_LABEL)
    ax.set_ylabel("")
    _ticks(ax, points[x].to_numpy(float), bpp=x == "bpp")


def _floor(ax: Axes, rows: pd.DataFrame, *, right: bool) -> None:
    """Line of an image whose white speckle was removed perfectly, where looks are known and the line is near the curves."""
    looks = pd.to_numeric(rows["looks"], errors="coerce")
    width = (rows["clip_high"] - rows["clip_low"]).astype(float)
    if looks.nunique() != 1 or looks.isna().any() or not (width > 0).all():
        return
    floor = 20 * np.log10(float(width.mean()) / speckle_deviation_db(float(looks.iloc[0])))
    low, high = ax.get_ylim()
    if low - 3 <= floor <= high:
        ax.axhline(floor, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        ax.annotate(
            "speckle floor", (float(right), floor), (-3 if right else 3, 2), ha="right" if right else "left", xycoords=("axes fraction", "data"), textcoords="offset points",
            fontsize=7.5, color=MUTED, va="bottom",
        )  # fmt: skip


def _short(look: Look) -> str:
    return look.label.replace(", KLT start", " (KLT start)").replace(", from scratch", "")


def _ticks(ax: Axes, values: np.ndarray, *, bpp: bool) -> None:
    """Ticks at the measured ratios, or at powers of two of bits per pixel."""
    if not len(values):
        return
    ticks = np.unique(values)
    if bpp or len(ticks) > 8:
        low, high = np.floor(np.log2(ticks.min())), np.ceil(np.log2(ticks.max()))
        ticks = 2.0 ** np.arange(low, high + 1)
    ax.set_xticks(ticks, [f"{t:g}" if bpp else ratio(t) for t in ticks])
    ax.minorticks_off()


def _alt(points: pd.DataFrame, what: str, digits: int, *, x: str = "dimension_ratio") -> str:
    """Numbers of a panel in words."""
    unit = (lambda v: f"{v:.2g} bpp") if x == "bpp" else ratio
    lines = []
    for architecture, init in _series(points):
        line = points[(points["architecture"] == architecture) & (points["init"] == init)].sort_values(x)
        values = ", ".join(f"{number(v, digits)} at {unit(r)}" for r, v in zip(line[x], line["mean"], strict=True))
        lines.append(f"{look_of(architecture, init, [architecture]).label}: {values}")
    return f"{what}. {'; '.join(lines)}."


def best_network(rows: pd.DataFrame, at: float) -> pd.Series | None:
    """Network with the highest PSNR at ratio `at`, as a point of `curve`."""
    return best(curve(rows, "psnr_db"), at)
