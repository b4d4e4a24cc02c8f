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

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    """One band of one scene.

    Parameters
    ----------
    db : ndarray, shape (height, width)
        NaN = nodata.
    clip : (low, high)
        In dB.
    looks : float or None
        Nominal.
    clean_db : ndarray or None
        The scene without speckle.
    about : dict
        Columns that describe the scene. ``correlation`` is that of the simulated speckle of neighbors, else NaN.
    """

    db: np.ndarray
    clip: tuple[float, float]
    looks: float | None
    clean_db: np.ndarray | None
    about: dict[str, Any]

    def curve(
        self, limit: str, psnr_db: np.ndarray, bpp: np.ndarray, *, estimate: bool = False
    ) -> list[dict[str, Any]]:
        """Rows of a curve, as far as its rate is above zero."""
        width = self.clip[1] - self.clip[0]
        return [
            {
                **self.about, "limit": limit, "estimate": estimate, "psnr_db": float(psnr), "reason": "",
                "rmse_db": width * 10 ** (-float(psnr) / 20), "bpp": float(rate),
            }
            for psnr, rate in zip(psnr_db, bpp, strict=True)
            if rate > 0
        ]  # fmt: skip

    def undefined(self, limit: str, reason: str, **columns: Any) -> dict[str, Any]:
        """Row of a limit that cannot be computed."""
        return {**self.about, "limit": limit, **columns, "reason": reason}


@study("limits", version=1)
def limits(context: Context) -> pd.DataFrame:
    """Limits of every test and independent scene, and of each split and band pooled."""
    bands = list(split_bands(context.split))
    rows = [row for band in bands for row in band_rows(band)]
    for key in dict.fromkeys((band.about["split"], band.about["band"]) for band in bands):
        rows += pooled_rows([band for band in bands if (band.about["split"], band.about["band"]) == key])
    return pd.DataFrame(rows, columns=COLUMNS)


@study("simulated_limits", version=1)
def simulated_limits(context: Context) -> pd.DataFrame:
    """Limits of the catalog's simulated test scenes, whatever the scenes of the plan: there the speckle is known."""
    splits = [load_split(SceneSpec(name)) for name, _, _ in catalog_names()]
    rows = [row for split in splits for band in split_bands(split) for row in band_rows(band)]
    return pd.DataFrame(rows, columns=COLUMNS)


def split_bands(split: Split) -> Iterator[Band]:
    """Measurable bands of the test and independent scenes of a split."""
    for role, scene in split.roles():
        if role not in ("test", "independent") or split.reason(scene.name):
            continue
        clean = split.clean.get(scene.name)
        for index, name in enumerate(scene.bands):
            normalizer = split.normalizers.get(name)
            if normalizer is None or not scene.valid[index].any():
                continue
            about = {
                "scene": scene.name, "band": name, "split": role, "acquisition": scene.acquisition,
                "simulated": scene.simulated, "looks": np.nan if scene.looks is None else scene.looks,
                "correlation": float(scene.tags.get("correlation", "nan")) if scene.simulated else np.nan,
                "clip_low": normalizer.low, "clip_high": normalizer.high,
            }  # fmt: skip
            clean_db = None if clean is None else clean.band(name).data[0]
            yield Band(scene.data[index], (normalizer.low, normalizer.high), scene.looks, clean_db, about)


def band_rows(band: Band) -> list[dict[str, Any]]:
    """All limits of one band; a limit that cannot be computed is one row with the reason."""
    rows = [*water_filling(band, band.db), *speckle_rows(band)]
    if band.looks is not None:
        about = {**band.about, "estimate": False, "reason": ""}
        floor = float(bounds.speckle_floor(band.looks, band.clip))
        rmse = (band.clip[1] - band.clip[0]) * 10 ** (-floor / 20)
        rows.append({**about, "limit": "speckle_floor", "psnr_db": floor, "rmse_db": rmse})
        rows.append({**about, "limit": "bias_limit", "bias_db": float(bounds.bias_limit(band.looks))})
    return rows


def pooled_rows(bands: Sequence[Band]) -> list[dict[str, Any]]:
    """Curves over all scenes of one split and band, at one water level."""
    if len(bands) < 2:
        return []
    looks = {band.about["looks"] for band in bands}
    about = {
        **bands[0].about, "scene": POOLED, "acquisition": "; ".join(sorted({b.about["acquisition"] for b in bands})),
        "looks": looks.pop() if len(looks) == 1 else np.nan,
    }  # fmt: skip
    return water_filling(replace(bands[0], about=about), [band.db for band in bands])


def water_filling(band: Band, db: np.ndarray | list[np.ndarray]) -> list[dict[str, Any]]:
    """Curves of reverse water-filling, ideal and with scalar quantizers."""
    rows = []
    for limit, scalar in (("rwf", False), ("scalar", True)):
        try:
            curve = bounds.water_filling_curve(db, clip=band.clip, psnr_db=PSNR_DB, scalar=scalar)
            rows += band.curve(limit, curve.psnr_db, curve.bpp)
        except UndefinedMetric as undefined:
            rows.append(band.undefined(limit, str(undefined)))
    return rows


def speckle_rows(band: Band) -> list[dict[str, Any]]:
    """Rates of the speckle alone: known in simulation, estimated on recorded scenes."""
    psnr = np.asarray(PSNR_DB)
    rmse = (band.clip[1] - band.clip[0]) * 10 ** (-psnr / 20)
    if band.clean_db is not None and band.looks is not None:
        curve = bounds.speckle_rate_estimate(band.db, band.clean_db, clip=band.clip, psnr_db=PSNR_DB)
        rows = band.curve("speckle", curve.psnr_db, curve.bpp)
        if band.about["correlation"] == 0:
            sandwich = bounds.speckle_sandwich(rmse, band.looks)
            rows += band.curve("shannon", psnr, sandwich.lower) + band.curve("gaussian", psnr, sandwich.upper)
        return rows
    try:
        speckle = scene_speckle(Reference(band.db, clip=band.clip, looks=band.looks))
    except UndefinedMetric as undefined:
        return [band.undefined("speckle", str(undefined), estimate=True)]
    if isinstance(speckle.looks, Undefined) or not np.isfinite(speckle.looks):
        return [band.undefined("speckle", "the number of looks is unknown", estimate=True)]
    # the measured correlation over homogeneous windows, with the variance that these looks have in dB
    spectrum = autocorrelation_spectrum(speckle.autocorrelation)
    spectrum *= float(bounds.speckle_std(speckle.looks)) ** 2 / spectrum.mean()
    return band.curve("speckle", psnr, bounds.reverse_water_filling(spectrum, rmse**2), estimate=True)
