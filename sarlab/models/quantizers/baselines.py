"""Baselines: floating-point formats, and min-max quantization as the compression trade-offs guide writes it."""

from __future__ import annotations

import struct

import numpy as np
import torch
from torch import Tensor

from sarlab.errors import BitstreamError, QuantizerError
from sarlab.models.quantizers.quantizer import Quantized, Quantizer, quantizers


class FloatQuantizer(Quantizer):
    """Rounding to a floating-point format, without calibration.

    The integers are the bit patterns. Values beyond the largest finite one are set to it and counted.
    """

    dtype: torch.dtype
    pattern: torch.dtype
    #: Bits of the significand, the hidden one included; exponent of the smallest step.
    significand: int
    smallest: int

    def _quantize(self, y: Tensor) -> Quantized:
        largest = torch.finfo(self.dtype).max
        patterns = y.clamp(-largest, largest).to(self.dtype).view(self.pattern).long() & (2**self.spec.bits - 1)
        return Quantized(patterns, saturated=int((y.abs() > largest).sum()))

    def accepted(self, quantized: Quantized) -> Quantized:
        if not torch.isfinite(self.dequantize(quantized)).all():
            raise BitstreamError("packed latent: it has NaN or infinite values; the data is damaged")
        return quantized

    def dequantize(self, quantized: Quantized) -> Tensor:
        span = 2**self.spec.bits
        signed = torch.where(quantized.integers >= span // 2, quantized.integers - span, quantized.integers)
        return signed.to(self.pattern).view(self.dtype).float()

    def step_of(self, y: Tensor) -> Tensor:
        exponent = torch.frexp(y.detach().float()).exponent - self.significand
        return torch.ldexp(torch.ones_like(y, dtype=torch.float32), exponent.clamp(min=self.smallest))


@quantizers.register("float32")
class Float32(FloatQuantizer):
    """The latent as computed: 32 bits per value."""

    scheme_bits = (32, 32)
    dtype, pattern = torch.float32, torch.int32
    # Steps of subnormal numbers are left out: other devices' arithmetic does not keep them.
    significand, smallest = 24, -126


@quantizers.register("float16")
class Float16(FloatQuantizer):
    """IEEE 754 binary16: 11 bits of significand, up to 65504."""

    scheme_bits = (16, 16)
    dtype, pattern = torch.float16, torch.int16
    significand, smallest = 11, -24


@quantizers.register("bfloat16")
class BFloat16(FloatQuantizer):
    """The upper half of a float32: its range, with 8 bits of significand."""

    scheme_bits = (16, 16)
    dtype, pattern = torch.bfloat16, torch.int16
    significand, smallest = 8, -126


@quantizers.register("guide")
class GuideQuantizer(Quantizer):
    """The guide's `quantize_latent` and `dequantize_latent`, faults included, so that they can be measured.

    The range is that of the given latent over all channels, so one outlier coarsens everything. The integers are cast
    to 8 bits whatever `spec.bits` is: above 8 they wrap around, below 8 they still take 8. `bits` and `pack` count the
    true size: 8 bits per value, and the range, which decoding requires.
    """

    side_bytes = 8

    @property
    def widths(self) -> tuple[int, ...]:
        return (8,) * self.channels

    def _quantize(self, y: Tensor) -> Quantized:
        low, high = float(y.min()), float(y.max())
        integers = ((y - low) * self._scale(low, high)).round()
        # The guide casts floats beyond 255 to uint8, which keeps the low 8 bits on its machines; explicit here.
        return Quantized(integers.long() & 255, side=struct.pack(">ff", low, high))

    def dequantize(self, quantized: Quantized) -> Tensor:
        low, high = struct.unpack(">ff", quantized.side)
        integers = quantized.integers.float()
        # Expanded, because division by a scalar may be computed as multiplication by its rounded reciprocal.
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
        """Levels per unit, in NumPy's float32 arithmetic like the guide."""
        with np.errstate(over="ignore"):
            span = np.float32(high) - np.float32(low) + np.float32(1e-10)
        if not np.isfinite(span):
            raise QuantizerError(f"the latent's range {low} to {high} exceeds float32: the network has diverged")
        return float(np.float32(2**self.spec.bits - 1) / span)
