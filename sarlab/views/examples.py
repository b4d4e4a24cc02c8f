"""Published example pictures, joined with their rows, as before/after sliders."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views.compare import Comparison, Variant
from sarlab.views.style import architecture_order
from sarlab.views.summary import bands, main_line, measured, reference_ratio
from sarlab.views.text import Html, Prose, label, missing, number, ratio

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

COLUMNS = ("run_id", "scene", "band", "kind", "file", "clip_low", "clip_high")
#: Side in pixels of the detail of a comparison with many pictures, and how many of them there may be at that size: with more
#: the detail shrinks, so that the page stays below a megabyte.
DETAIL, MOST = 176, 42


def scenes_shown(tables: Tables) -> list[tuple[str, str]]:
    """(scene, band) of the published examples, in the order in which they come."""
    index = _index(tables)
    return list(dict.fromkeys(zip(index["scene"], index["band"], strict=True)))


def by_ratio(
    tables: Tables, scene: str | None = None, band: str | None = None, side: int | None = None
) -> Comparison | Prose:
    """Slider over the ratios, each with the network that does best at it on this very scene.

    Parameters
    ----------
    tables : Tables
    scene, band : str, optional
        Default: the first.
    side : int, optional
        Of the middle of the pictures that is shown, in pixels; default: all of it.
    """
    rows, index = _joined(tables, scene, band)
    if rows.empty:
        return missing("example pictures")
    chosen = []
    for _, group in rows.sort_values("dimension_ratio").groupby("dimension_ratio"):
        networks = group[group["architecture"] != "klt"]
        group = networks if len(networks) else group
        chosen.append(group.loc[group["psnr_db"].astype(float).idxmax()])
    at = reference_ratio(rows)
    first = next(i for i, row in enumerate(chosen) if row["dimension_ratio"] == at)
    variants = [_variant(tables, index, row, ratio(row["dimension_ratio"]), side=side) for row in chosen]
    return _comparison(tables, index, rows, variants, first, "the best network at each ratio", side)


def networks(tables: Tables, scene: str | None = None, band: str | None = None) -> Comparison | Prose:
    """Any two of the original and all networks at all ratios."""
    rows, index = _joined(tables, scene, band)
    if rows.empty:
        return missing("example pictures")
    place = {name: i for i, name in enumerate(architecture_order(rows["architecture"]))}
    rows = rows.assign(_place=rows["architecture"].map(place), _init=rows["init"] != "scratch")
    rows = rows.sort_values(["_place", "_init", "dimension_ratio", "seed"])
    rows = rows.drop_duplicates(["architecture", "init", "dimension_ratio"])
    at, ratios = reference_ratio(rows), sorted(rows["dimension_ratio"].unique())
    chosen = [row for _, row in rows.iterrows()]
    side = int(DETAIL * min(1.0, MOST / len(chosen)) ** 0.5)
    variants = [
        _variant(tables, index, row, ratio(row["dimension_ratio"]), label(row["architecture"], row["init"]), side)
        for row in chosen
    ]
    here = [i for i, row in enumerate(chosen) if row["dimension_ratio"] == at]
    best = max(here, key=lambda i: float(chosen[i]["psnr_db"]))
    steps = [ratio(value) for value in ratios]
    return _comparison(tables, index, rows, variants, best, "every network at every ratio", side, steps=steps)


def other_bands(tables: Tables, limit: int = 2) -> Html | Prose:
    """Sliders over the ratios for the scenes and bands after the first, folded away."""
    rest = scenes_shown(tables)[1 : 1 + limit]
    parts = []
    for scene, band in rest:
        comparison = by_ratio(tables, scene, band, DETAIL)
        if isinstance(comparison, Comparison):
            name = html.escape(f"{scene}, band {band}")
            parts.append(f"<details><summary>{name}</summary>{comparison._repr_html_()}</details>")
    return Html("".join(parts), f"{len(parts)} more comparisons") if parts else Prose()


def originals(tables: Tables, limit: int = 6) -> list[tuple[str, np.ndarray, tuple[float, float]]]:
    """(name, image in dB, clip) of the recorded test scenes, as `sarlab.views.plots.gallery` takes them."""
    index = _index(tables)
    firsts = index[index["kind"] == "original"].drop_duplicates(["scene", "band"])
    pictures = []
    for row in firsts.head(limit).itertuples():
        clip = (float(row.clip_low), float(row.clip_high))
        gray = _read(tables, row.file)
        pictures.append((f"{row.scene}, {row.band}", clip[0] + gray / 255.0 * (clip[1] - clip[0]), clip))
    return pictures


def _index(tables: Tables) -> pd.DataFrame:
    """Index of the published pictures, the bands in the order of the runs."""
    index = tables.table("examples", COLUMNS)
    place = {band: i for i, band in enumerate(bands(tables.runs))}
    return index.assign(_place=index["band"].map(place)).sort_values("_place", kind="stable").drop(columns="_place")


def _joined(tables: Tables, scene: str | None, band: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the runs that have pictures of one scene and band (default: the first), and the index of the pictures."""
    index = _index(tables)
    if index.empty:
        return index, index
    scene = scene or index["scene"].iloc[0]
    band = band or index.loc[index["scene"] == scene, "band"].iloc[0]
    index = index[(index["scene"] == scene) & (index["band"] == band)]
    rows = main_line(measured(tables.runs, band=band))
    pictured = index.loc[index["kind"] == "reconstruction", "run_id"]
    return rows[(rows["scene"] == scene) & rows["run_id"].isin(pictured)], index


def _variant(
    tables: Tables, index: pd.DataFrame, row: pd.Series, step: str, series: str = "", side: int | None = None
) -> Variant:
    found = index[(index["run_id"] == row["run_id"]) & (index["kind"] == "reconstruction")].iloc[0]
    facts = {
        "PSNR": f"{number(row['psnr_db'], 1)} dB",
        "over the KLT": f"{number(row['gain_over_klt_db'], 2, sign=True)} dB",
        "SSIM": number(row["ssim"], 2),
        "error (RMS)": f"{number(row['rmse_db'], 2)} dB",
        "edges kept": number(row["epi_roa"], 2),
        "noise floor": number(row.get("epi_roa_floor", np.nan), 2),
        "looks ÷ before": number(row["enl_ratio"], 2),
        "bias": f"{number(row['bias_db'], 2, sign=True)} dB",
        "file": f"{number(row['bpp'], 2)} bpp",
        "file ÷ product": f"1 : {number(row['measured_cr'], 1)}",
    }
    unknown = {"over the KLT"} if row["architecture"] == "klt" else set()
    if not np.isfinite(float(row.get("epi_roa_floor", np.nan))):
        unknown.add("noise floor")
    facts = {name: value for name, value in facts.items() if name not in unknown}
    name = "" if series else label(row["architecture"], row["init"])
    gray = _middle(_read(tables, found["file"]), side)
    written = " · ".join((series or name, step, facts["file"], facts["PSNR"]))
    return Variant(step, gray, name, facts, series, written)


def _comparison(
    tables: Tables, index: pd.DataFrame, rows: pd.DataFrame, variants: list[Variant], first: int, what: str,
    side: int | None, steps: Sequence[str] = (),
) -> Comparison:  # fmt: skip
    original = index[index["kind"] == "original"].iloc[0]
    gray = _middle(_read(tables, original["file"]), side)
    row = rows.iloc[0]
    native = pd.to_numeric(rows["native_bits"], errors="coerce").iloc[0]
    return Comparison(
        gray, variants, first=first, steps=steps, title=f"{row['scene']}, band {row['band']}: {what}",
        clip=(float(original["clip_low"]), float(original["clip_high"])),
        facts={"recorded with": f"{number(native, 0)} bit per pixel"},
        caption=f"{gray.shape[0]}×{gray.shape[1]} pixels of the scene at full resolution. The numbers are those of the whole scene.",
    )  # fmt: skip


def _middle(gray: np.ndarray, side: int | None) -> np.ndarray:
    """Square in the middle of a picture; all of it where it is smaller."""
    top, left = (max(0, (length - (side or length)) // 2) for length in gray.shape)
    return gray[top : top + (side or len(gray)), left : left + (side or gray.shape[1])]


def _read(tables: Tables, file: str) -> np.ndarray:
    """8-bit picture of ``results/images``."""
    from PIL import Image

    with Image.open(tables.image(str(file))) as image:
        return np.asarray(image.convert("L"))
