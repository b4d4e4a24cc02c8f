"""The adaptive range coder: anything comes back, sizes are those of information theory, damage ends."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarlab.codec import entropy
from sarlab.errors import BitstreamError

sys.path.insert(0, str(Path(__file__).parent))
import second_decoder

LARGEST = 2**33 + 2
NO_CONTEXTS = np.empty(0, np.int32)
integers = st.lists(
    st.integers(-LARGEST, LARGEST) | st.integers(-9, 9) | st.sampled_from([0, LARGEST, -LARGEST]), max_size=60
)


def fresh(start=entropy.EVEN, count=0):
    return np.full((entropy.SLOTS, 2), start, np.int64), np.full(entropy.SLOTS, count, np.uint8)


def coded(decisions):
    decisions = np.array(decisions, np.uint32)
    out = np.empty(2 * len(decisions) + 8, np.uint8)
    return out[: entropy.encode(decisions, out)].tobytes()


def information(decisions):
    """Bits of decisions under their own probabilities."""
    decisions = np.asarray(decisions)
    one = (decisions & 0xFFFF) / 65536
    return float(-np.log2(np.where(decisions >> 16, one, 1 - one)).sum())


# --- range coder ------------------------------------------------------------------------------------------------------


def assert_comes_back(decisions):
    """In both decoders, whether or not the zeros follow with which payloads are padded."""
    data = coded(decisions)
    padded = np.frombuffer(data + bytes(3), np.uint8)
    decoder, plain = entropy.open_decoder(padded), second_decoder.RangeDecoder(data)
    for decision in decisions:
        probability, bit = decision & 0xFFFF, decision >> 16
        assert entropy.get_bit(decoder, padded, probability) == plain.bit(probability) == bit
    assert not data.endswith(b"\0")
    return data


@given(st.lists(st.tuples(st.integers(24, 65512) | st.sampled_from([24, 65512]), st.booleans()), max_size=300))
@settings(max_examples=200, deadline=None)
def test_decisions_come_back(decisions):
    assert_comes_back([probability | bit << 16 for probability, bit in decisions])


@pytest.mark.parametrize("above", [False, True])
def test_a_carry_runs_through_a_thousand_bytes(above):
    """The interval holds one half for thousands of decisions, and then lies below or above."""
    rng, decisions = np.random.default_rng(0), []
    low, width, half = 0, 2**32 - 1, 2**31
    while half < 2**8000:
        probability = int(rng.integers(20000, 45000))
        bound = (width >> 16) * probability
        bit = int(half < low + bound)
        low, width = (low, bound) if bit else (low + bound, width - bound)
        decisions.append(probability | bit << 16)
        while width < 2**24:
            low, width, half = 256 * low, 256 * width, 256 * half
    data = assert_comes_back([*decisions, *[entropy.EVEN | (not above) << 16] * 40])
    assert data[:900] == (b"\x80" + bytes(899) if above else b"\x7f" + b"\xff" * 899)


@pytest.mark.parametrize("share", [0.001, 0.03, 0.5, 0.98])
@pytest.mark.parametrize("count", [0, 1, 7, 100, 20_000])
def test_streams_are_as_long_as_their_information(share, count):
    ones = np.random.default_rng(0).random(count) < share
    decisions = round(65536 * share) | ones.astype(np.uint32) << 16
    ideal = information(decisions) / 8
    assert ideal - 1 <= len(coded(decisions)) <= 1.002 * ideal + 2


# --- numbers ----------------------------------------------------------------------------------------------------------


@given(integers, st.integers(1, 65535), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_numbers_come_back_in_both_decoders(values, start, count):
    data = entropy.pack_numbers(np.array(values, np.int64), *fresh(start, count))
    found = np.zeros(len(values), np.int64)
    assert entropy.get_numbers(np.frombuffer(data, np.uint8), found, *fresh(start, count))
    assert found.tolist() == values
    plain = second_decoder.RangeDecoder(data, second_decoder.Contexts([start] * entropy.SLOTS, count))
    assert [plain.number(0) for _ in values] == values


@given(integers)
@settings(max_examples=100, deadline=None)
def test_there_is_room_for_all_decisions_and_sizes_are_their_information(values):
    room = entropy.room(len(values), max(map(abs, values), default=0))
    decisions, n = np.zeros(room + 1000, np.uint32), 0
    probabilities, counts = fresh()
    for value in values:
        n = entropy.put_value(probabilities, counts, 0, value, decisions, NO_CONTEXTS, n)
    assert n <= room
    size = len(entropy.pack_numbers(np.array(values, np.int64), *fresh()))
    assert size <= 1.01 * information(decisions[:n]) / 8 + 4


@pytest.mark.parametrize("deviation", [0.3, 1.0, 4.0, 300.0])
def test_probabilities_adapt_to_a_distribution(deviation):
    """The size of many numbers is close to the entropy of their distribution, which the coder is not told."""
    values = np.rint(np.random.default_rng(1).laplace(0, deviation, 100_000)).astype(np.int64)
    counts = np.unique(values, return_counts=True)[1] / len(values)
    ideal = -(counts * np.log2(counts)).sum() * len(values) / 8
    size = len(entropy.pack_numbers(values, *fresh()))
    assert 0.99 * ideal < size < 1.03 * ideal + 10


def test_probabilities_follow_changes_and_keep_off_the_extremes():
    probabilities, counts = fresh()
    decisions = np.zeros(20_000, np.uint32)
    for n in range(20_000):
        entropy.put_decision(probabilities, counts, 0, int(n < 10_000), decisions, NO_CONTEXTS, n)
    one = decisions & 0xFFFF
    assert (np.diff(one[:10_000].astype(int)) >= 0).all()
    assert one[9_999] == one.max() == 65512
    assert one[-1] == one.min() == 24
    assert one[10_500] < 32768  # 500 decisions undo 10,000


@given(st.binary(max_size=60), st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_numbers_or_refused(data, count):
    """Never a value that no encoder writes, and bytes behind the end change nothing."""
    results = []
    for behind in (b"\0", b"\xff"):
        values = np.zeros(count, np.int64)
        array = np.frombuffer(data + 64 * behind, np.uint8)[: len(data)]
        results.append([values.tolist(), entropy.get_numbers(array, values, *fresh())])
    assert results[0] == results[1]
    assert not results[0][1] or max(map(abs, results[0][0]), default=0) <= LARGEST


def test_numbers_that_no_encoder_writes_are_refused_at_once():
    start = time.perf_counter()
    probabilities, counts = fresh(65500, 255)
    assert not entropy.get_numbers(np.zeros(0, np.uint8), np.zeros(10**6, np.int64), probabilities, counts)
    assert time.perf_counter() - start < 5


# --- masks and lengths ------------------------------------------------------------------------------------------------


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)))
@settings(max_examples=200, deadline=None)
def test_any_mask_comes_back_in_both_decoders(mask):
    data = entropy.pack_mask(mask)
    assert (entropy.unpack_mask(data, mask.shape) == mask).all()
    assert (second_decoder.mask_of(data, *mask.shape) == mask).all()


def test_cost_of_common_masks():
    rows, columns = np.mgrid[:512, :512]
    assert len(entropy.pack_mask(np.ones((512, 512), bool))) < 20
    assert len(entropy.pack_mask(np.zeros((512, 512), bool))) < 20
    assert len(entropy.pack_mask(0.37 * rows + columns > 200)) < 110  # 540 edge samples
    assert len(entropy.pack_mask((rows - 200) ** 2 + (columns - 260) ** 2 < 180**2)) < 280  # 1,130 edge samples


@pytest.mark.parametrize("share", [1e-4, 1e-3, 1e-2, 0.1, 0.5])
def test_scattered_samples_cost_their_entropy(share):
    mask = np.random.default_rng(0).random((512, 512)) < share
    ideal = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * mask.size / 8
    assert len(entropy.pack_mask(mask)) < 1.08 * ideal + 60


@given(st.binary(max_size=50))
@settings(deadline=None)
def test_any_bytes_are_some_mask(data):
    assert entropy.unpack_mask(data, (9, 7)).shape == (9, 7)


@given(st.lists(st.binary(max_size=300), max_size=5), st.binary(max_size=9))
def test_streams_behind_each_other_are_cut_apart(streams, rest):
    data = b"".join(entropy.varint(len(stream)) + stream for stream in streams) + rest
    for stream in streams:
        found, data = entropy.cut(data)
        assert found == stream
    assert data == rest


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x05abcd", b"\xff\xff\xff\xff\xff\x01abc", b"\x80\x80\x80\x80\x80\0"])
def test_impossible_lengths_are_refused(data):
    with pytest.raises(BitstreamError, match="longer than the tile"):
        entropy.cut(data)
