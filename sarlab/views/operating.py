"""The chapter on operating points: a panel that recommends, use cases with measured numbers, and what the next step costs."""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.lab.operating_points import (
    TOLERANCE,
    USE_CASES,
    Point,
    Threshold,
    operating_points,
    recommend,
    use_case,
    whole,
)
from sarlab.metrics import metrics
from sarlab.views.codec_rows import name_of
from sarlab.views.listing import table
from sarlab.views.summary import Step, bends, steps
from sarlab.views.text import Html, Prose, listing, missing, number, ratio

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Thresholds that the panel offers: metric, side, label, unit, what the field begins with.
OFFERED = (
    ("psnr_db", "min", "PSNR at least", " dB", 30.0),
    ("epi_roa", "min", "edges kept (EPI) at least", "", 0.8),
    ("bias_db", "max", "bias at most ±", " dB", 0.1),
    ("rmse_k8_db", "max", "error of 8×8 means at most", " dB", 0.3),
)
#: Losses of PSNR for a doubling of the ratio above which a step is called expensive, relative to the one before.
KNEE = 1.5


def points_of(tables: Tables, *, simulated: bool = False) -> list[Point]:
    """Operating points of a book that were measured on all of its scenes."""
    everything = tables.table("codecs_all")
    found = operating_points(tables.runs, everything if len(everything) else tables.codecs, simulated=simulated)
    return whole(found)


def panel(tables: Tables) -> Html | Prose:
    """Fields for thresholds and the furthest point that meets them; works without a kernel."""
    points = points_of(tables)
    if not points:
        return missing("measured operating points")
    data = {
        "points": [_packed(point) for point in points],
        "tolerance": TOLERANCE,
        "metrics": [
            {"name": name, "label": metrics[name].label, "unit": unit, "side": side}
            for name, side, _, unit, _ in OFFERED
        ],
    }
    fields = "".join(
        f'<label>{html.escape(text)} <input type="number" step="any" inputmode="decimal" data-metric="{name}" '
        f'data-side="{side}" value="{start:g}" aria-label="{html.escape(text)}{unit}">{unit}</label>'
        for name, side, text, unit, start in OFFERED
    )
    cases = "".join(
        f"<button type=\"button\" data-limits='{json.dumps({'psnr_db': f'{psnr:g}'})}'>{html.escape(name)}</button>"
        for name, (_, psnr, _) in USE_CASES.items()
    )
    kinds = sorted({point.kind for point in points})
    boxes = "".join(f'<label><input type="checkbox" value="{kind}" checked> {kind}s</label>' for kind in kinds)
    payload = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return Html(
        '<div class="sl-recommend"><form aria-label="Thresholds">'
        f"<fieldset><legend>Keep</legend>{fields}</fieldset><fieldset><legend>Among</legend>{boxes}</fieldset>"
        f"<fieldset><legend>Use cases of the guide</legend>{cases}</fieldset></form>"
        f'<output aria-live="polite"></output><script type="application/json">{payload}</script></div>',
        f"{len(points)} operating points to choose from",
    )


def _packed(point: Point) -> dict[str, object]:
    bounds, means = {}, {}
    for name, side, *_ in OFFERED:
        bound = point.margin(Threshold(name, side, 0.0))
        if np.isfinite(bound):
            bounds[name] = round(bound if side == "min" else -bound, 5)
            means[name] = round(point.mean(name), 5)
    return {
        "kind": point.kind, "series": point.series, "name": point.name, "command": point.command,
        "cr": round(point.cr, 3), "bpp": round(point.bpp, 5), "bounds": bounds, "means": means, "certain": point.certain,
        "lost": [f"{name.partition(' (')[0]} {number(value, 2 if 'dB' in name else 0)} {name[name.rfind('(') + 1:-1]}"
                 for name, value in point.lost().items()],
    }  # fmt: skip


def use_cases(tables: Tables) -> Html | Prose:
    """The guide's table with measured numbers: what its ratio gives, and how far its PSNR lets one go."""
    points = points_of(tables)
    if not points:
        return missing("measured operating points")
    rows = []
    for name, (title, psnr, suggested) in USE_CASES.items():
        chosen = recommend(points, use_case(name)).chosen
        networks = tables.runs
        at = networks[pd.to_numeric(networks["dimension_ratio"], errors="coerce") == suggested]
        best = recommended_psnr(operating_points(at, pd.DataFrame()))
        rows.append(
            [
                html.escape(title),
                f"{ratio(suggested)}, PSNR > {psnr:g} dB",
                f"{number(best)} dB",
                "none measured" if chosen is None else ratio(chosen.cr),
                "–" if chosen is None else html.escape(chosen.name),
            ]
        )
    headers = ("use case", "the guide says", "best network at that ratio", "furthest file with that PSNR", "by")
    return table(
        headers,
        rows,
        caption="Use cases: the guide's numbers and the measured ones, on recorded scenes",
        left=2,
        wrap=(0, 1, 4),
    )


def recommended_psnr(points: list[Point]) -> float:
    """Highest mean PSNR among points."""
    return max((point.mean("psnr_db") for point in points), default=float("nan"))


def by_looks(tables: Tables) -> Html | Prose:
    """Furthest ratio for each use case on simulated scenes of every number of looks."""
    rows = tables.table("reflectivity")
    needed = {"looks", "psnr_db", "bpp", "codec", "target", "target_value", "band"}
    if not needed <= set(rows) or rows.empty:
        return missing("simulated scenes")
    white = rows[rows["correlation"].astype(float) == 0] if "correlation" in rows else rows
    cells = []
    for looks, of_looks in white.groupby("looks"):
        points = operating_points(pd.DataFrame(), of_looks, simulated=True)
        line = [f"{float(looks):g}"]
        for name in USE_CASES:
            chosen = recommend(points, use_case(name)).chosen if points else None
            line.append("none" if chosen is None else f"{ratio(chosen.cr)} {html.escape(name_of(chosen.series))}")
        cells.append(line)
    headers = ("looks", *(f"{title} ({psnr:g} dB)" for title, psnr, _ in USE_CASES.values()))
    caption = (
        "Simulated scenes, white speckle: furthest ratio of the measured codecs for each use case, by number of looks"
    )
    return table(headers, cells, caption=caption)


def curves(tables: Tables) -> Iterator[tuple[str, str, list[Point], list[Step]]]:
    """(kind, series, points, steps of PSNR between them) of every series of three points or more, by rising ratio."""
    series: dict[tuple[str, str], list[Point]] = {}
    for point in points_of(tables):
        series.setdefault((point.kind, point.series), []).append(point)
    for (kind, name), found in series.items():
        if len(found) >= 3:
            found = sorted(found, key=lambda point: point.cr)
            yield kind, name, found, steps([point.cr for point in found], [point.mean("psnr_db") for point in found])


def marginal(tables: Tables) -> Html | Prose:
    """What each doubling of the ratio costs along the curve of every series, and where a knee is."""
    rows = []
    for kind, name, found, along in curves(tables):
        if not along:
            continue
        knee = knee_of([(step.start, step.change) for step in along])
        first, last = along[0], along[-1]
        rows.append(
            [
                html.escape(name_of(name) if kind == "codec" else name),
                f"{ratio(found[0].cr)} to {ratio(found[-1].cr)}",
                f"{number(first.change)} dB",
                f"{number(last.change)} dB",
                ratio(knee) if knee else "none",
            ]
        )
    if not rows:
        return missing("curves of three points or more")
    headers = ("series", "measured", "first doubling", "last doubling", "knee at")
    return table(
        headers, rows, caption="Change of PSNR for each doubling of the compression ratio, and the knee of the curve"
    )


def knee_of(along: list[tuple[float, float]]) -> float | None:
    """Ratio after which a doubling costs `KNEE` times what the one before did, the largest such jump; None without one.

    Parameters
    ----------
    along : list of (ratio, change for a doubling)
        In order of the ratio.
    """
    jumps = [
        (abs(after) / abs(before), start)
        for (_, before), (start, after) in itertools.pairwise(along)
        if before < 0 and after < 0
    ]
    largest = max(jumps, default=(0.0, 0.0))
    return largest[1] if largest[0] > KNEE else None


def text(tables: Tables) -> Prose:
    """What the marginal table says."""
    straight: list[str] = []
    bent: list[str] = []
    for kind, name, _, along in curves(tables):
        if kind != "codec":
            continue
        (bent if bends(along) else straight).append(name_of(name))
    if not straight and not bent:
        return Prose()
    parts = []
    if bent:
        parts.append(f"The price of a doubling changes along the curve of {listing(bent)}.")
    if straight:
        parts.append(f"It stays about the same along that of {listing(straight)}.")
    return Prose(" ".join(parts))
