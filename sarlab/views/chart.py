"""Interactive chart: axes, scenes and series by choice, values by pointer and keyboard, drawn by its script without a kernel."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sarlab.errors import ResultsError
from sarlab.views.figure import THEME, swatch
from sarlab.views.style import VARIABLES, Look

_ASSETS = Path(__file__).resolve().parents[1] / "assets" / "views"
#: Significant digits of a value in the page, and of the ends of its interval.
DIGITS, END_DIGITS = 4, 3
STILL = "<p>This chart is drawn by a script. Without one, the fixed figures of this page show the same curves.</p>"


class Axis(NamedTuple):
    """One direction: column, label with unit, what follows a value, and which values are better."""

    name: str
    label: str
    short: str = ""
    better: str = ""


@dataclass(frozen=True, eq=False)
class Line:
    """Points of one series on some scenes and a band: values by axis, ends of the intervals of y, and what these are."""

    x: Mapping[str, Sequence[float]]
    y: Mapping[str, Sequence[float]]
    low: Mapping[str, Sequence[float]] = field(default_factory=dict)
    high: Mapping[str, Sequence[float]] = field(default_factory=dict)
    over: str = ""

    def packed(self) -> dict[str, Any]:
        """Values for JSON, rounded."""
        parts = {name: _values(getattr(self, name), DIGITS) for name in ("x", "y")}
        return {
            **parts,
            **{name: _values(getattr(self, name), END_DIGITS) for name in ("low", "high")},
            "over": self.over,
        }


@dataclass(frozen=True, eq=False)
class Series:
    """One line of the chart in each place: (scenes, band) → points. `bound`: a limit, which does not decide the axes."""

    look: Look
    group: str
    lines: Mapping[tuple[str, str], Line]
    on: bool = True
    bound: bool = False


class Chart:
    """Series over chosen axes; the first of each menu is drawn at first.

    Parameters
    ----------
    series : sequence of Series
    x, y : sequence of Axis
    places, bands : sequence of str
        Keys of the lines.
    title, caption : str
    """

    def __init__(
        self, series: Sequence[Series], *, x: Sequence[Axis], y: Sequence[Axis], places: Sequence[str], bands: Sequence[str],
        title: str = "", caption: str = "",
    ):  # fmt: skip
        if not (series and x and y and places and bands):
            raise ResultsError("a chart needs at least one series, axis of each direction, place and band")
        self.series, self.x, self.y, self.places, self.bands = series, x, y, places, bands
        self.title, self.caption = title, caption

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
        """Content for the script."""
        series = []
        for one in self.series:
            look, lines = one.look, one.lines
            keys = [[(place, band) for band in self.bands] for place in self.places]
            series.append({
                "name": look.label, "color": f"var({VARIABLES[look.color]}, {look.color})" if look.color in VARIABLES else look.color,
                "marker": look.marker, "hollow": look.hollow, "width": look.width, "dash": look.dash, "bound": one.bound,
                "points": [[lines[key].packed() if key in lines else None for key in row] for row in keys],
            })  # fmt: skip
        return {"x": [axis._asdict() for axis in self.x], "y": [axis._asdict() for axis in self.y], "series": series}

    def markup(self) -> str:
        """The figure without style and script."""
        payload = json.dumps(self.data(), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
        name = "sl-" + hashlib.sha256(payload.encode() + self.title.encode()).hexdigest()[:10]
        menus = _menu("where", "scenes", enumerate(self.places)) + _menu("band", "band", enumerate(self.bands))
        axes = _menu("y", "upward", ((axis.name, axis.label) for axis in self.y))
        axes += _menu("x", "to the right", ((axis.name, axis.label) for axis in self.x))
        axes += '<label><input type="checkbox" name="log" checked> logarithmic</label>'
        names = list(dict.fromkeys(one.group for one in self.series))
        begun = [group for group in names if any(one.on for one in self.series if one.group == group)]
        rest = [group for group in names if group not in begun]
        groups = "".join(map(self._buttons, begun))
        if rest:
            groups += f"<details><summary>{_text('more: ' + '; '.join(rest))}</summary>{''.join(map(self._buttons, rest))}</details>"
        return (
            f'<figure class="sl-chart" id="{name}" role="group" aria-label="{_text(self.alt)}" style="{THEME}">'
            f'<p class="sl-title">{_text(self.title)}</p>'
            f'<div class="sl-controls">{menus}</div><div class="sl-controls">{axes}</div>{groups}'
            '<div class="sl-plot" tabindex="0" role="application" aria-roledescription="chart" '
            'aria-label="Points of the chart: left and right arrow go along a line, up and down to another line">'
            '<div class="sl-tip" hidden></div></div><output class="sl-said" aria-live="polite"></output>'
            f'<p class="sl-absent"></p><div class="sl-still">{STILL}</div><figcaption>{_text(self.caption)}</figcaption>'
            f'<script type="application/json">{payload}</script></figure>'
        )

    def _buttons(self, group: str) -> str:
        entries = [(i, one) for i, one in enumerate(self.series) if one.group == group]
        buttons = "".join(
            f'<button type="button" data-series="{i}" aria-pressed="{str(one.on).lower()}">{swatch(one.look)}'
            f"{_text(one.look.label)}</button>"
            for i, one in entries
        )
        every = f'<button type="button" data-all aria-label="{_text(group)}: all or none">all / none</button>' * (
            len(entries) > 2
        )
        return f'<fieldset class="sl-controls"><legend>{_text(group)}</legend>{buttons}{every}</fieldset>'


def _menu(name: str, label: str, options: Iterable[tuple[Any, str]]) -> str:
    entries = list(options)
    items = "".join(f'<option value="{_text(value)}">{_text(text)}</option>' for value, text in entries)
    return f'<label{" hidden" * (len(entries) < 2)}>{label} <select name="{name}">{items}</select></label>'


def _values(columns: Mapping[str, Sequence[float]], digits: int) -> dict[str, list[float | None]]:
    """Values with so many significant digits, None for NaN; columns without any value are left out."""
    known = {name: np.asarray(values, float) for name, values in columns.items()}
    return {
        name: [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in values]
        for name, values in known.items()
        if np.isfinite(values).any()
    }


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
