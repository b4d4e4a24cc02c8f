"""One tile: samples and mask → payload, and back to mask and latent.

    payload = range-coded (masks of all bands, flat blocks of all bands, which borders are active, latent of the active columns)

Where a file has *flat* blocks, whose valid samples are all the one that the header states (exact zeros around a swath, a
saturated area), they are marked and come back exactly. What is neither missing nor in a flat block is *coded*. Latents
near no coded sample are not sent: a latent column is *active* where a coded sample lies in its own block of samples or in
one of the eight around it, within the tile. Blocks along a side of the tile are active too where the encoder says so,
because coded samples of the neighboring tile are near.
"""

from __future__ import annotations

import zlib

import numpy as np

from sarlab.codec.learned import Quantized, TileModel
from sarlab.codec.mask import decode_masks, encode_masks
from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.errors import BitstreamError

#: Sides of a tile, one bit each: first row, last row, first column, last column.
SIDES: tuple[tuple[int | slice, int | slice], ...] = (
    (0, slice(None)),
    (-1, slice(None)),
    (slice(None), 0),
    (slice(None), -1),
)


#: Kinds of samples.
MISSING, CODED, FLAT = range(3)


def latent_size(length: int, stride: int) -> int:
    """Latent positions along an axis of `length` samples."""
    return -(-length // stride)


def blocks_of(valid: np.ndarray, stride: int) -> np.ndarray:
    """True for each block with a valid sample: (bands, h, w) from (bands, H, W)."""
    bands, height, width = valid.shape
    padded = np.pad(valid, ((0, 0), (0, -height % stride), (0, -width % stride)))
    return np.asarray(padded.reshape(bands, latent_size(height, stride), stride, -1, stride).any((2, 4)))


def kinds_of(valid: np.ndarray, flat: np.ndarray, stride: int) -> np.ndarray:
    """`MISSING`, `CODED` or `FLAT` for each sample.

    Parameters
    ----------
    valid : ndarray of bool, shape (bands, H, W)
    flat : ndarray of bool, shape (bands, h, w)
        By blocks.
    stride : int

    Returns
    -------
    ndarray of uint8, shape (bands, H, W)
    """
    kinds = valid.astype(np.uint8)
    if flat.any():
        kinds <<= flat.repeat(stride, 1).repeat(stride, 2)[:, : valid.shape[1], : valid.shape[2]]
    return kinds


def active_columns(coded: np.ndarray, stride: int, sides: int) -> np.ndarray:
    """Active latent columns of a tile.

    Parameters
    ----------
    coded : ndarray of bool, shape (bands, H, W)
    stride : int
    sides : int
        Bit i set: the blocks along side i (of `SIDES`) are active in every band.

    Returns
    -------
    ndarray of bool, shape (bands, h, w)
    """
    active = dilated(blocks_of(coded, stride))
    for bit, where in enumerate(SIDES):
        if sides >> bit & 1:
            active[(slice(None), *where)] = True
    return active


def dilated(blocks: np.ndarray) -> np.ndarray:
    """Grown by one block in all eight directions."""
    out = np.pad(blocks, ((0, 0), (1, 1), (1, 1)))
    rows = out[:, :-2] | out[:, 1:-1] | out[:, 2:]
    return rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:]


def encode_tile(
    model: TileModel,
    quantized: Quantized,
    valid: np.ndarray,
    flat: np.ndarray | None,
    sides: int,
    quality: float,
    side: object,
) -> tuple[bytes, int]:
    """Payload of a tile, and the checksum of its latent.

    Parameters
    ----------
    model : TileModel
    quantized : Quantized
        As `TileModel.quantize` made it with the active columns of these `sides`.
    valid : ndarray of bool, shape (bands, H, W)
    flat : ndarray of bool, shape (bands, h, w), or None
        By blocks; None where the file has none at all.
    sides : int
        See `active_columns`; ignored where all is coded.
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
    """Latent of a tile of `shape` (bands, H, W), and the kinds of its samples; `flats`: the file has flat blocks.

    Raises
    ------
    BitstreamError
        Where the payload is damaged or the latent is not the one that was coded; the message begins with `name`.
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
    """Put values on invalid samples that cost few bits: means of valid samples nearby, `neutral` far from all.

    Means over 2×2, 4×4 and 8×8 blocks, then over the 3×3 blocks around, whichever is the smallest with a valid sample.
    Only samples within 16 of a place decide about it, so pieces of a scene agree wherever they overlap. This is the
    encoder's own business: decoders never see these samples.

    Parameters
    ----------
    x : ndarray of float32, shape (bands, H, W)
        Its first sample lies on a multiple of 8 of the scene.
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
