"""Arrays of xarray with the conventions of rioxarray, to and from scenes; both packages are optional."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.rasters import IDENTITY, ArraySource, Georeference, Profile, encode_samples

if TYPE_CHECKING:
    import xarray

#: Attributes of an array that are properties of its samples.
_KNOWN = ("_FillValue", "missing_value", "scale_factor", "add_offset", "long_name", "units", "grid_mapping")


def source_of(array: Any) -> ArraySource:
    """Make a source of samples of an array of dimensions (band, y, x) or (y, x); Dask arrays are computed by window."""
    if {"x", "y"} <= {*array.dims} and array.dims[-2:] != ("y", "x"):
        raise SceneError(f"array '{array.name}': its dimensions are {array.dims}; transpose them to (…, 'y', 'x')")
    attributes = {**array.encoding, **array.attrs}
    nodata = attributes.get("_FillValue", attributes.get("missing_value"))
    names, count = array.attrs.get("long_name"), array.shape[0] if array.ndim == 3 else 1
    names = [names] if isinstance(names, str) else list(names or ())
    units = array.attrs.get("units", "")
    # Scale and offset in the encoding were applied when the array was read.
    scale, offset = array.attrs.get("scale_factor", 1.0), array.attrs.get("add_offset", 0.0)
    scaled = scale != 1.0 or offset != 0.0
    profile = Profile(
        (float(scale),) * count if scaled else (), (float(offset),) * count if scaled else (),
        tuple(map(str, names)) if len(names) == count else None,
        (units,) * count if isinstance(units, str) and units else tuple(units or ()),
    )  # fmt: skip
    others = {str(name): value for name, value in array.attrs.items() if name not in _KNOWN}
    tags = {name: value if isinstance(value, str) else json.dumps(value, default=str) for name, value in others.items()}
    text, nodata = f"array '{array.name}'", None if nodata is None else float(nodata)
    return ArraySource(text, array.data, nodata, profile, tags, _georeference(array) if array.ndim > 1 else None)


def _georeference(array: Any) -> Georeference | None:
    y, x = array.dims[-2:]
    name = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping", "spatial_ref"))
    mapping = array.coords[name].attrs if name in array.coords else {}
    transform: Any = IDENTITY
    if "GeoTransform" in mapping:
        c, a, b, f, d, e = (float(value) for value in str(mapping["GeoTransform"]).split())
        transform = (a, b, c, d, e, f)
    if x in array.coords and y in array.coords and min(array.sizes[x], array.sizes[y]) > 1:
        columns, rows = np.asarray(array[x], float), np.asarray(array[y], float)
        a, e = (columns[-1] - columns[0]) / (columns.size - 1), (rows[-1] - rows[0]) / (rows.size - 1)
        found = (a, 0.0, columns[0] - a / 2, 0.0, e, rows[0] - e / 2)
        # The coordinates are right where an array was cut; the attribute has more digits.
        numbered = found == (1.0, 0.0, -0.5, 0.0, 1.0, -0.5)
        if not numbered and not np.allclose(found, transform, rtol=1e-9, atol=1e-6 * abs(a)):
            transform = found
    gcps = []
    for point in json.loads(mapping.get("gcps", '{"features": []}'))["features"]:
        named, (px, py, pz) = point["properties"], (*point["geometry"]["coordinates"], 0.0)[:3]
        gcps.append((named["row"], named["col"], px, py, pz, str(named["id"])))
    crs, rpc = mapping.get("crs_wkt", mapping.get("spatial_ref", "")), json.loads(mapping.get("rpc", "{}"))
    known = Georeference("" if gcps else crs, transform, tuple(gcps), crs if gcps else "", rpc)
    return None if known == Georeference() else known


def storage_of(scene: Any, packed: bool = True) -> tuple[str, Any]:
    """Return sample type and packing of an array that holds a scene: one scale for all bands, no complex integers."""
    packing, dtype = scene.packing if packed else None, scene.file_dtype
    if packing and not len({*packing[0]}) == 1 == len({*packing[1]}):
        packing = None
    if (scene.profile.scales and not packing) or dtype == "complex_int16":
        dtype = "complex64" if scene.quantity == "complex" else "float32"
    return dtype, packing


def attributes_of(scene: Any, packing: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes of a scene's samples and of its coordinate ``spatial_ref``."""
    profile, reference = scene.profile, scene.georeference or Georeference()
    names = {"grid_mapping": "spatial_ref", "long_name": list(scene.bands)}
    attributes: dict[str, Any] = {**scene.tags, **scene.own_tags, **names}
    if scene.nodata is not None and not np.isnan(scene.nodata):
        attributes["_FillValue"] = scene.nodata
    if profile.units:
        attributes["units"] = profile.units[0] if len(set(profile.units)) == 1 else list(profile.units)
    if packing:
        attributes |= {"scale_factor": packing[0][0], "add_offset": packing[1][0]}
    mapping = dict.fromkeys(("crs_wkt", "spatial_ref"), reference.crs or reference.gcps_crs)
    if reference.has_transform:
        a, b, c, d, e, f = reference.transform
        mapping["GeoTransform"] = " ".join(repr(float(value)) for value in (c, a, b, f, d, e))
    features = [
        {
            "type": "Feature", "properties": {"id": name, "info": "", "row": r, "col": k},
            "geometry": {"type": "Point", "coordinates": [x, y, z]},
        }
        for r, k, x, y, z, name in reference.gcps
    ]  # fmt: skip
    if features:
        mapping["gcps"] = json.dumps({"type": "FeatureCollection", "features": features})
    if reference.rpc:
        mapping["rpc"] = json.dumps(dict(reference.rpc))
    return attributes, mapping


def axes(scene: Any, shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Return the coordinates of bands and pixel centers; those of pixels only with an unrotated transform."""
    a, b, c, d, e, f = (scene.georeference or Georeference()).transform
    numbers = {"band": np.arange(1, shape[0] + 1)}
    if b or d or not (scene.georeference and scene.georeference.has_transform):
        return numbers
    return numbers | {"y": f + e * (np.arange(shape[1]) + 0.5), "x": c + a * (np.arange(shape[2]) + 0.5)}


def to_xarray(scene: Any) -> xarray.DataArray:
    """Return a scene as an array of its sample type; invalid samples are its ``_FillValue``, or NaN without one."""
    import xarray

    dtype, packing = storage_of(scene)
    if not scene.valid.all() and scene.nodata is None and np.dtype(dtype).kind in "iu":
        dtype, packing = "float32", None
    attributes, mapping = attributes_of(scene, packing)
    data = encode_samples(scene.data, scene.valid, dtype, scene.nodata, scene.name, nan=scene.nan, packing=packing)
    array = xarray.DataArray(data, axes(scene, scene.shape), ("band", "y", "x"), scene.name, attributes)
    return array.assign_coords(spatial_ref=xarray.DataArray(0, attrs=mapping))


def create_zarr(path: Path, scene: Any, shape: tuple[int, int, int], dtype: str, packing: Any) -> Any:
    """Create a Zarr group that xarray opens, with coordinates and attributes; returns the array of samples."""
    import zarr

    attributes, mapping = attributes_of(scene, packing)
    group = zarr.open_group(str(path), mode="w", attributes={"coordinates": "spatial_ref"})
    array = group.create_array(
        "scene", shape=shape, dtype=dtype, chunks=(1, min(512, shape[1]), min(512, shape[2])), dimension_names=("band", "y", "x"),
        attributes={**attributes, "coordinates": "spatial_ref"}, fill_value=scene.nodata if np.dtype(dtype).kind in "iu" else None,
    )  # fmt: skip
    group.create_array("spatial_ref", shape=(), dtype="int64", attributes=mapping, dimension_names=())
    for name, values in axes(scene, shape).items():
        group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=(name,))[:] = values
    return array
