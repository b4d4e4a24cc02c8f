"""The spectrum of a scene in the header of its file: the standard deviation of every channel of a transform.

A lapped transform has a smooth spectrum: the logarithm of the deviation is given at `KNOTS`×`KNOTS` points of the plane of
frequencies, which lie closer at low frequencies, and is bilinear in between. Each knot is coded as the difference from the mean
of its neighbors above and to the left. Channels without such an order state one number each. All numbers are integers, in
1/`PER_OCTAVE` of an octave. The class of a channel follows from them and from the stored quality in integer arithmetic.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from sarlab.errors import BitstreamError

#: Classes of channels: `PER_OCTAVE` for each doubling of deviation over step; class `UNIT_CLASS` begins at 1.
CLASSES, PER_OCTAVE, UNIT_CLASS = 64, 4, 20
KNOTS = 8
#: Lowest frequency of a knot, as a share of the highest: that of the first coefficient of 64.
_LOWEST = 0.5 / 64
#: Units of interpolation weights, and of classes before they are rounded.
_WEIGHT = 256
UNIT = _WEIGHT**2
#: Units of a stored quality per dB.
QUALITY_UNIT = 256
#: Knots lie within this many octaves of a deviation of 1.
_FARTHEST = 24 * PER_OCTAVE
#: Deviation below which a spectrum is not resolved, as a share of the range of a normalized sample.
_FLOOR = 1e-7
#: Fine step at quality 0, as a share of the range. At this value the PSNR of `lapped` (peak: the range, 30 dB) meets the quality at
#: medium rates. Coarser steps leave bands out, whose error is less than that of the step, so PSNR lies up to 7 dB above the
#: quality at 20; at high rates it lies 1 to 2 dB below.
FINE_STEP = 2.5
#: `step_units` at quality 0, and by how much it falls per unit of the stored quality (1/256 dB), times 2¹⁶.
_STEP_ORIGIN = round(math.log2(2 * FINE_STEP) * PER_OCTAVE * UNIT)
_STEP_SLOPE = round(math.log2(10) / 20 / QUALITY_UNIT * PER_OCTAVE * UNIT * 65536)
#: Resistance of the fit against bends of the surface.
_STIFFNESS = 0.05


def step_units(quality: int) -> int:
    """Logarithm of the step (two fine steps) at a stored quality, in the units of deviations: exact integer arithmetic."""
    return _STEP_ORIGIN - (quality * _STEP_SLOPE >> 16)


class Deviations(Protocol):
    """How a file holds the deviations of the channels: as `count` numbers per band."""

    count: int

    def fit(self, power: np.ndarray) -> np.ndarray:
        """Numbers for the mean power of each channel: (channels,) → int64, shape (count,)."""

    def parse(self, numbers: np.ndarray) -> np.ndarray:
        """Logarithms of the deviations, in `UNIT` per class: int64, shape (channels,). Raises `BitstreamError`."""


class SmoothSpectrum:
    """Deviations of the frequencies u·size + v of blocks of `size` samples a side."""

    count = KNOTS * KNOTS

    def __init__(self, size: int):
        root = np.sqrt((np.arange(size) + 0.5) / size)
        place = np.interp(root, np.linspace(_LOWEST**0.5, 1, KNOTS), np.arange(KNOTS))
        hats = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(KNOTS)))
        #: Interpolation weights: int64, shape (size, KNOTS), rows of sum `_WEIGHT`.
        self.size, self._weights = size, np.rint(_WEIGHT * hats).astype(np.int64)

    def fit(self, power: np.ndarray) -> np.ndarray:
        weights = self._weights / _WEIGHT
        bends = _STIFFNESS * np.diff(np.eye(KNOTS), 2, axis=0)
        solver = np.linalg.solve(weights.T @ weights + bends.T @ bends, weights.T)
        knots = _rounded(solver @ _classes(power).reshape(self.size, self.size) @ solver.T)
        return np.array([knots[r, c] - _predicted(knots, r, c) for r in range(KNOTS) for c in range(KNOTS)], np.int64)

    def parse(self, numbers: np.ndarray) -> np.ndarray:
        knots = np.zeros((KNOTS, KNOTS), np.int64)
        for place, number in enumerate(numbers):
            row, column = divmod(place, KNOTS)
            knots[row, column] = _checked(_predicted(knots, row, column) + number)
        return (self._weights @ knots @ self._weights.T).ravel()


class ListedDeviations:
    """Deviations of channels that are sorted by importance: each number is the difference from the channel before."""

    def __init__(self, channels: int):
        self.count = channels

    def fit(self, power: np.ndarray) -> np.ndarray:
        return np.diff(_rounded(_classes(power)), prepend=0)

    def parse(self, numbers: np.ndarray) -> np.ndarray:
        found = np.cumsum(numbers)
        for value in found:
            _checked(value)
        return found * UNIT


def _classes(power: np.ndarray) -> np.ndarray:
    return 0.5 * PER_OCTAVE * np.log2(np.maximum(power, _FLOOR**2))


def _rounded(classes: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(classes), -_FARTHEST, _FARTHEST).astype(np.int64)


def _checked(value: int) -> int:
    if abs(value) > _FARTHEST:
        raise BitstreamError("the spectrum is damaged")
    return value


def _predicted(knots: np.ndarray, row: int, column: int) -> int:
    if row and column:
        return int(knots[row - 1, column] + knots[row, column - 1]) >> 1
    if row or column:
        return int(knots[row - 1, 0] if row else knots[0, column - 1])
    return 0
