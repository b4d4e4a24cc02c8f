"""Entropy of scenes, the share of speckle in it, and optical images of the same ground for comparison.

Every image is quantized on three grids: its stored one (integers, or the step between its values in dB), one of 0.1 dB,
and one of an eighth of its standard deviation, on which images of any contrast compare. The histogram gives the
zeroth-order entropy, which ignores neighbors; lossless files show the savings by neighbors. Each image is also coded by
JPEG 2000 at stated PSNR values against its own range.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sarlab.codec.goals import Goal
from sarlab.lab.evaluate import Task, measure
from sarlab.lab.inputs import Input, measurable
from sarlab.lab.studies import Context, simulated_splits, study
from sarlab.metrics import Undefined, UndefinedMetric
from sarlab.metrics.bounds import water_filling_curve
from sarlab.metrics.entropy import lossless_bpp, quantize_db, zeroth_order_entropy
from sarlab.peers.band_codec import imagecodecs
from sarlab.peers.bounded import jpegls_encode
from sarlab.scenes.catalog import load_optical_control
from sarlab.scenes.radiometry import fit_normalizer
from sarlab.scenes.scene import Scene

#: Name of the grid that an image comes on; step of the physical grid in dB, and share of the standard deviation that is
#: the step of the relative one; codec and its PSNR in dB against the image's own 0.1 to 99.9 percentile range.
STORED, STEP_DB, STEP_SHARE, CODEC, PSNR_DB = "as stored", 0.1, 0.125, "jpeg2000", (30.0, 40.0)


@study("scene_entropy", version=1)
def scene_entropy(context: Context) -> pd.DataFrame:
    """Entropy and lossless rate of the test scenes, of simulated scenes with and without speckle, and of optical images."""
    rows: list[dict[str, Any]] = []
    for item in measurable(context.split, ["test"]):
        rows += image_rows(item.scene, "simulated" if item.scene.simulated else "radar")
    for looks, correlation, split in simulated_splits():
        scene = split.test[0]
        rows += [{**row, "correlation": correlation} for row in image_rows(scene.band(0), "simulated")]
        if looks == 1.0:
            # the ground is the same for all numbers of looks; its point targets are as wide as the speckle is correlated
            clean = split.clean[scene.name].band(0)
            rows += [{**row, "correlation": correlation} for row in image_rows(clean, "speckle-free")]
    for name, counts in load_optical_control().items():
        rows += list(image_rows(optical_scene(name, counts), "optical", counts))
    return pd.DataFrame(rows)


def optical_scene(name: str, counts: np.ndarray) -> Scene:
    """Reflectance counts as a scene in dB, so that one grid of relative steps fits both sensors; zeros are invalid."""
    with np.errstate(divide="ignore"):
        db = np.where(counts > 0, 10 * np.log10(counts.astype(np.float64)), np.nan).astype(np.float32)
    return Scene(db[None], "db", (name,), name="optical control", acquisition="Sentinel-2", native_bits=16)


def image_rows(scene: Scene, kind: str, native: np.ndarray | None = None) -> Iterator[dict[str, Any]]:
    """One row per grid of one band in dB; `native` are the product's own integers."""
    db = np.asarray(scene.data[0], np.float64)
    values = db[scene.valid[0]]
    deviation = float(values.std())
    about = {
        **Input(scene).columns, "kind": kind, "looks": np.inf if kind == "speckle-free" else scene.looks,
        "std_db": deviation, **lossy(scene),
    }  # fmt: skip
    steps = {STORED: stored_step(values), "0.1 dB": STEP_DB, "1/8 standard deviation": STEP_SHARE * deviation}
    jpeg2000 = partial(imagecodecs().jpeg2k_encode, codecformat="J2K", reversible=True, numthreads=1)
    for grid, step in steps.items():
        if native is not None and grid == STORED:
            levels, step = native.astype(np.int64), np.nan
        elif step > 0:
            levels = quantize_db(db, step_db=step)
        else:
            yield {**about, "grid": grid, "reason": "the scene is constant"}
            continue
        found = {
            "zeroth_bpp": zeroth_order_entropy(levels[scene.valid[0]]),
            "jpegls_bpp": _lossless(levels, partial(jpegls_encode, near=0)),
            "jpeg2000_bpp": _lossless(levels, jpeg2000),
        }
        reasons = dict.fromkeys(value.reason for value in found.values() if isinstance(value, Undefined))
        yield {
            **about, "grid": grid, "step_db": step, "levels": int(np.unique(levels).size),
            **{name: float(value) for name, value in found.items()}, "reason": "; ".join(reasons),
        }  # fmt: skip


def stored_step(values: np.ndarray) -> float:
    """Smallest step between dB values, at least the range over 16 bits; 0 for a single value."""
    gaps = np.diff(np.unique(values))
    return max(float(gaps.min()), float(np.ptp(values)) / 65534) if gaps.size else 0.0


def _lossless(levels: np.ndarray, encode: Callable[[np.ndarray], bytes]) -> float:
    if levels.max() > 65535:
        return Undefined("more levels than 16 bit hold")
    try:
        return lossless_bpp(levels, encode)
    except Exception as error:
        return Undefined(f"the lossless coder failed ({error})")


def lossy(scene: Scene) -> dict[str, float]:
    """Bits per pixel of JPEG 2000 and of reverse water-filling at stated PSNR against the image's own percentile range."""
    clip = fit_normalizer(scene.data[0][scene.valid[0]])
    limits = (clip.low, clip.high)
    try:
        rates = list(water_filling_curve(scene.data[0], clip=limits, psnr_db=PSNR_DB).bpp)
    except UndefinedMetric:
        rates = [np.nan] * len(PSNR_DB)
    found = {f"rwf_bpp_{psnr:g}db": float(rate) for psnr, rate in zip(PSNR_DB, rates, strict=True)}
    # NaN without the codec, and for smooth images that are above a PSNR at the lowest quality already
    goals = {f"{CODEC}_bpp_{psnr:g}db": Goal("psnr", psnr) for psnr in PSNR_DB}
    found |= {name: row["bpp"] for name, row in measure(Task(CODEC, Input(scene, limits), goals, ()))}
    return {"clip_low": clip.low, "clip_high": clip.high, **found}
