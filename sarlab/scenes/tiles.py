"""Tiles: grids, halos and stitching, training patches, and contiguous blocks with a guard between them.

Two ways to process a large image by pieces. With a **halo** as wide as the reach of the operation, each tile is computed
from its surroundings and only its core is kept: the result equals that of the whole image and nothing is blended
(`map_tiles`). Where the reach is larger than any halo one can afford, overlapping tiles are blended with linear ramps
(`stitch`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.radiometry import Normalizer
from sarlab.scenes.scene import Scene

#: (row, column, height, width) in pixels.
Window = tuple[int, int, int, int]


def grid(height: int, width: int, tile: int, overlap: int = 0) -> list[Window]:
    """Windows of at most `tile`×`tile` pixels that cover an image, row by row.

    Neighbors share `overlap` pixels; the last window of a row or column is moved back to end at the border, so that all
    have the same size where the image is large enough.
    """
    if tile < 1 or not 0 <= overlap < tile:
        raise SceneError(
            f"tiles need a side of at least 1 and an overlap below it, not side {tile} and overlap {overlap}"
        )
    rows, columns = _starts(height, tile, overlap), _starts(width, tile, overlap)
    return [(r, c, min(tile, height), min(tile, width)) for r in rows for c in columns]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    starts = list(range(0, length - tile, tile - overlap))
    return [*starts, length - tile]


def cut(array: np.ndarray, window: Window, halo: int = 0) -> tuple[np.ndarray, Window]:
    """View of a window with up to `halo` pixels around it (fewer at the border).

    Parameters
    ----------
    array : ndarray, shape (..., height, width)
    window : (row, column, height, width)
    halo : int

    Returns
    -------
    view : ndarray, shape (..., height + up to 2·halo, width + up to 2·halo)
    core : (row, column, height, width)
        Where the window lies in the view.
    """
    row, column, height, width = window
    top, left = max(0, row - halo), max(0, column - halo)
    bottom, right = min(array.shape[-2], row + height + halo), min(array.shape[-1], column + width + halo)
    return array[..., top:bottom, left:right], (row - top, column - left, height, width)


def map_tiles(operation: Callable[[np.ndarray], np.ndarray], array: np.ndarray, tile: int, halo: int = 0) -> np.ndarray:
    """Apply a local operation tile by tile; equal to applying it to the whole where `halo` covers its reach.

    Parameters
    ----------
    operation : callable
        Array of shape (..., h, w) → array of shape (..., h, w); leading axes may change, the last two may not.
    array : ndarray, shape (..., height, width)
    tile, halo : int
        Side of the core and width of the surroundings in pixels.
    """
    out: np.ndarray | None = None
    for window in grid(array.shape[-2], array.shape[-1], tile):
        view, (row, column, height, width) = cut(array, window, halo)
        piece = operation(view)
        if piece.shape[-2:] != view.shape[-2:]:
            raise SceneError(
                f"a tiled operation must keep the size of its input: {view.shape[-2:]} became {piece.shape[-2:]}"
            )
        if out is None:
            out = np.empty((*piece.shape[:-2], *array.shape[-2:]), piece.dtype)
        r, c, _, _ = window
        out[..., r : r + height, c : c + width] = piece[..., row : row + height, column : column + width]
    assert out is not None
    return out


def stitch(pieces: Sequence[np.ndarray], windows: Sequence[Window], height: int, width: int) -> np.ndarray:
    """Join overlapping pieces with linear ramps; pieces that agree in their overlaps give their image back.

    Parameters
    ----------
    pieces : sequence of ndarray, shape (..., h, w)
        In the order of `windows`.
    windows : sequence of (row, column, height, width)
        As from `grid`.
    """
    lead = pieces[0].shape[:-2]
    total, weight = np.zeros((*lead, height, width)), np.zeros((height, width))
    for piece, (row, column, h, w) in zip(pieces, windows, strict=True):
        ramp = np.minimum.outer(_ramp(h), _ramp(w))
        total[..., row : row + h, column : column + w] += piece * ramp
        weight[row : row + h, column : column + w] += ramp
    if (weight == 0).any():
        raise SceneError("the pieces do not cover the image; use windows from grid()")
    return (total / weight).astype(np.result_type(pieces[0].dtype, np.float32))


def _ramp(length: int) -> np.ndarray:
    position = np.arange(length)
    return np.minimum(position, position[::-1]) + 1.0


def fill_nodata(data: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Replace invalid samples by the nearest valid one of the same band; zeros where a band has none.

    Networks and transforms need a number everywhere; the mask says which numbers are not measurements.

    Parameters
    ----------
    data : ndarray of float, shape (bands, height, width)
    valid : ndarray of bool, same shape
    """
    if valid.all():
        return data
    from scipy.ndimage import distance_transform_edt

    out = data.copy()
    for band in range(data.shape[0]):
        if not valid[band].any():
            out[band] = 0
        elif not valid[band].all():
            nearest = distance_transform_edt(~valid[band], return_distances=False, return_indices=True)
            out[band] = data[band][tuple(nearest)]
    return out


class PatchSampler:
    """Random square training patches from scenes, each a single band, without nodata.

    Every admissible position of every band has the same probability. Where a scene is smaller than a patch it is
    mirrored at its borders; where no position anywhere is free of nodata, nodata is filled from its neighbors.

    Parameters
    ----------
    scenes : sequence of Scene
    size : int
        Side in pixels.
    normalizers : mapping of band name to Normalizer, optional
        Applied to the samples where given.
    """

    def __init__(self, scenes: Sequence[Scene], size: int, normalizers: Mapping[str, Normalizer] | None = None):
        if size < 1:
            raise SceneError(f"patches need a side of at least 1 pixel, not {size}")
        self.size = size
        self._planes: list[np.ndarray] = []
        self._positions: list[np.ndarray | None] = []
        self.bands: list[str] = []
        for allow_fill in (False, True):
            for scene in scenes:
                self._add(scene, normalizers, allow_fill)
            if self._planes:
                break
        #: True where nodata had to be filled to find any patch.
        self.filled = bool(self._planes) and allow_fill
        if not self._planes:
            raise SceneError("no training patch can be cut: the training scenes hold no valid sample")
        counts = np.array(
            [
                self._count(plane) if p is None else p.size
                for plane, p in zip(self._planes, self._positions, strict=True)
            ]
        )
        self._share = np.cumsum(counts) / counts.sum()

    def _count(self, plane: np.ndarray) -> int:
        return (plane.shape[0] - self.size + 1) * (plane.shape[1] - self.size + 1)

    def _add(self, scene: Scene, normalizers: Mapping[str, Normalizer] | None, allow_fill: bool) -> None:
        data = fill_nodata(scene.data, scene.valid) if allow_fill else scene.data
        for index, band in enumerate(scene.bands):
            valid = scene.valid[index]
            if not valid.any():
                continue
            pad = [(0, max(0, self.size - side)) for side in valid.shape]
            plane = np.pad(data[index], pad, mode="symmetric")
            positions = None
            if not valid.all() and not allow_fill:
                positions = np.flatnonzero(_all_valid(np.pad(valid, pad, mode="symmetric"), self.size))
                if positions.size == 0:
                    continue
            if normalizers is not None:
                plane = normalizers[band].normalize(plane)
            self._planes.append(np.ascontiguousarray(plane, np.float32))
            self._positions.append(positions)
            self.bands.append(band)

    def sample(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Draw patches: float32, shape (count, size, size)."""
        out = np.empty((count, self.size, self.size), np.float32)
        for k in range(count):
            which = int(np.searchsorted(self._share, generator.random(), side="right"))
            which = min(which, len(self._planes) - 1)
            plane, positions = self._planes[which], self._positions[which]
            total = self._count(plane) if positions is None else positions.size
            drawn = int(generator.integers(total))
            row, column = divmod(drawn if positions is None else int(positions[drawn]), plane.shape[1] - self.size + 1)
            out[k] = plane[row : row + self.size, column : column + self.size]
        return out

    def batches(self, count: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Endless draws of `count` patches."""
        while True:
            yield self.sample(count, generator)


def _all_valid(valid: np.ndarray, size: int) -> np.ndarray:
    """True at each top left position whose `size`×`size` window holds no invalid sample."""
    sums = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)
    sums[1:, 1:] = np.cumsum(np.cumsum(~valid, 0), 1)
    return (sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]) == 0


@dataclass(frozen=True)
class Blocks:
    """Contiguous parts of one scene.

    Attributes
    ----------
    train, validation, test : (row, column, height, width)
    guard : int
        Pixels between any two of them; 0 where the scene was too small to be cut and all three are the whole scene.
    """

    train: Window
    validation: Window
    test: Window
    guard: int

    @property
    def separate(self) -> bool:
        """False where training, validation and test are the same pixels."""
        return self.guard > 0


def blocks_with_guard(height: int, width: int, guard: int = 64) -> Blocks:
    """Cut a scene into contiguous training, validation and test blocks with a guard between them.

    Where both sides have six guards or more, training takes 60 % of the longer one and the rest is cut across, 70 % test
    and 30 % validation. Where only one has, the scene is cut along it, 60 : 15 : 25. Where none has, the guard shrinks
    to a sixth of the shorter side (of the longer one for strips below 60 pixels). Below 12 pixels nothing can be cut.
    """
    if width > height:
        flipped = blocks_with_guard(width, height, guard)
        train, validation, test = ((c, r, w, h) for r, c, h, w in (flipped.train, flipped.validation, flipped.test))
        return Blocks(train, validation, test, flipped.guard)
    if height < 12:
        whole = (0, 0, height, width)
        return Blocks(whole, whole, whole, 0)
    if height < 6 * guard:
        guard = width // 6 if width >= 60 else height // 6
    if width >= max(6 * guard, 60):
        cut_row = round(0.6 * (height - guard))
        top, rows = cut_row + guard, height - cut_row - guard
        across = round(0.7 * (width - guard))
        test, validation = (top, 0, rows, across), (top, across + guard, rows, width - across - guard)
        return Blocks((0, 0, cut_row, width), validation, test, guard)
    usable = height - 2 * guard
    first = max(1, round(0.6 * usable))
    second = max(1, round(0.15 * usable))
    start = first + guard
    end = start + second + guard
    return Blocks((0, 0, first, width), (start, 0, second, width), (end, 0, height - end, width), guard)


def duplicate_share(band: np.ndarray) -> float:
    """Share of pixels that equal their left neighbor exactly, among pairs without nodata.

    Products that were resampled by nearest neighbor hold copies, which a learned codec can exploit and JPEG 2000 cannot.

    Parameters
    ----------
    band : ndarray, shape (height, width)
        NaN marks nodata. Exact zeros (minus infinity dB) are left out: they are equal for another reason.

    Returns
    -------
    float
        Between 0 and 1; NaN where there is no pair.
    """
    left, right = band[:, :-1], band[:, 1:]
    usable = np.isfinite(left) & np.isfinite(right) & (left != 0)
    return float((left == right)[usable].mean()) if usable.any() else float("nan")
