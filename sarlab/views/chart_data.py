"""From the tables to charts of rate and distortion: networks, codecs and limits on every scene and band."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.metrics import metrics
from sarlab.views import limits as limit_lines
from sarlab.views.chart import Axis, Chart, Line, Series
from sarlab.views.codec_rows import evaluated, looks_of, order_by_rate
from sarlab.views.limit_figures import COMMAND
from sarlab.views.style import MARKERS, MUTED, Look, look_of
from sarlab.views.summary import is_true, main_line, measured, spread
from sarlab.views.text import Prose, label, missing

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

X = (
    Axis("bpp", "bit per pixel of the file", " bpp"),
    Axis("cr", "compression ratio of the file (product ÷ file)", "× smaller file"),
    Axis("ratio", "values in ÷ values out (networks only)", "× fewer values"),
)
#: What is offered upward, where the tables have it.
METRICS = (
    "psnr_db", "ssim", "epi_roa", "bias_db", "rmse_db", "rmse_k8_db", "enl_ratio", "targets_kept", "peak_error_db",
)  # fmt: skip
#: Codecs that are drawn beside the networks at first.
FEATURED = ("jpeg2000", "hevc12", "lapped")
#: Scenes have an entry of their own in the menu, beside the means, while all their rows are no more than this.
MOST_ROWS = 2_000
#: Points of a level line.
STEPS = 9
LIMITS = ("rwf", "scalar", "speckle_floor")
#: What an agreement of edges has to be held against, and what it says.
FLOOR = "noise floor of edges"
FLOOR_MEANING = "Noise floor: what another acquisition of the same ground, with speckle of its own, would score."
STILL = "<p>This chart is drawn by a script. Without one, the fixed figures of this page show the same curves.</p>"
CAPTION = (
    "Point at a marker, or focus the plot and use the arrow keys, to read its values. Bars: 95 % interval over acquisitions (or "
    "over seeds), the range of fewer than five. Networks: size of the file with the numbers of the latent stored at a fixed "
    "length; quantized ones range coded. Limits are known for the PSNR alone. "
)


def codecs_chart(tables: Tables) -> Chart | Prose:
    """Chart of the codecs and their limits; networks can be added."""
    return _chart(tables, "Codecs by any measure, on any scene", networks=False)


def networks_chart(tables: Tables) -> Chart | Prose:
    """Chart of the networks beside well-known codecs and limits; the others can be added."""
    return _chart(tables, "Networks and codecs by any measure, on any scene", networks=True)


def _chart(tables: Tables, title: str, *, networks: bool) -> Chart | Prose:
    codecs, runs = evaluated(tables), measured(tables.runs) if len(tables.runs) else pd.DataFrame()
    if len(codecs) and "simulated" in codecs and not is_true(codecs["simulated"]).all():
        codecs = codecs[~is_true(codecs["simulated"])]
    if codecs.empty and runs.empty:
        return missing("measured runs or codecs", COMMAND)
    rows = (
        pd.concat([codecs, runs], ignore_index=True) if len(codecs) and len(runs) else codecs if len(codecs) else runs
    )
    places = places_of(rows)
    bands = [str(band) for band in pd.unique(rows["band"].dropna())]
    columns = [name for name in METRICS if name in rows and pd.to_numeric(rows[name], errors="coerce").notna().any()]
    y = [Axis(name, _labelled(name), "", metrics[name].better) for name in columns]
    groups = [
        list(network_series(runs, places, columns, on=networks)),
        list(codec_series(codecs, places, columns, on=None if not networks else FEATURED)),
        [*limit_series(tables.table("limits"), rows, places, bands), *floor_series(rows, places, bands, columns)],
    ]
    if not networks:
        groups = [groups[1], groups[0], groups[2]]
    series = [one for group in groups for one in group]
    x = X if any(one.group.startswith("networks") for one in series) else X[:2]
    bounds = [one.look.label for one in groups[2]]
    caption = CAPTION + (limit_lines.meaning(LIMITS) if limit_lines.NAMES[LIMITS[0]][0] in bounds else "")
    caption = f"{caption} {FLOOR_MEANING}" if FLOOR in bounds else caption.strip()
    return Chart(series, x=x, y=y, places=list(places), bands=bands, title=title, caption=caption, still=STILL)


def _labelled(name: str) -> str:
    metric = metrics[name]
    return metric.label if metric.unit == "1" else f"{metric.label} ({metric.unit})"


def places_of(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Entry of the menu → its scenes: the test scenes, the others together, and each scene alone where they are few."""
    splits = {
        str(split): [str(s) for s in pd.unique(part["scene"])] for split, part in rows.groupby("split", sort=False)
    }
    places = {}
    for split, words in (("test", "test scenes"), ("independent", "other acquisitions")):
        scenes = splits.get(split, [])
        if len(scenes) == 1:
            places[f"{words.removesuffix('s')}: {scenes[0]}"] = scenes
        elif scenes:
            places[f"{words}, mean of {len(scenes)}"] = scenes
    if not places:
        places["all scenes"] = [scene for scenes in splits.values() for scene in scenes]
    alone = {scene: [scene] for scenes in places.values() if len(scenes) > 1 for scene in scenes}
    return places | (alone if len(rows) <= MOST_ROWS else {})


def codec_series(
    rows: pd.DataFrame, places: Mapping[str, Sequence[str]], columns: Sequence[str], on: Sequence[str] | None = None
) -> Iterator[Series]:
    """One series per codec, those that need the fewest bits first; `on` names those drawn at first (default: all)."""
    if rows.empty:
        return
    looks = looks_of(rows)
    for codec in order_by_rate(rows, list(looks)):
        lines = _lines(rows[rows["codec"] == codec], places, "target_value", "bpp", columns)
        yield Series(looks[codec], "codecs", lines, on is None or codec in on)


def network_series(
    rows: pd.DataFrame, places: Mapping[str, Sequence[str]], columns: Sequence[str], *, on: bool
) -> Iterator[Series]:
    """One series per architecture and start as in the fixed figures, and one per quantizer with three ratios or more."""
    if rows.empty:
        return
    main = main_line(rows)
    names = list(main["architecture"].unique())
    order = {name: i for i, name in enumerate(dict.fromkeys(["klt", *names]))}
    for (architecture, init), part in sorted(
        main.groupby(["architecture", "init"]), key=lambda item: (order[item[0][0]], item[0][1])
    ):
        lines = _lines(part, places, "dimension_ratio", "bpp", columns)
        yield Series(look_of(architecture, init, names), "networks", lines, on)
    coded = rows.dropna(subset=["coded_bpp"]) if "coded_bpp" in rows else rows.iloc[:0]
    if "quantizer" not in coded:
        return
    kept = coded.groupby(["architecture", "init", "quantizer"], sort=False)["dimension_ratio"].transform("nunique") >= 3
    for place, ((architecture, init, quantizer), part) in enumerate(
        coded[kept].groupby(["architecture", "init", "quantizer"], sort=False)
    ):
        color = look_of(architecture, init, names).color
        look = Look(f"{label(architecture, init).partition(',')[0]}, {quantizer}", color, MARKERS[place % 5], True, 1.2)
        yield Series(look, "networks, quantized", _lines(part, places, "dimension_ratio", "coded_bpp", columns), False)


def limit_series(
    table: pd.DataFrame, rows: pd.DataFrame, places: Mapping[str, Sequence[str]], bands: Sequence[str]
) -> Iterator[Series]:
    """Limits of every place, for the PSNR; the floor goes along the rates of the first of them."""
    native = pd.to_numeric(rows["native_bits"], errors="coerce").mean() if "native_bits" in rows else np.nan
    split_of = rows.drop_duplicates("scene").set_index("scene")["split"].astype(str)
    for limit, look in zip(LIMITS, limit_lines.looks(LIMITS), strict=True):
        lines = {}
        for place, scenes in places.items():
            for band in bands:
                one = scenes[0] if len(scenes) == 1 else None
                found = limit_lines.selected(table, scene=one, band=band, split=split_of.get(scenes[0], "test"))
                floor = limit == "speckle_floor"
                points = limit_lines.line(found, LIMITS[0] if floor else limit)
                psnr = points["psnr_db"].astype(float).to_numpy() if len(points) else np.empty(0)
                if floor:
                    psnr = np.full(len(points), limit_lines.value(found, limit, "psnr_db"))
                if np.isfinite(psnr).any():
                    rate = points["bpp"].astype(float).to_numpy()
                    lines[place, band] = Line({"bpp": rate, "cr": list(native / rate)}, {"psnr_db": list(psnr)})
        if lines:
            yield Series(look, "limits", lines, True, True)


def floor_series(
    rows: pd.DataFrame, places: Mapping[str, Sequence[str]], bands: Sequence[str], columns: Sequence[str]
) -> Iterator[Series]:
    """Noise floors of the measures of edges, along all rates and ratios that were measured."""
    measures = [name for name in columns if f"{name}_floor" in rows]
    lines = {}
    for place, scenes in places.items():
        for band in bands:
            here = rows[rows["scene"].isin(scenes) & (rows["band"] == band)]
            floors = {name: _numbers(here, f"{name}_floor") for name in measures}
            known = {name: float(np.nanmean(values)) for name, values in floors.items() if np.isfinite(values).any()}
            if known:
                x = {
                    axis: _along(_numbers(here, column))
                    for axis, column in (("bpp", "bpp"), ("ratio", "dimension_ratio"))
                }
                x["cr"] = np.nanmean(_numbers(here, "native_bits")) / x["bpp"]
                lines[place, band] = Line(
                    {axis: list(values) for axis, values in x.items()},
                    {name: [value] * STEPS for name, value in known.items()},
                )
    if lines:
        yield Series(Look(FLOOR, MUTED, "", hollow=True, width=1.0, dotted=True), "limits", lines, True, True)


def _along(values: np.ndarray) -> np.ndarray:
    """Steps of one factor from the least to the greatest of some numbers; NaN where there are none."""
    known = values[np.isfinite(values) & (values > 0)]
    return np.geomspace(known.min(), known.max(), STEPS) if len(known) else np.full(STEPS, np.nan)


def _lines(
    rows: pd.DataFrame, places: Mapping[str, Sequence[str]], key: str, rate: str, columns: Sequence[str]
) -> dict[tuple[str, str], Line]:
    lines = {}
    for place, scenes in places.items():
        part = rows[rows["scene"].isin(scenes)]
        for band, of_band in part.groupby("band", sort=False):
            if len(of_band):
                lines[place, str(band)] = line_of(of_band, key, rate, columns)
    return lines


def line_of(rows: pd.DataFrame, key: str, rate: str, columns: Sequence[str]) -> Line:
    """Means over scenes at each value of `key`, with intervals; points that lack some of the scenes are left out.

    Parameters
    ----------
    rows : DataFrame
        Of one series, place and band.
    key : str
        Column that tells the points of a line apart.
    rate : str
        Column with bit per pixel.
    columns : sequence of str
        Metrics.
    """
    present = [name for name in columns if name in rows]
    values = np.column_stack([_numbers(rows, name) for name in present])
    keys, bits, native = (_numbers(rows, name) for name in (key, rate, "native_bits"))
    scenes, acquisitions = (rows[name].astype(str).to_numpy() for name in ("scene", "acquisition"))
    seeds = rows["seed"].astype(str).to_numpy() if "seed" in rows else np.full(len(rows), "")
    of_point = [keys == value for value in np.unique(keys[np.isfinite(keys)])]
    count = len(set(scenes))
    of_point = [here for here in of_point if len(set(scenes[here])) == count]
    rates = np.array([bits[here].mean() for here in of_point])
    x = {"bpp": rates, "cr": np.array([native[here].mean() for here in of_point]) / rates}
    if key == "dimension_ratio":
        x["ratio"] = np.array([keys[here][0] for here in of_point])
    found = [[spread(v, acquisitions[here], seeds[here]) for v in values[here].T] for here in of_point]
    over = next((words for points in found for _, words in points if words), "")

    def column(part: str) -> dict[str, list[float]]:
        return {name: [getattr(points[i][0], part) for points in found] for i, name in enumerate(present)}

    return Line(x, column("mean"), column("low"), column("high"), over)


def _numbers(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Column as floats; NaN where it is missing."""
    if name not in rows:
        return np.full(len(rows), np.nan)
    return pd.to_numeric(rows[name], errors="coerce").to_numpy(float)
