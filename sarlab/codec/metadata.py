"""Names, numbers and metadata as bytes: a compact map for everything that a header states about a scene.

A value is a number, a text, a list or a map. Decimals and usual keys take one to five bytes; doubles with more digits
take nine. Every value comes back exactly. Keys may be added to `scene_metadata` and `scene_fields` at any time: decoders
keep those that they do not know.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.scene import Georeference, Scene

#: Largest metadata before deflation, in bytes, and its deepest nesting.
METADATA_LIMIT, METADATA_DEPTH = 1 << 20, 16
#: Keys with a number; others are texts. The order is part of the file format.
KEYS = (
    "acquisition", "credit", "crs", "looks", "name", "simulated", "spacing", "tags", "transform", "place", "land_cover",
    "mode", "license", "time", "gcps", "gcps_crs", "rpc", "scales", "offsets", "descriptions", "units", "colors",
    "band_tags", "mask", "nan", "AREA_OR_POINT", "OVR_RESAMPLING_ALG", "TIFFTAG_DATETIME", "TIFFTAG_SOFTWARE",
    "TIFFTAG_IMAGEDESCRIPTION", "TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION", "TIFFTAG_RESOLUTIONUNIT",
)  # fmt: skip
#: Preset dictionary of version 1, the likeliest phrases last; it may never change.
DICTIONARY = (
    b"ERR_BIAS ERR_RAND LINE_SCALE SAMP_SCALE LAT_OFF LAT_SCALE LONG_OFF LONG_SCALE HEIGHT_OFF HEIGHT_SCALE SAMP_OFF "
    b"LINE_OFF LINE_NUM_COEFF LINE_DEN_COEFF SAMP_NUM_COEFF SAMP_DEN_COEFF gray undefined "
    b"incidence_angle polarization orbit_direction DESCENDING ASCENDING GAMMA SNAP CDLA-Permissive-1.0 CC-BY-4.0 "
    b"CAPELLA_C02_SM_GEO_HH_20 UMBRA-04_GEC ICEYE_X S1A_IW_SLC__1SDV_20 S1B_IW_GRDH_1SDV_20 S1A_IW_GRDH_1SDV_20 "
    b"contains modified Copernicus Sentinel data 20 1 (unitless) NEAREST Point Area "
    b'PROJCS["WGS 84 / Pseudo-Mercator",EXTENSION["PROJ4",AUTHORITY["EPSG","3857"]]LOCAL_CS["Unnamed"'
    b'GEOGCS["ETRS89",DATUM["European_Terrestrial_Reference_System_1989",SPHEROID["GRS 1980",6378137,298.257222101,'
    b'AUTHORITY["EPSG","7019"]],AUTHORITY["EPSG","6258"]],GEOGCS["NAD83",DATUM["North_American_Datum_1983",'
    b'PROJCS["WGS 84 / UTM zone 33N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    b'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    b'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]],'
    b'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",15],'
    b'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",10000000],'
    b'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH],AUTHORITY["EPSG","32633"]]'
    b'AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)
#: Kinds of values: whole numbers; floats with 1 to 10 decimals; 8 bytes of a double; then the others.
_DECIMALS, _DOUBLE, _TEXT, _LIST, _MAP, _CONSTANT = 10, 11, 12, 13, 14, 15
_CONSTANTS = (None, False, True)


# --- numbers and names ------------------------------------------------------------------------------------------------


class Cursor:
    """Read fields from bytes, never past their end."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise BitstreamError(f"the header is damaged: a field of {count} bytes with {self.left} bytes left")
        self.position += count
        return self.data[self.position - count : self.position]

    def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def varint(self, digits: int = 5) -> int:
        value = 0
        for shift in range(0, 7 * digits, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise BitstreamError("the header is damaged: a count has too many digits")

    def block(self) -> bytes:
        return self.take(self.varint())

    def text(self, count: int | None = None) -> str:
        """UTF-8 of `count` bytes; by default the count is read first, as a varint."""
        try:
            return self.take(self.varint() if count is None else count).decode()
        except UnicodeDecodeError:
            raise BitstreamError("the header is damaged: a name is not UTF-8") from None

    def name(self, known: tuple[str, ...]) -> str:
        """A name, or its place in a list of known ones, counted from 1."""
        code = self.varint()
        if code > len(known):
            raise BitstreamError(f"the header is damaged: no name has number {code}")
        return known[code - 1] if code else self.text()


def varint(value: int) -> bytes:
    """Encode a count: 7 bits per byte, lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def pack_block(data: bytes) -> bytes:
    return varint(len(data)) + data


def pack_name(value: str, known: tuple[str, ...]) -> bytes:
    return varint(known.index(value) + 1) if value in known else b"\0" + pack_block(value.encode())


# --- values and maps --------------------------------------------------------------------------------------------------


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
    if kind == _CONSTANT or number > cursor.left or depth == METADATA_DEPTH:
        raise BitstreamError("the metadata is damaged")
    if kind == _LIST:
        return [read_value(cursor, depth + 1) for _ in range(number)]
    return {cursor.name(KEYS): read_value(cursor, depth + 1) for _ in range(number)}


def pack_metadata(values: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Pack metadata, deflated with a preset dictionary if that is shorter; no metadata is no bytes."""
    plain = pack_value(dict(values)) if values else b""
    if len(plain) > METADATA_LIMIT:
        raise CodecError(
            f"the tags of the scene take {len(plain)} bytes, more than the {METADATA_LIMIT} that fit; remove some"
        )
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=DICTIONARY)
    deflated = deflate.compress(plain) + deflate.flush()
    return (deflated, True) if len(deflated) < len(plain) else (plain, False)


def unpack_metadata(data: bytes, deflated: bool) -> dict[str, Any]:
    """Invert `pack_metadata`, up to the size that the format allows."""
    if not data:
        return {}
    if deflated:
        inflate = zlib.decompressobj(-15, zdict=DICTIONARY)
        try:
            data = inflate.decompress(data, METADATA_LIMIT + 1)
        except zlib.error as error:
            raise BitstreamError(f"the metadata is damaged ({error})") from None
        if len(data) > METADATA_LIMIT or not inflate.eof or inflate.unused_data:
            raise BitstreamError("the metadata is damaged: it has a wrong length")
    cursor = Cursor(data)
    values = read_value(cursor)
    if not isinstance(values, dict) or cursor.left:
        raise BitstreamError("the metadata is damaged: not a table")
    return values


def scene_metadata(scene: Scene, georeference: Georeference | None = None) -> dict[str, Any]:
    """Collect the fields of a scene other than its samples, mask, bands and types; empty fields are left out.

    `georeference` is that of the whole scene, if `scene` is a window of it. A coordinate system is the number of its EPSG
    code, if that stands for the very same WKT; a transform with square pixels and without rotation has three numbers.
    """
    reference = georeference or scene.georeference
    values: dict[str, Any] = {
        "acquisition": scene.acquisition,
        "credit": scene.credit,
        "looks": scene.looks,
        "name": "" if scene.name == "scene" else scene.name,
        "simulated": scene.simulated,
        "spacing": list(scene.spacing) if scene.spacing else None,
        "tags": dict(scene.tags),
    }
    if reference is not None:
        a, _, c, _, _, f = transform = reference.transform
        square = str(transform) == str((a, 0.0, c, 0.0, -a, f))
        values |= {"crs": _code(reference.crs), "transform": [a, c, f] if square else list(transform)}
    return {key: value for key, value in values.items() if value or key == "transform"}


def scene_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn stored metadata into keyword arguments of `Scene`; every type is checked."""
    try:
        fields: dict[str, Any] = {k: _of(str, values[k]) for k in ("acquisition", "credit", "name") if k in values}
        if "looks" in values:
            fields["looks"] = as_number(values["looks"])
        if "simulated" in values:
            fields["simulated"] = _of(bool, values["simulated"])
        if "spacing" in values:
            row, column = values["spacing"]
            fields["spacing"] = (as_number(row), as_number(column))
        if "tags" in values:
            fields["tags"] = {key: _of(str, value) for key, value in _of(dict, values["tags"]).items()}
        if "transform" in values:
            numbers = [as_number(value) for value in values["transform"]]
            if len(numbers) == 3:
                numbers = [numbers[0], 0.0, numbers[1], 0.0, -numbers[0], numbers[2]]
            a, b, c, d, e, f = numbers
            fields["georeference"] = Georeference(_system(values.get("crs", "")), (a, b, c, d, e, f))
    except (TypeError, ValueError) as error:
        raise BitstreamError(f"the metadata has fields of a wrong type ({error})") from None
    return fields


def _code(wkt: str) -> int | str:
    """The EPSG code of a coordinate system, or the system itself if it is not just what the code stands for."""
    if not wkt:
        return ""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        code = CRS.from_wkt(wkt).to_epsg(confidence_threshold=100)
        return code if code and CRS.from_epsg(code).to_wkt() == wkt else wkt
    except CRSError:
        return wkt


def _system(stored: Any) -> str:
    if isinstance(stored, bool) or not isinstance(stored, int):
        return str(_of(str, stored))
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return str(CRS.from_epsg(stored).to_wkt())
    except (CRSError, OverflowError):
        raise ValueError(f"no coordinate system has EPSG code {stored}") from None


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def as_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BitstreamError(f"the header is damaged: {value!r} is not a number")
    return float(value)
