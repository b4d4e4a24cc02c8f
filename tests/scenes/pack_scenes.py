"""Pack the embedded scenes from the raw files; for development only, needs lmdb.

    python tests/scenes/pack_scenes.py DATA sarlab/assets/scenes

Every scene becomes a GeoTIFF that any GIS opens: integers with a scale, compressed by DEFLATE with differences between
neighbors. The steps of the dB values are 5/256 dB (BigEarthNet) and 0.02 dB, so no sample is off by more than 0.01 dB. A
hundredth of a decibel is 200 times less than the standard deviation of Sentinel-1 speckle at 4.4 looks. Scenes that were
integers already, digital numbers or hundredths of a decibel, are stored without loss.
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.scenes.collection import read_collection
from sarlab.scenes.radiometry import FLOOR_TAG, NATIVE_TAG

STEP_DB = 0.02
#: A power of two in the denominator: the values are exact in binary.
BIGEARTHNET_STEP_DB = 5 / 256
NODATA = -32768
#: dB of an exact zero of an integer product (half a quantum in amplitude), on the grid.
ZERO_DB = -6.02

_SIDE = 120
#: Mosaics of several patches: columns and rows of the first one, by (column, row) of its first patch.
_MOSAICS = {(37, 88): (2, 3), (33, 69): (2, 2), (27, 55): (1, 5)}
_PATCH = re.compile(r"(S1[AB]_IW_GRDH_1SDV_\d{8}T\d{6})_(\d{2}[A-Z]{3})_(\d+)_(\d+)")


def pack(source: Path, target: Path) -> None:
    """Pack all embedded scenes and the optical control."""
    patches = _bigearthnet(source / "bigearthnet_v2_s1")
    for record in read_collection(target / "sentinel1.toml", target).records:
        kind, last = record.name.split("-")[0], record.name.split("-")[-1]
        if kind == "ben":
            options = _mosaic(patches, record.name)
        elif kind == "myanmar":
            options = _myanmar(source / "stacks" / "myanmar_30m", record.acquisition)
        elif kind == "png":
            options = _decibels(source / "stacks" / "png_rtc30_vh" / f"{last}_vh.tif", 10, "VH")
        elif kind == "morocco":
            options = _decibels(source / "sentinel1_more" / f"morocco_amp_{last}.tif", 20, "VV")
        elif kind == "azores":
            options = _decibels(source / "sentinel1_more" / "azores_slc_iw3_vv_cint16.tif", 20, "VV")
        else:
            options = _read(source / "sentinel1_more" / "belgian_coast_ships_grd_dn.tif") | {"bands": ("VH",)}
        _write(record.files[0], **options)
    control = [_optical(patches, band) for band in ("B04", "B08")]
    _write(target / "optical_control.tif", np.stack(control), bands=("B04", "B08"))


def _write(
    path: Path, data: np.ndarray, *, bands: tuple[str, ...], step: float = 1.0, nodata: float | None = None,
    tags: dict[str, str] | None = None, crs: Any = None, transform: Any = None,
) -> None:  # fmt: skip
    import rasterio

    placed = {"crs": crs, "transform": transform} if crs else {}
    with rasterio.open(
        path, "w", driver="GTiff", count=len(data), height=data.shape[1], width=data.shape[2], dtype=data.dtype,
        nodata=nodata, compress="deflate", predictor=2, zlevel=9, interleave="pixel", blockysize=data.shape[1], **placed,
    ) as file:  # fmt: skip
        file.write(data)
        file.descriptions = bands
        if step != 1:
            file.scales = [step] * len(bands)
        file.update_tags(**(tags or {}))


def _read(path: Path) -> dict[str, Any]:
    import rasterio

    with rasterio.open(path) as file:
        return {"data": file.read(), "crs": file.crs, "transform": file.transform}


def _decibels(path: Path, factor: int, band: str) -> dict[str, Any]:
    """Put an amplitude (factor 20) or intensity (10) on the grid of dB; zeros are nodata unless they are complex."""
    found = _read(path)
    samples, tags = found.pop("data"), {}
    valid = ~np.isnan(samples)
    with np.errstate(divide="ignore", invalid="ignore"):
        db = factor * np.log10(np.hypot(samples.real.astype(np.float64), samples.imag))
    if np.iscomplexobj(samples):
        db[np.isneginf(db)] = ZERO_DB
        tags = {NATIVE_TAG: "complex", FLOOR_TAG: f'{{"{band}": {ZERO_DB}}}'}
    else:
        valid &= samples > 0
    data = np.where(valid, np.rint(np.where(valid, db, 0) / STEP_DB), NODATA).astype(np.int16)
    return {**found, "data": data, "bands": (band,), "step": STEP_DB, "nodata": NODATA, "tags": tags}


def _myanmar(folder: Path, acquisition: str) -> dict[str, Any]:
    """Take the layer of a pass from the stacks of hundredths of a decibel, without loss."""
    import rasterio

    planes = []
    for name in ("vv.tif", "vh.tif"):
        with rasterio.open(folder / name) as file:
            layers = [i for i, text in enumerate(file.descriptions, 1) if text.startswith(acquisition)]
            planes.append(file.read(layers[0]))
            placed = {"crs": file.crs, "transform": file.transform}
    return {"data": np.stack(planes), "bands": ("VV", "VH"), "step": 0.01, "nodata": NODATA, **placed}


def _bigearthnet(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    import lmdb
    from safetensors.numpy import load

    with lmdb.open(str(folder), readonly=True, lock=False).begin() as transaction:
        return {key.decode(): load(bytes(value)) for key, value in transaction.cursor()}


def _mosaic(patches: dict[str, dict[str, np.ndarray]], name: str) -> dict[str, Any]:
    """Join BigEarthNet patches; adjacent ones are seamless."""
    _, tile, column, row = name.split("-")
    first = (int(column), int(row))
    columns, rows = _MOSAICS.get(first, (1, 1)) if tile == "33UUP" else (1, 1)
    data = np.zeros((2, rows * _SIDE, columns * _SIDE), np.int16)
    product = ""
    for key, bands in patches.items():
        match = _PATCH.fullmatch(key)
        if match is None or match[2] != tile:
            continue
        c, r = int(match[3]) - first[0], int(match[4]) - first[1]
        if 0 <= c < columns and 0 <= r < rows:
            product = match[1]
            for index, band in enumerate(("VV", "VH")):
                step = np.rint(bands[band].astype(np.float64) / BIGEARTHNET_STEP_DB)
                data[index, r * _SIDE : (r + 1) * _SIDE, c * _SIDE : (c + 1) * _SIDE] = step
    tags = {"product": product, "tile": tile, "license": "CDLA-Permissive-1.0"}
    return {"data": data, "bands": ("VV", "VH"), "step": BIGEARTHNET_STEP_DB, "tags": tags}


def _optical(patches: dict[str, dict[str, np.ndarray]], band: str) -> np.ndarray:
    """Join a Sentinel-2 band on the ground of the mosaic ben-33UUP-37-88."""
    rows = [
        [patches[f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{column}_{row}"][band] for column in (37, 38)]
        for row in (88, 89, 90)
    ]
    return np.block(rows).astype(np.uint16)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # scenes without a georeference
    pack(*map(Path, sys.argv[1:3]))
