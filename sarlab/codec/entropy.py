"""Adaptive binary range coding: whole numbers and masks to bytes and back, in integer arithmetic.

A number is a row of binary decisions: is its magnitude above 0, above 1, …; then the exponent and the leading digits of the rest;
then the sign. Each decision has a probability in its *context*. Probabilities start from given values and follow what occurs, as
the mean of a fast and a slow average. Every machine computes the same integers, so every machine decodes the same numbers.

`code_decision`, `code_value` and all that is built on them work in both directions: they take the value to encode and return it, or
ignore it and return the decoded one. So encoder and decoder cannot disagree about contexts. An encoder lists the decisions of a
stream, each with the probability of its context, and `pack` codes the list. The functions of a codec look like this:

    coder = encoder(contexts(start, count), room(values.size, largest))      coder = decoder(contexts(start, count), data)
    walk(coder, values)                                                      walk(coder, values)  # fills them in
    data = pack(listed(coder))

References
----------
Martin 1979 (range coder); Marpe, Schwarz & Wiegand 2003 (binary decisions in adaptive contexts).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sarlab.errors import BitstreamError
from sarlab.models.compiled import kernel

#: Decisions by which a magnitude is coded one by one; slots of the exponent; slots of a context in all.
UNARY, EXPONENTS = 4, 12
SLOTS = UNARY + 3 * EXPONENTS
#: Largest exponent of a magnitude: numbers of 32 bits, and their differences.
LARGEST_EXPONENT = 32
#: In place of a number that no encoder writes.
DAMAGED = -(1 << 62)
#: Probability of a decision that is not modeled.
EVEN = 32768
#: Share of the difference by which both averages follow after n decisions, in 1/65536; the fast one follows by at least this.
_FAST = 700
_RATES = np.array([min(32767, int(65536 / (n + 1.6))) for n in range(256)], np.int64)
#: Extremes of a probability, in 1/65536.
_LEAST, _MOST = 24, 65536 - 24
#: Most values in the lists and maps of a block of fields.
MOST_VALUES = 1 << 20
_TOP, _MASK = np.uint64(1 << 24), np.uint64(0xFFFFFFFF)


class Coder(NamedTuple):
    """An encoder or a decoder of one stream; an encoder has no data, and a decoder no room for decisions."""

    #: Code, range, bytes read, decisions listed: uint64.
    state: np.ndarray
    #: uint8.
    data: np.ndarray
    #: Probability of a 1 | decision << 16 | context << 17, −1 for decisions that are not modeled: int64.
    decisions: np.ndarray
    #: Fast and slow average, each the probability of a 1 in 1/65536, and number of decisions: int64, shape (contexts, 3).
    contexts: np.ndarray


def contexts(start: np.ndarray, count: int) -> np.ndarray:
    """Make contexts from the start of their probabilities, which is worth `count` decisions."""
    return np.stack([start, start, np.full(len(start), count)], 1).astype(np.int64)


def checked_start(stored: np.ndarray, size: int) -> np.ndarray:
    """The start of `size` probabilities from a model's file, as int64. Raises `ValueError`."""
    start = stored.astype(np.int64)
    if start.shape != (size,) or start.min() <= 0 or start.max() >= 65536:
        raise ValueError("wrong probabilities")
    return start


def encoder(contexts: np.ndarray, room: int) -> Coder:
    """Return an encoder for at most `room` decisions. Its contexts change."""
    return Coder(np.zeros(4, np.uint64), np.empty(0, np.uint8), np.empty(room + 1, np.int64), contexts)


def decoder(contexts: np.ndarray, data: bytes) -> Coder:
    """Return a decoder. Its contexts change."""
    code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
    state = np.array([code, _MASK, 4, 0], np.uint64)
    return Coder(state, np.frombuffer(data, np.uint8), np.empty(0, np.int64), contexts)


def listed(coder: Coder) -> np.ndarray:
    """Decisions of an encoder."""
    return coder.decisions[: int(coder.state[3])]


def pack(decisions: np.ndarray) -> bytes:
    """Code a list of decisions."""
    out = np.empty(2 * len(decisions) + 8, np.uint8)
    return out[: _pack(decisions, out)].tobytes()


def room(count: int, largest: int) -> int:
    """Most decisions that `count` whole numbers take, if none is beyond `largest` in magnitude."""
    return count * (UNARY + 4 + 2 * int(largest).bit_length())


def tally(decisions: np.ndarray, size: int) -> np.ndarray:
    """Decisions and ones in each context: float64, shape (size, 2)."""
    modeled = decisions[decisions >= 0]
    return np.stack([np.bincount(modeled >> 17, weight, size) for weight in (None, modeled >> 16 & 1)], 1).astype(float)


# --- both directions ---------------------------------------------------------------------------------------------------


@kernel
def code_decision(coder, context, bit):
    """Code a decision and let its probability follow; returns the decision."""
    contexts = coder.contexts
    fast, slow, count = contexts[context, 0], contexts[context, 1], contexts[context, 2]
    bit = _code(coder, min(max((fast + slow) >> 1, _LEAST), _MOST), context, bit)
    # Steps are rounded away from zero, so that ones and zeros are equal.
    target, up = (65536, 65535) if bit else (0, 0)
    rate = _RATES[count]
    contexts[context, 0] = fast + (((target - fast) * max(rate, _FAST) + up) >> 16)
    contexts[context, 1] = slow + (((target - slow) * rate + up) >> 16)
    contexts[context, 2] = min(count + 1, 255)
    return bit


@kernel
def code_value(coder, context, value):
    """Code a whole number; returns it, or `DAMAGED` for one that no encoder writes."""
    magnitude = code_magnitude(coder, context, abs(value))
    return -magnitude if magnitude > 0 and _code(coder, EVEN, -1, 1 if value < 0 else 0) else magnitude


@kernel
def code_magnitude(coder, context, magnitude):
    """Code a whole number that is not negative."""
    found = 0
    while found < UNARY and code_decision(coder, context + found, 1 if magnitude > found else 0):
        found += 1
    if found < UNARY:
        return np.int64(found)
    rest, exponent = magnitude - UNARY + 1, 0
    while code_decision(coder, context + UNARY + min(exponent, EXPONENTS - 1), 1 if rest >> (exponent + 1) > 0 else 0):
        exponent += 1
        if exponent > LARGEST_EXPONENT:
            return np.int64(DAMAGED)
    slot, found = context + UNARY + min(exponent, EXPONENTS - 1), 1
    for digit in range(1, exponent + 1):
        bit = rest >> (exponent - digit) & 1
        bit = code_decision(coder, slot + digit * EXPONENTS, bit) if digit <= 2 else _code(coder, EVEN, -1, bit)
        found = 2 * found + bit
    return np.int64(found + UNARY - 1)


@kernel
def overrun(coder):
    """Return True if a decoder has read so far beyond its data that they must be damaged."""
    return coder.state[2] > coder.data.size + 8


@kernel
def _code(coder, probability, context, bit):
    """Code a decision of known probability; `context` is listed, −1 if there is none."""
    state = coder.state
    if coder.decisions.size:
        coder.decisions[state[3]] = context << 17 | bit << 16 | probability
        state[3] += np.uint64(1)
        return bit
    bound = (state[1] >> np.uint64(16)) * np.uint64(probability)
    bit = 1 if state[0] < bound else 0
    if bit:
        state[1] = bound
    else:
        state[0] -= bound
        state[1] -= bound
    while state[1] < _TOP:
        read = state[2]
        byte = np.uint64(coder.data[read]) if read < np.uint64(coder.data.size) else np.uint64(0)
        state[0] = ((state[0] << np.uint64(8)) | byte) & _MASK
        state[1] = (state[1] << np.uint64(8)) & _MASK
        state[2] = read + np.uint64(1)
    return bit


# --- decisions to bytes ------------------------------------------------------------------------------------------------


@kernel
def _pack(decisions, out):
    """Code a list of decisions; returns the number of bytes.

    The stream ends with as few bytes as identify its interval, because decoders read zeros after the end.
    """
    low, width = np.uint64(0), _MASK
    written, pending, last = 0, 0, -1  # bytes; bytes that a carry may still change, and the byte before them
    for place in range(decisions.size):
        decision = decisions[place]
        bound = (width >> np.uint64(16)) * np.uint64(decision & 0xFFFF)
        if decision >> 16 & 1:
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


# --- lists of numbers, and masks --------------------------------------------------------------------------------------


def pack_numbers(values: np.ndarray, contexts: np.ndarray) -> bytes:
    """Code whole numbers, int64, with the first context."""
    coder = encoder(contexts, room(len(values), np.abs(values).max(initial=0)))
    _code_numbers(coder, values)
    return pack(listed(coder))


def unpack_numbers(data: bytes, count: int, contexts: np.ndarray) -> np.ndarray:
    """Invert `pack_numbers`: int64, shape (count,). Raises `BitstreamError`."""
    values = np.zeros(count, np.int64)
    if not _code_numbers(decoder(contexts, data), values):
        raise BitstreamError("the entropy-coded data is damaged")
    return values


@kernel
def _code_numbers(coder, values):
    for place in range(values.size):
        values[place] = code_value(coder, 0, values[place])
        if values[place] == DAMAGED:
            return False
    return True


def pack_mask(mask: np.ndarray) -> bytes:
    """Code a mask: bool, shape (H, W)."""
    coder = encoder(contexts(np.full(64, EVEN), 0), mask.size)
    _code_mask(coder, np.array(mask))
    return pack(listed(coder))


def unpack_mask(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Invert `pack_mask`. Any bytes are some mask."""
    mask = np.zeros(shape, np.bool_)
    _code_mask(decoder(contexts(np.full(64, EVEN), 0), data), mask)
    return mask


@kernel
def _code_mask(coder, mask):
    """Code the samples in contexts of six neighbors: the four that are known, and those two above and two to the left."""
    height, width = mask.shape
    for i in range(height):
        for j in range(width):
            left, above = mask[i, max(j - 1, 0)] if j else False, mask[i - 1, j] if i else False
            before = mask[i - 1, j - 1] if i and j else above
            after = mask[i - 1, j + 1] if i and j + 1 < width else above
            far = (mask[i, j - 2] if j > 1 else left), (mask[i - 2, j] if i > 1 else above)
            context = left + 2 * above + 4 * before + 8 * after + 16 * far[0] + 32 * far[1]
            mask[i, j] = code_decision(coder, context, 1 if mask[i, j] else 0)


# --- fields -----------------------------------------------------------------------------------------------------------


class Cursor:
    """Read fields from bytes, never past their end."""

    def __init__(self, data: bytes):
        self.data, self.position, self.values_left = data, 0, MOST_VALUES

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise BitstreamError(f"damaged: a field of {count} bytes with {self.left} bytes left")
        self.position += count
        return self.data[self.position - count : self.position]

    def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def varint(self, digits: int = 5) -> int:
        value = 0
        for shift in range(0, 7 * digits, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise BitstreamError("damaged: a count has too many digits")

    def block(self) -> bytes:
        return self.take(self.varint())

    def text(self, count: int | None = None) -> str:
        """UTF-8 of `count` bytes; by default the count is read first, as a varint."""
        try:
            return self.take(self.varint() if count is None else count).decode()
        except UnicodeDecodeError:
            raise BitstreamError("damaged: a name is not UTF-8") from None

    def name(self, known: tuple[str, ...]) -> str:
        """A name, or its place in a list of known ones, counted from 1."""
        code = self.varint()
        if code > len(known):
            raise BitstreamError(f"damaged: no name has number {code}")
        return known[code - 1] if code else self.text()


def pack_block(data: bytes) -> bytes:
    return varint(len(data)) + data


def pack_name(value: str, known: tuple[str, ...]) -> bytes:
    return varint(known.index(value) + 1) if value in known else b"\0" + pack_block(value.encode())


def varint(value: int) -> bytes:
    """Write a count: 7 bits per byte, lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def join(streams: Sequence[bytes]) -> bytes:
    """Concatenate streams, all but the last one after their lengths."""
    return b"".join([*map(pack_block, streams[:-1]), streams[-1]])


def split(data: bytes, count: int) -> Iterator[bytes]:
    """Yield the streams of `join` one by one; the data need not reach beyond those that are used. Raises `BitstreamError`."""
    cursor = Cursor(data)
    for _ in range(count - 1):
        yield cursor.block()
    yield cursor.take(cursor.left)
