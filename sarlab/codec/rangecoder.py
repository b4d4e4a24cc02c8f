"""Range coding of integers under frozen tables, to bytes and back.

    values ──table──▶ symbols ──┐
    values outside the table ───┼──▶ range coder (constriction) ──▶ bytes
    raw low bits of large scales┘

The coder is constriction's range coder with 32-bit words, 64-bit state and 24-bit probabilities. Its model of n entries
with counts c (sum 2^16) has the cumulative frequencies floor(C_i·(2^24 − n) / 2^16) + i, because counts / 2^16 are
exact floats. Words are stored big-endian. Trailing zero bytes are dropped, and the decoder restores them.

The decoder does not trust its input: it returns the requested number of values or raises `BitstreamError`, and reads
zeros past the end. Only a separate checksum detects wrong values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from sarlab.codec.tables import INDICES, LARGEST, TOTAL, Table, family_table, split_index
from sarlab.errors import BitstreamError, CodecError

#: Magnitude classes of an escaped value: an excess of n bits belongs to class n.
_CLASSES = LARGEST.bit_length() + 2

#: A family of `sarlab.codec.tables`, or a list that an index selects from: tables, (family, scale index), or (table,
#: number of raw low bits).
TableNames = int | Sequence[Table] | Sequence[tuple[int, int]] | Sequence[tuple[Table, int]]


class RangeEncoder:
    """Collect values and code them."""

    def __init__(self) -> None:
        self._coder = _constriction().stream.queue.RangeEncoder()

    def encode(self, values: np.ndarray, table: Table) -> None:
        """Append integers under one table."""
        self._escapes([self._symbols(_integers(values), table)])

    def encode_indexed(self, values: np.ndarray, indices: np.ndarray, family: TableNames = 0) -> None:
        """Append integers, each under the table that its index selects from a family (scale index 0 … 151) or a list.

        Magnitudes above 2^20 − 1 are clipped.
        """
        values, indices = _integers(values), np.ravel(indices)
        if values.shape != indices.shape:
            raise CodecError(f"{values.size} values but {indices.size} table indices")
        self._encode_groups((values[where], *_lookup(family, index)) for index, where in _groups(indices))

    def encode_rows(self, values: np.ndarray, indices: np.ndarray, families: np.ndarray) -> None:
        """Append the rows of an array, (rows, count), each under the table of its scale index and family."""
        rows = [_integers(row) for row in values]
        self._encode_groups((row, *_lookup(int(f), int(i))) for row, i, f in zip(rows, indices, families, strict=True))

    def _encode_groups(self, groups: Iterable[tuple[np.ndarray, Table, int]]) -> None:
        outside = []
        for values, table, shift in groups:
            if shift:
                raised = values + (1 << (shift - 1))
                outside.append(self._symbols(raised >> shift, table))
                self.encode_uniform(raised & ((1 << shift) - 1), 1 << shift)
            else:
                outside.append(self._symbols(values, table))
        self._escapes(outside)

    def encode_uniform(self, values: np.ndarray, size: int) -> None:
        """Append equally likely integers 0 … size − 1 (2 ≤ size < 2^24)."""
        values = np.ascontiguousarray(np.ravel(values), np.int32)
        if values.size:
            if values.min() < 0 or values.max() >= size:
                raise CodecError(f"values from {values.min()} to {values.max()} do not lie in 0 … {size - 1}")
            self._coder.encode(values, _uniform(size))

    def encode_chances(self, values: np.ndarray, chances: np.ndarray) -> None:
        """Append integers 0 … m − 1, (n,), with individual probabilities, (n, m): counts / 65 536 with the sum 1."""
        if values.size:
            self._coder.encode(values.astype(np.int32), _chances(), chances)

    def finish(self) -> bytes:
        """Return all bytes, as few as possible given that the decoder reads zeros past the end."""
        words = self._coder.get_compressed()
        position, (lower, width) = self._coder.pos()
        data = words.astype(">u4").tobytes()
        head, tail = data[: 4 * position], data[4 * position :]
        if 0 < len(tail) <= 8:
            code, first, last = int.from_bytes(tail.ljust(8, b"\0"), "big"), lower, lower + width - 1
            if code < first:  # the carry is already in the head
                first, last = 0, last - (1 << 64)
            last = min(last, (1 << 64) - 1)
            if first <= code <= last:
                tail = _roundest(first, last).to_bytes(8, "big")
        return (head + tail).rstrip(b"\0")

    def _symbols(self, values: np.ndarray, table: Table) -> np.ndarray:
        """Encode table symbols; return the excesses of values outside the table."""
        symbols = values - table.low
        beyond = (symbols < 0) | (symbols >= table.size)
        outside = values[beyond]
        if outside.size:
            if not table.escape:
                raise CodecError(f"value {outside[0]} is not in a table without escape")
            symbols[beyond] = table.size
            # An excess of 0 is the first value above the table, 1 the first below it, and so on outwards.
            below = outside < table.low
            high = table.low + table.size
            outside = np.where(below, 2 * (table.low - 1 - outside) + 1, 2 * (outside - high))
        if symbols.size:
            self._coder.encode(symbols.astype(np.int32), _model(table))
        return outside

    def _escapes(self, outside: list[np.ndarray]) -> None:
        """Encode excesses: their number of bits, then the bits below the first."""
        excess = np.concatenate(outside) + 1 if outside else np.empty(0, np.int64)
        if not excess.size:
            return
        bits = np.frexp(excess.astype(np.float64))[1] - 1
        self.encode_uniform(bits, _CLASSES)
        rest = (excess - (1 << bits.astype(np.int64)))[bits > 0]
        if rest.size:
            sizes = (1 << bits[bits > 0]).astype(np.int32)
            self._coder.encode(rest.astype(np.int32), _uniform(None), sizes)


class RangeDecoder:
    """Decode the values of `RangeEncoder.finish` in the same order."""

    def __init__(self, data: bytes) -> None:
        padded = bytes(data) + b"\0" * (-len(data) % 4)
        self._coder = _constriction().stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def decode(self, count: int, table: Table) -> np.ndarray:
        """Decode `count` integers under one table: int64."""
        values, beyond = self._symbols(count, table)
        self._escapes([(values, beyond, table)])
        return values

    def decode_indexed(self, indices: np.ndarray, family: TableNames = 0) -> np.ndarray:
        """Decode the values of `RangeEncoder.encode_indexed`: int64, in the shape of `indices`."""
        shape, indices = np.shape(indices), np.ravel(indices)
        groups = _groups(indices)
        parts = self._decode_groups([(len(where), *_lookup(family, index)) for index, where in groups])
        values = np.empty(indices.shape, np.int64)
        for (_, where), part in zip(groups, parts, strict=True):
            values[where] = part
        return values.reshape(shape)

    def decode_rows(self, count: int, indices: np.ndarray, families: np.ndarray) -> np.ndarray:
        """Decode `count` integers per row: int64, shape (rows, count)."""
        tables = [_lookup(int(f), int(i)) for i, f in zip(indices, families, strict=True)]
        parts = self._decode_groups([(count, table, shift) for table, shift in tables])
        return np.stack(parts) if parts else np.empty((0, count), np.int64)

    def _decode_groups(self, groups: list[tuple[int, Table, int]]) -> list[np.ndarray]:
        coded, lows = [], []
        for count, table, shift in groups:
            coded.append((*self._symbols(count, table), table))
            lows.append((self.decode_uniform(count, 1 << shift), shift) if shift else None)
        self._escapes(coded)
        values = [
            part if low is None else (part << low[1]) + low[0] - (1 << (low[1] - 1))
            for (part, _, _), low in zip(coded, lows, strict=True)
        ]
        return [
            np.clip(part, -LARGEST, LARGEST) if low is not None or len(beyond) else part
            for part, low, (_, beyond, _) in zip(values, lows, coded, strict=True)
        ]

    def decode_uniform(self, count: int, size: int) -> np.ndarray:
        """Decode `count` equally likely integers 0 … size − 1: int64."""
        if not count:
            return np.empty(0, np.int64)
        return self._decoded(lambda: self._coder.decode(_uniform(size), count))

    def decode_chances(self, chances: np.ndarray) -> np.ndarray:
        """Decode integers with individual probabilities, (n, m): int64, shape (n,)."""
        if not len(chances):
            return np.empty(0, np.int64)
        return self._decoded(lambda: self._coder.decode(_chances(), chances))

    def _symbols(self, count: int, table: Table) -> tuple[np.ndarray, np.ndarray]:
        if not count:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        symbols = self._decoded(lambda: self._coder.decode(_model(table), count))
        beyond = np.flatnonzero(symbols == table.size) if table.escape else np.empty(0, np.int64)
        return symbols + table.low, beyond

    def _escapes(self, groups: list[tuple[np.ndarray, np.ndarray, Table]]) -> None:
        count = sum(len(beyond) for _, beyond, _ in groups)
        if not count:
            return
        bits = self.decode_uniform(count, _CLASSES)
        excess = np.left_shift(1, bits) - 1
        long = bits > 0
        if long.any():
            sizes = np.left_shift(1, bits[long]).astype(np.int32)
            excess[long] += self._decoded(lambda: self._coder.decode(_uniform(None), sizes))
        start = 0
        for values, beyond, table in groups:
            part = excess[start : start + len(beyond)]
            start += len(beyond)
            high = table.low + table.size
            values[beyond] = np.where(part % 2 == 1, table.low - 1 - part // 2, high + part // 2)

    def _decoded(self, decode: Callable[[], np.ndarray]) -> np.ndarray:
        try:
            return np.asarray(decode()).astype(np.int64)
        except AssertionError as error:
            raise BitstreamError("the entropy-coded data is damaged: it is not a code word of its tables") from error


def _roundest(first: int, last: int) -> int:
    """The number in first … last with the most trailing zero bits."""
    bits = 64
    while last >> bits << bits < first:
        bits -= 1
    return last >> bits << bits


def _integers(values: np.ndarray) -> np.ndarray:
    values = np.ravel(values)
    if values.dtype.kind not in "iu":
        raise CodecError(f"the range coder takes integers, not {values.dtype}")
    return np.clip(values.astype(np.int64), -LARGEST, LARGEST)


def _groups(indices: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(index, positions in order) for each index that occurs, ascending."""
    if not indices.size:
        return []
    # NumPy sorts 16-bit numbers by radix, ten times as fast.
    small = indices.min() >= 0 and indices.max() < 1 << 16
    order = np.argsort(indices.astype(np.uint16) if small else indices, kind="stable")
    ordered = indices[order]
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return list(zip(ordered[np.append(0, starts)].tolist(), np.split(order, starts), strict=True))


def _lookup(family: TableNames, index: int) -> tuple[Table, int]:
    if isinstance(family, int):
        if not 0 <= index < INDICES:
            raise CodecError(f"scale index {index} does not lie in 0 … {INDICES - 1}")
        number, shift = split_index(index)
        return family_table(family, number), shift
    if not 0 <= index < len(family):
        raise CodecError(f"table {index} does not exist; there are {len(family)}")
    entry = family[index]
    if isinstance(entry, Table):
        return entry, 0
    first, second = entry
    return (first, second) if isinstance(first, Table) else _lookup(first, second)


@lru_cache(maxsize=1)
def _constriction() -> Any:
    import constriction

    return constriction


@lru_cache(maxsize=64)
def _uniform(size: int | None) -> Any:
    model = _constriction().stream.model.Uniform
    return model() if size is None else model(size)


@lru_cache(maxsize=1)
def _chances() -> Any:
    return _constriction().stream.model.Categorical(perfect=False)


def _model(table: Table) -> Any:
    """The coder's model of a table, kept with the table because building it takes longer than using it once."""
    model = table.__dict__.get("_model")
    if model is None:
        model = _constriction().stream.model.Categorical(table.counts / TOTAL, perfect=False)
        object.__setattr__(table, "_model", model)
    return model
