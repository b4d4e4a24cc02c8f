"""Images of one PSNR: the scene without its speckle, and other images as far from the recorded one.

The PSNR of the perfectly despeckled scene is the common target. Reconstructions that no codec would make (an offset,
blur, noise) are compared with those of codecs at that PSNR. Only a new draw of the speckle, like another acquisition of
the same ground, has a PSNR of its own.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from sarlab.codec.goals import Goal
from sarlab.lab.evaluate import Task, measure
from sarlab.lab.inputs import Input, measurable
from sarlab.lab.studies import Context, study
from sarlab.lab.studies.pictures import busiest_detail, picture
from sarlab.metrics import UndefinedMetric, bounds, score
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.fidelity import psnr
from sarlab.metrics.speckle import redraw
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.specs import SceneSpec

#: Simulated scene with the looks and the correlated speckle of Sentinel-1 products.
SIMULATED = "simulated-l4.4-correlated"
CODECS = ("lapped", "jpeg2000", "hevc12", "jpeg", "jpegls")
#: Side in pixels and gray levels of the detail that is kept as a picture.
DETAIL, LEVELS = 112, 64
#: PSNR is met within this, in dB.
TOLERANCE = 0.005


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
    db, detail = reference.db, busiest_detail(reference.db, DETAIL)
    if item.clean_db is not None:
        target = psnr(db, item.clean_db, clip=item.clip)
    else:
        target = float(bounds.speckle_floor(item.scene.looks, item.clip)) if item.scene.looks else np.nan
    if np.isnan(target):
        return
    noise, most = np.random.default_rng(0).standard_normal(db.shape), item.clip[1] - item.clip[0]
    filled = np.where(reference.valid, reference.intensity, reference.intensity[reference.valid].mean())

    def shown(image: np.ndarray, _: float = 0) -> dict[str, str]:
        return {"picture": picture(image[detail], item.clip, LEVELS)}

    def row(name: str, make: Callable[[], tuple[np.ndarray, dict[str, float]]]) -> dict[str, Any]:
        about = {**item.columns, "target_db": float(target), "image": name}
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
    for name in CODECS:
        known = {"target_db": float(target), "image": name}
        if not codecs[name].available().ok:
            yield {**item.columns, **known, "reason": codecs[name].available().reason}
            continue
        for _, measured in measure(Task(name, item, {"": Goal("psnr", float(target))}), shown):
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
