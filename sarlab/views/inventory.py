"""Tables about the tables: what their columns mean, and links to them."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import pandas as pd

from sarlab.views import page
from sarlab.views.text import Html

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
