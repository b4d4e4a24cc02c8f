"""Damaged containers whose checksums were put right, as an attacker would."""

from __future__ import annotations

import struct
import zlib


def with_checksum(data):
    """The same bytes with the header's checksum put right, as an attacker would."""
    data = bytearray(data)
    length, shift, at = 0, 0, 12
    while at < len(data):
        byte = data[at]
        length |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    for count in range(200):
        end = at + length + 10 * count
        lengths = [struct.unpack_from("<I", data, at + length + 10 * i)[0] for i in range(count) if end <= len(data)]
        if len(lengths) == count and end + sum(lengths) == len(data):
            struct.pack_into("<I", data, 5, zlib.crc32(data[9:end]))
            return bytes(data)
    return bytes(data)


def damage_payload(data, first, rng):
    """Damage the payloads of a container of two tiles whose header ends at `first`, in place."""
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(first, len(data))] = rng.integers(256)
    at = first
    for entry in (first - 20, first - 10):
        length = struct.unpack_from("<I", data, entry)[0]
        struct.pack_into("<I", data, entry + 4, zlib.crc32(bytes(data[at : at + length])))
        at += length
    struct.pack_into("<I", data, 5, zlib.crc32(bytes(data[9:first])))
