"""Frozen frequency tables of discretized distributions: integers that are the same on every machine.

Encoder and decoder must agree on every table to the last count, so no table comes from floating point. Each is defined
by a real number formula whose floor is taken; it is evaluated here in decimal arithmetic of 45 digits, far beyond what
the floors need, so that any other method of enough precision gives the same integers.

Scale index i stands for the standard deviation 2^((i − 32)/8), measured in quantization steps. Indices from 64 on halve
the value first: s = 1 + (i − 64) // 8 low bits go raw, and the rest uses table 56 + (i − 64) % 8.
"""

from __future__ import annotations

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

_DIGITS = 45
_PI = Decimal("3.1415926535897932384626433832795028841971693993751058")


@dataclass(frozen=True, eq=False)
class Table:
    """Frequencies of the integers −reach … reach and of the escape that stands for all others.

    Parameters
    ----------
    counts : ndarray of int64
        One count (at least 1) for each symbol in order, then, if `escape`, one for the escape. They add up to 65 536.
    low : int
        First symbol.
    escape : bool
        Whether the last count belongs to values outside the table; without it, such values cannot be coded.
    """

    counts: np.ndarray
    low: int
    escape: bool = True

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts, np.int64)
        if counts.ndim != 1 or len(counts) < 2 or counts.min() < 1 or counts.sum() != TOTAL:
            raise CodecError(f"a frequency table needs at least 2 positive counts that add up to {TOTAL}")
        object.__setattr__(self, "counts", counts)

    @property
    def size(self) -> int:
        """Number of symbols, escape not counted."""
        return len(self.counts) - self.escape

    @property
    def probabilities(self) -> np.ndarray:
        """Counts / 65 536 as float64, in which they are exact."""
        return self.counts / TOTAL

    def bits(self) -> np.ndarray:
        """Ideal code length of every entry in bits, shape (entries,), float64."""
        return -np.log2(self.probabilities)


def table_from_histogram(histogram: np.ndarray, *, low: int, escape: bool = True) -> Table:
    """Table of learned frequencies, by integer arithmetic alone.

    Parameters
    ----------
    histogram : ndarray of int, shape (symbols,)
        How often each of low, low + 1 … was seen.
    low : int
        First symbol.
    escape : bool
        Add an escape with the smallest probability.

    Returns
    -------
    Table
    """
    seen = [int(n) for n in np.asarray(histogram)] + [0] * escape
    if len(seen) < 2 or len(seen) > TOTAL // 4 or min(seen) < 0:
        raise CodecError(f"a histogram needs 2 to {TOTAL // 4} entries that are not negative, not {len(seen)}")
    total = max(sum(seen), 1)
    counts = [1 + n * (TOTAL - len(seen)) // total for n in seen]
    counts[counts.index(max(counts))] += TOTAL - sum(counts)
    return Table(np.array(counts), low, escape)


@lru_cache(maxsize=len(FAMILIES) * TABLES)
def family_table(family: int, index: int) -> Table:
    """Table of one family at scale index 0 … 63.

    With P(k) the probability of (k − ½, k + ½) under the family's unit-variance distribution scaled by
    σ = 2^((index − 32)/8), and `reach` the smallest r ≥ 1 with P(|k| > r) ≤ 2^−14, the n = 2·reach + 2 counts are
    1 + floor((65 536 − n)·P); what is missing to 65 536 goes to the count of zero.
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
    """(table, number of raw low bits) of a scale index."""
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
    """½ − Σ x^(2n+1) / (1·3·5 … (2n+1)) · φ(x): all terms positive, so nothing cancels before the last subtraction."""
    term = total = x
    n = 1
    while term > total.scaleb(-_DIGITS):
        n += 2
        term = term * x * x / n
        total += term
    return Decimal(1) / 2 - total * (-(x * x) / 2).exp() / (2 * _PI).sqrt()


_TAILS = {"gaussian": _gaussian_tail, "logistic": _logistic_tail, "laplace": _laplace_tail, "heavy": _heavy_tail}
