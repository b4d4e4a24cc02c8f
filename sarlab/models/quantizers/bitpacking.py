"""Pack integers into exactly the bits they need, behind a header of a few bytes for the shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sarlab.errors import BitstreamError

#: Largest N, h or w of a header: 4 bytes of 7 bits.
MAX_EXTENT = 2**28 - 1


def write_header(n: int, h: int, w: int) -> bytes:
    """Encode the shape of a latent as three LEB128 integers: 3 bytes up to 127×127, at most 12."""
    parts = bytearray()
    for value in (n, h, w):
        if not 1 <= value <= MAX_EXTENT:
            raise BitstreamError(f"a latent has 1 to {MAX_EXTENT} values per axis, not {value}")
        while value > 127:
            parts.append(value & 127 | 128)
            value >>= 7
        parts.append(value)
    return bytes(parts)


def read_header(data: bytes) -> tuple[tuple[int, int, int], int]:
    """Return the shape (N, h, w) of `write_header` and the number of bytes it took."""
    position, shape = 0, []
    for _ in range(3):
        value = 0
        for shift in (0, 7, 14, 21):
            if position >= len(data):
                raise BitstreamError("packed latent: it ends within its shape; the data is truncated")
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise BitstreamError("packed latent: it does not begin with a shape; the data is damaged")
        if value < 1:
            raise BitstreamError("packed latent: an axis of its shape is zero; the data is damaged")
        shape.append(value)
    return (shape[0], shape[1], shape[2]), position


def packed_bytes(count: int, widths: Sequence[int]) -> int:
    """Return the bytes of `count` values in each of the channels with `widths` bits."""
    return -(-count * sum(widths) // 8)


def pack_bits(planes: np.ndarray, widths: Sequence[int]) -> bytes:
    """Pack integers (C, count), most significant bit first, row after row in `widths` bits (0 to 32) per value."""
    parts = [np.empty(0, np.uint8)]
    whole = all(width % 8 == 0 for width in widths)
    for row, width in zip(planes, widths, strict=True):
        if len(row) and (int(row.min()) < 0 or int(row.max()) >> width):
            raise BitstreamError(f"values from {row.min()} to {row.max()} do not fit into {width} bits")
        octets = np.ascontiguousarray(row.astype(">u4")).view(np.uint8).reshape(-1, 4)
        parts.append((octets[:, 4 - width // 8 :] if whole else np.unpackbits(octets, axis=1)[:, 32 - width :]).ravel())
    joined = np.concatenate(parts)
    return (joined if whole else np.packbits(joined)).tobytes()


def unpack_bits(data: bytes, count: int, widths: Sequence[int]) -> np.ndarray:
    """Invert `pack_bits`: integers of shape (C, count), int64."""
    if len(data) != packed_bytes(count, widths):
        raise BitstreamError(f"{len(data)} packed bytes instead of {packed_bytes(count, widths)}; the data is damaged")
    planes = np.zeros((len(widths), count), np.int64)
    source = np.frombuffer(data, np.uint8)
    whole = all(width % 8 == 0 for width in widths)
    source, unit = (source, 4) if whole else (np.unpackbits(source), 32)
    position = 0
    for row, width in zip(planes, widths, strict=True):
        size = width // 8 if whole else width
        padded = np.zeros((count, unit), np.uint8)
        padded[:, unit - size :] = source[position : position + count * size].reshape(count, size)
        position += count * size
        row[:] = (padded if whole else np.packbits(padded, axis=1)).view(">u4")[:, 0]
    return planes
