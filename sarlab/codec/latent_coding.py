"""Range coding of the quantized latents of `sarlab.models`, with probabilities that start from training.

Each channel has contexts of its own in the adaptive range coder. Its integers are coded as differences from their median: first
whether they lie below it, then how far, with contexts for each side. The start of all probabilities is learned from training latents and belongs to the model, not to the file. Channels follow each other, and so do the
values of a channel, so a batch and its single images differ in bytes, never in values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sarlab.codec import entropy
from sarlab.codec.compiled import kernel
from sarlab.errors import BitstreamError, CodecError

if TYPE_CHECKING:
    from torch import Tensor

    from sarlab.models.quantizers import Quantized, Quantizer

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
    """What training teaches about each channel: the median of its integers, and the start of its probabilities."""

    #: int64, shape (channels,).
    centers: np.ndarray
    #: In 1/65536: int64, shape (channels · contexts,).
    probabilities: np.ndarray

    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """Return fresh probabilities and counts."""
        return np.repeat(self.probabilities[:, None], 2, 1), np.full(len(self.probabilities), _CONFIDENCE, np.uint8)


def fit_latent_tables(quantizer: Quantizer, latents: Tensor | Iterable[Tensor]) -> LatentTables:
    """Learn the frequencies of each channel from training latents, each of shape (N, C, h, w)."""
    import torch

    batches = [latents] if isinstance(latents, torch.Tensor) else list(latents)
    if not batches:
        raise CodecError("no latents to learn frequencies from; give at least one batch of training data")
    planes = np.concatenate([_planes(quantizer.quantize(batch)) for batch in batches], axis=1)
    centers = np.median(planes, axis=1).astype(np.int64)
    size = len(planes) * _CONTEXTS
    probabilities, counts = np.full((size, 2), entropy.EVEN, np.int64), np.zeros(size, np.uint8)
    decisions, contexts = _listed(planes, centers, probabilities, counts, True)
    known = contexts >= 0
    ones = np.bincount(contexts[known], decisions[known] >> 16, size)
    share = (ones + 0.5) / (np.bincount(contexts[known], minlength=size) + 1)
    return LatentTables(centers, np.clip(np.rint(65536 * share), 1, 65535).astype(np.int64))


def encode_latent(quantizer: Quantizer, y: Tensor | Quantized, tables: LatentTables) -> bytes:
    """Code a latent, (N, C, h, w) or quantized: shape, side information, range-coded values."""
    from sarlab.models.quantizers.bitpacking import write_header

    quantized = _quantized(quantizer, y)
    n, _, h, w = quantized.integers.shape
    decisions, _ = _listed(_checked(quantizer, quantized, tables), tables.centers, *tables.start(), False)
    return write_header(n, h, w) + _FORMAT + quantized.side + entropy.pack(decisions)


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
    widths = np.array(quantizer.widths, np.int64)
    if not _get_planes(*entropy.open_decoder(data[body:]), planes, tables.centers, widths, *tables.start()):
        raise BitstreamError("coded latent: it is damaged")
    integers = torch.from_numpy(planes).reshape(quantizer.channels, n, h, w).movedim(0, 1).contiguous()
    decoded = Quantized(integers.to(quantizer.device), side=data[start + 1 : body])
    return quantizer.dequantize(quantizer.accepted(decoded))


def ideal_bits(quantizer: Quantizer, y: Tensor | Quantized, tables: LatentTables) -> float:
    """Information in bits of a latent under the adaptive probabilities, without its shape and side information.

    `encode_latent` takes a few bytes more.
    """
    planes = _checked(quantizer, _quantized(quantizer, y), tables)
    decisions, _ = _listed(planes, tables.centers, *tables.start(), False)
    one = (decisions & 0xFFFF) / 65536
    return float(-np.log2(np.where(decisions >> 16, one, 1 - one)).sum())


def _quantized(quantizer: Quantizer, y: Tensor | Quantized) -> Quantized:
    import torch

    return quantizer.quantize(y) if isinstance(y, torch.Tensor) else y


def _planes(quantized: Quantized) -> np.ndarray:
    integers = quantized.integers
    return integers.movedim(1, 0).reshape(integers.shape[1], -1).cpu().numpy().astype(np.int64)


def _checked(quantizer: Quantizer, quantized: Quantized, tables: LatentTables) -> np.ndarray:
    if len(tables.centers) != quantizer.channels:
        raise CodecError("the frequencies do not fit the quantizer; fit them again")
    return _planes(quantized)


def _listed(
    planes: np.ndarray, centers: np.ndarray, probabilities: np.ndarray, counts: np.ndarray, with_contexts: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Decisions of all planes, and the context of each."""
    differences = planes - centers[:, None]
    decisions = np.empty(entropy.room(planes.size, np.abs(differences).max(initial=0)), np.uint32)
    contexts = np.empty(len(decisions) if with_contexts else 0, np.int32)
    n = _put_planes(planes, centers, probabilities, counts, decisions, contexts)
    return decisions[:n], contexts[:n]


@kernel
def _put_planes(planes, centers, probabilities, counts, decisions, contexts):
    n = 0
    for channel in range(planes.shape[0]):
        for place in range(planes.shape[1]):
            value = planes[channel, place]
            context, below = channel * _CONTEXTS, 1 if value < centers[channel] else 0
            n = entropy.put_decision(probabilities, counts, context, below, decisions, contexts, n)
            context += 1 + below * entropy.SLOTS
            distance = centers[channel] - 1 - value if below else value - centers[channel]
            n = entropy.put_magnitude(probabilities, counts, context, distance, decisions, contexts, n)
    return n


@kernel
def _get_planes(decoder, data, planes, centers, widths, probabilities, counts):
    for channel in range(planes.shape[0]):
        for n in range(planes.shape[1]):
            context = channel * _CONTEXTS
            below = entropy.get_decision(decoder, data, probabilities, counts, context)
            context += 1 + below * entropy.SLOTS
            distance = entropy.get_magnitude(decoder, data, probabilities, counts, context)
            if distance == entropy.DAMAGED:
                return False
            planes[channel, n] = centers[channel] - 1 - distance if below else centers[channel] + distance
            if planes[channel, n] < 0 or planes[channel, n] >> widths[channel]:
                return False
    return True
