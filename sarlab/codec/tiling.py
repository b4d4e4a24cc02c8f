"""Which samples a tile needs, and which tiles a window needs.

Tiles lie on a grid from the first sample on. The analysis of a tile reads a halo around it, clipped at the borders of the
scene, where the transform extends the signal by itself: a tile's latent is that of the whole scene. The synthesis of a
tile reads the latent of its neighbors likewise. So there are no seams, and the size of tiles is a matter of convenience.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sarlab.errors import CodecError

#: (row, column, height, width).
Window = tuple[int, int, int, int]

#: Samples of halo beyond the reach of the analysis: as far as `fill_invalid` looks.
FILL_REACH = 16
#: Neighboring tiles that are transformed together, because they share most of their halos.
TILES_PER_RUN = 4


@dataclass(frozen=True)
class Tiling:
    """The grid of tiles of one scene.

    Parameters
    ----------
    height, width : int
        Of the scene in samples.
    tile : int
        Side of a tile in samples.
    stride : int
        Samples per latent position; `tile` is a multiple of it.
    """

    height: int
    width: int
    tile: int
    stride: int

    def __post_init__(self) -> None:
        if self.tile % self.stride:
            raise CodecError(f"a tile of {self.tile} samples is not a multiple of the model's stride {self.stride}")

    @property
    def rows(self) -> int:
        return -(-self.height // self.tile)

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile)

    def window(self, row: int, column: int, count: int = 1) -> Window:
        """Samples of `count` tiles side by side."""
        top, left = row * self.tile, column * self.tile
        return top, left, min(self.tile, self.height - top), min(count * self.tile, self.width - left)

    def number(self, row: int, column: int) -> int:
        """Position of a tile in a file."""
        return row * self.columns + column

    def runs(self, row: int, first: int = 0, last: int | None = None) -> Iterator[tuple[int, int]]:
        """(column, count) of the runs of a row of tiles, from tile `first` to before `last`."""
        last = self.columns if last is None else last
        for column in range(first, last, TILES_PER_RUN):
            yield column, min(TILES_PER_RUN, last - column)

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Latent positions of the whole scene along both axes."""
        return -(-self.height // self.stride), -(-self.width // self.stride)

    def tiles_of(self, window: Window, reach: int = 0) -> tuple[range, range]:
        """Rows and columns of the tiles that hold the latent of a window and `reach` positions around it."""
        wide = grown(blocks_covering(window, self.stride), reach, *self.latent_shape)
        side = self.tile // self.stride
        rows, columns = (range(wide[i] // side, -(-(wide[i] + wide[i + 2]) // side)) for i in (0, 1))
        return rows, columns

    def check_window(self, window: Window) -> None:
        """Refuse a window that leaves the scene."""
        row, column, height, width = window
        if (
            row < 0
            or column < 0
            or height < 1
            or width < 1
            or row + height > self.height
            or column + width > self.width
        ):
            raise CodecError(
                f"window {window} (row, column, height, width) leaves the scene of {self.height}×{self.width} samples"
            )


def grown(window: Window, halo: int, height: int, width: int) -> Window:
    """Window with up to `halo` samples around it, as far as the scene reaches."""
    row, column, rows, columns = window
    top, left = max(0, row - halo), max(0, column - halo)
    return top, left, min(height, row + rows + halo) - top, min(width, column + columns + halo) - left


def blocks_covering(window: Window, stride: int) -> Window:
    """Latent positions (row, column, height, width) of all blocks that a window of samples touches."""
    row, column, height, width = window
    top, left = row // stride, column // stride
    return top, left, -(-(row + height) // stride) - top, -(-(column + width) // stride) - left


def inside(window: Window, outer: Window) -> tuple[slice, slice]:
    """Slices that cut `window` out of an array that covers `outer`."""
    top, left = window[0] - outer[0], window[1] - outer[1]
    return slice(top, top + window[2]), slice(left, left + window[3])


def rounded_up(length: int, unit: int) -> int:
    """Smallest multiple of `unit` that is not below `length`."""
    return -(-length // unit) * unit
