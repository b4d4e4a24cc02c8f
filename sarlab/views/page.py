"""The parts of a page beside its figures: tables, notes, links, and formatted numbers that are glued into prose."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sarlab.views.style import compact, listing, name_of, number, ratio, significant, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

__all__ = [
    "Html", "Prose", "columns_table", "compact", "downloads", "glue", "interval", "listing", "name_of", "note",
    "number", "provenance", "ratio", "significant", "span", "table",
]  # fmt: skip


class Prose:
    """Markdown that a chapter's cell shows."""

    def __init__(self, *paragraphs: str):
        self.text = "\n\n".join(paragraph for paragraph in paragraphs if paragraph)

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


class Html:
    """HTML that a chapter's cell shows, with a plain version of it."""

    def __init__(self, html: str, text: str = ""):
        self.html, self.text = html, text

    def __repr__(self) -> str:
        return self.text or "<HTML>"

    def _repr_html_(self) -> str:
        return self.html


def provenance(manifest: Mapping[str, Any]) -> Prose:
    """Where the numbers come from: plan, hardware, versions, commit, date, as far as the manifest tells.

    Parameters
    ----------
    manifest : mapping
        ``tables().manifest``: plan, published, runs, missing, devices, environments (versions, commit).
    """
    if not manifest:
        return Prose()
    environments = manifest.get("environments") or []
    devices = manifest.get("devices") or [str(e.get("device") or e.get("processor") or "") for e in environments]
    versions = [e.get("versions") or {} for e in environments]
    stacks = {", ".join(f"{n} {v[n]}" for n in ("sarlab", "python", "torch", "numpy") if n in v) for v in versions}
    commits = {str(e["commit"]) for e in environments if e.get("commit")}
    missing_runs = manifest.get("missing")
    parts = [
        f"plan *{manifest['plan']}*" if manifest.get("plan") else "",
        f"{manifest['runs']} runs{f', {missing_runs} not finished' if missing_runs else ''}"
        if manifest.get("runs")
        else "",
        f"computed on {listing(dict.fromkeys(filter(None, devices)))}" if any(devices) else "",
        *sorted(filter(None, stacks)),
        f"commit {listing(sorted(commits))}" if commits else "",
        str(manifest.get("published") or ""),
    ]
    return Prose(f"*Where these numbers come from: {'; '.join(part for part in parts if part)}.*")


def glue(**values: str) -> None:
    """Make texts available to the prose of a chapter, where the role ``glue:text`` inserts each by its name.

    Parameters
    ----------
    values
        Name → text, formatted by `number`, `ratio`, `interval` …, so that a missing value reads "–".
    """
    from myst_nb import glue as store

    for name, text in values.items():
        store(name, str(text), display=False)


def interval(found: Any, digits: int = 1, *, unit: str = "", sign: bool = False, over: bool = True) -> str:
    """Mean with its interval and what it is over: ``"30.1 dB (29.2 to 31.0, range of 3 passes)"``.

    Parameters
    ----------
    found : row of `sarlab.views.select.means`, table of which the first row counts, Interval, or None
    digits : int
    unit : str
        Follows the mean.
    sign : bool
    over : bool
        State what the interval is and over how many observations; False for cells of a table whose caption does.
    """
    if isinstance(found, pd.DataFrame):
        found = found.iloc[0] if len(found) else None
    if isinstance(found, pd.Series):
        found = SimpleNamespace(**found)
    if found is None or not np.isfinite(found.mean):
        return "–"
    mean = number(found.mean, digits, sign=sign) + (f"\u00a0{unit}" if unit else "")
    if not found.kind and not over:
        return mean
    if not found.kind:
        return f"{mean} (one {'seed' if getattr(found, 'over', '') == 'seeds' else 'pass'})"
    ends = f"{number(found.low, digits, sign=sign)} to {number(found.high, digits, sign=sign)}"
    if not over:
        return f"{mean} ({ends})"
    count = f"{found.n:.0f} {getattr(found, 'over', 'passes')}"
    return f"{mean} ({ends}, {'95 % interval over' if found.kind == '95 %' else 'range of'} {count})"


def note(text: str, unless: Any = False) -> Prose | None:
    """Note at the head of a page about what its tables lack; nothing where `unless` is true or a table with rows."""
    has = len(unless) > 0 if hasattr(unless, "__len__") else bool(unless)
    return None if has else Prose(f":::{{note}}\n{text}\n:::")


def table(
    frame: pd.DataFrame, digits: Mapping[str, int | Callable[[Any], str]] | int = 2, *, caption: str, left: int = 1,
    wrap: Sequence[str] = (), search: bool = False,
) -> Html:  # fmt: skip
    """Table of a chapter: numbers on the right with a true minus sign, a dash for what is missing.

    Parameters
    ----------
    frame : DataFrame
        Column names are the headers. Text may hold HTML.
    digits : int or mapping of column to int or callable
        Decimals, or what turns a value into text.
    caption : str
        What the table holds: scenes, n, unit.
    left : int
        Number of leading columns that are aligned left.
    wrap : sequence of str
        Columns whose text may be broken into several lines.
    search : bool
        A field above the table that hides the rows that lack one of the words typed, and a table of limited height.
    """

    def text(name: str, value: Any) -> str:
        form = digits if isinstance(digits, int) else digits.get(name, 2)
        if callable(form):
            return form(value)
        if value is None or (isinstance(value, float) and not np.isfinite(value)):
            return "–"
        return number(float(value), form) if isinstance(value, (int, float, np.number)) else str(value)

    aligned = ["left" if i < left else "right" for i in range(frame.shape[1])]
    head = "".join(f'<th scope="col" style="text-align:{a}">{n}</th>' for a, n in zip(aligned, frame, strict=True))
    body = ""
    for row in frame.itertuples(index=False):
        cells = zip(aligned, frame, row, strict=True)
        body += "<tr>" + "".join(
            f'<td{" class=sl-wrap" if n in wrap else ""} style="text-align:{a}">{text(n, v)}</td>' for a, n, v in cells
        ) + "</tr>"  # fmt: skip
    name = html.escape(caption, quote=True)
    field = f'<p><input type="search" class="sl-search" aria-label="Filter: {name}" placeholder="filter: words or numbers" oninput="{_FILTER}"></p>'
    return Html(
        f'{field if search else ""}<div class="sl-table{" sl-long" if search else ""}" role="region" aria-label="{name}" tabindex="0"><table><caption><span>{name}</span></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
        f"{caption}: {len(frame)} rows",
    )


#: Hides the rows of the table after the field that lack one of its words.
_FILTER = (
    "const w=this.value.toLowerCase().split(/\\s+/);for(const r of this.parentNode.nextElementSibling.querySelector('table').tBodies[0].rows)"
    "r.hidden=!w.every(x=>r.textContent.toLowerCase().includes(x))"
)


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
        shown = table(rows, 0, left=6, wrap=["what", "domain", "source"], caption=f"Columns: {name}")
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
    return Html(f"<ul>{items}</ul>", listing(file.name for file in files))
