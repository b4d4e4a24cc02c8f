"""Previews: one sample for 8×8, decoded from the lowest frequencies of the lapped transform alone.

The lowest 4×4 frequencies of a block of 32×32 samples, scaled, are close to those of a block of 4×4 means. They form the first
streams of a payload, so a preview reads a small part of the file. It therefore cannot verify the checksums of payloads and
latents.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sarlab.codec.block_model import Side
from sarlab.codec.container import StreamReader
from sarlab.codec.decode import Decoder
from sarlab.codec.entropy import varint
from sarlab.codec.lapped import BLOCK, PREVIEW, LappedModel, LappedTransform, places
from sarlab.codec.metadata import Cursor
from sarlab.codec.tile_model import Borders
from sarlab.codec.tiles import CODED, FLAT, MISSING, active_flags, blocks, blocks_of, first_mode, unpack_masks
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.scene import Scene

#: Side of a block of means.
SIZE = BLOCK // PREVIEW


def preview(reader: StreamReader, *, model: str | Path | None = None) -> Scene:
    """Decode a scene at an eighth of its resolution.

    Returns
    -------
    Scene
        ceil(H / 8) × ceil(W / 8) samples, low-passed means of decibels; NaN where all of 8×8 samples are missing.

    Raises
    ------
    CodecError
        The file is not of the codec ``lapped``.
    """
    decoder = Decoder(reader, model=model)
    lapped, tiling, header = decoder.model, decoder.tiling, reader.header
    if not isinstance(lapped, LappedModel):
        raise CodecError(
            f"{reader.name}: files of codec '{header.model}' have no preview; decompress without --preview"
        )
    shape = [blocks(length, PREVIEW) for length in header.shape[1:]]
    kinds = np.empty((header.shape[0], *shape), np.uint8)
    y_hat = np.zeros((header.shape[0], SIZE * SIZE, *tiling.latent_shape), np.float32)
    for number, window in enumerate(window for run in tiling.runs() for window in run):
        borders = window.borders(tiling.extent)
        own, low = _read_tile(reader, lapped, number, (header.shape[0], *window[2:]), borders, decoder.side)
        top, left = window[0] // PREVIEW, window[1] // PREVIEW
        kinds[:, top : top + own.shape[1], left : left + own.shape[2]] = own
        top, left = window[0] // BLOCK, window[1] // BLOCK
        y_hat[:, :, top : top + low.shape[2], left : left + low.shape[3]] = low
    x_hat = _inverse(y_hat, header.shape[1:])[:, : shape[0], : shape[1]]
    like = decoder.like()
    reference = like.georeference.scaled(PREVIEW) if like.georeference else None
    return like.with_data(decoder.levels.restored(x_hat, kinds), valid=None, georeference=reference)


def _read_tile(
    reader: StreamReader, model: LappedModel, number: int, shape: tuple[int, int, int], borders: Borders, side: Side
) -> tuple[np.ndarray, np.ndarray]:
    """Kinds of the means of a tile, and its low coefficients: float32, (bands, SIZE², h, w)."""
    channels = model.order[: model.low]
    try:
        kinds, sides, code = unpack_masks(_low_part(reader, number, shape[0]), shape)
        active = active_flags(kinds == CODED, BLOCK, sides, borders)
        latent = model.no_latent(*active.shape)
        if (active & 1).any():
            latent = model.decode(code, active, reader.header.quality, side, low=True)
    except BitstreamError as error:
        raise BitstreamError(f"{reader.name}: tile {number}: {error}") from None
    low = np.zeros((len(active), SIZE * SIZE, *active.shape[1:]), np.float32)
    low[:, channels // BLOCK * SIZE + channels % BLOCK] = model.reconstruct(
        np.ascontiguousarray(latent[:, channels]), reader.header.quality, side, channels
    )
    coded, flat = blocks_of(kinds == CODED, PREVIEW), blocks_of(kinds == FLAT, PREVIEW)
    return np.where(coded, CODED, np.where(flat, FLAT, MISSING)).astype(np.uint8), low


def _low_part(reader: StreamReader, number: int, bands: int) -> bytes:
    """The beginning of a payload: masks, and the streams of the low part, each after its length."""
    data = reader.payload_start(number, 64)
    mode, flats = first_mode(data), data[0] >> 2 & 1
    end = 1
    for _ in range((0, 1, bands, 0)[mode] + flats * bands + bands):
        data = reader.payload_start(number, end + 5) if end + 5 > len(data) else data
        size = Cursor(data[end : end + 5].ljust(5, b"\0")).varint()
        end += len(varint(size)) + size
    return reader.payload_start(number, end) if end > len(data) else data


def _inverse(y_hat: np.ndarray, extent: tuple[int, ...]) -> np.ndarray:
    """Means of a scene of `extent` samples from its low coefficients, (bands, SIZE², h, w)."""
    last = [(length - 1) % BLOCK + 1 for length in extent]
    y = y_hat.reshape(len(y_hat), SIZE, SIZE, *y_hat.shape[2:]) / PREVIEW
    for axis, length in enumerate(last):
        # The last blocks have fewer samples, and their frequencies stand elsewhere.
        lines = np.moveaxis(y, (1 + axis, 3 + axis), (0, 1))
        short = blocks(length, PREVIEW)
        old = places(BLOCK, length)
        new = places(SIZE, short)[: int((old < SIZE).sum())]
        moved = np.zeros_like(lines[:, -1])
        moved[new] = lines[old[: len(new)], -1] * np.sqrt(short / length * PREVIEW)
        lines[:, -1] = moved
    transform = LappedTransform(SIZE, *(blocks(length, PREVIEW) for length in last))
    whole = (True, True, True, True)
    x = np.stack([transform.inverse(band.reshape(SIZE * SIZE, *band.shape[2:]), whole) for band in y])
    for axis, length in enumerate(last):
        if length < SIZE and extent[axis] > BLOCK:
            # So few samples that their mean is no low frequency.
            lines = np.moveaxis(x, 1 + axis, 0)
            lines[blocks(extent[axis], PREVIEW) - 1] = lines[blocks(extent[axis], PREVIEW) - 2]
    return x
