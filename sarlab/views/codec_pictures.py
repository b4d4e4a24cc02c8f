"""Codecs side by side at equal bytes: the pictures of the study, as a comparison with measured rates and metrics."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views.codec_rows import name_of
from sarlab.views.compare import Comparison, Variant
from sarlab.views.limit_figures import COMMAND
from sarlab.views.text import Prose, missing, number, ratio

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

COLUMNS = ("codec", "target_value", "scene", "band", "bpp", "measured_cr", "picture", "clip_low", "clip_high")
#: At first: the codec that is best known against the learned one, at the rate where both are clearly not the original.
LEFT, RIGHT, AT_BPP = "jpeg2000", "lapped", 0.25
#: Gray levels of the pictures in the table, kept in the page.
LEVELS = 256


def side_by_side(tables: Tables) -> Comparison | Prose:
    """Any two of the original, and what each codec makes of it at each rate."""
    table = tables.table("pictures", COLUMNS)
    rows = table.dropna(subset=["picture"])
    originals = rows[rows["codec"] == "original"]
    made = rows[rows["codec"] != "original"].reset_index(drop=True)
    if originals.empty or made.empty:
        return missing("pictures of codecs", COMMAND)
    original = originals.iloc[0]
    clip = (float(original["clip_low"]), float(original["clip_high"]))
    steps = [_rate(value) for value in sorted(made["target_value"].unique())]
    gray = _decode(original["picture"])
    first, left = (_find(made, codec) for codec in (RIGHT, LEFT))
    native = float(original["native_bits"])
    kind = "Simulated" if str(original["simulated"]).lower() == "true" else "Recorded"
    return Comparison(
        gray, [_variant(row) for _, row in made.iterrows()], clip=clip, steps=steps, choice="rate", levels=LEVELS,
        first=first if first is not None else 0, left=left if left != first else None,
        title=f"{original['scene']}, band {original['band']}: codecs at equal bytes",
        facts={"recorded with": f"{number(native, 0)} bit per pixel"},
        caption=f"{kind}: {gray.shape[0]}×{gray.shape[1]} pixels at full resolution, where the scene has most structure. The files, and the "
        f"numbers, are those of the whole band of {original['height']:g}×{original['width']:g} pixels.{_unreached(table)}",
    )  # fmt: skip


def _rate(value: float) -> str:
    return f"{value:g} bpp"


def _variant(row: pd.Series) -> Variant:
    facts = {
        "file": f"{number(row['bpp'], 3)} bpp",
        "ratio": ratio(row["measured_cr"]),
        "PSNR": f"{number(row['psnr_db'], 1)} dB",
        "SSIM": number(row["ssim"], 2),
        "edges kept": number(row["epi_roa"], 2),
        "looks ÷ before": number(row["enl_ratio"], 2),
        "bias": f"{number(row['bias_db'], 2, sign=True)} dB",
        "error of 8×8 means": f"{number(row['rmse_k8_db'], 2)} dB",
        "largest error": f"{number(row['peak_error_db'], 1)} dB",
    }
    name = name_of(str(row["codec"]))
    written = " · ".join((name, facts["file"], facts["ratio"], facts["PSNR"]))
    return Variant(_rate(row["target_value"]), _decode(row["picture"]), "", facts, name, written)


def _find(made: pd.DataFrame, codec: str) -> int | None:
    """Place of the picture of a codec nearest to the rate that is shown at first."""
    of_codec = made[made["codec"] == codec]
    return None if of_codec.empty else int((of_codec["target_value"] - AT_BPP).abs().idxmin())


def _unreached(table: pd.DataFrame) -> str:
    """Which rates a codec could not reach, in a sentence."""
    missed = table[table["picture"].isna()]
    parts = [
        f"{name_of(str(codec))} has no file of {', '.join(_rate(v) for v in rows['target_value'])}"
        for codec, rows in missed.groupby("codec", sort=False)
    ]
    return f" {'; '.join(parts)}." if parts else ""


def _decode(text: str) -> np.ndarray:
    """Grays of a picture of the table, shape (height, width)."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"))
