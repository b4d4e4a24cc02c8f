"""Exact radiometry in a few bytes: what a file says about the bias of its own decoded means, by level.

The decoder's learned correction is right on average, not on every scene. An encoder can decode what it has coded, so it can say
what is still missing: one curve for each band, piecewise linear in the decoded level of a place, that makes the sum of intensity
under each of its knots the original's. So the mean of the scene is right, and those of dark and of bright ground are.

    curve = lowest level, highest level (int16, 1/1024 of the normalized range), 8 values (int8, 1/40 dB)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from sarlab.errors import BitstreamError

KNOTS = 8
#: Units of a level per normalized unit, and of a value per dB.
LEVEL_UNIT, VALUE_UNIT = 1024, 40
#: Bytes of one band's curve.
SIZE = 4 + KNOTS
_PACKING = struct.Struct(f"<hh{KNOTS}b")
_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class LevelCurve:
    """dB to add to decoded samples, by the level of their place.

    Parameters
    ----------
    low, high : int
        Levels of the first and the last knot.
    values : ndarray of int, shape (8,)
    """

    low: int
    high: int
    values: np.ndarray

    def __call__(self, level: np.ndarray) -> np.ndarray:
        """dB at normalized levels, float32 of the same shape; constant beyond the ends."""
        place, share = self._place(level)
        values = self.values.astype(np.float32) / VALUE_UNIT
        return values[place] * (1 - share) + values[place + 1] * share

    def _place(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Knot below each level, and how far on to the next one."""
        place = (level * LEVEL_UNIT - self.low) * np.float32((KNOTS - 1) / (self.high - self.low))
        place = np.clip(place, 0, KNOTS - 1).astype(np.float32)
        below = np.minimum(place.astype(np.int64), KNOTS - 2)
        return below, place - below

    def pack(self) -> bytes:
        """The curve in `SIZE` bytes."""
        return _PACKING.pack(self.low, self.high, *(int(v) for v in self.values))


def unpack_curves(side: bytes, bands: int) -> tuple[LevelCurve, ...]:
    """Curves of all bands.

    Raises
    ------
    BitstreamError
        For any other number of bytes, or knots without distance.
    """
    if len(side) != bands * SIZE:
        raise BitstreamError(f"the header is damaged: {len(side)} bytes of side information, not {bands * SIZE}")
    curves = []
    for band in range(bands):
        low, high, *values = _PACKING.unpack_from(side, band * SIZE)
        if low >= high:
            raise BitstreamError("the header is damaged: levels without distance")
        curves.append(LevelCurve(low, high, np.array(values)))
    return tuple(curves)


def fit_curve(original: np.ndarray, decoded: np.ndarray, level: np.ndarray) -> LevelCurve:
    """Curve that makes the sums of intensity under every knot equal.

    Parameters
    ----------
    original, decoded : ndarray, shape (n,)
        Valid samples in dB.
    level : ndarray, shape (n,)
        Normalized level of each sample's place.
    """
    if not level.size:
        return LevelCurve(0, 1, np.zeros(KNOTS, int))
    low, high = (int(v) for v in np.clip(np.rint(np.quantile(level, (0.01, 0.99)) * LEVEL_UNIT), -32768, 32766))
    curve = LevelCurve(low, max(high, low + 1), np.zeros(KNOTS))
    below, share = curve._place(level.astype(np.float32))
    # Relative to the brightest sample, so that nothing overflows.
    top = max(float(original.max()), float(decoded.max()))
    wanted = _sums(_intensity(original, top), below, share)
    values, bound = np.zeros(KNOTS), 127 / VALUE_UNIT
    for _ in range(_ROUNDS):
        added = values[below] * (1 - share) + values[below + 1] * share
        found = _sums(_intensity(decoded + added, top), below, share)
        known = (wanted > 0) & (found > 0)
        change = np.where(known, 10 * np.log10(np.where(known, wanted, 1) / np.where(known, found, 1)), 0)
        values = np.clip(values + change, -bound, bound)
        if np.abs(change).max() < 1e-3:
            break
    # What the bounds of some knots leave is for all to carry: the mean of the scene comes first.
    for _ in range(_ROUNDS):
        added = values[below] * (1 - share) + values[below + 1] * share
        shift = 10 * np.log10(wanted.sum() / _intensity(decoded + added, top).sum())
        values = np.clip(values + shift, -bound, bound)
        if abs(shift) < 1e-3:
            break
    return LevelCurve(curve.low, curve.high, np.rint(values * VALUE_UNIT).astype(int))


def _intensity(db: np.ndarray, top: float) -> np.ndarray:
    return np.power(10.0, (db.astype(np.float64) - top) / 10)


def _sums(intensity: np.ndarray, below: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Sums of intensity under each knot's triangle."""
    first = np.bincount(below, intensity * (1 - share), KNOTS)
    return first + np.bincount(below + 1, intensity * share, KNOTS)
