"""Claims about networks at equal steps and multiplications: shapes, depth, blocks, attention."""

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
    Difference,
    Verdict,
    best_points,
    claim,
    difference,
    learned,
    main_shapes,
    networks,
    unmeasured,
)
from sarlab.views.summary import curve, per_doubling
from sarlab.views.text import number, ratio

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: What must agree between two networks that are compared at equal budgets.
EQUAL = ("dimension_ratio", "spatial_reduction", "steps", "batch_size", "seed", "scene")
#: The same for shapes of one ratio.
SAME_RATIO = ("dimension_ratio", "architecture", "seed", "scene")
#: Gradient of the first layer over that of the last below which it counts as vanished.
VANISHED = 0.1
#: Gain in dB from which on it counts as the guide's two.
TWO_DB = 1.5
#: Share of further multiplications that still "costs little".
LITTLE = 0.25
SCRATCH = "plain, residual and attention networks from scratch at equal steps (plan cpu or full)"


@claim(6, "16×16 latents of 16 to 64 channels suit SAR better than 8×8 with more.",
       "from scratch at one ratio, equal steps and multiplications: PSNR, edges and targets of 16×16×16 minus 8×8×64; other shapes down to one position",
       "latent_design")  # fmt: skip
def shape(tables: Tables) -> Verdict:
    rows = trainings.shapes(networks(tables))
    if rows.empty or not {16, 32} <= set(rows["spatial_reduction"]):
        return unmeasured("shapes at one ratio from scratch (plan cpu or full)")
    parts, psnr, figure = shape_parts(rows, "from scratch")
    if not parts:
        return unmeasured("shapes at one ratio from scratch (plan cpu or full)")
    means = rows.groupby(["spatial_reduction", "latent_channels"])["psnr_db"].mean()
    figure = f"from scratch 16×16×16 minus 8×8×64: {figure}; " + ", ".join(
        f"{trainings.shape_name(r, c)} {number(v)} dB" for (r, c), v in means.items()
    )
    behind = rows[rows["spatial_reduction"] == 32]
    if len(learned(behind)) < len(behind):
        below = -pd.to_numeric(behind["gain_over_klt_db"]).mean()
        figure += f"; 8×8×64 is {number(below)} dB below the KLT of its shape, not done learning"
    single = trainings.study(tables, "positions")
    single = single[single["split"] != "train"] if len(single) else single
    if len(single):
        at = single.groupby(["spatial_reduction", "latent_channels"])["psnr_db"].mean()
        figure += "; short trainings down to one position: " + ", ".join(
            f"{trainings.shape_name(r, c)} {number(v)} dB" for (r, c), v in at.items()
        )
    linear = networks(tables, init="klt")
    linear = (
        linear[(linear["architecture"] == "plain") & (linear["dimension_ratio"] == trainings.REFERENCE)]
        if len(linear)
        else linear
    )
    more, _, told = shape_parts(linear, "from the KLT") if len(linear) else ([], None, "")
    if more:
        figure += f"; from the KLT: {told}"
    return concluded([*parts, *more], figure, psnr.certain("dB of PSNR from scratch") if psnr else "")


#: Measures that shapes are judged by, by name and by unit, whether more is better, digits.
SHAPE_NAMES = {"psnr_db": "PSNR", "epi_roa": "edges", "rmse_target_db": "targets"}
SHAPE_MEASURES = {
    "psnr_db": ("dB of PSNR", True, 2),
    "epi_roa": ("of edges kept", True, 3),
    "rmse_target_db": ("dB of error at targets", False, 2),
}


def shape_parts(rows: pd.DataFrame, start: str) -> tuple[list[Part], Difference | None, str]:
    """Whether 16×16 beats 8×8 by each measure, the difference of PSNR, and all differences in words."""
    found = {m: difference(rows, "spatial_reduction", 16, 32, m, pair=SAME_RATIO) for m in SHAPE_MEASURES if m in rows}
    found = {m: item for m, item in found.items() if item.pairs}
    words = ", ".join(item.text(SHAPE_MEASURES[m][0], SHAPE_MEASURES[m][2]) for m, item in found.items())
    parts = [
        compared(
            f"{start}, {SHAPE_NAMES[m]} ({item.span(SHAPE_MEASURES[m][0].partition(' ')[0].removeprefix('of'), SHAPE_MEASURES[m][2])})",
            item,
            more=SHAPE_MEASURES[m][1],
        )
        for m, item in found.items()
    ]
    return parts, found.get("psnr_db"), words


@claim(7, "Four to five layers are the right depth; shallow trains fast, deep is slow with vanishing gradients.",
       "PSNR from scratch at one shape, equal steps and multiplications, over the number of layers; gradient of the first layer over that of the last",
       "architectures")  # fmt: skip
def depth(tables: Tables) -> Verdict:
    rows = trainings.depths(networks(tables))
    counts = sorted(int(n) for n in rows["layers"].unique()) if len(rows) else []
    if len(counts) < 2 or 4 not in counts:
        return unmeasured("one shape from scratch at several depths (plan cpu or full)")
    others = {n: difference(rows, "layers", 4, n, "psnr_db", pair=EQUAL) for n in counts if n != 4}
    figure = "4 layers against " + ", ".join(f"{n}: {found.text()}" for n, found in others.items())
    shares = trainings.gradients(tables, rows).merge(rows[["run_id", "layers"]].drop_duplicates(), on="run_id")
    vanishing: list[Part] = []
    if len(shares):
        by = shares.groupby("layers")["share"].median()
        # Gradients vanish where the first layer gets a small part of what the last one gets.
        vanishing = [counted("gradients vanish in the deepest", [bool(by[by.index.max()] < VANISHED)])]
        figure += "; gradient of the first layer over that of the last " + ", ".join(
            f"{number(v, 1)} at {n}" for n, v in by.items()
        )
    spans = "; ".join(f"{n}: {found.span()}" for n, found in others.items() if found.span())
    right = [compared(f"4 layers are better than {n}", item) for n, item in others.items()]
    return concluded([*right, *vanishing], figure, f"interval: against {spans}" if spans else "")


@claim(8, "Residual blocks gain 2 dB at 16×, or double the ratio at equal quality.",
       "residual minus plain from scratch at 16×, equal steps and multiplications; residual at 32× minus plain at 16×",
       "architectures")  # fmt: skip
def residual_gain(tables: Tables) -> Verdict:
    everything = learned(main_shapes(networks(tables)))
    rows = everything[everything["dimension_ratio"] == trainings.REFERENCE] if len(everything) else everything
    found = difference(rows, "architecture", "residual", "plain", "psnr_db", pair=EQUAL) if len(rows) else None
    if found is None or not found.pairs:
        return unmeasured(SCRATCH)
    macs = rows.groupby("architecture")["macs_per_pixel"].mean()
    figure = f"{found.text()} at {ratio(16)} with {number(100 * (macs['residual'] / macs['plain'] - 1), 0, sign=True)} % operations"
    twice = everything.assign(
        kind=everything["architecture"].where(
            ((everything["architecture"] == "plain") & (everything["dimension_ratio"] == 16))
            | ((everything["architecture"] == "residual") & (everything["dimension_ratio"] == 32))
        )
    )
    double = difference(twice, "kind", "residual", "plain", "psnr_db", pair=("seed", "scene"))
    parts = [compared(f"a gain of 2 dB, taken as more than {number(TWO_DB)} dB", found, TWO_DB)]
    if double.pairs:
        figure += f"; at twice the ratio {double.text()}"
        parts.append(compared("as good at twice the ratio", double, trainings=1))
    outcomes = {part.outcome for part in parts}
    outcome = HELD if HELD in outcomes else REFUTED if outcomes == {REFUTED} else OPEN
    interval = found.certain() + (f", at twice the ratio {double.span()}" if double.span() else "")
    return concluded(parts, figure, interval, outcome=outcome)


@claim(9, "Attention at the bottleneck preserves edges better, raises the effective compression, and costs little.",
       "attention minus residual from scratch, equal steps and multiplications: edges kept, error at edges and targets, PSNR; operations that it adds at equal width",
       "architectures")  # fmt: skip
def attention_edges(tables: Tables) -> Verdict:
    everything = main_shapes(networks(tables))
    rows = learned(everything)
    if rows.empty or "epi_roa" not in rows:
        return unmeasured(SCRATCH)
    measures = {"epi_roa": ("of edges kept", True, 3), "rmse_edge_db": ("dB of error at edges", False, 2),
                "rmse_target_db": ("dB at targets", False, 2), "psnr_db": ("dB of PSNR", True, 2)}  # fmt: skip
    found = {m: difference(rows, "architecture", "attention", "residual", m, pair=EQUAL) for m in measures if m in rows}
    if not found["epi_roa"].pairs:
        return unmeasured(SCRATCH)
    figure = ", ".join(found[m].text(measures[m][0], measures[m][2]) for m in found if found[m].pairs)
    left_out = sorted(
        set(everything["dimension_ratio"]) - set(rows.loc[rows["architecture"] == "attention", "dimension_ratio"])
    )
    if left_out:
        figure += (
            f" (without {', '.join(ratio(at) for at in left_out)}, where it is far below the KLT: not done learning)"
        )
    parts = [
        compared(
            f"{ATTENTION_NAMES[m]} ({found[m].span(measures[m][0].partition(' ')[0].removeprefix('of'), measures[m][2])})",
            found[m],
            more=measures[m][1],
        )
        for m in found
        if found[m].pairs
    ]
    added = added_operations(networks(tables, init="klt"))
    if np.isfinite(added):
        figure += f"; {number(100 * added, 0)} % more operations at equal width"
    interval = found["epi_roa"].certain("of edges kept", 3)
    if HELD not in {part.outcome for part in parts}:  # cheap or not: it does not do what it is for
        return concluded(parts, figure, interval)
    if np.isfinite(added):
        parts.append(counted("cheap", [added <= LITTLE]))
    return concluded(parts, figure, interval)


#: What the measures of attention are called among its readings.
ATTENTION_NAMES = {
    "epi_roa": "edges kept", "rmse_edge_db": "error at edges", "rmse_target_db": "error at targets", "psnr_db": "PSNR"
}  # fmt: skip


def added_operations(rows: pd.DataFrame) -> float:
    """Share of multiplications that attention adds to a residual network of the same width and depth; NaN if unknown."""
    if rows.empty:
        return float("nan")
    keys = ["dimension_ratio", "spatial_reduction", "width", "depth"]
    macs = rows.groupby(["architecture", *keys])["macs_per_pixel"].first().unstack("architecture")
    if not {"attention", "residual"} <= set(macs):
        return float("nan")
    return float((macs["attention"] / macs["residual"] - 1).mean())


#: Thresholds of PSNR in dB for the highest ratio that passes.
THRESHOLDS = (20.0, 22.0, 24.0, 26.0, 28.0, 30.0)


@claim(21, "A better architecture makes 32× pass where plain reached 16×.",
       "highest ratio from scratch that passes a threshold, by architecture, for several thresholds; what another architecture gains at 32×",
       "architectures")  # fmt: skip
def twice_the_ratio(tables: Tables) -> Verdict:
    rows = main_shapes(networks(tables))
    if rows.empty or not {"plain", "residual"} <= set(rows["architecture"]):
        return unmeasured(SCRATCH)
    points = curve(rows, "psnr_db")
    gains = {}
    for threshold in THRESHOLDS:
        reached = highest_passing(points, threshold)
        if "plain" in reached:
            gains[threshold] = max(reached.values()) / reached["plain"]
    if not gains:
        figure = f"plain passes none of the thresholds from {number(THRESHOLDS[0], 0)} dB up"
        return Verdict(
            OPEN, figure, "", ("open: everything – would take longer trainings, or ratios below those measured",)
        )
    twice = sum(gain >= 2 for gain in gains.values())
    figure = f"at {twice} of {len(gains)} thresholds another network passes at twice the ratio of plain"
    best = best_points(rows)
    slope = per_doubling(list(best["dimension_ratio"]), list(best["mean"]))
    found = max((difference(rows, "architecture", name, "plain", "psnr_db", pair=EQUAL) for name in ("residual", "attention")),
                key=lambda item: item.mean if item.pairs else -np.inf)  # fmt: skip
    if found.pairs and np.isfinite(slope):
        figure += f"; a doubling is worth {number(-slope)} dB, the better of the others gains {found.text()}"
    parts = [counted(f"at {number(threshold, 0)} dB", [gain >= 2]) for threshold, gain in gains.items()]
    return concluded(parts, figure, found.certain() if found.pairs else "")


def highest_passing(points: pd.DataFrame, threshold: float) -> dict[str, float]:
    """Architecture → highest ratio at which its mean PSNR passes."""
    passing = points[points["mean"] >= threshold]
    return passing.groupby("architecture")["dimension_ratio"].max().to_dict()
