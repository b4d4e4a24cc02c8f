"""Range coding of quantized latents: per-channel frequencies learned in training, or adapted to each file.

    y ──quantizer──▶ integers ──┬─ upper bits ──▶ frequency table of the channel ──┐
                                └─ bits below the upper 10 ──▶ uniform ────────────┴──▶ range coder ──▶ bytes

Static: one frozen table a channel, from the latents of training scenes; it is part of the model, not of the file.
Adaptive: each channel's table starts from the static one (or flat, where there is none) and learns from what was coded.
Channels follow each other, and so do the values of a channel, so a batch and its single images differ in bytes, never in
values. The tables are integers: bytes decode to the same integers on any machine, at any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import TOTAL, Table, table_from_histogram
from sarlab.errors import BitstreamError, CodecError

if TYPE_CHECKING:
    from torch import Tensor

    from sarlab.models.quantizers import Quantized, Quantizer

#: Bits of a value that a table looks at; what is below is nearly uniform and goes raw.
TABLE_BITS = 10
#: Largest piece of raw bits.
RAW_BITS = 16
#: Weight of a learned and of a flat start in an adaptive table, in values.
PRIOR_WEIGHT, FLAT_WEIGHT = 64, 4
#: Fewest bins of an adaptive table, and values for each bin above that.
FEWEST_BINS, BIN_VALUES = 8, 16
#: First chunk of the adaptive coder in values, and how much longer each chunk is than the one before.
FIRST_CHUNK, GROWTH = 16, 1.5
#: Widths in levels of the kernels that may smooth a training histogram; the one of most likelihood is taken.
KERNELS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
#: Values a decoder agrees to make, unless it is told otherwise: a latent of 64 channels and 1024×1024.
MOST_VALUES = 1 << 26

_STATIC, _ADAPTIVE, _FLAT = 0, 1, 2


@dataclass(frozen=True, eq=False)
class LatentModel:
    """Frozen frequencies of every channel's upper bits.

    Parameters
    ----------
    tables : tuple of (Table or None)
        One for each channel; None for channels without bits.
    """

    tables: tuple[Table | None, ...]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Counts of each channel by name, int64, for storing beside weights."""
        return {f"counts.{c}": np.array(table.counts) for c, table in enumerate(self.tables) if table is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], quantizer: Quantizer) -> LatentModel:
        """Take what `to_arrays` gave.

        Raises
        ------
        CodecError
            If the counts are not those of this quantizer's channels.
        """
        tables: list[Table | None] = []
        for channel, width in enumerate(quantizer.widths):
            counts = arrays.get(f"counts.{channel}")
            if (counts is None) != (width == 0) or (counts is not None and np.size(counts) != _entries(width)):
                raise CodecError(f"stored frequencies of channel {channel} do not fit the quantizer; fit them again")
            tables.append(None if counts is None else Table(np.asarray(counts), 0, escape=False))
        return cls(tuple(tables))


def fit_latent_model(quantizer: Quantizer, latents: Tensor | Iterable[Tensor]) -> LatentModel:
    """Per-channel frequencies of training latents.

    Parameters
    ----------
    quantizer : Quantizer
        Calibrated.
    latents : Tensor, shape (N, C, h, w), or iterable of such

    Returns
    -------
    LatentModel
    """
    import torch

    batches = [latents] if isinstance(latents, torch.Tensor) else list(latents)
    if not batches:
        raise CodecError("no latents to learn frequencies from; give at least one batch of training data")
    planes = np.concatenate([_planes(quantizer.quantize(batch)) for batch in batches], axis=1)
    tables = []
    for row, width in zip(planes, quantizer.widths, strict=True):
        upper = row >> max(0, width - TABLE_BITS)
        tables.append(_smoothed(upper, _entries(width)) if width else None)
    return LatentModel(tuple(tables))


def encode_latent(
    quantizer: Quantizer, y: Tensor | Quantized, model: LatentModel | None = None, *, adaptive: bool = False
) -> bytes:
    """Range-coded bytes of a latent: shape, side information, code.

    Parameters
    ----------
    quantizer : Quantizer
        Calibrated.
    y : Tensor, shape (N, C, h, w), or Quantized
    model : LatentModel, optional
        Frequencies from training. Without them the coder is adaptive and starts flat.
    adaptive : bool
        Learn on from what was coded.
    """
    from sarlab.models.quantizers.bitpacking import write_header

    quantized = _quantized(quantizer, y)
    n, _, h, w = quantized.integers.shape
    mode = _FLAT if model is None else _ADAPTIVE if adaptive else _STATIC
    encoder = RangeEncoder()
    for row, width, table in _channels(quantizer, quantized, model):
        low_bits = max(0, width - TABLE_BITS)
        upper, place = row >> low_bits, low_bits
        for start, stop, current in _schedule(mode, table, width, upper):
            encoder.encode(upper[start:stop], current)
        while place:
            size = min(place, RAW_BITS)
            place -= size
            encoder.encode_uniform((row >> place) & ((1 << size) - 1), 1 << size)
    return write_header(n, h, w) + bytes([mode]) + quantized.side + encoder.finish()


def decode_latent(
    quantizer: Quantizer, data: bytes, model: LatentModel | None = None, *, most_values: int = MOST_VALUES
) -> Tensor:
    """Latent ŷ out of `encode_latent`'s bytes, shape (N, C, h, w), float32.

    Parameters
    ----------
    quantizer : Quantizer
    data : bytes
    model : LatentModel, optional
        The one it was encoded with.
    most_values : int
        Largest latent to make: a few damaged bytes could ask for any size.

    Raises
    ------
    BitstreamError
        If the bytes are truncated, damaged, larger than agreed, or need a model that is not given. Whether the values
        are right, only a checksum beside the data tells.
    """
    import torch

    from sarlab.models.quantizers import Quantized
    from sarlab.models.quantizers.bitpacking import read_header

    (n, h, w), start = read_header(data)
    count, body = n * h * w, start + 1 + quantizer.side_bytes
    if count * quantizer.channels > most_values:
        raise BitstreamError(f"coded latent: it asks for {count * quantizer.channels} values, more than {most_values}")
    if len(data) < body or data[start] not in (_STATIC, _ADAPTIVE, _FLAT):
        raise BitstreamError("coded latent: it is truncated, or coded in a way that this version does not know")
    mode = data[start]
    if mode != _FLAT and model is None:
        raise BitstreamError("coded latent: it needs the frequencies of its model; give them")
    planes = np.zeros((quantizer.channels, count), np.int64)
    decoder = RangeDecoder(data[body:])
    tables = model.tables if model is not None else (None,) * quantizer.channels
    for row, width, table in zip(planes, quantizer.widths, tables, strict=True):
        if not width:
            continue
        for first, last, current in _schedule(mode, table, width, row):
            row[first:last] = decoder.decode(last - first, current)
        place = max(0, width - TABLE_BITS)
        while place:
            size = min(place, RAW_BITS)
            place -= size
            row[:] = row << size | decoder.decode_uniform(count, 1 << size)
    integers = torch.from_numpy(planes).reshape(quantizer.channels, n, h, w).movedim(0, 1).contiguous()
    decoded = Quantized(integers.to(quantizer.device), side=data[start + 1 : body])
    return quantizer.dequantize(quantizer.accepted(decoded))


def ideal_bits(
    quantizer: Quantizer, y: Tensor | Quantized, model: LatentModel | None = None, *, adaptive: bool = False
) -> float:
    """Information of a latent's values under the coder's own probabilities, in bits, shape and side information apart.

    What `encode_latent` takes beyond it is the coder's loss: below 0.5 % and a few bytes.
    """
    quantized = _quantized(quantizer, y)
    mode = _FLAT if model is None else _ADAPTIVE if adaptive else _STATIC
    total = 0.0
    for row, width, table in _channels(quantizer, quantized, model):
        low_bits = max(0, width - TABLE_BITS)
        upper = row >> low_bits
        total += low_bits * len(row)
        for start, stop, current in _schedule(mode, table, width, upper):
            total += float(current.bits()[upper[start:stop]].sum())
    return total


def _schedule(mode: int, table: Table | None, width: int, upper: np.ndarray) -> Iterator[tuple[int, int, Table]]:
    """(first, last, table) of each run of values; values before `first` are known when a table is asked for."""
    if mode == _STATIC:
        assert table is not None
        yield 0, len(upper), table
        return
    entries = _entries(width)
    if table is None:
        table, weight = table_from_histogram(np.ones(entries, np.int64), low=0, escape=False), FLAT_WEIGHT
    else:
        weight = PRIOR_WEIGHT
    seen = np.zeros(entries, np.int64)
    edges, step = [0], float(FIRST_CHUNK)
    while edges[-1] < len(upper):
        edges.append(min(len(upper), edges[-1] + int(step)))
        step *= GROWTH
    for start, stop in pairwise(edges):
        yield start, stop, _adapted(table, seen, start, weight)
        seen += np.bincount(upper[start:stop], minlength=entries)


def _adapted(table: Table, seen: np.ndarray, count: int, weight: int) -> Table:
    """`table` bent towards `count` values whose histogram is `seen`, by integer arithmetic alone.

    Levels are taken together in bins that the table holds equally likely, the more values the finer; the values say
    how likely a bin is, the table how a bin is divided. So a few values teach something even of 1024 levels.
    """
    if not count:
        return table
    bins = max(FEWEST_BINS, 1 << max(0, (count // BIN_VALUES).bit_length() - 1))
    counts = table.counts
    bin_of = ((2 * np.cumsum(counts) - counts) * min(bins, TOTAL)) // (2 * TOTAL)
    prior = np.bincount(bin_of, counts).astype(np.int64)
    found = np.bincount(bin_of, seen).astype(np.int64)
    total = prior * weight + found * TOTAL
    return table_from_histogram(counts * total[bin_of] // prior[bin_of], low=0, escape=False)


def _smoothed(values: np.ndarray, entries: int) -> Table:
    """Table of a histogram, smoothed as far as one half of the values says that it helps to predict the other."""
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
    quantizer: Quantizer, quantized: Quantized, model: LatentModel | None
) -> Iterator[tuple[np.ndarray, int, Table | None]]:
    """(integers, bits, table) of each channel that has bits."""
    tables = model.tables if model is not None else (None,) * quantizer.channels
    if len(tables) != quantizer.channels:
        raise CodecError(f"frequencies of {len(tables)} channels do not fit a latent of {quantizer.channels}")
    for row, width, table in zip(_planes(quantized), quantizer.widths, tables, strict=True):
        if not width:
            continue
        if table is not None and table.size != _entries(width):
            raise CodecError(f"frequencies of {table.size} levels do not fit {width} bits; fit them again")
        yield row, width, table


def _entries(width: int) -> int:
    return 1 << min(width, TABLE_BITS)
