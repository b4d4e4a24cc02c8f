"""The header of a compressed scene: its fields, to bytes and back."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sarlab._version import __version__
from sarlab.codec.metadata import pack_metadata, unpack_metadata
from sarlab.errors import BitstreamError, CodecError

VERSION = 1
#: Order is part of the file format.
QUANTITIES = ("db", "amplitude", "intensity")
DTYPES = ("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16")
#: Tiles are squares of a multiple of `TILE_UNIT` samples a side.
TILE_UNIT, LARGEST_TILE = 64, 1024
LARGEST_SIDE, MOST_BANDS = (1 << 24) - 1, 255
#: Samples that a byte of payload may stand for at most: what bounds the memory that a file can ask for.
SAMPLES_PER_BYTE = 1 << 15
#: The unit of the stored quality is 1/256.
QUALITY_UNIT = 256

_NORMALIZERS, _FLOORS, _NODATA, _METADATA, _SIDE, _FLATS = (1 << i for i in range(6))


@dataclass(frozen=True)
class Header:
    """What a file says about itself.

    Parameters
    ----------
    model : str
        Name of the model, for example ``"factorized-1"``.
    model_hash : bytes
        First 8 bytes of the SHA-256 of its content.
    quality : float
        Multiple of 1/256, below 256.
    shape : (bands, height, width)
    bands : tuple of str
    quantity : {"db", "amplitude", "intensity"}
        Of the samples that decoding returns.
    dtype : str
        Sample type of the source file.
    tile : int
        Side of a tile in samples.
    native_bits : int
        Bits per sample of the product as delivered.
    normalizers : tuple of (low, high), optional
        In dB, one pair a band; absent where they are the model's own.
    floors : tuple of float, optional
        dB level of exact zeros in each band; NaN for a band without.
    flats : tuple of float, optional
        Sample of each band that whole blocks may consist of, in the quantity of the file; NaN for a band without.
    nodata : float, optional
    metadata : mapping
        See `sarlab.codec.metadata`.
    side : bytes
        Whatever the model wants to say about the whole file.
    writer : (major, minor, patch)
        Version of the package that wrote the file.
    """

    model: str
    model_hash: bytes
    quality: float
    shape: tuple[int, int, int]
    bands: tuple[str, ...]
    quantity: str
    dtype: str
    tile: int
    native_bits: int = 16
    normalizers: tuple[tuple[float, float], ...] | None = None
    floors: tuple[float, ...] | None = None
    flats: tuple[float, ...] | None = None
    nodata: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    side: bytes = b""
    writer: tuple[int, int, int] = tuple(int(part) for part in __version__.split(".")[:3])  # type: ignore[assignment]
    version: int = VERSION

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.shape[1] // self.tile), -(-self.shape[2] // self.tile)

    def least_payload(self, tile: int) -> int:
        """Fewest bytes that the payload of a tile may have: one for every `SAMPLES_PER_BYTE` samples."""
        row, column = divmod(tile, self.grid[1])
        height = min(self.tile, self.shape[1] - row * self.tile)
        width = min(self.tile, self.shape[2] - column * self.tile)
        return -(-self.shape[0] * height * width // SAMPLES_PER_BYTE)

    def pack(self) -> bytes:
        """Bytes after the prefix and before the index."""
        stored_quality = round(self.quality * QUALITY_UNIT)
        if not 0 <= stored_quality < 1 << 16:
            raise CodecError(f"quality {self.quality} cannot be stored; it must lie in [0, 256)")
        if self.dtype not in DTYPES or self.quantity not in QUANTITIES:
            raise CodecError(f"samples of type {self.dtype} in {self.quantity} cannot be stored")
        _check_sizes(self.shape, self.tile, self.native_bits, CodecError)
        metadata = pack_metadata(self.metadata)
        flags = (
            _NORMALIZERS * (self.normalizers is not None)
            | _FLOORS * (self.floors is not None)
            | _NODATA * (self.nodata is not None)
            | _METADATA * bool(metadata)
            | _SIDE * bool(self.side)
            | _FLATS * (self.flats is not None)
        )
        out = [_varint(flags), _text(self.model), self.model_hash, struct.pack("<H", stored_quality)]
        out += [_varint(n) for n in (*self.shape, self.tile // TILE_UNIT)]
        out += [bytes([QUANTITIES.index(self.quantity), DTYPES.index(self.dtype), self.native_bits])]
        out += [_text(band) for band in self.bands]
        if self.normalizers is not None:
            out += [struct.pack("<ff", *pair) for pair in self.normalizers]
        if self.floors is not None:
            out += [struct.pack("<f", level) for level in self.floors]
        if self.flats is not None:
            out += [struct.pack("<f", sample) for sample in self.flats]
        if self.nodata is not None:
            out += [struct.pack("<d", self.nodata)]
        out += [_varint(len(block)) + block for block in (metadata, self.side) if block]
        fields = b"".join(out)
        return bytes(self.writer) + _varint(len(fields)) + fields


def unpack_header(fields: bytes, writer: tuple[int, int, int]) -> Header:
    """Inverse of the fields of `Header.pack`; every value is checked."""
    cursor = Cursor(fields)
    flags = cursor.varint()
    if flags >> 6:
        raise BitstreamError("the header is damaged: it has flags that this version does not know")
    model, model_hash = cursor.text(), cursor.take(8)
    quality = struct.unpack("<H", cursor.take(2))[0] / QUALITY_UNIT
    shape, tile = (cursor.varint(), cursor.varint(), cursor.varint()), cursor.varint() * TILE_UNIT
    quantity, dtype, native_bits = cursor.take(3)
    _check_sizes(shape, tile, native_bits, BitstreamError)
    if quantity >= len(QUANTITIES) or dtype >= len(DTYPES):
        raise BitstreamError("the header is damaged: unknown quantity or sample type")
    bands = tuple(cursor.text() for _ in range(shape[0]))
    normalizers = floors = flats = nodata = None
    if flags & _NORMALIZERS:
        normalizers = tuple(struct.unpack("<ff", cursor.take(8)) for _ in range(shape[0]))
        if not all(-1e4 < low < high < 1e4 for low, high in normalizers):
            raise BitstreamError(f"the header is damaged: impossible normalizers {normalizers}")
    if flags & _FLOORS:
        floors = struct.unpack(f"<{shape[0]}f", cursor.take(4 * shape[0]))
    if flags & _FLATS:
        flats = struct.unpack(f"<{shape[0]}f", cursor.take(4 * shape[0]))
    if flags & _NODATA:
        nodata = struct.unpack("<d", cursor.take(8))[0]
    metadata = unpack_metadata(cursor.take(cursor.varint())) if flags & _METADATA else {}
    side = cursor.take(cursor.varint()) if flags & _SIDE else b""
    if cursor.left:
        raise BitstreamError(f"the header is damaged: {cursor.left} bytes too many")
    return Header(
        model, model_hash, quality, shape, bands, QUANTITIES[quantity], DTYPES[dtype], tile, native_bits,
        normalizers, floors, flats, nodata, metadata, side, writer,
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
    """Reads fields from bytes and never past their end."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise BitstreamError(f"the header is damaged: a field of {count} bytes where {self.left} are left")
        self.position += count
        return self.data[self.position - count : self.position]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise BitstreamError("the header is damaged: a count has no end")

    def text(self) -> str:
        try:
            return self.take(self.varint()).decode()
        except UnicodeDecodeError:
            raise BitstreamError("the header is damaged: a name is not UTF-8") from None


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _text(value: str) -> bytes:
    data = value.encode()
    return _varint(len(data)) + data
