"""The contract of preservation: each property of a raster, and how it comes back from a ``.sarl`` file and its outputs."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.arrays import storage_of
from sarlab.scenes.rasters import OWN_TAGS, geotiff_profile
from sarlab.scenes.readers import open_scene
from sarlab.scenes.scene import Georeference, polarization


class Property(NamedTuple):
    """How a property of a raster is kept, and the outputs that hold it."""

    kept: str
    how: str = ""
    outputs: Sequence[str] = ()


_STATED = (Path(__file__).resolve().parent.parent / "assets" / "preservation.toml").read_text(encoding="utf-8")
PROPERTIES = {name: Property(**row) for name, row in tomllib.loads(_STATED).items()}


def _place(file: Any) -> Georeference:
    return file.georeference or Georeference()


def _tags(file: Any, dataset: bool) -> str:
    count = sum(len(tags) for band, _, tags in file.profile.tags if dataset == (band == 0))
    return f"{count} tags" if count else ""


def _packings(file: Any) -> dict[tuple[float, float], None]:
    return dict.fromkeys(zip(file.profile.scales, file.profile.offsets, strict=True))


#: What GeoTIFF holds only as a tag.
_IN_TAGS = dict(zip(OWN_TAGS, ("coordinate system", "coordinate system", "ids of ground control points"), strict=True))
#: Values of properties in a scene or an open file; empty if it does not have them.
_FIND: dict[str, Callable[[Any], str]] = {
    "samples": lambda f: f"{f.shape[0]} band(s) of {f.shape[1]}×{f.shape[2]}, {f.quantity}",
    "sample type": lambda f: f.dtype,
    "phase of complex samples": lambda f: f.dtype if f.quantity == "complex" else "",
    "scale and offset": lambda f: ", ".join(f"×{scale:g} + {offset:g}" for scale, offset in _packings(f)),
    "nodata value": lambda f: "" if f.nodata is None else ", ".join(getattr(f, "nodata_values", (f"{f.nodata:g}",))),
    "mask": lambda f: "mask" if f.profile.mask == "mask" else "",
    "alpha band": lambda f: "alpha" if f.profile.mask == "alpha" else "",
    "transform": lambda f: f"{_place(f).transform}" if _place(f).has_transform else "",
    "coordinate system": lambda f: [*(_place(f).crs or _place(f).gcps_crs).split('"'), ""][1],
    "ground control points": lambda f: f"{len(_place(f).gcps)} points" if _place(f).gcps else "",
    "rational polynomials (RPC)": lambda f: "RPC" if _place(f).rpc else "",
    "pixel is point": lambda f: f.tags.get("AREA_OR_POINT", ""),
    "band descriptions": lambda f: "/".join(filter(None, f.profile.descriptions or ())),
    "units": lambda f: "/".join(f.profile.units),
    "color interpretation": lambda f: "/".join(f.profile.colors),
    "tags": lambda f: f"{len(f.tags)} tags" if f.tags else "",
    "tags in namespaces": lambda f: _tags(f, True),
    "tags of bands": lambda f: _tags(f, False),
    "polarization, time of acquisition": lambda f: " ".join(filter(None, (*map(polarization, f.bands), f.time))),
}  # fmt: skip


def check(path: Any, quantity: str = "auto", **options: Any) -> dict[str, Any]:
    """Apply the contract to a file, opened as `sarlab.scenes.readers.open_scene` does, without compressing it.

    Returns ``"file"``; ``"refused"``: the reason, or None; ``"properties"``: a list of ``property``, ``value``, ``kept`` and
    ``how``; ``"counts"``: samples that do not come back as they are, by kind.
    """
    report: dict[str, Any] = {"file": str(path), "refused": None, "properties": [], "counts": {}}
    try:
        with open_scene(path, quantity, allow_empty=True, **options) as file:
            for name, find in _FIND.items():
                kept, how, _ = PROPERTIES[name]
                if value := find(file):
                    report["properties"].append({"property": name, "value": value, "kept": kept, "how": how})
            report["counts"] = {kind: count for kind, count in file.census().items() if count}
            file.read((0, 0, min(64, file.shape[1]), min(64, file.shape[2])))
            if report["counts"].get("below the floor") and options.get("floor") is None:
                share = report["counts"]["below the floor"] / np.prod(file.shape)
                way = "set a floor (--floor 0), or declare the nodata value (gdal_edit.py -a_nodata)"
                report["refused"] = f"{path}: {share:.2%} of the samples are negative; {way}"
    except SceneError as error:
        report["refused"] = str(error)
    return report


def losses(scene: Any, target: str | Path, written: Any = None) -> list[str]:
    """Name the properties of a scene that the output of a file name cannot hold; `written` is what is written for it."""
    suffix = Path(target).suffix.lower().replace(".tiff", ".tif")
    lost = [n for n, find in _FIND.items() if (held := PROPERTIES[n].outputs) and suffix not in held and find(scene)]
    place, stored = _place(scene), storage_of(written or scene, suffix == ".zarr")[0]
    if suffix == ".tif":
        stored = (written or scene).file_dtype.replace("float16", "float32")
        lost += ["ground control points"] * bool(place.gcps and place.has_transform)
        if len(place.rpc) not in (0, 14, 16):  # with the two errors
            lost.append(f"rational polynomials (RPC) of {len(place.rpc)} items instead of 14")
        lost += [f"{_IN_TAGS[tag]} (except in the tag {tag})" for tag in geotiff_profile(scene)[1]]
    if stored != scene.file_dtype:
        lost.append(f"sample type {scene.file_dtype} (written as {stored})")
    if suffix == ".zarr" and len(_packings(scene)) > 1:
        lost.append("scale and offset")
    return lost
