"""Noise that stands for rounding in training."""

from __future__ import annotations

import torch
from torch import Tensor

from sarlab.models.transfer import sent


def centered_uniform(y: Tensor, generator: torch.Generator) -> Tensor:
    """Draws from −½ … ½ in the shape and on the device of `y`, float32."""
    return sent(torch.rand(y.shape, generator=generator, device=generator.device, dtype=torch.float32) - 0.5, y.device)


def unit_range_noise(y: Tensor, bits: int, generator: torch.Generator) -> Tensor:
    """Uniform noise of width 1/(2^bits − 1): the `QuantizationNoise` of the compression trade-offs guide.

    It is the step of a quantizer whose range is 1. A latent's range is what it is, so the noise usually is several
    times too small; compare the ``"noise"`` view, which takes the quantizer's own step.
    """
    return centered_uniform(y, generator) / (2**bits - 1)
