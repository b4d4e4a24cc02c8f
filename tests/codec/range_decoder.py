"""A second decoder of the range coder's bytes, in plain integers, written from the book's page on the file format."""

from __future__ import annotations

from bisect import bisect_right

MASK = (1 << 64) - 1


class PlainDecoder:
    """Range decoder: 32-bit words, 64-bit state, 24-bit probabilities, zeros past the end."""

    def __init__(self, data: bytes):
        data = data + b"\0" * (-len(data) % 4)
        self.words = [int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4)]
        self.lower, self.range = 0, MASK
        self.point = (self._word() << 32) | self._word()

    def _word(self) -> int:
        return self.words.pop(0) if self.words else 0

    def symbol(self, cumulative: list[int]) -> int:
        """Position of the entry, among cumulative frequencies from 0 to 2^24."""
        scale = self.range >> 24
        quantile = ((self.point - self.lower) & MASK) // scale
        k = bisect_right(cumulative, quantile) - 1
        self.lower = (self.lower + scale * cumulative[k]) & MASK
        self.range = scale * (cumulative[k + 1] - cumulative[k])
        if self.range < 1 << 32:
            self.lower = (self.lower << 32) & MASK
            self.range <<= 32
            self.point = ((self.point << 32) & MASK) | self._word()
        return k


def cumulative_of_counts(counts: list[int]) -> list[int]:
    """Cumulative frequencies of a table whose counts add up to 2^16."""
    n, total, sums = len(counts), 0, []
    for i, count in enumerate(counts):
        sums.append((total * ((1 << 24) - n) >> 16) + i)
        total += count
    return [*sums, 1 << 24]


def cumulative_of_uniform(size: int) -> list[int]:
    """Cumulative frequencies of `size` equally likely entries; the last takes what is left over."""
    return [i * ((1 << 24) // size) for i in range(size)] + [1 << 24]


def plain_indexed(decoder: PlainDecoder, tables: list[tuple[list[int], int, int]], indices: list[int]) -> list[int]:
    """Values of an indexed block; `tables[index]` is (counts with escape last, first symbol, raw low bits)."""
    values: list[int] = [0] * len(indices)
    escaped: list[tuple[int, int]] = []
    low_bits: list[int] = [0] * len(indices)
    for index in sorted(set(indices)):
        counts, low, shift = tables[index]
        cumulative = cumulative_of_counts(counts)
        where = [i for i, each in enumerate(indices) if each == index]
        for i in where:
            k = decoder.symbol(cumulative)
            values[i] = k + low
            if k == len(counts) - 1:
                escaped.append((i, index))
        if shift:
            for i in where:
                low_bits[i] = decoder.symbol(cumulative_of_uniform(1 << shift))
    bits = [decoder.symbol(cumulative_of_uniform(22)) for _ in escaped]
    for (i, index), n in zip(escaped, bits, strict=True):
        counts, low, _ = tables[index]
        excess = (1 << n) - 1 + (decoder.symbol(cumulative_of_uniform(1 << n)) if n else 0)
        values[i] = low - 1 - excess // 2 if excess % 2 else low + len(counts) - 1 + excess // 2
    for i, index in enumerate(indices):
        shift = tables[index][2]
        if shift:
            values[i] = (values[i] << shift) + low_bits[i] - (1 << (shift - 1))
    return values
