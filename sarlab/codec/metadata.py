"""Names, numbers and metadata as bytes: a compact map for everything that a header states about a scene.

Values are numbers, texts, lists and maps, and come back exactly. Usual keys and short decimals take one to five bytes,
other doubles nine. Keys may be added to `scene_metadata` and `scene_fields`: decoders ignore those that they do not know.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from sarlab.codec.entropy import Cursor, pack_name, varint
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.rasters import IDENTITY, Georeference, Profile
from sarlab.scenes.scene import Scene, acquisition_of, time_of

#: Largest metadata before deflation, in bytes, and its deepest nesting.
METADATA_LIMIT, METADATA_DEPTH = 1 << 26, 16
#: Keys with a number; others are texts. The order is part of the file format.
KEYS = (
    "acquisition", "credit", "crs", "looks", "name", "simulated", "spacing", "tags", "transform", "place", "land_cover",
    "mode", "license", "time", "gcps", "gcps_crs", "rpc", "scales", "offsets", "descriptions", "units", "colors",
    "band_tags", "mask", "gcps_ids", "AREA_OR_POINT", "OVR_RESAMPLING_ALG", "TIFFTAG_DATETIME", "TIFFTAG_SOFTWARE",
    "TIFFTAG_IMAGEDESCRIPTION", "TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION", "TIFFTAG_RESOLUTIONUNIT",
)  # fmt: skip
#: Usual sides of pixels in degrees, which have a number: of grids of 10, 20, 30 and 40 m, and of a third, one and three
#: seconds of arc.
PIXELS = (*(k * 8.983152841195215e-05 for k in (1, 2, 3, 4)), 1 / 10800, 1 / 3600, 1 / 1200)
#: Fields of a scene that are one value, of this kind.
_PLAIN = {"name": str, "credit": str, "acquisition": str, "time": str, "looks": float, "simulated": bool}
#: Kinds of values: whole numbers; floats with 1 to 10 decimals; 8 bytes of a double; then the others.
_DECIMALS, _DOUBLE, _TEXT, _LIST, _MAP, _CONSTANT = 10, 11, 12, 13, 14, 15
_CONSTANTS = (None, False, True)


def pack_value(value: Any) -> bytes:
    """A value: a varint of its kind and of a number (itself, or its length), and what belongs to it."""
    if value is None or isinstance(value, bool):
        return bytes([_CONSTANT + 16 * _CONSTANTS.index(value)])
    if isinstance(value, int):
        return _whole(value, 0)
    if isinstance(value, float):
        for decimals in range(1, _DECIMALS + 1):
            whole = round(value * 10**decimals) if abs(value) < 1e9 else 0
            if str(whole / 10**decimals) == str(value) and len(short := _whole(whole, decimals)) < 9:
                return short
        return bytes([_DOUBLE]) + struct.pack("<d", value)
    if isinstance(value, str):
        return varint(_TEXT + 16 * len(value.encode())) + value.encode()
    if isinstance(value, Mapping):
        parts = [part for key, one in sorted(value.items()) for part in (pack_name(key, KEYS), pack_value(one))]
        return b"".join([varint(_MAP + 16 * len(value)), *parts])
    if isinstance(value, (list, tuple)):
        return b"".join([varint(_LIST + 16 * len(value)), *map(pack_value, value)])
    raise CodecError(f"metadata holds numbers, texts, lists and maps, not {type(value).__name__}")


def _whole(value: int, kind: int) -> bytes:
    """A whole number, its sign in the lowest bit."""
    if abs(value) >= 1 << 64:
        raise CodecError(f"metadata holds whole numbers below 2^64, not {value}")
    return varint((2 * value if value >= 0 else -2 * value - 1) * 16 + kind)


def read_value(cursor: Cursor, depth: int = 0) -> Any:
    """Invert `pack_value`."""
    number, kind = divmod(cursor.varint(10), 16)
    if kind <= _DECIMALS:
        whole = -(number + 1 >> 1) if number & 1 else number >> 1
        return whole / 10**kind if kind else whole
    if kind == _DOUBLE:
        return cursor.unpack("d")[0]
    if kind == _TEXT:
        return cursor.text(number)
    if kind == _CONSTANT and number < len(_CONSTANTS):
        return _CONSTANTS[number]
    cursor.values_left -= number
    if kind == _CONSTANT or number > cursor.left or depth == METADATA_DEPTH or cursor.values_left < 0:
        raise BitstreamError("the metadata is damaged: impossible values, or too many of them")
    if kind == _LIST:
        return [read_value(cursor, depth + 1) for _ in range(number)]
    return {cursor.name(KEYS): read_value(cursor, depth + 1) for _ in range(number)}


def pack_metadata(values: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Pack metadata, deflated if that is shorter; no metadata is no bytes."""
    plain = pack_value(dict(values)) if values else b""
    try:
        unpack_metadata(plain, False)
    except BitstreamError:
        raise CodecError(f"the tags of the scene take {len(plain)} bytes: remove some, they are too many") from None
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    deflated = deflate.compress(plain) + deflate.flush()
    return (deflated, True) if len(deflated) < len(plain) else (plain, False)


def unpack_metadata(data: bytes, deflated: bool) -> dict[str, Any]:
    """Invert `pack_metadata`, up to the size that the format allows."""
    if deflated:
        inflate = zlib.decompressobj(-15)
        try:
            data = inflate.decompress(data, METADATA_LIMIT + 1)
        except zlib.error as error:
            raise BitstreamError(f"the metadata is damaged ({error})") from None
        if not inflate.eof or inflate.unused_data:
            raise BitstreamError("the metadata is damaged: it has a wrong length")
    if len(data) > METADATA_LIMIT:
        raise BitstreamError(f"the metadata takes more than {METADATA_LIMIT} bytes")
    cursor = Cursor(data)
    values = read_value(cursor) if data else {}
    if not isinstance(values, dict) or cursor.left:
        raise BitstreamError("the metadata is damaged: not a table")
    return values


def scene_metadata(
    scene: Scene, georeference: Georeference | None = None, extent: tuple[int, int] | None = None, *, tags: bool = True
) -> dict[str, Any]:
    """Collect the fields of a scene other than its samples, masks, bands and types.

    Fields are left out that are empty, or that follow from others: acquisition and time from the name, the spacing from the
    georeference. A coordinate system is the number of its EPSG code, if that stands for the same WKT.

    Parameters
    ----------
    scene : Scene
        The scene, or a window of it.
    georeference, extent : optional
        Of the whole scene: georeference, and height and width.
    tags : bool
        Keep the tags of file and bands; the one that pixels are points is part of the georeference.
    """
    reference, profile = georeference or scene.georeference or Georeference(), scene.profile
    name = "" if scene.name == "scene" else scene.name
    known = _implied(name, reference, extent or scene.shape[1:])
    values: dict[str, Any] = {
        "name": name, "credit": scene.credit, "looks": scene.looks, "simulated": scene.simulated,
        "tags": {name: text for name, text in scene.tags.items() if tags or (name, text) == ("AREA_OR_POINT", "Point")},
        "crs": _code(reference.crs), "transform": _packed(reference.transform),
        "gcps": [list(point[:5]) for point in reference.gcps], "gcps_crs": _code(reference.gcps_crs),
        "gcps_ids": [] if reference.numbered else [point[5] for point in reference.gcps], "rpc": dict(reference.rpc),
        "scales": list(profile.scales), "offsets": list(profile.offsets), "units": list(profile.units),
        "colors": list(profile.colors), "mask": profile.mask,
        "band_tags": [[band, space, dict(found)] for band, space, found in profile.tags] if tags else [],
    }  # fmt: skip
    values = {key: value for key, value in values.items() if value}
    if profile.descriptions is not None and profile.descriptions != scene.bands:
        values["descriptions"] = list(profile.descriptions) if any(profile.descriptions) else ""
    stated = {"acquisition": scene.acquisition, "time": scene.time, "spacing": scene.spacing and list(scene.spacing)}
    return values | {key: value for key, value in stated.items() if value != known[key]}


def scene_fields(values: Mapping[str, Any], shape: tuple[int, int, int]) -> dict[str, Any]:
    """Turn stored metadata of a scene of (bands, height, width) into keyword arguments of `Scene`; every type is checked."""
    try:
        points = [_floats(point, 5) for point in values.get("gcps", ())]
        ids = [of_kind(str, name) for name in values.get("gcps_ids", ())] or [str(n + 1) for n in range(len(points))]
        place = Georeference(
            _system(values.get("crs", "")), _unpacked(values["transform"]) if "transform" in values else IDENTITY,
            tuple((*point, name) for point, name in zip(points, ids, strict=True)), _system(values.get("gcps_crs", "")),
            _texts(values.get("rpc", {})),
        )  # fmt: skip
        known = _implied(of_kind(str, values.get("name", "")), place, shape[1:]) | dict(values)
        return {key: of_kind(kind, known[key]) for key, kind in _PLAIN.items() if key in known} | {
            "spacing": None if known["spacing"] is None else _floats(known["spacing"], 2),
            "tags": _texts(values.get("tags", {})), "profile": _profile(values, shape[0]),
            "georeference": None if place == Georeference() else place,
        }  # fmt: skip
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise BitstreamError(f"the metadata has fields of a wrong type ({error})") from None


def _profile(values: Mapping[str, Any], bands: int) -> Profile:
    """The profile of a scene, one entry per band where it has any."""

    def each(key: str, kind: type) -> tuple[Any, ...]:
        found = of_kind(list, values.get(key, []))
        if found and len(found) != bands:
            raise ValueError(f"{key}: {len(found)} entries for {bands} bands")
        return tuple(of_kind(kind, value) for value in found)

    scales, offsets = each("scales", float), each("offsets", float)
    if not all(map(math.isfinite, (*scales, *offsets))) or 0 in scales or bool(scales) != bool(offsets):
        raise ValueError(f"scales {scales} and offsets {offsets}")
    if values.get("mask", "") not in ("", "mask", "alpha"):
        raise ValueError(f"unknown mask {values['mask']!r}")
    descriptions = None
    if "descriptions" in values:  # an empty text stands for as many empty ones
        descriptions = each("descriptions", str) if values["descriptions"] else ("",) * bands
    stated = values.get("band_tags", ())
    tags = tuple((of_kind(int, band), of_kind(str, space), _texts(found)) for band, space, found in stated)
    if any(not 0 <= band <= bands for band, _, _ in tags):
        raise ValueError("tags of a band that does not exist")
    return Profile(scales, offsets, descriptions, each("units", str), each("colors", str), tags, values.get("mask", ""))


def _floats(values: Any, count: int) -> Any:
    if len(of_kind(list, values)) != count:
        raise ValueError(f"{len(values)} numbers instead of {count}")
    return tuple(of_kind(float, value) for value in values)


def _texts(values: Any) -> dict[str, str]:
    return {key: of_kind(str, value) for key, value in of_kind(dict, values).items()}


def _implied(name: str, reference: Georeference, extent: tuple[int, int]) -> dict[str, Any]:
    """Fields of a scene that follow from others."""
    spacing = reference.spacing(*extent)
    return {
        "acquisition": acquisition_of(name) if name else "", "time": time_of(name, {}),
        "spacing": None if spacing is None else list(spacing),
    }  # fmt: skip


def _packed(transform: tuple[float, ...]) -> list[Any]:
    """A transform in few numbers: pixel size and origin if pixels are square; the origin in pixels if that is exact."""
    a, _, c, _, _, f = transform
    if transform == IDENTITY:
        return []
    if str(transform) != str((a, 0.0, c, 0.0, -a, f)):
        return list(transform)
    if not a or (a not in PIXELS and len(pack_value(a)) < 9):
        return [a, c, f]
    size = PIXELS.index(a) if a in PIXELS else a
    column, row = (round(value / a) if abs(value / a) < 1 << 53 else 0 for value in (c, f))
    return [size, [column, row]] if str((column * a, row * a)) == str((c, f)) else [size, c, f]


def _unpacked(stored: Any) -> Any:
    """Invert `_packed`."""
    if len(stored) == 6:
        return _floats(stored, 6)
    size, *origin = stored
    size = size if type(size) is float else PIXELS[of_kind(int, size)]
    c, f = (of_kind(int, number) * size for number in origin[0]) if len(origin) == 1 else _floats(origin, 2)
    return size, 0.0, c, 0.0, -size, f


def _code(wkt: str) -> int | str:
    """The EPSG code of a coordinate system, or the system itself if it is not just what the code stands for."""
    if not wkt:
        return ""
    from rasterio.crs import CRS

    try:
        code = CRS.from_wkt(wkt).to_epsg(confidence_threshold=100)
        return code if code and _plain(CRS.from_epsg(code).to_wkt()) == _plain(wkt) else wkt
    except ValueError:  # of rasterio
        return wkt


def _plain(wkt: str) -> str:
    """A coordinate system without what GDAL loses in a GeoTIFF: the code of the meridian, and the last of many digits."""
    return re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.12g}", wkt.replace(',AUTHORITY["EPSG","8901"]', ""))


def _system(stored: Any) -> str:
    if type(stored) is not int:
        return str(of_kind(str, stored))
    from rasterio.crs import CRS

    try:
        return str(CRS.from_epsg(stored).to_wkt())
    except (ValueError, OverflowError):
        raise ValueError(f"no coordinate system has EPSG code {stored}") from None


def of_kind(kind: type, value: Any) -> Any:
    """Return a value that was read, a whole number as a float if `kind` is that. Raises `BitstreamError` for another kind."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise BitstreamError(f"the header is damaged: {value!r} is not {kind.__name__}")
    return value
