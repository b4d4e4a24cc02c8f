"""The panel that recommends an operating point: thresholds in, the highest measured ratio out, without a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from IPython.display import HTML

from sarlab.lab.operating_points import (
    CODEC_KEYS,
    LOST,
    NETWORK_KEYS,
    TOLERANCE,
    USE_CASES,
    Point,
    Threshold,
    operating_points,
    use_case,
    whole,
)
from sarlab.metrics import metrics
from sarlab.views import select
from sarlab.views.style import name_of, number
from sarlab.views.templates import render

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Thresholds that the panel offers: metric, side, label, unit, initial value.
OFFERED = (
    ("psnr_db", "min", "PSNR at least", " dB", 30.0),
    ("epi_roa", "min", "edges kept (EPI) at least", "", 0.8),
    ("bias_db", "max", "bias at most ±", " dB", 0.1),
    ("rmse_k8_db", "max", "error of 8×8 means at most", " dB", 0.3),
)


#: Columns that a point needs: wide tables are slow to select from.
COLUMNS = (
    *NETWORK_KEYS, *CODEC_KEYS, *LOST, *(name for name, *_ in OFFERED), "run_id", "family", "scene", "band", "acquisition",
    "simulated", "pixels", "native_bits", "bpp", "coded_bpp", "targets",
)  # fmt: skip


def points_of(runs: pd.DataFrame, codecs: pd.DataFrame, *, simulated: bool = False) -> list[Point]:
    """Operating points that were measured on all scenes, the highest ratio first; an observation is a satellite pass."""
    rows = [part[[name for name in dict.fromkeys(COLUMNS) if name in part]] for part in (runs, codecs)]
    rows = [part.assign(acquisition=select.passes(part["acquisition"])) if len(part) else part for part in rows]
    return whole(operating_points(*rows, simulated=simulated))


def furthest(points: list[Point]) -> pd.DataFrame:
    """The highest ratio for the PSNR of each use case of the guide: ``case``, ``wanted`` (dB), ``ratio``, ``by``."""
    rows = []
    for name, (title, psnr, _) in USE_CASES.items():
        chosen = next((point for point in points if not point.missed(use_case(name))), None)  # the highest ratio first
        by = chosen.name.replace(chosen.series, name_of(chosen.series)) if chosen else "–"
        rows.append((title, psnr, chosen.cr if chosen else np.nan, by))
    return pd.DataFrame(rows, columns=["case", "wanted", "ratio", "by"])


def panel(t: Tables) -> HTML | None:
    """Fields for thresholds and the furthest point that meets them."""
    points = points_of(t.runs, t.codecs)
    if not points:
        return None
    data = {
        "points": [_packed(point) for point in points], "tolerance": TOLERANCE,
        "metrics": [{"name": n, "label": metrics[n].label, "unit": unit, "side": side} for n, side, _, unit, _ in OFFERED],
    }  # fmt: skip
    kinds = sorted({point.kind for point in points})
    return HTML(render("recommend", data=data, offered=OFFERED, kinds=kinds, cases=USE_CASES))


def _packed(point: Point) -> dict[str, object]:
    bounds, means = {}, {}
    for name, side, *_ in OFFERED:
        bound = point.margin(Threshold(name, side, 0.0))
        if np.isfinite(bound):
            bounds[name], means[name] = round(bound if side == "min" else -bound, 5), round(point.mean(name), 5)
    lost = [f"{name.partition(' (')[0]} {number(value, 2 if 'dB' in name else 0)} {name[name.rfind('(') + 1 : -1]}" for name, value in point.lost().items()]  # fmt: skip
    return {
        "kind": point.kind, "series": point.series, "name": point.name.replace(point.series, name_of(point.series)), "command": point.command, "cr": round(point.cr, 3),
        "bpp": round(point.bpp, 5), "bounds": bounds, "means": means, "certain": point.certain.replace("acquisitions", "passes").replace("acquisition", "pass"), "lost": lost,
    }  # fmt: skip
