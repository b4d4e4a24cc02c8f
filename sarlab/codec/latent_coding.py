"""Range coding of the quantized latents of `sarlab.models`, with probabilities that start from training.

Each channel has contexts of its own in the adaptive range coder. Its integers are coded as differences from their median: first
whether they lie below it, then how far, with contexts for each side. The start of all probabilities is learned from training
latents and belongs to the model, not to the file. Channels follow each other, and so do the values of a channel, so a batch and its
single images differ in bytes, never in values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sarlab.codec import entropy
from sarlab.errors import BitstreamError, CodecError
from sarlab.models.compiled import kernel
from sarlab.models.quantizers import Quantized, Quantizer
from sarlab.models.quantizers.quantizer import read_header, write_header

#: Default limit on the values of a decoded latent: 64 channels of 1024×1024.
MOST_VALUES = 1 << 26
#: Byte that precedes the code.
_FORMAT = b"\0"
#: Decisions that the start of a probability is worth.
_CONFIDENCE = 30
#: Contexts of a channel: the side, and the distance on each side.
_CONTEXTS = 1 + 2 * entropy.SLOTS


@dataclass(frozen=True, eq=False)
class LatentTables:
    """Statistics of each channel on the training scenes."""

    #: Median of its integers: int64, shape (channels,).
    centers: np.ndarray
    #: Start of its probabilities, in 1/65536: int64, shape (channels · contexts,).
    probabilities: np.ndarray


def fit_latent_tables(quantizer: Quantizer, latents: Iterable[Tensor]) -> LatentTables:
    """Learn the frequencies of each channel from training latents, each of shape (N, C, h, w)."""
    found = [_planes(quantizer.quantize(batch)) for batch in latents]
    if not found:
        raise CodecError("no latents to learn frequencies from; give at least one batch of training data")
    planes = np.concatenate(found, axis=1)
    centers, size = np.median(planes, axis=1).astype(np.int64), len(planes) * _CONTEXTS
    count, ones = entropy.tally(_decisions(planes, LatentTables(centers, np.full(size, entropy.EVEN))), size).T
    return LatentTables(centers, np.clip(np.rint(65536 * (ones + 0.5) / (count + 1)), 1, 65535).astype(np.int64))


def encode_latent(quantized: Quantized, tables: LatentTables) -> bytes:
    """Code a quantized latent, (N, C, h, w): shape, side information, range-coded values."""
    n, _, h, w = quantized.integers.shape
    return write_header(n, h, w) + _FORMAT + quantized.side + entropy.pack(_decisions(_planes(quantized), tables))


def decode_latent(quantizer: Quantizer, data: bytes, tables: LatentTables, *, most_values: int = MOST_VALUES) -> Tensor:
    """Decode what `encode_latent` wrote with the same tables: float32, shape (N, C, h, w).

    Raises `BitstreamError` if it is truncated, damaged, or of more than `most_values`, because a few damaged bytes could ask
    for any size. Only a separate checksum detects wrong values.
    """
    (n, h, w), start = read_header(data)
    count, body = n * h * w, start + 1 + quantizer.side_bytes
    if count * quantizer.channels > most_values:
        raise BitstreamError(f"coded latent: it has {count * quantizer.channels} values, more than {most_values}")
    if len(data) < body or data[start : start + 1] != _FORMAT:
        raise BitstreamError("coded latent: it is truncated, or of a format unknown to this version")
    planes = np.zeros((quantizer.channels, count), np.int64)
    coder = entropy.decoder(entropy.contexts(tables.probabilities, _CONFIDENCE), data[body:])
    if not _code_planes(coder, planes, tables.centers, np.array(quantizer.widths, np.int64)):
        raise BitstreamError("coded latent: it is damaged")
    integers = torch.from_numpy(planes).reshape(quantizer.channels, n, h, w).movedim(0, 1).contiguous()
    decoded = Quantized(integers.to(quantizer.device), side=data[start + 1 : body])
    return quantizer.dequantize(quantizer.accepted(decoded))


def ideal_bits(quantized: Quantized, tables: LatentTables) -> float:
    """Information in bits of a latent under the adaptive probabilities, without its shape and side information.

    `encode_latent` takes a few bytes more.
    """
    decisions = _decisions(_planes(quantized), tables)
    one = (decisions & 0xFFFF) / 65536
    return float(-np.log2(np.where(decisions >> 16 & 1, one, 1 - one)).sum())


def _planes(quantized: Quantized) -> np.ndarray:
    return quantized.integers.movedim(1, 0).flatten(1).cpu().numpy().astype(np.int64)


def _decisions(planes: np.ndarray, tables: LatentTables) -> np.ndarray:
    if len(tables.centers) != len(planes):
        raise CodecError("the frequencies do not fit the latent; fit them again")
    largest = np.abs(planes - tables.centers[:, None]).max(initial=0)
    coder = entropy.encoder(entropy.contexts(tables.probabilities, _CONFIDENCE), entropy.room(planes.size, largest))
    _code_planes(coder, planes, tables.centers, np.full(len(planes), 62))
    return entropy.listed(coder)


@kernel
def _code_planes(coder, planes, centers, widths):
    """Code the integers of all channels, in either direction; False if the data are damaged."""
    for channel in range(planes.shape[0]):
        center = centers[channel]
        for n in range(planes.shape[1]):
            value, context = planes[channel, n], channel * _CONTEXTS
            below = entropy.code_decision(coder, context, 1 if value < center else 0)
            context += 1 + below * entropy.SLOTS
            distance = entropy.code_magnitude(coder, context, center - 1 - value if below else value - center)
            if distance == entropy.DAMAGED:
                return False
            planes[channel, n] = center - 1 - distance if below else center + distance
            if planes[channel, n] < 0 or planes[channel, n] >> widths[channel]:
                return False
    return True
