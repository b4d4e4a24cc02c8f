"""Images of one PSNR: the scene without its speckle, and other images as far from the recorded one.

The PSNR of the perfectly despeckled scene is the common target. Reconstructions that no codec would make (an offset,
blur, noise) are compared with those of codecs at that PSNR. Only a new draw of the speckle, like another acquisition of
the same ground, has a PSNR of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from sarlab.codec.goals import Goal, Search
from sarlab.errors import SarlabError
from sarlab.lab.studies import Context, study
from sarlab.lab.studies.pictures import busiest_detail, picture
from sarlab.metrics import Reference, Undefined, UndefinedMetric, bounds, score
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.fidelity import psnr
from sarlab.metrics.speckle import redraw
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec

#: Simulated scene with the looks and the correlated speckle of Sentinel-1 products.
SIMULATED = "simulated-l4.4-correlated"
CODECS = ("jpeg2000", "hevc12", "jpeg", "jpegls")
#: Side in pixels and gray levels of the detail that is kept as a picture.
DETAIL, LEVELS = 112, 64
#: PSNR is met within this, in dB.
TOLERANCE = 0.005

#: An image in dB, and its ``amount`` (dB of offset or noise, pixels of blur) or the ``bpp`` of its file.
Made = tuple[np.ndarray, dict[str, float]]
Maker = Callable[[], Made]


@dataclass(frozen=True, eq=False)
class Case:
    """One band in dB, its clip range, and the PSNR that all images of it shall have."""

    scene: Scene
    clip: tuple[float, float]
    reference: Reference
    target_db: float


@study("equal_psnr", version=1)
def equal_psnr(context: Context) -> pd.DataFrame:
    """All metrics and a picture of every image, for the first test scene and a simulated one."""
    rows = []
    for split in (context.split, load_split(SceneSpec(SIMULATED))):
        scene = next((scene for scene in split.test if not split.reason(scene.name)), None)
        if scene is None:
            continue
        band = scene.band(0)
        normalizer = split.normalizers[band.bands[0]]
        clean = split.clean.get(scene.name)
        case = make_case(band, (normalizer.low, normalizer.high), None if clean is None else clean.data[0])
        if case is not None:
            rows += list(image_rows(case))
    return pd.DataFrame(rows)


def make_case(scene: Scene, clip: tuple[float, float], clean_db: np.ndarray | None) -> Case | None:
    """Case of one band: its target is the PSNR of the clean scene or the speckle floor of its looks; None without either."""
    reference = Reference(scene.data[0], clip=clip, looks=scene.looks, clean_db=clean_db)
    if clean_db is not None:
        target = psnr(reference.db, clean_db, clip=clip)
    elif scene.looks is not None:
        target = float(bounds.speckle_floor(scene.looks, clip))
    else:
        return None
    return None if isinstance(target, Undefined) else Case(scene, clip, reference, float(target))


def image_rows(case: Case) -> Iterator[dict[str, Any]]:
    """One row per image; an image that cannot be made is a row with the reason."""
    about = {
        "scene": case.scene.name, "band": case.scene.bands[0], "acquisition": case.scene.acquisition,
        "simulated": case.scene.simulated, "looks": case.scene.looks, "clip_low": case.clip[0],
        "clip_high": case.clip[1], "target_db": case.target_db,
    }  # fmt: skip
    detail = busiest_detail(case.reference.db, DETAIL)
    for name, make in images(case).items():
        try:
            image, how = make()
        except (SarlabError, UndefinedMetric) as error:
            yield {**about, "image": name, "reason": str(error)}
            continue
        scores = score(case.reference, image)
        shown = picture(image[detail], case.clip, LEVELS)
        yield {**about, "image": name, **how, **scores, "picture": shown, "reason": scores.reason}


def images(case: Case) -> dict[str, Maker]:
    """Makers of every image by name."""
    db, valid = case.reference.db, case.reference.valid
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(db.shape)
    filled = np.where(valid, case.reference.intensity, case.reference.intensity[valid].mean())
    most = case.clip[1] - case.clip[0]
    made: dict[str, Maker] = {"recorded": lambda: (db, {})}
    if case.reference.clean_db is not None:
        made["clean"] = lambda: (np.asarray(case.reference.clean_db), {})
    made |= {
        "offset": lambda: tuned(case, lambda amount: db - amount, most),
        "noise": lambda: tuned(case, lambda amount: db + amount * noise, most),
        "blur": lambda: tuned(case, lambda amount: blurred(filled, amount), 20.0),
        **{name: partial(coded, case, name) for name in CODECS},
        "redraw": lambda: (redraw(case.reference).test_db, {}),
    }
    return made


def tuned(case: Case, make: Callable[[float], np.ndarray], most: float) -> Made:
    """The image ``make(amount)`` that has the target PSNR, and the amount, by bisection between 0 and `most`."""
    low, high = 0.0, most
    for _ in range(40):
        amount = (low + high) / 2
        value = psnr(case.reference.db, make(amount), clip=case.clip)
        if abs(value - case.target_db) < TOLERANCE:
            return make(amount), {"amount": amount}
        low, high = (amount, high) if value > case.target_db or np.isnan(value) else (low, amount)
    raise UndefinedMetric(f"no amount up to {most:g} gives a PSNR of {case.target_db:.2f} dB")


def blurred(intensity: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of linear intensity, in dB."""
    return DB_PER_NEPER * np.log(np.maximum(gaussian_filter(intensity, sigma, mode="reflect"), 1e-30))


def coded(case: Case, name: str) -> Made:
    """Reconstruction by codec `name` at the target PSNR, and its bits per pixel."""
    available = codecs[name].available()
    if not available.ok:
        raise UndefinedMetric(available.reason)
    search = Search(codecs[name], case.scene, {case.scene.bands[0]: case.clip})
    trial = search.find(Goal("psnr", case.target_db))
    return search.decode(trial).data[0], {"bpp": search.bpp(trial)}
