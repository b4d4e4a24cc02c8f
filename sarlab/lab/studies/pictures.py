"""Codecs on one place at equal bytes: files of stated rates, their metrics, and a detail as a picture.

Pictures are computed here, so that a chapter only reads them from a table.
"""

import base64
import io

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter

from sarlab.codec.goals import Goal
from sarlab.lab.evaluate import Task, measure
from sarlab.lab.inputs import measurable
from sarlab.lab.studies import Context, study
from sarlab.peers import codecs
from sarlab.scenes.radiometry import to_gray

#: Codecs to compare side by side, and the bits per pixel of their files.
CODECS = ("jpeg", "jpeg2000", "hevc12", "lapped")
RATES_BPP = (0.125, 0.25, 0.5, 1.0, 2.0)
#: Side of the detail in pixels.
DETAIL = 144
#: Metrics next to a picture.
METRICS = ("psnr_db", "ssim", "epi_roa", "bias_db", "rmse_k8_db", "enl_ratio", "peak_error_db")


@study("pictures", version=1)
def pictures(context: Context) -> pd.DataFrame:
    """Rows of the original and of every codec and rate, for the first band of the first measurable test scene."""
    items = measurable(context.split, ["test"])
    if not items:
        return pd.DataFrame()
    item, recorded = items[0], items[0].reference.db
    detail, (height, width) = busiest_detail(recorded, DETAIL), recorded.shape

    def shown(db: np.ndarray, _: float = 0) -> dict[str, str]:
        return {"picture": picture(db[detail], item.clip)}

    about = {**item.columns, "height": height, "width": width, "top": detail[0].start, "left": detail[1].start}
    rows = [{**about, "codec": "original", **shown(recorded), "reason": ""}]
    goals = {str(rate): Goal("bpp", rate) for rate in RATES_BPP}
    for name in (name for name in CODECS if name in codecs and codecs[name].available().ok):
        rows += [{**about, **row} for _, row in measure(Task(name, item, goals, METRICS), shown)]
    return pd.DataFrame(rows)


def busiest_detail(db: np.ndarray, side: int) -> tuple[slice, slice]:
    """Window of `side`² in which the smoothed image varies most: structure rather than speckle."""
    side = min(side, *db.shape)
    smooth = uniform_filter(np.where(np.isnan(db), np.nanmean(db), db), 7, mode="nearest")
    rows, columns = (range(0, length - side + 1, 16) for length in db.shape)
    windows = [(slice(row, row + side), slice(column, column + side)) for row in rows for column in columns]
    return max(windows, key=lambda window: smooth[window].std())


def picture(db: np.ndarray, clip: tuple[float, float], levels: int = 256) -> str:
    """Lossless WebP of gray levels over the clip range in dB, as base64 text for a table; NaN is black."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(to_gray(db, clip, levels)).convert("RGB").save(stream, "WEBP", lossless=True, quality=60, method=4)
    return base64.b64encode(stream.getvalue()).decode()
