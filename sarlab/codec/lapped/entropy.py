"""Entropy coding of a tile: quantized coefficients to bytes and back, by adaptive binary range coding.

A magnitude is a row of binary decisions (is it above 0, above 1, …; then the exponent and the leading digits of the rest), each
with a probability of its own context. The context is made of

- the class of the coefficient's frequency: log2 of its standard deviation, as the spectrum in the header has it, over the step;
- the activity of the block: the sum of the magnitudes in frequencies that are coded before, compared to what their classes let
  expect, in the block itself and, with less weight, in its four neighbors;
- the quantizer that the state of the trellis selects.

Probabilities start from values learned on training scenes and follow the tile: a fast and a slow average of what occurred. All
arithmetic is on integers, so that every machine decodes the same numbers.

Frequencies are coded one after the other, the lowest first, for all blocks of the tile. Those of the *low part*, below an eighth
of the sampling frequency along both axes, form a stream by itself: a preview of an eighth of the resolution reads nothing else.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sarlab.codec.lapped.compiled import compiled, inlined

#: Classes of frequencies: `PER_OCTAVE` for each doubling of deviation over step; class `UNIT_CLASS` begins at 1.
CLASSES, PER_OCTAVE, UNIT_CLASS = 64, 4, 20
#: Frequencies of a class below this are coded in a tile only if a flag says so.
FLAGGED = 10
#: Limits between the activities of blocks, in percent of what is expected, and their number.
LIMITS = np.array([70, 100, 140], np.int64)
ACTIVITIES = len(LIMITS) + 1
#: Decisions by which a magnitude is coded one by one; slots of the exponent; slots of a context in all.
UNARY, EXPONENTS = 4, 12
SLOTS = UNARY + 3 * EXPONENTS
#: Contexts of magnitudes, then those of the flags.
CONTEXTS = CLASSES * ACTIVITIES * 2 * SLOTS
#: Largest exponent of a magnitude.
LARGEST_EXPONENT = 30
#: Share of the difference by which probabilities follow, in 1/65536: at least these, and 1/n after n decisions.
_FAST, _SLOW = 700, 220
_RATES = np.array([min(32767, int(65536 / (n + 1.6))) for n in range(256)], np.int64)
#: Extremes of a probability, in 1/65536.
_LEAST, _MOST = 24, 65536 - 24
#: Magnitudes enter the activity of a block in 1/256; each frequency reduces the memory of those before by 1/16.
_UNIT, _MEMORY = 8, 4
#: Activity, in magnitudes, that is added to what is found and expected, so that few coefficients say little.
_PRIOR = 2 << _UNIT


@lru_cache(maxsize=8)
def coding_order(size: int) -> tuple[np.ndarray, int]:
    """Frequencies of a block of `size` in the order of coding, and how many of them form the low part."""
    low = max(size // 8, 1)
    order = sorted((max(u, v) >= low, u + v, u, v) for u in range(size) for v in range(size))
    return np.array([u * size + v for _, _, u, v in order], np.int64), low * low


# --- probabilities -----------------------------------------------------------------------------------------------------


@inlined
def _probability(probabilities, context):
    return min(max((probabilities[context, 0] + probabilities[context, 1]) >> 1, _LEAST), _MOST)


@inlined
def _learn(probabilities, counts, context, bit):
    count = counts[context]
    target = 65535 if bit else 0
    rate = _RATES[count]
    probabilities[context, 0] += ((target - probabilities[context, 0]) * max(rate, _FAST)) >> 16
    probabilities[context, 1] += ((target - probabilities[context, 1]) * max(rate, _SLOW)) >> 16
    if count < 255:
        counts[context] = count + 1


@compiled
def _activity(sums, expected, i, j):
    """Activity of a block: 0 if its magnitudes fall short of what is expected, `ACTIVITIES` − 1 if they exceed it by far."""
    height, width = sums.shape
    found = 4 * sums[i, j] + sums[max(i - 1, 0), j] + sums[min(i + 1, height - 1), j]
    found += sums[i, max(j - 1, 0)] + sums[i, min(j + 1, width - 1)]
    found, expected = 100 * (found + _PRIOR), 8 * expected + _PRIOR
    activity = 0
    while activity < ACTIVITIES - 1 and found > LIMITS[activity] * expected:
        activity += 1
    return activity


@inlined
def _context(frequency_class, activity, quantizer):
    return ((frequency_class * ACTIVITIES + activity) * 2 + quantizer) * SLOTS


# --- range coder -------------------------------------------------------------------------------------------------------
# Encoder: [low, range, last byte, whether there is one, bytes written, pending bytes]. Decoder: [code, range, bytes read].

_TOP, _MASK = np.uint64(1 << 24), np.uint64(0xFFFFFFFF)


@compiled
def _shift(encoder, out):
    """Move the highest byte of the interval to the output, with a carry into the bytes before."""
    low = encoder[0]
    if low < np.uint64(0xFF000000) or low > _MASK:
        carry = np.uint8(low >> np.uint64(32))
        written = encoder[4]
        if encoder[3] == np.uint64(1):
            out[written] = np.uint8(encoder[2]) + carry
            written += np.uint64(1)
        while encoder[5] > np.uint64(0):
            out[written] = np.uint8(255) + carry
            written += np.uint64(1)
            encoder[5] -= np.uint64(1)
        encoder[2], encoder[3], encoder[4] = (low >> np.uint64(24)) & np.uint64(0xFF), np.uint64(1), written
    else:
        encoder[5] += np.uint64(1)
    encoder[0] = (low << np.uint64(8)) & _MASK


@inlined
def _put(encoder, out, probability, bit):
    bound = (encoder[1] >> np.uint64(16)) * np.uint64(probability)
    if bit:
        encoder[1] = bound
    else:
        encoder[0] += bound
        encoder[1] -= bound
    while encoder[1] < _TOP:
        encoder[1] = (encoder[1] << np.uint64(8)) & _MASK
        _shift(encoder, out)


@inlined
def _get(decoder, data, probability):
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


@compiled
def _open_decoder(data):
    decoder = np.zeros(3, np.uint64)
    decoder[1] = _MASK
    for i in range(4):
        byte = np.uint64(data[i]) if i < data.size else np.uint64(0)
        decoder[0] = (decoder[0] << np.uint64(8)) | byte
    decoder[2] = np.uint64(4)
    return decoder


@compiled
def _close_encoder(encoder, out):
    """End the stream with as few bytes as identify the interval; the decoder reads zeros after the end."""
    low, width = encoder[0], encoder[1]
    for kept in range(4):
        unit = np.uint64(1) << np.uint64(32 - 8 * kept)
        rounded = (low + unit - np.uint64(1)) & ~(unit - np.uint64(1))
        if rounded < low + width:
            encoder[0] = rounded
            break
    for _ in range(5):
        _shift(encoder, out)
    size = encoder[4]
    while size > np.uint64(0) and out[size - np.uint64(1)] == 0:
        size -= np.uint64(1)
    return size


# --- magnitudes --------------------------------------------------------------------------------------------------------


@inlined
def _put_bit(encoder, out, probabilities, counts, tally, context, bit):
    _put(encoder, out, _probability(probabilities, context), bit)
    _learn(probabilities, counts, context, bit)
    if tally.size:
        tally[context, 0] += 1
        tally[context, 1] += bit


@compiled
def _put_magnitude(encoder, out, probabilities, counts, tally, context, magnitude):
    for i in range(min(magnitude, UNARY)):
        _put_bit(encoder, out, probabilities, counts, tally, context + i, 1)
    if magnitude < UNARY:
        _put_bit(encoder, out, probabilities, counts, tally, context + magnitude, 0)
        return
    rest, exponent = magnitude - UNARY + 1, 0
    while rest >> (exponent + 1):
        exponent += 1
    for i in range(exponent):
        _put_bit(encoder, out, probabilities, counts, tally, context + UNARY + min(i, EXPONENTS - 1), 1)
    slot = context + UNARY + min(exponent, EXPONENTS - 1)
    _put_bit(encoder, out, probabilities, counts, tally, slot, 0)
    for digit in range(1, exponent + 1):
        bit = (rest >> (exponent - digit)) & 1
        if digit <= 2:
            _put_bit(encoder, out, probabilities, counts, tally, slot + digit * EXPONENTS, bit)
        else:
            _put(encoder, out, 32768, bit)


@inlined
def _get_bit(decoder, data, probabilities, counts, context):
    bit = _get(decoder, data, _probability(probabilities, context))
    _learn(probabilities, counts, context, bit)
    return bit


@compiled
def _get_magnitude(decoder, data, probabilities, counts, context):
    """Magnitude, or −1 if the data is damaged."""
    for i in range(UNARY):
        if not _get_bit(decoder, data, probabilities, counts, context + i):
            return i
    exponent = 0
    while _get_bit(decoder, data, probabilities, counts, context + UNARY + min(exponent, EXPONENTS - 1)):
        exponent += 1
        if exponent > LARGEST_EXPONENT:
            return -1
    slot, rest = context + UNARY + min(exponent, EXPONENTS - 1), 1
    for digit in range(1, exponent + 1):
        if digit <= 2:
            rest = 2 * rest + _get_bit(decoder, data, probabilities, counts, slot + digit * EXPONENTS)
        else:
            rest = 2 * rest + _get(decoder, data, 32768)
    return rest + UNARY - 1


# --- tiles -------------------------------------------------------------------------------------------------------------


@compiled
def put_frequencies(k, active, live, classes, order, expected, after, states, sums, memory, probabilities, counts, tally, out):
    """Code the frequencies `order` of one band of a tile; returns the number of bytes in `out`.

    Parameters
    ----------
    k : ndarray of int32, shape (frequencies, h, w)
    active : ndarray of bool, shape (h, w)
        Blocks that are coded.
    live : ndarray of bool, shape (frequencies,)
        Frequencies that are coded; all those of a class from `FLAGGED` on.
    classes, order, expected : ndarray of int64
        Class of each frequency; frequencies to code; mean magnitude of each class in 1/256.
    after : ndarray of int64, shape (states, 2)
        Next state of the trellis, by parity; the lowest bit of a state is its quantizer.
    states, sums, memory : ndarray of int64, shapes (h,), (h, w), (1,)
        State of the trellis of each row of blocks, magnitudes found and expected; all change.
    probabilities, counts : ndarray of int64 (contexts, 2) and uint8 (contexts,)
        Change.
    tally : ndarray of int64, shape (contexts, 2) or (0, 2)
        Decisions of each context, and how many were 1; if not empty, they are added.
    """
    encoder = np.zeros(6, np.uint64)
    encoder[1] = _MASK
    before = np.empty_like(sums)
    for frequency in order:
        of_class = classes[frequency]
        if of_class < FLAGGED:
            flag = 1 if live[frequency] else 0
            _put_bit(encoder, out, probabilities, counts, tally, CONTEXTS + of_class, flag)
            if not flag:
                continue
        before[:] = sums
        for i in range(k.shape[1]):
            state = states[i]
            for j in range(k.shape[2]):
                if not active[i, j]:
                    continue
                value = np.int64(k[frequency, i, j])
                magnitude = abs(value)
                context = _context(of_class, _activity(before, memory[0], i, j), state & 1)
                _put_magnitude(encoder, out, probabilities, counts, tally, context, magnitude)
                if magnitude:
                    _put(encoder, out, 32768, 1 if value < 0 else 0)
                state = after[state, magnitude & 1]
                sums[i, j] += (magnitude << _UNIT) - (sums[i, j] >> _MEMORY)
            states[i] = state
        memory[0] += expected[of_class] - (memory[0] >> _MEMORY)
    return _close_encoder(encoder, out)


@compiled
def get_frequencies(data, k, quantizers, active, classes, order, expected, after, states, sums, memory, probabilities, counts):
    """Invert `put_frequencies`: fill `k` and the quantizer of each coefficient; False if the data is damaged."""
    decoder = _open_decoder(data)
    before = np.empty_like(sums)
    for frequency in order:
        of_class = classes[frequency]
        if of_class < FLAGGED and not _get_bit(decoder, data, probabilities, counts, CONTEXTS + of_class):
            continue
        before[:] = sums
        for i in range(k.shape[1]):
            state = states[i]
            for j in range(k.shape[2]):
                if not active[i, j]:
                    continue
                context = _context(of_class, _activity(before, memory[0], i, j), state & 1)
                magnitude = _get_magnitude(decoder, data, probabilities, counts, context)
                if magnitude < 0:
                    return False
                quantizers[frequency, i, j] = state & 1
                if magnitude:
                    k[frequency, i, j] = -magnitude if _get(decoder, data, 32768) else magnitude
                state = after[state, magnitude & 1]
                sums[i, j] += (magnitude << _UNIT) - (sums[i, j] >> _MEMORY)
            states[i] = state
        memory[0] += expected[of_class] - (memory[0] >> _MEMORY)
        if decoder[2] > data.size + 8:
            return False
    return True


@compiled
def activities(magnitudes, active, live, classes, order, expected, found):
    """Fill in the activity of the block of each coefficient, as the coder will find it if these magnitudes are coded."""
    sums = np.zeros(magnitudes.shape[1:], np.int64)
    before = np.empty_like(sums)
    memory = np.int64(0)
    for frequency in order:
        if not live[frequency]:
            continue
        before[:] = sums
        for i in range(sums.shape[0]):
            for j in range(sums.shape[1]):
                if active[i, j]:
                    found[frequency, i, j] = _activity(before, memory, i, j)
                    sums[i, j] += (np.int64(magnitudes[frequency, i, j]) << _UNIT) - (sums[i, j] >> _MEMORY)
        memory += expected[classes[frequency]] - (memory >> _MEMORY)


# --- lists of numbers --------------------------------------------------------------------------------------------------


@compiled
def put_numbers(values, probabilities, counts, out):
    """Code whole numbers with one context; returns the number of bytes."""
    encoder, tally = np.zeros(6, np.uint64), np.zeros((0, 2), np.int64)
    encoder[1] = _MASK
    for value in values:
        _put_magnitude(encoder, out, probabilities, counts, tally, 0, abs(value))
        if value:
            _put(encoder, out, 32768, 1 if value < 0 else 0)
    return _close_encoder(encoder, out)


@compiled
def get_numbers(data, values, probabilities, counts):
    """Invert `put_numbers`; False if the data is damaged."""
    decoder = _open_decoder(data)
    for n in range(len(values)):
        magnitude = _get_magnitude(decoder, data, probabilities, counts, 0)
        if magnitude < 0:
            return False
        values[n] = -magnitude if magnitude and _get(decoder, data, 32768) else magnitude
    return True
