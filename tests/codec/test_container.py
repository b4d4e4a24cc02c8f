"""The container: headers and payloads come back, and damaged input is refused."""

import contextlib
import io
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from forged import container
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.codec.container import DTYPES, MODELS, QUANTITIES, Header, StreamReader, unpack_header, write_container
from sarlab.codec.entropy import Cursor, varint
from sarlab.errors import BitstreamError, CodecError

PLAIN = Header("lapped-1", b"1234", 27.0, (1, 512, 512), ("VV",), (-12.25,), "db", "float32", 512)


def packed(header=PLAIN, payloads=None):
    file, count = io.BytesIO(b"before"), math.prod(header.grid)
    file.seek(6)
    write_container(file, header, zip(payloads or [b"payload" * 5] * count, range(count), strict=True))
    assert (file.getvalue()[:6], file.tell()) == (b"before", len(file.getvalue()))
    return file.getvalue()[6:]


def test_a_plain_header_is_small():
    with StreamReader(packed()) as reader:
        assert reader.header == PLAIN
        assert (reader.header_bytes, reader.index_bytes) == (32, 5)
    header = replace(PLAIN, shape=(1, 1500, 700))
    with StreamReader(packed(header, [bytes(20_000)] * 6)) as reader:
        assert (reader.header_bytes, reader.index_bytes) == (header.overhead, 6 * 7)
    large = np.random.default_rng(0).bytes(3 << 20)
    with StreamReader(packed(payloads=[large])) as reader:
        assert (reader.payload(0), reader.payload_start(0, 9)) == (large, large[:9])


@pytest.mark.parametrize(
    ("field", "fine", "impossible"),
    [("tile", (64, 1024), (0, 32, 96, 1088)), ("native_bits", (1, 128), (0, 129)),
     ("shape", ((1, 1, 2**24 - 1), (1, 2**24 - 1, 1)), ((1, 1, 2**24), (1, 2**24, 1), (1, 0, 1), (1, 1, 0), (2**16, 1, 1)))],
)  # fmt: skip
def test_sizes_up_to_their_limits_come_back_and_others_are_refused(field, fine, impossible):
    for header in (replace(PLAIN, **{field: value}) for value in fine):
        assert unpack_header(Cursor(header.pack())) == header
    for header in (replace(PLAIN, **{field: value}) for value in impossible):
        with pytest.raises(CodecError, match="impossible"):
            header.pack()


def test_unknown_kinds_of_samples_and_flags_are_refused():
    fields, known = PLAIN.pack(), []
    for kind in range(64):
        with contextlib.suppress(BitstreamError):
            header = unpack_header(Cursor(fields[:13] + bytes([kind]) + fields[14:]))
            known.append((header.dtype, header.quantity))
    assert known == [*itertools.product(DTYPES, QUANTITIES)]
    with pytest.raises(BitstreamError, match="flags"):
        unpack_header(Cursor(varint(1 << 8) + fields[1:]))


names = st.text(max_size=12) | st.sampled_from(["VV", "VH", "band1"])
values = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | names


@st.composite
def headers(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 300), st.integers(1, 300)))
    each = lambda values: st.tuples(*[values] * shape[0])  # noqa: E731
    return Header(
        draw(st.sampled_from(MODELS) | names), draw(st.binary(min_size=4, max_size=4)), draw(st.integers(0, 65535)) / 256,
        shape, draw(each(names)), draw(each(st.integers(-32768, 32767).map(lambda center: center / 64))),
        draw(st.sampled_from(QUANTITIES)), draw(st.sampled_from(DTYPES)), draw(st.sampled_from([64, 128, 512, 1024])),
        draw(st.integers(1, 64)), draw(st.none() | each(st.floats(width=32, allow_nan=False))),
        draw(st.none() | each(st.floats(width=32, allow_nan=False))), draw(st.none() | st.floats(allow_nan=False)),
        draw(st.dictionaries(names, values, max_size=3)), draw(st.binary(max_size=20)), draw(st.binary(max_size=20)),
        draw(st.booleans()),
    )  # fmt: skip


@given(headers(), st.integers(0, 99))
@settings(max_examples=100)
def test_every_header_comes_back(header, seed):
    rng, count = np.random.default_rng(seed), header.grid[0] * header.grid[1]
    payloads = [rng.bytes(rng.integers(0, 60)).ljust(header.least_payload(i), b"\1") for i in range(count)]
    with StreamReader(packed(header, payloads)) as reader:
        assert reader.header == header
        assert [reader.payload(i) for i in range(count)] == payloads
        assert [reader.check(i) for i in range(count)] == list(range(count))


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "truncated"), (b"II*\0" + bytes(100), "does not begin"), (b"SA", "truncated"), (b"SARL\1" + bytes(4), "truncated"),
     (packed()[:12], "truncated"), (packed()[:30], "truncated"), (packed()[:-1], "truncated"), (packed() + b"\0", "longer"),
     (b"SARL\7" + packed()[5:], "version 7")],
)  # fmt: skip
def test_what_is_wrong_is_said(data, message):
    with pytest.raises(BitstreamError, match=message):
        StreamReader(data)


def test_every_single_flipped_bit_is_noticed():
    data = packed()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError), StreamReader(bytes(damaged)) as reader:
            reader.payload(0)


def test_payloads_are_padded_to_what_their_samples_may_take():
    with StreamReader(packed(replace(PLAIN, shape=(1, 1024, 512)), [b"", b"x"])) as reader:
        assert reader.payload(0) == bytes(512 * 512 // 2**15)
        assert reader.payload(1)[:1] == b"x"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"shape": (1, 1 << 23, 1 << 23)}, "no room"), ({"shape": (1, 1024, 1024), "tile": 1024}, "too few for its size"),
     ({"shape": (200, 512, 512), "bands": ("x",) * 200, "centers": (0.0,) * 200}, "too few for its size")],
)  # fmt: skip
def test_sizes_that_the_input_does_not_justify_are_refused(changes, message):
    """A file whose header claims something else than it has, checksum and all."""
    header = replace(PLAIN, **changes)
    with pytest.raises(BitstreamError, match=message):
        StreamReader(container(header.pack(), [bytes([8, 0, 0, 0, 0])], bytes(8)))
