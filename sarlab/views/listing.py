"""Tables and tiles of computed values as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

from sarlab.views.figure import THEME
from sarlab.views.text import Html


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, left: int = 1, wrap: Sequence[int] = ()
) -> Html:
    """Table that scrolls sideways where the page is narrower.

    Parameters
    ----------
    headers : sequence of str
    rows : sequence of sequences of str
        Ready-made HTML of every cell.
    caption : str
        What the table holds, read out before it.
    left : int
        So many columns hold text and are aligned left; the others hold numbers.
    wrap : sequence of int
        Columns that may be broken into several lines.
    """
    aligned = ["left" if index < left else "right" for index in range(len(headers))]
    head = "".join(f'<th scope="col" style="text-align:{a}">{h}</th>' for h, a in zip(headers, aligned, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{" class=sl-wrap" if i in wrap else ""} style="text-align:{aligned[i]}">{cell}</td>'
            for i, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    label = html.escape(caption, quote=True)
    text = " | ".join(headers)
    return Html(
        f'<div class="sl-table" role="region" aria-label="{label}" tabindex="0" style="{THEME}overflow-x:auto;margin:1em 0">'
        f'<table style="border-collapse:collapse;font-variant-numeric:tabular-nums"><caption style="text-align:left">'
        f"<span>{html.escape(caption)}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>",
        f"{caption}: {text}, {len(rows)} rows",
    )


def tiles(entries: Sequence[tuple[str, str, str, str]]) -> Html:
    """Few numbers, large.

    Parameters
    ----------
    entries : sequence of (value, label, note, link)
        `link` may be empty.
    """
    parts = []
    for value, label, note, link in entries:
        inner = (
            f'<strong class="sl-value">{html.escape(value)}</strong><span class="sl-label">{html.escape(label)}</span>'
            f'<span class="sl-note">{html.escape(note)}</span>'
        )
        parts.append(f'<li><a href="{html.escape(link, quote=True)}">{inner}</a></li>' if link else f"<li>{inner}</li>")
    text = "; ".join(f"{value} {label}" for value, label, _, _ in entries)
    return Html(f'<ul class="sl-tiles" style="{THEME}">{"".join(parts)}</ul>', text)
