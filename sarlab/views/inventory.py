"""What was run, on what, and what the columns mean: the tables behind the figures."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import pandas as pd

from sarlab.views import page
from sarlab.views.listing import table
from sarlab.views.style import architecture_order
from sarlab.views.summary import measured
from sarlab.views.text import Html, Prose, compact, label, missing, number, ratio, significant, span

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


def columns_table(t: Tables) -> Html:
    """What the metric columns mean, folded by group: unit, direction, domain and source, from the metrics themselves."""
    from sarlab.metrics import metrics
    from sarlab.metrics.columns import GROUPS

    better = {"higher": "higher is better", "lower": "lower is better", "zero": "0 is perfect", "one": "1 is perfect"}
    frame = pd.DataFrame([
        {
            "group": metric.group, "column": f"<code>{metric.name}</code>", "what": html.escape(metric.label),
            "unit": metric.unit.replace("1", "–"), "direction": better[metric.better], "domain": html.escape(metric.domain),
            "source": html.escape(metric.source),
        }
        for metric in sorted((metrics[name] for name in metrics), key=lambda metric: metric.sequence)
        if metric.name in t.runs or metric.name in t.codecs
    ])  # fmt: skip
    parts = []
    for group in [name for name in GROUPS if name in set(frame.get("group", ()))]:
        rows, name = frame[frame["group"] == group].drop(columns="group"), html.escape(GROUP_NAMES.get(group, group))
        shown = page.table(rows, 0, left=6, wrap=["what", "domain", "source"], caption=f"Columns: {name}")
        parts.append(f"<details><summary>{name} ({len(rows)})</summary>{shown.html}</details>")
    return Html("".join(parts), f"{len(frame)} metric columns")


def downloads(t: Tables) -> Html:
    """Links to the tables of the book."""
    files = sorted((t.root / "results").glob("*.csv"))
    items = "".join(
        f'<li><a href="../results/{html.escape(file.name)}" download><code>{html.escape(file.name)}</code></a> '
        f"({file.stat().st_size / 1000:.0f} kB)</li>"
        for file in files
    )
    return Html(f"<ul>{items}</ul>", page.listing(file.name for file in files))
