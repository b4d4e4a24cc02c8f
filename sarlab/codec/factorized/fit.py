"""Training of the factorized codec: its objective, then frozen tables from the latents of training scenes, then its
file.

What a file contains follows frozen integer tables (`sarlab.codec.tables`). Training uses continuous densities instead,
whose bits of an interval one quantization step wide are differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sarlab._version import __version__
from sarlab.codec.codec_plans import CodecPlan, GatheredScenes
from sarlab.codec.factorized.coder import KIND, KNOTS, optimized
from sarlab.codec.tables import FAMILIES, INDICES, LAMBDA, LEAST, best_indices, histograms, row_costs
from sarlab.codec.tile_model import Costs
from sarlab.codec.transform import CodingTransform
from sarlab.errors import TrainingError
from sarlab.models.layers import mirror_pad
from sarlab.models.storage import write_tensors
from sarlab.scenes.embedded import reference_normalizers


class FactorizedPrior(nn.Module):
    """One learned density per channel: a mixture of zero-mean logistics of different widths."""

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
        """Bits of the intervals y ± step/2, shape (N, C, h, w); `spread` is a factor on all widths."""
        total = y.new_zeros(())
        weights = self.logits.softmax(1)
        distance, half = y.abs() / spread, step / 2 / spread
        for k in range(weights.shape[1]):
            rate = (math.pi / math.sqrt(3) * torch.exp(-self.log_deviation[:, k]))[:, None, None]
            inside = torch.sigmoid((half - distance) * rate) - torch.sigmoid((-half - distance) * rate)
            total = total + weights[:, k, None, None] * inside
        return -torch.log2(total.clamp_min(LEAST))


def add_uniform_noise(y: Tensor, step: Tensor | float, generator: torch.Generator) -> Tensor:
    """Add uniform noise one step wide, the differentiable substitute of rounding."""
    noise = torch.rand(y.shape, generator=generator, dtype=y.dtype).to(y.device) - 0.5
    return y + noise * step


class FactorizedObjective(nn.Module):
    """The learned parts: the transform, the densities, and a factor on each channel's step.

    The rate is that of a density whose width adapts to the patch, as the tables of a file adapt to the tile.
    """

    #: Costs are divided by the rate plus this many bits per pixel, so every quality counts about the same.
    rate_offset = 0.3
    #: Keep the weights of the best validation, not those of the last step.
    keeps_last = False

    def __init__(self, network: CodingTransform):
        super().__init__()
        self.network, self.prior = network, FactorizedPrior(network.channels)
        self.log_gain = nn.Parameter(torch.zeros(network.channels))

    def fitted(self) -> None:
        """Start the densities at the deviations of the transform, after it was fitted to the training scenes."""
        self.prior.set_deviation(self.network.deviation)

    def gains(self) -> Tensor:
        """Factor on each channel's step; the geometric mean is 1, so quality keeps its meaning."""
        return (self.log_gain - self.log_gain.mean()).exp()

    def costs(self, x: Tensor, mask: Tensor | None, quality: Tensor, noise: torch.Generator | None) -> Costs:
        """Compute cost, rate and distortion of each patch.

        Parameters
        ----------
        x : Tensor, shape (N, 1, H, W)
        mask : Tensor of bool, same shape, or None
        quality : Tensor, shape (N,)
        noise : torch.Generator or None
            If given, the rate is that of the latent with uniform noise, and the distortion that of the rounded latent
            with a straight-through gradient. If None, both are of the rounded latent, and transform and steps are
            fixed.
        """
        y = self.network.analysis(x)
        step = (math.sqrt(12) * 10 ** (-quality / 20))[:, None, None, None] * self.gains()[:, None, None]
        if noise is None:
            y, step = y.detach(), step.detach()
        typical = 0.75 * self.network.deviation[:, None, None] + 0.3 * step
        spread = (y.abs().mean((2, 3), keepdim=True) + 0.3 * step) / typical
        with torch.no_grad():
            rounded = self._rounded(y, step, spread)
        y_hat = y + step * ((rounded - y) / step).detach()
        rate = self.prior.bits(rounded if noise is None else add_uniform_noise(y, step, noise), step, spread)
        rate = rate.sum((1, 2, 3)) / x[0].numel()
        errors = torch.square(self.network.synthesis(y_hat, quality, step) - x)
        weight = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        distortion = (errors * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1)
        return Costs(distortion / (LAMBDA * 12 * 10 ** (-quality / 10)) + rate, rate, distortion)

    def _rounded(self, y: Tensor, step: Tensor, spread: Tensor) -> Tensor:
        """Round to the nearest multiple of the step, or to the next one towards zero if that costs less."""
        sign, magnitude = torch.sign(y), y.abs() / step
        near = torch.round(magnitude)
        below = (near - 1).clamp_min(0)
        costs = [torch.square(magnitude - k) + LAMBDA * self.prior.bits(k * step, step, spread) for k in (near, below)]
        return sign * step * torch.where(costs[1] < costs[0], below, near)


def fit_tables(
    latents: Sequence[np.ndarray], gains: np.ndarray, knots: Sequence[int] = KNOTS
) -> tuple[np.ndarray, np.ndarray]:
    """Choose scale index and family of each channel at each knot of the quality.

    The index is the best one for all scenes together, from which a file starts. The family is the best one if each
    scene chooses its own index, as files do.

    Parameters
    ----------
    latents : sequence of ndarray, shape (channels, count)
        Unquantized latents of training scenes.
    gains : ndarray of float, shape (channels,)
    knots : sequence of int

    Returns
    -------
    indices, families : ndarray of int64, shape (knots, channels)
    """
    if not latents:
        raise TrainingError("tables need at least one training latent")
    channels = len(latents[0])
    indices = np.zeros((len(knots), channels), np.int64)
    families = np.zeros((len(knots), channels), np.int64)
    for row, quality in enumerate(knots):
        steps = gains * np.sqrt(12) * 10 ** (-quality / 20)
        family = np.full(channels, FAMILIES.index("laplace"))
        index: np.ndarray | None = None
        for _ in range(3):
            counts = []
            for latent in latents:
                scaled = latent / steps[:, None]
                own = best_indices(histograms(np.rint(scaled).astype(np.int64)), family) if index is None else index
                counts.append(histograms(optimized(scaled, own, family)))
            family, index = _best(counts)
        assert index is not None
        indices[row], families[row] = index, family
    return indices, families


def _best(counts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    channels = len(counts[0])
    chosen = np.zeros(channels, np.int64)
    cheapest = np.full(channels, np.inf)
    for family in range(len(FAMILIES)):
        same = np.full(channels, family)
        total = sum(row_costs(part, best_indices(part, same), same) for part in counts)
        better = total < cheapest
        chosen[better], cheapest = family, np.minimum(cheapest, total)
    # Scenes may have halved a channel differently (see `histograms`), so candidates are compared by true cost.
    starts = np.stack([best_indices(part, chosen) for part in counts])
    candidates = np.arange(starts.min(), starts.max() + 1)
    totals = np.stack([sum(row_costs(part, np.full(channels, c), chosen) for part in counts) for c in candidates])
    return chosen, np.clip(candidates[totals.argmin(0)], 0, INDICES - 1)


def build(plan: CodecPlan) -> FactorizedObjective:
    """Build the untrained model of a plan."""
    return FactorizedObjective(CodingTransform(plan.front, plan.width))


@torch.no_grad()
def finish(
    plan: CodecPlan,
    target: Path,
    trained: FactorizedObjective,
    data: GatheredScenes,
    provenance: dict[str, Any],
) -> None:
    """Freeze the tables on the training scenes, and write the model's file: weights in float16, tables in bytes."""
    network = trained.network
    network.half().float()
    network.orthogonalize()
    gains = trained.gains().half()
    latents = [
        network.analysis(mirror_pad(r.values[None, None], network.stride))[0].flatten(1).numpy() for r in data.training
    ]
    indices, families = fit_tables(latents, gains.double().numpy())
    tensors = {key: tensor.half() for key, tensor in network.state_dict().items()}
    tensors["tables.indices"] = torch.from_numpy(indices.astype(np.uint8))
    tensors["tables.families"] = torch.from_numpy(families.astype(np.uint8))
    tensors["tables.gains"] = gains
    values = {
        "kind": KIND, "name": plan.name, "front": network.front, "width": network.width,
        "normalizers": {band: [n.low, n.high] for band, n in sorted(reference_normalizers().items())},
        "provenance": {
            **provenance, "plan": asdict(plan), "sarlab": __version__, "torch": torch.__version__.split("+")[0]
        },
    }  # fmt: skip
    write_tensors(target, tensors, values)
