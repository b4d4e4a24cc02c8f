"""The codec `hyper`: the latent in a few parallel steps, each value under the table predicted for it.

A latent is an integer in sixteenths of its step: 16·k + m, with the predicted mean m and the integer k that is coded. Means
and scale indices come from `IntegerContext` and `arithmetic`, in integers on both sides. Of several bands the later
ones are predicted from the first one too, where the model has learned that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from sarlab.codec.hyper.arithmetic import FRACTION, QUALITY_UNIT, AtQuality, Frozen, numbers_at, scale_indices
from sarlab.codec.hyper.context import Step
from sarlab.codec.hyper.decoding import HyperDecoding
from sarlab.codec.hyper.despeckling import REACH
from sarlab.codec.hyper.latent_quantizers import LatentQuantizer, ScalarQuantizer, TrellisQuantizer
from sarlab.codec.hyper.network import IntegerContext, clipped_seen
from sarlab.codec.hyper.trellis_tables import TrellisTables
from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import FAMILIES, INDICES, LARGEST
from sarlab.codec.tile_model import QuantizedTile
from sarlab.errors import ModelError
from sarlab.scenes.radiometry import Normalizer

#: Largest latent.
LARGEST_LATENT = FRACTION * LARGEST
#: Side of the part of a tile, in latent positions, on which it is tried whether a band should follow the first.
TRIED = 20
#: A choice: (number of the step, step, positions, means, scale indices) → whole steps, (positions, channels).
Choice = Callable[[int, Step, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class BandCode(NamedTuple):
    """What is coded of one band.

    Attributes
    ----------
    steps : list of tuple
        Of each step, as the model's quantizer made it.
    follows : bool
        Predicted from the first band too.
    """

    steps: list[tuple]
    follows: bool = False


class HyperModel(HyperDecoding):
    """A `CodingTransform` and the integer networks that predict the latent.

    Parameters
    ----------
    network : CodingTransform
    context : IntegerContext
    second : IntegerContext, optional
        For bands after the first that follow it.
    frozen : Frozen
    trellis : TrellisTables or None
        Values are quantized in a trellis where there are any.
    bias : BiasCorrection or None
    despeckling : Despeckling or None
    name : str
    normalizers : dict of str to Normalizer
    content_hash : bytes
    """

    lowest, highest = 0.0, 96.0

    def __init__(
        self,
        network: Any,
        context: IntegerContext,
        frozen: Frozen,
        *,
        second: IntegerContext | None = None,
        trellis: TrellisTables | None = None,
        bias: Any = None,
        despeckling: Any = None,
        name: str,
        normalizers: dict[str, Normalizer],
        content_hash: bytes,
    ):
        steps, channels = len(context.steps), network.channels
        tables = (steps, INDICES)
        shapes = ((channels,), (len(frozen.gains), channels), tables, tables)
        if any(array.shape != shape for array, shape in zip(frozen, shapes, strict=True)):
            raise ModelError(f"model '{name}' is damaged: its tables have shapes {[a.shape for a in frozen]}")
        if frozen.families.max() >= len(FAMILIES) or frozen.maps.max() >= INDICES:
            raise ModelError(f"model '{name}' is damaged: it names tables that do not exist")
        self.network, self.context, self.frozen = network.eval(), context, frozen
        self.second = second
        self.bias, self.despeckling = bias, despeckling
        self.name, self.hash, self.normalizers = name, content_hash, normalizers
        self.stride, self.neutral = network.stride, float(network.neutral)
        self.analysis_reach, self.synthesis_reach = network.analysis_reach, network.synthesis_reach
        if despeckling is not None:
            self.synthesis_reach = max(self.synthesis_reach, network.inverse_reach + REACH)
        self._scalar = ScalarQuantizer(frozen.families, frozen.maps)
        self.set_trellis(trellis)

    def set_trellis(self, trellis: TrellisTables | None) -> None:
        """Quantize latents in a trellis with these tables from now on, or one by one."""
        self.trellis = trellis
        self.quantizer: LatentQuantizer = TrellisQuantizer(trellis, self._scalar) if trellis else self._scalar
        finer = self.quantizer.finer
        self._at = lru_cache(maxsize=64)(lambda stored: numbers_at(self.frozen, stored, finer))

    def at(self, quality: float) -> AtQuality:
        """Steps, ratios and prices at a quality."""
        return self._at(round(quality * QUALITY_UNIT))

    def analyze(self, x: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self.network.analysis(torch.from_numpy(np.ascontiguousarray(x[:, None], np.float32))).numpy()

    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: None) -> QuantizedTile:
        import torch

        latent, bits = np.zeros(y.shape, np.int32), 0.0
        codes: list[BandCode | None] = []
        numbers = self.at(quality)
        with torch.inference_mode():
            for band in range(len(y)):
                if not active[band].any():
                    codes.append(None)
                    continue
                follows = self._follows(y, active, latent, band, numbers)
                other = self._other(latent, numbers) if follows else None
                code, latent[band] = self._coded(y[band], active[band], numbers, other)
                codes.append(code)
                bits += self._bits(code)
        return QuantizedTile(latent, bits, codes)

    def encode(
        self, encoder: RangeEncoder, quantized: QuantizedTile, active: np.ndarray, quality: float, side: None
    ) -> None:
        for band, code in enumerate(quantized.code):
            if code is None:
                continue
            if band and self.second is not None:
                encoder.encode_uniform(np.array([int(code.follows)]), 2)
            for number, step in enumerate(code.steps):
                self.quantizer.encode(encoder, number, step)

    def decode(self, decoder: RangeDecoder, active: np.ndarray, quality: float, side: None) -> np.ndarray:
        import torch

        numbers = self.at(quality)
        channels = self.network.channels
        latent = np.zeros((len(active), channels, *active.shape[1:]), np.int32)

        def choose(number: int, step: Step, rows: np.ndarray, means: np.ndarray, indices: np.ndarray) -> np.ndarray:
            return self.quantizer.decode(decoder, number, indices)

        with torch.inference_mode():
            for band in range(len(active)):
                if not active[band].any():
                    continue
                follows = band > 0 and self.second is not None and bool(decoder.decode_uniform(1, 2)[0])
                rows = self._walk(active[band], numbers, self._other(latent, numbers) if follows else None, choose)
                latent[band] = rows.T.reshape(latent[band].shape)
        return latent

    def _coded(
        self, y: np.ndarray, active: np.ndarray, numbers: AtQuality, other: np.ndarray | None
    ) -> tuple[BandCode, np.ndarray]:
        """Code and latent of one band, (channels, h, w)."""
        code = BandCode([], other is not None)
        choose = self._chooser(np.ascontiguousarray(y.reshape(len(y), -1).T), numbers, code)
        return code, self._walk(active, numbers, other, choose).T.reshape(y.shape)

    def _follows(self, y: np.ndarray, active: np.ndarray, latent: np.ndarray, band: int, numbers: AtQuality) -> bool:
        """Whether a band is to be predicted from the first one too: where that costs less in the middle of both."""
        if not band or self.second is None:
            return False
        both = np.nonzero(active[0] & active[band])
        if not both[0].size:
            return False
        part = tuple(slice(max(0, int(at.mean()) - TRIED // 2), int(at.mean()) + TRIED // 2) for at in both)
        own, first = np.ascontiguousarray(active[band][part]), latent[:1, :, *part]
        bits = [
            self._bits(self._coded(y[band][:, *part], own, numbers, other)[0])
            for other in (self._other(first, numbers), None)
        ]
        return bits[0] < bits[1]

    def _other(self, latent: np.ndarray, numbers: AtQuality) -> np.ndarray:
        """What the networks see of the first band, (h·w, channels), in a band that follows it."""
        rows = latent[0].reshape(latent.shape[1], -1).T.astype(np.int64)
        return clipped_seen(numbers.seen.of(rows, 0, rows.shape[1]))

    def _walk(
        self,
        active: np.ndarray,
        numbers: AtQuality,
        other: np.ndarray | None,
        choose: Choice,
    ) -> np.ndarray:
        """Latents of one band, shape (h·w, channels), as `choose` finds the integers step by step."""
        import torch

        context = self.second if self.second is not None and other is not None else self.context
        total = context.begin(numbers.stored, active)
        if other is not None:
            context.add_band(total, other)
        latent = np.zeros((active.size, self.network.channels), np.int32)
        places: dict[Any, tuple[np.ndarray, Any]] = {}
        for number, step in enumerate(context.steps):
            if step.places not in places:
                rows = np.flatnonzero(step.mask(*active.shape).numpy() & active)
                places[step.places] = rows, torch.from_numpy(rows)
            rows, at = places[step.places]
            count = step.last - step.first
            results = context.results(number, total, at)
            means = numbers.means.of(results[:, :count], step.first, step.last)
            indices = scale_indices(results[:, count:], numbers.relative[step.first : step.last])
            chosen = choose(number, step, rows, means, indices)
            values = np.clip(chosen * FRACTION + means, -LARGEST_LATENT, LARGEST_LATENT)
            latent[rows, step.first : step.last] = values
            context.add(number, total, at, clipped_seen(numbers.seen.of(values, step.first, step.last)))
        return latent

    def _chooser(self, y: np.ndarray, numbers: AtQuality, code: BandCode) -> Choice:
        """Whole steps for latents (h·w, channels), as the quantizer chooses; appends the code of each step."""
        inverse = 1 / numbers.steps

        def choose(number: int, step: Step, rows: np.ndarray, means: np.ndarray, indices: np.ndarray) -> np.ndarray:
            part = slice(step.first, step.last)
            scaled = y[rows, part] * inverse[part] - means.astype(np.float32) / FRACTION
            chosen, coded = self.quantizer.choose(number, scaled, indices, numbers.price[part])
            code.steps.append(coded)
            return chosen

        return choose

    def _bits(self, code: BandCode) -> float:
        """Estimated size of a band's code."""
        return sum(self.quantizer.bits(number, step) for number, step in enumerate(code.steps))
