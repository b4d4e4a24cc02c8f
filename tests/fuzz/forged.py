"""Damaged containers whose checksums are put right, as an attacker would."""

import binascii
import struct
import zlib

from sarlab.codec.entropy import varint


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
    """The same bytes with the header's checksum put right, if there is room for one."""
    if len(data) < 9:
        return bytes(data)
    data = bytearray(data)
    struct.pack_into("<I", data, 5, zlib.crc32(data[9 : head_of(data)[1]]))
    return bytes(data)


def container(fields, entries, payloads=b""):
    """A container of any fields and index entries (length as a varint, two checksums)."""
    head = fields + b"".join(entries)
    return with_checksum(b"SARL\1" + bytes(4) + varint(len(head)) + head + payloads)


def assembled(fields, payloads, check=0):
    """A container of any fields and payloads with right checksums; `check` is that of every latent."""
    entries = [varint(len(one)) + struct.pack("<HH", binascii.crc_hqx(one, 0), check) for one in payloads]
    return container(fields, entries, b"".join(payloads))
