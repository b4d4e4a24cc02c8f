"""Sentences around computed numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np


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


def number(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """Number for people: fixed digits, a true minus sign, an explicit plus where `sign`; a dash for NaN and None."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{abs(value):.{digits}f}"
    negative = value < 0 and float(text) != 0
    return ("\u2212" if negative else "+" if sign and float(text) != 0 else "") + text


def ratio(value: float) -> str:
    """Compression ratio: 16×, 3.5×."""
    return f"{value:.0f}×" if np.isclose(value, round(value), atol=0.05) else f"{value:.1f}×"


def significant(value: float, digits: int = 3) -> str:
    """Number with significant digits and thousands separated by thin spaces: 1 234 000, 0.0123."""
    if value is None or not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    # In scientific notation a value that is rounded up to the next power of ten carries its new exponent.
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    rounded = round(value, digits - 1 - exponent)
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}".replace(",", "\u202f").replace("-", "\u2212")


def compact(value: float) -> str:
    """Large number in three digits: 420 k, 1.23 M."""
    if value is None or not np.isfinite(value):
        return "–"
    for size, mark in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{significant(value / size)}\u202f{mark}"
    return significant(value)


def span(values: Iterable[float], form: Callable[[float], str] = significant) -> str:
    """``a to b``, or ``a`` where both read the same."""
    values = [value for value in values if np.isfinite(value)]
    low, high = (form(min(values)), form(max(values))) if values else ("–", "–")
    return low if low == high else f"{low} to {high}"


def listing(items: Iterable[str]) -> str:
    """``a, b and c``."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


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
