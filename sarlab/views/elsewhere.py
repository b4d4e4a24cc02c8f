"""Does the order of the codecs hold on other acquisitions? The measures of fidelity at one PSNR, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sarlab.views import style
from sarlab.views.codec_rows import at_target, bands, curve, evaluated, looks_of, shown
from sarlab.views.fidelity import GROUPS
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND
from sarlab.views.style import INK, MUTED, PAPER, Look
from sarlab.views.summary import BARS
from sarlab.views.text import number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Matched PSNR in dB at which scenes are compared.
REFERENCE_DB = 30.0


def at_one_psnr(tables: Tables, target: float = REFERENCE_DB) -> Figure:
    """The same measures at one PSNR on other acquisitions: does the order of the codecs hold?"""
    everything = evaluated(tables)
    if everything.empty or "independent" not in set(everything["split"]):
        return Figure.nothing("codecs evaluated on other acquisitions", COMMAND)
    band = bands(everything)[0]
    test, other = (shown(everything, band=band, split=split) for split in ("test", "independent"))
    looks = looks_of(test)
    order = list(looks)[::-1]
    panels = []
    acquisitions = other["acquisition"].nunique()
    for measure in (GROUPS["structure"][0], GROUPS["radiometry"][0], GROUPS["radiometry"][2], GROUPS["statistics"][0]):
        here, there = (at_target(curve(rows, measure.column), target) for rows in (test, other))
        spoken = []
        with style.style():
            drawing, ax = style.axes(3.5, 0.85 + 0.24 * len(order))
            ax.set_title(f"{measure.title} {measure.good}".strip(), fontsize=8.5)
            for place, codec in enumerate(order):
                look = looks[codec]
                words = []
                if codec in there.index:
                    point = there.loc[codec]
                    ax.plot([point["low"], point["high"]], [place, place], color=look.color, linewidth=1.6)
                    ax.plot(point["mean"], place, marker=look.marker, color=look.color, markersize=5)
                    words.append(f"{number(point['mean'], 2)} on other acquisitions")
                if codec in here.index:
                    ax.plot(
                        here.loc[codec, "mean"],
                        place,
                        marker=look.marker,
                        color=look.color,
                        markerfacecolor=PAPER,
                        markersize=6.5,
                    )
                    words.insert(0, f"{number(here.loc[codec, 'mean'], 2)} on the test scene")
                spoken.append(f"{look.label}: {', '.join(words)}")
            if measure.level is not None:
                ax.axvline(measure.level, color=INK, linewidth=0.9)
            ax.set_yticks(range(len(order)), [looks[codec].label for codec in order])
            ax.tick_params(axis="y", labelcolor=INK)
            ax.grid(axis="y", visible=False)
        panels.append(Panel(drawing, f"{measure.title} at {target:g} dB. {'; '.join(reversed(spoken))}."))
    key = [
        Look("test scene", MUTED, "o", hollow=True, width=0),
        Look("other acquisitions, mean and interval", MUTED, "o"),
    ]
    return Figure(
        panels, key=key, narrowest=260, title=f"All codecs at the same PSNR of {target:g} dB, on the test scene and elsewhere",
        caption=f"Band {band}; the test scene, and {other['scene'].nunique()} patches of {acquisitions} other acquisitions with the "
        f"{BARS}. Where bars overlap, nothing says which of the codecs is better.",
    )  # fmt: skip
