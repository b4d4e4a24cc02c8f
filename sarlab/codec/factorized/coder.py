"""The factorized codec: each latent value on its own, under the frozen table of its channel.

Quality Q is a continuous gain. All steps are √12·10^(−Q/20) of the normalized range (times a factor per channel), so Q
is the PSNR of the quantizer alone. The table of a channel follows from Q in integer arithmetic: the model states the
scale index of each channel at fixed qualities (knots), and between them it is interpolated. A file may shift all
indices of a band, and each tile may shift them again, to adapt to scenes unlike those of the training.

Quantization is rate-distortion optimized: a value becomes the nearest integer or the next one towards zero, whichever
has the lower squared error + λ·bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import (
    FAMILIES,
    INDICES,
    LAMBDA,
    LARGEST,
    LARGEST_COUNTED,
    best_indices,
    code_costs,
    cost_of,
    histograms,
)
from sarlab.codec.tile_model import QuantizedTile, TileModel, content_digest, model_kinds
from sarlab.codec.transform import CodingTransform
from sarlab.errors import BitstreamError, ModelError
from sarlab.models.layers import channels_last
from sarlab.models.storage import copy_tensors, read_tensors
from sarlab.scenes.radiometry import Normalizer

KIND = "factorized"
#: Qualities at which a model states the scale index of each channel.
KNOTS = tuple(range(0, 97, 4))
#: Knots are this many units of the stored quality apart.
_KNOT_UNITS = 4 * 256
#: Scale indices of the Laplace tables for coding shifts.
_SHIFT_TABLES = (24, 36, 44, 52)
_SHIFT_FAMILY = FAMILIES.index("laplace")
_LARGEST_SHIFT = INDICES - 1
#: Latent columns that determine the shifts of a file.
_MOST_COLUMNS = 1 << 14


class FactorizedModel(TileModel):
    """A `CodingTransform` with per-channel tables.

    Parameters
    ----------
    network : CodingTransform
    indices, families : ndarray of int, shape (knots, 64)
        Scale index and family of each channel at each of `KNOTS`.
    gains : ndarray of float, shape (64,)
        Factor on each channel's step.
    name : str
    normalizers : dict of str to Normalizer
    content_hash : bytes
    """

    lowest, highest = 0.0, 96.0

    def __init__(
        self,
        network: CodingTransform,
        indices: np.ndarray,
        families: np.ndarray,
        gains: np.ndarray,
        *,
        name: str,
        normalizers: dict[str, Normalizer],
        content_hash: bytes,
    ):
        shape = (len(KNOTS), network.channels)
        if indices.shape != shape or families.shape != shape or gains.shape != shape[1:]:
            raise ModelError(f"model '{name}' has tables of shape {indices.shape} instead of {shape}")
        if indices.min() < 0 or indices.max() >= INDICES or families.min() < 0 or families.max() >= len(FAMILIES):
            raise ModelError(f"model '{name}' names tables that do not exist")
        self.network, self.name, self.hash, self.normalizers = network.eval(), name, content_hash, normalizers
        self.stride, self.neutral = network.stride, float(network.neutral)
        self.analysis_reach, self.synthesis_reach = network.analysis_reach, network.synthesis_reach
        self._indices, self._families = indices.astype(np.int64), families.astype(np.int64)
        self._gains = gains.astype(np.float64)

    def analyze(self, x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.network.analysis(torch.from_numpy(np.ascontiguousarray(x[:, None], np.float32))).numpy()

    def synthesize(self, latent: np.ndarray, quality: float) -> np.ndarray:
        with torch.inference_mode():
            steps = torch.from_numpy(self.steps(quality))[:, None, None]
            return self.network.synthesis(torch.from_numpy(latent.astype(np.float32)) * steps, quality, steps)[
                :, 0
            ].numpy()

    def steps(self, quality: float) -> np.ndarray:
        """Quantization step of each channel, float32."""
        return (self._gains * math.sqrt(12) * 10 ** (-quality / 20)).astype(np.float32)

    def tables(self, quality: float) -> tuple[np.ndarray, np.ndarray]:
        """Scale indices and families of all channels at a quality, in integer arithmetic."""
        knot, rest = divmod(round(quality * 256), _KNOT_UNITS)
        after = min(knot + 1, len(KNOTS) - 1)
        total = self._indices[knot] * (_KNOT_UNITS - rest) + self._indices[after] * rest
        return (total + _KNOT_UNITS // 2) // _KNOT_UNITS, self._families[knot if 2 * rest < _KNOT_UNITS else after]

    def fit_side(self, sample: Sequence[tuple[np.ndarray, np.ndarray]], quality: float) -> bytes:
        bands = sample[0][0].shape[0] if sample else 0
        encoder = RangeEncoder()
        shifted = False
        indices, families = self.tables(quality)
        for band in range(bands):
            columns = [y[band][:, active[band]] for y, active in sample]
            values = np.concatenate(columns, 1) if columns else np.empty((len(indices), 0))
            values = values[:, :: -(-values.shape[1] // _MOST_COLUMNS) or 1]
            shifts = np.zeros(len(indices), np.int64)
            if values.shape[1]:
                scaled = values / self.steps(quality)[:, None]
                for _ in range(2):
                    counts = histograms(optimized(scaled, indices + shifts, families))
                    shifts = best_indices(counts, families) - indices
            shifted |= _encode_shifts(
                encoder, shifts, _worth(counts, indices, shifts, families) if values.shape[1] else False
            )
        return encoder.finish() if shifted else b""

    def parse_side(self, side: bytes, bands: int) -> np.ndarray:
        """Parse the shifts of all indices: int64, shape (bands, channels)."""
        if not side:
            return np.zeros((bands, self.network.channels), np.int64)
        decoder = RangeDecoder(side)
        return np.stack([_decode_shifts(decoder, self.network.channels) for _ in range(bands)])

    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: np.ndarray) -> QuantizedTile:
        latent = np.zeros(y.shape, np.int32)
        indices, families = self.tables(quality)
        bits = 0.0
        for band in range(y.shape[0]):
            base = np.clip(indices + side[band], 0, INDICES - 1)
            scaled = y[band][:, active[band]] / self.steps(quality)[:, None]
            values = optimized(scaled, base, families)
            latent[band][:, active[band]] = values
            if values.size:
                counts = histograms(values)
                best = best_indices(counts, families)
                plain, shifted = cost_of(counts, base, families), cost_of(counts, best, families)
                bits += 1 + min(plain, shifted + _shift_cost(best - base))
        return QuantizedTile(latent, bits)

    def encode(
        self, encoder: RangeEncoder, quantized: QuantizedTile, active: np.ndarray, quality: float, side: np.ndarray
    ) -> None:
        latent = quantized.latent
        indices, families = self.tables(quality)
        for band in range(latent.shape[0]):
            values = latent[band][:, active[band]]
            if not values.size:
                continue
            base = np.clip(indices + side[band], 0, INDICES - 1)
            counts = histograms(values)
            shifts = best_indices(counts, families) - base
            used = _encode_shifts(encoder, shifts, _worth(counts, base, shifts, families))
            encoder.encode_rows(values, base + shifts * used, families)

    def decode(self, decoder: RangeDecoder, active: np.ndarray, quality: float, side: np.ndarray) -> np.ndarray:
        indices, families = self.tables(quality)
        latent = np.zeros((active.shape[0], len(indices), *active.shape[1:]), np.int32)
        for band in range(active.shape[0]):
            count = int(active[band].sum())
            if not count:
                continue
            base = np.clip(indices + side[band], 0, INDICES - 1)
            own = np.clip(base + _decode_shifts(decoder, len(indices)), 0, INDICES - 1)
            latent[band][:, active[band]] = decoder.decode_rows(count, own, families)
        return latent


def optimized(scaled: np.ndarray, indices: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Quantize values in steps, (channels, count), to the nearest integer, or to the next towards zero if cheaper."""
    magnitude = np.abs(scaled)
    nearest = np.minimum(np.rint(magnitude), LARGEST).astype(np.int64)
    # From k − 1 to k the error falls by 2(m − k) + 1 and the bits rise by the costs' difference.
    costs = code_costs()[families, np.clip(indices, 0, INDICES - 1)]
    saved = LAMBDA * np.diff(costs, axis=1, prepend=costs[:, :1])
    rows = np.arange(len(scaled))[:, None]
    lower = 2 * (magnitude - nearest) + 1 < saved[rows, np.minimum(nearest, LARGEST_COUNTED)]
    return np.where(np.signbit(scaled), -1, 1) * (nearest - (lower & (nearest > 0)))


def _worth(counts: np.ndarray, base: np.ndarray, shifts: np.ndarray, families: np.ndarray) -> bool:
    saved = cost_of(counts, base, families) - cost_of(counts, base + shifts, families)
    return bool(saved > _shift_cost(shifts))


def _shift_cost(shifts: np.ndarray) -> float:
    return _shift_table(shifts)[1] + 2


def _shift_table(shifts: np.ndarray) -> tuple[int, float]:
    """(position in `_SHIFT_TABLES`, bits) of the cheapest table for these shifts."""
    magnitude = np.minimum(np.abs(shifts), LARGEST_COUNTED)
    bits = [code_costs()[_SHIFT_FAMILY, table][magnitude].sum() for table in _SHIFT_TABLES]
    return int(np.argmin(bits)), float(min(bits))


def _encode_shifts(encoder: RangeEncoder, shifts: np.ndarray, worth: bool) -> bool:
    encoder.encode_uniform(np.array([int(worth)]), 2)
    if worth:
        which, _ = _shift_table(shifts)
        encoder.encode_uniform(np.array([which]), len(_SHIFT_TABLES))
        encoder.encode_indexed(shifts, np.full(len(shifts), _SHIFT_TABLES[which]), _SHIFT_FAMILY)
    return worth


def _decode_shifts(decoder: RangeDecoder, channels: int) -> np.ndarray:
    if not decoder.decode_uniform(1, 2)[0]:
        return np.zeros(channels, np.int64)
    table = _SHIFT_TABLES[int(decoder.decode_uniform(1, len(_SHIFT_TABLES))[0])]
    shifts = decoder.decode_indexed(np.full(channels, table), _SHIFT_FAMILY)
    if np.abs(shifts).max() > _LARGEST_SHIFT:
        raise BitstreamError("the entropy-coded data is damaged: it shifts an index beyond all tables")
    return shifts


@model_kinds.register(KIND)
def load_factorized(path: Path) -> FactorizedModel:
    """Read a model's file; its content is not trusted."""
    tensors, values = read_tensors(path)
    digest = content_digest(tensors, values)
    try:
        network = CodingTransform(str(values["front"]), int(values["width"]))
        normalizers = {str(k): Normalizer(float(v[0]), float(v[1])) for k, v in values["normalizers"].items()}
        name = str(values["name"])
        tables = [tensors.pop(key).numpy() for key in ("tables.indices", "tables.families", "tables.gains")]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(f"{path} is damaged: its description cannot be read ({error})") from None
    copy_tensors({key: tensor.float() for key, tensor in tensors.items()}, network.state_dict(), str(path))
    network.orthogonalize()
    return FactorizedModel(channels_last(network), *tables, name=name, normalizers=normalizers, content_hash=digest)
