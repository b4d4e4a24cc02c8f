"""Grids that are trained with the network: finite scalar quantization (FSQ) and learned step size (LSQ)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sarlab.models.quantizers.grids import UniformQuantizer, ranges, thinned
from sarlab.models.quantizers.quantizer import CalibratedQuantizer, Quantized, nonzero, quantizers
from sarlab.specs import QuantizerSpec

#: FSQ: values per channel, and factors on their standard deviation, for the search for the least error.
SAMPLES, FACTORS = 8192, tuple(1.12**k for k in range(-8, 24))
#: LSQ: factor from the parameters to what they stand for, which in effect scales their learning rate. Calibration starts
#: close to the optimum; at the rate of the weights the grid would move faster than the network follows.
RATE = 0.1


@quantizers.register("fsq")
class FiniteScalarQuantizer(CalibratedQuantizer):
    """2^b levels of tanh((y − center) / scale), b from 2 to 16, equidistant from −1 to 1.

    The decoder gets center + scale · level, as in FSQ: the tanh is not inverted, the synthesis has to learn that, so a
    network trained without FSQ loses more than with a uniform grid. Calibration sets center and scale: ``"minmax"`` and
    ``"percentile"`` to the middle and half of the range, ``"mse"`` to the mean and the scale of least squared error.
    Values beyond the extremes of the calibration data count as saturated.

    References: Mentzer, Minnen, Agustsson & Tschannen 2024.
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
        low, high = ranges(values, torch.full((self.channels,), 2), "minmax", self.spec.granularity)
        center, scale = self._fit(values)
        self.move(share, center=center, scale=scale, low=low, high=high)

    def _fit(self, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.spec.calibration != "mse":
            low, high = ranges(values, torch.full((self.channels,), 2), self.spec.calibration, self.spec.granularity)
            return (low + high) / 2, nonzero((high - low) / 2)
        if self.spec.granularity == "tensor":
            values = values.reshape(1, -1)
        values = thinned(values, SAMPLES).double()
        center, spread = values.mean(dim=1, keepdim=True), values.std(dim=1, correction=0, keepdim=True)
        best, scale = torch.full_like(spread, torch.inf), spread
        for factor in FACTORS:
            trial = nonzero(spread * factor)
            levels = ((torch.tanh((values - center) / trial) + 1) / 2 * self.top).round()
            error = (center + trial * (2 * levels / self.top - 1) - values).square().mean(dim=1, keepdim=True)
            scale = torch.where(error < best, trial, scale)
            best = torch.minimum(best, error)
        return center[:, 0].float().expand(self.channels), nonzero(scale)[:, 0].float().expand(self.channels)

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


@quantizers.register("lsq")
class LearnedStepQuantizer(UniformQuantizer):
    """A uniform grid with learned step and center, b bits from 2 to 16.

    The parameters are relative to the calibrated grid, which follows the latents of a training as any other grid does:
    ten times the logarithm of a factor on its step, and ten times a shift in units of half its range. Both start at
    zero, so one learning rate fits latents of any scale, and calibration sets the range without undoing what was
    learned.

    References: Esser et al. 2020 (learned step size); Bhalgat et al. 2020 (learned offset).
    """

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        groups = 1 if spec.granularity == "tensor" else channels
        self.log_step = nn.Parameter(torch.zeros(groups))
        self.shift = nn.Parameter(torch.zeros(groups))
        self._values = 1.0

    def observe(self, y: Tensor) -> None:
        self._values = y.numel() / len(self.log_step)
        super().observe(y)

    def grid(self) -> tuple[Tensor, Tensor, Tensor]:
        low, step, top = super().grid()
        # A scaled gradient keeps step and weights in proportion (Esser et al. 2020, section 2.2).
        scale = (self._values * float(top.max())) ** -0.5
        parameters = ((p - p * scale).detach() + p * scale for p in (self.log_step, self.shift))
        log_step, shift = (RATE * p.view(1, -1, 1, 1) for p in parameters)
        half = step * top / 2
        learned = step * torch.exp(log_step)
        return low + half * (1 + shift) - learned * top / 2, learned, top
