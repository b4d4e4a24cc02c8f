"""Limits of each scene: what no codec can do, or none of a kind, and what despeckling alone scores.

One row per limit and PSNR. Curves have a rate; the floor has a PSNR only, the limit of the bias only that::

    rwf             reverse water-filling on the measured spectrum
    scalar          the same with ideal entropy-coded scalar quantizers
    speckle         reverse water-filling of the speckle alone; on recorded scenes an estimate
    shannon         Shannon lower bound of white speckle given the scene: simulation only
    gaussian        what Gaussian noise of the speckle's variance would need: upper side of that sandwich
    speckle_floor   PSNR of a reconstruction that holds all of the scene and none of its speckle
    bias_limit      bias in intensity of the best estimate in squared error of dB
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sarlab.lab.studies import Context, study
from sarlab.metrics import Reference, Undefined, UndefinedMetric, bounds
from sarlab.metrics.speckle import scene_speckle
from sarlab.metrics.spectra import autocorrelation_spectrum
from sarlab.scenes.catalog import load_split
from sarlab.scenes.simulate import catalog_names
from sarlab.scenes.splits import Split
from sarlab.specs import SceneSpec

#: PSNR in dB at which the curves are given; every target of the study of codecs is among them.
PSNR_DB = tuple(float(value) for value in range(14, 57))
#: Name of the rows that pool all scenes of a split at one water level.
POOLED = "pooled"

COLUMNS = [
    *("limit", "scene", "band", "split", "acquisition", "simulated", "looks", "correlation", "clip_low", "clip_high"),
    *("estimate", "psnr_db", "rmse_db", "bpp", "bias_db", "reason"),
]


@dataclass(frozen=True, eq=False)
class Band:
    """One band of one scene, and all that its limits follow from.

    Parameters
    ----------
    db : ndarray, shape (height, width)
        NaN = nodata.
    clip : (low, high)
        In dB.
    looks : float or None
        Nominal.
    correlation : float
        Of the speckle of neighbors, where it was drawn by a computer; NaN where it was recorded.
    clean_db : ndarray, optional
        The scene without speckle.
    about : dict
        Columns that say which scene this is.
    """

    db: np.ndarray
    clip: tuple[float, float]
    looks: float | None
    correlation: float
    clean_db: np.ndarray | None
    about: dict[str, Any]


@study("limits", version=1)
def limits(context: Context) -> pd.DataFrame:
    """Limits of every test and independent scene, and of each split and band pooled."""
    bands = list(split_bands(context.split))
    rows = [row for band in bands for row in band_rows(band)]
    for key in dict.fromkeys((band.about["split"], band.about["band"]) for band in bands):
        group = [band for band in bands if (band.about["split"], band.about["band"]) == key]
        rows += pooled_rows(group)
    return table(rows)


@study("simulated_limits", version=1)
def simulated_limits(context: Context) -> pd.DataFrame:
    """Limits of the catalog's simulated test scenes, whatever the scenes of the plan: there the speckle is known."""
    rows = []
    for name, _, _ in catalog_names():
        for band in split_bands(load_split(SceneSpec(name))):
            rows += band_rows(band)
    return table(rows)


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows with the columns in their order."""
    return pd.DataFrame(rows, columns=COLUMNS)


def split_bands(split: Split) -> Iterator[Band]:
    """Bands of the test and independent scenes of a split, those left out excepted."""
    for role, scene in split.roles():
        if role not in ("test", "independent") or split.reason(scene.name):
            continue
        clean = split.clean.get(scene.name)
        for index, name in enumerate(scene.bands):
            normalizer = split.normalizers.get(name)
            if normalizer is None or not scene.valid[index].any():
                continue
            correlation = float(scene.tags.get("correlation", "nan")) if scene.simulated else np.nan
            about = {
                "scene": scene.name, "band": name, "split": role, "acquisition": scene.acquisition,
                "simulated": scene.simulated, "looks": np.nan if scene.looks is None else scene.looks,
                "correlation": correlation, "clip_low": normalizer.low, "clip_high": normalizer.high,
            }  # fmt: skip
            yield Band(
                scene.data[index], (normalizer.low, normalizer.high), scene.looks, correlation,
                None if clean is None else clean.band(name).data[0], about,
            )  # fmt: skip


def band_rows(band: Band) -> list[dict[str, Any]]:
    """All limits of one band; a limit that cannot be had is one row with the reason."""
    width = band.clip[1] - band.clip[0]
    rows = []
    for limit, scalar in (("rwf", False), ("scalar", True)):
        try:
            curve = bounds.water_filling_curve(band.db, clip=band.clip, psnr_db=PSNR_DB, scalar=scalar)
            rows += _curve_rows(band, limit, curve.psnr_db, curve.bpp)
        except UndefinedMetric as undefined:
            rows.append({**band.about, "limit": limit, "reason": str(undefined)})
    rows += _speckle_rows(band)
    if band.looks is not None:
        looks = {**band.about, "estimate": False, "reason": ""}
        floor = float(bounds.speckle_floor(band.looks, band.clip))
        rows.append({**looks, "limit": "speckle_floor", "psnr_db": floor, "rmse_db": width * 10 ** (-floor / 20)})
        rows.append({**looks, "limit": "bias_limit", "bias_db": float(bounds.bias_limit(band.looks))})
    return rows


def pooled_rows(bands: Sequence[Band]) -> list[dict[str, Any]]:
    """Curves over all scenes of one split and band, at one water level."""
    if len(bands) < 2:
        return []
    first = bands[0]
    acquisitions = sorted({band.about["acquisition"] for band in bands})
    looks = {band.about["looks"] for band in bands}
    about = {
        **first.about, "scene": POOLED, "acquisition": "; ".join(acquisitions),
        "looks": looks.pop() if len(looks) == 1 else np.nan,
    }  # fmt: skip
    pooled = Band(first.db, first.clip, first.looks, first.correlation, None, about)
    rows = []
    for limit, scalar in (("rwf", False), ("scalar", True)):
        try:
            curve = bounds.water_filling_curve(
                [band.db for band in bands], clip=first.clip, psnr_db=PSNR_DB, scalar=scalar
            )
            rows += _curve_rows(pooled, limit, curve.psnr_db, curve.bpp)
        except UndefinedMetric as undefined:
            rows.append({**about, "limit": limit, "reason": str(undefined)})
    return rows


def _curve_rows(
    band: Band, limit: str, psnr_db: np.ndarray, bpp: np.ndarray, *, estimate: bool = False
) -> list[dict[str, Any]]:
    """Rows of a curve where it costs anything."""
    width = band.clip[1] - band.clip[0]
    return [
        {
            **band.about, "limit": limit, "estimate": estimate, "psnr_db": float(psnr), "reason": "",
            "rmse_db": width * 10 ** (-float(psnr) / 20), "bpp": float(rate),
        }
        for psnr, rate in zip(psnr_db, bpp, strict=True)
        if rate > 0
    ]  # fmt: skip


def _speckle_rows(band: Band) -> list[dict[str, Any]]:
    """What the speckle alone costs: known in simulation, estimated on recorded scenes."""
    psnr = np.asarray(PSNR_DB)
    rmse = (band.clip[1] - band.clip[0]) * 10 ** (-psnr / 20)
    if band.clean_db is not None and band.looks is not None:
        curve = bounds.speckle_rate_estimate(band.db, band.clean_db, clip=band.clip, psnr_db=PSNR_DB)
        rows = _curve_rows(band, "speckle", curve.psnr_db, curve.bpp)
        if band.correlation == 0:
            sandwich = bounds.speckle_sandwich(rmse, band.looks)
            rows += _curve_rows(band, "shannon", psnr, sandwich.lower)
            rows += _curve_rows(band, "gaussian", psnr, sandwich.upper)
        return rows
    try:
        speckle = scene_speckle(Reference(band.db, clip=band.clip, looks=band.looks))
    except UndefinedMetric as undefined:
        return [{**band.about, "limit": "speckle", "estimate": True, "reason": str(undefined)}]
    if isinstance(speckle.looks, Undefined) or not np.isfinite(speckle.looks):
        return [{**band.about, "limit": "speckle", "estimate": True, "reason": "the number of looks is unknown"}]
    # the measured correlation over homogeneous windows, with the variance that these looks have in dB
    spectrum = autocorrelation_spectrum(speckle.autocorrelation)
    spectrum *= float(bounds.speckle_std(speckle.looks)) ** 2 / spectrum.mean()
    return _curve_rows(band, "speckle", psnr, bounds.reverse_water_filling(spectrum, rmse**2), estimate=True)
