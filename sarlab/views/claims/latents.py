"""Claims about latents and their bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import page, select
from sarlab.views.page import number

from sarlab.views.claims.verdict import (  # isort: skip
    DEPENDS, HELD, REFUTED, Evidence, Reading, Verdict, claim, compared, conclude, networks, shares, unmeasured,
)  # fmt: skip

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

QUANTIZED, STUDY = "quantized networks", "the study latent_bits"
LEVELS = 256
#: Losses in dB that the guide states, by bits.
GUIDE_DB = {16: (-np.inf, 0.1), 8: (0.5, 2.0), 4: (2.0, 5.0)}
#: Shares from which on a latent uses its whole range, and training with a quantizer makes a network robust.
WHOLE, ROBUST = 0.9, 0.5


def even(count: float) -> tuple[float, float]:
    """Share of levels in use and entropy in bits of so many values drawn evenly from all levels."""
    p = np.unique(np.random.default_rng(0).integers(LEVELS, size=int(count)), return_counts=True)[1] / int(count)
    return len(p) / LEVELS, float(-(p * np.log2(p)).sum())


def latent_bits(t: Tables) -> pd.DataFrame:
    """Rows of the study of KLT latents with a loss."""
    columns = [
        "loss_db", "scheme", "calibration", "granularity", "bits", "bytes", "values", "latent_range", "acquisition",
    ]  # fmt: skip
    return t.table("latent_bits", columns).dropna(subset=["loss_db"])


@claim(4, "Well-trained latents use the whole range.", "entropy close to its maximum", "entropy")
def whole_range(t: Tables) -> Verdict:
    rows = networks(t, quantized=True).reindex(columns=[*t.runs.columns.union(["level_usage", "latent_entropy"])])
    rows = rows.assign(count=rows["pixels"] / rows["spatial_reduction"] ** 2, all="")
    rows = rows[rows["quantizer"].isin(("u8", "u8t")) & (rows["count"] >= LEVELS) & rows["level_usage"].notna()]
    if rows.empty:
        return unmeasured(f"{QUANTIZED} of 8 bits with at least {LEVELS} positions")
    reference = np.array([even(count) for count in rows["count"]]).T
    rows = rows.assign(levels=rows["level_usage"] / reference[0], entropy=rows["latent_entropy"] / reference[1])
    found = {name: select.means(rows, name, "all").iloc[0] for name in ("levels", "entropy")}
    readings = [
        Reading(f"{name} {page.interval(v, 2)} of evenly spread values", HELD if v["mean"] >= WHOLE else REFUTED)
        for name, v in found.items()
    ]
    failed = REFUTED if REFUTED in {reading.outcome for reading in readings} else ""
    return conclude(readings, Evidence.of(rows, trained=True), outcome=failed)


@claim(11, "Quantizing the latent costs little PSNR.", "float16 < 0.1 dB, int8 0.5–2 dB, int4 2–5 dB", "quantizers")
def losses(t: Tables) -> Verdict:
    rows, readings = latent_bits(t), []
    rows = rows[(rows["scheme"] == "float16") | ((rows["scheme"] == "affine") & (rows["calibration"] == "minmax"))]
    for bits, (low, high) in GUIDE_DB.items():
        loss = (
            rows[rows["bits"] == bits].groupby(["dimension_ratio", "granularity"])["loss_db"].mean()
            if len(rows)
            else rows["bits"]
        )
        if loss.empty:
            return unmeasured(STUDY)
        inside = loss.between(low, high)
        span = page.span(loss, lambda v: number(v, 3 if abs(v) < 0.1 else 2))
        outcome = HELD if inside.all() else DEPENDS if inside.any() else REFUTED
        readings.append(Reading(f"{bits} bits {span} dB ({inside.sum()} of {len(loss)} as stated)", outcome))
    measured = f"{', '.join(reading.text for reading in readings)}, by ratio and range"
    return conclude(readings, Evidence.of(rows), measured)


@claim(12, "Min-max quantization as written works for any number of bits.", "uint8 for any bits", "quantizers")
def as_written(t: Tables) -> Verdict:
    rows = latent_bits(t)
    guide = rows[rows["scheme"] == "guide"]
    wide, narrow = guide[guide["bits"] > 8], guide[guide["bits"] < 8]
    if wide.empty or narrow.empty:
        return unmeasured(STUDY)
    same = rows[(rows["scheme"] == "affine") & (rows["granularity"] == "tensor") & (rows["bits"] == wide["bits"].min())]
    stored, span = (8 * narrow["bytes"] / narrow["values"]).min(), page.span(wide["loss_db"], number)
    works = bool(wide["loss_db"].min() <= same["loss_db"].max() + 1)
    readings = [
        shares([works], f"above 8 bits it loses {span} dB"),
        shares([bool(stored <= narrow["bits"].min() + 0.5)], f"{narrow['bits'].min():g} bits take {number(stored, 0)}"),
    ]
    return conclude(readings, Evidence.of(guide), "; ".join(reading.text for reading in readings))


@claim(13, "QuantizationNoise(bits) simulates the quantizer.", "noise of step 1 / (2^bits − 1)", "quantizers")
def noise_matches(t: Tables) -> Verdict:
    rows = latent_bits(t)
    ranges = rows.loc[rows["scheme"] == "float32", "latent_range"].dropna()
    if ranges.empty:
        return unmeasured(STUDY)
    measured = f"the true step is {page.span(ranges, number)} times that of the noise, which assumes a range of 1"
    return conclude([shares(ranges.between(0.8, 1.25), "steps agree within a quarter")], Evidence.of(rows), measured)


@claim(14, "16×16×16 at 8 bits compresses 64×.", "64×", "quantizers")
def total_ratio(t: Tables) -> Verdict:
    rows = select.measured(t.runs)
    rows = rows[(rows["latent_channels"] == 16) & (rows["spatial_reduction"] == 16) & (rows["bits"] == 8)]
    sizes = {"against float32": "nominal_cr", "file against 16-bit samples": "measured_cr", "range-coded": "coded_cr"}
    means = {name: select.numbers(rows, column).mean() for name, column in sizes.items()}
    means = {name: mean for name, mean in means.items() if np.isfinite(mean)}
    if not means:
        return unmeasured(QUANTIZED)
    readings = [
        shares([bool(np.isclose(mean, 64, rtol=0.05))], f"{name} {number(mean)}×") for name, mean in means.items()
    ]
    return conclude(readings, Evidence.of(rows), ", ".join(reading.text for reading in readings))


@claim(20, "Training with quantization noise makes the network robust.", "no number", "quantizers")
def robust(t: Tables) -> Verdict:
    same = [
        "architecture", "init", "spatial_reduction", "latent_channels", "width", "depth", "steps", "seed", "scene", "band",
    ]  # fmt: skip
    rows = select.measured(t.runs)
    rows = rows[rows["architecture"] != "klt"]
    plain = rows[rows["quantizer"] == "f32"].drop_duplicates(same)[[*same, "psnr_db"]]
    rows = rows[rows["quantizer"] != "f32"].merge(plain.rename(columns={"psnr_db": "unquantized"}))
    scheme = rows["quantizer"].astype(str).str.partition("-")[0] if len(rows) else ""
    rows = rows.assign(loss_db=rows["unquantized"] - rows["psnr_db"], scheme=scheme)
    seen = rows[rows["quantizer_training"].isin(("noise", "ste", "mixed"))]
    after = rows[rows["quantizer_training"] == "none"].merge(seen[[*same, "scheme"]].drop_duplicates())
    if after.empty:
        return unmeasured("the same quantizer after training and in it")
    whole, rows, readings = after["loss_db"].mean(), pd.concat([after, seen]), []
    for kind in seen["quantizer_training"].unique():
        name, sides = "rounding" if kind == "ste" else kind, (rows, "quantizer_training", "none", kind, "loss_db")
        readings += [
            compared(f"{name} in training removes", *sides, pair=(*same, "scheme"), limit=limit, digits=3)
            for limit in (ROBUST * whole, 0.0)
        ]
    measured = f"{'; '.join(reading.text for reading in readings[::2])} of {number(whole, 3)} dB"
    return conclude(readings, Evidence.of(rows, trained=True), measured)
