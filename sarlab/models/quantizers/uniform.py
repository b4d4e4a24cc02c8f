"""Uniform grids with calibrated ranges: the same bits for all channels, or bits shared out among them."""

from __future__ import annotations

import torch
from torch import Tensor

from sarlab.errors import QuantizerError
from sarlab.models.quantizers.allocation import allocate, distortions, synthesis_gains
from sarlab.models.quantizers.base import Quantized, Synthesis, quantizers
from sarlab.models.quantizers.calibration import grid_error, ranges
from sarlab.models.quantizers.latents import Latents
from sarlab.models.quantizers.noise import centered_uniform
from sarlab.models.quantizers.tracking import CalibratedQuantizer
from sarlab.specs import QuantizerSpec

#: Batches between two allocations of bits while ranges follow a training.
REALLOCATE_EVERY = 25


class UniformQuantizer(CalibratedQuantizer):
    """2^b equidistant levels in each channel, the lowest at `low` and the highest at `high`.

    A value up to half a step beyond the outer levels is represented as well as any other; what lies farther out is set
    to the outer level and counted as saturated.
    """

    low: Tensor
    high: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        self.register_buffer("low", torch.zeros(channels))
        self.register_buffer("high", torch.zeros(channels))

    @property
    def levels(self) -> Tensor:
        """Levels of each channel, shape (C,), int64."""
        return torch.tensor([2**width for width in self.widths], device=self.low.device)

    def grid(self) -> tuple[Tensor, Tensor, Tensor]:
        """Lowest level, step, and highest integer of each channel, shape (1, C, 1, 1), float32.

        A channel whose range is a point has step 0.
        """
        top = (self.levels - 1).to(self.low.dtype)
        # In double precision, so that every device gives the same step.
        step = ((self.high.double() - self.low.double()) / top.double().clamp(min=1)).float()
        return self.low.view(1, -1, 1, 1), step.view(1, -1, 1, 1), top.view(1, -1, 1, 1)

    def follow(self, values: Tensor, share: float) -> None:
        low, high = ranges(values, self.levels.cpu(), self.spec.calibration, self.spec.granularity)
        self.low.lerp_(low.to(self.low), share)
        self.high.lerp_(high.to(self.high), share)

    def compress(self, y: Tensor) -> Tensor:
        """Coordinate in which the levels are equidistant."""
        return y

    def expand(self, position: Tensor) -> Tensor:
        """Inverse of `compress`."""
        return position

    def _quantize(self, y: Tensor) -> Quantized:
        low, step, top = self._calibrated_grid()
        position = self.compress(y)
        integers = torch.minimum(((position - low) / _divisor(step)).round().clamp(min=0), top)
        outside = (position < low - step / 2) | (position > low + (top + 0.5) * step)
        return Quantized(integers.long(), saturated=int((outside & (top > 0)).sum()))

    def dequantize(self, quantized: Quantized) -> Tensor:
        with torch.no_grad():
            low, step, _ = self._calibrated_grid()
            return self.expand(low + quantized.integers * step)

    def step_of(self, y: Tensor) -> Tensor:
        return self._calibrated_grid()[1]

    def noisy(self, y: Tensor, generator: torch.Generator) -> Tensor:
        low, step, top = self._calibrated_grid()
        position = torch.clamp(self.compress(y), low - step / 2, low + (top + 0.5) * step)
        return self.expand(position + centered_uniform(y, generator) * step)

    def straight_through(self, y: Tensor) -> Tensor:
        low, step, top = self._calibrated_grid()
        position = torch.minimum(((self.compress(y) - low) / _divisor(step)).clamp(min=0), top)
        return self.expand(low + (position + (position.round() - position).detach()) * step)

    def _calibrated_grid(self) -> tuple[Tensor, Tensor, Tensor]:
        self.require_ready()
        return self.grid()


@quantizers.register("affine")
class AffineQuantizer(UniformQuantizer):
    """Integers of b bits, b from 2 to 16, with one range for the whole latent or one for each channel."""


@quantizers.register("allocated")
class AllocatedQuantizer(UniformQuantizer):
    """Uniform grids whose bits are shared out among the channels; `spec.bits` is their average.

    Bits go where they take most distortion away, measured on the calibration latents; a channel may get none and
    becomes its mean. The allocation is part of the calibrated quantizer, not of the files.
    """

    scheme_bits = (1, 16)
    allocation: Tensor
    gains: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        if spec.granularity != "channel":
            raise QuantizerError("bits can be allocated among channels only; use granularity 'channel'")
        self.register_buffer("allocation", torch.full((channels,), spec.bits, dtype=torch.int64))
        self.register_buffer("gains", torch.ones(channels, dtype=torch.float64))

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.allocation.tolist())

    def calibrate(self, latents: Latents, *, synthesis: Synthesis | None = None) -> None:
        batches = [latents] if isinstance(latents, Tensor) else list(latents)
        if synthesis is not None and batches:
            self.gains.copy_(synthesis_gains(synthesis, batches[0]))
        super().calibrate(batches)

    def follow(self, values: Tensor, share: float) -> None:
        if (share == 1.0 or int(self.observed) % REALLOCATE_EVERY == 0) and self.reallocate(values):
            share = 1.0
        super().follow(values, share)

    def reallocate(self, values: Tensor) -> bool:
        """Share out the bits after values by channel, shape (C, n); whether that changed anything."""
        table = distortions(values, self.spec.bits, self.fitted_error) * self.gains.cpu()[:, None]
        before = self.allocation.clone()
        self.allocation.copy_(allocate(table, self.spec.bits * self.channels))
        return not torch.equal(before, self.allocation)

    def fitted_error(self, values: Tensor, levels: Tensor) -> Tensor:
        """Mean squared error of values by channel, shape (C, n), with grids of so many levels fitted to them."""
        low, high = ranges(values, levels, self.spec.calibration, "channel")
        return grid_error(values, low, high, levels)


def _divisor(step: Tensor) -> Tensor:
    return torch.where(step > 0, step, torch.ones_like(step))
