"""Parts of the classical codecs: grid, nodata fill, container, masks."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import BitstreamError
from sarlab.peers import container
from sarlab.peers.images import Jpeg, jpegxl_distance
from sarlab.peers.raster import Grid, fill_invalid


@settings(max_examples=200, deadline=None)
@given(
    low=st.floats(-300, 300, width=32),
    span=st.floats(2.0**-20, 400, width=32),
    top=st.sampled_from([1, 255, 1023, 4095, 65535]),
    seed=st.integers(0, 2**31),
)
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


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_filled_samples_lie_between_the_valid_ones(rows, columns, share, seed):
    generator = np.random.default_rng(seed)
    plane = generator.normal(-10, 5, (rows, columns)).astype(np.float32)
    valid = generator.random(plane.shape) < share
    valid[generator.integers(rows), generator.integers(columns)] = True
    filled = fill_invalid(np.where(valid, plane, np.nan).astype(np.float32), valid)
    assert np.array_equal(filled[valid], plane[valid])
    assert plane[valid].min() - 1e-4 <= filled.min()
    assert filled.max() <= plane[valid].max() + 1e-4


def test_a_hole_in_a_ramp_is_filled_smoothly():
    ramp = np.add.outer(np.arange(64.0), np.arange(64.0)).astype(np.float32)
    valid = np.ones((64, 64), bool)
    valid[20:40, 20:40] = False
    filled = fill_invalid(np.where(valid, ramp, np.nan).astype(np.float32), valid)
    jumps = [np.abs(np.diff(filled, axis=axis)).max() for axis in (0, 1)]
    # The ramp rises by 1 a sample, the hole is 20 wide: a constant fill would jump by 20.
    assert max(jumps) < 10


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
    method, data = container.pack_mask(valid)
    assert np.array_equal(container.unpack_mask(method, data, valid.shape), valid)
    assert bool(data) or valid.all()


def test_long_runs_of_a_mask_come_back_and_areas_are_cheap():
    valid = np.ones((600, 700), bool)
    valid[100:500] = False
    method, data = container.pack_mask(valid)
    assert np.array_equal(container.unpack_mask(method, data, valid.shape), valid)
    assert len(data) < 60


def packed(**changes):
    """A file of one band whose checksum fits, with some fields changed."""
    values = {"codec": "x", "quantity": "db", "shape": (4, 5)}
    band = {"name": "VV", "valid": np.ones((4, 5), bool), "kind": container.CODED, "payload": b"abc"}
    band.update({key: value for key, value in changes.items() if key in ("kind", "payload", "offset", "step")})
    values.update({key: value for key, value in changes.items() if key in values})
    return container.pack(container.Contents(bands=(container.Band(**band),), **values))


def signed(data):
    return data + struct.pack("<I", zlib.crc32(data))


def test_container_round_trip_counts_every_field():
    data = packed(offset=-20.5, step=0.25)
    contents = container.unpack(data, "x")
    assert (contents.codec, contents.quantity, contents.shape) == ("x", "db", (4, 5))
    assert (contents.bands[0].offset, contents.bands[0].step, contents.bands[0].payload) == (-20.5, 0.25, b"abc")
    # magic 4, version, name 2, quantity, bands, height, width; band name 3, kind, grid 8, mask 2, length 1, payload 3; CRC 4
    assert len(data) == 4 + 1 + 2 + 1 + 1 + 1 + 1 + 3 + 1 + 8 + 2 + 1 + 3 + 4
    assert container.codec_of(data) == "x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: b"ABCD" + body[4:], "SRLC"),
        (lambda body: body[:4] + b"\x07" + body[5:], "version 7"),
        (lambda body: body[:7] + b"\x03" + body[8:], "quantity 3"),
        (lambda body: body[:7] + b"\x3c" + body[8:], "sample type 15"),
        (lambda body: body[:9] + b"\xff\xff\xff\xff\x07" + body[10:], "impossible size"),
        (lambda body: body[:9] + b"\xff\xff\xff\xff\xff\x7f" + body[10:], "too many digits"),
        (lambda body: body[:-3], "too soon"),
        (lambda body: body + b"x", "too many"),
        (lambda body: body[:14] + b"\x09" + body[15:], "kind 9"),
        # 4 × 2^21 samples in 3 bytes
        (lambda body: body[:10] + b"\x80\x80\x80\x01" + body[11:], "cannot hold"),
    ],
)
def test_hostile_headers_are_refused_before_anything_is_allocated(change, message):
    with pytest.raises(BitstreamError, match=message):
        container.unpack(signed(change(packed()[:-4])))


def test_a_deflated_bomb_is_refused():
    bomb = zlib.compress(bytes(10**7), 9)
    with pytest.raises(BitstreamError):
        container.unpack_mask(container.RUNS, bomb, (20, 20))
    with pytest.raises(BitstreamError):
        container.inflate(bomb, 1000)


def test_jpeg_quality_is_continuous_in_the_step():
    # IJG: the step is proportional to 5000/q below 50 and to 200 − 2q above.
    for quality in (3.3, 12.0, 49.5, 50.0, 61.7, 88.2):
        level, gain = Jpeg().setting(quality)
        scale = 5000 / level if level < 50 else 200 - 2 * level
        wanted = 5000 / quality if quality < 50 else 200 - 2 * quality
        assert scale / gain == pytest.approx(wanted)


def test_jpegxl_distances_at_the_joints_of_its_scale():
    assert jpegxl_distance(100) == pytest.approx(0.1)
    assert jpegxl_distance(90) == pytest.approx(1.0)
    assert jpegxl_distance(0) == 25
    assert jpegxl_distance(29.999) == pytest.approx(jpegxl_distance(30), abs=0.1)
