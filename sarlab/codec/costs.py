"""What coding a magnitude costs under each table, for encoders that choose: bits by family, scale index and magnitude."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sarlab.codec.tables import FAMILIES, INDICES, PER_OCTAVE, Table, family_table, split_index

#: Magnitudes beyond this are counted as this one.
LARGEST_COUNTED = 511
_ESCAPE_CLASSES_BITS = float(np.log2(22))


@lru_cache(maxsize=1)
def code_costs() -> np.ndarray:
    """Bits of one value, sign included: float32, shape (families, scale indices, magnitudes 0 … 511)."""
    costs = np.empty((len(FAMILIES), INDICES, LARGEST_COUNTED + 1), np.float32)
    magnitude = np.arange(LARGEST_COUNTED + 1)
    for family in range(len(FAMILIES)):
        for index in range(INDICES):
            number, shift = split_index(index)
            costs[family, index] = code_bits(family_table(family, number), shift, magnitude)
    return costs


def code_bits(table: Table, shift: int, values: np.ndarray) -> np.ndarray:
    """Bits of integers under a table from −reach to reach, with `shift` low bits raw: float64."""
    bits, reach = table.bits(), -table.low
    coded = values if not shift else (values + (1 << (shift - 1))) >> shift
    above = np.where(coded < 0, 2 * (-coded - reach) - 1, 2 * (coded - reach))
    outside = bits[-1] + _ESCAPE_CLASSES_BITS + np.floor(np.log2(np.maximum(above, 1)))
    return np.where(np.abs(coded) <= reach, bits[np.clip(coded, -reach, reach) + reach], outside) + shift


def histograms(values: np.ndarray) -> np.ndarray:
    """Counts of magnitudes by row: integers of shape (rows, count) → float32, shape (rows, 512).

    Rows that reach beyond 511 are halved until they do not; column 0 then also tells by how much (see `best_indices`).
    """
    rows = len(values)
    magnitude = np.abs(values)
    largest = magnitude.max(1, initial=0)
    octaves = np.maximum(0, np.ceil(np.log2(np.maximum(largest, 1) / LARGEST_COUNTED))).astype(np.int64)
    if octaves.any():
        magnitude = magnitude >> octaves[:, None]
    flat = np.arange(rows)[:, None] * (LARGEST_COUNTED + 1) + np.minimum(magnitude, LARGEST_COUNTED)
    counts = np.bincount(flat.ravel(), minlength=rows * (LARGEST_COUNTED + 1)).reshape(rows, -1).astype(np.float32)
    return np.concatenate([counts, octaves[:, None].astype(np.float32)], 1)


def best_indices(counts: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Scale index of least cost for every row of `histograms`, given its family."""
    out = np.empty(len(counts), np.int64)
    for family in np.unique(families):
        rows = families == family
        out[rows] = (counts[rows, :-1] @ code_costs()[family].T).argmin(1)
    return np.minimum(out + PER_OCTAVE * counts[:, -1].astype(np.int64), INDICES - 1)


def row_costs(counts: np.ndarray, indices: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Bits of every row of `histograms` under its table."""
    octaves = counts[:, -1].astype(np.int64)
    chosen = np.clip(indices - PER_OCTAVE * octaves, 0, INDICES - 1)
    bits = (counts[:, :-1] * code_costs()[families, chosen]).sum(1)
    return bits + octaves * counts[:, :-1].sum(1)


def cost_of(counts: np.ndarray, indices: np.ndarray, families: np.ndarray) -> float:
    """Bits of all rows of `histograms` under the given tables."""
    return float(row_costs(counts, indices, families).sum())
