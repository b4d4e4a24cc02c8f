"""Claims about latents, their shapes and their bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views.claims_old.parts import Part, compared, concluded, counted
from sarlab.views.claims_old.verdict import (
    DEPENDS,
    HELD,
    REFUTED,
    UNMEASURED,
    Verdict,
    claim,
    difference,
    unmeasured,
    widest,
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
#: Levels of the latents that claim 4 is about.
LEVELS = 256
#: Share of its loss that a network must be rid of to be called robust.
ROBUST = 0.5
QUANTIZED = "networks with quantizers (plan quantization)"
STUDY = "the study latent_bits"


@claim(4, "Well-trained latents use the whole range, with entropy close to its maximum.",
       "levels in use and entropy of 8-bit latents, as shares of what as many values spread evenly would show", "entropy")  # fmt: skip
def whole_range(tables: Tables) -> Verdict:
    rows = measured(tables.runs)
    if rows.empty or "level_usage" not in rows:
        return unmeasured(QUANTIZED)
    rows = rows[
        (rows["bits"] == 8) & rows["quantizer"].astype(str).isin(("u8", "u8t")) & (rows["architecture"] != "klt")
    ]
    rows = rows.dropna(subset=["level_usage", "latent_entropy"])
    if rows.empty:
        return unmeasured(QUANTIZED)
    if (rows["init"] == "scratch").any():
        rows = rows[rows["init"] == "scratch"]
    # Few values use few levels and repeat none: only latents with more positions than levels tell.
    rows = rows[rows["pixels"] / rows["spatial_reduction"] ** 2 >= LEVELS]
    if rows.empty:
        return unmeasured(f"scenes of at least {LEVELS} positions in the latent, and {QUANTIZED}")
    count = (rows["pixels"] / rows["spatial_reduction"] ** 2).astype(float)
    usage = rows["level_usage"].astype(float) / even_usage(count)
    entropy = rows["latent_entropy"].astype(float) / even_entropy(count)
    keyed = [s.set_axis(pd.MultiIndex.from_frame(rows[["run_id", "scene"]])) for s in (usage, entropy)]
    found = [widest(values, rows["acquisition"], ["run_id"]) for values in keyed]
    parts = [compared(what, item, WHOLE) for what, item in zip(("levels", "entropy"), found, strict=True)]
    figure = (
        f"{number(100 * found[0].mean, 0)} % of the levels that evenly spread values would use, and {number(100 * found[1].mean, 0)} % "
        f"of their entropy ({number(rows['latent_entropy'].astype(float).mean())} bit)"
    )
    intervals = [
        f"{what} {number(100 * item.low, 0)} to {number(100 * item.high, 0)} %"
        for what, item in zip(("levels", "entropy"), found, strict=True)
        if np.isfinite(item.low)
    ]
    # Both are needed: one that fails refutes the claim.
    outcome = REFUTED if REFUTED in {part.outcome for part in parts} else ""
    return concluded(parts, figure, f"{found[0].kind}: {', '.join(intervals)}" if intervals else "", outcome=outcome)


def even_usage(count: pd.Series, levels: int = LEVELS) -> pd.Series:
    """Share of levels that so many values hit if every level is equally likely."""
    return 1 - (1 - 1 / levels) ** count


def even_entropy(count: pd.Series, levels: int = LEVELS) -> pd.Series:
    """Mean plug-in entropy in bits of so many such values: few values fall short of log2(levels), whatever they are.

    A level is hit by a number of values that is nearly Poisson distributed with mean λ = count / levels; the entropy is
    log2(count) minus the mean of k·log2(k) over them, per value.
    """
    from scipy.stats import poisson

    found = []
    for values in count:
        mean = values / levels
        k = np.arange(1, int(mean + 12 * np.sqrt(mean + 1)) + 12)
        found.append(np.log2(values) - float((poisson.pmf(k, mean) * k * np.log2(k)).sum()) / mean)
    return pd.Series(found, index=count.index)


@claim(11, "float16 costs less than 0.1 dB, int8 0.5 to 2 dB, int4 2 to 5 dB.",
       "loss on KLT latents and on those of networks from scratch at every ratio, one range a channel and one for all", "quantizers")  # fmt: skip
def losses(tables: Tables) -> Verdict:
    rows = study(tables)
    if rows.empty:
        return unmeasured(STUDY)
    half = [rows[rows["scheme"] == "float16"]["loss_db"]]
    found = {
        bits: [family(rows, key)[lambda f, b=bits: f["bits"] == b]["loss_db"] for key in ("minmax", "tensor")]
        for bits in (8, 4)
    }
    own = paired(tables.runs)
    own = own[(own["init"] == "scratch") & (own["quantizer_training"].fillna("none") == "none")] if len(own) else own
    own = own.groupby(["run_id", "quantizer"])["loss_db"].mean() if len(own) else pd.Series(dtype=float)
    labels = own.index.get_level_values("quantizer") if len(own) else pd.Index([])
    half.append(own[labels == "f16"])
    for bits in (8, 4):
        found[bits].append(own[labels.isin((f"u{bits}", f"u{bits}t"))])
    halves, whole = pd.concat(half), {bits: pd.concat(parts) for bits, parts in found.items()}
    if halves.empty or any(values.empty for values in whole.values()):
        return unmeasured(STUDY)
    inside = {8: whole[8].between(*INT8_DB), 4: whole[4].between(*INT4_DB)}
    parts = [counted("float16", [bool(halves.max() < FLOAT16_DB)]), *(places(b, whole[b], inside[b]) for b in (8, 4))]
    figure = (
        f"float16 at most {number(halves.max(), 3)} dB, int8 {span(whole[8], lambda v: number(v, 2))} dB, "
        f"int4 {span(whole[4], lambda v: number(v, 1))} dB"
    )
    if len(found[8][-1]):
        figure += (
            f"; of networks from scratch int8 {span(found[8][-1], lambda v: number(v, 2))} dB, "
            f"int4 {span(found[4][-1], lambda v: number(v, 1))} dB"
        )
    return concluded(parts, figure, "range over ratios, bands and ways to set the range of the levels")


def places(bits: int, losses: pd.Series, inside: pd.Series) -> Part:
    """Whether losses lie within the guide's figures, with the shares that lie below, within and above."""
    least = (INT8_DB if bits == 8 else INT4_DB)[0]
    shares = {"below": (losses < least).mean(), "within": inside.mean()}
    shares["above"] = 1 - sum(shares.values())
    said = ", ".join(f"{number(100 * share, 0)} % {where}" for where, share in shares.items() if share > 0)
    # A claim about a range is refuted where nearly nothing lies in it.
    outcome = HELD if inside.all() else REFUTED if not inside.any() else DEPENDS
    return Part(f"int{bits} ({said} the guide's figures)", outcome)


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
        f"{int(narrow['bits'].min())} bits are stored in {number(stored, 0)} bits"
    )
    wrong = wide["loss_db"].min() > same.max() + 1, stored > narrow["bits"].min() + 0.5
    parts = [
        counted("more than 8 bits work", [not wrong[0]]),
        counted("less than 8 bits are stored as such", [not wrong[1]]),
    ]
    return concluded(parts, figure, "range over the latents of all ratios and bands")


@claim(13, "QuantizationNoise(bits) matches the quantizer.",
       "true step over the step of its noise, which assumes a range of one; loss with real rounding after training with either noise", "quantizers")  # fmt: skip
def noise_matches(tables: Tables) -> Verdict:
    rows = study(tables)
    if rows.empty or "latent_range" not in rows:
        return unmeasured(STUDY)
    ranges = rows[rows["scheme"] == "float32"]["latent_range"].astype(float).dropna()
    if ranges.empty:
        return unmeasured(STUDY)
    near = ranges.between(0.8, 1.25)
    outcome = HELD if near.all() else REFUTED if not ranges.between(0.5, 2).any() else DEPENDS
    parts = [Part(f"steps within a quarter at {int(near.sum())} of {len(near)} latents", outcome)]
    spread = "range over the latents of all ratios and bands"
    figure = f"the true step is {span(ranges, number)} times that of the noise"
    seen = paired(tables.runs, split=None)
    seen = seen[seen["quantizer_training"].isin(("noise", "guide-noise"))] if len(seen) else seen
    keys = ("architecture", "init", "spatial_reduction", "latent_channels", "bits", "seed", "scene", "band")
    if len(seen):
        found = difference(seen, "quantizer_training", "guide-noise", "noise", "loss_db", pair=keys)
        if found.pairs:
            figure += f"; training with it loses {found.text()} against noise of the true step"
            spread += f"; {found.kind} of the loss: {found.span()}" if found.span() else ""
    return concluded(parts, figure, spread)


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
    sizes = {"against float32": nominal, "the file against the recorded product": fixed, "range-coded": coded}
    parts = [counted(name, [bool(np.isclose(sizes[name].mean(), 64, rtol=0.05))]) for name in sizes if len(sizes[name])]
    interval = ", ".join(f"{name} {span(values, number)}×" for name, values in sizes.items() if len(values))
    return concluded(parts, figure, f"range over {rows['run_id'].nunique()} networks and their scenes: {interval}")


@claim(20, "Training with quantization noise makes the network robust to quantization.",
       "loss with real rounding at equal bits and steps, of networks that did not see the quantizer in training minus that of those that did",
       "quantizers")  # fmt: skip
def robust(tables: Tables) -> Verdict:
    rows = paired(tables.runs, split=None)
    if rows.empty:
        return unmeasured(QUANTIZED)
    rows = rows[rows["quantizer_training"].isin(("none", "noise", "ste", "mixed"))]
    rows = rows.assign(scheme=rows["quantizer"].astype(str).str.partition("-")[0])
    pair = ("architecture", "init", "spatial_reduction", "latent_channels", "scheme", "seed", "scene", "band")
    found = {
        seen: difference(rows, "quantizer_training", "none", seen, "loss_db", pair=pair)
        for seen in ("noise", "ste", "mixed")
    }
    found = {seen: item for seen, item in found.items() if item.pairs}
    if not found:
        return Verdict(UNMEASURED, f"needs the same quantizer after training and in it: {QUANTIZED}")
    kinds = {seen: "rounding" if seen == "ste" else seen for seen in found}
    figure = "of the loss it takes " + ", ".join(
        f"{item.text()} with {kinds[seen]} in training ({item.trainings} networks)" for seen, item in found.items()
    )
    # Matched to those that saw the quantizer: the loss that was there to be taken.
    seen_too = rows[rows["quantizer_training"].isin(list(found))]
    keys = [name for name in pair if name not in ("scene", "band")]
    paired_rows = rows[rows["quantizer_training"] == "none"].merge(seen_too[keys].drop_duplicates(), on=keys)
    whole = float(paired_rows["loss_db"].mean())
    figure += f", of {number(whole, 2)} dB in all"
    helps = [compared(f"{kinds[seen]} helps ({item.span()})", item, trainings=2) for seen, item in found.items()]
    most = [
        compared(f"{kinds[seen]} takes away half of it", item, ROBUST * whole, trainings=2)
        for seen, item in found.items()
    ]
    spans = ", ".join(f"{item.span()} with {kinds[seen]}" for seen, item in found.items() if item.span())
    return concluded([*helps, *most], figure, f"interval: {spans}" if spans else "")
