"""Codecs on the test and independent scenes of a split, at matched PSNR, from real files.

Every codec is asked for the same PSNR values on every scene and band, as the protocol of Bjøntegaard differences
requires. At each of these values codecs differ only in what PSNR does not see.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sarlab.codec.goals import Goal
from sarlab.codec.model_store import BUILT_IN
from sarlab.errors import ResultsError
from sarlab.lab.evaluate import evaluate
from sarlab.lab.studies import Context, study
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


@study("codecs", version=1)
def short_list(context: Context) -> pd.DataFrame:
    """One codec of each kind, with all metrics."""
    return measured(context, SHORT, "codecs")


@study("codecs_all", version=1)
def whole_list(context: Context) -> pd.DataFrame:
    """Every lossy codec that this machine has, with all metrics."""
    names = [name for name in codecs if not codecs[name].capabilities.lossless]
    return measured(context, names, "codecs_all")


@study("protocol", version=1)
def protocol(context: Context) -> pd.DataFrame:
    """JPEG 2000 at other operating points: between the matched PSNR values, at its own grid, at stated rates."""
    if not codecs[ANCHOR].available().ok:
        raise ResultsError(f"the check of the protocol needs {ANCHOR}: {codecs[ANCHOR].available().reason}")
    kinds = {
        "matched": [Goal("psnr", value) for value in PSNR_DB],
        "between": [Goal("psnr", value) for value in BETWEEN_DB],
        "grid": [Goal("quality", value) for value in codecs[ANCHOR].capabilities.quality.grid],
        "rate": [Goal("bpp", value) for value in RATES_BPP],
    }
    points = {(target.kind, target.value): kind for kind, targets in kinds.items() for target in targets}
    targets = [target for of_kind in kinds.values() for target in of_kind]
    rows = evaluate([ANCHOR], [context.split], targets, metrics=["psnr_db"], workers=context.workers)
    named = [points.get((row.target, row.target_value), "") for row in rows.itertuples()]
    return with_fixed_bytes(rows.assign(points=named))


def measured(context: Context, names: Sequence[str], journal: str) -> pd.DataFrame:
    """Rows of the available codecs among `names`."""
    known = [name for name in names if name in codecs and codecs[name].available().ok]
    if not known:
        raise ResultsError(f"none of the codecs {', '.join(names)} is available; 'sarlab codecs' says why")
    path = context.folder / f"{journal}.journal"
    targets = [Goal("psnr", value) for value in PSNR_DB]
    frame = evaluate(known, [context.split], targets, workers=context.workers, journal=path)
    path.unlink(missing_ok=True)
    return with_fixed_bytes(frame)


def with_fixed_bytes(rows: pd.DataFrame) -> pd.DataFrame:
    """Add ``fixed_bytes``, the bytes of an empty scene of that size, and ``bpp_content``, the rate without them.

    On a patch of 120×120 the boxes of HEIF weigh as much as the picture. ``bpp_content`` compares codecs on scenes that
    are smaller than anybody would store.
    """
    shapes = rows[["codec", "height", "width"]].drop_duplicates().itertuples(index=False)
    known = {tuple(shape): float(fixed_bytes(*shape)) for shape in shapes}
    fixed = np.array([known[row.codec, row.height, row.width] for row in rows.itertuples()])
    fixed = np.where(rows["bytes"].notna(), fixed, np.nan)
    rows = rows.copy()
    content = 8 * (rows["bytes"].astype(float) - fixed) / rows["pixels"].astype(float)
    rows.insert(rows.columns.get_loc("bpp") + 1, "bpp_content", content)
    rows.insert(rows.columns.get_loc("bytes") + 1, "fixed_bytes", fixed)
    return rows


def fixed_bytes(name: str, height: int, width: int) -> int:
    """Bytes of a file of codec `name` without content: all samples but one are equal, at the lowest quality."""
    db = np.full((1, height, width), -10.0, np.float32)
    db[0, 0, 0] -= 0.1
    codec = codecs[name]
    return len(codec.compress(Scene(db, "db", ("VV",)), quality=codec.capabilities.quality.grid[0]))
