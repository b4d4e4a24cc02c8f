"""The tiles of a scene: their grid, and the payload of one tile with its masks of missing and flat samples.

    payload = range-coded (masks of all bands, flat blocks of all bands, borders that are active, latent of the active
    columns)

Tiles lie on a grid that begins at the first sample. The analysis of a tile reads a halo around it, clipped at the
borders of the scene, where the transform extends the signal. So the latent of a tile is that of the whole scene; the
synthesis reads the latent of neighboring tiles likewise. There are no seams, and the size of a tile is a matter of
convenience.

A file may have *flat* blocks, whose valid samples all have the value stated in the header: exact zeros around a swath,
a saturated area. They are marked, and decoded exactly. A sample that is neither missing nor in a flat block is *coded*.
Latents far from coded samples are not sent: a latent column is *active* if a coded sample lies in its own block of
samples or in one of the eight blocks around it within the tile. Blocks along a side of the tile are also active if the
encoder marks the side, because coded samples of the neighboring tile are near.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import TOTAL, Table
from sarlab.codec.tile_model import QuantizedTile, TileModel
from sarlab.errors import BitstreamError, CodecError

#: (row, column, height, width).
Window = tuple[int, int, int, int]

#: Neighboring tiles that are transformed together, because they share most of their halos.
TILES_PER_RUN = 4
#: Samples around a place that determine what `fill_invalid` puts there.
FILL_REACH = 16
#: Sides of a tile, one bit each: first row, last row, first column, last column.
SIDES: tuple[tuple[int | slice, int | slice], ...] = (
    (0, slice(None)),
    (-1, slice(None)),
    (slice(None), 0),
    (slice(None), -1),
)
#: Kinds of samples.
MISSING, CODED, FLAT = range(3)


@dataclass(frozen=True)
class Tiling:
    """The grid of tiles of one scene."""

    #: Of the scene in samples.
    height: int
    width: int
    #: Side of a tile in samples.
    tile: int
    #: Samples per latent position; `tile` is a multiple of it.
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
        """Window of `count` tiles side by side."""
        top, left = row * self.tile, column * self.tile
        return top, left, min(self.tile, self.height - top), min(count * self.tile, self.width - left)

    def number(self, row: int, column: int) -> int:
        """Number of a tile in the file."""
        return row * self.columns + column

    def runs(self, row: int, first: int = 0, last: int | None = None) -> Iterator[tuple[int, int]]:
        """Split a row of tiles, from `first` to before `last`, into runs (column, count)."""
        last = self.columns if last is None else last
        for column in range(first, last, TILES_PER_RUN):
            yield column, min(TILES_PER_RUN, last - column)

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Latent positions of the scene along both axes."""
        return -(-self.height // self.stride), -(-self.width // self.stride)

    def tiles_of(self, window: Window, reach: int = 0) -> tuple[range, range]:
        """Rows and columns of the tiles with the latent of a window and of `reach` positions around it."""
        wide = grown(blocks_covering(window, self.stride), reach, *self.latent_shape)
        side = self.tile // self.stride
        rows, columns = (range(wide[i] // side, -(-(wide[i] + wide[i + 2]) // side)) for i in (0, 1))
        return rows, columns

    def check_window(self, window: Window) -> None:
        """Refuse a window that leaves the scene."""
        row, column, height, width = window
        inside_rows = row >= 0 and height >= 1 and row + height <= self.height
        if not (inside_rows and column >= 0 and width >= 1 and column + width <= self.width):
            raise CodecError(
                f"window {window} (row, column, height, width) leaves the scene of {self.height}×{self.width} samples"
            )


def grown(window: Window, halo: int, height: int, width: int) -> Window:
    """Extend a window by `halo` samples on each side, up to the borders of the scene."""
    row, column, rows, columns = window
    top, left = max(0, row - halo), max(0, column - halo)
    return top, left, min(height, row + rows + halo) - top, min(width, column + columns + halo) - left


def blocks_covering(window: Window, stride: int) -> Window:
    """Window of latent positions whose blocks a window of samples touches."""
    row, column, height, width = window
    top, left = row // stride, column // stride
    return top, left, -(-(row + height) // stride) - top, -(-(column + width) // stride) - left


def inside(window: Window, outer: Window) -> tuple[slice, slice]:
    """Slices of `window` in an array that covers `outer`."""
    top, left = window[0] - outer[0], window[1] - outer[1]
    return slice(top, top + window[2]), slice(left, left + window[3])


def rounded_up(length: int, unit: int) -> int:
    """Smallest multiple of `unit` at or above `length`."""
    return -(-length // unit) * unit


# --- payload of a tile
# -------------------------------------------------------------------------------------------------


def latent_size(length: int, stride: int) -> int:
    """Latent positions along an axis of `length` samples."""
    return -(-length // stride)


def blocks_of(valid: np.ndarray, stride: int) -> np.ndarray:
    """Mark the blocks that have a valid sample: (bands, H, W) → (bands, h, w)."""
    bands, height, width = valid.shape
    padded = np.pad(valid, ((0, 0), (0, -height % stride), (0, -width % stride)))
    return np.asarray(padded.reshape(bands, latent_size(height, stride), stride, -1, stride).any((2, 4)))


def kinds_of(valid: np.ndarray, flat: np.ndarray, stride: int) -> np.ndarray:
    """`MISSING`, `CODED` or `FLAT` for each sample: uint8, shape (bands, H, W).

    Parameters
    ----------
    valid : ndarray of bool, shape (bands, H, W)
    flat : ndarray of bool, shape (bands, h, w)
        One value per block of `stride` samples a side.
    """
    kinds = valid.astype(np.uint8)
    if flat.any():
        kinds <<= flat.repeat(stride, 1).repeat(stride, 2)[:, : valid.shape[1], : valid.shape[2]]
    return kinds


def active_columns(coded: np.ndarray, stride: int, sides: int) -> np.ndarray:
    """Find the active latent columns of a tile: bool, shape (bands, h, w).

    Parameters
    ----------
    coded : ndarray of bool, shape (bands, H, W)
    sides : int
        Bit i set: the blocks along side i (of `SIDES`) are active in every band.
    """
    active = dilated(blocks_of(coded, stride))
    for bit, where in enumerate(SIDES):
        if sides >> bit & 1:
            active[(slice(None), *where)] = True
    return active


def dilated(blocks: np.ndarray) -> np.ndarray:
    """Grow a mask by one block in all eight directions."""
    out = np.pad(blocks, ((0, 0), (1, 1), (1, 1)))
    rows = out[:, :-2] | out[:, 1:-1] | out[:, 2:]
    return rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:]


def encode_tile(
    model: TileModel,
    quantized: QuantizedTile,
    valid: np.ndarray,
    flat: np.ndarray | None,
    sides: int,
    quality: float,
    side: object,
) -> tuple[bytes, int]:
    """Code a tile: its payload, and the checksum of its latent.

    Parameters
    ----------
    model : TileModel
    quantized : QuantizedTile
        Quantized with the active columns of these `sides`.
    valid : ndarray of bool, shape (bands, H, W)
    flat : ndarray of bool, shape (bands, h, w), or None
        The flat blocks; None if the file has none.
    sides : int
        See `active_columns`; ignored if all samples are coded.
    quality, side
        As for `TileModel.encode`.
    """
    encoder = RangeEncoder()
    encode_masks(encoder, valid)
    coded = valid
    if flat is not None:
        encode_masks(encoder, ~flat)
        coded = kinds_of(valid, flat, model.stride) == CODED
    if not coded.all():
        encoder.encode_uniform(np.array([sides]), 16)
    model.encode(encoder, quantized, active_columns(coded, model.stride, sides), quality, side)
    return encoder.finish(), checksum(quantized.latent)


def decode_tile(
    model: TileModel,
    payload: bytes,
    check: int,
    shape: tuple[int, int, int],
    flats: bool,
    quality: float,
    side: object,
    name: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Decode a tile of `shape` (bands, H, W): its latent, and the kinds of its samples.

    Parameters
    ----------
    check : int
        Checksum of the latent.
    flats : bool
        The file has flat blocks.
    name : str
        Name of the tile, for messages.

    Raises
    ------
    BitstreamError
        The payload is damaged, or decodes to a latent with another checksum.
    """
    decoder = RangeDecoder(payload)
    try:
        valid, stride = decode_masks(decoder, shape), model.stride
        blocks = (shape[0], latent_size(shape[1], stride), latent_size(shape[2], stride))
        flat = ~decode_masks(decoder, blocks) if flats else np.zeros(blocks, bool)
        kinds = kinds_of(valid, flat, stride)
        coded = kinds == CODED
        sides = 0 if coded.all() else int(decoder.decode_uniform(1, 16)[0])
        latent = model.decode(decoder, active_columns(coded, stride, sides), quality, side)
    except BitstreamError as error:
        raise BitstreamError(f"{name}: {error}") from None
    if checksum(latent) != check:
        raise BitstreamError(f"{name}: the decoded latent is not the one that was coded: its checksum is wrong")
    return latent, kinds


def checksum(latent: np.ndarray) -> int:
    """Lower 16 bits of the CRC-32 of the latent as little-endian 32-bit integers."""
    return zlib.crc32(np.ascontiguousarray(latent, "<i4").data) & 0xFFFF


def fill_invalid(x: np.ndarray, valid: np.ndarray, neutral: float) -> np.ndarray:
    """Replace invalid samples by values that cost few bits: means of valid samples nearby, `neutral` far from all of
    them.

    The mean is that of the smallest of the 2×2, 4×4 or 8×8 block, or 3×3 such blocks, that has a valid sample. It
    depends on samples within `FILL_REACH` only, so overlapping pieces of a scene agree. Decoders never see the values.

    Parameters
    ----------
    x : ndarray of float32, shape (bands, H, W)
        The first sample lies at a multiple of 8 in the scene.
    valid : ndarray of bool, same shape
    neutral : float
    """
    if valid.all():
        return x
    height, width = x.shape[1:]
    pad = ((0, 0), (0, -height % 8), (0, -width % 8))
    weight = np.pad(valid, pad).astype(np.float32)
    total = np.pad(np.where(valid, x, 0), pad).astype(np.float32)
    levels = []
    for _ in range(3):
        weight, total = _halved(weight), _halved(total)
        levels.append((weight, total))
    around = tuple(_summed_around(part) for part in levels[-1])
    filled = np.where(around[0] > 0, around[1] / np.maximum(around[0], 1), np.float32(neutral))
    for weight, total in reversed(levels):
        if filled.shape != weight.shape:
            filled = filled.repeat(2, 1).repeat(2, 2)
        filled = np.where(weight > 0, total / np.maximum(weight, 1), filled)
    filled = filled.repeat(2, 1).repeat(2, 2)[:, :height, :width]
    return np.where(valid, x, filled).astype(np.float32)


def _halved(part: np.ndarray) -> np.ndarray:
    return part[:, 0::2, 0::2] + part[:, 0::2, 1::2] + part[:, 1::2, 0::2] + part[:, 1::2, 1::2]


def _summed_around(part: np.ndarray) -> np.ndarray:
    padded = np.pad(part, ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]


# --- masks
# -------------------------------------------------------------------------------------------------------------
#
# A mask is sent from coarse to fine. While the step s halves from a power of two down to 1, the samples at multiples of
# 2s are known, and three phases follow: (odd, odd) multiples of s, (even, odd) and (odd, even). The context of a sample
# are its four nearest known neighbors, diagonal ones in the first phase and those along the axes in the others, so a
# whole phase is coded at once.

#: Probabilities (of 65 536) of an invalid sample, one of which is sent for each context.
PROBABILITIES = (*(1 << i for i in range(16)), *(TOTAL - (1 << i) for i in range(14, -1, -1)))
#: Position in `PROBABILITIES` by number of invalid neighbors, for contexts with too few samples to send one.
DEFAULTS = (10, 14, 15, 16, 20)
#: Fewest samples of a context whose probability is sent.
RARE = 12

ALL_VALID, SHARED, SEPARATE = range(3)
NONE_VALID, MIXED = 1, 2


def encode_masks(encoder: RangeEncoder, valid: np.ndarray) -> None:
    """Append the masks of all bands of a tile: bool, shape (bands, height, width), True where valid."""
    if valid.all():
        mode = ALL_VALID
    else:
        mode = SHARED if (valid == valid[0]).all() else SEPARATE
    encoder.encode_uniform(np.array([mode]), 3)
    if mode != ALL_VALID:
        for mask in valid[:1] if mode == SHARED else valid:
            kind = ALL_VALID if mask.all() else MIXED if mask.any() else NONE_VALID
            encoder.encode_uniform(np.array([kind]), 3)
            if kind == MIXED:
                _encode_mixed(encoder, ~mask)


def decode_masks(decoder: RangeDecoder, shape: tuple[int, int, int]) -> np.ndarray:
    """Decode the masks of a tile of `shape` (bands, height, width)."""
    valid = np.ones(shape, bool)
    mode = int(decoder.decode_uniform(1, 3)[0])
    if mode != ALL_VALID:
        for band in range(1 if mode == SHARED else shape[0]):
            kind = int(decoder.decode_uniform(1, 3)[0])
            if kind == MIXED:
                valid[band] = ~_decode_mixed(decoder, shape[1:])
            elif kind == NONE_VALID:
                valid[band] = False
        if mode == SHARED:
            valid[1:] = valid[0]
    return valid


def first_mode(payload: bytes) -> int:
    """Decode the first symbol of a payload: `ALL_VALID`, `SHARED` or `SEPARATE`."""
    return int(RangeDecoder(payload[:16]).decode_uniform(1, 3)[0])


def _encode_mixed(encoder: RangeEncoder, invalid: np.ndarray) -> None:
    encoder.encode_uniform(invalid[:1, :1].astype(np.int64), 2)
    for rows, columns, contexts in _phases(invalid):
        samples = invalid[rows, columns].ravel()
        order, counts = _by_context(contexts)
        ones = np.bincount(contexts.ravel(), weights=samples, minlength=16).astype(np.int64)
        which = _defaults()
        for context in np.flatnonzero(counts >= RARE):
            which[context] = _nearest(int(ones[context]), int(counts[context]))
            encoder.encode_uniform(which[context : context + 1], len(PROBABILITIES))
        start = 0
        for context in np.flatnonzero(counts):
            part = samples[order[start : start + counts[context]]]
            encoder.encode(part.astype(np.int64), _bit_table(int(which[context])))
            start += counts[context]


def _decode_mixed(decoder: RangeDecoder, shape: tuple[int, int]) -> np.ndarray:
    invalid = np.zeros(shape, bool)
    invalid[0, 0] = decoder.decode_uniform(1, 2)[0]
    for rows, columns, contexts in _phases(invalid):
        order, counts = _by_context(contexts)
        which = _defaults()
        for context in np.flatnonzero(counts >= RARE):
            which[context] = decoder.decode_uniform(1, len(PROBABILITIES))[0]
        samples = np.empty(contexts.size, bool)
        start = 0
        for context in np.flatnonzero(counts):
            part = order[start : start + counts[context]]
            samples[part] = decoder.decode(len(part), _bit_table(int(which[context]))) > 0
            start += counts[context]
        invalid[rows, columns] = samples.reshape(contexts.shape)
    return invalid


def _phases(mask: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """(rows, columns, contexts) of each phase; contexts are read from `mask` when the phase is reached."""
    height, width = mask.shape
    step = 1 << max(0, (max(height, width) - 1).bit_length() - 1)
    while step >= 1:
        even, odd = slice(0, None, 2 * step), slice(step, None, 2 * step)
        places: tuple[tuple[np.ndarray, np.ndarray] | None, ...]
        for rows, columns in ((odd, odd), (even, odd), (odd, even)):
            r, c = np.arange(height)[rows], np.arange(width)[columns]
            if r.size and c.size:
                up, down = _neighbors(r, height, step)
                left, right = _neighbors(c, width, step)
                if rows is odd and columns is odd:
                    places = ((up, left), (up, right), (down, left), (down, right))
                else:  # across an axis that ends before the first step, no neighbor is known
                    places = ((up, c), (down, c)) if height > step else (None, None)
                    places += ((r, left), (r, right)) if width > step else (None, None)
                contexts = np.zeros((r.size, c.size), np.int64)
                for i, place in enumerate(places):
                    if place is not None:
                        contexts |= mask[np.ix_(*place)].astype(np.int64) << i
                yield rows, columns, contexts
        step //= 2


def _neighbors(positions: np.ndarray, length: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions one step before and after; at a border the opposite neighbor replaces the missing one."""
    before, after = positions - step, positions + step
    first = np.where(before >= 0, before, after)
    last = np.where(after < length, after, before)
    return np.clip(first, 0, length - 1), np.clip(last, 0, length - 1)


def _by_context(contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = contexts.ravel()
    return np.argsort(flat, kind="stable"), np.bincount(flat, minlength=16)


def _defaults() -> np.ndarray:
    return np.array([DEFAULTS[i.bit_count()] for i in range(16)])


def _nearest(ones: int, count: int) -> int:
    """Find the probability that codes `ones` of `count` in the fewest bits."""
    p = np.array(PROBABILITIES) / TOTAL
    return int(np.argmin(-ones * np.log2(p) - (count - ones) * np.log2(1 - p)))


@lru_cache(maxsize=len(PROBABILITIES))
def _bit_table(which: int) -> Table:
    return Table(np.array([TOTAL - PROBABILITIES[which], PROBABILITIES[which]]), 0, escape=False)
