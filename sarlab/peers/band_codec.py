"""Base class of the classical codecs: one band after the other through an image coder, in an ``.srlc`` container.

    Scene ─to_db─▶ band ─fill nodata─▶ Grid.codes ─▶ library ─▶ payload ┐
                     └──────────────── mask ──────────────────────────┴─▶ file

The grid of integer codes spans the range of the band, so no bright target and no dark pixel is clipped. Its offset and
step are side information of the file, like all that an image format cannot hold, and count. Integers are little-endian;
*varint* is LEB128.

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

import importlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sarlab.codec import entropy
from sarlab.codec.container import StreamReader
from sarlab.codec.entropy import Cursor, varint
from sarlab.codec.tiles import fill_invalid
from sarlab.errors import BitstreamError, CodecError, SarlabError
from sarlab.peers.protocol import Availability, Capabilities
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

MAGIC, VERSION = b"SRLC", 1
QUANTITIES = ("db", "amplitude", "intensity")
DTYPES = ("float32", "uint8", "uint16", "int16", "uint32", "int32", "float64")
CODED, CONSTANT, EMPTY, DEFLATED = range(4)
ALL_VALID, CODED_MASK = range(2)
#: Largest band in samples; these codecs work on whole images.
MAX_PIXELS = 2**29
#: Most samples per byte of payload; a codestream that claims more is hostile.
MAX_PIXELS_PER_BYTE = 2**17
#: Samples of the finest integer grid: 16 bit.
TOP_16 = 2**16 - 1


# --- files ------------------------------------------------------------------------------------------------------------


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
    bands = tuple(_read_band(reader, (height, width)) for _ in range(count))
    if reader.left:
        raise BitstreamError(f"{reader.left} bytes too many after the last band")
    return Contents(name, QUANTITIES[quantity], (height, width), bands, DTYPES[dtype])


def _read_band(reader: Cursor, shape: tuple[int, int]) -> Band:
    name, kind, (offset, step) = reader.text(reader.take(1)[0]), reader.take(1)[0], reader.unpack("ff")
    mask_kind, mask, payload = reader.take(1)[0], reader.block(), reader.block()
    if kind > DEFLATED:
        raise BitstreamError(f"band '{name}': unknown kind {kind}")
    if not (np.isfinite(offset) and np.isfinite(step)):
        raise BitstreamError(f"band '{name}': offset {offset} and step {step} are not a grid")
    if kind in (CODED, DEFLATED) and shape[0] * shape[1] > MAX_PIXELS_PER_BYTE * len(payload):
        raise BitstreamError(f"band '{name}': {len(payload)} bytes cannot hold {shape[0]}×{shape[1]} samples")
    valid = np.zeros(shape, bool) if kind == EMPTY else unpack_mask(mask_kind, mask, shape)
    return Band(name, valid, kind, offset, step, payload)


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


# --- codecs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """Equidistant dB values, ``value = offset + step · code``; offset and step are exact in float32, as stored."""

    offset: float
    step: float

    @classmethod
    def spanning(cls, plane: np.ndarray, top: float) -> Grid:
        """Make the grid on which the smallest sample of `plane` is code 0 and the largest at most `top`."""
        low, high = float(plane.min()), float(plane.max())
        return cls.with_step(low, (high - low) / top)

    @classmethod
    def with_step(cls, offset: float, step: float) -> Grid:
        """Make a grid with at least this step: rounding to float32 must not push the largest sample off the last code."""
        with np.errstate(over="ignore", under="ignore"):
            stored = np.float32(step)
        if stored < step:
            stored = np.nextafter(stored, np.float32(np.inf))
        return cls(float(np.float32(offset)), float(stored))

    def codes(self, plane: np.ndarray) -> np.ndarray:
        """Nearest codes of samples in dB, int64."""
        return np.rint((plane.astype(np.float64) - self.offset) / self.step).astype(np.int64)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Samples in dB of codes: float32, not clipped."""
        return (self.offset + self.step * codes.astype(np.float64)).astype(np.float32)


def filled(plane: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Replace the invalid samples of a (height, width) band by a smooth continuation, which costs few bits.

    The blocky means of `fill_invalid` alone would cost JPEG 2000 up to 7 % more along the border of a swath.
    """
    if valid.all():
        return np.asarray(plane, np.float32)
    from scipy.ndimage import gaussian_filter

    out = fill_invalid(plane[None], valid[None], float(plane[valid].mean(dtype=np.float64)))[0]
    for sigma in (8, 4, 2):
        out = np.where(valid, plane, gaussian_filter(out, sigma, mode="nearest"))
    return out


def narrow(codes: np.ndarray) -> np.ndarray:
    """Codes below 2^16 as uint8 if they fit, or as uint16."""
    return codes.astype(np.uint8 if codes.max() < 256 else np.uint16)


def imagecodecs() -> Any:
    """Import the library of most of these codecs when it is first needed."""
    import imagecodecs as library

    return library


class BandCodec:
    """A codec that codes each band on its own.

    Parameters
    ----------
    name, family, domain, capabilities
        See `sarlab.peers.protocol.Codec`.
    coder : str
        Attribute of imagecodecs that states if its build has the coder (``"JPEG2K"``); empty for another library.
    about : str
        Description, whose first line is shown in tables.
    encode : callable, optional
        (library, samples (height, width), setting) → codestream.
    decode : callable, optional
        (library, codestream, shape) → samples.
    """

    #: Package to import, and to install if it is missing.
    package = distribution = "imagecodecs"

    def __init__(
        self, name: str, family: str, coder: str, domain: str, capabilities: Capabilities, about: str,
        encode: Callable[[Any, np.ndarray, Any], bytes] | None = None,
        decode: Callable[[Any, bytes, tuple[int, int]], np.ndarray] | None = None,
    ):  # fmt: skip
        self.name, self.family, self.coder, self.domain, self.capabilities = name, family, coder, domain, capabilities
        self.__doc__, self._encode, self._decode = about, encode, decode

    def available(self) -> Availability:
        """Check if the codec works here."""
        try:
            lacking = self.lacking(importlib.import_module(self.package))
        except Exception as error:
            lacking = f"{self.package} cannot be imported ({error}); pip install {self.distribution}"
        return Availability(not lacking, lacking)

    def lacking(self, library: Any) -> str:
        """Reason why the installed library cannot code; empty if it can."""
        found = not self.coder or getattr(getattr(library, self.coder, None), "available", False)
        return "" if found else f"this build of {self.package} {library.__version__} has no {self.coder}"

    def version(self) -> str:
        """Versions of the library inside imagecodecs and of the wheel: ``openjpeg 2.5.4, imagecodecs 2026.3.6``."""
        inner = getattr(imagecodecs(), f"{self.coder.lower()}_version")()
        return f"{inner.replace('-', ' ', 1)}, imagecodecs {imagecodecs().__version__}"

    def compress(self, scene: Scene, *, quality: float) -> bytes:
        """Make a file of a scene in dB; see `Codec.compress`."""
        return self.packed(to_db(scene), self.capabilities.quality.checked(quality, self.name))

    def packed(self, scene: Scene, quality: float, dtype: str = "float32") -> bytes:
        """Make a file of a scene as it is."""
        planes = zip(scene.bands, scene.data, scene.valid, strict=True)
        bands = tuple(self.band(name, plane, valid, quality) for name, plane, valid in planes)
        return pack(Contents(self.name, scene.quantity, scene.shape[1:], bands, dtype))

    def decompress(self, data: bytes) -> Scene:
        """Decode a file to dB; see `Codec.decompress`."""
        contents = unpack(data, self.name)
        planes = []
        for band in contents.bands:
            try:
                plane = self.plane(band)
            except SarlabError:
                raise
            except Exception as error:
                raise BitstreamError(f"band '{band.name}' does not decode with {self.name}: {error}") from error
            planes.append(np.where(band.valid, plane, np.float32(np.nan)))
        return Scene(
            np.stack(planes).astype(np.float32, copy=False), contents.quantity, tuple(b.name for b in contents.bands),
            valid=np.stack([band.valid for band in contents.bands]), dtype=contents.dtype,
        )  # fmt: skip

    def band(self, name: str, plane: np.ndarray, valid: np.ndarray, quality: float) -> Band:
        """Code a band."""
        if not valid.any():
            return Band(name, valid, EMPTY)
        low, high = float(plane[valid].min()), float(plane[valid].max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise CodecError(f"band '{name}' has infinite samples; mark missing measurements with NaN")
        if low == high:
            return Band(name, valid, CONSTANT, offset=low)
        grid, payload = self.encode_band(filled(plane, valid), quality)
        return Band(name, valid, CODED, grid.offset, grid.step, payload)

    def plane(self, band: Band) -> np.ndarray:
        """Decode a band: float32, (height, width)."""
        if band.kind == EMPTY:
            return np.full(band.valid.shape, np.nan, np.float32)
        if band.kind == CONSTANT:
            return np.full(band.valid.shape, band.offset, np.float32)
        if band.kind != CODED:
            raise BitstreamError(f"band '{band.name}': {self.name} has no kind {band.kind}")
        return Grid(band.offset, band.step).values(self.decode(band.payload, band.valid.shape))

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        """Code a (height, width) float32 band in dB, without NaN and not constant: its grid and payload."""
        raise NotImplementedError

    def encode(self, samples: np.ndarray, setting: Any) -> bytes:
        """Code (height, width) samples to a codestream, with a setting of the library."""
        assert self._encode is not None
        return bytes(self._encode(importlib.import_module(self.package), np.ascontiguousarray(samples), setting))

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        """Decode a codestream to samples."""
        assert self._decode is not None
        return np.asarray(self._decode(importlib.import_module(self.package), payload, shape)).reshape(shape)
