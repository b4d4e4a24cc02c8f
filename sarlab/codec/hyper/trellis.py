"""Dependent quantization: two coarse quantizers whose points interleave, and a trellis that says which of them is next.

    quantizer 0:  … −4 −2  0  2  4 …      points 2k
    quantizer 1:  … −3 −1  0  1  3 …      points 2k − sign(k)          (in steps)

Which quantizer a value has follows from the parities of the integers k before it, so a decoder knows it, while an encoder
searches all paths for the one of least error and bits. Together the two are as fine as one step, and each value costs as
much as with two: of the 1.53 dB that quantizing values one by one loses at high rates, 1.1 dB come back.

Values are dealt to *lanes*, value i of n to lane i mod L, each with a trellis of its own that starts in state 0: all lanes
take a step at once.

References
----------
Marcellin and Fischer, Trellis coded quantization of memoryless and Gauss-Markov sources, IEEE Trans. Commun. 38 (1990);
Ungerboeck's code of 8 states. Zero as a point of both quantizers: Joshi, Crump and Fischer, IEEE Trans. Image Process. 4
(1995); parities in the place of subsets: Schwarz et al., Data Compression Conference (2019).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sarlab.models.viterbi import STATES, cheapest_path, from_lanes, to_lanes

#: State after a state and a parity. A state's lowest bit is the quantizer of the value to come.
NEXT = np.array([[0, 1], [3, 2], [5, 4], [6, 7], [1, 0], [2, 3], [4, 5], [7, 6]])
_AFTER = NEXT.ravel()
#: Most values of a lane: short trellises gain less, because their first values have no choice of quantizer.
LONGEST = 128
#: Largest magnitude of an integer.
LARGEST_INTEGER = (1 << 19) - 1
#: Parity that leads from a state to one of its two next ones, by that one's lowest bit.
_PARITY = np.stack([np.argsort(row & 1) for row in NEXT])
# Both states before state n are n // 2 and n // 2 + 4; what they cost is quantizer and parity: class 2·quantizer + parity.
_BEFORE = np.arange(STATES) // 2
_CLASS = np.array([[2 * (s & 1) + _PARITY[s, n & 1] for n, s in enumerate(_BEFORE + half)] for half in (0, 4)])


def lane_count(count: int) -> int:
    """Lanes of `count` values."""
    return max(-(-count // LONGEST), 1)


def points(integers: np.ndarray, quantizers: np.ndarray) -> np.ndarray:
    """Multiples of the step that integers of quantizers (0 or 1) stand for."""
    return 2 * integers - quantizers * np.sign(integers)


def walk(count: int, parities: Callable[[slice, np.ndarray], np.ndarray]) -> None:
    """Go through a sequence of `count` values, all lanes a step at a time.

    Parameters
    ----------
    count : int
    parities : callable
        (places in the sequence, their quantizers) → parities of the integers there.
    """
    lanes = lane_count(count)
    state = np.zeros(lanes, np.int64)
    for start in range(0, count, lanes):
        places = slice(start, min(start + lanes, count))
        state = state[: places.stop - start]
        state = _AFTER.take(2 * state + parities(places, state & 1))


def search(x: np.ndarray, price: np.ndarray, indices: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers of least squared error plus priced bits.

    Parameters
    ----------
    x : ndarray of float32, shape (n,)
        Values in steps.
    price : ndarray of float32, shape (n,)
        Squared error, in squared steps, that a bit is worth.
    indices : ndarray of int, shape (n,)
        Tables of the values.
    costs : ndarray of float32, shape (tables, 2, magnitudes)
        Bits of a magnitude under a table, for both quantizers.

    Returns
    -------
    integers, quantizers : ndarray of int64, shape (n,)
    """
    if not len(x):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    branch, magnitudes = _branches(np.abs(x), price, indices, costs)
    classes = from_lanes(cheapest_path(to_lanes(branch[:, None], LONGEST), _CLASS), 1, len(x))[0]
    chosen = np.take_along_axis(magnitudes, classes[None], 0)[0]
    return np.where(x < 0, -chosen, chosen).astype(np.int64), classes >> 1


def _branches(
    a: np.ndarray, price: np.ndarray, indices: np.ndarray, costs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Least cost of each class for each value, and the magnitude that has it: (4, n) each."""
    counted = costs.shape[-1]
    branch = np.empty((4, len(a)), np.float32)
    magnitudes = np.empty((4, len(a)), np.int32)
    flat = costs.ravel()
    row = indices.astype(np.int32) * np.int32(2 * counted)
    for number in range(4):
        quantizer, parity = divmod(number, 2)
        # Points of a class lie four apart: at 4m + first, the magnitude 2m + parity; in class 2, zero lies at −1 of these.
        first = (0, 2, -1, 1)[number]
        m = np.rint((a - np.float32(first)) * np.float32(0.25))
        np.clip(m, 0, LARGEST_INTEGER // 2, out=m)
        upper = _costs_of(a, m, first, parity, quantizer, price, row, flat, counted)
        m_lower = np.maximum(m - 1, 0)
        lower = _costs_of(a, m_lower, first, parity, quantizer, price, row, flat, counted)
        np.minimum(upper, lower, out=branch[number])
        magnitudes[number] = 2 * np.where(lower < upper, m_lower, m) + parity
    return branch, magnitudes


def _costs_of(
    a: np.ndarray,
    m: np.ndarray,
    first: int,
    parity: int,
    quantizer: int,
    price: np.ndarray,
    row: np.ndarray,
    flat: np.ndarray,
    counted: int,
) -> np.ndarray:
    point = 4 * m + np.float32(first)
    if first < 0:
        np.maximum(point, 0, out=point)
    place = np.minimum(m, np.float32((counted - 1 - parity) // 2)).astype(np.int32)
    place *= 2
    place += row + np.int32(quantizer * counted + parity)
    bits = flat.take(place)
    bits *= price
    error = a - point
    error *= error
    error += bits
    return error
