"""Frozen frequency tables of discretized distributions, and the bits that each value costs under them.

Encoder and decoder must agree on every count of a table, so no table comes from floating-point arithmetic. A table is
the floor of real-valued formulas, evaluated here in 45-digit decimal arithmetic. That is far more precision than the
floors need, so any other method with enough digits gives the same integers.

Scale index i stands for the standard deviation 2^((i − 32)/8) in quantization steps. From index 64 on, the lowest
s = 1 + (i − 64) // 8 bits of a value are stored raw, and the rest of it uses table 56 + (i − 64) % 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np

from sarlab.errors import CodecError

#: Order is part of the file format.
FAMILIES = ("gaussian", "logistic", "laplace", "heavy")
#: Sum of the counts of a table.
TOTAL = 1 << 16
#: Tables of a family, table steps per octave of scale, and the number of scale indices with raw low bits on top.
TABLES, PER_OCTAVE, INDICES = 64, 8, 152
#: Index of standard deviation 1.
UNIT_INDEX = 32
#: Largest magnitude that can be coded; an encoder clips to it.
LARGEST = (1 << 20) - 1
#: Squared error, in squared steps of a uniform quantizer, that is worth one bit: 6.02 dB per bit at an error of
#: step²/12.
LAMBDA = 2 * math.log(2) / 12
#: Least probability of an interval in training: keeps gradients finite, and costs about as much as an escape in a file.
LEAST = 2.0**-26

_DIGITS = 45
_PI = Decimal("3.1415926535897932384626433832795028841971693993751058")


@dataclass(frozen=True, eq=False)
class Table:
    """Frequencies of consecutive integers and, optionally, of an escape that stands for all other values.

    Parameters
    ----------
    counts : ndarray of int64
        One count (at least 1) per symbol in ascending order, then one for the escape if there is one; their sum is 65
        536.
    low : int
        First symbol.
    escape : bool
        The last count is that of values outside the table. Without an escape such values cannot be coded.
    """

    counts: np.ndarray
    low: int
    escape: bool = True

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts, np.int64)
        if counts.ndim != 1 or len(counts) < 2 or counts.min() < 1 or counts.sum() != TOTAL:
            raise CodecError(f"a frequency table needs at least 2 positive counts with the sum {TOTAL}")
        object.__setattr__(self, "counts", counts)

    @property
    def size(self) -> int:
        """Number of symbols without the escape."""
        return len(self.counts) - self.escape

    @property
    def probabilities(self) -> np.ndarray:
        """Counts / 65 536: exact in float64."""
        return self.counts / TOTAL

    def bits(self) -> np.ndarray:
        """Ideal code length of each entry in bits: float64, shape (entries,)."""
        return -np.log2(self.probabilities)


def table_from_histogram(histogram: np.ndarray, *, low: int, escape: bool = True) -> Table:
    """Make a table from counts of low, low + 1, … in integer arithmetic; an escape gets the least probability."""
    seen = [int(n) for n in np.asarray(histogram)] + [0] * escape
    if len(seen) < 2 or len(seen) > TOTAL // 4 or min(seen) < 0:
        raise CodecError(f"a histogram needs 2 to {TOTAL // 4} non-negative entries, not {len(seen)}")
    total = max(sum(seen), 1)
    counts = [1 + n * (TOTAL - len(seen)) // total for n in seen]
    counts[counts.index(max(counts))] += TOTAL - sum(counts)
    return Table(np.array(counts), low, escape)


@lru_cache(maxsize=len(FAMILIES) * TABLES)
def family_table(family: int, index: int) -> Table:
    """Compute the table of a family at a scale index from 0 to 63.

    Let P(k) be the probability of (k − ½, k + ½) under the family's unit-variance distribution scaled by σ = 2^((index
    − 32)/8), and `reach` the smallest r ≥ 1 with P(|k| > r) ≤ 2^−14. The n = 2·reach + 2 counts are 1 + floor((65 536 −
    n)·P). The remainder to 65 536 is added to the count of zero.
    """
    if not 0 <= family < len(FAMILIES) or not 0 <= index < TABLES:
        raise CodecError(f"there is no table {index} in family {family}")
    with localcontext() as context:
        context.prec = _DIGITS
        sigma = Decimal(2) ** (Decimal(index - UNIT_INDEX) / PER_OCTAVE)
        tail = _TAILS[FAMILIES[family]]
        above = [tail(Decimal(1) / 2 / sigma)]
        while len(above) < 2 or 2 * above[-1] > Decimal(1) / 2**14:
            above.append(tail((Decimal(len(above)) + Decimal(1) / 2) / sigma))
        reach = len(above) - 1
        share = TOTAL - (2 * reach + 2)
        side = [1 + int(share * (above[k - 1] - above[k])) for k in range(1, reach + 1)]
        escape = 1 + int(share * 2 * above[-1])
    zero = TOTAL - 2 * sum(side) - escape
    return Table(np.array([*side[::-1], zero, *side, escape]), -reach)


def split_index(index: int) -> tuple[int, int]:
    """Split a scale index into (table, number of raw low bits)."""
    if index < TABLES:
        return index, 0
    octave, step = divmod(index - TABLES, PER_OCTAVE)
    return TABLES - PER_OCTAVE + step, 1 + octave


def _laplace_tail(x: Decimal) -> Decimal:
    return (-(x * Decimal(2).sqrt())).exp() / 2


def _logistic_tail(x: Decimal) -> Decimal:
    return 1 / (1 + (x * _PI / Decimal(3).sqrt()).exp())


def _heavy_tail(x: Decimal) -> Decimal:
    """Half Laplace of standard deviation 0.5, half Laplace of √1.75: unit variance, kurtosis 9.4."""
    return (_laplace_tail(x * 2) + _laplace_tail(x / Decimal("1.75").sqrt())) / 2


def _gaussian_tail(x: Decimal) -> Decimal:
    """½ − Σ x^(2n+1) / (1·3·5 … (2n+1)) · φ(x): all terms are positive, so nothing cancels but in the last step."""
    term = total = x
    n = 1
    while term > total.scaleb(-_DIGITS):
        n += 2
        term = term * x * x / n
        total += term
    return Decimal(1) / 2 - total * (-(x * x) / 2).exp() / (2 * _PI).sqrt()


_TAILS = {"gaussian": _gaussian_tail, "logistic": _logistic_tail, "laplace": _laplace_tail, "heavy": _heavy_tail}


# --- costs
# -------------------------------------------------------------------------------------------------------------

#: Larger magnitudes are counted as this one.
LARGEST_COUNTED = 511
_ESCAPE_CLASSES_BITS = float(np.log2(22))


@lru_cache(maxsize=1)
def code_costs() -> np.ndarray:
    """Bits of a value including its sign: float32, shape (families, scale indices, magnitudes 0 … 511)."""
    costs = np.empty((len(FAMILIES), INDICES, LARGEST_COUNTED + 1), np.float32)
    magnitude = np.arange(LARGEST_COUNTED + 1)
    for family in range(len(FAMILIES)):
        for index in range(INDICES):
            number, shift = split_index(index)
            costs[family, index] = code_bits(family_table(family, number), shift, magnitude)
    return costs


def code_bits(table: Table, shift: int, values: np.ndarray) -> np.ndarray:
    """Bits of integers under a table from −reach to reach with `shift` raw low bits: float64."""
    bits, reach = table.bits(), -table.low
    coded = values if not shift else (values + (1 << (shift - 1))) >> shift
    above = np.where(coded < 0, 2 * (-coded - reach) - 1, 2 * (coded - reach))
    outside = bits[-1] + _ESCAPE_CLASSES_BITS + np.floor(np.log2(np.maximum(above, 1)))
    return np.where(np.abs(coded) <= reach, bits[np.clip(coded, -reach, reach) + reach], outside) + shift


def histograms(values: np.ndarray) -> np.ndarray:
    """Count the magnitudes in each row of integers: (rows, count) → float32, shape (rows, 513).

    Rows with magnitudes above 511 are halved until none is left. The last column is the number of halvings.
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
    """Find the cheapest scale index for each row of `histograms`, given its family."""
    out = np.empty(len(counts), np.int64)
    for family in np.unique(families):
        rows = families == family
        out[rows] = (counts[rows, :-1] @ code_costs()[family].T).argmin(1)
    return np.minimum(out + PER_OCTAVE * counts[:, -1].astype(np.int64), INDICES - 1)


def row_costs(counts: np.ndarray, indices: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Bits of each row of `histograms` under its table."""
    octaves = counts[:, -1].astype(np.int64)
    chosen = np.clip(indices - PER_OCTAVE * octaves, 0, INDICES - 1)
    bits = (counts[:, :-1] * code_costs()[families, chosen]).sum(1)
    return bits + octaves * counts[:, :-1].sum(1)


def cost_of(counts: np.ndarray, indices: np.ndarray, families: np.ndarray) -> float:
    """Bits of all rows of `histograms` under the given tables."""
    return float(row_costs(counts, indices, families).sum())
