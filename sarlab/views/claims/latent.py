"""Claims about latents, their shapes and their bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views.claims.verdict import (
    DEPENDS,
    HELD,
    REFUTED,
    UNMEASURED,
    Verdict,
    claim,
    difference,
    judged,
    networks,
    unmeasured,
)
from sarlab.views.quant_rows import family, paired, study
from sarlab.views.summary import measured
from sarlab.views.text import number, ratio, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Losses in dB that the guide gives: float16 below, int8 and int4 between.
FLOAT16_DB, INT8_DB, INT4_DB = 0.1, (0.5, 2.0), (2.0, 5.0)
#: A latent uses "the whole range" from this share of its levels and of the greatest entropy on.
WHOLE = 0.9
QUANTIZED = "networks with quantizers (plan quantization)"
STUDY = "the study latent_bits"


@claim(4, "Well-trained latents use the whole range, with entropy close to its maximum.",
       "levels in use and entropy of 8-bit latents, one range a channel", "entropy")  # fmt: skip
def whole_range(tables: Tables) -> Verdict:
    rows = measured(tables.runs, split="test")
    if rows.empty or "level_usage" not in rows:
        return unmeasured(QUANTIZED)
    rows = rows[
        (rows["bits"] == 8) & rows["quantizer"].astype(str).str.startswith("u8") & (rows["architecture"] != "klt")
    ]
    rows = rows.dropna(subset=["level_usage", "latent_entropy"])
    if rows.empty:
        return unmeasured(QUANTIZED)
    usage, entropy = rows["level_usage"].astype(float), rows["latent_entropy"].astype(float) / 8
    outcome = (
        HELD
        if min(usage.mean(), entropy.mean()) >= WHOLE
        else REFUTED
        if max(usage.mean(), entropy.mean()) < WHOLE
        else DEPENDS
    )
    return Verdict(
        outcome,
        f"{number(100 * usage.mean(), 0)} % of the levels in use, {number(8 * entropy.mean())} of 8 bit of entropy",
        f"{span(100 * usage, lambda v: number(v, 0))} % of the levels",
    )


@claim(6, "16×16 latents of 16 to 64 channels suit SAR better than 8×8 with more.",
       "PSNR from scratch at one ratio with other shapes, equal steps", "latent_design")  # fmt: skip
def shape(tables: Tables) -> Verdict:
    rows = networks(tables)
    best: tuple[int, float] | None = None
    for at, group in rows.groupby("dimension_ratio") if len(rows) else ():
        if {16, 32} <= set(group["spatial_reduction"]):
            best = max(best or (0, 0.0), (group["spatial_reduction"].nunique(), float(at)))
    if best is None:
        return unmeasured("shapes at one ratio from scratch (plan full)")
    group = rows[rows["dimension_ratio"] == best[1]]
    pair = ("architecture", "width", "depth", "seed", "scene")
    found = difference(group, "spatial_reduction", 16, 32, "psnr_db", pair=pair)
    if not found.pairs:
        return unmeasured("shapes at one ratio from scratch (plan full)")
    figure = f"16×16 against 8×8 at {ratio(best[1])}: {found.text()}"
    return Verdict(judged(found, 0.0), figure, found.span())


@claim(11, "float16 costs less than 0.1 dB, int8 0.5 to 2 dB, int4 2 to 5 dB.",
       "loss on KLT latents at every ratio, one range a channel and one for all", "quantizers")  # fmt: skip
def losses(tables: Tables) -> Verdict:
    rows = study(tables)
    if rows.empty:
        return unmeasured(STUDY)
    half = rows[rows["scheme"] == "float16"]["loss_db"]
    found = {
        bits: pd.concat(
            [family(rows, key)[lambda f, b=bits: f["bits"] == b]["loss_db"] for key in ("minmax", "tensor")]
        )
        for bits in (8, 4)
    }
    if half.empty or found[8].empty or found[4].empty:
        return unmeasured(STUDY)
    right = [
        half.max() < FLOAT16_DB,
        *(bool(found[bits].between(*limits).all()) for bits, limits in ((8, INT8_DB), (4, INT4_DB))),
    ]
    outcome = HELD if all(right) else REFUTED if not any(right[1:]) and not _overlaps(found) else DEPENDS
    figure = f"float16 at most {number(half.max(), 3)} dB, int8 {span(found[8], lambda v: number(v, 2))} dB, int4 {span(found[4], lambda v: number(v, 1))} dB"
    return Verdict(outcome, figure)


def _overlaps(found: dict[int, pd.Series]) -> bool:
    return any(found[bits].between(*limits).any() for bits, limits in ((8, INT8_DB), (4, INT4_DB)))


@claim(12, "Min-max quantization as written works for any number of bits.",
       "the guide's code beside the same grid stored in its bits", "quantizers")  # fmt: skip
def as_written(tables: Tables) -> Verdict:
    rows = study(tables)
    guide = rows[rows["scheme"] == "guide"] if len(rows) else rows
    wide = guide[guide["bits"] > 8] if len(guide) else guide
    narrow = guide[guide["bits"] < 8] if len(guide) else guide
    if wide.empty or narrow.empty:
        return unmeasured(STUDY)
    bits, stored = int(wide["bits"].min()), float(narrow["fixed_bits"].min())
    same = family(rows, "tensor")
    same = same[same["bits"] == bits]["loss_db"]
    figure = (
        f"at {bits} bits it loses {span(wide['loss_db'], number)} dB, the same grid at most {number(same.max(), 2)} dB; "
        f"{int(narrow['bits'].min())} bits are stored in {number(stored)}"
    )
    wrong = wide["loss_db"].min() > same.max() + 1, stored > narrow["bits"].min() + 0.5
    return Verdict(REFUTED if all(wrong) else DEPENDS if any(wrong) else HELD, figure)


@claim(13, "QuantizationNoise(bits) matches the quantizer.",
       "true step over the step of its noise, which assumes a range of one", "quantizers")  # fmt: skip
def noise_matches(tables: Tables) -> Verdict:
    rows = study(tables)
    if rows.empty or "latent_range" not in rows:
        return unmeasured(STUDY)
    ranges = rows[rows["scheme"] == "float32"]["latent_range"].astype(float).dropna()
    if ranges.empty:
        return unmeasured(STUDY)
    outcome = HELD if ranges.between(0.8, 1.25).all() else REFUTED if not ranges.between(0.5, 2).any() else DEPENDS
    return Verdict(outcome, f"the true step is {span(ranges, number)} times that of the noise")


@claim(14, "16×16×16 at 8 bit is 64×.",
       "nominal ratio beside that of files, fixed length and range-coded", "quantizers")  # fmt: skip
def total_ratio(tables: Tables) -> Verdict:
    rows = measured(tables.runs, split="test")
    rows = (
        rows[(rows["latent_channels"] == 16) & (rows["spatial_reduction"] == 16) & (rows["bits"] == 8)]
        if len(rows)
        else rows
    )
    if rows.empty:
        return unmeasured(QUANTIZED)
    nominal, fixed = rows["nominal_cr"].astype(float), rows["measured_cr"].astype(float)
    coded = rows["coded_cr"].astype(float).dropna() if "coded_cr" in rows else pd.Series(dtype=float)
    figure = f"{ratio(nominal.mean())} against float32; the file against the recorded product {number(fixed.mean())}×"
    if len(coded):
        figure += f", range-coded {number(coded.mean())}×"
    near = [bool(np.isclose(value, 64, rtol=0.05)) for value in (nominal.mean(), fixed.mean())]
    return Verdict(HELD if all(near) else DEPENDS if any(near) else REFUTED, figure)


@claim(20, "Training with quantization noise makes the network robust to quantization.",
       "loss at equal bits of networks that saw the quantizer in training and of those that did not", "quantizers")  # fmt: skip
def robust(tables: Tables) -> Verdict:
    rows = paired(tables.runs)
    if rows.empty:
        return unmeasured(QUANTIZED)
    rows = rows[rows["quantizer_training"].isin(("none", "noise", "ste", "mixed"))]
    rows = rows.assign(
        seen=np.where(rows["quantizer_training"] == "none", "none", "seen"),
        scheme=rows["quantizer"].astype(str).str.partition("-")[0],
    )
    pair = ("architecture", "init", "spatial_reduction", "latent_channels", "scheme", "seed", "scene", "band")
    found = difference(rows, "seen", "none", "seen", "loss_db", pair=pair)
    if not found.pairs:
        return Verdict(UNMEASURED, f"needs the same quantizer after training and in it: {QUANTIZED}")
    return Verdict(judged(found, 0.0), f"training with the quantizer takes {found.text()} off the loss", found.span())
