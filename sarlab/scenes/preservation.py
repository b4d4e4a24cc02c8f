"""The contract of preservation: each property of a raster, and how it comes back from a ``.sarl`` file and its outputs.

`PROPERTIES` is the contract. `check` applies it to one file, `losses` names what a container cannot hold, and the book
prints it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.readers import open_scene
from sarlab.scenes.scene import Georeference

EXACTLY, EQUIVALENT, REFUSED = "exactly", "as an equivalent", "refused"
#: What a property can be kept in: a compressed file, and the outputs of decompression.
CONTAINERS = (".sarl", ".tif", ".zarr", ".npy")


class Property(NamedTuple):
    """A property of a raster, how it is kept, the containers that hold it, and its value in a scene or an open file."""

    name: str
    kept: str
    how: str
    containers: tuple[str, ...]
    find: Callable[[Any], Any]


def _place(file: Any) -> Georeference:
    return file.georeference or Georeference()


def _number_of_tags(file: Any, dataset: bool, named: bool) -> str:
    found = [t for band, space, t in file.profile.tags if dataset == (band == 0) and named == bool(space)]
    return f"{sum(map(len, found))} tags" if found else ""


def _packing(file: Any) -> str:
    pairs = dict.fromkeys(zip(file.profile.scales, file.profile.offsets, strict=True))
    return ", ".join(f"×{scale:g} + {offset:g}" for scale, offset in pairs)


def _code(wkt: str) -> str:
    return wkt.split('"')[1] if '"' in wkt else wkt


_ALL, _SARL, _TIF, _ZARR = CONTAINERS, CONTAINERS[:1], CONTAINERS[:2], CONTAINERS[:3]

PROPERTIES = (
    Property("samples", EQUIVALENT, "with the error that the goal allows; lossless for integers with --lossless", _ALL,
             lambda f: f"{f.shape[0]} band(s) of {f.shape[1]}×{f.shape[2]}, {f.quantity}"),
    Property("sample type", EXACTLY, "integers of 8 to 64 bits, float32, float64; float16, which GeoTIFF lacks, becomes float32 "
             "there; byte order becomes that of the machine, long double float64", _ALL, lambda f: f.dtype),
    Property("phase of complex samples", REFUSED, "unless --drop-phase is given: the intensity is kept, as float32. To keep the "
             "phase use block-adaptive quantization (BAQ, FDBAQ) or a lossless complex GeoTIFF", (),
             lambda f: f.dtype if f.quantity == "complex" else ""),
    Property("exact zeros", EXACTLY, "zero is a value, not nodata", _ALL, lambda f: ""),
    Property("negative amplitude or intensity", REFUSED, "unless --floor VALUE replaces it; the samples are counted", (),
             lambda f: ""),
    Property("infinite samples", EQUIVALENT, "plus infinity becomes NaN; the samples are counted. Minus infinity dB is zero", _ALL,
             lambda f: ""),
    Property("samples beyond float32", EQUIVALENT, "become ±3.4e38; the samples are counted", _ALL, lambda f: ""),
    Property("scale and offset", EXACTLY, "per band; errors are those of the scaled values. .npy holds the scaled values, and .zarr "
             "one scale for all bands", _ZARR, _packing),
    Property("nodata value", EXACTLY, "if bands have different values, that of the first one serves all. A measured sample of this "
             "value moves to the next one", _ZARR, lambda f: "" if f.nodata is None else f"{f.nodata:g}"),
    Property("mask", EXACTLY, "inside the GeoTIFF; samples under it are not kept. One mask for all bands", _TIF,
             lambda f: "mask" if f.profile.mask == "mask" else ""),
    Property("alpha band", EQUIVALENT, "a mask: transparent or opaque; for samples other than 8 or 16 bit unsigned a mask in place of "
             "the band", _TIF, lambda f: "alpha" if f.profile.mask == "alpha" else ""),
    Property("NaN beside a nodata value or mask", EXACTLY, "NaN stays NaN, nodata stays nodata", _ALL, lambda f: ""),
    Property("transform", EXACTLY, "also rotated and south-up", _ZARR,
             lambda f: f"{_place(f).transform}" if _place(f).has_transform else ""),
    Property("coordinate system", EXACTLY, "one that GeoTIFF cannot hold is written as WKT in the tag SARLAB_CRS_WKT2. A geographic "
             "system without a transform locates nothing and is left out", _ZARR,
             lambda f: _code(_place(f).crs or _place(f).gcps_crs)),
    Property("ground control points", EXACTLY, "with height, coordinate system and ids; ids other than 1, 2, 3 … stand in the tag "
             "SARLAB_GCP_IDS. A GeoTIFF with a transform has no room for them", _ZARR,
             lambda f: f"{len(_place(f).gcps)} points" if _place(f).gcps else ""),
    Property("rational polynomials (RPC)", EXACTLY, "from tags or a file beside the image, into tags", _ZARR,
             lambda f: "RPC" if _place(f).rpc else ""),
    Property("pixel is point", EXACTLY, "tag AREA_OR_POINT", _ZARR, lambda f: f.tags.get("AREA_OR_POINT", "")),
    Property("band descriptions", EXACTLY, "", _ZARR, lambda f: "/".join(filter(None, f.profile.descriptions or ()))),
    Property("units", EXACTLY, "", _ZARR, lambda f: "/".join(f.profile.units)),
    Property("color interpretation", EXACTLY, "", _TIF, lambda f: "/".join(f.profile.colors)),
    Property("tags", EXACTLY, "of any size and name, unless --no-tags", _ZARR, lambda f: f"{len(f.tags)} tags" if f.tags else ""),
    Property("tags in namespaces", EXACTLY, "but those about the layout of the file; unless --no-tags", _TIF,
             lambda f: _number_of_tags(f, True, True)),
    Property("tags of bands", EXACTLY, "unless --no-tags", _TIF,
             lambda f: _number_of_tags(f, False, False) or _number_of_tags(f, False, True)),
    Property("polarization, time of acquisition", EXACTLY, "fields of the scene, from tags or names", _ZARR,
             lambda f: " ".join(filter(None, (*getattr(f, "polarizations", ()), getattr(f, "time", ""))))),
    Property("layout, compression, overviews", EQUIVALENT, "the output has its own; --cog makes overviews", _ALL, lambda f: ""),
    Property("bands of different types", REFUSED, "choose those of one type with --bands", (), lambda f: ""),
    Property("bands that are no radar image", REFUSED, "angles, heights, masks: choose the others with --bands", (), lambda f: ""),
    Property("color table", REFUSED, "its samples are no radar image", (), lambda f: ""),
    Property("more than one image in a file", REFUSED, "choose a subdataset", (), lambda f: ""),
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
    if suffix == ".zarr" and len(dict.fromkeys(zip(scene.profile.scales, scene.profile.offsets, strict=True))) > 1:
        lost.append("scale and offset")
    return lost


def contract() -> str:
    """Return the contract as a table in Markdown, for the book."""
    rows = ["| property | kept | how | outputs that hold it |", "|---|---|---|---|"]
    for entry in PROPERTIES:
        rows.append(
            f"| {entry.name} | {entry.kept} | {entry.how} | {', '.join(f'`{c}`' for c in entry.containers[1:])} |"
        )
    return "\n".join(rows)
