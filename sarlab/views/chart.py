"""A chart that answers questions: axes, scenes and series by choice, values by pointer and keyboard, without a kernel.

The figure carries its points as JSON and draws them itself, so that a page works from ``file://``. Without scripts it
shows a fixed figure, or says where one is.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.errors import ResultsError
from sarlab.views.figure import THEME, swatch
from sarlab.views.style import VARIABLES, Look

_ASSETS = Path(__file__).resolve().parents[1] / "assets" / "views"
#: Significant digits of a value in the page, and of the ends of its interval.
DIGITS, END_DIGITS = 4, 3


@dataclass(frozen=True)
class Axis:
    """What may be drawn along one direction.

    Parameters
    ----------
    name : str
        Column.
    label : str
        With unit, on the axis.
    short : str
        What follows a value: ``" bpp"``.
    better : {"", "higher", "lower", "zero", "one"}
    """

    name: str
    label: str
    short: str = ""
    better: str = ""


@dataclass(frozen=True, eq=False)
class Line:
    """Points of one series in one place (scenes and band).

    Parameters
    ----------
    x, y : mapping of str to sequence of float
        Axis → values, all of one length; NaN where undefined.
    low, high : mapping of str to sequence of float
        Interval of y; an axis without one is left out.
    over : str
        What the interval is, in words.
    """

    x: Mapping[str, Sequence[float]]
    y: Mapping[str, Sequence[float]]
    low: Mapping[str, Sequence[float]] = field(default_factory=dict)
    high: Mapping[str, Sequence[float]] = field(default_factory=dict)
    over: str = ""

    def packed(self) -> dict[str, Any]:
        """For JSON."""
        parts = {name: _values(getattr(self, name), DIGITS) for name in ("x", "y")}
        parts |= {name: _values(getattr(self, name), END_DIGITS) for name in ("low", "high")}
        return {**parts, "over": self.over}


@dataclass(frozen=True, eq=False)
class Series:
    """One line of the chart.

    Parameters
    ----------
    look : Look
    group : str
        Which buttons it stands among.
    lines : mapping of (place, band) to Line
    on : bool
        Whether it is drawn at first.
    bound : bool
        A limit rather than a measurement: it does not decide the range of the axes.
    """

    look: Look
    group: str
    lines: Mapping[tuple[str, str], Line]
    on: bool = True
    bound: bool = False


class Chart:
    """Series over chosen axes.

    Parameters
    ----------
    series : sequence of Series
        Those of one group together.
    x, y : sequence of Axis
        The first of each is drawn at first.
    places, bands : sequence of str
        Keys of the lines, in the order of the menus.
    title, caption : str
    log : bool
        Whether x is logarithmic at first.
    still : str
        HTML of what is shown where there are no scripts.
    """

    def __init__(
        self, series: Sequence[Series], *, x: Sequence[Axis], y: Sequence[Axis], places: Sequence[str], bands: Sequence[str],
        title: str = "", caption: str = "", log: bool = True, still: str = "",
    ):  # fmt: skip
        if not (series and x and y and places and bands):
            raise ResultsError("a chart needs at least one series, axis of each direction, place and band")
        self.series, self.x, self.y = tuple(series), tuple(x), tuple(y)
        self.places, self.bands, self.title, self.caption = tuple(places), tuple(bands), title, caption
        self.log, self.still = log, still

    @property
    def alt(self) -> str:
        """The chart in words."""
        names = ", ".join(one.look.label for one in self.series)
        return f"{self.title or 'Chart'}: {names}; {self.y[0].label} and others over {self.x[0].label} and others."

    def __repr__(self) -> str:
        return f"<Chart: {self.alt}>"

    def _repr_html_(self) -> str:
        return f"<style>{_asset('chart.css')}</style>{self.markup()}<script>{_asset('chart.js')}</script>"

    def data(self) -> dict[str, Any]:
        """What the script draws."""
        series = []
        for one in self.series:
            look = one.look
            lines = [
                [one.lines[place, band].packed() if (place, band) in one.lines else None for band in self.bands]
                for place in self.places
            ]
            series.append(
                {
                    "name": look.label,
                    "color": f"var({VARIABLES[look.color]}, {look.color})" if look.color in VARIABLES else look.color,
                    "marker": look.marker,
                    "hollow": look.hollow,
                    "width": look.width,
                    "dash": "1.5 3" if look.dotted else "5 3" if look.hollow else "",
                    "bound": one.bound,
                    "points": lines,
                }
            )
        return {"x": [vars(axis) for axis in self.x], "y": [vars(axis) for axis in self.y], "series": series}

    def markup(self) -> str:
        """The figure without style and script."""
        payload = json.dumps(self.data(), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
        name = "sl-" + hashlib.sha256(payload.encode() + self.title.encode()).hexdigest()[:10]
        menus = _menu("where", "scenes", enumerate(self.places)) + _menu("band", "band", enumerate(self.bands))
        axes = _menu("y", "upward", ((axis.name, axis.label) for axis in self.y))
        axes += _menu("x", "to the right", ((axis.name, axis.label) for axis in self.x))
        axes += f'<label><input type="checkbox" name="log"{" checked" if self.log else ""}> logarithmic</label>'
        names = list(dict.fromkeys(one.group for one in self.series))
        begun = [group for group in names if any(one.on for one in self.series if one.group == group)]
        rest = [group for group in names if group not in begun]
        groups = "".join(map(self._buttons, begun))
        if rest:
            groups += f"<details><summary>{_text('more: ' + '; '.join(rest))}</summary>{''.join(map(self._buttons, rest))}</details>"
        return (
            f'<figure class="sl-chart" id="{name}" role="group" aria-label="{_text(self.alt)}" style="{THEME}">'
            + (f'<p class="sl-title">{_text(self.title)}</p>' if self.title else "")
            + f'<div class="sl-controls">{menus}</div><div class="sl-controls">{axes}</div>{groups}'
            '<div class="sl-plot" tabindex="0" role="application" aria-roledescription="chart" '
            'aria-label="Points of the chart: left and right arrow go along a line, up and down to another line">'
            '<div class="sl-tip" hidden></div></div><output class="sl-said" aria-live="polite"></output>'
            f'<p class="sl-absent"></p><div class="sl-still">{self.still}</div>'
            + (f"<figcaption>{_text(self.caption)}</figcaption>" if self.caption else "")
            + f'<script type="application/json">{payload}</script></figure>'
        )

    def _buttons(self, group: str) -> str:
        buttons = "".join(
            f'<button type="button" data-series="{i}" aria-pressed="{str(one.on).lower()}">{swatch(one.look)}'
            f"{_text(one.look.label)}</button>"
            for i, one in enumerate(self.series)
            if one.group == group
        )
        some = sum(one.group == group for one in self.series) > 2
        everything = f'<button type="button" data-all aria-label="{_text(group)}: all or none">all / none</button>'
        return f'<fieldset class="sl-controls"><legend>{_text(group)}</legend>{buttons}{everything if some else ""}</fieldset>'


def _menu(name: str, label: str, options: Any) -> str:
    entries = list(options)
    items = "".join(f'<option value="{_text(value)}">{_text(text)}</option>' for value, text in entries)
    hidden = " hidden" if len(entries) < 2 else ""
    return f'<label{hidden}>{label} <select name="{name}">{items}</select></label>'


def _values(columns: Mapping[str, Sequence[float]], digits: int) -> dict[str, list[float | None]]:
    """Values with so many significant digits, None for NaN; columns without any value are left out."""
    packed = {}
    for name, values in columns.items():
        numbers = [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in map(float, values)]
        if any(value is not None for value in numbers):
            packed[name] = numbers
    return packed


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
