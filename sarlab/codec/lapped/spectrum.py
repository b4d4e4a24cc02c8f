"""The spectrum of a scene in the header of its file: a smooth surface of standard deviations over the plane of frequencies.

The logarithm of the deviation is given at `KNOTS`×`KNOTS` points, which lie closer at low frequencies, and bilinear in between.
Knots are integers, in 1/`PER_OCTAVE` of an octave; the class of a frequency follows from them and from the stored quality in
integer arithmetic. Each knot is coded as the difference from the mean of its neighbors above and to the left.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sarlab.codec.lapped import entropy
from sarlab.errors import BitstreamError

KNOTS = 8
#: Lowest frequency of a knot, as a share of the highest: that of the first coefficient of 64.
_LOWEST = 0.5 / 64
#: Units of interpolation weights, and of classes before they are rounded.
_WEIGHT = 256
_UNIT = _WEIGHT**2
#: Knots lie within this many octaves of a deviation of 1.
_FARTHEST = 24 * entropy.PER_OCTAVE
#: Deviation below which a spectrum is not resolved, as a share of the range of a normalized sample.
_FLOOR = 1e-7
#: Resistance of the fit against bends of the surface.
_STIFFNESS = 0.05


@lru_cache(maxsize=8)
def _weights(size: int) -> np.ndarray:
    """Interpolation weights: int64, shape (size, KNOTS), rows of sum `_WEIGHT`."""
    frequency = (np.arange(size) + 0.5) / size
    place = np.interp(np.sqrt(frequency), np.linspace(_LOWEST**0.5, 1, KNOTS), np.arange(KNOTS))
    first = np.minimum(place.astype(np.int64), KNOTS - 2)
    later = np.rint((place - first) * _WEIGHT).astype(np.int64)
    weights = np.zeros((size, KNOTS), np.int64)
    weights[np.arange(size), first] = _WEIGHT - later
    weights[np.arange(size), first + 1] = later
    return weights


def fit_knots(power: np.ndarray) -> np.ndarray:
    """Fit the knots to the mean power of each frequency: (size²,) → int64, shape (KNOTS, KNOTS)."""
    size = round(len(power) ** 0.5)
    octaves = 0.5 * np.log2(np.maximum(power.reshape(size, size), _FLOOR**2))
    weights = _weights(size) / _WEIGHT
    bends = _STIFFNESS * np.diff(np.eye(KNOTS), 2, axis=0)
    solver = np.linalg.solve(weights.T @ weights + bends.T @ bends, weights.T)
    knots = np.rint(solver @ octaves @ solver.T * entropy.PER_OCTAVE)
    return np.clip(knots, -_FARTHEST, _FARTHEST).astype(np.int64)


def classes(knots: np.ndarray, size: int, step: int) -> np.ndarray:
    """Class of each frequency of a block: int64, shape (size²,).

    Parameters
    ----------
    knots : ndarray of int64, shape (KNOTS, KNOTS)
    size : int
        Of the block.
    step : int
        Logarithm of the step, in the units of classes, times `_UNIT`; see `step_units`.
    """
    weights = _weights(size)
    found = (weights @ knots @ weights.T - step) >> (_UNIT.bit_length() - 1)
    return np.clip(found + entropy.UNIT_CLASS, 0, entropy.CLASSES - 1).ravel()


def pack_knots(knots: np.ndarray, start: tuple[np.ndarray, np.ndarray]) -> bytes:
    """Code the knots of one band; `start` holds the probabilities and counts of the context of numbers."""
    out = np.empty(1024, np.uint8)
    size = entropy.put_numbers((knots - _predicted(knots)).ravel(), *(part.copy() for part in start), out)
    return out[:size].tobytes()


def unpack_knots(data: bytes, start: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Invert `pack_knots`.

    Raises
    ------
    BitstreamError
    """
    differences = np.zeros(KNOTS * KNOTS, np.int64)
    good = entropy.get_numbers(np.frombuffer(data, np.uint8), differences, *(part.copy() for part in start))
    knots = np.zeros((KNOTS, KNOTS), np.int64)
    if good:
        for row in range(KNOTS):
            for column in range(KNOTS):
                knots[row, column] = _predict(knots, row, column) + differences[row * KNOTS + column]
    if not good or np.abs(knots).max() > _FARTHEST:
        raise BitstreamError("the spectrum is damaged")
    return knots


def _predicted(knots: np.ndarray) -> np.ndarray:
    return np.array([[_predict(knots, row, column) for column in range(KNOTS)] for row in range(KNOTS)])


def _predict(knots: np.ndarray, row: int, column: int) -> int:
    if row and column:
        return int(knots[row - 1, column] + knots[row, column - 1]) >> 1
    if row or column:
        return int(knots[row - 1, 0] if row else knots[0, column - 1])
    return 0
