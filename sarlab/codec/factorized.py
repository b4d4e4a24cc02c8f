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

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, cat, nn
from torch.nn.functional import gelu

from sarlab.codec.block_model import FINE_STEP, BlockModel, ListedDeviations, Tables
from sarlab.codec.lapped import LappedTransform, lapped_transform
from sarlab.codec.tiles import Borders
from sarlab.models.layers import zero_last_layer

STRIDE, CHANNELS = 8, 64


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
    "lapped": (lapped_transform(STRIDE, STRIDE, STRIDE), STRIDE // 2, 1),
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
        return y_hat + step_of(quality) * self.outer(gelu(self.inner(features)))


def step_of(quality: Tensor) -> Tensor:
    """Quantization step at a quality."""
    return 2 * FINE_STEP * 10 ** (-quality / 20)


class FactorizedModel(BlockModel):
    """A model with one of the `FRONTS`, V (`mixing`, replaced by the nearest orthogonal matrix), and perhaps a correction."""

    channels, stride, order, low = CHANNELS, STRIDE, np.arange(CHANNELS), 1
    deviations = ListedDeviations(CHANNELS)
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
        if arrays["mixing"].shape != (CHANNELS, CHANNELS):
            raise ValueError("wrong mixing of channels")
        correction = Correction(values["width"]) if values["width"] else None
        if correction is not None:
            state = {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in correction.state_dict()}
            correction.load_state_dict(state)
            correction.eval().requires_grad_(False)
        return cls(
            tables or Tables.of(arrays), values["front"], arrays["mixing"].astype(np.float32), correction, **about
        )

    def transform(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        return np.tensordot(self._axes.T, self._blocks.forward(np.asarray(x, np.float32), borders), 1)

    def inverse(self, y_hat: np.ndarray, quality: float, borders: Borders) -> np.ndarray:
        if self._correction is not None:
            with torch.inference_mode():
                values = torch.from_numpy(np.ascontiguousarray(y_hat))[None]
                y_hat = self._correction(values, torch.tensor([quality]))[0].numpy()
        return self._blocks.inverse(np.tensordot(self._axes, y_hat, 1), borders)
