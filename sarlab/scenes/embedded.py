"""Scenes that come with the package: BigEarthNet v2 Sentinel-1 patches, joined into their mosaics."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.packing import PACKING_ERROR_DB, read_asset
from sarlab.scenes.quantity import SENTINEL1_GRD_LOOKS
from sarlab.scenes.radiometry import Normalizer, fit_normalizers
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "scenes"
CREDIT = "contains modified Copernicus Sentinel data [2017]; BigEarthNet v2, CDLA-Permissive-1.0"
LICENSE = "CDLA-Permissive-1.0"

_PATCH = re.compile(r"(S1[AB]_IW_GRDH_1SDV_\d{8}T\d{6})_(\d{2}[A-Z]{3})_(\d+)_(\d+)")
_OPTICAL = re.compile(r"(S2[AB]_MSIL2A_\d{8}T\d{6})_\w+_T(\d{2}[A-Z]{3})_(\d+)_(\d+)")
_MAIN = "S1B_IW_GRDH_1SDV_20170612T165809"
_SIDE = 120

#: (column, row) of the patches of the main product that make the test mosaic and the validation block.
_TEST = {(c, r) for c in (37, 38) for r in (88, 89, 90)}
_VALIDATION = {(c, r) for c in (33, 34) for r in (69, 70)}

NOTE = (
    "BigEarthNet v2, Sentinel-1 IW GRD. Test: the 360×240 mosaic of tile 33UUP, columns 37–38; validation: the 240×240 block; "
    "training: the other ten patches of that product. The test mosaic shares the acquisition of the training scenes "
    "(2017-06-12), though no pixel; one training patch borders it and two border the validation block. The independent "
    "test is four patches of other acquisitions (2017-06-13, 2017-11-01). "
    f"Packed with an error of at most {PACKING_ERROR_DB:.4f} dB."
)


@lru_cache(maxsize=1)
def _scenes() -> dict[str, Scene]:
    """All mosaics by name."""
    planes, index = read_asset(ASSETS / "bigearthnet_s1.npz")
    bands, step = tuple(index["bands"]), float(index["step"])
    db = (planes * step).astype(np.float32).reshape(-1, len(bands), *planes.shape[1:])
    products: dict[tuple[str, str], dict[tuple[int, int], np.ndarray]] = {}
    for name, patch in zip(index["patches"], db, strict=True):
        match = _PATCH.fullmatch(name)
        if match is None:
            raise SceneError(f"embedded patch '{name}' has no known name; install the package again")
        product, tile, column, row = match.groups()
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


def _mosaics(places: set[tuple[int, int]], main: bool) -> list[set[tuple[int, int]]]:
    """Rectangles of neighboring patches: the test, the validation block, then vertical runs of what is left."""
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
    """Every embedded radar scene by name, in dB; their arrays are shared and read-only."""
    return dict(_scenes())


@lru_cache(maxsize=1)
def embedded_split() -> Split:
    """The split of the embedded scenes (see `NOTE`)."""
    scenes = _scenes()
    test, validation = scenes["ben-33UUP-37-88"], scenes["ben-33UUP-33-69"]
    train = [s for s in scenes.values() if s.seen_in_training == "true"]
    independent = [s for s in scenes.values() if s.acquisition != _MAIN]
    return Split(tuple(train), (validation,), (test,), tuple(independent), fit_normalizers(train), NOTE)


def reference_normalizers() -> dict[str, Normalizer]:
    """Normalizers of the embedded training scenes: the clip ranges of VV and VH."""
    return dict(embedded_split().normalizers)


@lru_cache(maxsize=1)
def load_optical_control() -> dict[str, np.ndarray]:
    """Optical control: Sentinel-2 red and near infrared of the ground of the test mosaic, as delivered.

    For claims about entropy and compressibility of radar against optical images.

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
        match = _OPTICAL.fullmatch(name)
        if match is None:
            raise SceneError(f"embedded patch '{name}' has no known name; install the package again")
        y, x = (int(match.group(4)) - 88) * _SIDE, (int(match.group(3)) - 37) * _SIDE
        for band, plane in zip(bands, patch, strict=True):
            out[band][y : y + _SIDE, x : x + _SIDE] = plane
    for plane in out.values():
        plane.flags.writeable = False
    return out
