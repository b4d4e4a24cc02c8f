"""Limits of each scene: rates that no codec, or none of a kind, can beat, and the scores of despeckling alone.

One row per limit and PSNR. Curves have a rate; the floor has a PSNR only, and the limit of the bias only that::

    rwf             reverse water-filling on the measured spectrum
    scalar          the same with ideal entropy-coded scalar quantizers
    speckle         reverse water-filling of the speckle alone; on recorded scenes an estimate
    shannon         Shannon lower bound of white speckle given the scene: simulation only
    gaussian        rate of Gaussian noise of the speckle's variance: upper side of that sandwich
    speckle_floor   PSNR of a reconstruction that holds all of the scene and none of its speckle
    bias_limit      bias in intensity of the best estimate in squared error of dB
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sarlab.lab.inputs import Input, measurable
from sarlab.lab.studies import Context, correlation_of, study
from sarlab.metrics import Undefined, UndefinedMetric, bounds
from sarlab.metrics.speckle import scene_speckle
from sarlab.metrics.spectra import autocorrelation_spectrum

#: PSNR in dB at which the curves are given; every target of the study of codecs is among them.
PSNR_DB = np.arange(14.0, 57.0)
#: Name of the rows that pool all scenes of a split at one water level.
POOLED = "pooled"

COLUMNS = [
    *("limit", "scene", "band", "split", "acquisition", "simulated", "looks", "correlation", "clip_low", "clip_high"),
    *("estimate", "psnr_db", "rmse_db", "bpp", "bias_db", "reason"),
]
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
