"""Learned step size (LSQ): the grid is trained with the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sarlab.models.quantizers.base import quantizers
from sarlab.models.quantizers.uniform import UniformQuantizer
from sarlab.specs import QuantizerSpec

#: Factor between the parameters and what they stand for, in effect on their learning rate: calibration starts close to
#: the optimum, and at the rate of the weights the grid wanders about it faster than a network follows.
RATE = 0.1


@quantizers.register("lsq")
class LearnedStepQuantizer(UniformQuantizer):
    """A uniform grid whose step and center are parameters, with b bits from 2 to 16.

    The parameters are relative to the calibrated grid, which follows the latents during a training as every other
    grid does: ten times the logarithm of a factor on its step, and ten times a shift in units of half its range. Both
    start at zero, so one learning rate fits latents of any scale, and calibration sets the range without undoing what
    was learned.

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

    def observe(self, y: Tensor, progress: float) -> None:
        self._values = y.numel() / len(self.log_step)
        super().observe(y, progress)

    def grid(self) -> tuple[Tensor, Tensor, Tensor]:
        low, step, top = super().grid()
        # The factor keeps gradients of step and weights in proportion (Esser et al. 2020, section 2.2).
        scale = (self._values * float(top.max())) ** -0.5
        log_step, shift = (RATE * _scaled_gradient(p, scale).view(1, -1, 1, 1) for p in (self.log_step, self.shift))
        half = step * top / 2
        learned = step * torch.exp(log_step)
        return low + half * (1 + shift) - learned * top / 2, learned, top


def _scaled_gradient(parameter: Tensor, scale: float) -> Tensor:
    return (parameter - parameter * scale).detach() + parameter * scale
