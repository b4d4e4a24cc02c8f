"""Min-max quantization as the compression trade-offs guide writes it, faults included, so that they can be measured."""

from __future__ import annotations

import struct

import numpy as np
import torch
from torch import Tensor

from sarlab.errors import BitstreamError, QuantizerError
from sarlab.models.quantizers.base import Quantized, Quantizer, quantizers


@quantizers.register("guide")
class GuideQuantizer(Quantizer):
    """The guide's `quantize_latent` and `dequantize_latent`.

    The range is that of the latent at hand, over all channels, so that one outlier coarsens everything; the integers
    are cast to 8 bits whatever `spec.bits` says: above 8 they wrap around, below 8 they are stored in 8 all the same.
    `nominal_bits` counts as the guide does; `bits` and `pack` count what it takes: 8 bits a value, and the
    range, without which nothing can be decoded. There is nothing to calibrate.
    """

    side_bytes = 8

    @property
    def widths(self) -> tuple[int, ...]:
        return (8,) * self.channels

    def _quantize(self, y: Tensor) -> Quantized:
        low, high = float(y.min()), float(y.max())
        integers = ((y - low) * self._scale(low, high)).round()
        # A cast of floats beyond 255 to uint8 keeps the low 8 bits on the guide's machines; spelled out for all others.
        return Quantized(integers.long() & 255, side=struct.pack(">ff", low, high))

    def dequantize(self, quantized: Quantized) -> Tensor:
        low, high = struct.unpack(">ff", quantized.side)
        integers = quantized.integers.float()
        # Expanded, because a division by a single number may be done as a multiplication by its rounded reciprocal.
        return integers / torch.tensor(self._scale(low, high)).to(integers).expand(integers.shape) + low

    def accepted(self, quantized: Quantized) -> Quantized:
        low, high = struct.unpack(">ff", quantized.side)
        if not (abs(low) < float("inf") and low <= high < float("inf")):
            raise BitstreamError(f"packed latent: its range {low} to {high} is impossible; the data is damaged")
        return quantized

    def step_of(self, y: Tensor) -> Tensor:
        y = y.detach()
        return torch.full((1, 1, 1, 1), 1 / self._scale(float(y.min()), float(y.max())), device=y.device)

    def _scale(self, low: float, high: float) -> float:
        """Levels a unit, in NumPy's float32 arithmetic as the guide has it."""
        with np.errstate(over="ignore"):
            span = np.float32(high) - np.float32(low) + np.float32(1e-10)
        if not np.isfinite(span):
            raise QuantizerError(f"the latent's range {low} to {high} exceeds float32; the network has diverged")
        return float(np.float32(2**self.spec.bits - 1) / span)
