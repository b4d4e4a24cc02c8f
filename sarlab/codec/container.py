"""The container of a compressed scene, a ``.sarl`` file: header with scene metadata, tile index, payloads.

    "SARL" version CRC │ writer fields │ index │ payload of tile 0 │ payload of tile 1 │ …

The header describes the file and the scene. The index holds the length and the checksums of each tile's payload.
Payloads are opaque bytes to this module. All numbers are little-endian; counts are varints (7 bits per byte, lowest
first). The chapter on the file format in the book specifies every field.

Input is untrusted. Every count is compared with the size of the input before memory is allocated for it, and the
checksum of the header is verified before any field is used.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from sarlab._version import __version__
from sarlab.errors import BitstreamError, CodecError
from sarlab.files import replacing
from sarlab.scenes.scene import Georeference, Scene
from sarlab.specs import canonical_json

MAGIC, VERSION = b"SARL", 1
#: Order is part of the file format.
QUANTITIES = ("db", "amplitude", "intensity")
DTYPES = ("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16")
#: Tiles are squares whose side is a multiple of `TILE_UNIT` samples.
TILE_UNIT, LARGEST_TILE = 64, 1024
LARGEST_SIDE, MOST_BANDS = (1 << 24) - 1, 255
#: Most samples per byte of payload, which bounds the memory that a file can make a decoder allocate.
SAMPLES_PER_BYTE = 1 << 15
#: Units of the stored quality per dB.
QUALITY_UNIT = 256
#: Largest metadata before deflation, in bytes.
METADATA_LIMIT = 1 << 20

_ENTRY = struct.Struct("<IIH")
_PREFIX = struct.Struct("<4sBI")
_FLOORS, _NODATA, _METADATA, _SIDE, _FLATS, _RADIOMETRY, _NATIVE = (1 << i for i in range(7))
#: Units of a stored center per dB.
CENTER_UNIT = 64


# --- header
# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """Everything before the tile index: model, scene and side information."""

    model: str
    #: First 8 bytes of the SHA-256 of the model's content.
    model_hash: bytes
    #: A multiple of 1/256, below 256.
    quality: float
    #: (bands, height, width).
    shape: tuple[int, int, int]
    bands: tuple[str, ...]
    #: Level of each band in dB around which its samples are normalized: a multiple of 1/64.
    centers: tuple[float, ...]
    #: Of the decoded samples; one of `QUANTITIES`.
    quantity: str
    #: Sample type of the source file; one of `DTYPES`.
    dtype: str
    #: Side of a tile in samples.
    tile: int
    #: Bits per sample of the product as delivered.
    native_bits: int = 16
    #: dB level that stands for exact zeros in each band; NaN for a band without zeros.
    floors: tuple[float, ...] | None = None
    #: Value of the flat blocks of each band, in the quantity of the file; NaN for a band without flat blocks.
    flats: tuple[float, ...] | None = None
    nodata: float | None = None
    #: See `scene_metadata`.
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Side information of the model for the whole file.
    side: bytes = b""
    #: Curves that correct mean intensity; see `sarlab.codec.radiometry`.
    radiometry: bytes = b""
    #: Samples are coded as they are, not in dB.
    native: bool = False
    #: Version (major, minor, patch) of the package that wrote the file.
    writer: tuple[int, int, int] = tuple(int(part) for part in __version__.split(".")[:3])  # type: ignore[assignment]
    version: int = VERSION

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.shape[1] // self.tile), -(-self.shape[2] // self.tile)

    def least_payload(self, tile: int) -> int:
        """Fewest bytes in the payload of a tile: one per `SAMPLES_PER_BYTE` samples."""
        row, column = divmod(tile, self.grid[1])
        height = min(self.tile, self.shape[1] - row * self.tile)
        width = min(self.tile, self.shape[2] - column * self.tile)
        return -(-self.shape[0] * height * width // SAMPLES_PER_BYTE)

    def pack(self) -> bytes:
        """Bytes between the prefix and the index."""
        stored_quality = round(self.quality * QUALITY_UNIT)
        if not 0 <= stored_quality < 1 << 16:
            raise CodecError(f"quality {self.quality} cannot be stored; it must lie in [0, 256)")
        if self.dtype not in DTYPES or self.quantity not in QUANTITIES:
            raise CodecError(f"samples of type {self.dtype} in {self.quantity} cannot be stored")
        _check_sizes(self.shape, self.tile, self.native_bits, CodecError)
        metadata = pack_metadata(self.metadata)
        flags = (
            _FLOORS * (self.floors is not None)
            | _NODATA * (self.nodata is not None)
            | _METADATA * bool(metadata)
            | _SIDE * bool(self.side)
            | _FLATS * (self.flats is not None)
            | _RADIOMETRY * bool(self.radiometry)
            | _NATIVE * self.native
        )
        out = [varint(flags), _text(self.model), self.model_hash, struct.pack("<H", stored_quality)]
        out += [varint(n) for n in (*self.shape, self.tile // TILE_UNIT)]
        out += [bytes([QUANTITIES.index(self.quantity), DTYPES.index(self.dtype), self.native_bits])]
        out += [_text(band) for band in self.bands]
        out += [struct.pack("<h", round(center * CENTER_UNIT)) for center in self.centers]
        out += [struct.pack("<f", value) for value in (*(self.floors or ()), *(self.flats or ()))]
        if self.nodata is not None:
            out += [struct.pack("<d", self.nodata)]
        out += [varint(len(block)) + block for block in (metadata, self.side, self.radiometry) if block]
        fields = b"".join(out)
        return bytes(self.writer) + varint(len(fields)) + fields


def unpack_header(fields: bytes, writer: tuple[int, int, int]) -> Header:
    """Parse the fields that `Header.pack` wrote, and check every value."""
    cursor = Cursor(fields)
    flags = cursor.varint()
    if flags >> 7:
        raise BitstreamError("the header is damaged: it has flags unknown to this version")
    model, model_hash = cursor.text(), cursor.take(8)
    quality = struct.unpack("<H", cursor.take(2))[0] / QUALITY_UNIT
    shape, tile = (cursor.varint(), cursor.varint(), cursor.varint()), cursor.varint() * TILE_UNIT
    quantity, dtype, native_bits = cursor.take(3)
    _check_sizes(shape, tile, native_bits, BitstreamError)
    if quantity >= len(QUANTITIES) or dtype >= len(DTYPES):
        raise BitstreamError("the header is damaged: unknown quantity or sample type")
    bands = tuple(cursor.text() for _ in range(shape[0]))
    centers = tuple(struct.unpack("<h", cursor.take(2))[0] / CENTER_UNIT for _ in range(shape[0]))
    floors = flats = nodata = None
    if flags & _FLOORS:
        floors = struct.unpack(f"<{shape[0]}f", cursor.take(4 * shape[0]))
    if flags & _FLATS:
        flats = struct.unpack(f"<{shape[0]}f", cursor.take(4 * shape[0]))
    if flags & _NODATA:
        nodata = struct.unpack("<d", cursor.take(8))[0]
    metadata = unpack_metadata(cursor.take(cursor.varint())) if flags & _METADATA else {}
    side = cursor.take(cursor.varint()) if flags & _SIDE else b""
    radiometry = cursor.take(cursor.varint()) if flags & _RADIOMETRY else b""
    if cursor.left:
        raise BitstreamError(f"the header is damaged: {cursor.left} bytes too many")
    return Header(
        model, model_hash, quality, shape, bands, centers, QUANTITIES[quantity], DTYPES[dtype], tile, native_bits,
        floors, flats, nodata, metadata, side, radiometry, bool(flags & _NATIVE), writer,
    )  # fmt: skip


def _check_sizes(shape: tuple[int, int, int], tile: int, native_bits: int, error: type[Exception]) -> None:
    bands, height, width = shape
    if not (1 <= bands <= MOST_BANDS and 1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise error(f"impossible size: {bands} bands of {height}×{width} samples")
    if not TILE_UNIT <= tile <= LARGEST_TILE or tile % TILE_UNIT:
        raise error(f"impossible tile of {tile} samples; use a multiple of {TILE_UNIT} up to {LARGEST_TILE}")
    if not 1 <= native_bits <= 128:
        raise error(f"impossible depth of {native_bits} bits")


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

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise BitstreamError("the header is damaged: a count has too many digits")

    def text(self, count: int | None = None) -> str:
        """UTF-8 of `count` bytes; by default the count is read first, as a varint."""
        try:
            return self.take(self.varint() if count is None else count).decode()
        except UnicodeDecodeError:
            raise BitstreamError("the header is damaged: a name is not UTF-8") from None


def varint(value: int) -> bytes:
    """Encode a count: 7 bits per byte, lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _text(value: str) -> bytes:
    data = value.encode()
    return varint(len(data)) + data


# --- scene metadata
# ----------------------------------------------------------------------------------------------------

_WKT = (
    'PROJCS["WGS 84 / Pseudo-Mercator",EXTENSION["PROJ4",AUTHORITY["EPSG","3857"]]LOCAL_CS["Unnamed"'
    'GEOGCS["ETRS89",DATUM["European_Terrestrial_Reference_System_1989",SPHEROID["GRS 1980",6378137,298.257222101,'
    'AUTHORITY["EPSG","7019"]],AUTHORITY["EPSG","6258"]],GEOGCS["NAD83",DATUM["North_American_Datum_1983",'
    'PROJCS["WGS 84 / UTM zone 33N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",15],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",10000000],'
    'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH],AUTHORITY["EPSG","32633"]]'
    'AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)
_JSON = (
    '"SARLAB_NATIVE_QUANTITY":"amplitude","SARLAB_ZERO_FLOOR_DB":"-6.020599913279624","TIFFTAG_DATETIME":"20'
    '"TIFFTAG_SOFTWARE":"TIFFTAG_XRESOLUTION":"1","TIFFTAG_YRESOLUTION":"1","TIFFTAG_RESOLUTIONUNIT":"1 (unitless)"'
    '"OVR_RESAMPLING_ALG":"NEAREST","polarization":"VH","incidence_angle":"orbit_direction":"DESCENDING","ASCENDING"'
    '"license":"CC-BY-4.0","CDLA-Permissive-1.0","product":"S1A_IW_GRDH_1SDV_20S1B_IW_SLC__1SDV_20","tile":"'
    '"CAPELLA_C02_SM_GEO_HH_20","UMBRA-04_GEC","ICEYE_X"GAMMA","SNAP","tags":{"AREA_OR_POINT":"Point","simulated":true,'
    '"transform":[20.0,0.0,-0.0,500000.0,0.0,-20.0,0.5,"transform":[8.983152841195215e-05,0.0,"tags":{},'
    '{"acquisition":"S1A_IW_GRDH_1SDV_20","credit":"contains modified Copernicus Sentinel data [20","crs":"GEOGCS[\\"WGS'
    ' 84\\"","looks":4.4,"name":"S1A_IW_GRDH_1SDV_20","spacing":[10.0,10.0]'
)
#: Preset dictionary of version 1, the likeliest phrases last; it may never change. Quotes in WKT are escaped as in
#: JSON.
DICTIONARY = (_WKT.replace('"', '\\"') + _JSON).encode()


def scene_metadata(scene: Scene, georeference: Georeference | None = None) -> dict[str, Any]:
    """Collect the fields of a scene other than its samples, mask, bands and types; empty fields are left out.

    `georeference` is that of the whole scene, if `scene` is a window of it.
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
        values |= {"crs": reference.crs, "transform": list(reference.transform)}
    return {key: value for key, value in values.items() if value or key == "transform"}


def scene_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn stored metadata into keyword arguments of `Scene`; every type is checked."""
    try:
        fields: dict[str, Any] = {k: _of(str, values[k]) for k in ("acquisition", "credit", "name") if k in values}
        if "looks" in values:
            fields["looks"] = _number(values["looks"])
        if "simulated" in values:
            fields["simulated"] = _of(bool, values["simulated"])
        if "spacing" in values:
            row, column = values["spacing"]
            fields["spacing"] = (_number(row), _number(column))
        if "tags" in values:
            fields["tags"] = {key: _of(str, value) for key, value in _of(dict, values["tags"]).items()}
        if "transform" in values:
            a, b, c, d, e, f = (_number(v) for v in values["transform"])
            fields["georeference"] = Georeference(_of(str, values.get("crs", "")), (a, b, c, d, e, f))
    except (TypeError, ValueError) as error:
        raise BitstreamError(f"the metadata has fields of a wrong type ({error})") from None
    return fields


def pack_metadata(values: Mapping[str, Any]) -> bytes:
    """Deflate metadata as canonical JSON with a preset dictionary; no metadata is no bytes."""
    if not values:
        return b""
    text = canonical_json(values).encode()
    if len(text) > METADATA_LIMIT:
        raise CodecError(
            f"the tags of the scene take {len(text)} bytes, more than the {METADATA_LIMIT} that fit; remove some"
        )
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=DICTIONARY)
    return deflate.compress(text) + deflate.flush()


def unpack_metadata(data: bytes) -> dict[str, Any]:
    """Inflate what `pack_metadata` wrote, up to the size that the format allows."""
    if not data:
        return {}
    inflate = zlib.decompressobj(-15, zdict=DICTIONARY)
    try:
        text = inflate.decompress(data, METADATA_LIMIT + 1)
    except zlib.error as error:
        raise BitstreamError(f"the metadata is damaged ({error})") from None
    if len(text) > METADATA_LIMIT or not inflate.eof or inflate.unused_data:
        raise BitstreamError("the metadata is damaged: it has a wrong length")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BitstreamError(f"the metadata is damaged ({type(error).__name__})") from None
    if not isinstance(values, dict):
        raise BitstreamError("the metadata is damaged: not a table")
    return values


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


# --- writing and reading
# -----------------------------------------------------------------------------------------------


@contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name in one step on success, or not at all."""
    try:
        with replacing(path) as temporary, temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CodecError(f"{path} cannot be written ({error.strerror or error}); nothing was left behind") from None


class StreamWriter:
    """Write a container tile by tile, in order, from the current position of a seekable file; a context manager."""

    def __init__(self, file: BinaryIO, header: Header):
        self._file, self._head, self._header = file, header.pack(), header
        rows, columns = header.grid
        self._count, self._entries = rows * columns, list[tuple[int, int, int]]()

    @property
    def overhead(self) -> int:
        """Bytes before the first payload."""
        return _PREFIX.size + len(self._head) + _ENTRY.size * self._count

    def __enter__(self) -> StreamWriter:
        self._start = self._file.tell()
        self._file.write(bytes(self.overhead))
        return self

    def append(self, payload: bytes, check: int) -> None:
        """Append the next tile: its payload and the 16-bit checksum of its latent."""
        if len(self._entries) == self._count:
            raise CodecError(f"the container has room for {self._count} tiles only")
        # Decoders read zeros past the end, so trailing zeros change nothing.
        payload = payload.ljust(self._header.least_payload(len(self._entries)), b"\0")
        self._entries.append((len(payload), zlib.crc32(payload), check & 0xFFFF))
        self._file.write(payload)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            return
        if len(self._entries) != self._count:
            raise CodecError(f"{len(self._entries)} of {self._count} tiles were written")
        checked = self._head + b"".join(_ENTRY.pack(*entry) for entry in self._entries)
        end = self._file.tell()
        self._file.seek(self._start)
        self._file.write(_PREFIX.pack(MAGIC, VERSION, zlib.crc32(checked)) + checked)
        self._file.seek(end)


class StreamReader:
    """Read a container: header and index at once, payloads one by one; a context manager.

    Attributes
    ----------
    header : Header
    size : int
        Bytes of the whole container.
    lengths : list of int
        Bytes of each tile's payload.

    Raises
    ------
    BitstreamError
        Truncated, damaged or foreign input; the message names it.
    """

    def __init__(self, source: str | Path | bytes | BinaryIO):
        self._stack = ExitStack()
        if isinstance(source, (str, Path)):
            self.name = str(source)
            try:
                opened = Path(source).open("rb")  # noqa: SIM115 (closed by the stack)
                self._file: BinaryIO = self._stack.enter_context(opened)
            except OSError as error:
                raise BitstreamError(f"{source} cannot be read ({error.strerror})") from None
        else:
            self.name = "the stream"
            self._file = io.BytesIO(source) if isinstance(source, (bytes, bytearray, memoryview)) else source
        try:
            self._start = self._file.tell()
            self.size = self._file.seek(0, io.SEEK_END) - self._start
            self._read_head()
        except BitstreamError as error:
            self._stack.close()
            raise BitstreamError(f"{self.name}: {error}") from None
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._stack.close()

    def _at(self, offset: int, length: int) -> bytes:
        self._file.seek(self._start + offset)
        data = self._file.read(length)
        if len(data) != length:
            raise BitstreamError(f"truncated: {self.size} bytes end inside the data")
        return data

    def _read_head(self) -> None:
        if self.size == 0:
            raise BitstreamError("empty, not a compressed scene")
        start = self._at(0, min(self.size, _PREFIX.size + 16))
        if start[:4] != MAGIC[: len(start)]:
            raise BitstreamError("not a compressed scene: it does not begin with 'SARL'")
        if self.size < len(start) or len(start) < _PREFIX.size + 5:
            raise BitstreamError(f"truncated: {self.size} bytes are too few for a header")
        _, version, checksum = _PREFIX.unpack_from(start)
        writer = (start[_PREFIX.size], start[_PREFIX.size + 1], start[_PREFIX.size + 2])
        if version != VERSION:
            wrote = ".".join(map(str, writer))
            raise BitstreamError(
                f"file format version {version}, but sarlab {__version__} reads version {VERSION} only; "
                f"the file was probably written by sarlab {wrote}: install that version or a later one"
            )
        cursor = Cursor(start[_PREFIX.size + 3 :])
        length = cursor.varint()
        begin = _PREFIX.size + 3 + cursor.position
        if begin + length > self.size:
            raise BitstreamError(f"truncated or damaged: a header of {length} bytes in a file of {self.size}")
        fields = self._at(begin, length)
        damaged: BitstreamError | None = None
        try:
            header = unpack_header(fields, writer)
            rows, columns = header.grid
            count = rows * columns
            if begin + length + count * _ENTRY.size > self.size:
                raise BitstreamError(f"truncated: no room for the index of {count} tiles in {self.size} bytes")
        except BitstreamError as error:
            damaged, count = error, 0
        index = self._at(begin + length, count * _ENTRY.size)
        if zlib.crc32(start[_PREFIX.size : begin] + fields + index) != checksum:
            raise (
                damaged
                if damaged and "truncated" in str(damaged)
                else BitstreamError("the header is damaged: its checksum is wrong")
            )
        if damaged:
            raise damaged
        entries = list(_ENTRY.iter_unpack(index))
        self.header, self.lengths = header, [entry[0] for entry in entries]
        self._checks = [entry[1:] for entry in entries]
        self._offsets = [begin + length + len(index)]
        for size in self.lengths:
            self._offsets.append(self._offsets[-1] + size)
        if self._offsets[-1] != self.size:
            what = "truncated" if self._offsets[-1] > self.size else "longer than its index"
            raise BitstreamError(f"{what}: {self.size} bytes instead of {self._offsets[-1]}")
        for tile, length in enumerate(self.lengths):
            if length < header.least_payload(tile):
                raise BitstreamError(f"tile {tile} has {length} bytes, too few for its size: the header is damaged")

    @property
    def header_bytes(self) -> int:
        """Bytes before the first payload, including the index."""
        return self._offsets[0]

    @property
    def index_bytes(self) -> int:
        """Bytes of the index."""
        return _ENTRY.size * len(self.lengths)

    def payload(self, tile: int) -> bytes:
        """Payload of a tile, after a check of its checksum."""
        data = self._at(self._offsets[tile], self.lengths[tile])
        if zlib.crc32(data) != self._checks[tile][0]:
            raise BitstreamError(
                f"{self.name}: tile {tile} is damaged: its checksum is wrong; the other tiles may be intact"
            )
        return data

    def payload_start(self, tile: int, size: int) -> bytes:
        """First `size` bytes of a payload, or all; no checksum is verified."""
        return self._at(self._offsets[tile], min(size, self.lengths[tile]))

    def check(self, tile: int) -> int:
        """Stored checksum of a tile's latent, 16 bits."""
        return self._checks[tile][1]
