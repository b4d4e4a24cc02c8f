"""The tiles of a scene: their grid, the models that code them, and the payload of one tile with its masks.

    payload = flags, masks of missing samples, flat blocks, masks of NaN and zeros, code of the active columns

Tiles lie on a grid that begins at the first sample. The analysis of a tile reads a halo around it, clipped at the
borders of the scene, where the transform extends the signal. So the latent of a tile is that of the whole scene; the
synthesis reads the latent of neighboring tiles likewise. There are no seams.

A file may have *flat* blocks, whose valid samples all have the value stated in the header: exact zeros around a swath,
a saturated area. They are marked, and decoded exactly. So are exact zeros elsewhere, one by one. All other samples that
are not missing are *coded*.
Latents far from coded samples are not sent: a latent column is *active* if a coded sample lies in its own block of
samples or in one of the eight blocks around it within the tile. Blocks along a side of the tile are also active if the
encoder marks the side, because coded samples of the neighboring tile are near.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sarlab.codec import entropy
from sarlab.errors import BitstreamError, CodecError

#: (top, left, bottom, right): sides of a window that are borders of the scene.
Borders = tuple[bool, bool, bool, bool]

#: Samples around a place that determine what `fill_invalid` puts there.
FILL_REACH = 16
#: Sides of a tile, one bit each: first row, last row, first column, last column.
SIDES = (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1])
#: Kinds of samples. NaN in a file that marks missing samples by a value or a mask, and zeros outside flat blocks, are kinds of
#: their own.
MISSING, CODED, FLAT, NOT_A_NUMBER, ZERO = range(5)
#: Modes of masks: none, one for all bands, one for each band.
ALL_VALID, SHARED, SEPARATE = range(3)
#: Flags of latent columns.
ACTIVE, LAST_ROW, LAST_COLUMN = 1, 2, 4
#: Side of a flat block in samples.
FLAT_UNIT = 8


class TileModel(ABC):
    """A model that codes tiles of any size.

        x ──analyze──▶ y ──quantize──▶ latent and bytes ──decode──▶ latent ──synthesize──▶ x_hat

    It is given the active latent columns as flags, see `active_flags`; all others are zero and cost nothing. Encoder and
    decoder must agree on every bit of the latent, whose checksum the file holds, so `decode` may use integer arithmetic
    only. The synthesis may use floats.
    """

    #: A file decodes with a model of the same name and hash only.
    name: str
    hash: bytes
    #: Channels of the latent; samples per latent position and axis.
    channels: int
    stride: int
    #: Samples around its own block that a latent position depends on; latent positions around its own that a sample needs.
    analysis_reach: int
    synthesis_reach: int
    #: Range of quality.
    lowest: float
    highest: float
    #: Number of channels whose streams begin a payload, of which a preview is made; 0 if there is no preview.
    low: int = 0

    def for_scene(self, height: int, width: int) -> TileModel:
        """Adapt the model to the size of a scene."""
        return self

    def with_effort(self, effort: str, weight: float = 1.0) -> TileModel:
        """Adapt the time that encoding may take, and the weight of a bit against errors."""
        return self

    @abstractmethod
    def analyze(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        """Transform normalized samples, (bands, H, W), to a latent: float32, (bands, channels, H/stride, W/stride)."""

    def fit_side(self, sample: Sequence[tuple[np.ndarray, np.ndarray]], quality: float) -> bytes:
        """Choose the side information of a file, if there is any, given pairs (y, active) of a sample of the scene."""
        return b""

    def parse_side(self, side: bytes, bands: int) -> Any:
        """Parse side information into the argument `side` of the methods below. Raises `BitstreamError`."""
        if side:
            raise BitstreamError("the side information is damaged: there is none in files of this kind")

    @abstractmethod
    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: Any) -> tuple[np.ndarray, bytes]:
        """Quantize a latent, (bands, channels, h, w), to int32, and code it."""

    @abstractmethod
    def decode(self, data: bytes, active: np.ndarray, quality: float, side: Any, low: bool = False) -> np.ndarray:
        """Decode a latent, or its low part: int32, (bands, channels, h, w), zero at columns that are not active."""

    @abstractmethod
    def synthesize(self, latent: np.ndarray, quality: float, side: Any, borders: Borders) -> np.ndarray:
        """Reconstruct normalized samples: (bands, channels, h, w) → float32, (bands, h·stride, w·stride)."""


# --- grid -------------------------------------------------------------------------------------------------------------


class Window(NamedTuple):
    """A part of a scene, or of its latent."""

    row: int
    column: int
    height: int
    width: int

    def overlap(self, other: Window) -> Window:
        """The part that two windows share; a side is zero or less if there is none."""
        top, left = max(self.row, other.row), max(self.column, other.column)
        bottom = min(self.row + self.height, other.row + other.height)
        return Window(top, left, bottom - top, min(self.column + self.width, other.column + other.width) - left)

    def grown(self, halo: int, extent: tuple[int, int]) -> Window:
        """Extend a window by `halo` samples on each side, up to the borders of a scene of that height and width."""
        wide = Window(self.row - halo, self.column - halo, self.height + 2 * halo, self.width + 2 * halo)
        return wide.overlap(Window(0, 0, *extent))

    def blocks(self, stride: int) -> Window:
        """Latent positions whose blocks a window of samples touches."""
        top, left = self.row // stride, self.column // stride
        bottom, right = blocks(self.row + self.height, stride), blocks(self.column + self.width, stride)
        return Window(top, left, bottom - top, right - left)

    def inside(self, outer: Window) -> tuple[Any, slice, slice]:
        """Index of a window in an array that covers `outer` with its last two axes."""
        top, left = self.row - outer.row, self.column - outer.column
        return ..., slice(top, top + self.height), slice(left, left + self.width)

    def borders(self, extent: tuple[int, int]) -> Borders:
        """Sides of a window that lie on the borders of a scene."""
        return (
            self.row == 0, self.column == 0, self.row + self.height >= extent[0], self.column + self.width >= extent[1],
        )  # fmt: skip


def blocks(length: int, unit: int) -> int:
    """Blocks of `unit` samples that cover `length` samples."""
    return -(-length // unit)


class Tiling:
    """The grid of tiles of one scene: size of the scene, side of a tile, and samples per latent position."""

    def __init__(self, height: int, width: int, tile: int, stride: int):
        if tile < 1 or tile % stride:
            raise CodecError(f"impossible tile of {tile} samples; use a multiple of 64 up to 1024")
        self.extent, self.tile, self.stride = (height, width), tile, stride
        self.rows, self.columns = blocks(height, tile), blocks(width, tile)
        #: Latent positions of the scene along both axes.
        self.latent_shape = blocks(height, stride), blocks(width, stride)

    def window(self, row: int, column: int) -> Window:
        return Window(row * self.tile, column * self.tile, self.tile, self.tile).overlap(Window(0, 0, *self.extent))

    def tiles(self) -> Iterator[Window]:
        """Windows of all tiles, row by row."""
        return (self.window(*place) for place in np.ndindex(self.rows, self.columns))

    def tiles_of(self, window: Window, reach: int = 0) -> tuple[range, range]:
        """Rows and columns of the tiles with the latent of a window and of `reach` positions around it."""
        wide = window.blocks(self.stride).grown(reach, self.latent_shape)
        side = self.tile // self.stride
        rows, columns = (range(wide[i] // side, -(-(wide[i] + wide[i + 2]) // side)) for i in (0, 1))
        return rows, columns

    def checked(self, window: Sequence[int] | None = None) -> Window:
        """Refuse a window that leaves the scene; None is the whole."""
        whole = Window(0, 0, *self.extent)
        window = Window(*window) if window else whole
        if min(window[2:]) < 1 or window.overlap(whole) != window:
            raise CodecError(f"window {list(window)} is empty or leaves the scene of {whole[2]}×{whole[3]} pixels")
        return window


# --- payload of a tile ------------------------------------------------------------------------------------------------


def _cut(part: np.ndarray, side: int) -> np.ndarray:
    """Cut (bands, H, W) into blocks, (bands, h, side, w, side), with zeros beyond the last sample."""
    bands, height, width = part.shape
    if height % side or width % side:
        part = np.pad(part, ((0, 0), (0, -height % side), (0, -width % side)))
    return part.reshape(bands, blocks(height, side), side, -1, side)


def blocks_of(valid: np.ndarray, stride: int) -> np.ndarray:
    """Mark the blocks that have a valid sample: (bands, H, W) → (bands, h, w)."""
    return np.asarray(np.any(np.any(_cut(valid, stride), 2), 3))  # ten times as fast as both axes at once


def reduced(x: np.ndarray, kinds: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Average the coded samples of each block; the block is coded if it has one, else flat, else zero, else missing."""
    coded = kinds == CODED
    total, count = (_cut(part, side).sum(2).sum(3) for part in (np.where(coded, x, np.float32(0)), coded))
    found = [count > 0, *(blocks_of(kinds == kind, side) for kind in (FLAT, ZERO))]
    of_blocks = np.select(found, (CODED, FLAT, ZERO), MISSING)
    return (total / np.maximum(count, 1)).astype(np.float32), of_blocks.astype(np.uint8)


def kinds_of(valid: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """`MISSING`, `CODED` or `FLAT` for each sample: uint8, (bands, H, W); `flat` has a value per block of `FLAT_UNIT`²."""
    kinds = valid.astype(np.uint8)
    if flat.any():
        kinds <<= flat.repeat(FLAT_UNIT, 1).repeat(FLAT_UNIT, 2)[:, : valid.shape[1], : valid.shape[2]]
    return kinds


def measured(kinds: np.ndarray) -> np.ndarray:
    """Mark the samples that are not missing."""
    return (kinds != MISSING) & (kinds != NOT_A_NUMBER)


def active_flags(coded: np.ndarray, stride: int, sides: int, borders: Borders) -> np.ndarray:
    """Flags of the latent columns of a tile, given its coded samples, (bands, H, W), and borders: uint8, (bands, h, w).

    `ACTIVE` for columns that are coded; if bit i of `sides` is set, the blocks along side i (of `SIDES`) are, in every
    band. `LAST_ROW` and `LAST_COLUMN` for those at the far borders of the scene, whose blocks may be smaller than others.
    """
    active = dilated(blocks_of(coded, stride))
    for bit, where in enumerate(SIDES):
        if sides >> bit & 1:
            active[where] = True
    flags = active.astype(np.uint8)
    if borders[2]:
        flags[:, -1] |= LAST_ROW
    if borders[3]:
        flags[:, :, -1] |= LAST_COLUMN
    return flags


def dilated(blocks: np.ndarray) -> np.ndarray:
    """Grow a mask by one block in all eight directions."""
    return _around(blocks, np.logical_or)


def _around(part: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """Combine each value with its eight neighbors."""
    part = np.pad(part, ((0, 0), (1, 1), (1, 1)))
    rows = combine(combine(part[:, :-2], part[:, 1:-1]), part[:, 2:])
    return np.asarray(combine(combine(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:]))


def encode_tile(
    model: TileModel, y: np.ndarray, kinds: np.ndarray, sides: int, borders: Borders, quality: float, side: Any
) -> tuple[bytes, int]:
    """Code a tile, given its latent, the kinds of its samples, (bands, H, W), and the active sides.

    Returns its payload, and the checksum of the quantized latent.
    """
    active = active_flags(kinds == CODED, model.stride, sides, borders)
    latent, code = np.zeros(y.shape, np.int32), b""
    if (active & ACTIVE).any():
        latent, code = model.quantize(y, active, quality, side)
    valid, flat, marked = measured(kinds), blocks_of(kinds == FLAT, FLAT_UNIT), kinds >= NOT_A_NUMBER
    if (kinds == ZERO).any():
        marked = marked | (kinds == FLAT)  # bits there mean nothing, and whole areas cost fewer
    mode = ALL_VALID if valid.all() else SHARED if (valid == valid[0]).all() else SEPARATE
    masks = [*valid[: (0, 1, len(valid))[mode]], *(flat if flat.any() else ()), *(marked if marked.any() else ())]
    flags = mode | int(flat.any()) << 2 | sides << 3 | int(marked.any()) << 7
    return bytes([flags]) + entropy.join([*map(entropy.pack_mask, masks), code]), checksum(latent)


def decode_tile(
    model: TileModel, payload: bytes, shape: tuple[int, int, int], borders: Borders, quality: float, side: Any,
    low: bool = False,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Decode a tile of `shape` (bands, H, W): its latent, or the low part of it, and the kinds of its samples.

    Raises `BitstreamError` if the payload is damaged; only the checksum of the latent finds wrong values.
    """
    kinds, sides, code = unpack_masks(payload, shape)
    active = active_flags(kinds == CODED, model.stride, sides, borders)
    if (active & ACTIVE).any():
        return model.decode(code, active, quality, side, low), kinds
    return np.zeros((shape[0], model.channels, *active.shape[1:]), np.int32), kinds


def unpack_masks(payload: bytes, shape: tuple[int, int, int]) -> tuple[np.ndarray, int, bytes]:
    """Kinds of the samples of a tile, sides that are active, and the code of its latent."""
    if not payload or first_mode(payload) > SEPARATE:
        raise BitstreamError("the payload is damaged: unknown flags")
    cursor, bands = entropy.Cursor(payload), shape[0]
    flags = cursor.take(1)[0]

    def masks(count: int, height: int, width: int) -> np.ndarray:
        return np.stack([entropy.unpack_mask(cursor.block(), (height, width)) for _ in range(count)])

    valid = np.ones(shape, bool)
    if first_mode(payload) != ALL_VALID:
        valid[:] = masks(1 if first_mode(payload) == SHARED else bands, *shape[1:])
    kinds = valid.astype(np.uint8)
    if flags >> 2 & 1:
        kinds = kinds_of(valid, masks(bands, *(blocks(n, FLAT_UNIT) for n in shape[1:])))
    if flags >> 7:
        marked = masks(bands, *shape[1:])
        kinds[marked & (kinds == CODED)] = ZERO
        kinds[marked & ~valid] = NOT_A_NUMBER
    return kinds, flags >> 3 & 15, cursor.take(cursor.left)


def first_mode(payload: bytes) -> int:
    """Mode of the masks of a payload: `ALL_VALID`, `SHARED` or `SEPARATE`."""
    return payload[0] & 3


def checksum(latent: np.ndarray) -> int:
    """Lower 16 bits of the CRC-32 of the latent as little-endian 32-bit integers."""
    return zlib.crc32(np.ascontiguousarray(latent, "<i4").data) & 0xFFFF


def fill_invalid(x: np.ndarray, valid: np.ndarray, neutral: float = 0.0) -> np.ndarray:
    """Replace invalid samples by values that cost few bits: means of valid samples nearby, `neutral` far from all of them.

    The mean is that of the smallest of the 2×2, 4×4 or 8×8 block, or 3×3 such blocks, that has a valid sample. It
    depends on samples within `FILL_REACH` only, so overlapping pieces of a scene agree. Decoders never see the values.
    The first sample of `x`, float32 (bands, H, W), lies at a multiple of 8 in the scene.
    """
    if valid.all():
        return x
    height, width = x.shape[1:]
    pad = ((0, 0), (0, -height % 8), (0, -width % 8))
    total = np.zeros(x.shape, np.float32)
    np.copyto(total, x, where=valid)
    weight, total = np.pad(valid, pad).astype(np.float32), np.pad(total, pad)
    levels = []
    for _ in range(3):
        weight, total = _halved(weight), _halved(total)
        levels.append((weight, total))
    around = tuple(_around(part, np.add) for part in levels[-1])
    filled = np.where(around[0] > 0, around[1] / np.maximum(around[0], 1), np.float32(neutral))
    for weight, total in reversed(levels):
        if filled.shape != weight.shape:
            filled = filled.repeat(2, 2).repeat(2, 1)
        filled = np.where(weight > 0, total / np.maximum(weight, 1), filled)
    filled = filled.repeat(2, 2).repeat(2, 1)[:, :height, :width]
    np.copyto(filled, x, where=valid)
    return filled


def _halved(part: np.ndarray) -> np.ndarray:
    return part[:, 0::2, 0::2] + part[:, 0::2, 1::2] + part[:, 1::2, 0::2] + part[:, 1::2, 1::2]


# --- analysis of windows -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Piece:
    """An analyzed window."""

    window: Window
    #: Samples covered by the latent positions in `y`: the window and its margin, rounded up to whole positions.
    wide: Window
    #: Latent before quantization: float32, shape (bands, channels, h, w).
    y: np.ndarray
    #: Normalized samples of the window: float32, shape (bands, H, W).
    x: np.ndarray
    #: Kinds of the samples of `outer`.
    outer_kinds: np.ndarray
    outer: Window
    tiling: Tiling

    def kinds(self, window: Window) -> np.ndarray:
        """Kinds of samples: uint8, shape (bands, H, W)."""
        return self.outer_kinds[window.inside(self.outer)]

    def latent(self, window: Window) -> np.ndarray:
        """Latent of a part that begins at a multiple of the stride."""
        stride = self.tiling.stride
        return self.y[window.blocks(stride).inside(self.wide.blocks(stride))]

    def sides(self, window: Window) -> int:
        """Borders of a tile beyond which the next row or column of blocks has coded samples, as bits."""
        stride, coded = self.tiling.stride, self.outer_kinds == CODED
        if coded[window.inside(self.outer)].all() or not coded.any():
            return 0
        near = np.pad(blocks_of(coded, stride).any(0, keepdims=True), ((0, 0), (1, 1), (1, 1)))
        _, rows, columns = window.blocks(stride).inside(self.outer.blocks(stride))
        near = near[:, rows.start : rows.stop + 2, columns.start : columns.stop + 2]
        return sum(int(near[side].any()) << bit for bit, side in enumerate(SIDES))

    def active(self, window: Window) -> np.ndarray:
        """Flags of the latent columns of a tile."""
        borders = window.borders(self.tiling.extent)
        return active_flags(self.kinds(window) == CODED, self.tiling.stride, self.sides(window), borders)


def analyze(
    read: Callable[[Window], Any], normalized: Callable[[Any], tuple[np.ndarray, np.ndarray]], model: TileModel,
    tiling: Tiling, window: Window, margin: int = 0,
) -> Piece:  # fmt: skip
    """Analyze a window that begins at a multiple of the stride, and `margin` latent positions around it.

    `read` returns a window of the scene, and `normalized` its normalized samples and their kinds.
    """
    extent, stride = tiling.extent, model.stride
    reach = blocks(model.analysis_reach, stride) * stride
    outer = window.grown(reach + blocks(FILL_REACH, stride) * stride + margin * stride, extent)
    x, kinds = normalized(read(outer))
    coded, wide = kinds == CODED, window.grown(margin * stride, extent)
    needed = wide.grown(reach, extent)
    filled = fill_invalid(x, coded)[needed.inside(outer)]
    padding = [(0, 0), *((0, -length % stride) for length in filled.shape[1:])]
    y = model.analyze(np.pad(filled, padding, mode="edge"), needed.borders(extent))
    if not coded.all():
        # Columns far from coded samples are zero, even if the border of a tile makes some of them active.
        near = dilated(blocks_of(coded, stride))
        y = y * near[needed.blocks(stride).inside(outer.blocks(stride))][:, None]
    y = y[wide.blocks(stride).inside(needed.blocks(stride))]
    return Piece(window, wide, y, x[window.inside(outer)], kinds, outer, tiling)
