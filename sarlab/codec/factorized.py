"""The factorized model: every latent value by itself, under the frozen table of its channel.

Quality Q is a continuous gain: all steps are √12·10^(−Q/20) of the normalized range (times a factor of the channel), so
that Q is the PSNR of the quantizer alone. A channel's table follows from Q by integer arithmetic: the model holds each
channel's scale index at fixed qualities (knots), and between them it is interpolated. A file may shift all indices of a
band, and every tile again, where its scene is unlike the training scenes.

Quantization is rate-distortion optimized: a value goes to the nearest integer or to the one below it in magnitude,
whichever costs less in squared error + λ·bits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.codec.costs import LARGEST_COUNTED, best_indices, code_costs, cost_of, histograms
from sarlab.codec.learned import Quantized, TileModel, model_kinds
from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import FAMILIES, INDICES, LARGEST
from sarlab.errors import BitstreamError, ModelError
from sarlab.scenes.radiometry import Normalizer

KIND = "factorized"
#: Qualities at which a model states the scale index of each channel.
KNOTS = tuple(range(0, 97, 4))
#: Knots are this many units of the stored quality apart.
_KNOT_UNITS = 4 * 256
#: Weight of a bit against squared error in steps: 6.02 dB a bit at a step²/12 of error.
LAMBDA = 2 * math.log(2) / 12
#: Scale indices of the Laplace tables that shifts of indices can be coded with.
_SHIFT_TABLES = (24, 36, 44, 52)
_SHIFT_FAMILY = FAMILIES.index("laplace")
_LARGEST_SHIFT = INDICES - 1
#: Latent columns looked at to find the shifts of a whole file.
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
        network: Any,
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
            raise ModelError(f"model '{name}': tables for {indices.shape} where {shape} are needed")
        if indices.min() < 0 or indices.max() >= INDICES or families.min() < 0 or families.max() >= len(FAMILIES):
            raise ModelError(f"model '{name}': scale indices or families that do not exist")
        self.network, self.name, self.hash, self.normalizers = network.eval(), name, content_hash, normalizers
        self.stride, self.neutral = network.stride, float(network.neutral)
        self.analysis_reach, self.synthesis_reach = network.analysis_reach, network.synthesis_reach
        self._indices, self._families = indices.astype(np.int64), families.astype(np.int64)
        self._gains = gains.astype(np.float64)

    def analyze(self, x: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self.network.analysis(torch.from_numpy(np.ascontiguousarray(x[:, None], np.float32))).numpy()

    def synthesize(self, latent: np.ndarray, quality: float) -> np.ndarray:
        import torch

        with torch.inference_mode():
            steps = torch.from_numpy(self.steps(quality))[:, None, None]
            return self.network.synthesis(torch.from_numpy(latent.astype(np.float32)) * steps, quality, steps)[
                :, 0
            ].numpy()

    def steps(self, quality: float) -> np.ndarray:
        """Quantization step of every channel, float32."""
        return (self._gains * math.sqrt(12) * 10 ** (-quality / 20)).astype(np.float32)

    def tables(self, quality: float) -> tuple[np.ndarray, np.ndarray]:
        """Scale indices and families of all channels at a quality, by integers alone."""
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
        """Shifts of all indices, shape (bands, channels)."""
        if not side:
            return np.zeros((bands, self.network.channels), np.int64)
        decoder = RangeDecoder(side)
        return np.stack([_decode_shifts(decoder, self.network.channels) for _ in range(bands)])

    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: np.ndarray) -> Quantized:
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
        return Quantized(latent, bits)

    def encode(
        self, encoder: RangeEncoder, quantized: Quantized, active: np.ndarray, quality: float, side: np.ndarray
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
    """Integers of values in steps, shape (channels, count): the nearest, or the one below where that is cheaper."""
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
        raise BitstreamError("the entropy-coded data is damaged: a shift of tables beyond all tables")
    return shifts


@model_kinds.register(KIND)
def load_factorized(path: Path) -> FactorizedModel:
    """Read a model's file; it is not trusted."""
    from sarlab.codec.transform import CodingTransform
    from sarlab.models.layers import channels_last
    from sarlab.models.storage import copy_tensors, read_tensors

    tensors, values = read_tensors(path)
    try:
        network = CodingTransform(str(values["front"]), int(values["width"]))
        normalizers = {str(k): Normalizer(float(v[0]), float(v[1])) for k, v in values["normalizers"].items()}
        name = str(values["name"])
        tables = [tensors.pop(key).numpy() for key in ("tables.indices", "tables.families", "tables.gains")]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(f"{path} is damaged: its description cannot be read ({error})") from None
    digest = content_digest(path)
    copy_tensors({key: tensor.float() for key, tensor in tensors.items()}, network.state_dict(), str(path))
    network.orthogonalize()
    return FactorizedModel(channels_last(network), *tables, name=name, normalizers=normalizers, content_hash=digest)


def content_digest(path: Path) -> bytes:
    """First 8 bytes of the SHA-256 of a model's tensors and of what its header says about decoding."""
    from sarlab.models.storage import read_tensors
    from sarlab.specs import canonical_json

    tensors, values = read_tensors(path)
    essential = {key: value for key, value in values.items() if key != "provenance"}
    digest = hashlib.sha256(canonical_json(essential).encode())
    for key in sorted(tensors):
        array = tensors[key].numpy()
        digest.update(f"|{key}|{array.dtype}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:8]
