"""Scenes shipped with the package: BigEarthNet v2 Sentinel-1 patches joined into mosaics, and their lossless container.

    raw LMDB (BigEarthNet v2) ──rint(dB / step)──▶ integers ──5/3 lifting, 3 levels──▶ coefficients
        ──zigzag, low and high bytes apart──▶ LZMA ──▶ one .npz, readable with NumPy and the standard library alone

The step is 5/256 dB, exact in binary, so the packing error is at most 5/512 = 0.0098 dB. Its root mean square, 0.0056 dB, is
400 times smaller than the standard deviation of Sentinel-1 speckle at 4.4 looks.

To build the assets again from the raw data (development only, needs lmdb)::

    python -m sarlab.scenes.embedded ../shared/data/bigearthnet_v2_s1 sarlab/assets/scenes
"""

from __future__ import annotations

import json
import lzma
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.files import replacing
from sarlab.scenes.quantity import SENTINEL1_GRD_LOOKS
from sarlab.scenes.radiometry import Normalizer, fit_normalizers
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "scenes"
CREDIT = "contains modified Copernicus Sentinel data [2017]; BigEarthNet v2, CDLA-Permissive-1.0"
LICENSE = "CDLA-Permissive-1.0"

#: Quantization step of the packed dB values, and the largest error that follows from it.
STEP_DB = 5 / 256
PACKING_ERROR_DB = STEP_DB / 2

_PATCH = re.compile(r"(S1[AB]_IW_GRDH_1SDV_\d{8}T\d{6})_(\d{2}[A-Z]{3})_(\d+)_(\d+)")
_OPTICAL = re.compile(r"(S2[AB]_MSIL2A_\d{8}T\d{6})_\w+_T(\d{2}[A-Z]{3})_(\d+)_(\d+)")
_MAIN = "S1B_IW_GRDH_1SDV_20170612T165809"
_SIDE = 120

#: (column, row) of the patches of the main product that form the test mosaic and the validation block.
_TEST = {(c, r) for c in (37, 38) for r in (88, 89, 90)}
_VALIDATION = {(c, r) for c in (33, 34) for r in (69, 70)}

NOTE = (
    "BigEarthNet v2, Sentinel-1 IW GRD. Test: the 360×240 mosaic of tile 33UUP, columns 37–38; validation: the 240×240 block; "
    "training: the other ten patches of that product. The test mosaic shares the acquisition of the training scenes "
    "(2017-06-12), but no pixel; one training patch borders it and two border the validation block. The independent "
    "test consists of four patches of other acquisitions (2017-06-13, 2017-11-01). "
    f"Packed with an error of at most {PACKING_ERROR_DB:.4f} dB."
)


@lru_cache(maxsize=1)
def _scenes() -> dict[str, Scene]:
    """Load all mosaics by name."""
    planes, index = read_asset(ASSETS / "bigearthnet_s1.npz")
    bands, step = tuple(index["bands"]), float(index["step"])
    db = (planes * step).astype(np.float32).reshape(-1, len(bands), *planes.shape[1:])
    products: dict[tuple[str, str], dict[tuple[int, int], np.ndarray]] = {}
    for name, patch in zip(index["patches"], db, strict=True):
        product, tile, column, row = _parts(_PATCH, name)
        products.setdefault((product, tile), {})[int(column), int(row)] = patch
    scenes = {}
    for (product, tile), patches in sorted(products.items()):
        for places in _mosaics(set(patches), product == _MAIN):
            c0, r0 = min(c for c, _ in places), min(r for _, r in places)
            height = (max(r for _, r in places) - r0 + 1) * _SIDE
            width = (max(c for c, _ in places) - c0 + 1) * _SIDE
            data = np.full((len(bands), height, width), np.nan, np.float32)
            for c, r in places:
                y, x = (r - r0) * _SIDE, (c - c0) * _SIDE
                data[:, y : y + _SIDE, x : x + _SIDE] = patches[c, r]
            name = f"ben-{tile}-{c0}-{r0}"
            seen = "true" if product == _MAIN and not places & (_TEST | _VALIDATION) else "false"
            data.flags.writeable = False
            scenes[name] = Scene(
                data, "db", bands, name, looks=SENTINEL1_GRD_LOOKS, spacing=(10.0, 10.0), acquisition=product,
                seen_in_training=seen, credit=CREDIT, tags={"product": product, "tile": tile, "license": LICENSE},
            )  # fmt: skip
    return scenes


def _parts(pattern: re.Pattern[str], name: str) -> tuple[str, ...]:
    match = pattern.fullmatch(name)
    if match is None:
        raise SceneError(f"embedded patch '{name}' has an unknown name; install the package again")
    return match.groups()


def _mosaics(places: set[tuple[int, int]], main: bool) -> list[set[tuple[int, int]]]:
    """Group patches into rectangles: the test mosaic, the validation block, then vertical runs of the others."""
    mosaics = [part for part in (_TEST, _VALIDATION) if main and part <= places]
    left = sorted(places - set().union(*mosaics))
    while left:
        column, row = left[0]
        run = {(column, row)}
        while (column, row + len(run)) in left:
            run.add((column, row + len(run)))
        mosaics.append(run)
        left = [place for place in left if place not in run]
    return mosaics


def embedded_scenes() -> dict[str, Scene]:
    """Return all embedded radar scenes by name, in dB; their arrays are shared and read-only."""
    return dict(_scenes())


@lru_cache(maxsize=1)
def embedded_split() -> Split:
    """Return the split of the embedded scenes (see `NOTE`)."""
    scenes = _scenes()
    test, validation = scenes["ben-33UUP-37-88"], scenes["ben-33UUP-33-69"]
    train = [s for s in scenes.values() if s.seen_in_training == "true"]
    independent = [s for s in scenes.values() if s.acquisition != _MAIN]
    return Split(tuple(train), (validation,), (test,), tuple(independent), fit_normalizers(train), NOTE)


def reference_normalizers() -> dict[str, Normalizer]:
    """Return the normalizers of the embedded training scenes, which are the clip ranges of VV and VH."""
    return dict(embedded_split().normalizers)


@lru_cache(maxsize=1)
def load_optical_control() -> dict[str, np.ndarray]:
    """Load Sentinel-2 red and near infrared of the test mosaic, to compare radar and optical compressibility.

    Returns
    -------
    dict of str to ndarray of uint16, shape (360, 240)
        ``"B04"`` and ``"B08"``: surface reflectance × 10000 at 10 m, 2017-06-13, one day after the radar image.
    """
    planes, index = read_asset(ASSETS / "bigearthnet_s2.npz")
    bands = index["bands"]
    stacked = planes.astype(np.uint16).reshape(-1, len(bands), *planes.shape[1:])
    out = {band: np.zeros((3 * _SIDE, 2 * _SIDE), np.uint16) for band in bands}
    for name, patch in zip(index["patches"], stacked, strict=True):
        _, _, column, row = _parts(_OPTICAL, name)
        y, x = (int(row) - 88) * _SIDE, (int(column) - 37) * _SIDE
        for band, plane in zip(bands, patch, strict=True):
            out[band][y : y + _SIDE, x : x + _SIDE] = plane
    for plane in out.values():
        plane.flags.writeable = False
    return out


FORMAT = "sarlab-planes-1"
_LEVELS = 3
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}]
#: Far above any asset; an index with a larger shape is damaged.
_MAX_SAMPLES = 1 << 26


def _lift(x: np.ndarray, axis: int) -> np.ndarray:
    """Apply one level of the reversible 5/3 wavelet along an axis; the low half comes first."""
    x = np.moveaxis(x, axis, -1)
    even, odd = x[..., ::2].copy(), x[..., 1::2].copy()
    n, m = even.shape[-1], odd.shape[-1]
    if m:
        after = np.minimum(np.arange(m) + 1, n - 1)
        odd -= (even[..., :m] + even[..., after]) >> 1
        before, here = np.clip(np.arange(n) - 1, 0, m - 1), np.clip(np.arange(n), 0, m - 1)
        even += (odd[..., before] + odd[..., here] + 2) >> 2
    return np.moveaxis(np.concatenate([even, odd], -1), -1, axis)


def _unlift(x: np.ndarray, axis: int) -> np.ndarray:
    """Invert `_lift`."""
    x = np.moveaxis(x, axis, -1)
    n = (x.shape[-1] + 1) // 2
    m = x.shape[-1] - n
    even, odd = x[..., :n].copy(), x[..., n:].copy()
    if m:
        before, here = np.clip(np.arange(n) - 1, 0, m - 1), np.clip(np.arange(n), 0, m - 1)
        even -= (odd[..., before] + odd[..., here] + 2) >> 2
        after = np.minimum(np.arange(m) + 1, n - 1)
        odd += (even[..., :m] + even[..., after]) >> 1
    out = np.empty_like(x)
    out[..., ::2], out[..., 1::2] = even, odd
    return np.moveaxis(out, -1, axis)


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    return [(-(-height >> level), -(-width >> level)) for level in range(_LEVELS)]


def encode_planes(planes: np.ndarray) -> bytes:
    """Compress integer planes of shape (n, height, width) without loss; values must lie within about ±8000."""
    x = np.array(planes, np.int32)
    for height, width in _sizes(*x.shape[1:]):
        x[:, :height, :width] = _lift(_lift(x[:, :height, :width], -1), -2)
    zigzag = (x << 1) ^ (x >> 31)
    if zigzag.max(initial=0) > 0xFFFF:
        raise SceneError("values too large for the packed planes; use a coarser step")
    raw = (zigzag & 0xFF).astype(np.uint8).tobytes() + (zigzag >> 8).astype(np.uint8).tobytes()
    return lzma.compress(raw, format=lzma.FORMAT_RAW, filters=_FILTERS)


def decode_planes(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Invert `encode_planes`: int32, shape (n, height, width).

    Raises
    ------
    SceneError
        The data are damaged or do not fit `shape`.
    """
    count = int(np.prod(shape))
    if min(shape) < 1 or count > _MAX_SAMPLES:
        raise SceneError(f"packed planes of impossible shape {shape}; the file is damaged, install the package again")
    try:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
        raw = decompressor.decompress(data, max_length=2 * count + 1)
    except lzma.LZMAError:
        raw = b""
    if len(raw) != 2 * count:
        raise SceneError("packed planes are damaged or truncated; install the package again")
    low, high = np.frombuffer(raw, np.uint8).reshape(2, *shape).astype(np.int32)
    zigzag = low | (high << 8)
    x = (zigzag >> 1) ^ -(zigzag & 1)
    for height, width in reversed(_sizes(*shape[1:])):
        x[:, :height, :width] = _unlift(_unlift(x[:, :height, :width], -2), -1)
    return x


def write_asset(path: Path, planes: np.ndarray, index: dict[str, Any]) -> None:
    """Write planes of shape (n, height, width) and their index to one ``.npz`` without pickled objects."""
    index = {"format": FORMAT, "shape": list(planes.shape), **index}
    text = np.frombuffer(json.dumps(index, sort_keys=True).encode(), np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, index=text, planes=np.frombuffer(encode_planes(planes), np.uint8))


def read_asset(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the planes (int32) and the index of an asset."""
    try:
        with np.load(path, allow_pickle=False) as file:
            index = json.loads(file["index"].tobytes())
            data = file["planes"].tobytes()
        if index.get("format") != FORMAT:
            raise ValueError("unknown format")
        n, height, width = (int(v) for v in index["shape"])
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise SceneError(f"{path}: the embedded scenes cannot be read ({error}); install the package again") from None
    return decode_planes(data, (n, height, width)), index


def build_assets(source: Path, target: Path) -> None:
    """Pack the BigEarthNet patches of an LMDB folder into the two assets.

    Sentinel-1: VV and VH of all patches. Sentinel-2, as optical control: red and near infrared (B04, B08) of the six
    patches of the test mosaic, without loss.
    """
    import lmdb
    from safetensors.numpy import load

    with lmdb.open(str(source), readonly=True, lock=False).begin() as transaction:
        patches = {key.decode(): load(bytes(value)) for key, value in transaction.cursor()}
    radar = sorted(name for name in patches if name.startswith("S1"))
    places = tuple(f"{column}_{row}" for column, row in _TEST)
    optical = sorted(n for n in patches if not n.startswith("S1") and "T33UUP" in n and n.endswith(places))
    db = np.stack([patches[name][band] for name in radar for band in ("VV", "VH")]).astype(np.float32)
    quantized = np.rint(db.astype(np.float64) / STEP_DB).astype(np.int32)
    error = float(np.abs(quantized * STEP_DB - db).max())
    index = {"patches": radar, "bands": ["VV", "VH"], "unit": "dB", "step": STEP_DB, "largest_error": error}
    write_asset(target / "bigearthnet_s1.npz", quantized, index)
    bands = ["B04", "B08"]
    reflectance = np.stack([patches[name][band] for name in optical for band in bands]).astype(np.int32)
    index = {
        "patches": optical,
        "bands": bands,
        "unit": "reflectance × 10000 (uint16)",
        "step": 1,
        "largest_error": 0.0,
    }
    write_asset(target / "bigearthnet_s2.npz", reflectance, index)


if __name__ == "__main__":
    build_assets(*map(Path, sys.argv[1:3]))
