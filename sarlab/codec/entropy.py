"""Adaptive binary range coding: whole numbers and masks to bytes and back, in integer arithmetic.

A number is a row of binary decisions: is its magnitude above 0, above 1, …; then the exponent and the leading digits of the rest;
then the sign. Each decision has a probability in its context. Probabilities start from given values and follow what occurs, as the
mean of a fast and a slow average. Every machine computes the same integers, so every machine decodes the same numbers.

Encoders first list the decisions of a stream, each with the probability of its context, and then code the list. Decoders do both
at once, with [code, range, bytes read] as their state.

References
----------
Martin 1979 (range coder); Marpe, Schwarz & Wiegand 2003 (binary decisions in adaptive contexts).
"""

from __future__ import annotations

import numpy as np

from sarlab.codec.compiled import kernel
from sarlab.errors import BitstreamError

#: Decisions by which a magnitude is coded one by one; slots of the exponent; slots of a context in all.
UNARY, EXPONENTS = 4, 12
SLOTS = UNARY + 3 * EXPONENTS
#: Largest exponent of a magnitude: numbers of 32 bits, and their differences.
LARGEST_EXPONENT = 32
#: In place of a number that no encoder writes.
DAMAGED = -(1 << 62)
#: Probability of a decision that is not modeled.
EVEN = 32768
#: Share of the difference by which probabilities follow, in 1/65536: at least these, and 1/n after n decisions.
_FAST, _SLOW = 700, 220
_RATES = np.array([min(32767, int(65536 / (n + 1.6))) for n in range(256)], np.int64)
#: Extremes of a probability, in 1/65536.
_LEAST, _MOST = 24, 65536 - 24
_TOP, _MASK = np.uint64(1 << 24), np.uint64(0xFFFFFFFF)


# --- probabilities -----------------------------------------------------------------------------------------------------


@kernel
def _probability(probabilities, context):
    return min(max((probabilities[context, 0] + probabilities[context, 1]) >> 1, _LEAST), _MOST)


@kernel
def _learn(probabilities, counts, context, bit):
    count = counts[context]
    # Steps are rounded away from zero, so that ones and zeros are equal.
    target, up = (65536, 65535) if bit else (0, 0)
    rate = _RATES[count]
    probabilities[context, 0] += ((target - probabilities[context, 0]) * max(rate, _FAST) + up) >> 16
    probabilities[context, 1] += ((target - probabilities[context, 1]) * max(rate, _SLOW) + up) >> 16
    if count < 255:
        counts[context] = count + 1


# --- range coder -------------------------------------------------------------------------------------------------------


@kernel
def encode(decisions, out):
    """Code a list of decisions: uint32, probability of a 1 | decision << 16; returns the number of bytes.

    The stream ends with as few bytes as identify its interval, because decoders read zeros after the end.
    """
    low, width = np.uint64(0), _MASK
    written, pending, last = 0, 0, -1  # bytes; bytes that a carry may still change, and the byte before them
    for place in range(decisions.size):
        decision = decisions[place]
        bound = (width >> np.uint64(16)) * np.uint64(decision & 0xFFFF)
        if decision >> 16:
            width = bound
        else:
            low += bound
            width -= bound
        while width < _TOP:
            width <<= np.uint64(8)
            written, pending, last = _shift(low, out, written, pending, last)
            low = (low << np.uint64(8)) & _MASK
    for kept in range(4):
        rest = (np.uint64(1) << np.uint64(32 - 8 * kept)) - np.uint64(1)
        rounded = (low + rest) & ~rest
        if rounded < low + width:
            low = rounded
            break
    for _ in range(5):
        written, pending, last = _shift(low, out, written, pending, last)
        low = (low << np.uint64(8)) & _MASK
    while written > 0 and out[written - 1] == 0:
        written -= 1
    return written


@kernel
def _shift(low, out, written, pending, last):
    """Move the highest byte of the interval to the output, with a carry into the bytes before."""
    if np.uint64(0xFF000000) <= low <= _MASK:
        return written, pending + 1, last
    carry = np.int64(low >> np.uint64(32))
    if last >= 0:
        out[written] = last + carry
        written += 1
    for _ in range(pending):
        out[written] = 255 + carry
        written += 1
    return written, 0, np.int64((low >> np.uint64(24)) & np.uint64(0xFF))


def pack(decisions: np.ndarray) -> bytes:
    """Code a list of decisions."""
    out = np.empty(2 * len(decisions) + 8, np.uint8)
    return out[: encode(decisions, out)].tobytes()


def open_decoder(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """State of a decoder, and its data as an array."""
    code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
    return np.array([code, _MASK, 4], np.uint64), np.frombuffer(data, np.uint8)


@kernel
def get_bit(decoder, data, probability):
    bound = (decoder[1] >> np.uint64(16)) * np.uint64(probability)
    if decoder[0] < bound:
        decoder[1] = bound
        bit = 1
    else:
        decoder[0] -= bound
        decoder[1] -= bound
        bit = 0
    while decoder[1] < _TOP:
        read = decoder[2]
        byte = np.uint64(data[read]) if read < np.uint64(data.size) else np.uint64(0)
        decoder[0] = ((decoder[0] << np.uint64(8)) | byte) & _MASK
        decoder[1] = (decoder[1] << np.uint64(8)) & _MASK
        decoder[2] = read + np.uint64(1)
    return bit


# --- magnitudes --------------------------------------------------------------------------------------------------------


def room(count: int, largest: int) -> int:
    """Most decisions that `count` whole numbers take, if none is beyond `largest` in magnitude."""
    return count * (UNARY + 4 + 2 * int(largest).bit_length())


@kernel
def put_decision(probabilities, counts, context, bit, decisions, contexts, n):
    decisions[n] = _probability(probabilities, context) | bit << 16
    if contexts.size:
        contexts[n] = context
    _learn(probabilities, counts, context, bit)
    return n + 1


@kernel
def put_even(bit, decisions, contexts, n):
    decisions[n] = EVEN | bit << 16
    if contexts.size:
        contexts[n] = -1
    return n + 1


@kernel
def put_value(probabilities, counts, context, value, decisions, contexts, n):
    """List the decisions of a whole number from place `n` on; returns the next place."""
    n = put_magnitude(probabilities, counts, context, abs(value), decisions, contexts, n)
    return put_even(1 if value < 0 else 0, decisions, contexts, n) if value else n


@kernel
def put_magnitude(probabilities, counts, context, magnitude, decisions, contexts, n):
    """List the decisions of a whole number that is not negative."""
    for i in range(min(magnitude, UNARY)):
        n = put_decision(probabilities, counts, context + i, 1, decisions, contexts, n)
    if magnitude < UNARY:
        n = put_decision(probabilities, counts, context + magnitude, 0, decisions, contexts, n)
    else:
        rest, exponent = magnitude - UNARY + 1, 0
        while rest >> (exponent + 1):
            exponent += 1
        for i in range(exponent):
            slot = context + UNARY + min(i, EXPONENTS - 1)
            n = put_decision(probabilities, counts, slot, 1, decisions, contexts, n)
        slot = context + UNARY + min(exponent, EXPONENTS - 1)
        n = put_decision(probabilities, counts, slot, 0, decisions, contexts, n)
        for digit in range(1, exponent + 1):
            bit = (rest >> (exponent - digit)) & 1
            if digit <= 2:
                n = put_decision(probabilities, counts, slot + digit * EXPONENTS, bit, decisions, contexts, n)
            else:
                n = put_even(bit, decisions, contexts, n)
    return n


@kernel
def get_decision(decoder, data, probabilities, counts, context):
    bit = get_bit(decoder, data, _probability(probabilities, context))
    _learn(probabilities, counts, context, bit)
    return bit


@kernel
def get_value(decoder, data, probabilities, counts, context):
    """Invert `put_value`; `DAMAGED` if no encoder writes such a number."""
    magnitude = get_magnitude(decoder, data, probabilities, counts, context)
    return -magnitude if magnitude > 0 and get_bit(decoder, data, EVEN) else magnitude


@kernel
def get_magnitude(decoder, data, probabilities, counts, context):
    """Invert `put_magnitude`; `DAMAGED` likewise."""
    magnitude = 0
    while magnitude < UNARY and get_decision(decoder, data, probabilities, counts, context + magnitude):
        magnitude += 1
    if magnitude == UNARY:
        exponent = 0
        while get_decision(decoder, data, probabilities, counts, context + UNARY + min(exponent, EXPONENTS - 1)):
            exponent += 1
            if exponent > LARGEST_EXPONENT:
                return DAMAGED
        slot, rest = context + UNARY + min(exponent, EXPONENTS - 1), 1
        for digit in range(1, exponent + 1):
            if digit <= 2:
                rest = 2 * rest + get_decision(decoder, data, probabilities, counts, slot + digit * EXPONENTS)
            else:
                rest = 2 * rest + get_bit(decoder, data, EVEN)
        magnitude = rest + UNARY - 1
    return magnitude


# --- lists of numbers --------------------------------------------------------------------------------------------------


def pack_numbers(values: np.ndarray, probabilities: np.ndarray, counts: np.ndarray) -> bytes:
    """Code whole numbers with one context: int64 to a stream of bytes."""
    decisions = np.empty(room(len(values), np.abs(values).max(initial=0)), np.uint32)
    return pack(decisions[: _put_numbers(values, probabilities, counts, decisions, np.empty(0, np.int32))])


def unpack_numbers(data: bytes, count: int, probabilities: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Invert `pack_numbers`: int64, shape (count,). Raises `BitstreamError`."""
    values = np.zeros(count, np.int64)
    if not _get_numbers(*open_decoder(data), values, probabilities, counts):
        raise BitstreamError("the entropy-coded data is damaged")
    return values


@kernel
def _put_numbers(values, probabilities, counts, decisions, contexts):
    n = 0
    for place in range(values.size):
        n = put_value(probabilities, counts, 0, values[place], decisions, contexts, n)
    return n


@kernel
def _get_numbers(decoder, data, values, probabilities, counts):
    for place in range(values.size):
        values[place] = get_value(decoder, data, probabilities, counts, 0)
        if values[place] == DAMAGED:
            return False
    return True


# --- masks -------------------------------------------------------------------------------------------------------------


@kernel
def _neighborhood(mask, i, j):
    """Context of a sample of a mask: its four neighbors that are known, and one at a distance of two on both axes."""
    width = mask.shape[1]
    left, above = mask[i, max(j - 1, 0)] if j else False, mask[i - 1, j] if i else False
    before, after = mask[i - 1, j - 1] if i and j else above, mask[i - 1, j + 1] if i and j + 1 < width else above
    far = (mask[i, j - 2] if j > 1 else left), (mask[i - 2, j] if i > 1 else above)
    return left + 2 * above + 4 * before + 8 * after + 16 * far[0] + 32 * far[1]


@kernel
def _put_mask(mask, probabilities, counts, decisions, contexts):
    n = 0
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            bit = 1 if mask[i, j] else 0
            n = put_decision(probabilities, counts, _neighborhood(mask, i, j), bit, decisions, contexts, n)


@kernel
def _get_mask(decoder, data, mask, probabilities, counts):
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            mask[i, j] = get_decision(decoder, data, probabilities, counts, _neighborhood(mask, i, j))


def _mask_start() -> tuple[np.ndarray, np.ndarray]:
    return np.full((64, 2), EVEN, np.int64), np.zeros(64, np.uint8)


def pack_mask(mask: np.ndarray) -> bytes:
    """Code a mask: bool, shape (H, W)."""
    decisions = np.empty(mask.size, np.uint32)
    _put_mask(np.ascontiguousarray(mask), *_mask_start(), decisions, np.empty(0, np.int32))
    return pack(decisions)


def unpack_mask(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Invert `pack_mask`. Any bytes are some mask."""
    mask = np.zeros(shape, np.bool_)
    _get_mask(*open_decoder(data), mask, *_mask_start())
    return mask


# --- lengths -----------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """Write a count: 7 bits per byte, lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def cut(data: bytes) -> tuple[bytes, bytes]:
    """Split `data` into a stream, whose length it begins with, and the rest. Raises `BitstreamError`."""
    size = 0
    for position, byte in enumerate(data[:5]):
        size |= (byte & 127) << 7 * position
        if byte < 128:
            start = position + 1
            if start + size > len(data):
                break
            return data[start : start + size], data[start + size :]
    raise BitstreamError("the entropy-coded data is damaged: a stream is longer than the tile")
