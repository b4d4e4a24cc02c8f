"""Damaged containers whose checksums are put right, as an attacker would."""

from __future__ import annotations

import struct
import zlib


def head_of(data):
    """Place of the header's fields in a container, and of the first payload."""
    length, at = 0, 9
    for shift in range(0, 35, 7):
        byte = data[at] if at < len(data) else 0
        length, at = length | (byte & 127) << shift, at + 1
        if byte < 128:
            break
    return at, min(at + length, len(data))


def with_checksum(data):
    """The same bytes with the header's checksum put right."""
    data = bytearray(data)
    struct.pack_into("<I", data, 5, zlib.crc32(data[9 : head_of(data)[1]]))
    return bytes(data)


def container(fields, entries, payloads=b""):
    """A container of any fields and index entries (length as a varint, two checksums)."""
    head = fields + b"".join(entries)
    size = bytes([len(head) & 127 | 128, len(head) >> 7])
    return with_checksum(b"SARL\1" + bytes(4) + size + head + payloads)
