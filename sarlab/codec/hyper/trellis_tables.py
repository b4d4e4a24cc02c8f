"""Tables of a trellis: the parity of an integer by scale index and quantizer, then the integer of that parity.

    k ──▶ parity p ──▶ j, the integer with k = 2j + p

Parities go first, because they decide the quantizers of later values. The counts are learned from coded training scenes, on
top of a few that a normal density would give, and stored with the model: integers, the same on every machine.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from sarlab.codec.tables import (
    INDICES,
    PER_OCTAVE,
    TABLES,
    TOTAL,
    UNIT_INDEX,
    Table,
    code_bits,
    split_index,
    table_from_histogram,
)
from sarlab.errors import ModelError

#: Largest magnitude that is counted, and that has a cost of its own.
LARGEST_COUNTED = 127
#: Entries of a stored row of counts: one reach for all.
REACH = 28
#: What a normal density counts for, beside what was seen; the deviation of its wide part, and that part's share.
_FORESEEN, _WIDE, _WIDE_SHARE = 200.0, 2.5, 0.1


class TrellisTables:
    """Frozen tables.

    Parameters
    ----------
    odd : ndarray of int, shape (64, 2)
        Of 65 536, how many integers are odd, by scale index and quantizer.
    counts : ndarray of int, shape (64, 2, 2, 57)
        Histogram of j = −28 … 28 by scale index, quantizer and parity.

    Raises
    ------
    ModelError
    """

    def __init__(self, odd: np.ndarray, counts: np.ndarray):
        if odd.shape != (TABLES, 2) or counts.shape != (TABLES, 2, 2, 2 * REACH + 1):
            raise ModelError(f"a model is damaged: its trellis tables have shapes {odd.shape} and {counts.shape}")
        if odd.min() < 1 or odd.max() >= TOTAL or counts.min() < 0:
            raise ModelError("a model is damaged: its trellis tables hold impossible counts")
        self.odd, self.counts = odd.astype(np.int64), counts.astype(np.int64)
        places = np.array([split_index(index) for index in range(INDICES)])
        #: Table and number of raw low bits of each scale index.
        self.place, self.shift = places[:, 0], places[:, 1]
        odds = self.odd[self.place].reshape(-1)
        #: Probabilities of even and odd for row 2·index + quantizer: exact floats.
        self.odds = np.stack([TOTAL - odds, odds], 1) / TOTAL

    @cached_property
    def tables(self) -> list[tuple[Table, int]]:
        """Table and raw bits of j for each row 4·index + 2·quantizer + parity."""
        rows = self.counts.reshape(-1, self.counts.shape[-1])
        built = [table_from_histogram(row, low=-REACH) for row in rows]
        return [
            (built[4 * place + part], shift)
            for place, shift in zip(self.place.tolist(), self.shift.tolist(), strict=True)
            for part in range(4)
        ]

    def bits(self, integers: np.ndarray, quantizers: np.ndarray, indices: np.ndarray) -> float:
        """Estimated size of a code."""
        shift = self.shift[indices]
        magnitudes = np.minimum((np.abs(integers) + (1 << shift >> 1)) >> shift, LARGEST_COUNTED)
        return float(self.costs[self.place[indices], quantizers, magnitudes].sum(dtype=np.float64) + shift.sum())

    @cached_property
    def costs(self) -> np.ndarray:
        """Bits of every magnitude: float32, shape (152, 2, 128); the mean of both signs."""
        costs = np.empty((INDICES, 2, LARGEST_COUNTED + 1), np.float32)
        parity_bits = -np.log2(self.odds).reshape(INDICES, 2, 2)
        magnitude = np.arange(LARGEST_COUNTED + 1)
        for row, (table, shift) in enumerate(self.tables):
            index, quantizer, parity = row // 4, row // 2 % 2, row % 2
            k = magnitude[parity::2]
            both = [code_bits(table, shift, (sign * k - parity) // 2) for sign in (1, -1)]
            costs[index, quantizer, parity::2] = np.mean(both, 0) + parity_bits[index, quantizer, parity]
        return costs


def fitted_tables(seen: np.ndarray | None = None) -> TrellisTables:
    """Tables from counted magnitudes.

    Parameters
    ----------
    seen : ndarray, shape (64, 2, 128), optional
        How often each magnitude was chosen, by scale index and quantizer.
    """
    magnitudes = foreseen()
    if seen is not None:
        magnitudes = magnitudes * (_FORESEEN / magnitudes.sum(-1, keepdims=True)) + seen
    share = magnitudes[:, :, 1::2].sum(-1) / magnitudes.sum(-1)
    odd = np.clip(np.rint(share * TOTAL), 1, TOTAL - 1).astype(np.int64)
    counts = np.zeros((TABLES, 2, 2, 2 * REACH + 1))
    for j in range(-REACH, REACH + 1):
        counts[:, :, 0, j + REACH] = magnitudes[:, :, abs(2 * j)] / (1 + (j != 0))
        counts[:, :, 1, j + REACH] = magnitudes[:, :, abs(2 * j + 1)] / 2
    largest = counts.max(-1, keepdims=True)
    return TrellisTables(odd, np.rint(counts * (60000 / largest)).astype(np.int64))


def foreseen() -> np.ndarray:
    """Probabilities of magnitudes under a normal density with a wide part, float64, shape (64, 2, 128)."""
    out = np.empty((TABLES, 2, LARGEST_COUNTED + 1))
    k = np.arange(LARGEST_COUNTED + 2)
    for quantizer in range(2):
        point = 2 * k - quantizer * (k > 0)
        edge = (point[1:] + point[:-1]) / 2
        for index in range(TABLES):
            deviation = 2 ** ((index - UNIT_INDEX) / PER_OCTAVE)
            above = [np.array([math.erfc(e / (s * deviation) / math.sqrt(2)) for e in edge]) for s in (1.0, _WIDE)]
            beyond = (1 - _WIDE_SHARE) * above[0] + _WIDE_SHARE * above[1]
            out[index, quantizer] = -np.diff(beyond, prepend=1.0)
    return np.maximum(out, 1e-12)


def histogram(integers: np.ndarray, quantizers: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Counts for `fitted_tables`; indices with raw bits, and magnitudes beyond those counted, are left out."""
    magnitudes = np.abs(integers)
    kept = (indices < TABLES) & (magnitudes <= LARGEST_COUNTED)
    flat = (indices[kept].astype(np.int64) * 2 + quantizers[kept]) * (LARGEST_COUNTED + 1) + magnitudes[kept]
    return np.bincount(flat, minlength=TABLES * 2 * (LARGEST_COUNTED + 1)).reshape(TABLES, 2, -1).astype(np.float64)
