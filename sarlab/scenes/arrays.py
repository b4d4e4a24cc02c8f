"""Arrays of xarray with the conventions of rioxarray, to and from scenes; both packages are optional."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.rasters import FIELD_TAGS, IDENTITY, ArraySource, Georeference, Profile, encode_samples

#: Attributes of an array that are properties of its samples.
_KNOWN = ("_FillValue", "missing_value", "scale_factor", "add_offset", "long_name", "units", "grid_mapping")
#: Dimensions of rows and columns.
_ROWS, _COLUMNS = {"y", "lat", "latitude"}, {"x", "lon", "longitude"}


def source_of(array: Any) -> ArraySource:
    """Make a source of samples of an array of dimensions (band, y, x) or (y, x); Dask arrays are computed by window."""
    text, dims = f"array '{array.name}'", array.dims
    if {*dims[:-1]} & _COLUMNS or {*dims[:-2], dims[-1]} & _ROWS:
        raise SceneError(f"{text}: its dimensions are {dims}; transpose them to (…, 'y', 'x')")
    try:
        profile, tags, nodata = _profile(array)
        place, lost = _georeference(array) if array.ndim > 1 and array.size else (None, [])
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # CRSError of rasterio is a ValueError
        raise SceneError(f"{text}: damaged attributes or coordinates ({error}); correct or remove them") from None
    if lost:
        warnings.warn(f"{text}: the coordinates {', '.join(lost)} are left out: they give no transform", stacklevel=4)
    return ArraySource(text, array.data, nodata, profile, tags, place)


def _profile(array: Any) -> tuple[Profile, dict[str, str], float | None]:
    """Return properties, tags and nodata value."""
    attributes, coordinates = array.attrs, array.coords
    count = array.shape[0] if array.ndim == 3 else 1
    values = {str(name): value for name, value in attributes.items() if name not in _KNOWN}
    plain = {name: c for name, c in coordinates.items() if not (c.ndim or c.attrs or name in ("band", "time"))}
    values |= {str(name): str(c.values) for name, c in plain.items()}
    tags = {name: value if isinstance(value, str) else json.dumps(value, default=str) for name, value in values.items()}
    times = coordinates["time"].values.ravel() if "time" in coordinates else np.zeros(0)
    if times.dtype.kind == "M":
        tags[FIELD_TAGS["time"]] = str(times[0].astype("M8[s]"))
    names = attributes.get("long_name", ())
    names = [names] if isinstance(names, str) else list(map(str, names))
    if len(names) != count:
        tags |= {"long_name": "/".join(names)} if names else {}
        numbers, band = np.arange(1, count + 1), array.dims[0]
        labels = coordinates[band].values if count > 1 and band in coordinates else numbers
        labels = labels.astype("M8[s]") if labels.dtype.kind == "M" else labels
        names = [] if np.array_equal(labels, numbers) else labels.astype(str).tolist()
    units = attributes.get("units", "")
    # Scale and offset in the encoding were applied when the array was read.
    packing = [attributes.get("scale_factor", 1.0), attributes.get("add_offset", 0.0)]
    scales, offsets = (tuple(np.broadcast_to(one, count).astype(float).tolist()) for one in packing)
    profile = Profile(
        *((scales, offsets) if {*scales} != {1.0} or {*offsets} != {0.0} else ((), ())), tuple(names) if names else None,
        (units,) * count if isinstance(units, str) and units else tuple(units or ()),
    )  # fmt: skip
    encoded = {**array.encoding, **attributes}
    nodata = encoded.get("_FillValue", encoded.get("missing_value"))
    return profile, tags, None if nodata is None else float(np.ravel(nodata)[0])


def _georeference(array: Any) -> tuple[Georeference | None, list[str]]:
    """Return the georeference, and the names of coordinates that are no part of it."""
    from rasterio.crs import CRS

    (y, x), shape, coordinates = array.dims[-2:], array.shape[-2:], array.coords
    name = array.encoding.get("grid_mapping", array.attrs.get("grid_mapping", "spatial_ref"))
    mapping = coordinates[name].attrs if name in coordinates else {}
    transform: Any = IDENTITY
    if "GeoTransform" in mapping:
        c, a, b, f, d, e = (float(value) for value in str(mapping["GeoTransform"]).split())
        transform = (a, b, c, d, e, f)
    # Coordinates of rotated grids are images.
    names = (x, y) if x in coordinates and y in coordinates else ("xc", "yc")
    lost = [str(other) for other in coordinates if {x, y} & {*coordinates[other].dims}]
    if {*names} <= {*coordinates} and ("GeoTransform" in mapping or min(shape) > 1):
        columns, rows = (np.asarray(coordinates[one], float) for one in names)
        grids = np.broadcast_to(columns, shape), np.broadcast_to(rows if rows.ndim == 2 else rows[:, None], shape)
        lines = [line for grid in grids for line in (grid[0], grid[:, 0])]
        known = (transform[index] for index in (0, 1, 3, 4))
        steps = [(v[-1] - v[0]) / (v.size - 1) if v.size > 1 else step for v, step in zip(lines, known, strict=True)]
        errors = [np.abs(v - v[0] - step * np.arange(v.size)).max() for v, step in zip(lines, steps, strict=True)]
        if max(errors) <= 0.1 * max(map(abs, steps)):
            lost = [other for other in lost if other not in names]
            a, b, d, e = steps
            found = (a, b, grids[0][0, 0] - (a + b) / 2, d, e, grids[1][0, 0] - (d + e) / 2)
            # The coordinates are right where an array was cut; the attribute has more digits.
            numbered = found == (1.0, 0.0, -0.5, 0.0, 1.0, -0.5)
            if not numbered and not np.allclose(found, transform, rtol=1e-9, atol=1e-6 * abs(a)):
                transform = found
    gcps = []
    for point in json.loads(mapping.get("gcps", '{"features": []}'))["features"]:
        named, (px, py, pz) = point["properties"], (*point["geometry"]["coordinates"], 0.0)[:3]
        gcps.append((named["row"], named["col"], px, py, pz, str(named["id"])))
    crs = mapping.get("crs_wkt") or mapping.get("spatial_ref") or ""
    crs = CRS.from_user_input(crs).to_wkt() if crs else ""
    rpc = {str(key): str(value) for key, value in json.loads(mapping.get("rpc", "{}")).items()}
    place = Georeference("" if gcps else crs, transform, tuple(gcps), crs if gcps else "", rpc)
    return None if place == Georeference() else place, lost


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
    from rasterio.control import GroundControlPoint

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
    if features := [GroundControlPoint(*point).__geo_interface__ for point in reference.gcps]:
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


def to_xarray(scene: Any) -> Any:
    """Return a scene as an `xarray.DataArray` of its sample type; invalid samples are its ``_FillValue``, or NaN without one."""
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
