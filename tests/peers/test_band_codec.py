"""What the classical codecs share: the integer grid, the fill of nodata, and the container, which refuses hostile files."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import BitstreamError
from sarlab.peers import band_codec, bounded
from sarlab.peers.band_codec import Grid, filled


@given(
    st.floats(-300, 300, width=32), st.floats(2.0**-20, 400, width=32), st.sampled_from([1, 255, 1023, 4095, 65535]),
    st.integers(0, 2**31),
)  # fmt: skip
@settings(max_examples=200)
def test_grid_clips_nothing_and_rounds_to_half_a_step(low, span, top, seed):
    plane = np.float32(low) + np.float32(span) * np.random.default_rng(seed).random((5, 7), np.float32)
    if plane.min() == plane.max():
        return
    grid = Grid.spanning(plane, top)
    codes = grid.codes(plane)
    assert codes.min() == 0
    assert codes.max() <= top
    error = np.abs(grid.offset + grid.step * codes - plane.astype(np.float64))
    assert error.max() <= 0.5 * grid.step * (1 + 1e-9)
    assert np.float32(grid.step) == grid.step
    assert np.float32(grid.offset) == grid.offset


@settings(max_examples=50)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_filled_samples_lie_between_the_valid_ones(rows, columns, share, seed):
    generator = np.random.default_rng(seed)
    plane = generator.normal(-10, 5, (rows, columns)).astype(np.float32)
    valid = generator.random(plane.shape) < share
    valid[generator.integers(rows), generator.integers(columns)] = True
    found = filled(np.where(valid, plane, np.nan).astype(np.float32), valid)
    assert np.array_equal(found[valid], plane[valid])
    assert plane[valid].min() - 1e-4 <= found.min()
    assert found.max() <= plane[valid].max() + 1e-4


def signed(data):
    return data + struct.pack("<I", zlib.crc32(data))


BAND = band_codec.Band("VV", np.ones((4, 5), bool), band_codec.CODED, -20.5, 0.25, b"abc")
PACKED = band_codec.pack(band_codec.Contents("x", "db", (4, 5), (BAND,)))


def test_container_round_trip_counts_every_field():
    contents = band_codec.unpack(PACKED, "x")
    assert (contents.codec, contents.quantity, contents.shape) == ("x", "db", (4, 5))
    assert (contents.bands[0].offset, contents.bands[0].step, contents.bands[0].payload) == (-20.5, 0.25, b"abc")
    # magic 4, version, name 2, quantity, bands, height, width; band name 3, kind, grid 8, mask 2, length 1, payload 3; CRC 4
    assert len(PACKED) == 4 + 1 + 2 + 1 + 1 + 1 + 1 + 3 + 1 + 8 + 2 + 1 + 3 + 4


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
        band_codec.unpack(signed(change(PACKED[:-4])))


def test_a_deflated_bomb_and_a_mask_of_a_few_bytes_are_refused():
    with pytest.raises(BitstreamError):
        bounded.inflate(zlib.compress(bytes(10**7), 9), 1000)
    with pytest.raises(BitstreamError, match="3 bytes cannot hold a mask"):
        band_codec.unpack_mask(band_codec.CODED_MASK, b"abc", (1 << 10, 1 << 10))
    with pytest.raises(BitstreamError, match="unknown kind"):
        band_codec.unpack_mask(2, b"abc", (4, 4))


def box(name, content):
    return (len(content) + 8).to_bytes(4, "big") + name + content


def test_codestreams_count_without_their_containers():
    """JPEG 2000 is bare, HEVC lies in boxes, of which the parameter sets belong to its codestream."""
    mask = np.ones((8, 8), bool)
    boxes = box(b"ftyp", b"heic0000") + box(b"meta", b"????" + box(b"hvcC", b"p" * 30)) + box(b"mdat", b"m" * 500)
    riff = b"RIFF" + bytes(16) + b"v" * 70
    for payload, expected in ((boxes, 530), (riff, 70), (b"\xff\x4f" + b"j" * 98, 100)):
        band = band_codec.Band("VV", mask, band_codec.CODED, 0.0, 1.0, payload)
        data = band_codec.pack(band_codec.Contents("any", "db", (8, 8), (band, band)))
        assert band_codec.codestream_bytes(data) == 2 * expected
