"""Integers in exactly the bits they cost, behind a shape of a few bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sarlab.errors import BitstreamError

#: Largest N, h or w of a header: 4 bytes of 7 bits.
MAX_EXTENT = 2**28 - 1


def write_header(n: int, h: int, w: int) -> bytes:
    """Shape of a latent as three variable-length integers (LEB128): 3 bytes up to 127×127, at most 12."""
    parts = bytearray()
    for value in (n, h, w):
        if not 1 <= value <= MAX_EXTENT:
            raise BitstreamError(f"a latent extends over 1 to {MAX_EXTENT} values an axis, not {value}")
        while value > 127:
            parts.append(value & 127 | 128)
            value >>= 7
        parts.append(value)
    return bytes(parts)


def read_header(data: bytes) -> tuple[tuple[int, int, int], int]:
    """Shape (N, h, w) written by `write_header`, and the number of bytes it took.

    Raises
    ------
    BitstreamError
        If there is no such header.
    """
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
    """Bytes of `count` values in each of the channels with `widths` bits."""
    return -(-count * sum(widths) // 8)


def pack_bits(planes: np.ndarray, widths: Sequence[int]) -> bytes:
    """Pack non-negative integers, the most significant bit first, channel after channel without gaps.

    Parameters
    ----------
    planes : ndarray of integers, shape (C, count)
        Row c is below 2^widths[c].
    widths : sequence of int, 0 to 32
        Bits of a value in each row; rows of width 0 take no space.

    Returns
    -------
    bytes
        `packed_bytes(count, widths)` of them.
    """
    for row, width in zip(planes, widths, strict=True):
        if len(row) and (int(row.min()) < 0 or int(row.max()) >> width):
            raise BitstreamError(f"values from {row.min()} to {row.max()} do not fit into {width} bits")
    if all(width % 8 == 0 for width in widths):
        rows = zip(planes, widths, strict=True)
        return b"".join(_big_endian(row)[:, 4 - width // 8 :].tobytes() for row, width in rows)
    parts = [
        np.unpackbits(_big_endian(row), axis=1)[:, 32 - width :].ravel()
        for row, width in zip(planes, widths, strict=True)
    ]
    return np.packbits(np.concatenate(parts)).tobytes()


def unpack_bits(data: bytes, count: int, widths: Sequence[int]) -> np.ndarray:
    """Integers that `pack_bits` packed.

    Parameters
    ----------
    data : bytes
        `packed_bytes(count, widths)` of them.

    Returns
    -------
    ndarray of int64, shape (C, count)
    """
    if len(data) != packed_bytes(count, widths):
        raise BitstreamError(
            f"{len(data)} packed bytes where {packed_bytes(count, widths)} belong; the data is damaged"
        )
    planes = np.zeros((len(widths), count), np.int64)
    octets = np.frombuffer(data, np.uint8)
    whole = all(width % 8 == 0 for width in widths)
    source = octets if whole else np.unpackbits(octets)
    position = 0
    for row, width in zip(planes, widths, strict=True):
        size = width // 8 if whole else width
        piece = source[position : position + count * size].reshape(count, size)
        position += count * size
        if whole:
            padded = np.zeros((count, 4), np.uint8)
            padded[:, 4 - size :] = piece
        else:
            bits = np.zeros((count, 32), np.uint8)
            bits[:, 32 - size :] = piece
            padded = np.packbits(bits, axis=1)
        row[:] = padded.view(">u4")[:, 0]
    return planes


def _big_endian(row: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(row.astype(">u4")).view(np.uint8).reshape(-1, 4)
