"""The chapter on the guide's claims: every claim with its verdict."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from sarlab.views.claims import OUTCOMES, Verdict, claims
from sarlab.views.claims.verdict import UNMEASURED
from sarlab.views.listing import table
from sarlab.views.text import Html, Prose, listing

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Mark of each outcome: it is read without its color.
MARKS = dict(zip(OUTCOMES, ("✓", "✗", "◐", "?", "–"), strict=True))


def verdicts(tables: Tables) -> dict[int, Verdict]:
    """Verdict of every claim, by its number."""
    return {number: claims[number].judge(tables) for number in sorted(claims)}


def summary(tables: Tables) -> Prose:
    """How many claims held."""
    found = verdicts(tables)
    counts = {outcome: sum(v.outcome == outcome for v in found.values()) for outcome in OUTCOMES}
    judged = len(found) - counts[UNMEASURED]
    parts = [f"{count} {outcome}" for outcome, count in counts.items() if count and outcome != UNMEASURED]
    sentence = f"Of {len(found)} claims this copy of the book can judge {judged}" + (
        f": {listing(parts)}." if parts else "."
    )
    if counts[UNMEASURED]:
        sentence += " The others need experiments that its plan does not have; the table says which."
    return Prose(sentence)


def claims_table(tables: Tables) -> Html:
    """Claim, verdict with what it depends on or what would settle it, figure, interval, evidence."""
    rows = []
    for number, verdict in verdicts(tables).items():
        item = claims[number]
        exists = (tables.root / "chapters" / f"{item.page}.md").is_file()
        link = f'<a href="{item.page}.html">evidence</a>' if exists else "–"
        rows.append(
            [
                str(number),
                f"{html.escape(item.text)}<br><small>measured: {html.escape(item.measured)}</small>",
                f"{MARKS[verdict.outcome]}&nbsp;{html.escape(verdict.outcome)}"
                + (f"<br><small>{html.escape(verdict.because)}</small>" if verdict.because else ""),
                html.escape(verdict.figure)
                + (f"<br><small>{html.escape(verdict.interval)}</small>" if verdict.interval else ""),
                link,
            ]
        )
    headers = ("no.", "the guide says", "verdict", "measured", "")
    return table(headers, rows, caption="The guide's claims and what became of them", left=len(headers), wrap=(1, 2, 3))
