"""Curves that share trainings, nested and progressive, beside dedicated trainings of the same networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.figure import Figure, Panel
from sarlab.views.quant_rows import COMMAND
from sarlab.views.style import BLUE, GREEN, MUTED, VERMILION, Look
from sarlab.views.summary import measured
from sarlab.views.text import Prose, missing, number, ratio

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

LOOKS = {
    "nested": Look("nested: one training for all ratios", BLUE, "o"),
    "progressive": Look("progressive: each ratio from the one before", VERMILION, "s"),
    "short": Look("a short training for each ratio", GREEN, "^", hollow=True),
}
#: What must agree between runs that are compared; steps do not, they are what is saved.
SAME = ("architecture", "init", "spatial_reduction", "latent_channels", "width", "depth", "seed", "scene", "band")
WHAT = "curves that share trainings"


def compared(runs: pd.DataFrame) -> pd.DataFrame:
    """Float rows of nested and progressive runs with ``gap_db``, their PSNR above the dedicated run's, and its steps.

    Dedicated runs of fewer steps than the longest are rows of their own, of the curve ``"short"``.

    Returns
    -------
    DataFrame
        Empty where there are none, or none with a dedicated sibling.
    """
    rows = measured(runs, split="test")
    if rows.empty or "curve" not in rows:
        return rows.iloc[:0].assign(gap_db=[], dedicated_steps=[])
    rows = rows[(rows["quantizer"] == "f32") & (rows["architecture"] != "klt")]
    curve = rows["curve"].fillna("dedicated")
    # Of several dedicated trainings the longest is the one to be matched.
    alone = (
        rows[curve == "dedicated"].sort_values("steps").drop_duplicates(list(SAME), keep="last").set_index(list(SAME))
    )
    alone = alone[["psnr_db", "steps"]].astype(float)
    alone.columns = ["dedicated_db", "dedicated_steps"]
    joined = rows.assign(curve=curve).join(alone, on=list(SAME)).dropna(subset=["dedicated_db"])
    shorter = (joined["curve"] == "dedicated") & (joined["steps"].astype(float) < joined["dedicated_steps"])
    joined = joined.assign(curve=joined["curve"].mask(shorter, "short"))
    joined = joined[joined["curve"] != "dedicated"]
    if not joined["curve"].isin(["nested", "progressive"]).any():
        joined = joined.iloc[:0]
    return joined.assign(gap_db=joined["psnr_db"].astype(float) - joined["dedicated_db"])


def budgets(rows: pd.DataFrame) -> dict[str, float]:
    """Steps of the whole curve by kind, in those of one dedicated training; ``dedicated`` for all of those.

    Steps, not seconds: networks of a curve cost nearly the same each step, and seconds depend on what else a machine does.
    """
    found: dict[str, list[float]] = {}
    for _, group in rows.groupby(["architecture", "seed"]):
        once = group.drop_duplicates(["curve", "latent_channels"])
        one = once["dedicated_steps"].max()
        for kind, part in once.groupby("curve"):
            steps = part["steps"].astype(float)
            found.setdefault(kind, []).append((steps.max() if kind == "nested" else steps.sum()) / one)
            found.setdefault("dedicated", []).append(part["dedicated_steps"].sum() / one)
    return {kind: float(np.mean(values)) for kind, values in found.items()}


def figure(tables: Tables) -> Figure:
    """PSNR above dedicated trainings over the ratio."""
    rows = compared(tables.runs)
    if rows.empty:
        return Figure.nothing(WHAT, COMMAND)
    spent = budgets(rows)
    lines = []
    with style.style():
        drawing, ax = style.axes(4.8, 3.0)
        ax.set_title("PSNR above dedicated trainings (dB)")
        ax.set_xscale("log", base=2)
        ax.axhline(0, color=MUTED, linewidth=3.2, zorder=1)
        for kind, look in LOOKS.items():
            part = rows[rows["curve"] == kind].groupby("dimension_ratio")["gap_db"]
            if not part.ngroups:
                continue
            mean, low, high = part.mean(), part.min(), part.max()
            ax.plot(mean.index, mean.to_numpy(), **look.line)
            ax.fill_between(mean.index, low, high, color=look.color, alpha=0.15, linewidth=0)
            values = ", ".join(f"{number(v, 2, sign=True)} at {ratio(at)}" for at, v in mean.items())
            lines.append(f"{look.label}: {values}")
        ticks = sorted(rows["dimension_ratio"].unique())
        ax.set_xticks(ticks, [ratio(t) for t in ticks])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter(lambda v, _: f"{v:+g}".replace("-", "\u2212") if v else "0")
        ax.set_xlabel("compression ratio (values in ÷ values out)")
    kinds = [kind for kind in LOOKS if kind in spent]
    title = "; ".join(
        f"{kind}: the whole curve for {number(spent[kind], 2)} trainings" for kind in kinds if kind != "short"
    )
    return Figure(
        [Panel(drawing, f"PSNR above dedicated trainings in dB. {'; '.join(lines)}.")],
        key=[LOOKS[kind] for kind in kinds], title=title[:1].upper() + title[1:], narrowest=320,
        caption=f"{', '.join(sorted(rows['architecture'].unique()))}; shaded: least to most over seeds and bands "
        f"({rows['seed'].nunique()} {'seed' if rows['seed'].nunique() == 1 else 'seeds'}). The gray line is a training for each ratio.",
    )  # fmt: skip


def text(tables: Tables) -> Prose:
    """What sharing costs, in sentences."""
    rows = compared(tables.runs)
    if rows.empty:
        return missing(WHAT, COMMAND)
    spent = budgets(rows)
    lines = []
    for kind in LOOKS:
        part = rows[rows["curve"] == kind]
        if part.empty:
            continue
        mean = part.groupby("dimension_ratio")["gap_db"].mean()
        worst = mean.idxmin()
        name = "A short training for each ratio" if kind == "short" else kind.capitalize()
        lines.append(
            f"**{name}**: the steps of {number(spent[kind], 2)} trainings instead of {number(spent['dedicated'], 0)}; at worst "
            f"{number(mean[worst], 2, sign=True)} dB ({ratio(worst)}), at best {number(mean.max(), 2, sign=True)} dB ({ratio(mean.idxmax())})."
        )
    return Prose("\n".join(f"- {line}" for line in lines))
