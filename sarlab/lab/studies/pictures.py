"""Pictures of one detail: codecs at equal bytes, and images of equal PSNR that no codec would make.

``equal_psnr`` takes the PSNR of the perfectly despeckled scene as the common target. Reconstructions with an offset, blur
or noise are compared with those of codecs at that PSNR. Only a new draw of the speckle, like another acquisition of the
same ground, has a PSNR of its own. Pictures are computed here, so that a chapter only reads them from a table.
"""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, uniform_filter

from sarlab.codec.goals import Goal
from sarlab.lab.evaluate import Task, measure
from sarlab.lab.inputs import Input, measurable
from sarlab.lab.studies import Context, available, study
from sarlab.metrics import UndefinedMetric, bounds, score
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.fidelity import psnr
from sarlab.metrics.speckle import redraw
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.scenes.radiometry import to_gray
from sarlab.specs import SceneSpec

#: Codecs at equal bytes, bits per pixel of their files, side of the detail in pixels, and metrics next to a picture.
CODECS = ("jpeg", "jpeg2000", "hevc12", "lapped")
RATES_BPP, DETAIL = (0.125, 0.25, 0.5, 1.0, 2.0), 144
METRICS = ("psnr_db", "ssim", "epi_roa", "bias_db", "rmse_k8_db", "enl_ratio", "peak_error_db")
#: Codecs at equal PSNR, side of their detail and its gray levels; simulated scene with the looks and the correlated
#: speckle of Sentinel-1 products; tolerance of PSNR in dB.
EQUAL_CODECS, EQUAL_DETAIL, LEVELS = ("lapped", "jpeg2000", "hevc12", "jpeg", "jpegls"), 112, 64
SIMULATED, TOLERANCE = "simulated-l4.4-correlated", 0.005


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
    for name in available(CODECS):
        rows += [{**about, **row} for _, row in measure(Task(name, item, goals, METRICS), shown)]
    return pd.DataFrame(rows)


@study("equal_psnr", version=2)
def equal_psnr(context: Context) -> pd.DataFrame:
    """All metrics and a picture of every image, for the first test scene and a simulated one."""
    firsts = [measurable(split, ["test"])[:1] for split in (context.split, load_split(SceneSpec(SIMULATED)))]
    return pd.DataFrame([row for items in firsts for item in items for row in image_rows(item)])


def image_rows(item: Input) -> Iterator[dict[str, Any]]:
    """One row per image; an image that cannot be made is a row with the reason.

    The common target is the PSNR of the clean scene, or the speckle floor of its looks; without either there are no rows.
    """
    reference = item.reference
    db, detail = reference.db, busiest_detail(reference.db, EQUAL_DETAIL)
    if item.clean_db is not None:
        target = float(psnr(db, item.clean_db, clip=item.clip))
    else:
        target = float(bounds.speckle_floor(item.scene.looks, item.clip)) if item.scene.looks else np.nan
    if np.isnan(target):
        return
    noise, most = np.random.default_rng(0).standard_normal(db.shape), item.clip[1] - item.clip[0]
    filled = np.where(reference.valid, reference.intensity, reference.intensity[reference.valid].mean())

    def shown(image: np.ndarray, _: float = 0) -> dict[str, str]:
        return {"picture": picture(image[detail], item.clip, LEVELS)}

    def row(name: str, make: Callable[[], tuple[np.ndarray, dict[str, float]]]) -> dict[str, Any]:
        about = {**item.columns, "target_db": target, "image": name}
        try:
            image, how = make()
        except UndefinedMetric as error:
            return {**about, "reason": str(error)}
        scores = score(reference, image)
        return {**about, **how, **scores, **shown(image), "reason": scores.reason}

    yield row("recorded", lambda: (db, {}))
    if item.clean_db is not None:
        yield row("clean", lambda: (np.asarray(reference.clean_db), {}))
    yield row("offset", lambda: tuned(item, target, lambda amount: db - amount, most))
    yield row("noise", lambda: tuned(item, target, lambda amount: db + amount * noise, most))
    yield row("blur", lambda: tuned(item, target, lambda amount: blurred(filled, amount), 20.0))
    for name in EQUAL_CODECS:
        known, (usable, reason) = {"target_db": target, "image": name}, codecs[name].available()
        if not usable:
            yield {**item.columns, **known, "reason": reason}
            continue
        for _, measured in measure(Task(name, item, {"": Goal("psnr", target)}), shown):
            yield {**measured, **known}
    yield row("redraw", lambda: (redraw(reference).test_db, {}))


def tuned(
    item: Input, target: float, make: Callable[[float], np.ndarray], most: float
) -> tuple[np.ndarray, dict[str, float]]:
    """The image ``make(amount)`` that has the target PSNR, and the amount, by bisection between 0 and `most`."""
    low, high = 0.0, most
    for _ in range(40):
        amount = (low + high) / 2
        image = make(amount)
        value = psnr(item.reference.db, image, clip=item.clip)
        if abs(value - target) < TOLERANCE:
            return image, {"amount": amount}
        low, high = (amount, high) if value > target or np.isnan(value) else (low, amount)
    raise UndefinedMetric(f"no amount up to {most:g} gives a PSNR of {target:.2f} dB")


def blurred(intensity: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of linear intensity, in dB."""
    return DB_PER_NEPER * np.log(np.maximum(gaussian_filter(intensity, sigma, mode="reflect"), 1e-30))


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
