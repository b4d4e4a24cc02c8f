"""Range coder: round trips, a second decoder written from the format's description, sizes, and hostile input."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import INDICES, LARGEST, Table, code_bits, family_table, split_index, table_from_histogram
from sarlab.errors import BitstreamError, CodecError

sys.path.insert(0, str(Path(__file__).parent))
from range_decoder import PlainDecoder, cumulative_of_uniform, plain_indexed


def draw(rng, count, spread=1.0):
    indices = rng.integers(0, INDICES, count)
    values = np.rint(spread * rng.laplace(size=count) * 2.0 ** ((indices - 32) / 8)).astype(np.int64)
    return np.clip(values, -LARGEST, LARGEST), indices


@given(
    values=st.lists(st.integers(-LARGEST, LARGEST) | st.integers(-3, 3), max_size=60),
    seed=st.integers(0, 2**32 - 1),
    family=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_any_integers_come_back(values, seed, family):
    values = np.array(values, np.int64)
    indices = np.random.default_rng(seed).integers(0, INDICES, len(values))
    encoder = RangeEncoder()
    encoder.encode_indexed(values, indices, family)
    encoder.encode(values, family_table(family, 30))
    decoder = RangeDecoder(encoder.finish())
    assert (decoder.decode_indexed(indices, family) == values).all()
    assert (decoder.decode(len(values), family_table(family, 30)) == values).all()


@pytest.mark.parametrize("family", range(4))
def test_a_second_decoder_reads_the_same_values(family):
    rng = np.random.default_rng(family)
    values, indices = draw(rng, 600, spread=2.0)
    values[:3] = [LARGEST, -LARGEST, 70000]
    encoder = RangeEncoder()
    encoder.encode_indexed(values, indices, family)
    encoder.encode_uniform(values % 300, 300)
    plain = PlainDecoder(encoder.finish())
    tables = []
    for index in range(INDICES):
        number, shift = split_index(index)
        table = family_table(family, number)
        tables.append((table.counts.tolist(), table.low, shift))
    assert plain_indexed(plain, tables, indices.tolist()) == values.tolist()
    assert [plain.symbol(cumulative_of_uniform(300)) for _ in values] == (values % 300).tolist()


def test_shape_is_kept():
    rng = np.random.default_rng(0)
    values, indices = draw(rng, 120)
    encoder = RangeEncoder()
    encoder.encode_indexed(values.reshape(4, 5, 6), indices.reshape(4, 5, 6))
    assert RangeDecoder(encoder.finish()).decode_indexed(indices.reshape(4, 5, 6)).shape == (4, 5, 6)


def test_size_is_the_ideal_one_within_two_bytes():
    rng = np.random.default_rng(1)
    for count in (0, 1, 5, 50, 500, 20000):
        indices = rng.integers(16, 64, count)
        values = np.rint(rng.laplace(size=count) * 2.0 ** ((indices - 32) / 8) / np.sqrt(2)).astype(int)
        encoder = RangeEncoder()
        encoder.encode_indexed(values, indices, 2)
        bits = sum(float(code_bits(family_table(2, i), 0, v)) for v, i in zip(values, indices, strict=True))
        assert -2 <= len(encoder.finish()) - bits / 8 <= 2 + 0.002 * bits / 8


def test_matched_table_reaches_the_entropy():
    rng = np.random.default_rng(2)
    values = np.rint(rng.normal(size=100_000) * 3).astype(int)
    p = np.bincount(values - values.min()) / len(values)
    entropy = -(p[p > 0] * np.log2(p[p > 0])).sum() / 8 * len(values)
    index = round(32 + 8 * np.log2(3))
    encoder = RangeEncoder()
    encoder.encode_indexed(values, np.full(len(values), index))
    assert entropy < len(encoder.finish()) < 1.005 * entropy


def test_rows_are_like_one_table_after_another():
    rng = np.random.default_rng(3)
    indices, families = rng.integers(0, INDICES, 20), rng.integers(0, 4, 20)
    values = np.rint(rng.laplace(size=(20, 50)) * 2.0 ** ((indices[:, None] - 32) / 8)).astype(np.int64)
    values = np.clip(values, -LARGEST, LARGEST)
    encoder = RangeEncoder()
    encoder.encode_rows(values, indices, families)
    assert (RangeDecoder(encoder.finish()).decode_rows(50, indices, families) == values).all()
    one, two = RangeEncoder(), RangeEncoder()
    one.encode_rows(values[:1], indices[:1], families[:1])
    two.encode_indexed(values[0], np.full(50, indices[0]), int(families[0]))
    assert one.finish() == two.finish()


def test_learned_static_table_without_escape():
    table = table_from_histogram(np.array([1, 10, 100]), low=5, escape=False)
    encoder = RangeEncoder()
    encoder.encode(np.array([5, 6, 7, 7]), table)
    assert RangeDecoder(encoder.finish()).decode(4, table).tolist() == [5, 6, 7, 7]
    with pytest.raises(CodecError, match="without escape"):
        RangeEncoder().encode(np.array([8]), table)


def test_a_sequence_of_tables():
    tables = [table_from_histogram(np.array([5, 1, 1]), low=-1), Table(np.array([32768, 32767, 1]), 0)]
    values, indices = np.array([-1, 0, 1, 9, -9]), np.array([0, 1, 1, 0, 1])
    encoder = RangeEncoder()
    encoder.encode_indexed(values, indices, tables)
    assert RangeDecoder(encoder.finish()).decode_indexed(indices, tables).tolist() == values.tolist()


def test_damaged_bytes_end_in_values_or_an_error():
    rng = np.random.default_rng(4)
    values, indices = draw(rng, 300)
    encoder = RangeEncoder()
    encoder.encode_indexed(values, indices)
    data = bytearray(encoder.finish())
    refused = 0
    for _ in range(2000):
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 6)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        damaged = damaged[: rng.integers(len(damaged) + 1)]
        try:
            decoded = RangeDecoder(bytes(damaged)).decode_indexed(indices)
        except BitstreamError:
            refused += 1
        else:
            assert decoded.shape == indices.shape
            assert np.abs(decoded).max() <= LARGEST
    assert 0 < refused < 2000


def test_wrong_input_is_refused():
    encoder = RangeEncoder()
    with pytest.raises(CodecError, match="integers"):
        encoder.encode_indexed(np.zeros(3), np.zeros(3, int))
    with pytest.raises(CodecError, match="table indices"):
        encoder.encode_indexed(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(CodecError, match="scale index"):
        encoder.encode_indexed(np.zeros(3, int), np.full(3, INDICES))
    with pytest.raises(CodecError, match="do not lie"):
        encoder.encode_uniform(np.array([4]), 4)


def test_nothing_is_nothing():
    encoder = RangeEncoder()
    encoder.encode_indexed(np.empty(0, int), np.empty(0, int))
    assert encoder.finish() == b""
    assert RangeDecoder(b"").decode_indexed(np.empty(0, int)).size == 0
