"""How cost grows: seconds over pixels, ratio and width on logarithmic axes, with fitted exponents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.figure import Figure, Panel
from sarlab.views.style import architecture_order, look_of
from sarlab.views.text import Prose, listing, missing, number, significant

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

COMMAND = "sarlab sweep cost"
#: Sweep → column of seconds, title, label of the axis.
SWEEPS = {
    "pixels": ("encode_s", "seconds to encode an image", "pixels of the image"),
    "width": ("step_s", "seconds of a training step", "channels of the first layer"),
    "ratio": ("step_s", "seconds of a training step", "compression ratio (values in ÷ values out)"),
}


@dataclass(frozen=True)
class Power:
    """A fitted power law, seconds = factor · value^exponent.

    Parameters
    ----------
    exponent : float
        Slope of the least-squares line through the logarithms.
    within : float
        Half of its 95 % interval, by Student's t; NaN for two points.
    factor : float
    """

    exponent: float
    within: float
    factor: float

    def __str__(self) -> str:
        known = self.within == self.within
        return f"{number(self.exponent, 2)} ± {number(self.within, 2)}" if known else number(self.exponent, 2)


def fit(values: np.ndarray, seconds: np.ndarray) -> Power | None:
    """Power law through measurements; None for fewer than two."""
    known = (values > 0) & (seconds > 0)
    x, y = np.log(values[known].astype(float)), np.log(seconds[known].astype(float))
    if len(np.unique(x)) < 2:
        return None
    slope, intercept = np.polyfit(x, y, 1)
    rest = y - (slope * x + intercept)
    spread = float(((x - x.mean()) ** 2).sum())
    within = float("nan")
    if (freedom := len(x) - 2) > 0:
        from scipy.special import stdtrit

        within = float(stdtrit(freedom, 0.975) * np.sqrt((rest**2).sum() / freedom / spread))
    return Power(float(slope), within, float(np.exp(intercept)))


def fits(table: pd.DataFrame) -> dict[tuple[str, str], Power]:
    """(sweep, architecture) → power law."""
    found = {}
    for sweep, (column, *_) in SWEEPS.items():
        for architecture, part in lines(table, sweep):
            power = fit(part["value"].to_numpy(float), part[column].to_numpy(float))
            if power is not None:
                found[sweep, architecture] = power
    return found


def lines(table: pd.DataFrame, sweep: str) -> list[tuple[str, pd.DataFrame]]:
    """Measurements of a sweep by architecture, in order."""
    if table.empty or "sweep" not in table:
        return []
    column = SWEEPS[sweep][0]
    rows = table[(table["sweep"] == sweep) & table[column].notna()] if column in table else table.iloc[:0]
    return [(a, rows[rows["architecture"] == a].sort_values("value")) for a in architecture_order(rows["architecture"])]


def growth(tables: Tables) -> Figure:
    """Seconds over pixels, width and ratio, one panel each, with the exponents at the ends of the lines."""
    table = tables.table("cost")
    powers = fits(table)
    if not powers:
        return Figure.nothing("measured costs", COMMAND)
    panels, looks = [], {}
    for sweep, (column, title, label) in SWEEPS.items():
        parts = lines(table, sweep)
        if not parts:
            continue
        names = [name for name, _ in parts]
        spoken, ends = [], []
        with style.style():
            drawing, ax = style.axes(3.6, 3.0)
            ax.set_xscale("log", base=2 if sweep != "pixels" else 10)
            ax.set_yscale("log")
            for name, part in parts:
                look = look_of(name, str(part["init"].iloc[0]), names)
                looks[name] = look
                ax.plot(part["value"], part[column], **{**look.line, "linestyle": ""})
                power = powers.get((sweep, name))
                if power is None:
                    continue
                x = np.array([part["value"].min(), part["value"].max()], float)
                ax.plot(x, power.factor * x**power.exponent, color=look.color, linewidth=1.2)
                ends.append((x[1], power.factor * x[1] ** power.exponent, f"^{number(power.exponent, 2)}", look.color))
                spoken.append(
                    f"{name}: {significant(part[column].min(), 2)} to {significant(part[column].max(), 2)} s, exponent {power}"
                )
            ax.set_title(title)
            ax.set_xlabel(label)
            if sweep != "pixels":
                ticks = sorted(table.loc[table["sweep"] == sweep, "value"].unique())
                ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            low, high = ax.get_ylim()
            if high < 10 * low:  # perhaps no power of ten lies between
                from matplotlib.ticker import LogLocator

                ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.minorticks_off()
            style.label_ends(ax, ends)
        panels.append(Panel(drawing, f"{title} over {label}, logarithmic axes. {'; '.join(spoken)}."))
    device = listing(sorted({str(d) for d in table["device"].dropna().unique()}))
    threads = listing(sorted({f"{t:g}" for t in table["threads"].dropna().unique()}))
    return Figure(
        panels, key=list(looks.values()), narrowest=230, title=_title(powers),
        caption=f"Measured on {device}, {threads} thread; least of some repetitions. Lines: least squares through the logarithms; "
        "the number at the end of a line is its exponent. Everything but the axis is kept.",
    )  # fmt: skip


def _title(powers: dict[tuple[str, str], Power]) -> str:
    pixels = [power.exponent for (sweep, _), power in powers.items() if sweep == "pixels"]
    width = [power.exponent for (sweep, _), power in powers.items() if sweep == "width"]
    if not pixels or not width:
        return ""
    return (
        f"Cost grows with pixels to the power {number(float(np.median(pixels)), 1)}, "
        f"with width to the power {number(float(np.median(width)), 1)}"
    )


def text(tables: Tables) -> Prose:
    """What doubling each thing costs, in a sentence."""
    powers = fits(tables.table("cost"))
    if not powers:
        return missing("measured costs", COMMAND)
    words = {"pixels": "the pixels of an image", "width": "the width of a network", "ratio": "the compression ratio"}
    parts = []
    for sweep, what in words.items():
        exponents = [power.exponent for (one, _), power in powers.items() if one == sweep]
        if exponents:
            low, high = (2.0**value for value in (min(exponents), max(exponents)))
            same = number(low, 2) == number(high, 2)
            parts.append(f"{what} {number(low, 2)}{'' if same else f' to {number(high, 2)}'} times")
    return Prose(
        f"Doubling {listing(parts)}: so much longer does it take, by architecture. Twice the work would be a factor of "
        f"{number(2.0, 2)}; less means that something else than the multiplications is paid for, more that memory is."
    )


def exponents_table(tables: Tables) -> Prose:
    """Fitted exponents with their 95 % intervals, as a table."""
    powers = fits(tables.table("cost"))
    if not powers:
        return Prose()
    names = list(dict.fromkeys(name for _, name in powers))
    head = f"| seconds over | {' | '.join(names)} |\n|---|{'---|' * len(names)}"
    body = []
    for sweep, (_, _, label) in SWEEPS.items():
        cells = [powers.get((sweep, name)) for name in names]
        shown = [str(power) if power else "–" for power in cells]
        body.append(f"| {label} | {' | '.join(shown)} |")
    return Prose(
        "\n".join([head, *body]),
        "Exponents with their 95 % intervals, by Student's t through the logarithms of the measured times.",
    )
