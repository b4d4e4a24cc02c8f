"""Companded grids: finer where the values are, coarser in the tails, with bits shared out among the channels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sarlab.models.quantizers.base import Quantized, quantizers
from sarlab.models.quantizers.calibration import MSE_SAMPLES, ranges, thinned
from sarlab.models.quantizers.uniform import REALLOCATE_EVERY, AllocatedQuantizer
from sarlab.specs import QuantizerSpec

#: Where the compander bends, in standard deviations of the channel, and shares of the range that are tried.
KNEES = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 16.0)
SHARES = tuple(1 - 0.04 * k for k in range(21))


@quantizers.register("companded")
class CompandedQuantizer(AllocatedQuantizer):
    """Levels that are equidistant in asinh((y − mean) / knee), with bits allocated as by ``"allocated"``.

    Latents have heavier tails than a Gaussian, above all across scenes of different brightness. A grid that grows
    coarser outwards spends fewer levels on them; the asinh goes over from linear to logarithmic at the knee, which
    calibration finds for each channel. Where tails are light the knee moves outwards and the grid becomes uniform.

    References
    ----------
    Bennett 1948; Panter & Dite 1951 (companding and non-uniform levels).
    """

    mean: Tensor
    knee: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("knee", torch.ones(channels))

    def compress(self, y: Tensor) -> Tensor:
        return torch.asinh((y - self.mean.view(1, -1, 1, 1)) / self.knee.view(1, -1, 1, 1))

    def expand(self, position: Tensor) -> Tensor:
        return self.mean.view(1, -1, 1, 1) + self.knee.view(1, -1, 1, 1) * torch.sinh(position)

    def dequantize(self, quantized: Quantized) -> Tensor:
        # Looked up in a table: a sinh may differ in its last bit between devices, and between places in a tensor.
        with torch.no_grad():
            low, step, _ = (t.flatten().double().cpu().numpy() for t in self._calibrated_grid())
            mean, knee = (t.double().cpu().numpy() for t in (self.mean, self.knee))
            restored = torch.empty(quantized.integers.shape, device=quantized.integers.device)
            for c, width in enumerate(self.widths):
                table = mean[c] + knee[c] * np.sinh(low[c] + step[c] * np.arange(2**width))
                levels = torch.from_numpy(table.astype(np.float32)).to(restored.device)
                restored[:, c] = levels[quantized.integers[:, c]]
            return restored

    def step_of(self, y: Tensor) -> Tensor:
        return self._calibrated_grid()[1] * self.knee.view(1, -1, 1, 1) * torch.cosh(self.compress(y.detach()))

    def follow(self, values: Tensor, share: float) -> None:
        if share == 1.0 or int(self.observed) % REALLOCATE_EVERY == 0:
            self.reallocate(values)
            share = 1.0
        mean, knee, low, high, _ = fit(thinned(values, MSE_SAMPLES), self.levels.cpu(), self.spec.calibration)
        for buffer, target in ((self.mean, mean), (self.knee, knee), (self.low, low), (self.high, high)):
            buffer.lerp_(target.to(buffer), share)

    def fitted_error(self, values: Tensor, levels: Tensor) -> Tensor:
        # Sharing out bits compares errors that differ by factors: a coarse search tells them apart.
        return fit(values, levels, self.spec.calibration, coarse=True)[-1]


def fit(
    values: Tensor, levels: Tensor, calibration: str, *, coarse: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mean, knee, lowest and highest level of each channel (float32) and the mean squared error (float64).

    Parameters
    ----------
    values : Tensor, shape (C, n)
    levels : Tensor of int, shape (C,)
    calibration : {"minmax", "percentile", "mse"}
    coarse : bool
        Try fewer knees and shares.
    """
    knees, shares = (KNEES[1::2], SHARES[::3]) if coarse else (KNEES, SHARES)
    values = values.double()
    mean, spread = values.mean(dim=1, keepdim=True), values.std(dim=1, correction=0, keepdim=True)
    spread = torch.where(spread > 0, spread, 1.0)
    top = (levels.double() - 1).clamp(min=0)[:, None]
    best = [spread, *[torch.zeros_like(mean)] * 2, torch.full_like(mean, torch.inf)]
    for factor in knees:
        knee = spread * factor
        position = torch.asinh((values - mean) / knee)
        method = "minmax" if calibration == "mse" else calibration
        ends = (t.double()[:, None] for t in ranges(position.float(), levels.clamp(min=2), method, "channel"))
        least, most = (torch.where(top > 0, end, 0.0) for end in ends)
        for share in shares if calibration == "mse" else (1.0,):
            low, high = share * least, share * most
            step = (high - low) / top.clamp(min=1)
            integers = ((position - low) / torch.where(step > 0, step, 1.0)).round().clamp(min=0).minimum(top)
            restored = mean + knee * torch.sinh(low + integers * step)
            error = (restored - values).square().mean(dim=1, keepdim=True)
            better = error < best[3]
            best = [torch.where(better, new, old) for new, old in zip((knee, low, high, error), best, strict=True)]
    knee, low, high = (t[:, 0].float() for t in best[:3])
    return mean[:, 0].float(), knee, low, high, best[3][:, 0]
