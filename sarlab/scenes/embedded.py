"""Scenes shipped with the package: GeoTIFF files of seven places, listed in ``assets/scenes/sentinel1.toml``.

Two splits use them. ``sentinel1`` holds out whole places and passes. ``bigearthnet`` contains the BigEarthNet patches
alone; its test mosaic lies in another place than its training scenes but belongs to the same pass. Its training scenes
define the clip ranges of VV and VH for all sources.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from sarlab.scenes.collection import Collection, Record, read_collection
from sarlab.scenes.radiometry import Normalizer, fit_normalizers
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "scenes"
CREDIT = "contains modified Copernicus Sentinel data [2017]; BigEarthNet v2, CDLA-Permissive-1.0"
LICENSE = "CDLA-Permissive-1.0"

_BIGEARTHNET = {
    "train": ("26-57", "27-55", "34-71", "35-69", "38-58", "38-87"),
    "validation": ("33-69",),
    "test": ("37-88",),
    "independent": ("33UUP-70-40", "35VNJ-13-13", "35VNJ-23-24", "35VNJ-0-0"),
}

NOTE = (
    "BigEarthNet v2, Sentinel-1 IW GRD. Test: the 360×240 mosaic of tile 33UUP, columns 37–38; validation: the 240×240 block; "
    "training: the other ten patches of that product. The test mosaic shares the acquisition of the training scenes "
    "(2017-06-12), but no pixel; one training patch borders it and two border the validation block. The independent "
    "test consists of four patches of other acquisitions (2017-06-13, 2017-11-01). Packed with an error of at most 0.0098 dB."
)


@lru_cache(maxsize=1)
def sentinel1() -> Collection:
    """Return the collection of the embedded scenes."""
    return read_collection(ASSETS / "sentinel1.toml", ASSETS)


@cache
def _load(record: Record) -> Scene:
    scene = record.load({} if record.calibrated else reference_normalizers())
    scene.data.flags.writeable = False
    return scene


def embedded_scenes() -> dict[str, Scene]:
    """Return all embedded radar scenes by name, in dB; their arrays are shared and read-only."""
    scenes = {record.name: _load(record) for record in sentinel1().records}
    return scenes | {scene.name: scene for _, scene in bigearthnet_split().roles()}


@lru_cache(maxsize=1)
def bigearthnet_split() -> Split:
    """Return the split of the BigEarthNet scenes (see `NOTE`)."""
    records = {record.name: record for record in sentinel1().records}

    def scenes(role: str) -> tuple[Scene, ...]:
        names = [name if role == "independent" else f"33UUP-{name}" for name in _BIGEARTHNET[role]]
        found = [_load(records[f"ben-{name}"]) for name in names]
        seen = "true" if role == "train" else "false"
        return tuple(replace(s, seen_in_training=seen, acquisition=s.tags["product"]) for s in found)

    train = scenes("train")
    return Split(
        train, scenes("validation"), scenes("test"), scenes("independent"), fit_normalizers(train), NOTE,
    )  # fmt: skip


def reference_normalizers() -> dict[str, Normalizer]:
    """Return the normalizers of the BigEarthNet training scenes, which are the clip ranges of VV and VH."""
    return dict(bigearthnet_split().normalizers)


@lru_cache(maxsize=1)
def load_optical_control() -> dict[str, np.ndarray]:
    """Load Sentinel-2 red and near infrared of the mosaic ben-33UUP-37-88, to compare radar and optical compressibility.

    Returns
    -------
    dict of str to ndarray of uint16, shape (360, 240)
        ``"B04"`` and ``"B08"``: surface reflectance × 10000 at 10 m, 2017-06-13, one day after the radar image.
    """
    scene = read_scene(ASSETS / "optical_control.tif", "intensity")
    planes = {band: plane.astype(np.uint16) for band, plane in zip(scene.bands, scene.data, strict=True)}
    for plane in planes.values():
        plane.flags.writeable = False
    return planes
