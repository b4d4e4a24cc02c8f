"""What was run, on what, and what the columns mean: the tables behind the figures."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sarlab.views.examples import originals
from sarlab.views.figure import Figure
from sarlab.views.listing import table
from sarlab.views.scenes import gallery
from sarlab.views.speckle import speckle_deviation_db
from sarlab.views.style import architecture_order
from sarlab.views.summary import measured
from sarlab.views.text import Html, Prose, compact, label, listing, missing, number, ratio, significant, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Group of metrics → how a page calls it.
GROUP_NAMES = {
    "fidelity": "fidelity to the recorded image",
    "aggregation": "error after averaging",
    "class": "error by kind of surface",
    "frequency": "error by spatial frequency",
    "reflectivity": "fidelity to the speckle-free scene",
    "looks": "equivalent number of looks",
    "bias": "radiometric bias",
    "edges": "edges",
    "ratio": "ratio image",
    "distribution": "distribution of values",
    "targets": "point targets",
}


def runs_table(tables: Tables) -> Html | Prose:
    """Every run with its page and its result on the first test scene."""
    firsts = _first_rows(tables)
    if firsts.empty:
        return missing("finished runs")
    body = [
        [
            _run_cell(tables, row),
            ratio(row.dimension_ratio),
            number(row.bpp, 2),
            number(row.psnr_db, 2),
            "–" if row.architecture == "klt" else number(row.gain_over_klt_db, 2, sign=True),
            number(row.ssim, 2),
            number(row.epi_roa, 2),
            number(row.bias_db, 2, sign=True),
        ]
        for row in firsts.itertuples()
    ]
    headers = ("run", "ratio", "bit/ pixel", "PSNR (dB)", "over KLT (dB)", "SSIM", "edges kept", "bias (dB)")
    first = firsts.iloc[0]
    return table(headers, body, caption=f"All runs; quality on {first['scene']}, band {first['band']}")


def costs_table(tables: Tables) -> Html | Prose:
    """What every run cost."""
    firsts = _first_rows(tables)
    if firsts.empty:
        return Prose()
    body = [
        [
            _run_cell(tables, row),
            ratio(row.dimension_ratio),
            compact(row.parameters),
            compact(row.macs_per_pixel),
            compact(row.steps),
            significant(row.train_seconds),
            significant(row.encode_mpx_per_s),
            significant(row.decode_mpx_per_s),
            significant(row.peak_memory_mb),
        ]
        for row in firsts.itertuples()
    ]
    headers = [
        *(
            "run",
            "ratio",
            "para\u00admeters",
            "MAC/ pixel",
            "steps",
            "training (s)",
            "encode (Mpx/s)",
            "decode (Mpx/s)",
        ),
        "memory (MB)",
    ]
    return table(headers, body, caption="What every run cost")


def _first_rows(tables: Tables) -> pd.DataFrame:
    """One row per run, of the first test scene and band that were measured, in the order of the architectures."""
    test = measured(tables.runs, split="test")
    firsts = (test if len(test) else tables.runs).drop_duplicates("run_id")
    place = {name: i for i, name in enumerate(architecture_order(firsts["architecture"]))}
    firsts = firsts.assign(_place=firsts["architecture"].map(place), _init=firsts["init"] != "scratch")
    return firsts.sort_values(["_place", "_init", "dimension_ratio", "seed"])


def _run_cell(tables: Tables, row: Any) -> str:
    """Name of a run with a link to its page, where it has one, and its id."""
    run, name = html.escape(str(row.run_id)), html.escape(label(str(row.architecture), str(row.init)))
    if (tables.root / "runs" / f"{row.run_id}.ipynb").is_file():
        name = f'<a href="../runs/{run}.html">{name}</a>'
    return f"{name}<br><small><code>{run}</code></small>"


def costs(tables: Tables) -> Prose:
    """Range of training times and sizes, and the price of the best gain, in a sentence."""
    trained = measured(tables.runs, split="test")
    trained = trained[trained["architecture"] != "klt"].drop_duplicates("run_id")
    if trained.empty:
        return Prose()
    seconds, size = trained["train_seconds"].astype(float), trained["parameters"].astype(float)
    top = trained.loc[trained["gain_over_klt_db"].astype(float).idxmax()]
    return Prose(
        f"{len(trained)} networks of {span(size, compact)} parameters were trained, in {span(seconds)} seconds each and "
        f"{significant(seconds.sum() / 60, 2)} "
        f"minutes together. The largest gain over the KLT, {number(top['gain_over_klt_db'], 2, sign=True)} dB, is that of "
        f"`{top['run_id']}`, which took {significant(top['train_seconds'], 2)} seconds."
    )


def test_scenes(tables: Tables) -> Figure:
    """Recorded test scenes as pictures."""
    pictures = originals(tables)
    if not pictures:
        return Figure.nothing("example pictures")
    lowest = min(clip[0] for _, _, clip in pictures)
    highest = max(clip[1] for _, _, clip in pictures)
    credits = dict.fromkeys(
        str(credit)
        for e in tables.manifest.get("data") or []
        if isinstance(e, dict)
        for credit in e.get("credits") or []
    )
    return gallery(
        pictures, title="The scenes on which every network is judged",
        caption=f"The middle of each test scene at full resolution. Gray covers each band's clip range, within {number(lowest)} to "
        f"{number(highest)} dB. {' '.join(credits)}".strip(),
    )  # fmt: skip


def scenes_table(tables: Tables) -> Html | Prose:
    """Every scene that was measured: its role, its looks, and what a perfect despeckler would score on it."""
    rows = measured_or_reason(tables.runs)
    if rows.empty:
        return missing("measured scenes")
    body = []
    for row in rows.itertuples():
        width = float(row.clip_high) - float(row.clip_low)
        floor = 20 * np.log10(width / speckle_deviation_db(row.looks)) if pd.notna(row.looks) and width > 0 else np.nan
        body.append(
            [
                html.escape(str(row.scene)),
                html.escape(str(row.band)) if pd.notna(row.band) else "–",
                {"independent": "other"}.get(str(row.split), html.escape(str(row.split))),
                number(row.looks, 1),
                number(getattr(row, "enl_reference", np.nan), 1),
                f"{number(row.clip_low, 1)} … {number(row.clip_high, 1)}",
                number(floor, 1),
                html.escape(str(row.acquisition)) if pd.notna(row.acquisition) else "–",
            ]
        )
    headers = [
        *("scene", "band", "role", "looks, nominal", "looks, measured", "clip range (dB)", "speckle floor (dB)"),
        "acquisition",
    ]
    return table(headers, body, caption="Scenes on which every run was measured", left=3)


def measured_or_reason(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per scene and band, those that could not be measured included."""
    return runs.drop_duplicates(["scene", "band"])


def split_note(tables: Tables) -> Prose:
    """How training and test were kept apart, in the words of the split itself."""
    notes = [entry.get("note") for entry in tables.manifest.get("data") or [] if isinstance(entry, dict)]
    notes = [note for note in dict.fromkeys(notes) if note]
    unmeasured = tables.runs[tables.runs["psnr_db"].isna() & tables.runs["reason"].notna()].drop_duplicates("scene")
    reasons = [f"*{row.scene}* was left out: {row.reason}." for row in unmeasured.itertuples()]
    return Prose(*(f"> {note}" for note in notes), *reasons)


def columns_table(tables: Tables) -> Html | Prose:
    """What the metric columns mean, folded by group: unit, direction, domain and source, from the metrics themselves."""
    from sarlab.metrics import metrics
    from sarlab.metrics.columns import GROUPS

    present = [metrics[name] for name in metrics if name in tables.runs or name in tables.codecs]
    present = present or [metrics[name] for name in metrics]
    better = {"higher": "higher is better", "lower": "lower is better", "zero": "0 is perfect", "one": "1 is perfect"}
    groups: dict[str, list[list[str]]] = {}
    rank = {group: i for i, group in enumerate(GROUPS)}
    for metric in sorted(present, key=lambda metric: (rank.get(metric.group, len(rank)), metric.sequence)):
        groups.setdefault(metric.group, []).append(
            [
                f"<code>{html.escape(metric.name)}</code>",
                html.escape(metric.label),
                html.escape("–" if metric.unit == "1" else metric.unit),
                better[metric.better],
                html.escape(metric.domain),
                html.escape(metric.source),
            ]
        )
    headers = ("column", "what", "unit", "direction", "domain", "source")
    parts = [
        f"<details><summary>{html.escape(GROUP_NAMES.get(group, group))} ({len(rows)})</summary>"
        f"{table(headers, rows, caption=f'Columns: {GROUP_NAMES.get(group, group)}', left=len(headers), wrap=(1, 4, 5)).html}</details>"
        for group, rows in groups.items()
    ]
    return Html("".join(parts), f"{len(present)} metric columns")


def downloads(tables: Tables) -> Html | Prose:
    """Links to the published tables."""
    files = sorted((tables.root / "results").glob("*.csv"))
    if not files:
        return missing("published tables")
    names = {
        "runs": "one row per run, scene and band",
        "history": "one row per run and validation",
        "codecs": "one row per codec, quality, scene and band",
        "examples": "index of the example pictures",
    }
    items = "".join(
        f'<li><a href="../results/{html.escape(file.name)}" download><code>{html.escape(file.name)}</code></a> '
        f"({file.stat().st_size / 1000:.0f} kB){': ' + names[file.stem] if file.stem in names else ''}</li>"
        for file in files
    )
    return Html(f"<ul>{items}</ul>", listing(file.name for file in files))


def environment_table(tables: Tables) -> Html | Prose:
    """Hardware and versions of the machines that computed the tables."""
    environments = tables.manifest.get("environments") or []
    if not environments:
        return missing("manifest of published runs")
    names = list(dict.fromkeys(name for e in environments for name in (e.get("versions") or {})))
    rows = [["device", *(html.escape(str(e.get("device") or e.get("processor") or "–")) for e in environments)]]
    rows += [["platform", *(html.escape(str(e.get("platform") or "–")) for e in environments)]]
    rows += [["commit", *(html.escape(str(e.get("commit") or "–")) for e in environments)]]
    rows += [
        [name, *(html.escape(str((e.get("versions") or {}).get(name, "–"))) for e in environments)] for name in names
    ]
    headers = ["", *(f"machine {i}" if len(environments) > 1 else "value" for i in range(1, len(environments) + 1))]
    return table(headers, rows, caption="Where the published numbers were computed", left=len(headers))
