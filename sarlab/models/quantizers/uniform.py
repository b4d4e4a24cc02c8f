"""Uniform grids with calibrated ranges: the same bits for all channels, or bits shared out among them."""

from __future__ import annotations

import torch
from torch import Tensor

from sarlab.errors import QuantizerError
from sarlab.models.quantizers.allocation import allocate, distortions, synthesis_gains
from sarlab.models.quantizers.base import Latents, Quantized, Quantizer, Synthesis, gather, quantizers
from sarlab.models.quantizers.calibration import ranges
from sarlab.specs import QuantizerSpec

#: Share of a batch in the ranges that follow a training.
TRACKING = 0.1
#: Batches between two allocations of bits while ranges follow a training.
REALLOCATE_EVERY = 25


class UniformQuantizer(Quantizer):
    """2^b equidistant levels in each channel, the lowest at `low` and the highest at `high`.

    A value up to half a step beyond the outer levels is represented as well as any other; what lies farther out is set
    to the outer level and counted as saturated.
    """

    low: Tensor
    high: Tensor
    calibrated: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        self.register_buffer("low", torch.zeros(channels))
        self.register_buffer("high", torch.zeros(channels))
        self.register_buffer("calibrated", torch.zeros((), dtype=torch.bool))

    @property
    def levels(self) -> Tensor:
        """Levels of each channel, shape (C,), int64."""
        return torch.tensor([2**width for width in self.widths], device=self.low.device)

    def grid(self) -> tuple[Tensor, Tensor, Tensor]:
        """Lowest level, step, and highest integer of each channel, shape (1, C, 1, 1), float32.

        A channel whose range is a point has step 0.
        """
        top = (self.levels - 1).to(self.low.dtype)
        step = (self.high - self.low) / top.clamp(min=1)
        return self.low.view(1, -1, 1, 1), step.view(1, -1, 1, 1), top.view(1, -1, 1, 1)

    def calibrate(self, latents: Latents, *, synthesis: Synthesis | None = None) -> None:
        self.set_ranges(gather(latents, self.channels))

    def set_ranges(self, values: Tensor) -> None:
        """Calibrate with values by channel, shape (C, n)."""
        low, high = ranges(values, self.levels.cpu(), self.spec.calibration, self.spec.granularity)
        self.low.copy_(low)
        self.high.copy_(high)
        self.calibrated.fill_(True)

    def observe(self, y: Tensor) -> None:
        values = gather(y, self.channels)
        if not self.calibrated:
            self.set_ranges(values)
            return
        low, high = ranges(values, self.levels.cpu(), self.spec.calibration, self.spec.granularity)
        self.low.lerp_(low.to(self.low), TRACKING)
        self.high.lerp_(high.to(self.high), TRACKING)

    def _quantize(self, y: Tensor) -> Quantized:
        low, step, top = self._calibrated_grid()
        integers = torch.minimum(((y - low) / _divisor(step)).round().clamp(min=0), top)
        outside = (y < low - step / 2) | (y > low + (top + 0.5) * step)
        return Quantized(integers.long(), saturated=int((outside & (top > 0)).sum()))

    def dequantize(self, quantized: Quantized) -> Tensor:
        with torch.no_grad():
            low, step, _ = self._calibrated_grid()
            return low + quantized.integers * step

    def step_of(self, y: Tensor) -> Tensor:
        return self._calibrated_grid()[1]

    def noisy(self, y: Tensor, generator: torch.Generator) -> Tensor:
        low, step, top = self._calibrated_grid()
        return super().noisy(torch.clamp(y, low - step / 2, low + (top + 0.5) * step), generator)

    def straight_through(self, y: Tensor) -> Tensor:
        low, step, top = self._calibrated_grid()
        position = torch.minimum(((y - low) / _divisor(step)).clamp(min=0), top)
        return low + (position + (position.round() - position).detach()) * step

    def _calibrated_grid(self) -> tuple[Tensor, Tensor, Tensor]:
        if not self.calibrated:
            raise QuantizerError(f"quantizer '{self.spec.scheme}' has no ranges yet; calibrate it with training data")
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

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        if spec.granularity != "channel":
            raise QuantizerError("bits can be allocated among channels only; use granularity 'channel'")
        self.register_buffer("allocation", torch.full((channels,), spec.bits, dtype=torch.int64))
        self._gains: Tensor | None = None
        self._observed = 0

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.allocation.tolist())

    def calibrate(self, latents: Latents, *, synthesis: Synthesis | None = None) -> None:
        batches = [latents] if isinstance(latents, Tensor) else list(latents)
        values = gather(batches, self.channels)
        self._gains = None if synthesis is None else synthesis_gains(synthesis, batches[0])
        self.set_allocation(values)
        self.set_ranges(values)

    def set_allocation(self, values: Tensor) -> None:
        """Share out the bits after the distortion of values by channel, shape (C, n)."""
        table = distortions(values, self.spec.bits, self.spec.calibration)
        if self._gains is not None:
            table = table * self._gains[:, None]
        self.allocation.copy_(allocate(table, self.spec.bits * self.channels))

    def observe(self, y: Tensor) -> None:
        if self._observed % REALLOCATE_EVERY == 0:
            values = gather(y, self.channels)
            before = self.allocation.clone()
            self.set_allocation(values)
            if not torch.equal(before, self.allocation):
                self.set_ranges(values)
        self._observed += 1
        super().observe(y)


def _divisor(step: Tensor) -> Tensor:
    return torch.where(step > 0, step, torch.ones_like(step))
