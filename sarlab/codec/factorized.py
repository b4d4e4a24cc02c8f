"""The factorized codecs: a linear transform that was fitted to scenes, and a learned correction of what it reconstructs.

With a fixed block transform and no correction this is `klt8`, the KLT of 8×8 blocks; with a wavelet and a network in the decoder it is
`factorized`, an autoencoder whose latent values are coded each on its own. Values are quantized without a trellis. Everything else is
shared with the other block models, so a comparison with the lapped codec shows what its transform and its trellis are worth.

The training objective is here too: bits of a continuous density, and the error of the rounded latent.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sarlab.codec.block_model import BlockModel, Tables, fine_step, read_tables
from sarlab.codec.spectrum import FINE_STEP, ListedDeviations
from sarlab.codec.tile_model import Borders, Costs, model_kinds
from sarlab.codec.transform import CHANNELS, STRIDE, CodingTransform
from sarlab.errors import ModelError
from sarlab.models.layers import channels_last

KIND = "factorized"
#: Weight of a bit against squared error in steps: 6.02 dB per bit at an error of step²/12.
LAMBDA = 2 * math.log(2) / 12
#: Smallest probability in training.
LEAST = 1e-9


class FactorizedModel(BlockModel):
    """A `CodingTransform` whose channels are coded.

    Parameters
    ----------
    network : CodingTransform
    gains : ndarray of float32, shape (64,)
        Factor on each channel's step.
    tables, options
        See `BlockModel`.
    """

    channels, stride, order, low = CHANNELS, STRIDE, np.arange(CHANNELS), 1
    deviations = ListedDeviations(CHANNELS)
    #: One zone for each of 8 groups of channels.
    zones, absent = np.arange(CHANNELS) // 8, np.zeros(CHANNELS, np.uint8)

    def __init__(self, network: CodingTransform, gains: np.ndarray, tables: Tables, **options: Any):
        super().__init__(tables, states=1, **options)
        self.network = network.eval()
        self.analysis_reach, self.synthesis_reach = network.analysis_reach, network.synthesis_reach
        self._gains = gains.astype(np.float32)[:, None, None]

    def transform(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        with torch.inference_mode():
            y = self.network.analysis(torch.from_numpy(np.ascontiguousarray(x, np.float32))[None, None])
        return y[0].numpy() / self._gains

    def inverse(self, y_hat: np.ndarray, quality: float, borders: Borders) -> np.ndarray:
        steps = torch.from_numpy(self._gains * np.float32(2 * fine_step(quality)))
        with torch.inference_mode():
            x = self.network.synthesis(torch.from_numpy(y_hat * self._gains)[None], quality, steps)
        return x[0, 0].numpy()


@model_kinds.register(KIND)
def load_factorized(path: Path) -> FactorizedModel:
    """Read a model's file."""
    tables, arrays, values, content_hash = read_tables(path, KIND)
    try:
        network = CodingTransform(str(values["front"]), int(values["width"]))
        state = {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in network.state_dict()}
        network.load_state_dict(state)
        gains = arrays["gains"].astype(np.float32)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} is damaged: its network cannot be read ({error})") from None
    if gains.shape != (CHANNELS,) or not (np.isfinite(gains).all() and (gains > 0).all()):
        raise ModelError(f"{path} is damaged: impossible gains")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise ModelError(f"{path} is damaged: weights that are no numbers")
    network.orthogonalize()
    return FactorizedModel(channels_last(network), gains, tables, name=values["name"], content_hash=content_hash)


# --- training ----------------------------------------------------------------------------------------------------------


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
        step = (2 * FINE_STEP * 10 ** (-quality / 20))[:, None, None, None] * self.gains()[:, None, None]
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
        return Costs(distortion / (LAMBDA * (2 * FINE_STEP) ** 2 * 10 ** (-quality / 10)) + rate, rate, distortion)

    def _rounded(self, y: Tensor, step: Tensor, spread: Tensor) -> Tensor:
        """Round to the nearest multiple of the step, or to the next one towards zero if that costs less."""
        sign, magnitude = torch.sign(y), y.abs() / step
        near = torch.round(magnitude)
        below = (near - 1).clamp_min(0)
        costs = [torch.square(magnitude - k) + LAMBDA * self.prior.bits(k * step, step, spread) for k in (near, below)]
        return sign * step * torch.where(costs[1] < costs[0], below, near)
