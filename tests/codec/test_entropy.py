"""The adaptive range coder: anything comes back, sizes are those of information theory, damage ends."""

import numpy as np
import pytest
import second_decoder
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarlab.codec import entropy
from sarlab.errors import BitstreamError

LARGEST = 2**33 + 2
integers = st.lists(
    st.integers(-LARGEST, LARGEST) | st.integers(-9, 9) | st.sampled_from([0, LARGEST, -LARGEST]), max_size=60
)


def fresh(start=entropy.EVEN, count=0):
    return entropy.contexts(np.full(entropy.SLOTS, start), count)


def information(decisions):
    """Bits of decisions under their own probabilities."""
    decisions = np.asarray(decisions)
    one = (decisions & 0xFFFF) / 65536
    return float(-np.log2(np.where(decisions >> 16 & 1, one, 1 - one)).sum())


def assert_comes_back(decisions):
    """In both decoders, whether or not the zeros follow with which payloads are padded."""
    data = entropy.pack(np.array(decisions, np.int64))
    decoder, plain = entropy.decoder(fresh(), data + bytes(3)), second_decoder.RangeDecoder(data, None)
    for decision in decisions:
        probability, bit = decision & 0xFFFF, decision >> 16
        assert entropy._code(decoder, probability, 0, 0) == plain.bit(probability) == bit
    assert not data.endswith(b"\0")
    return data


@given(st.lists(st.tuples(st.integers(24, 65512) | st.sampled_from([24, 65512]), st.booleans()), max_size=300))
@settings(max_examples=200)
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


@given(integers, st.integers(1, 65535), st.integers(0, 255))
@settings(max_examples=200)
def test_numbers_come_back_in_both_decoders(values, start, count):
    data = entropy.pack_numbers(np.array(values, np.int64), fresh(start, count))
    assert entropy.unpack_numbers(data, len(values), fresh(start, count)).tolist() == values
    plain = second_decoder.RangeDecoder(data, second_decoder.contexts_of([start] * entropy.SLOTS, count))
    assert [plain.number(0) for _ in values] == values


@given(integers)
@settings(max_examples=100)
def test_there_is_room_for_all_decisions_and_sizes_are_their_information(values):
    room = entropy.room(len(values), max(map(abs, values), default=0))
    coder = entropy.encoder(fresh(), room + 1000)
    for value in values:
        assert entropy.code_value(coder, 0, value) == value
    decisions = entropy.listed(coder)
    assert len(decisions) <= room
    assert len(entropy.pack(decisions)) <= 1.01 * information(decisions) / 8 + 4
    count, ones = entropy.tally(decisions, entropy.SLOTS).T
    assert count.sum() == (decisions >= 0).sum()
    assert ones.sum() == (decisions[decisions >= 0] >> 16 & 1).sum()


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)))
@settings(max_examples=200)
def test_any_mask_comes_back_in_both_decoders(mask):
    data = entropy.pack_mask(mask)
    assert (entropy.unpack_mask(data, mask.shape) == mask).all()
    assert (second_decoder.mask_of(data, *mask.shape) == mask).all()


def test_the_border_of_a_swath_is_cheap():
    rows, columns = np.mgrid[:512, :512]
    assert len(entropy.pack_mask(0.37 * rows + columns > 200)) < 110  # 540 edge samples
    assert len(entropy.pack_mask(rows < 0)) < 20


@pytest.mark.parametrize("share", [1e-4, 1e-3, 1e-2, 0.1, 0.5])
def test_scattered_samples_cost_their_entropy(share):
    mask = np.random.default_rng(0).random((512, 512)) < share
    ideal = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * mask.size / 8
    assert len(entropy.pack_mask(mask)) < 1.08 * ideal + 60


def test_streams_are_split_again_and_probabilities_are_checked():
    parts = [b"", b"ab", bytes(200)]
    assert [*entropy.split(entropy.join(parts), 3)] == parts
    assert entropy.checked_start(np.array([1, 65535], np.uint16), 2).tolist() == [1, 65535]
    for wrong in ([0, 1], [1, 65536], [1]):
        with pytest.raises(ValueError, match="probabilities"):
            entropy.checked_start(np.array(wrong), 2)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x05abcd", b"\xff\xff\xff\xff\xff\x01abc", b"\x80\x80\x80\x80\x80\0"])
def test_impossible_lengths_are_refused(data):
    with pytest.raises(BitstreamError, match="damaged: a"):
        entropy.Cursor(data).block()
