"""Claims about speckle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views.claims.verdict import DEPENDS, HELD, OPEN, REFUTED, Verdict, claim, networks, unmeasured
from sarlab.views.text import number, ratio, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

RELATIVE = "1/8 standard deviation"
BANDS = tuple(f"lost_power_band{i}" for i in range(1, 9))


@claim(2, "Speckle compresses well; SAR compresses better than one expects.",
       "lossless bits of simulated scenes with and without speckle; radar beside optical images on the same relative grid",
       "scene_entropy")  # fmt: skip
def speckle_compresses(tables: Tables) -> Verdict:
    rows = tables.table("scene_entropy")
    if rows.empty or not {"kind", "grid", "jpegls_bpp"} <= set(rows):
        return unmeasured("the study scene_entropy")
    physical, relative = rows[rows["grid"] == "0.1 dB"], rows[rows["grid"] == RELATIVE]
    single = physical[(physical["kind"] == "simulated") & (physical["looks"].astype(float) == 1)]["jpegls_bpp"].mean()
    free = physical[physical["kind"] == "speckle-free"]["jpegls_bpp"].mean()
    radar = relative[relative["kind"] == "radar"]["jpegls_bpp"].astype(float).dropna()
    optical = relative[relative["kind"] == "optical"]["jpegls_bpp"].astype(float).dropna()
    if not np.isfinite([single, free]).all() or radar.empty or optical.empty:
        return unmeasured("simulated scenes without speckle and optical images in the study scene_entropy")
    share = 1 - free / single
    figure = (
        f"{number(100 * share, 0)} % of the lossless bits of a single-look scene are speckle; at equal relative precision radar "
        f"takes {number(radar.mean(), 2)} bit per pixel, optical {number(optical.mean(), 2)}"
    )
    expensive, dearer = share > 0.5, radar.mean() > optical.mean()
    outcome = REFUTED if expensive and dearer else HELD if not expensive and not dearer else DEPENDS
    return Verdict(
        outcome, figure, f"radar {span(radar, lambda v: number(v, 2))}, optical {span(optical, lambda v: number(v, 2))}"
    )


@claim(3, "Speckle needs no spatial detail.",
       "share of power that networks lose, by spatial frequency", "fidelity")  # fmt: skip
def speckle_and_detail(tables: Tables) -> Verdict:
    lost = lost_by_frequency(tables)
    if lost.empty:
        return unmeasured("networks from scratch with metrics by frequency")
    coarse, fine = lost[BANDS[0]].mean(), lost[BANDS[-1]].mean()
    figure = f"networks from scratch lose {number(100 * fine, 0)} % of the power at the finest detail, {number(100 * coarse, 0)} % at the coarsest"
    if fine - coarse < 0.1:
        return Verdict(OPEN if abs(fine - coarse) < 0.05 else HELD, figure)
    return Verdict(REFUTED, figure + ": what a latent without fine detail cannot hold is speckle")


@claim(19, "First lost: high-frequency noise, fine texture; last: structures, edges, objects.",
       "order of the spatial frequencies by lost power, at every ratio", "fidelity")  # fmt: skip
def order_of_loss(tables: Tables) -> Verdict:
    lost = lost_by_frequency(tables)
    if lost.empty:
        return unmeasured("networks from scratch with metrics by frequency")
    lines = lost.groupby("dimension_ratio")[list(BANDS)].mean()
    orders = [float(np.corrcoef(np.arange(len(BANDS)), line)[0, 1]) for line in lines.to_numpy()]
    rising = [bool(line[-1] > line[0]) for line in lines.to_numpy()]
    figure = f"fine detail goes before coarse at {sum(rising)} of {len(rising)} ratios ({', '.join(ratio(at) for at in lines.index)})"
    outcome = HELD if all(rising) else REFUTED if not any(rising) else DEPENDS
    return Verdict(outcome, figure, f"correlation of loss with frequency {span(orders, lambda v: number(v, 2))}")


def lost_by_frequency(tables: Tables) -> pd.DataFrame:
    """Rows of networks from scratch with the power lost in each band of frequencies."""
    rows = networks(tables)
    if rows.empty or not set(BANDS) <= set(rows):
        return pd.DataFrame()
    return rows.dropna(subset=list(BANDS)).astype({name: float for name in BANDS})
