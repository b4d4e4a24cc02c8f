"""Noise that stands for rounding in training."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_range_noise(y: Tensor, bits: int, generator: torch.Generator) -> Tensor:
    """Uniform noise of width 1/(2^bits − 1): the `QuantizationNoise` of the compression trade-offs guide.

    It is the step of a quantizer whose range is 1. A latent's range is what it is, so the noise usually is several
    times too small; compare the ``"noise"`` view, which takes the quantizer's own step.
    """
    uniform = torch.rand(y.shape, generator=generator, device=generator.device, dtype=torch.float32) - 0.5
    return (uniform / (2**bits - 1)).to(y.device)
