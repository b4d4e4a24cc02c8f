"""The factorized codecs: a linear transform learned from scenes, scalar quantization, and a learned correction in the decoder.

    x ── blocks ── Vᵀ ── y ──[Q]── y_hat ─┬─────────────────(+)── V ── blocks⁻¹ ── x_hat
                                          └─ /σ ─ conv·gelu·conv·Δ ─┘

*Blocks* is an orthonormal transform of the samples to 64 channels per 8×8 block: the samples themselves, or the lapped transform
with blocks of 8. V mixes the channels and is orthogonal, so squared errors of y are squared errors of x. The correction is a small
network that learns where within its quantization step Δ a value is likely to lie, given its neighbors.

`klt8` has plain blocks, V = their principal axes, and no correction. `factorized` has lapped blocks, and V and the correction are
trained for rate and distortion: an autoencoder whose channels have independent densities. Everything else is shared with the other
block models, so a comparison with `lapped` shows what its longer blocks, its spectrum and its trellis are worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, cat, nn
from torch.nn.functional import conv2d, gelu

from sarlab.codec.block_model import BlockModel, Tables, fine_step, listed_deviations
from sarlab.codec.lapped import LappedTransform
from sarlab.codec.tiles import Borders
from sarlab.models.layers import zero_last_layer

STRIDE, CHANNELS = 8, 64
#: Weight of a bit against squared error in steps: 6.02 dB per bit at an error of step²/12.
LAMBDA = 2 * math.log(2) / 12
#: Smallest probability.
LEAST = 1e-9


class PlainBlocks:
    """The samples of each block as its channels; methods as those of `LappedTransform`."""

    def forward(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        h, w = (length // STRIDE for length in x.shape)
        return x.reshape(h, STRIDE, w, STRIDE).transpose(1, 3, 0, 2).reshape(CHANNELS, h, w)

    def inverse(self, y: np.ndarray, borders: Borders) -> np.ndarray:
        _, h, w = y.shape
        return y.reshape(STRIDE, STRIDE, h, w).transpose(2, 0, 3, 1).reshape(STRIDE * h, STRIDE * w)


#: Transforms by name, with the samples and the blocks that they depend on around a block.
FRONTS: dict[str, tuple[LappedTransform | PlainBlocks, int, int]] = {
    "lapped": (LappedTransform(STRIDE, STRIDE, STRIDE), STRIDE // 2, 1),
    "block": (PlainBlocks(), 0, 0),
}


class Correction(nn.Module):
    """Network that moves each value to where within its step it is likely to lie; it begins as the identity."""

    #: Blocks around a block that its values depend on.
    reach = 2
    deviation: Tensor

    def __init__(self, width: int):
        super().__init__()
        #: Standard deviation of each channel over the training scenes.
        self.register_buffer("deviation", torch.ones(CHANNELS))
        self.inner = nn.Conv2d(CHANNELS + 1, width, 3, padding=1)
        self.outer = nn.Conv2d(width, CHANNELS, 3, padding=1)
        zero_last_layer(self.outer)

    def forward(self, y_hat: Tensor, quality: Tensor) -> Tensor:
        quality = quality.to(y_hat.dtype)[:, None, None, None]
        plane = ((quality - 32) / 16).expand(len(y_hat), 1, *y_hat.shape[2:])
        # Channels last is 1.5 times as fast on CPUs.
        features = cat([y_hat / self.deviation[:, None, None], plane], 1).contiguous(memory_format=torch.channels_last)
        return y_hat + 2 * fine_step(quality) * self.outer(gelu(self.inner(features)))


class FactorizedModel(BlockModel):
    """A model with one of the `FRONTS`, V (`mixing`, replaced by the nearest orthogonal matrix), and perhaps a correction."""

    channels, stride, order, low = CHANNELS, STRIDE, np.arange(CHANNELS), 1
    deviations = listed_deviations(CHANNELS)
    #: One zone for each of 8 groups of channels.
    zones, absent = np.arange(CHANNELS) // 8, np.zeros(CHANNELS, np.uint8)

    def __init__(self, tables: Tables, front: str, mixing: np.ndarray, correction: Correction | None, **options: Any):
        super().__init__(tables, states=1, **options)
        self._blocks, self.analysis_reach, self.synthesis_reach = FRONTS[front]
        u, _, v = np.linalg.svd(mixing.astype(np.float64))
        self._axes, self._correction = (u @ v).astype(np.float32), correction
        if correction is not None:
            self.synthesis_reach += correction.reach

    @classmethod
    def of(
        cls, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any], tables: Tables | None = None, **about: Any
    ) -> FactorizedModel:
        """Make a model from the arrays and the description in its file, by default with the tables in it."""
        mixing = arrays["mixing"].astype(np.float32)
        if mixing.shape != (CHANNELS, CHANNELS):
            raise ValueError("wrong mixing of channels")
        correction = Correction(values["width"]) if values["width"] else None
        if correction is not None:
            state = {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in correction.state_dict()}
            correction.load_state_dict(state)
            correction.eval().requires_grad_(False)
        return cls(tables or Tables.of(arrays), values["front"], mixing, correction, **about)

    def transform(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        return np.tensordot(self._axes.T, self._blocks.forward(np.asarray(x, np.float32), borders), 1)

    def inverse(self, y_hat: np.ndarray, quality: float, borders: Borders) -> np.ndarray:
        if self._correction is not None:
            with torch.inference_mode():
                values = torch.from_numpy(np.ascontiguousarray(y_hat))[None]
                y_hat = self._correction(values, torch.tensor([quality]))[0].numpy()
        return self._blocks.inverse(np.tensordot(self._axes, y_hat, 1), borders)


# --- training -----------------------------------------------------------------------------------------------------------


class FactorizedPrior(nn.Module):
    """One learned density per channel: a mixture of three zero-mean logistics of different widths."""

    def __init__(self, channels: int):
        super().__init__()
        self.log_deviation = nn.Parameter(torch.linspace(-0.7, 0.7, 3).repeat(channels, 1))
        self.logits = nn.Parameter(torch.zeros(channels, 3))

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


class FactorizedNetwork(nn.Module):
    """The learned parts: V, the correction, and the densities of the channels."""

    basis: Tensor
    start: Tensor
    deviation: Tensor

    def __init__(self, front: str, width: int):
        super().__init__()
        self.register_buffer("basis", torch.from_numpy(basis_functions(front)))
        #: V is `start` times a rotation that is learned.
        self.register_buffer("start", torch.eye(CHANNELS))
        self.register_buffer("deviation", torch.ones(CHANNELS))
        self.rotation = nn.Parameter(torch.zeros(CHANNELS, CHANNELS))
        self.correction = Correction(width) if width else None
        self.prior = FactorizedPrior(CHANNELS)

    def mixing(self) -> Tensor:
        """V: orthogonal, columns are the axes."""
        return self.start @ torch.linalg.matrix_exp(self.rotation - self.rotation.T)

    def analysis(self, x: Tensor) -> Tensor:
        """Transform the whole blocks of rasters, (N, 1, H, W), to (N, 64, h, w)."""
        return conv2d(x, (self.mixing().T @ self.basis.flatten(1)).reshape(self.basis.shape), stride=STRIDE)

    @torch.no_grad()
    def fit_linear(self, rasters: list[Tensor]) -> None:
        """Start from the principal axes of normalized training rasters, (H, W) each, without NaN."""
        self.start.copy_(torch.eye(CHANNELS))
        y = cat([self.analysis(raster[None, None])[0].flatten(1).double() for raster in rasters], 1)
        _, axes = torch.linalg.eigh(y @ y.T / y.shape[1])
        axes = axes.flip(1)
        axes = axes * torch.where(axes[axes.abs().argmax(0), torch.arange(CHANNELS)] < 0, -1.0, 1.0)
        self.start.copy_(axes)
        self.deviation.copy_((axes.T @ y).square().mean(1).sqrt().clamp_min(1e-6))
        self.prior.log_deviation.add_(self.deviation.log()[:, None])
        if self.correction is not None:
            self.correction.deviation.copy_(self.deviation)

    def costs(self, x: Tensor, quality: Tensor, noise: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Compute λD + R, R and D of patches, (N, 1, H, W): bits per sample and mean squared error.

        With `noise`, the rate is that of the latent with uniform noise, and the distortion that of the rounded latent with a
        straight-through gradient. Without, both are of the rounded latent, and V is fixed.
        """
        y, step = self.analysis(x), 2 * fine_step(quality[:, None, None, None])
        y = y.detach() if noise is None else y
        # The width of the densities adapts to the patch, as the contexts of a file adapt to its blocks.
        spread = (y.abs().mean((2, 3), keepdim=True) + 0.3 * step) / (0.75 * self.deviation[:, None, None] + 0.3 * step)
        with torch.no_grad():
            rounded = self._rounded(y, step, spread)
        shaken = rounded if noise is None else y + step * (torch.rand(y.shape, generator=noise) - 0.5)
        rate = self.prior.bits(shaken, step, spread).sum(1).mean((1, 2)) / CHANNELS
        y_hat = y + (rounded - y).detach()
        if self.correction is not None:
            y_hat = self.correction(y_hat, quality)
        distortion = torch.square(y_hat - y).mean((1, 2, 3))
        return distortion / (LAMBDA * (2 * fine_step(quality)) ** 2) + rate, rate, distortion

    def _rounded(self, y: Tensor, step: Tensor, spread: Tensor) -> Tensor:
        """Round to the nearest multiple of the step, or to the next one towards zero if that costs less."""
        sign, magnitude = torch.sign(y), y.abs() / step
        near = torch.round(magnitude)
        below = (near - 1).clamp_min(0)
        costs = [torch.square(magnitude - k) + LAMBDA * self.prior.bits(k * step, step, spread) for k in (near, below)]
        return sign * step * torch.where(costs[1] < costs[0], below, near)


def basis_functions(front: str) -> np.ndarray:
    """Basis functions of a transform away from the borders: float32, shape (64, 1, side, side)."""
    blocks, reach, _ = FRONTS[front]
    inner = slice(STRIDE - reach, 2 * STRIDE + reach)
    impulses = np.zeros((CHANNELS, CHANNELS, 3, 3), np.float32)
    impulses[np.arange(CHANNELS), np.arange(CHANNELS), 1, 1] = 1
    return np.stack([blocks.inverse(y, (True, True, True, True))[None, inner, inner] for y in impulses])
