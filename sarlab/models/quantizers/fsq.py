"""Finite scalar quantization (FSQ): each channel is bounded by a tanh and rounded to a few levels."""

from __future__ import annotations

import torch
from torch import Tensor

from sarlab.models.quantizers.base import Quantized, quantizers
from sarlab.models.quantizers.calibration import ranges, thinned
from sarlab.models.quantizers.tracking import CalibratedQuantizer
from sarlab.specs import QuantizerSpec

#: Values of a channel and factors on its standard deviation that the search for the least error looks at.
SAMPLES = 8192
FACTORS = tuple(1.12**k for k in range(-8, 24))


@quantizers.register("fsq")
class FiniteScalarQuantizer(CalibratedQuantizer):
    """2^b levels of tanh((y − center) / scale), b from 2 to 16, equidistant from −1 to 1.

    The decoder sees center + scale · level, as in FSQ: the tanh is not inverted, a synthesis has to learn that. So a
    network trained without it loses more than with a uniform grid. Center and scale come from calibration:
    ``"minmax"`` and ``"percentile"`` take middle and half of the range, ``"mse"`` takes the mean and the scale of
    least squared error. Values beyond the extremes of the calibration data count as saturated.

    References
    ----------
    Mentzer, Minnen, Agustsson & Tschannen 2024.
    """

    center: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        for name in ("center", "low", "high"):
            self.register_buffer(name, torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.top = 2**spec.bits - 1

    def follow(self, values: Tensor, share: float) -> None:
        extremes = ranges(values, torch.full((self.channels,), 2), "minmax", self.spec.granularity)
        for name, target in zip(("center", "scale", "low", "high"), (*self._fit(values), *extremes), strict=True):
            buffer = getattr(self, name)
            buffer.lerp_(target.to(buffer), share)

    def _fit(self, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.spec.calibration != "mse":
            low, high = ranges(values, torch.full((self.channels,), 2), self.spec.calibration, self.spec.granularity)
            return (low + high) / 2, _nonzero((high - low) / 2)
        if self.spec.granularity == "tensor":
            values = values.reshape(1, -1)
        values = thinned(values, SAMPLES).double()
        center, spread = values.mean(dim=1, keepdim=True), values.std(dim=1, correction=0, keepdim=True)
        best, scale = torch.full_like(spread, torch.inf), spread
        for factor in FACTORS:
            trial = _nonzero(spread * factor)
            levels = ((torch.tanh((values - center) / trial) + 1) / 2 * self.top).round()
            error = (center + trial * (2 * levels / self.top - 1) - values).square().mean(dim=1, keepdim=True)
            scale = torch.where(error < best, trial, scale)
            best = torch.minimum(best, error)
        return center[:, 0].float().expand(self.channels), _nonzero(scale)[:, 0].float().expand(self.channels)

    def _bounded(self, y: Tensor) -> Tensor:
        """Position on the levels, 0 to top."""
        self.require_ready()
        center, scale = (t.view(1, -1, 1, 1) for t in (self.center, self.scale))
        return (torch.tanh((y - center) / scale) + 1) / 2 * self.top

    def _restored(self, position: Tensor) -> Tensor:
        center, scale = (t.view(1, -1, 1, 1) for t in (self.center, self.scale))
        return center + scale * (position * (2 / self.top) - 1)

    def _quantize(self, y: Tensor) -> Quantized:
        low, high = (t.view(1, -1, 1, 1) for t in (self.low, self.high))
        return Quantized(self._bounded(y).round().long(), saturated=int(((y < low) | (y > high)).sum()))

    def dequantize(self, quantized: Quantized) -> Tensor:
        return self._restored(quantized.integers.float())

    def step_of(self, y: Tensor) -> Tensor:
        return self.scale.view(1, -1, 1, 1) * (2 / self.top)

    def noisy(self, y: Tensor, generator: torch.Generator) -> Tensor:
        return super().noisy(self._restored(self._bounded(y)), generator)

    def straight_through(self, y: Tensor) -> Tensor:
        position = self._bounded(y)
        return self._restored(position + (position.round() - position).detach())


def _nonzero(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, torch.ones_like(scale))
