"""Range coding of the quantized latents of `sarlab.models`, under frequencies per channel that are learned in training.

    y ──quantizer──▶ integers ──┬─ upper bits ──▶ frequency table of the channel ──┐
                                └─ bits below the upper 10 ──▶ uniform ────────────┴──▶ range coder ──▶ bytes

The tables are part of the model, not of the file. Channels follow each other, and so do the values of a channel, so a
batch and its single images differ in bytes, never in values. The tables are integers: bytes decode to the same integers
on any machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import TOTAL, Table, table_from_histogram
from sarlab.errors import BitstreamError, CodecError

if TYPE_CHECKING:
    from torch import Tensor

    from sarlab.models.quantizers import Quantized, Quantizer

#: Bits of a value that a table covers; lower bits are nearly uniform and go raw.
TABLE_BITS = 10
#: Largest piece of raw bits.
RAW_BITS = 16
#: Widths in levels of the kernels that may smooth a training histogram; the most likely one is taken.
KERNELS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
#: Default limit on the values of a decoded latent: 64 channels of 1024×1024.
MOST_VALUES = 1 << 26
#: Byte that precedes the code.
_FORMAT = b"\0"

#: Frequency table of each channel; None for channels without bits.
LatentTables = tuple[Table | None, ...]


def fit_latent_tables(quantizer: Quantizer, latents: Tensor | Iterable[Tensor]) -> LatentTables:
    """Learn the frequencies of each channel from training latents, each of shape (N, C, h, w)."""
    import torch

    batches = [latents] if isinstance(latents, torch.Tensor) else list(latents)
    if not batches:
        raise CodecError("no latents to learn frequencies from; give at least one batch of training data")
    planes = np.concatenate([_planes(quantizer.quantize(batch)) for batch in batches], axis=1)
    return tuple(
        _smoothed(row >> max(0, width - TABLE_BITS), _entries(width)) if width else None
        for row, width in zip(planes, quantizer.widths, strict=True)
    )


def encode_latent(quantizer: Quantizer, y: Tensor | Quantized, tables: LatentTables) -> bytes:
    """Code a latent, (N, C, h, w) or quantized: shape, side information, range-coded values."""
    from sarlab.models.quantizers.bitpacking import write_header

    quantized = _quantized(quantizer, y)
    n, _, h, w = quantized.integers.shape
    encoder = RangeEncoder()
    for row, width, table in _channels(quantizer, quantized, tables):
        encoder.encode(row >> max(0, width - TABLE_BITS), table)
        for place, size in _raw_pieces(width):
            encoder.encode_uniform((row >> place) & ((1 << size) - 1), 1 << size)
    return write_header(n, h, w) + _FORMAT + quantized.side + encoder.finish()


def decode_latent(quantizer: Quantizer, data: bytes, tables: LatentTables, *, most_values: int = MOST_VALUES) -> Tensor:
    """Decode what `encode_latent` wrote: float32, shape (N, C, h, w).

    Parameters
    ----------
    quantizer : Quantizer
    data : bytes
    tables : LatentTables
        Those that it was encoded with.
    most_values : int
        Largest latent: a few damaged bytes could ask for any size.

    Raises
    ------
    BitstreamError
        Truncated, damaged or too large. Only a separate checksum detects wrong values.
    """
    import torch

    from sarlab.models.quantizers import Quantized
    from sarlab.models.quantizers.bitpacking import read_header

    (n, h, w), start = read_header(data)
    count, body = n * h * w, start + 1 + quantizer.side_bytes
    if count * quantizer.channels > most_values:
        raise BitstreamError(f"coded latent: it has {count * quantizer.channels} values, more than {most_values}")
    if len(data) < body or data[start : start + 1] != _FORMAT:
        raise BitstreamError("coded latent: it is truncated, or of a format unknown to this version")
    planes = np.zeros((quantizer.channels, count), np.int64)
    decoder = RangeDecoder(data[body:])
    for row, width, table in zip(planes, quantizer.widths, tables, strict=True):
        if table is not None:
            row[:] = decoder.decode(count, table)
            for _, size in _raw_pieces(width):
                row[:] = row << size | decoder.decode_uniform(count, 1 << size)
    integers = torch.from_numpy(planes).reshape(quantizer.channels, n, h, w).movedim(0, 1).contiguous()
    decoded = Quantized(integers.to(quantizer.device), side=data[start + 1 : body])
    return quantizer.dequantize(quantizer.accepted(decoded))


def ideal_bits(quantizer: Quantizer, y: Tensor | Quantized, tables: LatentTables) -> float:
    """Information in bits of a latent under the tables, without its shape and side information.

    `encode_latent` takes less than 0.5 % and a few bytes more.
    """
    total = 0.0
    for row, width, table in _channels(quantizer, _quantized(quantizer, y), tables):
        low_bits = max(0, width - TABLE_BITS)
        total += low_bits * len(row) + float(table.bits()[row >> low_bits].sum())
    return total


def _raw_pieces(width: int) -> Iterator[tuple[int, int]]:
    """(lowest bit, number of bits) of the pieces of a value below its table, from the top."""
    place = max(0, width - TABLE_BITS)
    while place:
        size = min(place, RAW_BITS)
        place -= size
        yield place, size


def _smoothed(values: np.ndarray, entries: int) -> Table:
    """Table of a histogram, smoothed as far as that helps one half of the values to predict the other."""
    from scipy.ndimage import gaussian_filter1d

    def smooth(histogram: np.ndarray, width: float) -> np.ndarray:
        histogram = histogram.astype(np.float64)
        return gaussian_filter1d(histogram, width, mode="nearest") if width else histogram

    halves = [np.bincount(half, minlength=entries) for half in np.array_split(values, 2)]

    def cost(width: float) -> float:
        total = 0.0
        for known, other in (halves, halves[::-1]):
            share = smooth(known, width) + 1 / TOTAL
            total -= float(other @ np.log2(share / share.sum()))
        return total

    width = min(KERNELS, key=cost)
    histogram = np.round(smooth(halves[0] + halves[1], width) * 4096)
    return table_from_histogram(histogram.astype(np.int64), low=0, escape=False)


def _quantized(quantizer: Quantizer, y: Tensor | Quantized) -> Quantized:
    import torch

    return quantizer.quantize(y) if isinstance(y, torch.Tensor) else y


def _planes(quantized: Quantized) -> np.ndarray:
    integers = quantized.integers
    return integers.movedim(1, 0).reshape(integers.shape[1], -1).cpu().numpy()


def _channels(
    quantizer: Quantizer, quantized: Quantized, tables: LatentTables
) -> Iterator[tuple[np.ndarray, int, Table]]:
    """(integers, bits, table) of each channel that has bits."""
    if [table and table.size for table in tables] != [_entries(width) if width else None for width in quantizer.widths]:
        raise CodecError("the frequencies do not fit the quantizer; fit them again")
    for row, width, table in zip(_planes(quantized), quantizer.widths, tables, strict=True):
        if table is not None:
            yield row, width, table


def _entries(width: int) -> int:
    return 1 << min(width, TABLE_BITS)
