"""The parts of a page beside its figures: tables, notes, links, and formatted numbers that are glued into prose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from sarlab.views.style import compact, listing, name_of, number, ratio, significant, span
from sarlab.views.templates import render

__all__ = [
    "HTML", "Markdown", "compact", "glue", "interval", "listing", "name_of", "note", "number", "provenance", "ratio",
    "significant", "span", "table",
]  # fmt: skip


def provenance(manifest: Mapping[str, Any]) -> Markdown:
    """State plan, hardware, versions, commit and date of the manifest of the tables, as far as it has them."""
    environments = manifest.get("environments") or []
    devices = manifest.get("devices") or [str(e.get("device") or e.get("processor") or "") for e in environments]
    versions = [e.get("versions") or {} for e in environments]
    stacks = {", ".join(f"{n} {v[n]}" for n in ("sarlab", "python", "torch", "numpy") if n in v) for v in versions}
    devices = listing(dict.fromkeys(filter(None, devices)))
    commits = listing(sorted({str(e["commit"]) for e in environments if e.get("commit")}))
    missing = f", {manifest['missing']} not finished" if manifest.get("missing") else ""
    parts = [
        f"plan *{manifest['plan']}*" if manifest.get("plan") else "",
        f"{manifest['runs']} runs{missing}" if manifest.get("runs") else "",
        f"computed on {devices}" if devices else "", *sorted(stacks), f"commit {commits}" if commits else "", str(manifest.get("published") or ""),
    ]  # fmt: skip
    stated = "; ".join(filter(None, parts))
    return Markdown(f"*Where these numbers come from: {stated}.*" if stated else "")


def glue(**values: str) -> None:
    """Make each text available to the prose of a chapter, where the role ``glue:text`` inserts it by its name."""
    from myst_nb import glue as store

    for name, text in values.items():
        store(name, str(text), display=False)


def interval(found: Any, digits: int = 1, *, unit: str = "", sign: bool = False, over: bool = True) -> str:
    """Mean with its interval and what it is over: ``"30.1 dB (29.2 to 31.0, range of 3 passes)"``.

    Parameters
    ----------
    found : row of `sarlab.views.select.means` or mapping like it, table of which the first row counts, named tuple, or None
    digits : int
    unit : str
        Follows the mean.
    sign : bool
    over : bool
        State what the interval is and over how many observations; False for cells of a table whose caption does.
    """
    if isinstance(found, pd.DataFrame):
        found = found.iloc[0] if len(found) else None
    point = found._asdict() if hasattr(found, "_asdict") else {} if found is None else dict(found)
    if not np.isfinite(point.get("mean", np.nan)):
        return "–"
    mean = number(point["mean"], digits, sign=sign) + (f"\u00a0{unit}" if unit else "")
    counted = point.get("over", "passes")
    if not point["kind"]:
        return f"{mean} (one {'seed' if counted == 'seeds' else 'pass'})" if over else mean
    low, high = (number(point[end], digits, sign=sign) for end in ("low", "high"))
    kind = "95 % interval over" if point["kind"] == "95 %" else "range of"
    return f"{mean} ({low} to {high}, {kind} {point['n']:.0f} {counted})" if over else f"{mean} ({low} to {high})"


def note(text: str, unless: Any = False) -> Markdown | None:
    """Note at the head of a page about what its tables lack; nothing where `unless` is true or a table with rows."""
    has = len(unless) > 0 if hasattr(unless, "__len__") else bool(unless)
    return None if has else Markdown(f":::{{note}}\n{text}\n:::")


def table(
    frame: pd.DataFrame, digits: Mapping[str, int | Callable[[Any], str]] | int = 2, *, caption: str, left: int = 1,
    wrap: Sequence[str] = (), search: bool = False, markup: Sequence[str] = (),
) -> HTML:  # fmt: skip
    """Table of a chapter: numbers on the right with a true minus sign, a dash for what is missing; without rows, nothing.

    Parameters
    ----------
    frame : DataFrame
        Column names are the headers.
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
    markup : sequence of str
        Columns whose text is HTML; that of others, which names of foreign scenes may stand in, is escaped.
    """

    def text(column: str, value: Any) -> str:
        form = digits if isinstance(digits, int) else digits.get(column, 2)
        if callable(form):
            return form(value)
        if isinstance(value, (int, float, np.number)):
            return number(float(value), form)
        return "–" if value is None else str(value)

    if frame.empty:
        return HTML("")
    rows = [[text(*cell) for cell in zip(frame, row, strict=True)] for row in frame.itertuples(index=False)]
    options = {"left": left, "wrap": wrap, "caption": caption, "search": search, "markup": markup}
    return HTML(render("table", rows=rows, columns=list(frame), **options))
