"""Entropy models for training: how many bits a quantized latent would take, as a differentiable number.

What is written to a file follows frozen integer tables (`sarlab.codec.tables`); these are the continuous densities that
a transform is trained under. Every function gives bits of an interval one quantization step wide, so that the same prior
serves every step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: No interval is taken to be rarer than this, which keeps gradients finite (the files' escapes cost about as much).
LEAST = 2.0**-26


def gaussian_bits(y: Tensor, mean: Tensor, deviation: Tensor, step: Tensor | float = 1.0) -> Tensor:
    """Bits of the intervals y ± step/2 under a normal density: the conditional prior of a hyperprior model.

    Parameters
    ----------
    y, mean, deviation : Tensor, broadcastable
        In the same unit; `deviation` is positive.
    step : Tensor or float
        Width of the interval.

    Returns
    -------
    Tensor
        −log2 of the probability, elementwise.
    """
    # By symmetry both ends are taken from the lower tail, where the difference of two cdfs keeps its digits.
    distance = (y - mean).abs()
    upper = torch.special.ndtr((step / 2 - distance) / deviation)
    lower = torch.special.ndtr((-step / 2 - distance) / deviation)
    return -torch.log2((upper - lower).clamp_min(LEAST))


def logistic_bits(y: Tensor, mean: Tensor, deviation: Tensor, step: Tensor | float = 1.0) -> Tensor:
    """Bits of the intervals y ± step/2 under a logistic density of the given standard deviation."""
    rate = math.pi / math.sqrt(3) / deviation
    distance = (y - mean).abs()
    upper = torch.sigmoid((step / 2 - distance) * rate)
    lower = torch.sigmoid((-step / 2 - distance) * rate)
    return -torch.log2((upper - lower).clamp_min(LEAST))


class FactorizedPrior(nn.Module):
    """One density a channel, learned: a mixture of zero-mean logistics of different widths.

    Parameters
    ----------
    channels : int
    components : int
        Logistics a channel.
    """

    def __init__(self, channels: int, components: int = 3):
        super().__init__()
        spread = torch.linspace(-0.7, 0.7, components)
        self.log_deviation = nn.Parameter(spread.repeat(channels, 1))
        self.logits = nn.Parameter(torch.zeros(channels, components))

    def set_deviation(self, deviation: Tensor) -> None:
        """Start from measured standard deviations, shape (channels,)."""
        with torch.no_grad():
            spread = torch.linspace(-0.7, 0.7, self.log_deviation.shape[1], device=self.log_deviation.device)
            self.log_deviation.copy_(deviation.log()[:, None] + spread)

    def bits(self, y: Tensor, step: Tensor | float = 1.0, spread: Tensor | float = 1.0) -> Tensor:
        """Bits of the intervals y ± step/2.

        Parameters
        ----------
        y : Tensor, shape (N, C, h, w)
        step : Tensor broadcastable to `y`, or float
        spread : Tensor broadcastable to `y`, or float
            Factor on all widths: how much wider this sample's channel is than the learned one.

        Returns
        -------
        Tensor, shape (N, C, h, w)
        """
        total = y.new_zeros(())
        weights = self.logits.softmax(1)
        distance, half = y.abs() / spread, step / 2 / spread
        for k in range(weights.shape[1]):
            rate = (math.pi / math.sqrt(3) * torch.exp(-self.log_deviation[:, k]))[:, None, None]
            inside = torch.sigmoid((half - distance) * rate) - torch.sigmoid((-half - distance) * rate)
            total = total + weights[:, k, None, None] * inside
        return -torch.log2(total.clamp_min(LEAST))


def add_uniform_noise(y: Tensor, step: Tensor | float, generator: torch.Generator) -> Tensor:
    """What training sees instead of rounding: uniform noise one step wide."""
    noise = torch.rand(y.shape, generator=generator, dtype=y.dtype).to(y.device) - 0.5
    return y + noise * step


def round_through(y: Tensor, step: Tensor | float) -> Tensor:
    """Rounding to multiples of `step` with the gradient of the identity (straight-through estimator)."""
    return y + (torch.round(y / step) * step - y).detach()
