"""Codecs on the test and independent scenes of a split, at matched PSNR, from real files.

Every codec is asked for the same PSNR values on every scene and band, as the protocol of Bjøntegaard differences
requires. ``reflectivity`` compares codecs on simulated scenes, where the reflectivity is known, with two references: the
recorded image itself, as if it were kept without loss, and a Lee filter of it, a despeckler that does not compress.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from sarlab.codec.goals import Goal
from sarlab.codec.model_store import BUILT_IN
from sarlab.errors import ResultsError
from sarlab.lab.evaluate import evaluate
from sarlab.lab.inputs import Source, measurable
from sarlab.lab.studies import Context, available, image_row, simulated_splits, study
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.speckle import lee_filter
from sarlab.peers import codecs
from sarlab.scenes.scene import Scene

#: Codecs of the quick report: one of each kind, from libraries that sarlab always has, and its own.
SHORT = ("jpeg2000", "hevc12", "avif12", "jpegxl", "jpeg", "jpegls", "sz3", *BUILT_IN)
#: PSNR in dB: on Sentinel-1 from about 0.03 to 3 bit per pixel; ten of them carry the interval of BD-rate, 25 to 40 dB.
PSNR_DB = tuple(float(value) for value in range(20, 43, 2))
#: Other operating points of the anchor, which must not change a Bjøntegaard difference.
BETWEEN_DB = tuple(float(value) for value in range(21, 44, 2))
RATES_BPP = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0)
ANCHOR = "jpeg2000"
MATCHED = [Goal("psnr", value) for value in PSNR_DB]
#: Codecs on simulated scenes; columns that have a counterpart against the clean scene, and those shown with them.
SIMULATED_CODECS = ("lapped", "jpeg2000", "hevc12", "jpegls")
METRICS = (
    *("psnr_db", "psnr_clean_db", "rmse_db", "rmse_clean_db", "ssim", "ssim_clean", "bias_db", "bias_clean_db"),
    *(f"rmse_k{side}_db" for side in (1, 2, 4, 8, 16, 32)),
    *(f"rmse_clean_k{side}_db" for side in (2, 4, 8, 16, 32)),
    *("epi_roa", "epi_roa_floor", "epi_roa_clean", "epi_roa_clean_floor", "epi_sattar", "epi_sattar_clean"),
    *("epi_sattar_floor", "epi_sattar_clean_floor", "enl_ratio", "targets_kept", "targets_invented", "ratio_mean"),
)


@study("codecs", version=1)
def short_list(context: Context) -> pd.DataFrame:
    """One codec of each kind, with all metrics."""
    return with_fixed_bytes(evaluated(context, "codecs", SHORT, [context.split], MATCHED))


@study("codecs_all", version=1)
def whole_list(context: Context) -> pd.DataFrame:
    """Every lossy codec that this machine has, with all metrics."""
    names = [name for name in codecs if not codecs[name].capabilities.lossless]
    return with_fixed_bytes(evaluated(context, "codecs_all", names, [context.split], MATCHED))


@study("protocol", version=1)
def protocol(context: Context) -> pd.DataFrame:
    """JPEG 2000 at other operating points: between the matched PSNR values, at its own grid, at stated rates."""
    points = {
        **{("psnr", value): "matched" for value in PSNR_DB}, **{("psnr", value): "between" for value in BETWEEN_DB},
        **{("quality", value): "grid" for value in codecs[ANCHOR].capabilities.quality.grid},
        **{("bpp", value): "rate" for value in RATES_BPP},
    }  # fmt: skip
    goals = [Goal(*point) for point in points]
    rows = evaluated(context, "protocol", [ANCHOR], [context.split], goals, metrics=["psnr_db"])
    named = [points.get((row.target, row.target_value), "") for row in rows.itertuples()]
    return with_fixed_bytes(rows.assign(points=named))


@study("reflectivity", version=2)
def reflectivity(context: Context) -> pd.DataFrame:
    """The first simulated test scene of every number of looks, with white and with correlated speckle."""
    splits = [(a, b, replace(s, test=s.test[:1], independent=(), digest="")) for a, b, s in simulated_splits()]
    scenes = [split for _, _, split in splits]
    rows, parts = evaluated(context, "reflectivity", SIMULATED_CODECS, scenes, metrics=METRICS), []
    for looks, correlation, split in splits:
        others = []
        for item in measurable(split):
            reference = item.reference
            filtered = lee_filter(reference.intensity, reference.valid, float(item.scene.looks or 1))
            for name, image in (("recorded", reference.db), ("lee", DB_PER_NEPER * np.log(filtered))):
                others.append(image_row(item, name, image, METRICS))
        both = pd.concat([rows[rows["scene"] == split.test[0].name], pd.DataFrame(others)])
        parts.append(both.assign(correlation=correlation, looks=looks))
    return pd.concat(parts, ignore_index=True)


def evaluated(
    context: Context, name: str, names: Sequence[str], scenes: Sequence[Source], goals: Sequence[Goal] = (), **options: Any
) -> pd.DataFrame:  # fmt: skip
    """Rows of the available codecs among `names`; a journal lets the study `name` resume."""
    if not (known := available(names)):
        raise ResultsError(f"none of the codecs {', '.join(names)} is available; 'sarlab codecs' says why")
    path = context.folder / f"{name}.journal"
    rows = evaluate(known, scenes, goals, workers=context.workers, journal=path, **options)
    path.unlink(missing_ok=True)
    return rows


def with_fixed_bytes(rows: pd.DataFrame) -> pd.DataFrame:
    """Add ``fixed_bytes``, the bytes of an empty scene of that size, and ``bpp_content``, the rate without them.

    On a patch of 120×120 the boxes of HEIF weigh as much as the picture.
    """
    shapes = rows[["codec", "height", "width"]].itertuples(index=False, name=None)
    fixed = pd.Series([float(fixed_bytes(*shape)) for shape in shapes], rows.index).where(rows["bytes"].notna())
    content = 8 * (rows["bytes"].astype(float) - fixed) / rows["pixels"].astype(float)
    return rows.copy().assign(fixed_bytes=fixed, bpp_content=content)


@cache
def fixed_bytes(name: str, height: int, width: int) -> int:
    """Bytes of a file of codec `name` without content: all samples but one are equal, at the lowest quality."""
    db = np.full((1, height, width), -10.0, np.float32)
    db[0, 0, 0] -= 0.1
    codec = codecs[name]
    return len(codec.compress(Scene(db, "db", ("VV",)), quality=codec.capabilities.quality.grid[0]))
