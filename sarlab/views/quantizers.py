"""What a bit in the latent buys: loss of PSNR over bits, for every family of quantizers, on the KLT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sarlab.views import listing, style
from sarlab.views.figure import Figure, Panel
from sarlab.views.quant_rows import COMMAND, SCHEMES, bits_for, family, loss, loss_at, study
from sarlab.views.style import MUTED
from sarlab.views.text import Html, Prose, missing, number, ratio, span

if TYPE_CHECKING:
    import pandas as pd

    from sarlab.lab.results import Tables

#: Loss in dB that the table of needed bits asks for, and bits a value that sentences speak of.
WANTED_LOSS, SPOKEN_BITS = 0.1, 4.0
#: Losses below this are drawn at the edge of the panel.
LEAST_DRAWN = 0.002


def loss_over_bits(tables: Tables) -> Figure:
    """Loss against float32 over the bits of a latent value, for every family, at a low, a middle and a high ratio."""
    rows = study(tables)
    if rows.empty:
        return Figure.nothing("quantized latents of the KLT", COMMAND)
    return Figure(
        [_bits_panel(rows, at) for at in three(rows)],
        key=[scheme.look for scheme in SCHEMES if not family(rows, scheme.key).empty], narrowest=205,
        title=_bits_title(rows),
        caption="KLT of each ratio, mean over the bands of the test scenes; ranges, allocations and frequencies are learned from "
        "training scenes. Bits a value are those of the file: header and side information included. The dotted line is a loss of "
        f"{number(WANTED_LOSS)} dB.",
    )  # fmt: skip


def three(rows: pd.DataFrame) -> list[float]:
    """Lowest, middle and highest ratio of the rows."""
    ratios = sorted(rows["dimension_ratio"].unique())
    middle = 16.0 if 16.0 in ratios else ratios[(len(ratios) - 1) // 2]
    return [float(at) for at in dict.fromkeys((ratios[0], middle, ratios[-1]))]


def _bits_panel(rows: pd.DataFrame, at: float) -> Panel:
    spoken_lines = []
    with style.style():
        drawing, ax = style.axes(3.0, 2.8)
        ax.set_title(f"{ratio(at)}: loss of PSNR (dB)")
        ax.set_yscale("log")
        ax.axhline(WANTED_LOSS, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        for scheme in SCHEMES:
            line = family(rows, scheme.key, at=at)
            if line.empty:
                continue
            ax.plot(line["x"], line["loss_db"].clip(lower=LEAST_DRAWN), **scheme.look.line)
            values = ", ".join(
                f"{loss(v)} dB at {number(x)} bits" for x, v in zip(line["x"], line["loss_db"], strict=True)
            )
            spoken_lines.append(f"{scheme.look.label}: {values}")
        ax.set_ylim(LEAST_DRAWN, 20)
        ax.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
        ax.minorticks_off()
        ax.set_xlim(1.5, 8.5)
        ax.set_xlabel("bits a latent value, in the file")
    return Panel(drawing, f"Loss of PSNR in dB over bits a value at {ratio(at)}. {'; '.join(spoken_lines)}.")


def _bits_title(rows: pd.DataFrame) -> str:
    at = three(rows)[1 if len(three(rows)) > 2 else 0]
    keys = [
        key for key in ("tensor", "companded", "trellis", "coded") if np.isfinite(loss_at(rows, key, at, SPOKEN_BITS))
    ]
    parts = [f"{loss(loss_at(rows, key, at, SPOKEN_BITS))} dB {words}" for key, words in (
        ("tensor", "with one range for all channels"), ("companded", "with bits allocated and companded"), ("trellis", "in a trellis"),
        ("coded", "range-coded")) if key in keys]  # fmt: skip
    return (
        f"At {ratio(at)}, {number(SPOKEN_BITS, 0)} bits a value cost {', '.join(parts)}" if parts else "Loss over bits"
    )


def needed_bits(tables: Tables) -> Html | Prose:
    """Bits a value that each family needs for a small loss, at each ratio."""
    rows = study(tables)
    if rows.empty:
        return missing("quantized latents of the KLT", COMMAND)
    ratios = sorted(rows["dimension_ratio"].unique())
    body = [
        [scheme.look.label, *(number(bits_for(rows, scheme.key, at, WANTED_LOSS)) for at in ratios)]
        for scheme in SCHEMES
        if not family(rows, scheme.key).empty
    ]
    return listing.table(
        ["quantizer", *(ratio(at) for at in ratios)],
        body,
        caption=f"Bits a latent value for a loss of {number(WANTED_LOSS)} dB, interpolated; a dash: not within what was measured",
        wrap=(0,),
    )


def text(tables: Tables) -> Prose:
    """What the curves say, in sentences."""
    rows = study(tables)
    if rows.empty:
        return missing("quantized latents of the KLT", COMMAND)
    ratios = sorted(rows["dimension_ratio"].unique())
    first, last = ratios[0], ratios[-1]
    lines = []
    sixteen = rows[rows["scheme"] == "float16"]["loss_db"]
    eight = family(rows, "minmax")
    eight = eight[eight["bits"] == 8]["loss_db"]
    if len(eight):
        lines.append(
            f"**8 bits a channel are free**: at most {loss(eight.max())} dB at any ratio"
            + (f" (float16: {loss(sixteen.max())} dB at twice the bits)." if len(sixteen) else ".")
        )
    four = family(rows, "minmax")
    four = four[four["bits"] == 4].set_index("dimension_ratio")["loss_db"]
    if len(four):
        lines.append(
            f"**4 bits are not**, where all channels get the same: {loss(four[first])} dB at {ratio(first)}, {loss(four[last])} dB at "
            f"{ratio(last)}. The higher the ratio, the less precision matters: what the latent cannot hold has cost more already."
        )
    fixed = [loss_at(rows, "companded", at, SPOKEN_BITS) for at in ratios]
    coded = [loss_at(rows, "coded", at, SPOKEN_BITS) for at in ratios]
    if np.isfinite(fixed).any() and np.isfinite(coded).any():
        lines.append(
            f"**Where the bits go matters more than how many there are**: shared out among the channels, on a grid that is finer where "
            f"values are, the same average of {number(SPOKEN_BITS, 0)} bits costs {span(fixed, loss)} dB; as one step for all "
            f"channels and range-coded to that many bits, {span(coded, loss)} dB."
        )
    trellis = [loss_at(rows, "trellis", at, SPOKEN_BITS) / loss_at(rows, "companded", at, SPOKEN_BITS) for at in ratios]
    if np.isfinite(trellis).any():
        lines.append(
            f"**A trellis makes the same bits go further**: at a fixed length of {number(SPOKEN_BITS, 0)} bits it takes "
            f"{span([100 * (1 - share) for share in trellis if np.isfinite(share)], lambda v: number(v, 0))} % off the loss of "
            "companded levels, and decoding stays a look-up."
        )
    factors = [
        (a / b) ** (1 / (y - x))
        for at in ratios
        for line in [family(rows, "allocated", at=at)]
        for a, b, x, y in zip(line["loss_db"], line["loss_db"][1:], line["x"], line["x"][1:], strict=False)
        if b > 0
    ]
    if factors:
        lines.append(
            f"**A bit buys a factor**: with bits allocated, one more bit a value divides the loss by {number(float(np.median(factors)))} "
            "(median over ratios and steps). Halving the step of a uniform grid quarters its error."
        )
    return Prose("\n".join(f"- {line}" for line in lines))
