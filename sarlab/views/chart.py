"""Interactive chart of rate and distortion: axes, scenes and series by choice, drawn by its script without a kernel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from IPython.display import HTML

from sarlab.metrics import metrics
from sarlab.metrics.intervals import interval
from sarlab.views import select
from sarlab.views.style import DASHED, DOTTED, MUTED, Look, look
from sarlab.views.templates import render

if TYPE_CHECKING:
    from sarlab.lab.results import Tables


class Axis(NamedTuple):
    """One direction: column, label with unit, what follows a value, and which values are better."""

    name: str
    label: str
    short: str = ""
    better: str = ""


#: Points of a series: ``x``, ``y``, ``low``, ``high`` by axis, and ``over``, what the interval of y is over.
Line = dict[str, Any]


class Series(NamedTuple):
    """One line of the chart per place and band. `on`: drawn at first; `bound`: a limit, which does not decide the axes."""

    look: Look
    group: str
    lines: Mapping[tuple[str, str], Line]
    on: bool = True
    bound: bool = False


X = (
    Axis("bpp", "bits per pixel of the file", " bpp"),
    Axis("cr", "compression ratio of the file against the product's samples", "× smaller file"),
    Axis("ratio", "values in ÷ values out (networks only)", "× fewer values"),
)
METRICS = (
    "psnr_db", "ssim", "epi_roa", "bias_db", "rmse_db", "rmse_k8_db", "enl_ratio", "targets_kept", "peak_error_db",
)  # fmt: skip
#: Significant digits of a value in the page, and of the ends of its interval.
DIGITS, END_DIGITS = 4, 3
#: Codecs that are drawn beside the networks at first.
FEATURED = (select.FLAGSHIP, "jpeg2000", "hevc12")
#: Rows up to which scenes have an entry of their own in the menu of the codecs.
MOST_ROWS = 2_000
LIMIT, FLOOR = "Gaussian reference", "another pass"
CAPTION = (
    "Point at a marker, or focus the plot and use the arrow keys, to read its values. Bars: 95 % interval over passes, or the "
    "range of fewer than five. Files of networks: latents of float32 as they are, quantized ones range coded. "
    "Gaussian reference: rate of an ideal code of a Gaussian source with the spectrum of the scene, for PSNR alone. "
    "Another pass: agreement of edges that a second recording of the same ground would reach. Means over scenes are those of equal "
    "PSNR for codecs and of equal ratio for networks: compare the two on a single scene."
)


def chart(
    series: Sequence[Series], x: Sequence[Axis], y: Sequence[Axis], places: Sequence[str], bands: Sequence[str], title: str
) -> HTML:  # fmt: skip
    """Chart of series over chosen axes, of which the first are drawn at first; `places` and `bands` are the keys of the lines."""
    groups: dict[str, list[tuple[int, Series]]] = {}
    for i, one in enumerate(series):
        groups.setdefault(one.group, []).append((i, one))
    begun = [group for group, entries in groups.items() if any(one.on for _, one in entries)]
    packed = [{
        "name": one.look.label, "color": one.look.css, "marker": one.look.marker, "hollow": one.look.hollow,
        "width": one.look.width, "dash": one.look.dash, "bound": one.bound,
        "points": [[one.lines.get((place, band)) for band in bands] for place in places],
    } for one in series]  # fmt: skip
    data = {"x": [axis._asdict() for axis in x], "y": [axis._asdict() for axis in y], "series": packed}
    names = ", ".join(one.look.label for one in series)
    return HTML(render(
        "chart", title=title, alt=f"{title}: {names}; {y[0].label} and others over {x[0].label} and others.", data=data,
        caption=CAPTION, groups=groups, begun=begun, rest=[group for group in groups if group not in begun],
        id="sl-" + hashlib.sha256(repr((title, data)).encode()).hexdigest()[:10],
        places=list(enumerate(places)), bands=list(enumerate(bands)), x=[axis[:2] for axis in x], y=[axis[:2] for axis in y],
    ))  # fmt: skip


def interactive(t: Tables, *, networks: bool) -> HTML | None:
    """Chart of all codecs, or of the networks with well-known codecs; the other series can be added."""
    codecs, runs = select.measured(t.codecs, band=None), select.measured(t.runs, band=None)
    rows = pd.concat([part for part in (codecs, runs) if len(part)]) if len(codecs) or len(runs) else codecs
    if rows.empty:
        return None
    places = places_of(rows, alone=networks or len(rows) <= MOST_ROWS)
    bands = [str(band) for band in rows["band"].dropna().unique()]
    columns = [name for name in METRICS if select.numbers(rows, name).notna().any()]
    if networks:  # single scenes first
        places = dict(sorted(places.items(), key=lambda place: len(place[1]) > 1))
    order = codecs.groupby("codec")["bpp"].mean().sort_values().index if len(codecs) else ()
    series = [
        Series(look(name), "codecs", _lines(codecs[codecs["codec"] == name], places, "target_value", "bpp", columns), not networks or name in FEATURED)
        for name in order
    ]  # fmt: skip
    series += _networks(runs, places, columns, networks)
    if networks:
        series.sort(key=lambda one: one.group == "codecs")
    series += _references(t.table("limits", ["limit", "scene", "band", "psnr_db", "bpp"]), rows, places, bands)
    y = [Axis(name, select.label(name), "", metrics[name].better) for name in columns]
    title = f"{'Networks and codecs' if networks else 'Codecs'} by any measure, on any scene"
    return chart(series, X if len(runs) else X[:2], y, list(places), bands, title)


def places_of(rows: pd.DataFrame, *, alone: bool) -> dict[str, list[str]]:
    """Entry of the menu → its scenes: the test scenes, the others together, and each scene `alone`."""
    places = {}
    for split, name in (("test", "test scenes"), ("independent", "other passes")):
        scenes = [str(scene) for scene in rows.loc[rows["split"] == split, "scene"].unique()]
        if scenes:
            places[f"{name}, mean of {len(scenes)}" if len(scenes) > 1 else f"{name[:-1]}: {scenes[0]}"] = scenes
    places = places or {"all scenes": list(rows["scene"].unique())}
    return places | {scene: [scene] for scenes in places.values() if alone and len(scenes) > 1 for scene in scenes}


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
    """The Gaussian reference of each place, and the agreement of edges that another pass would reach."""
    native, limit, floor = select.numbers(rows, "native_bits").mean(), {}, {}
    for place, scenes in places.items():
        for band in bands:
            here = rows[rows["scene"].isin(scenes) & (rows["band"] == band)]
            curves = limits[(limits["limit"] == "rwf") & limits["scene"].isin(scenes) & (limits["band"] == band)]
            curve = curves[curves["bpp"] > 0].groupby("psnr_db")["bpp"].agg(["mean", "size"])
            curve = curve[curve["size"] == curve["size"].max()]["mean"]
            if len(curve):
                limit[place, band] = _line({"bpp": curve, "cr": native / curve}, {"psnr_db": curve.index})
            if np.isfinite(level := select.numbers(here, "epi_roa_floor").mean()):
                ends = here["bpp"].agg(["min", "max"]).to_numpy(float)
                floor[place, band] = _line({"bpp": ends, "cr": native / ends}, {"epi_roa": [level, level]})
    dashed = Look(LIMIT, MUTED, "", hollow=True, width=1.2, dash=DASHED)
    dotted = Look(FLOOR, MUTED, "", width=1.0, dash=DOTTED)
    return [
        Series(drawn, "references", lines, bound=True) for drawn, lines in ((dashed, limit), (dotted, floor)) if lines
    ]


def _lines(
    rows: pd.DataFrame, places: Mapping[str, Sequence[str]], key: str, rate: str, columns: Sequence[str]
) -> dict[tuple[str, str], Line]:
    parts = {place: rows[rows["scene"].isin(scenes)] for place, scenes in places.items()}
    bands = ((place, *group) for place, part in parts.items() for group in part.groupby("band", sort=False))
    return {(place, str(band)): line_of(part, key, rate, columns) for place, band, part in bands}


def line_of(rows: pd.DataFrame, key: str, rate: str, columns: Sequence[str]) -> Line:
    """Means over passes at each value of `key`, with intervals; points that lack some of the scenes are skipped."""
    columns = [name for name in columns if name in rows]
    groups = [group for _, group in rows.groupby(key) if group["scene"].nunique() == rows["scene"].nunique()]
    bpp = np.array([group[rate].mean() for group in groups])
    x = {"bpp": bpp, "cr": np.array([group["native_bits"].mean() for group in groups]) / bpp}
    if key == "dimension_ratio":
        x["ratio"] = np.array([group[key].iloc[0] for group in groups])
    over = select.passes(rows["acquisition"])
    found = {name: [interval(group[name], over[group.index]) for group in groups] for name in columns}
    known = next((point for points in found.values() for point in points if point.kind), None)
    kind = f"{'95 % interval' if known.kind == '95 %' else 'range'} over {known.n} passes" if known else ""
    mean, low, high = ({name: [point[i] for point in points] for name, points in found.items()} for i in range(3))
    return _line(x, mean, low, high, kind)


def _line(x: Mapping[str, Any], y: Mapping[str, Any], low: Any = (), high: Any = (), over: str = "") -> Line:
    parts = {"x": (x, DIGITS), "y": (y, DIGITS), "low": (low, END_DIGITS), "high": (high, END_DIGITS)}
    return {**{part: _rounded(dict(columns), digits) for part, (columns, digits) in parts.items()}, "over": over}


def _rounded(columns: Mapping[str, Any], digits: int) -> dict[str, list[float | None]]:
    """Round values to significant digits, with None for NaN, and leave out columns without a value."""
    known = {name: values for name in columns if np.isfinite(values := np.asarray(columns[name], float)).any()}
    return {name: [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in known[name]] for name in known}
