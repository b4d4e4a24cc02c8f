"""The chapters on files and whole scenes: bytes by part, against the estimate, seconds, tiles, seams, regions, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views.figure import Figure, Panel
from sarlab.views.lines import Line, panel
from sarlab.views.style import BLUE, GREEN, VERMILION, Look
from sarlab.views.text import Prose, compact, listing, missing, number, significant, span
from sarlab.views.trainings import COMMAND

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

WHAT = "measurements of real files (study files)"
LOOKS = {"lapped": Look("lapped", BLUE, "o"), "factorized": Look("factorized", VERMILION, "s")}
PARTS = {"header_bytes": "header", "metadata_bytes": "names and georeference", "index_bytes": "index of tiles"}


def study(tables: Tables, sweep: str) -> pd.DataFrame:
    """Rows of one sweep of the study ``files``."""
    rows = tables.table("files")
    return rows[rows["sweep"] == sweep] if len(rows) and "sweep" in rows else pd.DataFrame()


def look(codec: str) -> Look:
    """Look of a codec's series."""
    return LOOKS.get(codec, Look(codec, GREEN, "^"))


def lines(rows: pd.DataFrame, x: str, y: pd.Series) -> list[Line]:
    """One line per codec, without intervals."""
    found = []
    for codec, part in rows.assign(_y=y).groupby("codec", sort=False):
        frame = pd.DataFrame({x: part[x], "mean": part["_y"], "low": np.nan, "high": np.nan})
        found.append(Line.of(look(str(codec)), frame, x))
    return found


def overhead(tables: Tables) -> Figure:
    """Bytes beside the payload as a share of the file, and how far the estimate is off, over the rate."""
    rows = study(tables, "quality")
    if rows.empty:
        return Figure.nothing(WHAT, COMMAND)
    panels = []
    for image, part in rows.groupby("image", sort=False):
        part = part.assign(bpp=8 * part["bytes"] / part["pixels"])
        beside = 100 * (part["bytes"] - part["payload_bytes"]) / part["bytes"]
        title = f"{image}: not payload (% of the file)"
        panels.append(
            panel(
                lines(part, "bpp", beside), title, "bits per pixel", names=lambda v: number(v, 2), digits=2, width=3.8
            )
        )
        _few_ticks(panels[-1], part["bpp"])
    share = 100 * (rows["bytes"] - rows["payload_bytes"]) / rows["bytes"]
    off = 100 * (rows["bytes"] / rows["estimated_bytes"] - 1)
    return Figure(
        panels, key=[look(str(c)) for c in rows["codec"].unique()], narrowest=260,
        title=f"All but {span(share, lambda v: significant(v, 2))} % of a file is payload",
        caption=f"{_images(rows)}. The estimate of the encoder, before anything is written, is off by {span(off, lambda v: number(v, 2, sign=True))} %.",
    )  # fmt: skip


def _few_ticks(drawn: Panel, values: pd.Series) -> None:
    """Powers of two in place of every measured rate."""
    ax = drawn.drawing.axes[0]
    ticks = 2.0 ** np.arange(np.ceil(np.log2(values.min())), np.floor(np.log2(values.max())) + 1)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def whole(value: float) -> str:
    """Count with thin spaces between thousands."""
    return f"{int(value):,}".replace(",", "\u202f")


def _images(rows: pd.DataFrame) -> str:
    sizes = rows.groupby("image", sort=False)[["pixels", "bands"]].first()
    return "; ".join(
        f"{name}: {compact(r.pixels)} samples in {_count(int(r.bands), 'band')}" for name, r in sizes.iterrows()
    )


def _count(count: int, word: str) -> str:
    return f"one {word}" if count == 1 else f"{count} {word}s"


def parts_table(tables: Tables) -> Prose:
    """Bytes of each part of a file, at the quality in the middle."""
    rows = study(tables, "quality")
    if rows.empty:
        return missing(WHAT, COMMAND)
    qualities = np.sort(rows["quality"].unique())
    rows = rows[rows["quality"] == qualities[(len(qualities) - 1) // 2]]
    names = [f"{r.codec}, {r.image}" for r in rows.itertuples()]
    head = f"| bytes | {' | '.join(names)} |\n|---|{'--:|' * len(names)}"
    body = [f"| {label} | {' | '.join(whole(v) for v in rows[column])} |" for column, label in PARTS.items()]
    body.append(f"| payload of all tiles | {' | '.join(whole(v) for v in rows['payload_bytes'])} |")
    body.append(f"| **whole file** | {' | '.join(f'**{whole(v)}**' for v in rows['bytes'])} |")
    native = rows["pixels"] * rows["native_bits"] / 8
    body.append(f"| ratio to the recorded samples | {' | '.join(number(v) + '×' for v in native / rows['bytes'])} |")
    return Prose("\n".join([head, *body]))


def text(tables: Tables) -> Prose:
    """What the bytes and seconds say."""
    rows = study(tables, "quality")
    if rows.empty:
        return missing(WHAT, COMMAND)
    small = rows[rows["image"] == rows["image"].iloc[0]]
    large = rows[rows["image"] != rows["image"].iloc[0]]
    fixed = (small["bytes"] - small["payload_bytes"]) * 8 / small["pixels"]
    sentences = [
        f"- **Overhead.** On the smallest image everything beside the payload takes {span(fixed, lambda v: number(v, 3))} bit per pixel; "
        "it hardly grows with the image, so on a whole product it is nothing."
    ]
    off = 100 * (rows["bytes"] / rows["estimated_bytes"] - 1).abs()
    sentences.append(
        f"- **Estimate.** The encoder knows the size before it writes: it was off by at most {number(off.max(), 2)} %, which is how "
        "`--bpp` finds its quality."
    )
    if len(large):
        speeds = []
        for codec, part in large.groupby("codec", sort=False):
            each = [(part["pixels"] / part[f"{way}_s"] / 1e6).median() for way in ("encode", "decode")]
            speeds.append(f"{codec} codes {number(each[0])} and decodes {number(each[1])} million samples a second")
        sentences.append(f"- **Time.** On one core {listing(speeds)} (CPU time, from memory to memory).")
    return Prose("\n".join(sentences))


def networks_files(tables: Tables) -> Prose:
    """Files of the fixed-latent networks: nominal ratio, fixed length, range-coded."""
    rows = tables.runs
    rows = rows[(rows["split"] == "test") & rows["measured_cr"].notna()] if len(rows) else rows
    rows = rows[rows["quantizer"].astype(str).str.fullmatch(r"u8|u4|a4|f32")] if len(rows) else rows
    if rows.empty:
        return missing("quantized runs")
    rows = rows[
        rows["dimension_ratio"] == (16 if (rows["dimension_ratio"] == 16).any() else rows["dimension_ratio"].median())
    ]
    head = "| quantizer | ratio of values × bits, of float32 | file at a fixed length, of the recorded samples | range-coded |\n|---|--:|--:|--:|"
    body = []
    for label, part in rows.groupby("quantizer", sort=False):
        coded = pd.to_numeric(part.get("coded_cr"), errors="coerce").mean() if "coded_cr" in part else np.nan
        body.append(
            f"| `{label}` | {number(part['nominal_cr'].mean())}× | {number(part['measured_cr'].mean())}× | {number(coded)}{'×' if np.isfinite(coded) else ''} |"
        )
    return Prose("\n".join([head, *body]))


def tiles(tables: Tables) -> Figure:
    """What the side of a tile costs in bytes, and what a region takes to decode."""
    rows = study(tables, "tile")
    if rows.empty:
        return Figure.nothing(WHAT, COMMAND)
    axis, side = "side of a tile (pixels)", lambda v: f"{v:g}"
    best = rows.groupby("codec")["bytes"].transform("min")
    read = 100 * rows["region_bytes"] / rows["bytes"]
    seam = rows["seam_rmse_db"] - rows["inner_rmse_db"]
    panels = [
        panel(lines(rows, "tile", 100 * (rows["bytes"] / best - 1)), "file above the smallest (%)", axis, good="↓ better", names=side),
        panel(lines(rows, "tile", read), "read for a region (% of the file)", axis, good="↓ better", names=side, digits=0),
        panel(lines(rows[seam.notna()], "tile", seam), "at borders − rest (dB)", axis, good="↓ better", names=side, digits=3, zero="no seam", sign=True),
    ]  # fmt: skip
    equal = bool(rows["region_equal"].astype(str).str.lower().eq("true").all())
    return Figure(
        panels, key=[look(str(c)) for c in rows["codec"].unique()], narrowest=230,
        title=f"Along the borders of tiles the error differs by at most {number(seam.abs().max(), 2)} dB from the {span(rows['inner_rmse_db'], lambda v: number(v, 1))} dB elsewhere",
        caption=f"A simulated product of {compact(rows['pixels'].iloc[0])} pixels at one quality; the region is {compact(rows['region_pixels'].iloc[0])} pixels in its "
        f"middle. Regions that were decoded alone {'equal' if equal else 'do not equal'} the same part of the whole.",
    )  # fmt: skip


def sizes(tables: Tables) -> Figure:
    """Seconds and memory over the size of a product, from file to file."""
    rows = study(tables, "size")
    if rows.empty:
        return Figure.nothing(WHAT, COMMAND)
    axis = "million pixels"
    rows = rows.assign(million=rows["pixels"] / 1e6)
    panels = []
    for way in ("encode", "decode"):
        each = lines(rows, "million", rows[f"{way}_s"] / rows["million"])
        panels.append(panel(each, f"{way} (CPU s a Mpixel)", axis, good="↓ better", names=lambda v: f"{v:.2g}"))
    used = rows["peak_mb"] - rows["process_mb"]
    panels.append(
        panel(
            lines(rows, "million", used),
            "memory, program aside (MB)",
            axis,
            good="↓ better",
            names=lambda v: f"{v:.2g}",
            digits=0,
        )
    )
    largest = rows[rows["pixels"] == rows["pixels"].max()]
    times = rows["pixels"].max() / rows["pixels"].min()
    device = listing(sorted({str(d) for d in rows["device"].dropna().unique()}))
    growth = (used[rows["pixels"] == rows["pixels"].max()].max()) / used[rows["pixels"] == rows["pixels"].min()].max()
    return Figure(
        panels, key=[look(str(c)) for c in rows["codec"].unique()], narrowest=230,
        title=f"{number(times, 0)} times the pixels take {number(growth)} times the memory",
        caption=f"From a GeoTIFF of 16 bits to a file and back, one process of one thread on {device}; CPU time, start of the program left out. "
        f"The program itself takes {number(rows['process_mb'].median(), 0)} MB; the largest image alone is {number(2 * largest['pixels'].iloc[0] / 1e6, 0)} MB.",
    )  # fmt: skip


def whole_text(tables: Tables) -> Prose:
    """What a product of the usual size takes, from the largest that was measured."""
    rows = study(tables, "size")
    if rows.empty:
        return missing(WHAT, COMMAND)
    rows = rows[rows["pixels"] == rows["pixels"].max()]
    lines_ = []
    for row in rows.itertuples():
        lines_.append(
            f"- **{row.codec}**: {compact(row.pixels)} pixels in {number(row.encode_s)} s and back in {number(row.decode_s)} s of one core, "
            f"with at most {number(row.peak_mb, 0)} MB; the file holds {number(8 * row.bytes / row.pixels, 2)} bit per pixel."
        )
    return Prose("\n".join(lines_))


def regions_table(tables: Tables) -> Prose:
    """Seconds and bytes of a region of interest by tile size."""
    rows = study(tables, "tile")
    if rows.empty:
        return missing(WHAT, COMMAND)
    head = "| codec | side of a tile | whole file | region: bytes read | region: CPU time | whole: CPU time |\n|---|--:|--:|--:|--:|--:|"
    body = [
        f"| {r.codec} | {int(r.tile)} | {whole(r.bytes)} bytes | {whole(r.region_bytes)} | {number(1000 * r.region_s, 0)} ms | {number(1000 * r.decode_s, 0)} ms |"
        for r in rows.itertuples()
    ]
    return Prose("\n".join([head, *body]))


def machine(tables: Tables) -> Prose:
    """Hardware, versions and date of the measurements."""
    told = (tables.manifest.get("studies") or {}).get("files") or {}
    rows = tables.table("files")
    if rows.empty:
        return Prose()
    versions = told.get("versions") or {}
    stack = ", ".join(f"{name} {versions[name]}" for name in ("sarlab", "python", "torch", "numpy") if name in versions)
    device = listing(sorted({str(d) for d in rows["device"].dropna().unique()}))
    parts = [f"measured on {device}, one thread", stack, str(told.get("finished") or "")]
    return Prose(
        f"*{'; '.join(part for part in parts if part)}. Other work on the machine disturbs CPU time less than the clock, but it does.*"
    )
