"""From a band in dB to what image codecs take, and back: nodata filled smoothly, dB on an integer grid.

The grid spans the band's own range, so no bright target and no dark pixel is clipped; offset and step are side
information of the file and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def fill_invalid(plane: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Samples under the mask replaced by a smooth continuation of their surroundings, which costs few bits.

    Means over ever coarser 2×2 cells fill what the finer level does not know (push-pull).

    Parameters
    ----------
    plane : ndarray, shape (height, width), float
        Samples where `valid`.
    valid : ndarray of bool, shape (height, width)
        At least one is True.

    Returns
    -------
    ndarray of float32, shape (height, width)
        `plane` itself where `valid`.

    References
    ----------
    Gortler, Grzeszczuk, Szeliski & Cohen, The Lumigraph, SIGGRAPH 1996, section 3.4 (push-pull).
    """
    if valid.all():
        return np.asarray(plane, np.float32)
    values = np.where(valid, plane, 0).astype(np.float64)
    levels = [(values, valid.astype(np.float64))]
    while levels[-1][1].size > 1:
        weighted, weight = (_halved(part) for part in (levels[-1][0] * levels[-1][1], levels[-1][1]))
        some = weight > 0
        levels.append((np.divide(weighted, weight, out=np.zeros_like(weighted), where=some), some.astype(np.float64)))
    filled = levels.pop()[0]
    while levels:
        values, known = levels.pop()
        height, width = values.shape
        coarse = filled.repeat(2, 0).repeat(2, 1)[:height, :width]
        filled = np.where(known > 0, values, _smoothed(np.where(known > 0, values, coarse)))
    return np.where(valid, plane, filled).astype(np.float32)


def _halved(plane: np.ndarray) -> np.ndarray:
    """Sums over 2×2 cells; an odd side gets a row or column of zeros."""
    height, width = plane.shape
    padded = np.pad(plane, ((0, height % 2), (0, width % 2)))
    return padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).sum((1, 3))


def _smoothed(plane: np.ndarray) -> np.ndarray:
    """Binomial 3×3 average, edges repeated."""
    for axis in (0, 1):
        ends = [(0, 0), (0, 0)]
        ends[axis] = (1, 1)
        padded = np.pad(plane, ends, mode="edge")
        first, middle, last = (np.take(padded, range(shift, shift + plane.shape[axis]), axis) for shift in (0, 1, 2))
        plane = (first + 2 * middle + last) / 4
    return plane


@dataclass(frozen=True)
class Grid:
    """Equidistant dB values: ``value = offset + step · code``.

    Parameters
    ----------
    offset, step : float
        In dB; both exact in float32, as they are stored.
    """

    offset: float
    step: float

    @classmethod
    def spanning(cls, plane: np.ndarray, top: float) -> Grid:
        """Grid on which the smallest sample of `plane` is code 0 and the largest at most `top`."""
        low, high = float(plane.min()), float(plane.max())
        return cls.with_step(low, (high - low) / top)

    @classmethod
    def with_step(cls, offset: float, step: float) -> Grid:
        """Grid with at least this step: rounding to float32 must not push the largest sample off the last code."""
        with np.errstate(over="ignore", under="ignore"):
            stored = np.float32(step)
        if stored < step:
            stored = np.nextafter(stored, np.float32(np.inf))
        return cls(float(np.float32(offset)), float(stored))

    def codes(self, plane: np.ndarray) -> np.ndarray:
        """Nearest codes of samples in dB, int64."""
        return np.rint((plane.astype(np.float64) - self.offset) / self.step).astype(np.int64)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Samples in dB of (integer or fractional) codes, float32, not clipped."""
        return (self.offset + self.step * codes.astype(np.float64)).astype(np.float32)
