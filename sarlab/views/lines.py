"""Panels of means with intervals over one axis: what the chapters on latents and networks are drawn with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.figure import Panel
from sarlab.views.style import INK, MUTED, Look
from sarlab.views.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Line(NamedTuple):
    """One series of a panel.

    Parameters
    ----------
    look : Look
    x, mean, low, high : sequences of float
        `low` and `high` may hold NaN: no interval.
    """

    look: Look
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]

    @classmethod
    def of(cls, look: Look, points: pd.DataFrame, x: str) -> Line:
        """Columns `x`, mean, low and high of a frame, ascending."""
        points = points.sort_values(x)
        return cls(look, *(points[name].astype(float).to_list() for name in (x, "mean", "low", "high")))


def panel(
    lines: Sequence[Line],
    title: str,
    axis: str,
    *,
    good: str = "",
    names: Callable[[float], str] = lambda v: f"{v:g}",
    digits: int = 2,
    zero: str = "",
    label_ends: bool = False,
    sign: bool = False,
    width: float = 3.6,
    log: bool = True,
) -> Panel:
    """Draw series over an axis of few values, doubling from one to the next.

    Parameters
    ----------
    lines : sequence of Line
    title, axis : str
        With units.
    good : str
        Which direction is better.
    names : callable
        Value of the axis → its tick and its name in the words for those who do not see the figure.
    digits : int
        Of the values in words.
    zero : str
        Label of a line at zero; empty for none.
    label_ends : bool
        Name the series at their ends.
    sign : bool
        Values are differences.
    width : float
        In inches.
    log : bool
        Whether the axis doubles, or is even.
    """
    with style.style():
        drawing, ax = style.axes(width, 2.7)
        ax.set_title(title)
        if good:
            ax.set_title(good, loc="right", fontsize=8, fontweight="normal", color=MUTED)
        if log:
            ax.set_xscale("log", base=2)
        if zero:
            ax.axhline(0, color=MUTED, linewidth=2.4, zorder=1)
        for line in lines:
            draw(ax, line)
        ticks = sorted({x for line in lines for x in line.x})
        ax.set_xticks(ticks, [names(tick) for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel(axis)
        if sign:
            ax.yaxis.set_major_formatter(lambda v, _: f"{v:+.3g}".replace("-", "\u2212") if v else "0")
        ends = [(line.x[-1], line.mean[-1], line.look.label, line.look.color) for line in lines if len(line.x)]
        if zero:
            ends.append((ticks[-1], 0.0, zero, INK))
        if label_ends or zero:
            style.label_ends(ax, ends if label_ends else ends[-1:])
    spoken = "; ".join(f"{line.look.label}: {words(line, names, digits, sign)}" for line in lines)
    return Panel(drawing, f"{title} over {axis}. {spoken}.")


def draw(ax: Axes, line: Line) -> None:
    """One series with its intervals."""
    kept: dict[str, Any] = {**line.look.line}
    ax.plot(line.x, line.mean, zorder=3, **kept)
    low, high, mean = (np.asarray(values, float) for values in (line.low, line.high, line.mean))
    known = np.isfinite(low) & np.isfinite(high)
    if known.any():
        ax.errorbar(
            np.asarray(line.x, float)[known], mean[known],
            yerr=[np.maximum((mean - low)[known], 0), np.maximum((high - mean)[known], 0)],
            fmt="none", ecolor=line.look.color, elinewidth=1, capsize=2, zorder=2,
        )  # fmt: skip


def words(line: Line, names: Callable[[float], str], digits: int, sign: bool) -> str:
    """Values of a series in words, with their intervals."""
    parts = []
    for x, mean, low, high in zip(line.x, line.mean, line.low, line.high, strict=True):
        between = (
            f" ({number(low, digits, sign=sign)} to {number(high, digits, sign=sign)})" if np.isfinite(low) else ""
        )
        parts.append(f"{number(mean, digits, sign=sign)}{between} at {names(x)}")
    return ", ".join(parts)
