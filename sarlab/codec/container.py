"""The container of a compressed scene, a ``.sarl`` file: header with scene metadata, tile index, payloads.

    "SARL" version CRC length │ fields │ index │ payload of tile 0 │ payload of tile 1 │ …

The header describes the file and the scene. The index holds the length of each tile's payload, its CRC-16
(polynomial 0x1021, from 0), and the checksum of its latent.
Payloads are opaque bytes to this module. All numbers are little-endian; counts are varints (7 bits per byte, lowest
first). The chapter on the file format in the book specifies every field.

Input is untrusted. Every count is compared with the size of the input before memory is allocated for it, and the
checksum of header and index is verified before any field is used.
"""

from __future__ import annotations

import binascii
import io
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from sarlab._version import __version__
from sarlab.codec.entropy import Cursor, pack_block, pack_name, varint
from sarlab.codec.metadata import of_kind, pack_metadata, pack_value, read_value, unpack_metadata
from sarlab.errors import BitstreamError, CodecError
from sarlab.files import replacing

MAGIC, VERSION = b"SARL", 1
# The order of these names is part of the file format.
QUANTITIES = ("db", "amplitude", "intensity")
DTYPES = ("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "int64", "uint64")
MODELS = ("lapped-1", "factorized-1", "klt8-1", "predictive-1")
BANDS = ("VV", "VH", "HH", "HV", "RH", "RV", "band1", "band2", "band3", "band4")
#: Bytes of a model's hash in a file.
HASH_SIZE = 4
#: Tiles are squares whose side is a multiple of `TILE_UNIT` samples.
TILE_UNIT, LARGEST_TILE = 64, 1024
LARGEST_SIDE, MOST_BANDS = (1 << 24) - 1, (1 << 16) - 1
#: Most samples per byte of payload, which bounds the memory that a file can make a decoder allocate.
SAMPLES_PER_BYTE = 1 << 15
#: Units of the stored quality per dB, and of a stored center per dB.
QUALITY_UNIT, CENTER_UNIT = 256, 64
#: Depth of a product that is not stated.
USUAL_BITS = 16

_PREFIX = struct.Struct("<4sBI")
_SIDE, _METADATA, _DEFLATED, _FLOORS, _FLATS, _NODATA, _RADIOMETRY, _NATIVE = (1 << i for i in range(8))
_OTHER_BITS = 64
#: Usual and largest number of bytes of an index entry.
_ENTRY, _LARGEST_ENTRY = 7, 9


# --- header -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """Everything before the tile index: model, scene and side information."""

    #: Name of the model, and the first `HASH_SIZE` bytes of the SHA-256 of its content.
    model: str
    model_hash: bytes
    #: A multiple of 1/256, below 256.
    quality: float
    #: (bands, height, width).
    shape: tuple[int, int, int]
    bands: tuple[str, ...]
    #: Level of each band in dB around which its samples are normalized: a multiple of 1/64.
    centers: tuple[float, ...]
    #: Of the decoded samples, one of `QUANTITIES`; type of the samples of the source file, one of `DTYPES`.
    quantity: str
    dtype: str
    #: Side of a tile in samples.
    tile: int
    #: Bits per sample of the product as delivered.
    native_bits: int = USUAL_BITS
    #: For each band or NaN: dB level that stands for exact zeros; value of flat blocks, in the quantity of the file.
    floors: tuple[float, ...] | None = None
    flats: tuple[float, ...] | None = None
    nodata: float | None = None
    #: See `sarlab.codec.metadata.scene_metadata`.
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Side information of the model, and curves that correct mean intensity (see `sarlab.codec.levels`).
    side: bytes = b""
    radiometry: bytes = b""
    #: Samples are coded as they are, not in dB.
    native: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.shape[1] // self.tile), -(-self.shape[2] // self.tile)

    def least_payload(self, tile: int) -> int:
        """Fewest bytes in the payload of a tile: one per `SAMPLES_PER_BYTE` samples."""
        places = zip(divmod(tile, self.grid[1]), self.shape[1:], strict=True)
        height, width = (min(self.tile, length - place * self.tile) for place, length in places)
        return -(-self.shape[0] * height * width // SAMPLES_PER_BYTE)

    @property
    def overhead(self) -> int:
        """Bytes before the first payload, for tiles of usual size."""
        head = len(self.pack()) + _ENTRY * math.prod(self.grid)
        return _PREFIX.size + len(varint(head)) + head

    def pack(self) -> bytes:
        """Fields between the prefix and the index."""
        quality, (bands, height, width) = round(self.quality * QUALITY_UNIT), self.shape
        _check_sizes(self.shape, self.tile, self.native_bits, CodecError)
        metadata, deflated = pack_metadata(self.metadata)
        present = (self.side, metadata, deflated, self.floors, self.flats, self.nodata is not None, self.radiometry)
        flags = sum(bool(part) << i for i, part in enumerate((*present, self.native)))
        kind = QUANTITIES.index(self.quantity) + 4 * DTYPES.index(self.dtype)
        own_bits = self.native_bits != USUAL_BITS
        out = [varint(flags), pack_name(self.model, MODELS), self.model_hash, struct.pack("<H", quality)]
        out += [varint(n) for n in (16 * (bands - 1) + self.tile // TILE_UNIT - 1, height, width)]
        out += [bytes([kind + _OTHER_BITS * own_bits, self.native_bits][: 1 + own_bits])]
        out += [pack_name(band, BANDS) for band in self.bands]
        out += [struct.pack(f"<{bands}h", *(round(center * CENTER_UNIT) for center in self.centers))]
        out += [struct.pack(f"<{bands}f", *values) for values in (self.floors, self.flats) if values]
        out += [pack_value(self.nodata)] if self.nodata is not None else []
        return b"".join([*out, *(pack_block(part) for part in (metadata, self.side, self.radiometry) if part)])


def unpack_header(cursor: Cursor) -> Header:
    """Parse the fields that `Header.pack` wrote, and check every value."""
    flags = cursor.varint()
    if flags >> 8:
        raise BitstreamError("the header is damaged: it has flags unknown to this version")
    model, model_hash, quality = cursor.name(MODELS), cursor.take(HASH_SIZE), cursor.unpack("H")[0] / QUALITY_UNIT
    bands, unit = divmod(cursor.varint(), 16)
    shape, tile = (bands + 1, cursor.varint(), cursor.varint()), (unit + 1) * TILE_UNIT
    kind = cursor.take(1)[0]
    native_bits = cursor.take(1)[0] if kind & _OTHER_BITS else USUAL_BITS
    _check_sizes(shape, tile, native_bits, BitstreamError)
    dtype, quantity = divmod(kind & ~_OTHER_BITS, 4)
    if quantity >= len(QUANTITIES) or dtype >= len(DTYPES):
        raise BitstreamError("the header is damaged: unknown quantity or sample type")
    names = tuple(cursor.name(BANDS) for _ in range(shape[0]))
    centers = tuple(center / CENTER_UNIT for center in cursor.unpack(f"{shape[0]}h"))
    floors, flats = (cursor.unpack(f"{shape[0]}f") if flags & bit else None for bit in (_FLOORS, _FLATS))
    nodata = of_kind(float, read_value(cursor)) if flags & _NODATA else None
    metadata = unpack_metadata(cursor.block(), bool(flags & _DEFLATED)) if flags & _METADATA else {}
    side, radiometry = (cursor.block() if flags & bit else b"" for bit in (_SIDE, _RADIOMETRY))
    return Header(
        model, model_hash, quality, shape, names, centers, QUANTITIES[quantity], DTYPES[dtype], tile, native_bits,
        floors, flats, nodata, metadata, side, radiometry, bool(flags & _NATIVE),
    )  # fmt: skip


def _check_sizes(shape: tuple[int, int, int], tile: int, native_bits: int, error: type[Exception]) -> None:
    bands, height, width = shape
    if not (1 <= bands <= MOST_BANDS and 1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise error(f"impossible size: {bands} bands of {height}×{width} samples")
    if not TILE_UNIT <= tile <= LARGEST_TILE or tile % TILE_UNIT:
        raise error(f"impossible tile of {tile} samples; use a multiple of {TILE_UNIT} up to {LARGEST_TILE}")
    if not 1 <= native_bits <= 128:
        raise error(f"impossible depth of {native_bits} bits")


# --- writing and reading ----------------------------------------------------------------------------------------------


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


def write_container(file: BinaryIO, header: Header, tiles: Iterable[tuple[bytes, int]]) -> None:
    """Write a container at the end of a seekable file; `tiles` are all payloads and the checksums of their latents, in order."""
    fields, start, entries = header.pack(), file.tell(), []
    # The index has its final size when the last tile is known; payloads move up to it then.
    room = _PREFIX.size + 5 + len(fields) + _LARGEST_ENTRY * math.prod(header.grid)
    file.write(bytes(room))
    for number, (payload, check) in zip(range(math.prod(header.grid)), tiles, strict=True):
        # Decoders read zeros past the end, so trailing zeros change nothing.
        payload = payload.ljust(header.least_payload(number), b"\0")
        entries.append(varint(len(payload)) + struct.pack("<HH", binascii.crc_hqx(payload, 0), check))
        file.write(payload)
    end, checked = file.tell(), pack_block(b"".join([fields, *entries]))
    surplus = room - _PREFIX.size - len(checked)
    for place in range(start + room, end, 1 << 20):
        file.seek(place)
        part = file.read(1 << 20)
        file.seek(place - surplus)
        file.write(part)
    file.truncate(end - surplus)
    file.seek(start)
    file.write(_PREFIX.pack(MAGIC, VERSION, zlib.crc32(checked)) + checked)
    file.seek(end - surplus)


class StreamReader(AbstractContextManager["StreamReader"]):
    """Read a container: header and index at once, payloads one by one; a context manager.

    Truncated, damaged and foreign input raises a `BitstreamError` that names it.

    Attributes
    ----------
    header : Header
    size, header_bytes, index_bytes : int
        Bytes of the whole container, of everything before the first payload, and of the index in it.
    lengths : list of int
        Bytes of each tile's payload.
    """

    def __init__(self, source: str | Path | bytes):
        self.name = str(source) if isinstance(source, (str, Path)) else "the stream"
        with ExitStack() as stack:
            if isinstance(source, (str, Path)):
                try:
                    self._file: BinaryIO = stack.enter_context(Path(source).open("rb"))
                except OSError as error:
                    raise BitstreamError(f"{source} cannot be read ({error.strerror})") from None
            else:
                self._file = io.BytesIO(source)
            self.size = self._file.seek(0, io.SEEK_END)
            try:
                self._read_head()
            except BitstreamError as error:
                raise BitstreamError(f"{self.name}: {error}") from None
            self._stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(length)
        if len(data) != length:
            raise BitstreamError(f"truncated: {self.size} bytes end inside the data")
        return data

    def _read_head(self) -> None:
        start = self._at(0, min(self.size, _PREFIX.size + 5))
        if start[:4] != MAGIC[: len(start)]:
            raise BitstreamError("not a compressed scene: it does not begin with 'SARL'")
        if len(start) < _PREFIX.size + 5:
            raise BitstreamError(f"truncated: {self.size} bytes are too few for a header")
        _, version, checksum = _PREFIX.unpack_from(start)
        if version != VERSION:
            raise BitstreamError(f"file format version {version}; sarlab {__version__} reads version {VERSION} only")
        cursor = Cursor(start[_PREFIX.size :])
        length = cursor.varint()
        begin = _PREFIX.size + cursor.position
        if begin + length > self.size:
            raise BitstreamError(f"truncated or damaged: a header of {length} bytes in a file of {self.size}")
        head = self._at(begin, length)
        if zlib.crc32(start[_PREFIX.size : begin] + head) != checksum:
            raise BitstreamError("the header is damaged: its checksum is wrong")
        cursor = Cursor(head)
        self.header = header = unpack_header(cursor)
        self.header_bytes, self.index_bytes, count = begin + length, cursor.left, math.prod(header.grid)
        if count > cursor.left:
            raise BitstreamError(f"truncated: no room for the index of {count} tiles in {cursor.left} bytes")
        entries = [(cursor.varint(), *cursor.unpack("HH")) for _ in range(count)]
        if cursor.left:
            raise BitstreamError(f"the header is damaged: {cursor.left} bytes too many")
        self.lengths, self._checks = [entry[0] for entry in entries], [entry[1:] for entry in entries]
        self._offsets = list(accumulate(self.lengths, initial=self.header_bytes))
        for tile, size in enumerate(self.lengths):
            if size < header.least_payload(tile):
                raise BitstreamError(f"tile {tile} has {size} bytes, too few for its size: the header is damaged")
        if self._offsets[-1] != self.size:
            what = "truncated" if self._offsets[-1] > self.size else "longer than its index"
            raise BitstreamError(f"{what}: {self.size} bytes instead of {self._offsets[-1]}")

    def payload(self, tile: int) -> bytes:
        """Payload of a tile, after a check of its checksum."""
        data = self._at(self._offsets[tile], self.lengths[tile])
        if binascii.crc_hqx(data, 0) != self._checks[tile][0]:
            raise BitstreamError(f"{self.name}: tile {tile} is damaged: its checksum is wrong; others may be intact")
        return data

    def payload_start(self, tile: int, size: int) -> bytes:
        """First `size` bytes of a payload, or all; no checksum is verified."""
        return self._at(self._offsets[tile], min(size, self.lengths[tile]))

    def check(self, tile: int) -> int:
        """Stored checksum of a tile's latent, 16 bits."""
        return self._checks[tile][1]
