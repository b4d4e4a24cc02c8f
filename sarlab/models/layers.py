"""Building blocks of the networks: linear path, plain and residual blocks, window attention."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mirror_pad(x: Tensor, multiple: int) -> Tensor:
    """Extend the last two axes by mirroring (edge sample repeated) to a multiple of `multiple`.

    Unlike reflection, this is defined for any size, 1×1 included: the mirrored signal is periodic.
    """
    for axis in (-2, -1):
        n = x.shape[axis]
        total = -(-n // multiple) * multiple
        if total != n:
            k = torch.arange(total, device=x.device) % (2 * n)
            x = x.index_select(axis, torch.where(k < n, k, 2 * n - 1 - k))
    return x


def full_precision(x: Tensor) -> AbstractContextManager:
    """Context without autocast on the device of `x` (the meta device has no autocast)."""
    return nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False)


class LinearShortcut(nn.Module):
    """Linear analysis and synthesis of r × r patches: a stride-r convolution and its transpose, as matrix products."""

    scale: Tensor

    def __init__(self, reduction: int, channels: int):
        super().__init__()
        self.reduction = reduction
        self.down = nn.Parameter(torch.zeros(channels, reduction * reduction))
        self.up = nn.Parameter(torch.zeros(channels, reduction * reduction))
        self.mean = nn.Parameter(torch.zeros(()))
        self.register_buffer("scale", torch.ones(1, channels, 1, 1))

    @torch.no_grad()
    def load_basis(self, vectors: np.ndarray, mean: float, variances: np.ndarray) -> None:
        """Set both directions to orthonormal `vectors` (C, r·r), the scale to the coefficients' standard deviations."""
        self.down.copy_(torch.from_numpy(vectors))
        self.up.copy_(torch.from_numpy(vectors))
        self.mean.fill_(mean)
        deviation = np.sqrt(np.maximum(variances, 0.0))
        floor = max(1e-3 * float(deviation.max(initial=0.0)), 1e-6)
        self.scale.copy_(torch.from_numpy(np.maximum(deviation, floor)).view(1, -1, 1, 1))

    def analysis(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) → (N, C, H/r, W/r), in float32 even under autocast: its precision bounds the network's."""
        with full_precision(x):
            x = F.pixel_unshuffle(x.float() - self.mean, self.reduction).permute(0, 2, 3, 1).contiguous()
            return F.linear(x, self.down).permute(0, 3, 1, 2)

    def synthesis(self, y: Tensor) -> Tensor:
        """(N, C, h, w) → (N, 1, h·r, w·r)."""
        with full_precision(y):
            x_hat = y.float().permute(0, 2, 3, 1) @ self.up
            x_hat = F.pixel_shuffle(x_hat.permute(0, 3, 1, 2), self.reduction)
            return x_hat + self.mean


def activation() -> nn.Module:
    """Return the nonlinearity of every layer: ELU, which is smooth at 0 and works in place.

    With a linear path, networks with ELU, GELU or SiLU reached the validation error of leaky ReLU in half the steps.
    """
    return nn.ELU(inplace=True)


class PlainBlock(nn.Sequential):
    """3×3 convolution and activation."""

    def __init__(self, channels: int):
        super().__init__(nn.Conv2d(channels, channels, 3, padding=1), activation())


class ResidualBlock(nn.Module):
    """A correction that starts at zero, added to its input::

        ─┬─ conv 3×3 ─ activation ─ conv 3×3 ─(+)─
         └──────────────────────────────────────┘

    So added depth never hurts the start of a training.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = activation()
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        zero_last_layer(self.second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.activation(self.first(x)))


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows of the bottleneck, added to its input.

    Windows keep the cost per pixel the same for a patch and a whole scene. Positions outside the scene are masked; each
    relative position has a learned bias. `window` is the side of a window in latent positions.
    """

    def __init__(self, channels: int, window: int = 8):
        super().__init__()
        self.window = window
        self.heads = next(h for h in (4, 3, 2, 1) if channels % h == 0)
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        zero_last_layer(self.project)
        self.position = nn.Parameter(torch.zeros(self.heads, 2 * window - 1, 2 * window - 1))

    def forward(self, x: Tensor) -> Tensor:
        n, channels, h, w = x.shape
        # A patch smaller than a window is one window of its own size.
        high, wide = min(self.window, h), min(self.window, w)
        rows, columns = -(-h // high), -(-w // wide)
        padding = (0, 0, 0, columns * wide - w, 0, rows * high - h)
        tokens = F.pad(self.norm(x.permute(0, 2, 3, 1)), padding).reshape(n, rows, high, columns, wide, channels)
        tokens = tokens.transpose(2, 3).reshape(n * rows * columns, high * wide, channels)
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.bias(high, wide).to(query.dtype)
        if any(padding):
            outside = F.pad(bias.new_zeros(1, h, w, 1), padding, value=-1e4).reshape(rows, high, columns, wide)
            outside = outside.transpose(1, 2).reshape(rows * columns, 1, 1, high * wide)
            bias = (bias + outside).repeat(n, 1, 1, 1)
        # Written out: with a learned bias, PyTorch's function takes the same path, plus checks that cost a third.
        scores = (query * query.shape[-1] ** -0.5) @ key.mT + bias
        out = scores.softmax(-1).to(value.dtype) @ value
        out = self.project(out.transpose(1, 2).flatten(2)).reshape(n, rows, columns, high, wide, channels)
        out = out.transpose(2, 3).reshape(n, rows * high, columns * wide, channels)[:, :h, :w]
        return x + out.permute(0, 3, 1, 2)

    def bias(self, high: int, wide: int) -> Tensor:
        """Bias of each head for each pair of positions in a window, (heads, high·wide, high·wide)."""
        along = [torch.arange(side, device=self.position.device) for side in (high, wide)]
        down, right = (k[:, None] - k + self.window - 1 for k in along)
        pairs = self.position[:, down[:, None, :, None], right[None, :, None, :]]
        return pairs.reshape(self.heads, high * wide, high * wide)


def zero_last_layer(branch: nn.Module) -> None:
    """Set weights and bias of the last convolution or linear layer of `branch` to zero."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    layers = [m for m in branch.modules() if isinstance(m, kinds)]
    if layers:
        nn.init.zeros_(layers[-1].weight)
        if layers[-1].bias is not None:
            nn.init.zeros_(layers[-1].bias)
