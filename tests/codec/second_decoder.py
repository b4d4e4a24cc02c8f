"""A second decoder of whole files, written from the book's page on the file format: plain integers, NumPy for the floats.

It imports nothing from the package. The preset dictionary of the metadata is an argument.
"""

from __future__ import annotations

import numpy as np

UNARY, EXPONENTS, SLOTS, EVEN = 4, 12, 40, 32768


class Contexts:
    """Probabilities of decisions by context, which follow what occurs."""

    def __init__(self, starts, count):
        self.known = [(start, start, count) for start in starts]

    def probability(self, context):
        fast, slow, _ = self.known[context]
        return min(max((fast + slow) // 2, 24), 65512)

    def learn(self, context, bit):
        fast, slow, count = self.known[context]
        rate = min(32767, int(65536 / (count + 1.6)))
        fast += (65535 * bit - fast) * max(rate, 700) >> 16
        slow += (65535 * bit - slow) * max(rate, 220) >> 16
        self.known[context] = fast, slow, min(count + 1, 255)


class RangeDecoder:
    """Binary decisions, whole numbers and masks of one stream."""

    def __init__(self, data, contexts=None):
        self.bytes = iter(data)
        self.width, self.code, self.contexts = 2**32 - 1, 0, contexts
        for _ in range(4):
            self.code = 256 * self.code + next(self.bytes, 0)

    def bit(self, probability):
        bound = (self.width >> 16) * probability
        bit = int(self.code < bound)
        if bit:
            self.width = bound
        else:
            self.code, self.width = self.code - bound, self.width - bound
        while self.width < 2**24:
            self.code, self.width = 256 * self.code + next(self.bytes, 0), 256 * self.width
        return bit

    def decision(self, context):
        bit = self.bit(self.contexts.probability(context))
        self.contexts.learn(context, bit)
        return bit

    def number(self, context):
        magnitude = exponent = 0
        while magnitude < UNARY and self.decision(context + magnitude):
            magnitude += 1
        if magnitude == UNARY:
            while self.decision(context + UNARY + min(exponent, EXPONENTS - 1)):
                exponent += 1
                assert exponent <= 30
            slot, rest = context + UNARY + min(exponent, EXPONENTS - 1), 1
            for digit in range(1, exponent + 1):
                rest = 2 * rest + (self.decision(slot + EXPONENTS * digit) if digit <= 2 else self.bit(EVEN))
            magnitude = rest + UNARY - 1
        return -magnitude if magnitude and self.bit(EVEN) else magnitude


def mask_of(data, height, width):
    coder, mask = RangeDecoder(data, Contexts([EVEN] * 64, 0)), np.zeros((height, width), bool)
    for i in range(height):
        for j in range(width):
            # Unknown neighbors are replaced by nearer ones, and by nothing at the first sample.
            left, above = j > 0 and mask[i, j - 1], i > 0 and mask[i - 1, j]
            around = (
                left,
                above,
                mask[i - 1, j - 1] if i and j else above,
                mask[i - 1, j + 1] if i and j + 1 < width else above,
                mask[i, j - 2] if j > 1 else left,
                mask[i - 2, j] if i > 1 else above,
            )
            mask[i, j] = coder.decision(sum(int(known) << n for n, known in enumerate(around)))
    return mask
