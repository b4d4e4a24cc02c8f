"""What the curves say, in sentences computed from the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sarlab.views.style import architecture_order
from sarlab.views.summary import (
    SERIES_KEYS,
    bands,
    bends,
    curve,
    main_line,
    measured,
    per_doubling,
    reference_ratio,
    steps,
)
from sarlab.views.text import Prose, label, listing, missing, number, ratio


def shown(runs: pd.DataFrame, *, band: str | None = None) -> Prose:
    """What the rate-distortion figure shows."""
    if measured(runs).empty:
        return missing("finished runs")
    band = band or bands(runs)[0]
    rows = main_line(measured(runs, band=band, split="test"))
    return Prose("\n".join(f"- {line}" for line in [*slope(rows), *gains(rows), *order(rows)]))


def slope(rows: pd.DataFrame) -> list[str]:
    """The price of a doubling of the ratio, and how straight the curves are."""
    points = curve(rows, "psnr_db")
    ratios = np.sort(points["dimension_ratio"].unique())
    if len(ratios) < 2:
        return []
    slopes: dict[str, float] = {}
    bend = 0.0
    for (architecture, init), line in points.groupby(list(SERIES_KEYS)):
        if len(line) < 2:
            continue
        x, y = np.log2(line["dimension_ratio"]), line["mean"]
        slopes[label(architecture, init)] = per_doubling(line["dimension_ratio"], y)
        bend = max(bend, float(np.abs(np.polyval(np.polyfit(x, y, 1), x) - y).max()))
    low, high = min(slopes, key=lambda k: abs(slopes[k])), max(slopes, key=lambda k: abs(slopes[k]))
    price = f"{number(-slopes[low], 2)} dB ({low}) to {number(-slopes[high], 2)} dB ({high})"
    if number(slopes[low], 2) == number(slopes[high], 2):
        price = f"{number(-slopes[low], 2)} dB"
    middle = points.groupby("dimension_ratio")["mean"].median()
    found = steps(list(middle.index), list(middle))
    if bends(found):
        first, last = found[0], found[-1]
        text = (
            f"**The first doubling costs {number(-first.change)} dB ({ratio(first.start)} to {ratio(first.end)}), the last "
            f"{number(-last.change)} dB ({ratio(last.start)} to {ratio(last.end)})**. On average over all ratios it is {price}."
        )
    else:
        text = f"**Each doubling of the ratio costs {price}** between {ratio(ratios[0])} and {ratio(ratios[-1])}."
    if len(ratios) > 2:
        text += f" The curves leave a straight line over the logarithm of the ratio by up to {number(bend, 2)} dB."
    rises = [
        label(architecture, init)
        for (architecture, init), line in points.groupby(list(SERIES_KEYS))
        if (np.diff(line.sort_values("dimension_ratio")["mean"]) > 0).any()
    ]
    text += f" Not monotone: {listing(rises)}." if rises else " Every curve falls with the ratio throughout."
    return [text]


def gains(rows: pd.DataFrame) -> list[str]:
    """Where networks stand against the KLT with the same latent, by initialization."""
    points = curve(rows[rows["architecture"] != "klt"], "gain_over_klt_db")
    lines = []
    for init, who in (("klt", "Networks that start from the KLT"), ("scratch", "Networks trained from scratch")):
        mine = points[points["init"] == init]
        if mine.empty:
            continue
        above = int((mine["mean"] > 0).sum())
        low, high = mine.loc[mine["mean"].idxmin()], mine.loc[mine["mean"].idxmax()]
        if number(low["mean"], 2) == number(high["mean"], 2) == "0.00":
            lines.append(f"**{who} are level with the KLT**, to a hundredth of a decibel.")
            continue
        lines.append(
            f"**{who} are above the KLT in {above} of {len(mine)} cases**: from {number(low['mean'], 2, sign=True)} dB "
            f"({low['architecture']} at {ratio(low['dimension_ratio'])}) to {number(high['mean'], 2, sign=True)} dB "
            f"({high['architecture']} at {ratio(high['dimension_ratio'])})."
        )
    return lines


def order(rows: pd.DataFrame) -> list[str]:
    """Order of the architectures at the reference ratio, and whether the data can tell them apart."""
    at = reference_ratio(rows)
    points = curve(rows, "psnr_db")
    points = points[(points["dimension_ratio"] == at) & (points["architecture"] != "klt")]
    lines = []
    for init, where in (("scratch", "from scratch"), ("klt", "started from the KLT")):
        mine = points[points["init"] == init].sort_values("mean", ascending=False)
        if len(mine) < 2:
            continue
        ranked = [f"{row.architecture} {number(row.mean, 2)} dB" for row in mine.itertuples()]
        text = f"At {ratio(at)}, {where}, the order is {', '.join(ranked)}"
        if (mine["over"] == "").all():
            text += "; with one seed and one acquisition nothing says whether another training would keep it."
        else:
            first, second = mine.iloc[0], mine.iloc[1]
            apart = first["low"] > second["high"]
            text += f"; the intervals of the first two {'do not overlap' if apart else 'overlap'}."
        lines.append(text)
    return lines


def limits_of(runs: pd.DataFrame) -> Prose:
    """How much evidence the figure rests on."""
    rows = main_line(measured(runs))
    if rows.empty:
        return Prose()
    seeds = rows["seed"].nunique()
    test = rows[rows["split"] == "test"]
    independent = rows[rows["split"] == "independent"]
    trained = rows[rows["architecture"] != "klt"]
    steps = trained["steps"].dropna().astype(int).unique()
    parts = [
        f"It rests on {'one training' if seeds == 1 else f'{seeds} trainings (seeds)'} per configuration"
        + (f" of {listing(sorted(str(s) for s in steps))} steps" if len(steps) else "")
        + f", {_scenes(test)} for the test"
        + (f" and {_scenes(independent)} from other acquisitions." if len(independent) else "."),
    ]
    missing_from = [a for a in architecture_order(rows["architecture"]) if a != "klt" and not _has_both(rows, a)]
    if missing_from:
        parts.append(f"Only one way of starting was run for {listing(missing_from)}.")
    return Prose(" ".join(parts))


def _has_both(rows: pd.DataFrame, architecture: str) -> bool:
    return {"scratch", "klt"} <= set(rows.loc[rows["architecture"] == architecture, "init"])


def _scenes(rows: pd.DataFrame) -> str:
    count = rows["scene"].nunique()
    return "one scene" if count == 1 else f"{count} scenes"
