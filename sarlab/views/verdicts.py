"""The chapter on the guide's claims: every claim with its verdict."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sarlab.views.claims import OUTCOMES, Verdict, claims
from sarlab.views.claims.verdict import DEPENDS, OPEN, UNMEASURED
from sarlab.views.text import Html, Prose, listing

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Mark of each outcome: it is read without its color.
MARKS = dict(zip(OUTCOMES, ("✓", "✗", "◐", "?", "–"), strict=True))


def verdicts(tables: Tables) -> dict[int, Verdict]:
    """Verdict of every claim, by its number."""
    return {number: claims[number].judge(tables) for number in sorted(claims)}


def summary(found: Mapping[int, Verdict]) -> Prose:
    """How many claims held."""
    counts = {outcome: sum(v.outcome == outcome for v in found.values()) for outcome in OUTCOMES}
    judged = len(found) - counts[UNMEASURED]
    parts = [f"{count} {outcome}" for outcome, count in counts.items() if count and outcome != UNMEASURED]
    sentence = f"Of {len(found)} claims this copy of the book can judge {judged}" + (
        f": {listing(parts)}." if parts else "."
    )
    if counts[UNMEASURED]:
        sentence += " The others need experiments that its plan does not have; the table says which."
    return Prose(sentence)


def overview(found: Mapping[int, Verdict]) -> Html:
    """Which claims became what, each with a link to its entry of `claims_list`."""
    parts = []
    for outcome in OUTCOMES:
        links = [f'<a href="#claim-{n}">{n}</a>' for n, verdict in found.items() if verdict.outcome == outcome]
        if links:
            parts.append(f"<li>{MARKS[outcome]} <strong>{html.escape(outcome)}</strong>: {', '.join(links)}</li>")
    return Html(f'<ul class="sl-outcomes">{"".join(parts)}</ul>', "Claims by their verdict")


def claims_list(found: Mapping[int, Verdict], root: Path) -> Html:
    """Every claim with its verdict, what that depends on or what would settle it, figure, interval and evidence."""
    entries = []
    for number, verdict in found.items():
        item = claims[number]
        exists = (root / "chapters" / f"{item.page}.md").is_file()
        lines = [
            f"<p><strong>{html.escape(item.text)}</strong></p>",
            f"<p>{html.escape(verdict.figure)}</p>",
            f'<p class="sl-quiet">{html.escape(verdict.interval)}</p>' if verdict.interval else "",
            _reasons(verdict),
            f'<p class="sl-quiet">How: {html.escape(item.measured)}'
            + (f'. <a href="{item.page}.html">Evidence</a>' if exists else "")
            + "</p>",
        ]
        entries.append(
            f'<li id="claim-{number}"><p class="sl-outcome">{number} <br><span>{MARKS[verdict.outcome]} '
            f"{html.escape(verdict.outcome)}</span></p><div>{''.join(lines)}</div></li>"
        )
    return Html(
        f'<ol class="sl-claims">{"".join(entries)}</ol>', f"{len(entries)} claims of the guide and what became of them"
    )


def _reasons(verdict: Verdict) -> str:
    """What it depends on, or what would settle it, one line for each outcome of a reading."""
    if not verdict.because:
        return ""
    lines = "".join(f"<li>{html.escape(part)}</li>" for part in verdict.because)
    head = {DEPENDS: "It depends on what is asked:", OPEN: "What is open:"}.get(verdict.outcome, "")
    return f"<p>{head}</p><ul>{lines}</ul>"
