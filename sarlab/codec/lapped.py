"""The default codec: a lapped transform, blocks of cosines that overlap their neighbors by half, orthonormal and without seams.

The transform is the modulated lapped transform (MLT), also known as MDCT or TDAC, of B×B frequencies per block. At each border
between two blocks, samples at equal distances from the border are rotated into each other ("folded") by angles that follow from
a sine window; then each block is transformed by a DCT-IV. Both steps are orthonormal, so squared errors of coefficients are
squared errors of samples.

Blocks begin at the first sample of the scene. The borders of the scene are not folded: the DCT-IV continues a block evenly at
its top and left, and the blocks at the bottom and at the right of a scene are transformed by a DCT-II along that axis, which
continues them evenly at both ends. A window of a scene gives the same coefficients as the whole if it extends one block beyond
what is wanted.

Compiled with numba, without reordering of sums: every machine computes the same coefficients.

References
----------
Malvar 1990; Princen & Bradley 1986.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.codec.block_model import BlockModel, read_tables
from sarlab.codec.compiled import compiled
from sarlab.codec.spectrum import SmoothSpectrum
from sarlab.codec.tile_model import Borders, model_kinds


class LappedTransform:
    """The transform with blocks of `size` samples a side.

    Parameters
    ----------
    size : int
        A power of two.
    """

    def __init__(self, size: int):
        self.size = size
        position, frequency = np.arange(size) + 0.5, np.arange(size)[:, None]
        scale = np.sqrt(2 / size)
        inner = scale * np.cos(np.pi / size * np.outer(position, position))
        last = scale * np.cos(np.pi / size * frequency * position)
        last[0] /= np.sqrt(2)
        angle = np.pi / 4 - position[: size // 2] * np.pi / (2 * size)
        self._inner, self._last = inner.astype(np.float32), last.astype(np.float32)
        self._cos, self._sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    def forward(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        """Transform a window: float32, (H, W) → (size², H / size, W / size), frequency u·size + v first."""
        folded = np.array(x, np.float32)
        _fold(folded, self.size, self._cos, self._sin)
        y = np.empty((self.size**2, x.shape[0] // self.size, x.shape[1] // self.size), np.float32)
        _forward(folded, self._inner, self._last, borders[2], borders[3], y)
        return y

    def inverse(self, y: np.ndarray, borders: Borders) -> np.ndarray:
        """Invert `forward`: the samples of a window; those within half a block of a side are wrong unless it is a border."""
        size = self.size
        rows = y.any((1, 2)).reshape(size, size).any(1)
        x = np.empty((y.shape[1] * size, y.shape[2] * size), np.float32)
        _inverse(np.ascontiguousarray(y, np.float32), rows, self._inner, self._last, borders[2], borders[3], x)
        _fold(x, size, self._cos, -self._sin, backwards=True)
        return x


@lru_cache(maxsize=8)
def lapped_transform(size: int) -> LappedTransform:
    """Return the transform of a block size; it is made once."""
    return LappedTransform(size)


KIND = "lapped"
#: Side of a block in samples.
BLOCK = 32
#: Upper limits of the zones in which bands are predicted, as a share of the highest frequency.
ZONES = np.array([0.04, 0.08, 0.13, 0.2, 0.3, 0.45, 0.7])
#: A preview has one sample for this many along both axes: frequencies below are the low part.
PREVIEW = 8


class LappedModel(BlockModel):
    """The lapped codec; see `BlockModel` for parameters."""

    channels, stride, analysis_reach, synthesis_reach = BLOCK**2, BLOCK, BLOCK // 2, 1
    deviations = SmoothSpectrum(BLOCK)

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._transform = lapped_transform(BLOCK)
        frequencies = [(u, v) for u in range(BLOCK) for v in range(BLOCK)]
        edge = BLOCK // PREVIEW
        frequencies.sort(key=lambda pair: (max(pair) >= edge, sum(pair), pair))
        self.order, self.low = np.array([u * BLOCK + v for u, v in frequencies], np.int64), edge * edge
        radius = np.hypot(*np.meshgrid(*2 * [(np.arange(BLOCK) + 0.5) / BLOCK], indexing="ij"))
        self.zones = np.searchsorted(ZONES, radius.ravel())

    def transform(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        return self._transform.forward(x, borders)

    def inverse(self, y_hat: np.ndarray, quality: float, borders: Borders) -> np.ndarray:
        return self._transform.inverse(y_hat, borders)


@model_kinds.register(KIND)
def load_lapped(path: Path) -> LappedModel:
    """Read a model's file."""
    tables, _, values, content_hash = read_tables(path, KIND)
    return LappedModel(tables, name=values["name"], content_hash=content_hash)


@compiled
def _fold(x, size, cos, sin, backwards=False):
    """Rotate the samples on both sides of each border within `x`, in place: along rows, then along columns, or backwards."""
    height, width = x.shape
    for axis in range(2):
        if (axis == 0) != backwards:
            for row in range(height):
                for border in range(size, width, size):
                    for n in range(size // 2):
                        after, before = x[row, border + n], x[row, border - 1 - n]
                        x[row, border + n] = cos[n] * after + sin[n] * before
                        x[row, border - 1 - n] = cos[n] * before - sin[n] * after
        else:
            for border in range(size, height, size):
                for n in range(size // 2):
                    for column in range(width):
                        after, before = x[border + n, column], x[border - 1 - n, column]
                        x[border + n, column] = cos[n] * after + sin[n] * before
                        x[border - 1 - n, column] = cos[n] * before - sin[n] * after


@compiled
def _forward(x, inner, last, bottom, right, y):
    size = len(inner)
    height, width = x.shape[0] // size, x.shape[1] // size
    inner_t, last_t = inner.T.copy(), last.T.copy()
    half, block = np.empty((size, size), np.float32), np.empty((size, size), np.float32)
    for i in range(height):
        rows = last if bottom and i == height - 1 else inner
        for j in range(width):
            columns = last_t if right and j == width - 1 else inner_t
            for u in range(size):
                for n in range(size):
                    half[u, n] = 0
                for m in range(size):
                    weight = rows[u, m]
                    for n in range(size):
                        half[u, n] += weight * x[i * size + m, j * size + n]
            for u in range(size):
                for v in range(size):
                    block[u, v] = 0
                for n in range(size):
                    weight = half[u, n]
                    for v in range(size):
                        block[u, v] += weight * columns[n, v]
                for v in range(size):
                    y[u * size + v, i, j] = block[u, v]


@compiled
def _inverse(y, used, inner, last, bottom, right, x):
    """Samples before unfolding; `used` marks the vertical frequencies that are not all zero."""
    size = len(inner)
    height, width = y.shape[1], y.shape[2]
    block, line = np.empty((size, size), np.float32), np.empty(size, np.float32)
    for i in range(height):
        rows = last if bottom and i == height - 1 else inner
        for j in range(width):
            columns = last if right and j == width - 1 else inner
            for m in range(size):
                for n in range(size):
                    block[m, n] = 0
            for u in range(size):
                if not used[u]:
                    continue
                for n in range(size):
                    line[n] = 0
                for v in range(size):
                    weight = y[u * size + v, i, j]
                    if weight != 0:
                        for n in range(size):
                            line[n] += weight * columns[v, n]
                for m in range(size):
                    weight = rows[u, m]
                    for n in range(size):
                        block[m, n] += weight * line[n]
            for m in range(size):
                for n in range(size):
                    x[i * size + m, j * size + n] = block[m, n]
