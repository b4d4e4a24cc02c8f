"""Learned step size (LSQ): the grid is trained with the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sarlab.models.quantizers.base import Synthesis, quantizers
from sarlab.models.quantizers.latents import Latents, gather
from sarlab.models.quantizers.uniform import UniformQuantizer
from sarlab.specs import QuantizerSpec

#: Share of a training in which the start of the learned grid still follows the latents: early on they change too fast
#: for a gradient.
SETTLING = 0.1


@quantizers.register("lsq")
class LearnedStepQuantizer(UniformQuantizer):
    """A uniform grid whose step and center are parameters, with b bits from 2 to 16.

    Calibration sets where they start. The parameters are relative to it: the logarithm of a factor on the step, and a
    shift in units of half the range; both start at zero, so that one learning rate fits latents of any scale. A grid
    that has been learned is not calibrated again.

    References
    ----------
    Esser et al. 2020 (learned step size); Bhalgat et al. 2020 (learned offset).
    """

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        groups = 1 if spec.granularity == "tensor" else channels
        self.log_step = nn.Parameter(torch.zeros(groups))
        self.shift = nn.Parameter(torch.zeros(groups))
        self._values = 1.0

    @property
    def learned(self) -> bool:
        """Whether training has moved the grid from where calibration put it."""
        return bool((self.log_step != 0).any() or (self.shift != 0).any())

    def calibrate(self, latents: Latents, *, synthesis: Synthesis | None = None) -> None:
        if self.ready and self.learned:
            gather(latents, self.channels)
        else:
            super().calibrate(latents)

    def observe(self, y: Tensor, progress: float) -> None:
        self._values = y.numel() / len(self.log_step)
        if not self.ready or progress < SETTLING:
            super().observe(y, progress)

    def grid(self) -> tuple[Tensor, Tensor, Tensor]:
        low, step, top = super().grid()
        # The factor keeps gradients of step and weights in proportion (Esser et al. 2020, section 2.2).
        scale = (self._values * float(top.max())) ** -0.5
        log_step, shift = (_scaled_gradient(p, scale).view(1, -1, 1, 1) for p in (self.log_step, self.shift))
        half = step * top / 2
        learned = step * torch.exp(log_step)
        return low + half * (1 + shift) - learned * top / 2, learned, top


def _scaled_gradient(parameter: Tensor, scale: float) -> Tensor:
    return (parameter - parameter * scale).detach() + parameter * scale
