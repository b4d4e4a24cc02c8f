"""The container of classical bitstreams: fields and masks come back, and hostile files are refused."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import BitstreamError
from sarlab.peers import srlc


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 50), columns=st.integers(1, 50), kind=st.sampled_from(["scatter", "area", "line", "none", "all"]),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_masks_come_back(rows, columns, kind, seed):
    generator = np.random.default_rng(seed)
    valid = np.ones((rows, columns), bool)
    if kind == "scatter":
        valid = generator.random((rows, columns)) > 0.1
    elif kind == "area":
        valid[rows // 2 :] = False
    elif kind == "line":
        valid[np.arange(rows) % rows, np.arange(rows) % columns] = False
    elif kind == "all":
        valid[:] = False
    method, data = srlc.pack_mask(valid)
    assert np.array_equal(srlc.unpack_mask(method, data, valid.shape), valid)
    assert bool(data) or valid.all()


@pytest.mark.parametrize(("where", "most"), [(np.s_[100:500], 80), (np.s_[0, 0], 8), (np.s_[-1, -1], 50)])
def test_large_masks_come_back_and_are_cheap(where, most):
    valid = np.ones((600, 700), bool)
    valid[where] = False
    kind, data = srlc.pack_mask(valid)
    assert np.array_equal(srlc.unpack_mask(kind, data, valid.shape), valid)
    assert len(data) < most


def packed(**changes):
    """A file of one band whose checksum fits, with some fields changed."""
    values = {"codec": "x", "quantity": "db", "shape": (4, 5)}
    band = {"name": "VV", "valid": np.ones((4, 5), bool), "kind": srlc.CODED, "payload": b"abc"}
    band.update({key: value for key, value in changes.items() if key in ("kind", "payload", "offset", "step")})
    values.update({key: value for key, value in changes.items() if key in values})
    return srlc.pack(srlc.Contents(bands=(srlc.Band(**band),), **values))


def signed(data):
    return data + struct.pack("<I", zlib.crc32(data))


def test_container_round_trip_counts_every_field():
    data = packed(offset=-20.5, step=0.25)
    contents = srlc.unpack(data, "x")
    assert (contents.codec, contents.quantity, contents.shape) == ("x", "db", (4, 5))
    assert (contents.bands[0].offset, contents.bands[0].step, contents.bands[0].payload) == (-20.5, 0.25, b"abc")
    # magic 4, version, name 2, quantity, bands, height, width; band name 3, kind, grid 8, mask 2, length 1, payload 3; CRC 4
    assert len(data) == 4 + 1 + 2 + 1 + 1 + 1 + 1 + 3 + 1 + 8 + 2 + 1 + 3 + 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: b"ABCD" + body[4:], "SRLC"),
        (lambda body: body[:4] + b"\x07" + body[5:], "version 7"),
        (lambda body: body[:7] + b"\x03" + body[8:], "quantity 3"),
        (lambda body: body[:7] + b"\x3c" + body[8:], "sample type 15"),
        (lambda body: body[:9] + b"\xff\xff\xff\xff\x07" + body[10:], "impossible size"),
        (lambda body: body[:9] + b"\xff\xff\xff\xff\xff\x7f" + body[10:], "too many digits"),
        (lambda body: body[:-3], "bytes left"),
        (lambda body: body + b"x", "too many"),
        (lambda body: body[:14] + b"\x09" + body[15:], "kind 9"),
        # 4 × 2^21 samples in 3 bytes
        (lambda body: body[:10] + b"\x80\x80\x80\x01" + body[11:], "cannot hold"),
    ],
)
def test_hostile_headers_are_refused_before_anything_is_allocated(change, message):
    with pytest.raises(BitstreamError, match=message):
        srlc.unpack(signed(change(packed()[:-4])))


def test_a_deflated_bomb_and_a_mask_of_a_few_bytes_are_refused():
    with pytest.raises(BitstreamError):
        srlc.inflate(zlib.compress(bytes(10**7), 9), 1000)
    with pytest.raises(BitstreamError, match="3 bytes cannot hold a mask"):
        srlc.unpack_mask(srlc.CODED_MASK, b"abc", (1 << 10, 1 << 10))
    with pytest.raises(BitstreamError, match="unknown kind"):
        srlc.unpack_mask(2, b"abc", (4, 4))


def box(name, content):
    return (len(content) + 8).to_bytes(4, "big") + name + content


def test_codestreams_count_without_their_containers():
    """JPEG 2000 is bare, HEVC lies in boxes, of which the parameter sets belong to its codestream."""
    mask = np.ones((8, 8), bool)
    boxes = box(b"ftyp", b"heic0000") + box(b"meta", b"????" + box(b"hvcC", b"p" * 30)) + box(b"mdat", b"m" * 500)
    riff = b"RIFF" + bytes(16) + b"v" * 70
    for payload, expected in ((boxes, 530), (riff, 70), (b"\xff\x4f" + b"j" * 98, 100)):
        band = srlc.Band("VV", mask, srlc.CODED, 0.0, 1.0, payload)
        data = srlc.pack(srlc.Contents("any", "db", (8, 8), (band, band)))
        assert srlc.codestream_bytes(data) == 2 * expected
