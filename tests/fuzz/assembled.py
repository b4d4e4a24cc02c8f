"""Containers of any fields and payloads with right checksums."""

import binascii
import struct
import zlib

from sarlab.codec.metadata import varint


def assembled(fields: bytes, payloads: list[bytes], check: int = 0) -> bytes:
    """A container of any fields and payloads with right checksums; `check` is that of every latent."""
    entries = [varint(len(one)) + struct.pack("<HH", binascii.crc_hqx(one, 0), check) for one in payloads]
    head = fields + b"".join(entries)
    checked = varint(len(head)) + head
    return b"SARL\1" + struct.pack("<I", zlib.crc32(checked)) + checked + b"".join(payloads)
