"""The ``.srlc`` container of a classical bitstream: the side information that an image format cannot hold.

All of it counts as file size. Integers are little-endian; *varint* is LEB128.

    "SRLC"  version u8  codec name (u8 length, ASCII)  samples u8  bands varint  height varint  width varint
    per band:  name (u8 length, UTF-8)  kind u8  offset f32  step f32  mask (kind u8, varint length, bytes)
               payload (varint length, bytes)
    CRC-32 u32 of everything before it

*samples* is the position in `QUANTITIES` plus four times that in `DTYPES`, the sample type of the source, which
determines the floor of exact zeros. A mask is empty (all valid) or coded as in `sarlab.codec.entropy`.

Kinds of a band: 0 coded by the codec; 1 constant, all valid samples are `offset`; 2 empty, no sample is valid; 3
deflated integers (lossless codecs whose library failed its own round trip). A constant or empty band has no payload. So
the memory that decoding allocates is bounded by the size of the payload or by `MAX_PIXELS`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from sarlab.codec import entropy
from sarlab.codec.container import StreamReader
from sarlab.codec.entropy import varint
from sarlab.codec.metadata import Cursor
from sarlab.errors import BitstreamError, CodecError

MAGIC = b"SRLC"
VERSION = 1
QUANTITIES = ("db", "amplitude", "intensity")
DTYPES = ("float32", "uint8", "uint16", "int16", "uint32", "int32", "float64")
CODED, CONSTANT, EMPTY, DEFLATED = range(4)
ALL_VALID, CODED_MASK = range(2)
#: Largest band in samples; these codecs work on whole images.
MAX_PIXELS = 2**29
#: Most samples per byte of payload; a codestream that claims more is hostile.
MAX_PIXELS_PER_BYTE = 2**17


@dataclass(frozen=True)
class Band:
    """One band of a file."""

    name: str
    #: bool, shape (height, width).
    valid: np.ndarray
    #: `CODED`, `CONSTANT`, `EMPTY` or `DEFLATED`.
    kind: int
    #: Of the integer grid in dB.
    offset: float = 0.0
    step: float = 0.0
    #: The codestream.
    payload: bytes = b""


@dataclass(frozen=True)
class Contents:
    """The contents of a file."""

    codec: str
    quantity: str
    shape: tuple[int, int]
    bands: tuple[Band, ...]
    dtype: str = "float32"


def pack(contents: Contents) -> bytes:
    """Make the file."""
    name = contents.codec.encode("ascii")
    height, width = contents.shape
    if height * width > MAX_PIXELS:
        raise CodecError(f"a band of {height}×{width} samples is too large for a whole-image codec; cut it into tiles")
    samples = QUANTITIES.index(contents.quantity)
    if contents.dtype in DTYPES:
        samples += 4 * DTYPES.index(contents.dtype)
    out = bytearray(MAGIC + bytes([VERSION, len(name)]) + name + bytes([samples]))
    out += varint(len(contents.bands)) + varint(height) + varint(width)
    for band in contents.bands:
        label = band.name.encode()[:255]
        kind, mask = pack_mask(band.valid) if band.kind != EMPTY else (ALL_VALID, b"")
        out += bytes([len(label)]) + label + bytes([band.kind]) + struct.pack("<ff", band.offset, band.step)
        out += bytes([kind]) + varint(len(mask)) + mask + varint(len(band.payload)) + band.payload
    return bytes(out + struct.pack("<I", zlib.crc32(out)))


def unpack(data: bytes, codec: str | None = None) -> Contents:
    """Parse a file; one of another codec than `codec` is refused.

    Raises
    ------
    BitstreamError
        Truncated, damaged, foreign, of a later version, or of impossible size.
    """
    if data[:4] != MAGIC:
        raise BitstreamError("not a file of a classical codec of sarlab: it does not begin with SRLC")
    if len(data) < 12 or zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise BitstreamError("the file is truncated or damaged: its checksum is wrong")
    reader = Cursor(data[4:-4])
    version = reader.take(1)[0]
    if version != VERSION:
        raise BitstreamError(f"the file has format version {version}, this sarlab reads {VERSION}; update sarlab")
    name = reader.text(reader.take(1)[0])
    if codec is not None and name != codec:
        raise BitstreamError(f"the file was made by codec '{name}', not by '{codec}'; decode it with '{name}'")
    dtype, quantity = divmod(reader.take(1)[0], 4)
    if quantity >= len(QUANTITIES) or dtype >= len(DTYPES):
        raise BitstreamError(f"unknown quantity {quantity} or sample type {dtype} in the header")
    count, height, width = reader.varint(), reader.varint(), reader.varint()
    if not (count and height and width) or height * width > MAX_PIXELS:
        raise BitstreamError(f"impossible size in the header: {count} bands of {height}×{width}")
    bands = tuple(_band(reader, (height, width)) for _ in range(count))
    if reader.left:
        raise BitstreamError(f"{reader.left} bytes too many after the last band")
    return Contents(name, QUANTITIES[quantity], (height, width), bands, DTYPES[dtype])


def _band(reader: Cursor, shape: tuple[int, int]) -> Band:
    name = reader.text(reader.take(1)[0])
    kind = reader.take(1)[0]
    offset, step = struct.unpack("<ff", reader.take(8))
    mask_kind, mask = reader.take(1)[0], reader.take(reader.varint())
    payload = reader.take(reader.varint())
    if kind > DEFLATED:
        raise BitstreamError(f"band '{name}': unknown kind {kind}")
    if not (np.isfinite(offset) and np.isfinite(step)):
        raise BitstreamError(f"band '{name}': offset {offset} and step {step} are not a grid")
    if kind in (CODED, DEFLATED) and shape[0] * shape[1] > MAX_PIXELS_PER_BYTE * len(payload):
        raise BitstreamError(f"band '{name}': {len(payload)} bytes cannot hold {shape[0]}×{shape[1]} samples")
    valid = np.zeros(shape, bool) if kind == EMPTY else unpack_mask(mask_kind, mask, shape)
    return Band(name, valid, kind, offset, step, payload)


# --- the mask ---------------------------------------------------------------------------------------------------------


def pack_mask(valid: np.ndarray) -> tuple[int, bytes]:
    """Code a mask as (kind, bytes)."""
    if valid.all():
        return ALL_VALID, b""
    # Zeros at the end change nothing, and bound the size that a damaged file may claim.
    return CODED_MASK, entropy.pack_mask(valid).ljust(-(-valid.size // MAX_PIXELS_PER_BYTE), b"\0")


def unpack_mask(kind: int, data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Decode what `pack_mask` wrote."""
    if kind == ALL_VALID:
        return np.ones(shape, bool)
    if shape[0] * shape[1] > MAX_PIXELS_PER_BYTE * len(data):
        raise BitstreamError(f"{len(data)} bytes cannot hold a mask of {shape[0]}×{shape[1]} samples")
    if kind != CODED_MASK:
        raise BitstreamError(f"unknown kind of mask {kind}")
    return entropy.unpack_mask(data, shape)


def inflate(data: bytes, size: int, exact: bool = True) -> bytes:
    """Inflate at most `size` bytes; more (or less, if `exact`) raises `BitstreamError`."""
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise BitstreamError(f"deflated data is damaged: {error}") from error
    if len(out) > size or (exact and len(out) != size):
        raise BitstreamError(f"deflated data holds {len(out)} bytes instead of {size}")
    return out


def codestream_bytes(data: bytes) -> int:
    """Bytes of the codestreams in a file: without containers, metadata, masks and the index of tiles.

    ``bpp`` counts whole files. In them, JPEG 2000 is a bare codestream, but HEVC and AV1 lie in boxes of several hundred
    bytes. ``bpp_codestream`` counts no container for any codec. Parameter sets of HEVC and AV1 and the side information of
    a model in the header count, since other codestreams begin with theirs.
    """
    if data.startswith(MAGIC):
        return sum(_payload_bytes(band.payload) for band in unpack(data).bands)
    with StreamReader(data) as reader:
        return sum(reader.lengths) + len(reader.header.side) + len(reader.header.radiometry)


def _payload_bytes(payload: bytes) -> int:
    if payload.startswith(b"RIFF"):
        return len(payload) - 20
    if payload[4:8] not in (b"ftyp", b"JXL "):
        return len(payload)
    found, at = 0, 0
    while at < len(payload):  # boxes of the ISO base media file format: length, type, content
        length = int.from_bytes(payload[at : at + 4], "big") or len(payload) - at
        found += length - 8 if payload[at + 4 : at + 8] in (b"mdat", b"jxlc") else 0
        at += length
    for name in (b"hvcC", b"av1C"):
        box = payload.find(name)
        found += int.from_bytes(payload[box - 4 : box], "big") - 8 if box > 0 else 0
    return found
