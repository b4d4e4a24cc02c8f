"""What the guide's quantizer costs, and total compression ratios as it counts them beside those of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import listing
from sarlab.views.quant_rows import COMMAND, family, loss, study
from sarlab.views.text import Html, Prose, missing, number, ratio, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables


def guide_faults(tables: Tables) -> Prose:
    """What each fault of the guide's code costs."""
    rows = study(tables)
    guide = rows[rows["scheme"] == "guide"] if len(rows) else rows
    if guide.empty:
        return missing("measurements of the guide's code", COMMAND)
    lines = []
    wide = guide[guide["bits"] > 8]
    if len(wide):
        bits = int(wide["bits"].min())
        told = wide[wide["bits"] == bits]["loss_db"]
        true = family(rows, "tensor")
        true = true[true["bits"] == bits]["loss_db"]
        lines.append(
            f"**Above 8 bits it wraps around.** Its integers are cast to 8 bits: at {bits} bits it loses {span(told, number)} dB. The same "
            f"grid stored in {bits} bits loses at most {loss(true.max())} dB."
        )
    narrow = guide[guide["bits"] < 8]
    if len(narrow):
        bits = int(narrow["bits"].min())
        lines.append(
            f"**Below 8 bits it saves nothing.** {bits} bits a value are stored in {number(narrow[narrow['bits'] == bits]['fixed_bits'].min(), 0)} bits."
        )
        at = rows["dimension_ratio"].min()
        told = narrow[(narrow["bits"] == bits) & (narrow["dimension_ratio"] == at)]["loss_db"].iloc[0]
        others = [family(rows, key, at=at) for key in ("minmax", "companded")]
        values = [line[line["bits"] == bits]["loss_db"] for line in others]
        if all(len(v) for v in values):
            lines.append(
                f"**One range for all channels.** The strongest channel sets the step of the weakest: at {bits} bits and {ratio(at)} it loses "
                f"{number(told)} dB, a range per channel {number(values[0].iloc[0])}, bits where they are needed {number(values[1].iloc[0], 2)}."
            )
    lines.append(
        f"**It does not count its side information**, {int(guide['side_bytes'].max())} bytes in every file, without which nothing can be decoded."
    )
    plain = rows[rows["scheme"] == "float32"]["latent_range"]
    lines.append(
        f"**Its training noise fits a range of one.** These latents range over {span(plain, number)}: the true step is so many times the noise."
    )
    return Prose("\n".join(f"- {line}" for line in lines))


def total_compression(tables: Tables) -> Html | Prose:
    """The guide's total ratio beside that of the file, against float32, the product's own bits, and a lossless file."""
    rows = study(tables)
    if rows.empty:
        return missing("quantized latents of the KLT", COMMAND)
    lossless = lossless_bpp(tables)
    body = []
    for at in sorted(rows["dimension_ratio"].unique()):
        here = rows[rows["dimension_ratio"] == at]
        guide = here[(here["scheme"] == "guide") & (here["bits"] == 8)]
        if guide.empty:
            continue
        guide = guide.iloc[0]
        coded = family(here, "coded")
        coded = coded[coded["bits"] == 8]
        four = family(here, "companded")
        four = four[four["bits"] == 4]
        side = int(256 / guide["spatial_reduction"])
        native = float(guide["native_bits"])
        body.append(
            [
                f"{side}×{side}×{int(guide['latent_channels'])}",
                ratio(at),
                ratio(at * 32 / 8),
                ratio(at * native / 8),
                *_file(guide, "bpp", native),
                ratio(lossless / float(guide["bpp"])) if np.isfinite(lossless) else "–",
                *(_file(coded.iloc[0], "coded_bpp", native) if len(coded) else ["–"] * 2),
                *(_file(four.iloc[0], "bpp", native) if len(four) else ["–"] * 2),
            ]
        )
    heads = [
        "8 bit: file",
        "PSNR (dB)",
        "8 bit: lossless ÷ file",
        "8 bit, range-coded: file",
        "PSNR (dB)",
        "4 bit, companded: file",
        "PSNR (dB)",
    ]
    return listing.table(
        ["latent of 256²", "values", "8 of 32 bits", "8 of native bits", *heads],
        body,
        caption="Compression ratio as the guide counts it, against the product's own bits, and of real files (product ÷ file); 8 bit is the guide's code",
    )


def _file(row: pd.Series, column: str, native: float) -> list[str]:
    """Product over file, and PSNR."""
    return [ratio(native / float(row[column])), number(row["psnr_db"])]


def lossless_bpp(tables: Tables) -> float:
    """Bits per pixel of the best lossless file of the recorded scenes as they are stored, mean over bands; NaN if not measured."""
    rows = tables.table("scene_entropy")
    if rows.empty or "jpegls_bpp" not in rows:
        return float("nan")
    rows = rows[rows["kind"].isin(("radar",)) & (rows["grid"] == "as stored")]
    best = rows[["jpegls_bpp", "jpeg2000_bpp"]].apply(pd.to_numeric, errors="coerce").min(axis=1)
    return float(best.mean()) if len(best) else float("nan")


def total_text(tables: Tables) -> Prose:
    """The guide's example, recomputed."""
    rows = study(tables)
    guide = rows[(rows["scheme"] == "guide") & (rows["bits"] == 8)] if len(rows) else rows
    guide = guide[(guide["spatial_reduction"] == 16) & (guide["latent_channels"] == 16)] if len(guide) else guide
    if guide.empty:
        return Prose()
    row = guide.iloc[0]
    at, native = float(row["dimension_ratio"]), float(row["native_bits"])
    coded = family(rows, "coded", at=at)
    coded = coded[coded["bits"] == 8]
    lossless = lossless_bpp(tables)
    parts = [
        f"The guide's example, a latent of 16×16×16 at 8 bits, is {ratio(at * 4)} against samples of 32 bits. The product has "
        f"{native:g}: {ratio(at * native / 8)}. The whole file with header and range: {ratio(native / row['bpp'])}.",
        f"With its range learned in training and the integers range-coded, the file is {ratio(native / coded['coded_bpp'].iloc[0])}."
        if len(coded) and np.isfinite(coded["coded_bpp"].iloc[0])
        else "",
        f"Against the best lossless file of the same samples, {number(lossless)} bit per pixel, the file as the guide stores it is "
        f"{ratio(lossless / row['bpp'])}."
        if np.isfinite(lossless)
        else "",
    ]
    return Prose(" ".join(part for part in parts if part))
