"""Floating-point latents: 32 bits, and the two 16-bit formats."""

from __future__ import annotations

import torch
from torch import Tensor

from sarlab.errors import BitstreamError
from sarlab.models.quantizers.base import Quantized, Quantizer, quantizers


class FloatQuantizer(Quantizer):
    """Rounding to a floating-point format; there is nothing to calibrate.

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
    """The latent as the network made it: 32 bits a value."""

    scheme_bits = (32, 32)
    dtype, pattern = torch.float32, torch.int32
    # Steps of the subnormal numbers are below what arithmetic on other devices keeps.
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
