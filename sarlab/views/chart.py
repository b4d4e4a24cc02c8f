"""Interactive chart of rate and distortion: axes, scenes and series by choice, drawn by its script without a kernel."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.metrics import metrics
from sarlab.metrics.intervals import interval
from sarlab.views import select
from sarlab.views.figures import swatch
from sarlab.views.style import DASHED, DOTTED, MUTED, THEME, VARIABLES, Look, look

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

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
        digits = {"x": DIGITS, "y": DIGITS, "low": END_DIGITS, "high": END_DIGITS}
        return {name: _values(getattr(self, name), count) for name, count in digits.items()} | {"over": self.over}


@dataclass(frozen=True, eq=False)
class Series:
    """One line of the chart in each place: (scenes, band) → points. `bound`: a limit, which does not decide the axes."""

    look: Look
    group: str
    lines: Mapping[tuple[str, str], Line]
    on: bool = True
    bound: bool = False


class Chart:
    """Series over chosen axes; the first of each menu is drawn at first. `places` and `bands` are the keys of the lines."""

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


X = (
    Axis("bpp", "bits per pixel of the file", " bpp"),
    Axis("cr", "compression ratio of the file against the product's samples", "× smaller file"),
    Axis("ratio", "values in ÷ values out (networks only)", "× fewer values"),
)
METRICS = (
    "psnr_db", "ssim", "epi_roa", "bias_db", "rmse_db", "rmse_k8_db", "enl_ratio", "targets_kept", "peak_error_db",
)  # fmt: skip
#: Codecs that are drawn beside the networks at first.
FEATURED = (select.FLAGSHIP, "jpeg2000", "hevc12")
#: Scenes have an entry of their own in the menu while the table has no more rows than this.
MOST_ROWS = 2_000
LIMIT, FLOOR = "Gaussian limit", "another pass"
CAPTION = (
    "Point at a marker, or focus the plot and use the arrow keys, to read its values. Bars: 95 % interval over passes, or the "
    "range of fewer than five. Files of networks: latents of float32 as they are, quantized ones range coded. "
    "Gaussian limit: rate of an ideal code of a Gaussian source with the spectrum of the scene, for PSNR alone. "
    "Another pass: agreement of edges that a second recording of the same ground would reach."
)


def codecs_chart(t: Tables) -> Chart | None:
    """Chart of the codecs; networks can be added."""
    return _chart(t, "Codecs by any measure, on any scene", networks=False)


def networks_chart(t: Tables) -> Chart | None:
    """Chart of the networks beside well-known codecs; the others can be added."""
    return _chart(t, "Networks and codecs by any measure, on any scene", networks=True)


def _chart(t: Tables, title: str, *, networks: bool) -> Chart | None:
    codecs, runs = select.measured(t.codecs, band=None), select.measured(t.runs, band=None)
    rows = pd.concat([part for part in (codecs, runs) if len(part)]) if len(codecs) or len(runs) else codecs
    if rows.empty:
        return None
    places, bands = places_of(rows), [str(band) for band in rows["band"].dropna().unique()]
    columns = [name for name in METRICS if select.numbers(rows, name).notna().any()]
    series = [
        *_codecs(codecs, places, columns, FEATURED if networks else None),
        *_networks(runs, places, columns, networks),
    ]
    if networks:
        series.sort(key=lambda one: one.group == "codecs")
    series += _references(t.table("limits", ["limit", "scene", "band", "psnr_db", "bpp"]), rows, places, bands)
    y = [Axis(name, select.label(name), "", metrics[name].better) for name in columns]
    x = X if len(runs) else X[:2]
    return Chart(series, x=x, y=y, places=list(places), bands=bands, title=title, caption=CAPTION)


def places_of(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Entry of the menu → its scenes: the test scenes, the others together, and each scene alone where they are few."""
    places = {}
    for split, name in (("test", "test scenes"), ("independent", "other passes")):
        scenes = [str(scene) for scene in rows.loc[rows["split"] == split, "scene"].unique()]
        if scenes:
            places[f"{name}, mean of {len(scenes)}" if len(scenes) > 1 else f"{name[:-1]}: {scenes[0]}"] = scenes
    places = places or {"all scenes": list(rows["scene"].unique())}
    alone = {scene: [scene] for scenes in places.values() if len(scenes) > 1 for scene in scenes}
    return places | (alone if len(rows) <= MOST_ROWS else {})


def _codecs(
    rows: pd.DataFrame, places: Mapping[str, Sequence[str]], columns: Sequence[str], on: Sequence[str] | None
) -> list[Series]:
    """One series per codec, the smallest files first; `on` names those drawn at first (default: all)."""
    order = rows.groupby("codec")["bpp"].mean().sort_values().index if len(rows) else ()
    return [
        Series(look(codec), "codecs", _lines(rows[rows["codec"] == codec], places, "target_value", "bpp", columns), on is None or codec in on)
        for codec in order
    ]  # fmt: skip


def _networks(
    runs: pd.DataFrame, places: Mapping[str, Sequence[str]], columns: Sequence[str], on: bool
) -> list[Series]:
    """One series per architecture and start of `select.main_line`, and one per quantizer with three ratios or more."""
    if runs.empty:
        return []
    main, found = select.main_line(runs), []
    for name, part in main.groupby(select.network(main), sort=False):
        found.append(Series(look(name), "networks", _lines(part, places, "dimension_ratio", "bpp", columns), on))
    coded = runs[select.numbers(runs, "coded_bpp").notna()]
    for (name, quantizer), part in coded.groupby([select.network(coded), "quantizer"], sort=False):
        if part["dimension_ratio"].nunique() >= 3:
            lines = _lines(part, places, "dimension_ratio", "coded_bpp", columns)
            found.append(Series(look(f"{name}, {quantizer}", "dashed"), "networks, quantized", lines, False))
    return found


def _references(
    limits: pd.DataFrame, rows: pd.DataFrame, places: Mapping[str, Sequence[str]], bands: Sequence[str]
) -> list[Series]:
    """The Gaussian limit of each place, and the agreement of edges that another pass would reach."""
    native, limit, floor = select.numbers(rows, "native_bits").mean(), {}, {}
    for place, scenes in places.items():
        for band in bands:
            here = rows[rows["scene"].isin(scenes) & (rows["band"] == band)]
            ends = here["bpp"].agg(["min", "max"]).to_numpy(float)
            curves = limits[(limits["limit"] == "rwf") & limits["scene"].isin(scenes) & (limits["band"] == band)]
            curve = curves[curves["bpp"] > 0].groupby("psnr_db")["bpp"].agg(["mean", "size"])
            curve = curve[curve["size"] == curve["size"].max()]["mean"]
            if len(curve):
                limit[place, band] = Line(
                    {"bpp": list(curve), "cr": list(native / curve)}, {"psnr_db": list(curve.index)}
                )
            if np.isfinite(level := select.numbers(here, "epi_roa_floor").mean()):
                floor[place, band] = Line({"bpp": list(ends), "cr": list(native / ends)}, {"epi_roa": [level, level]})
    looks = Look(LIMIT, MUTED, "", width=1.2, hollow=True, dash=DASHED), Look(FLOOR, MUTED, "", width=1.0, dash=DOTTED)
    return [
        Series(shown, "references", lines, True, True)
        for shown, lines in zip(looks, (limit, floor), strict=True)
        if lines
    ]


def _lines(
    rows: pd.DataFrame, places: Mapping[str, Sequence[str]], key: str, rate: str, columns: Sequence[str]
) -> dict[tuple[str, str], Line]:
    parts = {place: rows[rows["scene"].isin(scenes)] for place, scenes in places.items()}
    bands = ((place, *group) for place, part in parts.items() for group in part.groupby("band", sort=False))
    return {(place, str(band)): line_of(part, key, rate, columns) for place, band, part in bands}


def line_of(rows: pd.DataFrame, key: str, rate: str, columns: Sequence[str]) -> Line:
    """Means over passes at each value of `key`, with intervals; points that lack some of the scenes are left out."""
    columns = [name for name in columns if name in rows]
    groups = [group for _, group in rows.groupby(key) if group["scene"].nunique() == rows["scene"].nunique()]
    bpp = np.array([group[rate].mean() for group in groups])
    x = {"bpp": bpp, "cr": np.array([group["native_bits"].mean() for group in groups]) / bpp}
    if key == "dimension_ratio":
        x["ratio"] = np.array([group[key].iloc[0] for group in groups])
    over = select.passes(rows["acquisition"])
    found = [{name: interval(group[name], over[group.index]) for name in columns} for group in groups]
    kinds = [each for points in found for each in points.values() if each.kind]
    mean, low, high = (
        {name: [float(getattr(points[name], part)) for points in found] for name in columns}
        for part in ("mean", "low", "high")
    )
    over = f"{'95 % interval' if kinds[0].kind == '95 %' else 'range'} over {kinds[0].n} passes" if kinds else ""
    return Line(x, mean, low, high, over)
