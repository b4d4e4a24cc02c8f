"""The contract of preservation: each property of a raster, and how it comes back from a ``.sarl`` file and its outputs.

`PROPERTIES` is the contract. `check` applies it to one file, `losses` names what a container cannot hold, and the book
prints it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.readers import open_scene
from sarlab.scenes.scene import Georeference, polarization

EXACTLY, EQUIVALENT, REFUSED = "exactly", "as an equivalent", "refused"
#: What a property can be kept in: a compressed file, and the outputs of decompression.
CONTAINERS = (".sarl", ".tif", ".zarr", ".npy")


class Property(NamedTuple):
    """A property of a raster, how it is kept, the containers that hold it, and its value in a scene or an open file."""

    name: str
    kept: str
    how: str
    containers: tuple[str, ...]
    find: Callable[[Any], Any] = lambda file: ""


def _place(file: Any) -> Georeference:
    return file.georeference or Georeference()


def _tags(file: Any, dataset: bool) -> str:
    count = sum(len(tags) for band, _, tags in file.profile.tags if dataset == (band == 0))
    return f"{count} tags" if count else ""


def _packings(file: Any) -> dict[tuple[float, float], None]:
    return dict.fromkeys(zip(file.profile.scales, file.profile.offsets, strict=True))


_ALL, _ZARR, _TIF = CONTAINERS, CONTAINERS[:3], CONTAINERS[:2]

PROPERTIES = (
    Property("samples", EQUIVALENT, "with the error that the goal allows; integers without loss with --lossless", _ALL,
             lambda f: f"{f.shape[0]} band(s) of {f.shape[1]}×{f.shape[2]}, {f.quantity}"),
    Property("sample type", EXACTLY, "in the byte order of the machine; float16 becomes float32 in GeoTIFF, long double float64",
             _ALL, lambda f: f.dtype),
    Property("phase of complex samples", REFUSED, "unless --drop-phase is given: the intensity is kept, as float32", (),
             lambda f: f.dtype if f.quantity == "complex" else ""),
    Property("exact zeros", EQUIVALENT, "areas of zeros exactly, single ones within the error; zero is a value, not nodata", _ALL),
    Property("negative amplitude or intensity", REFUSED, "unless --floor VALUE replaces it; the samples are counted", ()),
    Property("infinite samples", EQUIVALENT, "+∞ becomes NaN and is counted; −∞ dB is an exact zero", _ALL),
    Property("samples beyond float32", EQUIVALENT, "become ±3.4e38 and are counted", _ALL),
    Property("scale and offset", EXACTLY, "per band; .npy holds scaled values, .zarr one scale for all bands", _ZARR,
             lambda f: ", ".join(f"×{scale:g} + {offset:g}" for scale, offset in _packings(f))),
    Property("nodata value", EXACTLY, "one for all bands, the first; a measured sample of this value moves to the next one",
             _ZARR, lambda f: "" if f.nodata is None else f"{f.nodata:g}"),
    Property("mask", EXACTLY, "inside the GeoTIFF, one for all bands; samples under it are not kept", _TIF,
             lambda f: "mask" if f.profile.mask == "mask" else ""),
    Property("alpha band", EQUIVALENT, "transparent or opaque; a mask if samples are not unsigned of 8 or 16 bit", _TIF,
             lambda f: "alpha" if f.profile.mask == "alpha" else ""),
    Property("NaN beside a nodata value or mask", EXACTLY, "NaN stays NaN, nodata stays nodata", _ALL),
    Property("transform", EXACTLY, "also rotated and south-up", _ZARR,
             lambda f: f"{_place(f).transform}" if _place(f).has_transform else ""),
    Property("coordinate system", EXACTLY, "in the tag SARLAB_CRS_WKT2 if GeoTIFF cannot hold it; a geographic one without "
             "transform locates nothing and is left out", _ZARR,
             lambda f: [*(_place(f).crs or _place(f).gcps_crs).split('"'), ""][1]),
    Property("ground control points", EXACTLY, "with heights, coordinate system and ids (in the tag SARLAB_GCP_IDS, if they are "
             "not 1, 2, 3 …); GeoTIFF has no room for them beside a transform", _ZARR,
             lambda f: f"{len(_place(f).gcps)} points" if _place(f).gcps else ""),
    Property("rational polynomials (RPC)", EXACTLY, "also from a file beside the image", _ZARR,
             lambda f: "RPC" if _place(f).rpc else ""),
    Property("pixel is point", EXACTLY, "tag AREA_OR_POINT", _ZARR, lambda f: f.tags.get("AREA_OR_POINT", "")),
    Property("band descriptions", EXACTLY, "", _ZARR, lambda f: "/".join(filter(None, f.profile.descriptions or ()))),
    Property("units", EXACTLY, "", _ZARR, lambda f: "/".join(f.profile.units)),
    Property("color interpretation", EXACTLY, "undefined of a first band becomes gray", _TIF, lambda f: "/".join(f.profile.colors)),
    Property("tags", EXACTLY, "of any size and name, unless --no-tags", _ZARR, lambda f: f"{len(f.tags)} tags" if f.tags else ""),
    Property("tags in namespaces", EXACTLY, "but those about the layout of the file", _TIF, lambda f: _tags(f, True)),
    Property("tags of bands", EXACTLY, "unless --no-tags", _TIF, lambda f: _tags(f, False)),
    Property("polarization, time of acquisition", EXACTLY, "fields of the scene, from tags or names", _ZARR,
             lambda f: " ".join(filter(None, (*map(polarization, f.bands), getattr(f, "time", ""))))),
    Property("layout, compression, overviews", EQUIVALENT, "outputs have their own, and no tag OVR_RESAMPLING_ALG; --cog makes overviews", _ALL),
    Property("bands of different types", REFUSED, "choose those of one type with --bands", ()),
    Property("bands that are no radar image", REFUSED, "angles, heights, masks: choose the others with --bands", ()),
    Property("color table", REFUSED, "its samples are no radar image", ()),
    Property("more than one image in a file", REFUSED, "choose a subdataset", ()),
)  # fmt: skip


def check(path: Any, quantity: str = "auto", **options: Any) -> dict[str, Any]:
    """Apply the contract to a file without compressing it.

    Parameters
    ----------
    path, quantity, **options
        See `sarlab.scenes.readers.open_scene`.

    Returns
    -------
    dict
        ``"file"``; ``"refused"``: the reason, or None; ``"properties"``: a list of ``property``, ``value``, ``kept`` and
        ``how``; ``"counts"``: samples that do not come back as they are, by kind.
    """
    report: dict[str, Any] = {"file": str(path), "refused": None, "properties": [], "counts": {}}
    try:
        with open_scene(path, quantity, allow_empty=True, **options) as file:
            for entry in PROPERTIES:
                value = entry.find(file)
                if value:
                    report["properties"].append(
                        {"property": entry.name, "value": value, "kept": entry.kept, "how": entry.how}
                    )
            report["counts"] = {kind: count for kind, count in file.census().items() if count}
            file.read((0, 0, min(64, file.shape[1]), min(64, file.shape[2])))
            if report["counts"].get("negative") and options.get("floor") is None:
                share = report["counts"]["negative"] / np.prod(file.shape)
                report["refused"] = f"{path}: {share:.2%} of the samples are negative; set a floor (--floor 0)"
    except SceneError as error:
        report["refused"] = str(error)
    return report


def losses(scene: Any, target: str | Path) -> list[str]:
    """Name the properties of a scene that the container of a file name cannot hold."""
    suffix = {".tiff": ".tif"}.get(Path(target).suffix.lower(), Path(target).suffix.lower())
    lost = [p.name for p in PROPERTIES if p.containers and suffix not in p.containers and p.find(scene)]
    place = _place(scene)
    if suffix == ".tif" and place.gcps and place.has_transform:
        lost.append("ground control points")
    if suffix == ".zarr" and len(_packings(scene)) > 1:
        lost.append("scale and offset")
    return lost


def contract() -> str:
    """Return the contract as a table in Markdown, for the book."""
    rows = ["| property | kept | how | outputs that hold it |", "|---|---|---|---|"]
    for entry in PROPERTIES:
        how = re.sub(r"--[\w-]+", r"`\g<0>`", entry.how)  # as code, two hyphens stay two
        rows.append(f"| {entry.name} | {entry.kept} | {how} | {', '.join(f'`{c}`' for c in entry.containers[1:])} |")
    return "\n".join(rows)
