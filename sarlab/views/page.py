"""What a chapter puts around its figures: formatted numbers glued into prose, tables, tiles, notes."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from sarlab.views.style import name_of
from sarlab.views.text import Html, Prose, compact, listing, number, provenance, ratio, significant, span

__all__ = [
    "Html", "Prose", "compact", "glue", "interval", "listing", "name_of", "note", "number", "provenance", "ratio", "significant", "span",
    "table",
]  # fmt: skip


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
