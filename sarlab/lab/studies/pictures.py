"""Codecs on one place at equal bytes: files of stated rates, their metrics, and a detail as a picture.

Pictures are computed here, so that a chapter only reads them from a table.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter

from sarlab.codec.goals import Goal, Search
from sarlab.errors import SarlabError
from sarlab.lab.studies import Context, study
from sarlab.metrics import Reference, score
from sarlab.metrics.rate import measured_cr
from sarlab.peers import codecs
from sarlab.scenes.radiometry import to_gray
from sarlab.scenes.scene import Scene

#: Codecs to compare side by side, and the bits per pixel of their files.
CODECS = ("jpeg", "jpeg2000", "hevc12", "hyper")
RATES_BPP = (0.125, 0.25, 0.5, 1.0, 2.0)
#: Side of the detail in pixels.
DETAIL = 144
#: Metrics next to a picture.
METRICS = ("psnr_db", "ssim", "epi_roa", "bias_db", "rmse_k8_db", "enl_ratio", "peak_error_db")


@study("pictures", version=1)
def pictures(context: Context) -> pd.DataFrame:
    """Rows of the original and of every codec and rate, for the first band of the first measurable test scene."""
    scene = next((scene for scene in context.split.test if not context.split.reason(scene.name)), None)
    if scene is None:
        return pd.DataFrame()
    band = scene.band(0)
    normalizer = context.split.normalizers[band.bands[0]]
    return pd.DataFrame(rows_of(band, (normalizer.low, normalizer.high)))


def rows_of(scene: Scene, clip: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """One row per picture; a rate that a codec cannot reach is a row with the reason.

    Parameters
    ----------
    scene : Scene
        One band in dB.
    clip : (low, high)
        In dB: the range of the metrics and of the pictures.
    """
    reference = Reference(scene.data[0], clip=clip, looks=scene.looks)
    detail = busiest_detail(reference.db, DETAIL)
    height, width = reference.db.shape
    about = {
        "scene": scene.name, "band": scene.bands[0], "acquisition": scene.acquisition, "simulated": scene.simulated,
        "looks": scene.looks, "height": height, "width": width, "native_bits": scene.native_bits,
        "clip_low": clip[0], "clip_high": clip[1], "top": detail[0].start, "left": detail[1].start,
    }  # fmt: skip
    yield {**about, "codec": "original", "picture": picture(reference.db[detail], clip), "reason": ""}
    for name in (name for name in CODECS if name in codecs and codecs[name].available().ok):
        search = Search(codecs[name], scene, {scene.bands[0]: clip})
        for rate in RATES_BPP:
            row = {**about, "codec": name, "target": "bpp", "target_value": rate}
            try:
                trial = search.find(Goal("bpp", rate))
                decoded = search.decode(trial).data[0]
            except SarlabError as error:
                yield {**row, "reason": str(error)}
                continue
            scores = score(reference, decoded, columns=METRICS)
            size = len(trial.data)
            ratio = measured_cr(size, height * width, native_bits=scene.native_bits)
            rates = {"bytes": size, "bpp": search.bpp(trial), "measured_cr": ratio}
            yield {**row, **rates, **scores, "picture": picture(decoded[detail], clip), "reason": scores.reason}


def busiest_detail(db: np.ndarray, side: int) -> tuple[slice, slice]:
    """Window of `side`² in which the smoothed image varies most: structure rather than speckle."""
    side = min(side, *db.shape)
    smooth = uniform_filter(np.where(np.isnan(db), np.nanmean(db), db), 7, mode="nearest")
    rows, columns = (range(0, length - side + 1, 16) for length in db.shape)
    corners = [(row, column) for row in rows for column in columns]
    row, column = max(corners, key=lambda at: smooth[at[0] : at[0] + side, at[1] : at[1] + side].std())
    return slice(row, row + side), slice(column, column + side)


def picture(db: np.ndarray, clip: tuple[float, float], levels: int = 256) -> str:
    """Lossless WebP of gray levels over the clip range in dB, as base64 text for a table; NaN is black."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(to_gray(db, clip, levels)).convert("RGB").save(stream, "WEBP", lossless=True, quality=60, method=4)
    return base64.b64encode(stream.getvalue()).decode()
