"""Packing of integers against one big integer, and headers that come back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import BitstreamError
from sarlab.models.quantizers.quantizer import (
    MAX_EXTENT,
    pack_bits,
    packed_bytes,
    read_header,
    unpack_bits,
    write_header,
)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_packing_matches_one_big_integer(data):
    widths = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 7, 8, 10, 12, 16, 24, 32]), min_size=1, max_size=5))
    count = data.draw(st.integers(1, 9))
    rows = [data.draw(st.lists(st.integers(0, 2**w - 1), min_size=count, max_size=count)) for w in widths]
    packed = pack_bits(np.array(rows, np.int64), widths)
    total = count * sum(widths)
    number = 0
    for row, width in zip(rows, widths, strict=True):
        for value in row:
            number = number << width | value
    assert packed == (number << (-total % 8)).to_bytes(-(-total // 8), "big")
    assert len(packed) == packed_bytes(count, widths)
    assert unpack_bits(packed, count, widths).tolist() == rows


def test_packing_refuses_what_does_not_fit():
    for value in (-1, 16):
        with pytest.raises(BitstreamError, match="do not fit into 4 bits"):
            pack_bits(np.array([[3, value]]), [4])
    with pytest.raises(BitstreamError, match="damaged"):
        unpack_bits(b"\0\0", 1, [8])


@given(st.tuples(*[st.integers(1, MAX_EXTENT)] * 3))
@settings(max_examples=60, deadline=None)
def test_header_round_trip(shape):
    data = write_header(*shape)
    assert len(data) <= 12
    assert read_header(data + b"\x05tail") == (shape, len(data))


def test_damaged_headers_are_refused():
    for data in (b"", b"\x01\x01", b"\x01\x81", b"\xff" * 12, b"\x01\x00\x01"):
        with pytest.raises(BitstreamError):
            read_header(data)
    for shape in ((0, 1, 1), (1, 1, MAX_EXTENT + 1)):
        with pytest.raises(BitstreamError):
            write_header(*shape)
