"""The default codec: a lapped transform, blocks of cosines that overlap their neighbors by half, orthonormal and without seams.

    x ──fold──▶ ──DCT-IV──▶ y ──/ step──▶ search ──▶ k ──▶ bytes
    lapped      lapped            block_model, trellis, entropy

The transform is the modulated lapped transform (MLT, also MDCT or TDAC) of B×B frequencies per block. At each border between two
blocks, samples at equal distances from the border are rotated into each other ("folded") by angles that follow from a sine window;
then each block is transformed by a DCT-IV. Both steps are orthonormal, so squared errors of coefficients are squared errors of
samples. The file states the scene's own spectrum, from which both sides know how large coefficients are likely to be.

Blocks begin at the first sample of the scene. Its borders are not folded: the DCT-IV continues a block evenly at its top and left,
and the last blocks, at the bottom and at the right of the scene, are transformed by a DCT-II along that axis, which continues them
evenly at both ends. Last blocks have as many samples as are left; fewer samples reach over the border before them, and their
frequencies stand at the nearest ones of a whole block. A window of a scene gives the same coefficients as the whole if it extends
one block beyond what is wanted. Sums are not reordered: every machine computes the same coefficients.

References
----------
Malvar 1990; Princen & Bradley 1986.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import numpy as np

from sarlab.codec.block_model import BlockModel, smooth_spectrum
from sarlab.codec.tiles import LAST_COLUMN, LAST_ROW, Borders
from sarlab.models.compiled import compiled


class LappedTransform:
    """The transform of a scene with blocks of `size` samples a side.

    Parameters
    ----------
    size : int
        Even.
    last_rows, last_columns : int
        Samples of the blocks at the bottom and at the right of the scene, at most `size`.
    """

    def __init__(self, size: int, last_rows: int, last_columns: int):
        self.size = size
        position = np.arange(size) + 0.5
        self._inner = (np.sqrt(2 / size) * np.cos(np.pi / size * np.outer(position, position))).astype(np.float32)
        self._outer = [_last_block(size, length) for length in (last_rows, last_columns)]
        self._angles = np.array([_angles(size, length) for length in (size, last_rows, last_columns)], np.float32)

    def forward(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        """Transform a window: float32, (H, W) → (size², H / size, W / size), frequency u·size + v first."""
        x = np.array(x, np.float32)
        self._fold(x, borders)
        y = np.empty((self.size**2, x.shape[0] // self.size, x.shape[1] // self.size), np.float32)
        _forward(x, self._inner, *self._outer, borders[2], borders[3], y)
        return y

    def inverse(self, y: np.ndarray, borders: Borders) -> np.ndarray:
        """Invert `forward`: the samples of a window; those within half a block of a side are wrong unless it is a border."""
        x = np.empty((y.shape[1] * self.size, y.shape[2] * self.size), np.float32)
        _inverse(np.ascontiguousarray(y, np.float32), self._inner, *self._outer, borders[2], borders[3], x)
        self._fold(x, borders, backwards=True)
        return x

    def _fold(self, x: np.ndarray, borders: Borders, backwards: bool = False) -> None:
        """Rotate the samples on both sides of each border within `x`, in place: along rows, then along columns, or backwards."""
        size, half = self.size, self.size // 2
        axes = [(x.T, borders[3], self._angles[2]), (x, borders[2], self._angles[1])]
        for lines, at_end, last in reversed(axes) if backwards else axes:
            for border in range(size, len(lines), size):
                cos, sin = (last if at_end and border + size >= len(lines) else self._angles[0])[:, :, None]
                after, before = lines[border : border + half], lines[border - half : border][::-1]
                sin = -sin if backwards else sin
                after[:], before[:] = cos * after + sin * before, cos * before - sin * after


def places(size: int, length: int) -> np.ndarray:
    """Frequencies of a block of `size` samples that stand for those of a block of `length` samples."""
    return ((2 * np.arange(length) + 1) * size) // (2 * length)


def _last_block(size: int, length: int) -> np.ndarray:
    """DCT-II of the first `length` samples of a block: (size, size), zero at frequencies that it does not have."""
    position, frequency = np.arange(length) + 0.5, np.arange(length)[:, None]
    basis = np.sqrt(2 / length) * np.cos(np.pi / length * frequency * position)
    basis[0] /= np.sqrt(2)
    matrix = np.zeros((size, size), np.float32)
    matrix[places(size, length), :length] = basis
    return matrix


def _angles(size: int, length: int) -> np.ndarray:
    """Cosines and sines of the rotations at a border before a block of `length` samples: (2, size // 2)."""
    reach = length // 2
    angle = np.zeros(size // 2)
    angle[:reach] = np.pi / 4 - (np.arange(reach) + 0.5) * np.pi / (4 * max(reach, 1))
    return np.stack([np.cos(angle), np.sin(angle)])


#: Transforms, made once.
lapped_transform = lru_cache(maxsize=8)(LappedTransform)
#: Side of a block in samples.
BLOCK = 32
#: Upper limits of the zones in which bands are predicted, as a share of the highest frequency.
ZONES = np.array([0.04, 0.08, 0.13, 0.2, 0.3, 0.45, 0.7])


class LappedModel(BlockModel):
    """The lapped codec; see `BlockModel` for parameters."""

    block, channels, stride, analysis_reach, synthesis_reach = BLOCK, BLOCK**2, BLOCK, BLOCK // 2, 1
    deviations = smooth_spectrum(BLOCK)

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        size, edge = self.block, self.block // 8
        self._transform = lapped_transform(size, size, size)
        u, v = np.divmod(np.arange(size * size), size)
        self.order, self.low = np.lexsort((v, u, u + v, np.maximum(u, v) >= edge)), edge * edge
        self.zones = np.searchsorted(ZONES, np.hypot(u + 0.5, v + 0.5) / size)
        self.absent = np.zeros(size * size, np.uint8)

    def for_scene(self, height: int, width: int) -> LappedModel:
        size, adapted = self.block, copy.copy(self)
        last = [(length - 1) % size + 1 for length in (height, width)]
        adapted._transform = lapped_transform(size, *last)
        rows, columns = (np.isin(np.arange(size), places(size, length), invert=True) for length in last)
        adapted.absent = (LAST_ROW * rows[:, None] | LAST_COLUMN * columns).astype(np.uint8).ravel()
        return adapted

    def transform(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        return self._transform.forward(x, borders)

    def inverse(self, y_hat: np.ndarray, quality: float, borders: Borders) -> np.ndarray:
        return self._transform.inverse(y_hat, borders)


@compiled
def _forward(x, inner, last_rows, last_columns, bottom, right, y):
    size, (_, height, width) = len(inner), y.shape
    half, line = np.empty((size, size), np.float32), np.empty(size, np.float32)
    inner_t, last_t = inner.T.copy(), last_columns.T.copy()
    for i in range(height):
        rows = last_rows if bottom and i == height - 1 else inner
        for j in range(width):
            columns = last_t if right and j == width - 1 else inner_t
            for u in range(size):
                half[u] = 0
                for m in range(size):
                    weight = rows[u, m]
                    for n in range(size):
                        half[u, n] += weight * x[i * size + m, j * size + n]
            for u in range(size):
                line[:] = 0
                for n in range(size):
                    weight = half[u, n]
                    for v in range(size):
                        line[v] += weight * columns[n, v]
                for v in range(size):
                    y[u * size + v, i, j] = line[v]


@compiled
def _inverse(y, inner, last_rows, last_columns, bottom, right, x):
    """Samples before unfolding; most coefficients are zero."""
    size, (_, height, width) = len(inner), y.shape
    block, line = np.empty((size, size), np.float32), np.empty(size, np.float32)
    for i in range(height):
        rows = last_rows if bottom and i == height - 1 else inner
        for j in range(width):
            columns = last_columns if right and j == width - 1 else inner
            block[:] = 0
            for u in range(size):
                line[:], some = 0, False
                for v in range(size):
                    weight = y[u * size + v, i, j]
                    if weight != 0:
                        some = True
                        for n in range(size):
                            line[n] += weight * columns[v, n]
                if some:
                    for m in range(size):
                        weight = rows[u, m]
                        for n in range(size):
                            block[m, n] += weight * line[n]
            x[i * size : (i + 1) * size, j * size : (j + 1) * size] = block
