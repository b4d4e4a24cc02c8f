"""Limits and entropy of scenes, with no codec of their own.

``limits`` has one row per limit and PSNR: rates that no codec, or none of a kind, can beat, and the scores of despeckling
alone. Curves have a rate; the floor has a PSNR only, and the limit of the bias only that::

    rwf             reverse water-filling on the measured spectrum
    scalar          the same with ideal entropy-coded scalar quantizers
    speckle         reverse water-filling of the speckle alone; on recorded scenes an estimate
    shannon         Shannon lower bound of white speckle given the scene: simulation only
    gaussian        rate of Gaussian noise of the speckle's variance: upper side of that sandwich
    speckle_floor   PSNR of a reconstruction that holds all of the scene and none of its speckle
    bias_limit      bias in intensity of the best estimate in squared error of dB

``scene_entropy`` quantizes radar, speckle-free and optical images on three grids: the stored one (integers, or the step
between values in dB), one of 0.1 dB, and one of an eighth of the standard deviation, on which images of any contrast
compare. The histogram gives the zeroth-order entropy, which ignores neighbors; lossless files show the savings by
neighbors. JPEG 2000 codes each image at stated PSNR values against its own range.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sarlab.codec.goals import Goal
from sarlab.lab.evaluate import Task, measure
from sarlab.lab.inputs import Input, measurable
from sarlab.lab.studies import Context, correlation_of, simulated_splits, study
from sarlab.metrics import Undefined, UndefinedMetric, bounds
from sarlab.metrics.entropy import lossless_bpp, quantize_db, zeroth_order_entropy
from sarlab.metrics.speckle import scene_speckle
from sarlab.metrics.spectra import autocorrelation_spectrum
from sarlab.peers.band_codec import imagecodecs
from sarlab.peers.bounded import jpegls_encode
from sarlab.scenes.catalog import load_optical_control
from sarlab.scenes.radiometry import fit_normalizer
from sarlab.scenes.scene import Scene

#: PSNR in dB at which the curves are given; every target of the study of codecs is among them.
PSNR_DB = np.arange(14.0, 57.0)
#: Name of the rows that pool all scenes of a split at one water level.
POOLED = "pooled"

COLUMNS = [
    *("limit", "scene", "band", "split", "acquisition", "simulated", "looks", "correlation", "clip_low", "clip_high"),
    *("estimate", "psnr_db", "rmse_db", "bpp", "bias_db", "reason"),
]
#: Name of the grid that an image comes on; step of the physical grid in dB, and share of the standard deviation that is
#: the step of the relative one; codec and its PSNR in dB against the image's own 0.1 to 99.9 percentile range.
STORED, STEP_DB, STEP_SHARE, CODEC, LOSSY_DB = "as stored", 0.1, 0.125, "jpeg2000", (30.0, 40.0)

Rows = list[dict[str, Any]]


@study("limits", version=1)
def limits(context: Context) -> pd.DataFrame:
    """Limits of every test and independent scene, and of each split and band pooled."""
    items, groups = measurable(context.split), defaultdict(list)
    for item in items:
        groups[item.split, item.name].append(item)
    rows = [row for item in items for row in band_rows(item)]
    rows += [row for group in groups.values() if len(group) > 1 for row in pooled_rows(group)]
    return pd.DataFrame(rows, columns=COLUMNS)


def columns(item: Input) -> dict[str, Any]:
    """Columns that describe a band."""
    return {**item.columns, "correlation": correlation_of(item), "estimate": False, "reason": ""}


def rmse_at(psnr_db: Any, clip: tuple[float, float]) -> Any:
    """Root mean square error in dB of a PSNR."""
    return (clip[1] - clip[0]) * 10 ** (-psnr_db / 20)


def curve(about: dict[str, Any], limit: str, clip: tuple[float, float], psnr_db: np.ndarray, bpp: np.ndarray) -> Rows:
    """Rows of a curve, as far as its rate is above zero."""
    return [
        {**about, "limit": limit, "psnr_db": float(psnr), "rmse_db": rmse_at(float(psnr), clip), "bpp": float(rate)}
        for psnr, rate in zip(psnr_db, bpp, strict=True) if rate > 0
    ]  # fmt: skip


def band_rows(item: Input) -> Rows:
    """All limits of one band; a limit that cannot be computed is one row with the reason."""
    about, looks = columns(item), item.scene.looks
    rows = [*water_filling(about, item.clip, item.db), *speckle_rows(item)]
    if looks is not None:
        floor = float(bounds.speckle_floor(looks, item.clip))
        rows.append({**about, "limit": "speckle_floor", "psnr_db": floor, "rmse_db": rmse_at(floor, item.clip)})
        rows.append({**about, "limit": "bias_limit", "bias_db": float(bounds.bias_limit(looks))})
    return rows


def pooled_rows(items: Sequence[Input]) -> Rows:
    """Curves over all scenes of one split and band, at one water level."""
    looks, acquisitions = {item.columns["looks"] for item in items}, {item.scene.acquisition for item in items}
    about = {**columns(items[0]), "scene": POOLED, "acquisition": "; ".join(sorted(acquisitions))}
    about["looks"] = looks.pop() if len(looks) == 1 else np.nan
    return water_filling(about, items[0].clip, [item.db for item in items])


def water_filling(about: dict[str, Any], clip: tuple[float, float], db: np.ndarray | list[np.ndarray]) -> Rows:
    """Curves of reverse water-filling, ideal and with scalar quantizers."""
    rows: Rows = []
    for limit, scalar in (("rwf", False), ("scalar", True)):
        try:
            found = bounds.water_filling_curve(db, clip=clip, psnr_db=tuple(PSNR_DB), scalar=scalar)
            rows += curve(about, limit, clip, found.psnr_db, found.bpp)
        except UndefinedMetric as undefined:
            rows.append({**about, "limit": limit, "estimate": np.nan, "reason": str(undefined)})
    return rows


def speckle_rows(item: Input) -> Rows:
    """Rates of the speckle alone: known in simulation, estimated on recorded scenes."""
    about, clip, looks = columns(item), item.clip, item.scene.looks
    rmse = rmse_at(PSNR_DB, clip)
    if item.clean_db is not None and looks is not None:
        found = bounds.speckle_rate_estimate(item.db, item.clean_db, clip=clip, psnr_db=tuple(PSNR_DB))
        rows = curve(about, "speckle", clip, found.psnr_db, found.bpp)
        if about["correlation"] == 0:
            rows += curve(about, "shannon", clip, PSNR_DB, bounds.shannon_lower_bound(rmse, looks))
            rows += curve(about, "gaussian", clip, PSNR_DB, bounds.gaussian_upper_bound(rmse, looks))
        return rows
    about["estimate"] = True
    try:
        speckle = scene_speckle(item.reference)
        if isinstance(speckle.looks, Undefined) or not np.isfinite(speckle.looks):
            raise UndefinedMetric("the number of looks is unknown")
    except UndefinedMetric as undefined:
        return [{**about, "limit": "speckle", "reason": str(undefined)}]
    # the measured correlation over homogeneous windows, with the variance that these looks have in dB
    spectrum = autocorrelation_spectrum(speckle.autocorrelation)
    spectrum *= float(bounds.speckle_std(speckle.looks)) ** 2 / spectrum.mean()
    return curve(about, "speckle", clip, PSNR_DB, bounds.reverse_water_filling(spectrum, rmse**2))


@study("scene_entropy", version=1)
def scene_entropy(context: Context) -> pd.DataFrame:
    """Entropy and lossless rate of the test scenes, of simulated scenes with and without speckle, and of optical images."""
    rows: list[dict[str, Any]] = []
    for item in measurable(context.split, ["test"]):
        rows += grid_rows(item.scene, "simulated" if item.scene.simulated else "radar")
    for looks, correlation, split in simulated_splits():
        scene = split.test[0]
        rows += [{**row, "correlation": correlation} for row in grid_rows(scene.band(0), "simulated")]
        if looks == 1.0:
            # the ground is the same for all numbers of looks; its point targets are as wide as the speckle is correlated
            clean = split.clean[scene.name].band(0)
            rows += [{**row, "correlation": correlation} for row in grid_rows(clean, "speckle-free")]
    for name, counts in load_optical_control().items():
        rows += list(grid_rows(optical_scene(name, counts), "optical", counts))
    return pd.DataFrame(rows)


def optical_scene(name: str, counts: np.ndarray) -> Scene:
    """Reflectance counts as a scene in dB, so that one grid of relative steps fits both sensors; zeros are invalid."""
    with np.errstate(divide="ignore"):
        db = np.where(counts > 0, 10 * np.log10(counts.astype(np.float64)), np.nan).astype(np.float32)
    return Scene(db[None], "db", (name,), name="optical control", acquisition="Sentinel-2", native_bits=16)


def grid_rows(scene: Scene, kind: str, native: np.ndarray | None = None) -> Iterator[dict[str, Any]]:
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
    ends = (clip.low, clip.high)
    try:
        rates = list(bounds.water_filling_curve(scene.data[0], clip=ends, psnr_db=LOSSY_DB).bpp)
    except UndefinedMetric:
        rates = [np.nan] * len(LOSSY_DB)
    found = {f"rwf_bpp_{psnr:g}db": float(rate) for psnr, rate in zip(LOSSY_DB, rates, strict=True)}
    # NaN without the codec, and for smooth images that are above a PSNR at the lowest quality already
    goals = {f"{CODEC}_bpp_{psnr:g}db": Goal("psnr", psnr) for psnr in LOSSY_DB}
    found |= {name: row["bpp"] for name, row in measure(Task(CODEC, Input(scene, ends), goals, ()))}
    return {"clip_low": clip.low, "clip_high": clip.high, **found}
