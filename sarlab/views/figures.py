"""Figure functions over tidy tables, drawn with seaborn: curves, points, bars, distributions, images, heat maps.

Each takes rows, averages them with `sarlab.views.select.means` (or draws the points that it is given), and returns a
`Figure` whose description in words is made once, from what was drawn. Without rows the figure is empty and shows nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sarlab.views import select
from sarlab.views.style import BLUE, GRAY, INK, MUTED, SIGNED, Look, look, number, ratio, significant, style, to_svg
from sarlab.views.templates import render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

#: Points up to which a line has markers.
MOST_MARKERS = 40
#: Windows that are drawn on pictures.
YELLOW = "#ffd84d"
#: Size of a panel in inches, and the width in pixels below which panels move to the next row: text stays above 9 px.
WIDTH, HEIGHT, NARROWEST = 3.8, 2.8, 300


@dataclass(frozen=True)
class Panel:
    """One drawing, and what it shows in words and numbers for those who do not see it."""

    drawing: MatplotlibFigure
    alt: str


@dataclass(repr=False)
class Figure:
    """Panels side by side where there is room and one below the other on a phone.

    `title` is what the reader is to see, as a sentence, and `caption` what is drawn: scenes, interval, conditions. `key` explains
    the series that all panels share, once above them. Panels narrower than `narrowest` pixels move to the next row.
    """

    panels: Sequence[Panel]
    title: str = ""
    caption: str = ""
    key: Sequence[Look] = ()
    narrowest: int = 260

    @property
    def alt(self) -> str:
        """Description of the whole figure in words."""
        return " ".join(part for part in (self.title, *(panel.alt for panel in self.panels)) if part) or self.caption

    def __repr__(self) -> str:
        return f"<Figure: {self.alt}>"

    def _repr_html_(self) -> str:
        drawings = [to_svg(panel.drawing, panel.alt) for panel in self.panels]
        return render("figure", figure=self, drawings=drawings) if drawings or self.caption else ""


@contextmanager
def panel(width: float = WIDTH, height: float = HEIGHT, title: str = "", note: str = "") -> Iterator[tuple[Any, Axes]]:
    """Figure and axes of one panel in the style of the book, outside pyplot: nothing is shown or kept by accident.

    Panels stay narrower than about five inches, and their text grows with the width: a phone scales them to its own width.
    """
    import matplotlib
    from matplotlib.figure import Figure as MatplotlibFigure

    size = 9.0 * max(1.0, width / 4.0)
    names = ("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize")
    with style(), matplotlib.rc_context({name: size for name in names}):  # type: ignore[misc]
        drawing = MatplotlibFigure(figsize=(width, height), layout="constrained")
        ax = drawing.subplots()
        ax.set_title(title)
        if note:
            ax.set_title(note, loc="right", fontweight="normal", color=MUTED)
        yield drawing, ax


def curves(
    rows: pd.DataFrame, x: str, y: str | Sequence[str], hue: str, *, at: str = "", style: str = "",
    kinds: Mapping[str, str] | None = None, facet: str = "", lines: Mapping[str, float | Mapping[str, float]] | None = None,
    log: bool = True, log_y: bool = False, complete: bool = True, digits: int = 2, title: str = "", caption: str = "",
    labels: Mapping[str, str] | None = None, limits: tuple[float | None, float | None] = (None, None),
) -> Figure:  # fmt: skip
    """Draw lines of means with intervals over passes: one color per `hue`, one kind of line per `style`.

    Parameters
    ----------
    rows : DataFrame
        One row per scene, band and operating point; or points with columns `x` and ``mean``, of `select.means` or of theory.
    x, y : str; y also a sequence of str
        Columns of the axes, averaged alike; each of `y` has a panel.
    hue, facet : str
        Columns of the series (codecs, architectures or names of `select.network`), and of the panels.
    at : str
        Column of the operating point whose rows are averaged; default: `x`.
    style, kinds : str, mapping
        Column of the variant of a series, and its value → ``""``, ``"dashed"``, ``"dotted"`` or ``"thin"``.
    lines : mapping of str to float
        Label → height of a level line; or metric or value of `facet` → those of its panel.
    log, log_y : bool
        Logarithmic axes, to base 2 and 10; values of `y` that are not positive are not drawn then.
    complete : bool
        Leave out points that lack some of the scenes.
    labels : mapping of str to str
        Column → label of its axis, where that of `select.label` does not fit.
    digits, title, caption, limits
        Decimals in the description; texts, of which `caption` is followed by the meaning of the bars; ends of the vertical axis.
    """
    ready, metrics = "mean" in rows, [y] if isinstance(y, str) else list(y)
    if ready:
        rows = rows.assign(**{name: np.nan for name in ("low", "high", "n", "kind", "over") if name not in rows})
    group = [hue, *([style] if style else [])]
    named = {**{name: select.label(name) for name in (x, *metrics)}, **(labels or {})}
    parts = list(rows.groupby(facet, sort=False)) if facet and len(rows) else [("", rows)]
    seen: dict[str, Look] = {}
    panels, drawn, among = [], [], _names(rows, hue)
    for metric, (value, part) in itertools.product(metrics, parts):
        if not ready:
            along = [x] if at and at != x else []
            part = select.means(part, metric, [*group, at or x], x=along, complete=complete)
        if part.empty:
            continue
        heading, words = str(value) if facet else named[metric], []
        with panel(title=heading, note=select.better(metric)) as (drawing, ax):
            for keys, line in part.groupby(group, sort=False):
                kind = (kinds or {}).get(keys[-1], "") if style else ""
                shown = look(f"{keys[0]}, {keys[1]}" if style and keys[1] else str(keys[0]), kind, among)
                seen.setdefault(shown.label, shown)
                line = line.dropna(subset=[x, "mean"]).sort_values(x)
                _line(ax, line, x, shown)
                words.append(f"{shown.label}: {_spoken(line, x, digits)}")
            levels: Any = (lines or {}).get(str(value) if facet else metric, lines or {})
            _levels(ax, {n: h for n, h in levels.items() if not isinstance(h, Mapping)}, words)
            _axis(ax, part[x], named[x], log=log)
            if log_y:
                ax.set_yscale("log")
                if (part["low"] <= 0).any():  # of an interval that no logarithm shows
                    ax.set_ylim(bottom=part.loc[part["mean"] > 0, "mean"].min() / 2)
                _plain_ticks(ax.yaxis)
            ax.set(ylabel=named[metric] if facet else "", ylim=limits)
        panels.append(Panel(drawing, f"{heading} over {named[x]}. {'; '.join(words)}."))
        drawn.append(part)
    if not panels:
        return Figure([])
    found = pd.concat(drawn)
    about = select.bars(found) if found["kind"].notna().any() else ""
    key = list(seen.values()) if len(seen) > 1 else []
    return Figure(panels, title=title, caption=f"{caption} {about}".strip(), key=key, narrowest=NARROWEST)


def points(
    rows: pd.DataFrame, value: str, by: str, *, hue: str = "", facet: str = "", zero: bool = False, log: bool = False,
    sort: bool = False, digits: int = 1, unit: str = "", title: str = "", caption: str = "", axis: str = "",
) -> Figure:  # fmt: skip
    """Draw a dot with its interval for each value of `by`, one below the other.

    Parameters
    ----------
    rows : DataFrame
        Rows to average; or points with columns `by`, mean, low, high, n, kind and over, as of `select.bd_rates`.
    value : str
        Column to average; of points, the name of what they are.
    by, hue, facet : str
        Columns of the rows of the figure, from the top, of the series within a row, and of the panels. Without `hue` each row
        has the color of its codec or architecture.
    zero, log, sort : bool
        Draw a line at zero, with signs on the axis; logarithmic axis; smallest mean at the top.
    digits, unit, axis, title, caption
        `digits` and `unit` are those of the description. `axis` labels the horizontal axis; default: as the column.
    """
    if not {"mean", "low", "high"} <= set(rows):
        rows = select.means(rows, value, [*filter(None, (by, hue, facet))])
    found, panels, label = rows.dropna(subset=["mean"]), [], axis or select.label(value)
    seen: dict[str, Look] = {}
    if found.empty:
        return Figure([])
    among = _names(found, hue or by)
    for heading, part in found.groupby(facet, sort=False) if facet else [("", found)]:
        means = part.groupby(by, sort=False)["mean"].mean()
        order = list((means.sort_values() if sort else means).index)
        series, words = list(part[hue].unique()) if hue else [], []
        with panel(WIDTH + 0.6, 0.8 + 0.29 * len(order), str(heading)) as (drawing, ax):
            for row in part.itertuples():
                name = getattr(row, by)
                shown, place, between = look(str(getattr(row, hue or by)), among=among), float(order.index(name)), ""
                if hue:
                    place += 0.22 * (series.index(getattr(row, hue)) - (len(series) - 1) / 2)
                    seen.setdefault(shown.label, shown)
                if np.isfinite(row.low):
                    ax.plot([row.low, row.high], [place, place], color=shown.color, linewidth=1.6)
                    between = f" ({number(row.low, digits)} to {number(row.high, digits)})"
                ax.plot(row.mean, place, marker=shown.marker or "o", color=shown.color, markersize=5.5)
                called = look(str(name)).label + (f", {shown.label}" if hue else "")
                words.append(f"{called} {number(row.mean, digits, sign=zero)}{unit}{between}")
            _categories(ax, order)
            ax.set(ylim=(len(order) - 0.5, -0.5), xlabel=label)
            ax.tick_params(axis="y", labelcolor=INK)
            if zero:
                ax.axvline(0, color=INK, linewidth=1)
                ax.xaxis.set_major_formatter(lambda v, _: f"{v:+g}".replace("-", "\u2212") if v else "0")
            if log:
                ax.set_xscale("log")
                ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
        panels.append(Panel(drawing, f"{heading or label}. {'; '.join(words)}."))
    caption = f"{caption} {select.bars(found)}".strip()
    return Figure(panels, title=title, caption=caption, key=list(seen.values()), narrowest=NARROWEST + 30)


def bars(
    rows: pd.DataFrame, x: str, y: str, *, hue: str = "", digits: int = 1, title: str = "", caption: str = "", axis: str = ""
) -> Figure:  # fmt: skip
    """Draw a bar per row: value `y`, category `x`, series of `hue` side by side; the other parameters are those of `points`."""
    import seaborn

    if rows.empty:
        return Figure([])
    looks = {each: look(str(each), among=_names(rows, hue)) for each in rows[hue].unique()} if hue else {}
    names, label = list(rows[x].unique()), axis or select.label(y)
    colors = {"hue": hue, "palette": {each: shown.color for each, shown in looks.items()}} if hue else {"color": BLUE}
    with panel(WIDTH + 0.6, 0.8 + 0.32 * len(names) * max(1, len(looks) / 2)) as (drawing, ax):
        seaborn.barplot(rows, x=y, y=x, orient="h", errorbar=None, saturation=1, legend=False, ax=ax, **colors)
        _categories(ax, names)
        ax.set(xlabel=label, ylabel="")
    called = rows[x].map(lambda name: look(str(name)).label) + (
        ", " + rows[hue].map(lambda each: looks[each].label) if hue else ""
    )
    words = "; ".join(f"{name}: {number(value, digits)}" for name, value in zip(called, rows[y], strict=True))
    key = [Look(shown.label, shown.color, "s", width=0) for shown in looks.values()]
    return Figure([Panel(drawing, f"{label}. {words}.")], title=title, caption=caption, key=key)


def distribution(values: Mapping[str, Any], *, axis: str, title: str = "", caption: str = "") -> Figure:
    """Draw the distribution of samples as outlines of histograms, one per series of `values`, in the unit of `axis`."""
    import seaborn

    looks, words = {name: look(name, among=list(values)) for name in values}, []
    with panel() as (drawing, ax):
        for name, shown in looks.items():
            samples = np.asarray(values[name], float)
            samples = samples[np.isfinite(samples)]
            seaborn.histplot(
                x=samples, bins=80, stat="density", element="step", fill=False, color=shown.color, ax=ax, linewidth=1.6
            )
            low, middle, high = map(significant, np.percentile(samples, (5, 50, 95)) if len(samples) else [np.nan] * 3)
            words.append(f"{shown.label}: median {middle}, 90 % between {low} and {high}")
        ax.set(xlabel=axis, ylabel="", yticks=[])
    key = list(looks.values()) if len(looks) > 1 else []
    alt = f"Distribution of {axis}. {'; '.join(words)}."
    return Figure([Panel(drawing, alt)], title=title, caption=caption, key=key, narrowest=NARROWEST)


def images(
    pictures: Sequence[tuple[str, Any]], *, clip: tuple[float, float] | None = None, signed: bool = False, unit: str = "dB",
    windows: Sequence[tuple[int, int, int]] = (), title: str = "", caption: str = "", narrowest: int = 165,
) -> Figure:  # fmt: skip
    """Draw pictures of the same scale side by side, with numbered windows on each.

    Parameters
    ----------
    pictures : sequence of (title, array of shape (height, width))
    clip : (low, high), optional
        Values of black and white; default: 1st and 99th percentile of all pictures.
    signed : bool
        Errors: a color map that is white at zero, `clip` made symmetric.
    windows : sequence of (top, left, side)
        Squares to draw, numbered from 1, such as those of the number of looks.
    unit, title, caption, narrowest
        `narrowest` is the width in pixels below which pictures move to the next row.
    """
    from matplotlib.patches import Rectangle

    arrays = [np.asarray(array, float) for _, array in pictures]
    if not arrays:
        return Figure([])
    low, high = clip or np.nanpercentile(np.concatenate([a.ravel() for a in arrays]), (1, 99))
    if signed:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    panels = []
    for (name, _), array in zip(pictures, arrays, strict=True):
        height, width = array.shape
        side = max(2.2, narrowest / 80)  # in inches, so that the title is as large as text
        with panel(side, side * height / width + 0.3, name) as (drawing, ax):
            ax.imshow(array, cmap=SIGNED if signed else GRAY, vmin=low, vmax=high)
            for position, (top, left, side) in enumerate(windows, start=1):
                square = (left - 0.5, top - 0.5), side, side
                ax.add_patch(Rectangle(*square, fill=False, edgecolor=YELLOW, linewidth=1.2))
                middle = left + side / 2, top + side / 2
                ax.text(*middle, str(position), color=YELLOW, fontweight="bold", ha="center", va="center")
            ax.set_axis_off()
        marked = f", with {len(windows)} numbered windows" if windows else ""
        mean, least, most = (significant(float(of(array))) for of in (np.nanmean, np.nanmin, np.nanmax))
        inside = f"mean {mean} {unit}, from {least} to {most} {unit}"
        panels.append(Panel(drawing, f"{name}: picture of {height} by {width} pixels{marked}; {inside}."))
    shades = "Violet is below zero, orange above" if signed else "Black to white"
    scale = f"{shades}: {number(low)} to {number(high)} {unit}."
    return Figure(panels, title=title, caption=f"{caption} {scale}".strip(), narrowest=narrowest)


def heat(frame: pd.DataFrame, *, rows: str = "", columns: str = "", title: str = "", caption: str = "") -> Figure:
    """Draw a table of numbers as a heat map that shows each number; `rows` and `columns` name its axes."""
    import seaborn

    if frame.empty or not np.isfinite(frame.to_numpy(float)).any():
        return Figure([])
    texts = frame.map(lambda v: number(v, 2))
    wide, tall = (0.085 * max(len(str(name)) for name in names) for names in (frame.index, frame.columns))
    upright = tall > 0.6  # names of columns that are wider than the column
    height = 0.6 + 0.32 * frame.shape[0] + (tall if upright else 0.3)
    with panel(0.7 + wide + 0.6 * frame.shape[1], height) as (drawing, ax):
        seaborn.heatmap(frame.astype(float), annot=texts, fmt="", cbar=False, ax=ax, linewidths=0.6, cmap="cividis")
        ax.set(xlabel=columns, ylabel=rows)
        ax.grid(visible=False)
        ax.tick_params(axis="y", rotation=0)
        ax.tick_params(axis="x", rotation=90 if upright else 0)
    words = "; ".join(f"{name}: {', '.join(f'{c} {v}' for c, v in line.items())}" for name, line in texts.iterrows())
    return Figure([Panel(drawing, f"{rows} by {columns}. {words}.")], title=title, caption=caption)


def _categories(ax: Axes, names: Sequence[Any]) -> None:
    """Names of codecs, architectures … on the vertical axis, from the top."""
    ax.set_yticks(range(len(names)), [look(str(name)).label for name in names])
    ax.grid(axis="y", visible=False)


def _names(rows: pd.DataFrame, column: str) -> list[str]:
    """Values of a column as text, in their order."""
    return [str(value) for value in rows[column].unique()] if column in rows else []


def _plain_ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, without exponents; at the powers over many decades."""
    from matplotlib.ticker import NullLocator

    low, high = axis.get_view_interval()
    axis.get_major_locator().set_params(subs=(1, 2, 5) if np.log10(high / low) < 2.5 else (1,))
    axis.set_major_formatter(lambda v, _: f"{v:g}")
    axis.set_minor_locator(NullLocator())


def _line(ax: Axes, line: pd.DataFrame, x: str, shown: Look) -> None:
    """One series with its intervals."""
    import seaborn

    thin = shown.width < 1
    keywords = {**shown.line, "markersize": 3 if thin else 5, **({} if len(line) <= MOST_MARKERS else {"marker": None})}
    seaborn.lineplot(line, x=x, y="mean", estimator=None, ax=ax, legend=False, zorder=2 if thin else 3, **keywords)
    barred = line.dropna(subset=["low", "high"])
    if len(barred):
        ends = [np.maximum(barred["mean"] - barred["low"], 0), np.maximum(barred["high"] - barred["mean"], 0)]
        ax.errorbar(
            barred[x], barred["mean"], yerr=ends, fmt="none", ecolor=shown.color, elinewidth=1, capsize=2, zorder=2
        )


def _levels(ax: Axes, lines: Mapping[str, float], words: list[str]) -> None:
    """Labeled level lines: names stand where fewer points are; that of one close below another, at the other end."""
    heights = {name: height for name, height in lines.items() if np.isfinite(height)}
    drawn = [np.asarray(line.get_ydata()) for line in ax.lines] or [np.empty(0)]
    ends = [np.concatenate([line[cut] for line in drawn]) for cut in (np.s_[:3], np.s_[-3:])]
    for height in heights.values():
        ax.axhline(height, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    low, high = ax.get_ylim()
    for name, height in heights.items():
        words.append(f"level line {name} at {number(height, 2)}")
        room = 0.1 * (high - low)
        first, last = (np.sum((end > height) & (end < height + room)) for end in ends)
        near = [other > height for other in heights.values() if 0 < abs(other - height) < room]
        left = any(near) if near else first < last
        ax.annotate(
            name, (0 if left else 1, height), (2 if left else -2, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="left" if left else "right", va="bottom", color=MUTED,
        )  # fmt: skip


def _axis(ax: Axes, values: pd.Series, name: str, *, log: bool) -> None:
    """Label and ticks of the horizontal axis: at the values where they are few, otherwise at powers of two."""
    known = np.unique(values.dropna().to_numpy(float))
    ax.set_xlabel(name)
    if log and len(known):
        ax.set_xscale("log", base=2)
        few = len(known) <= 4 or (len(known) <= 7 and np.allclose(known, 2.0 ** np.round(np.log2(known)), rtol=1e-6))
        low, high = np.log2(known[0]), np.log2(known[-1])
        ends = (np.ceil(low - 0.05), np.floor(high + 0.05)) if high - low > 2 else (np.floor(low), np.ceil(high))
        ticks = known if few else 2.0 ** np.arange(ends[0], ends[1] + 1)
        form = ratio if "ratio" in name or "÷" in name else lambda t: f"{t:.3g}" if t < 1000 else f"{t:.0f}"
        labels = [form(tick) for tick in ticks]
        if few:
            kept = _apart(np.log2(ticks), labels)
        else:
            kept = list(range(0, len(ticks), max(1, int(np.ceil(_share(labels) * (high - low))))))
        ax.set_xticks(ticks[kept], [labels[k] for k in kept])
        ax.minorticks_off()
    elif len(known) and len(known) <= 7:
        labels = [f"{tick:g}" for tick in known]
        kept = _apart(known, labels)
        ax.set_xticks(known[kept], [labels[k] for k in kept])


def _share(labels: Sequence[str]) -> float:
    """Share of the axis that the longest of the labels of ticks takes."""
    return 0.02 + 0.022 * max(map(len, labels))


def _apart(places: np.ndarray, labels: Sequence[str]) -> list[int]:
    """Indices of ticks without those whose labels would touch that of the one before."""
    kept, least = [0], _share(labels) * (places[-1] - places[0])
    for index, place in enumerate(places):
        if place - places[kept[-1]] >= max(least, 1e-12):
            kept.append(index)
    return kept


def _spoken(line: pd.DataFrame, x: str, digits: int) -> str:
    """Values of a series in words; of long ones the first, the last and three between."""
    kept = line if len(line) <= 6 else line.iloc[np.unique(np.linspace(0, len(line) - 1, 5).round().astype(int))]
    return ", ".join(f"{number(row['mean'], digits)} at {significant(row[x])}" for _, row in kept.iterrows())
