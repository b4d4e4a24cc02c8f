"""Codecs on real files: at matched PSNR, on simulated scenes of known reflectivity, and in pictures.

Every codec has the same target PSNR values on every scene and band, as the protocol of Bjøntegaard differences requires. ``reflectivity`` adds two references: the recorded image itself, as if it were kept without loss, and a Lee
filter of it, a despeckler that does not compress. ``pictures`` shows one detail by codecs at equal bytes.

``equal_psnr`` takes the PSNR of the perfectly despeckled scene as the common target. Reconstructions with an offset, blur
or noise are compared with those of codecs at that PSNR. Only a new draw of the speckle, like another acquisition of the
same ground, has a PSNR of its own. Pictures are computed here, so that a chapter only reads them from a table.
"""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, uniform_filter

from sarlab.codec.goals import Goal
from sarlab.codec.model_store import BUILT_IN
from sarlab.errors import ResultsError
from sarlab.lab.evaluate import Task, evaluate, measure
from sarlab.lab.inputs import Input, Source, measurable
from sarlab.lab.studies import Context, available, despeckled, image_row, simulated_splits, study
from sarlab.metrics import UndefinedMetric, bounds, score
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.fidelity import psnr
from sarlab.metrics.speckle import redraw
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.scenes.radiometry import to_gray
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec

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
#: Codecs at equal bytes, bits per pixel of their files, side of the detail in pixels, and metrics next to a picture.
PICTURE_CODECS, PICTURE_RATES = ("jpeg", "jpeg2000", "hevc12", "lapped"), (0.125, 0.25, 0.5, 1.0, 2.0)
DETAIL = 144
PICTURE_METRICS = ("psnr_db", "ssim", "epi_roa", "bias_db", "rmse_k8_db", "enl_ratio", "peak_error_db")
#: Codecs at equal PSNR, side of their detail and its gray levels; simulated scene with the looks and the correlated
#: speckle of Sentinel-1 products; tolerance of PSNR in dB.
EQUAL_CODECS, EQUAL_DETAIL, LEVELS = ("lapped", "jpeg2000", "hevc12", "jpeg", "jpegls"), 112, 64
SIMULATED, TOLERANCE = "simulated-l4.4-correlated", 0.005


@study("codecs", version=1)
def short_list(context: Context) -> pd.DataFrame:
    """One codec of each kind, with all metrics."""
    return with_fixed_bytes(evaluated(context, SHORT, [context.split], MATCHED))


@study("protocol", version=1)
def protocol(context: Context) -> pd.DataFrame:
    """JPEG 2000 at other operating points: between the matched PSNR values, at its own grid, at stated rates."""
    points = {
        **{("psnr", value): "matched" for value in PSNR_DB}, **{("psnr", value): "between" for value in BETWEEN_DB},
        **{("quality", value): "grid" for value in codecs[ANCHOR].capabilities.quality.grid},
        **{("bpp", value): "rate" for value in RATES_BPP},
    }  # fmt: skip
    goals = [Goal(*point) for point in points]
    rows = evaluated(context, [ANCHOR], [context.split], goals, metrics=["psnr_db"])
    named = [points.get((row.target, row.target_value), "") for row in rows.itertuples()]
    return with_fixed_bytes(rows.assign(points=named))


@study("reflectivity", version=2)
def reflectivity(context: Context) -> pd.DataFrame:
    """The first simulated test scene of every number of looks, with white and with correlated speckle."""
    splits = [(a, b, replace(s, test=s.test[:1], independent=(), digest="")) for a, b, s in simulated_splits()]
    scenes = [split for _, _, split in splits]
    rows, parts = evaluated(context, SIMULATED_CODECS, scenes, metrics=METRICS), []
    for looks, correlation, split in splits:
        others = [
            image_row(item, name, image, METRICS)
            for item in measurable(split)
            for name, image in (("recorded", item.reference.db), ("lee", despeckled(item)))
        ]
        both = pd.concat([rows[rows["scene"] == split.test[0].name], pd.DataFrame(others)])
        parts.append(both.assign(correlation=correlation, looks=looks))
    return pd.concat(parts, ignore_index=True)


def evaluated(
    context: Context, names: Sequence[str], scenes: Sequence[Source], goals: Sequence[Goal] = (), **options: Any
) -> pd.DataFrame:
    """Rows of the available codecs among `names`."""
    if not (known := available(names)):
        raise ResultsError(f"none of the codecs {', '.join(names)} is available; 'sarlab codecs' lists the reasons")
    return evaluate(known, scenes, goals, workers=context.workers, journal=context.journal, **options)


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


@study("pictures", version=1)
def pictures(context: Context) -> pd.DataFrame:
    """Rows of the original and of every codec and rate, for the first band of the first measurable test scene."""
    rows: list[dict[str, Any]] = []
    for item in measurable(context.split, ["test"])[:1]:
        recorded, shown = item.reference.db, detail_of(item, DETAIL, 256)
        (height, width), (top, left) = recorded.shape, (part.start for part in busiest_detail(recorded, DETAIL))
        about = {**item.columns, "height": height, "width": width, "top": top, "left": left}
        rows.append({**about, "codec": "original", **shown(recorded), "reason": ""})
        goals = {str(rate): Goal("bpp", rate) for rate in PICTURE_RATES}
        for name in available(PICTURE_CODECS):
            rows += [{**about, **row} for _, row in measure(Task(name, item, goals, PICTURE_METRICS), shown)]
    return pd.DataFrame(rows)


@study("equal_psnr", version=2)
def equal_psnr(context: Context) -> pd.DataFrame:
    """All metrics and a picture of every image, for the first test scene and a simulated one."""
    firsts = [measurable(split, ["test"])[:1] for split in (context.split, load_split(SceneSpec(SIMULATED)))]
    return pd.DataFrame([row for items in firsts for item in items for row in equal_psnr_rows(item)])


def equal_psnr_rows(item: Input) -> Iterator[dict[str, Any]]:
    """One row per image; an image that cannot be made is a row with the reason.

    The common target is the PSNR of the clean scene, or the speckle floor of its looks; without either there are no rows.
    """
    reference, shown = item.reference, detail_of(item, EQUAL_DETAIL, LEVELS)
    db = reference.db
    if item.clean_db is not None:
        target = float(psnr(db, item.clean_db, clip=item.clip))
    else:
        target = float(bounds.speckle_floor(item.scene.looks, item.clip)) if item.scene.looks else np.nan
    if np.isnan(target):
        return
    noise = np.random.default_rng(0).standard_normal(db.shape)
    filled = np.where(reference.valid, reference.intensity, reference.intensity[reference.valid].mean())

    def row(name: str, image: np.ndarray, **further: float) -> dict[str, Any]:
        scores = score(reference, image)
        about = {**item.columns, "target_db": target, "image": name, **further}
        return {**about, **scores, **shown(image), "reason": scores.reason}

    def tuned(name: str, make: Callable[[float], np.ndarray], most: float) -> dict[str, Any]:
        """Row of the image ``make(amount)`` that has the target PSNR, by bisection between 0 and `most`."""
        low, high = 0.0, most
        with suppress(UndefinedMetric):  # equal to the band inside its clip range
            for _ in range(40):
                amount = (low + high) / 2
                image = make(amount)
                value = psnr(db, image, clip=item.clip)
                if abs(value - target) < TOLERANCE:
                    return row(name, image, amount=amount)
                low, high = (amount, high) if value > target or np.isnan(value) else (low, amount)
        reason = f"no amount up to {most:g} gives a PSNR of {target:.2f} dB"
        return {**item.columns, "target_db": target, "image": name, "reason": reason}

    def blurred(sigma: float) -> np.ndarray:
        return DB_PER_NEPER * np.log(np.maximum(gaussian_filter(filled, sigma, mode="reflect"), 1e-30))

    yield row("recorded", db)
    if item.clean_db is not None:
        yield row("clean", np.asarray(reference.clean_db))
    yield tuned("offset", lambda amount: db - amount, item.clip[1] - item.clip[0])
    yield tuned("noise", lambda amount: db + amount * noise, item.clip[1] - item.clip[0])
    yield tuned("blur", blurred, 20.0)
    for name in EQUAL_CODECS:
        known, (usable, reason) = {"target_db": target, "image": name}, codecs[name].available()
        if not usable:
            yield {**item.columns, **known, "reason": reason}
            continue
        for _, measured in measure(Task(name, item, {"": Goal("psnr", target)}), shown):
            yield {**measured, **known}
    try:
        yield row("redraw", redraw(reference).db)
    except UndefinedMetric as error:
        yield {**item.columns, "target_db": target, "image": "redraw", "reason": str(error)}


def detail_of(item: Input, side: int, levels: int) -> Callable[..., dict[str, str]]:
    """Function of an image in dB: the column with the picture of the busiest detail of the band."""
    detail = busiest_detail(item.reference.db, side)
    return lambda image, quality=None: {"picture": picture(image[detail], item.clip, levels)}


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
