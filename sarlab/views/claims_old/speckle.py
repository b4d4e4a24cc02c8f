"""Claims about speckle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import trainings
from sarlab.views.claims_old.parts import Part, compared, concluded, counted
from sarlab.views.claims_old.verdict import (
    HELD,
    OPEN,
    REFUTED,
    Verdict,
    claim,
    main_shapes,
    networks,
    unmeasured,
    widest,
)
from sarlab.views.text import number, ratio, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

RELATIVE = "1/8 standard deviation"
#: Share of power that the finest detail loses beyond the coarsest from which on detail was needed.
MORE = 0.1
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
    cheaper = HELD if radar.max() < optical.min() else REFUTED if radar.min() > optical.max() else OPEN
    parts = [
        counted("speckle takes less than half of the bits", [bool(share < 0.5)]),
        Part("radar takes fewer bits than optical images", cheaper,
             "more images of both kinds: the ranges overlap" if cheaper == OPEN else ""),
    ]  # fmt: skip
    interval = f"range over images: radar {span(radar, lambda v: number(v, 2))} ({len(radar)}), optical {span(optical, lambda v: number(v, 2))} ({len(optical)})"
    return concluded(parts, figure, interval)


@claim(3, "Speckle needs no spatial detail.",
       "share of power that networks from scratch lose at the finest minus that at the coarsest detail; the finest by shape of the latent at one ratio",
       "latent_design")  # fmt: skip
def speckle_and_detail(tables: Tables) -> Verdict:
    lost = lost_by_frequency(tables)
    if lost.empty:
        return unmeasured("networks from scratch with metrics by frequency")
    coarse, fine = lost[BANDS[0]].mean(), lost[BANDS[-1]].mean()
    found = widest(
        (lost[BANDS[-1]] - lost[BANDS[0]]).set_axis(pd.MultiIndex.from_frame(lost[["run_id", "scene"]])),
        lost["acquisition"], ["run_id"],
    )  # fmt: skip
    figure = f"networks from scratch lose {number(100 * fine, 0)} % of the power at the finest detail, {number(100 * coarse, 0)} % at the coarsest"
    shapes = trainings.shapes(lost)
    if len(shapes) and shapes["spatial_reduction"].nunique() > 1:
        by = shapes.groupby(["spatial_reduction", "latent_channels"])[BANDS[-1]].mean()
        figure += f"; of the finest at {ratio(trainings.REFERENCE)}: " + ", ".join(
            f"{number(100 * v, 0)} % in {trainings.shape_name(r, c)}" for (r, c), v in by.items()
        )
    # Speckle is white or nearly so: a latent that loses fine detail and keeps coarse loses speckle for want of detail.
    interval = (
        f"{found.kind} of the difference: {number(100 * found.low, 0)} to {number(100 * found.high, 0)} %"
        if np.isfinite(found.low)
        else ""
    )
    loses = compared(f"fine detail loses {number(100 * MORE, 0)} % more than coarse", found, MORE, trainings=2)
    return concluded([loses], figure, interval, outcome={HELD: REFUTED, REFUTED: HELD}.get(loses.outcome, OPEN))


#: What the guide says is lost last, and what first, among the classes of pixels.
LAST, FIRST = ("edge", "target"), ("homogeneous", "texture")


@claim(19, "First lost: high-frequency noise, fine texture; last: structures, edges, objects.",
       "shares lost of fine and coarse detail, edges and point targets at every ratio; error in dB by class of ground",
       "fidelity")  # fmt: skip
def order_of_loss(tables: Tables) -> Verdict:
    lost = main_shapes(lost_by_frequency(tables))
    if lost.empty:
        return unmeasured("networks from scratch with metrics by frequency")
    lines = lost.groupby("dimension_ratio")[list(BANDS)].mean()
    orders = [float(np.corrcoef(np.arange(len(BANDS)), line)[0, 1]) for line in lines.to_numpy()]
    rising = [bool(line[-1] > line[0]) for line in lines.to_numpy()]
    figure = f"fine detail goes before coarse at {sum(rising)} of {len(rising)} ratios ({', '.join(ratio(at) for at in lines.index)})"
    parts = [counted("fine detail goes before coarse", rising)]
    kept = structures(lost)
    if len(kept):
        last = (kept["fine"] > kept["edges"]) & (kept["fine"] > kept["objects"])
        figure += (
            f"; of edges {span(100 * kept['edges'], percent)} % are lost, of point targets {span(100 * kept['objects'], percent)} %, "
            f"of the finest detail {span(100 * kept['fine'], percent)} %"
        )
        parts.append(counted("edges and point targets outlast fine detail", list(last)))
    classes = [f"rmse_{name}_db" for name in (*LAST, *FIRST)]
    if set(classes) <= set(lost):
        errors = lost.groupby("dimension_ratio")[classes].mean()
        last, first = (errors[[f"rmse_{n}_db" for n in names]].mean(axis=1) for names in (LAST, FIRST))
        spared, means = last < first, errors.mean()
        figure += (
            f"; in dB edges and targets err less than homogeneous and textured ground at {int(spared.sum())} of {len(spared)} ratios: "
            + ", ".join(f"{name} {number(means[f'rmse_{name}_db'])} dB" for name in (*LAST, *FIRST))
        )
        parts.append(counted("in dB edges and targets err less than ground without them", list(spared)))
    return concluded(
        parts, figure, f"over the ratios a correlation of loss with frequency of {span(orders, lambda v: number(v, 2))}"
    )


def percent(value: float) -> str:
    """Whole percent."""
    return number(value, 0)


def structures(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares lost by ratio: of the finest detail, of edges (EPI by ratios of averages), of point targets; empty if unknown."""
    if not {"epi_roa", "targets", "targets_kept"} <= set(rows):
        return pd.DataFrame()
    rows = rows[rows["targets"].astype(float) > 0]
    shares = pd.DataFrame(
        {
            "dimension_ratio": rows["dimension_ratio"],
            "fine": rows[BANDS[-1]].clip(upper=1),
            "edges": 1 - rows["epi_roa"].astype(float),
            "objects": 1 - rows["targets_kept"].astype(float),
        }
    )
    return shares.groupby("dimension_ratio")[["fine", "edges", "objects"]].mean().dropna()


def lost_by_frequency(tables: Tables) -> pd.DataFrame:
    """Rows of networks from scratch with the power lost in each band of frequencies."""
    rows = networks(tables)
    if rows.empty or not set(BANDS) <= set(rows):
        return pd.DataFrame()
    return rows.dropna(subset=list(BANDS)).astype({name: float for name in BANDS})
