"""Transform of the factorized codecs: a fixed part, a KLT over its channels, and a learned correction in the synthesis.

    x ─ W ─ Vᵀ ── y ──[Q]── y_hat ─┬──────────────────────(+)── V ── W⁻¹ ── x_hat
                                   └─ /σ ─ conv·gelu·conv ─ ·Δ ┘

W turns 8×8 pixels into 64 channels: a plain block, or three levels of the CDF 9/7 wavelet with the details of the finer
levels moved into channels. The wavelet has as many values as pixels, filters that overlap, perfect reconstruction and
nearly equal norms; at the borders the signal is extended by whole-sample symmetry.

    level 3   LL HL LH HH            1 + 3  channels
    level 2   HL LH HH, 2×2 each     12
    level 1   HL LH HH, 4×4 each     48

V are the principal axes of the channels over the training scenes. The analysis is linear and invertible, so a finer
step always means a smaller error. The correction learns where within its step Δ a value is likely to lie, given its
neighbors. Its last convolution starts at zero, so the untrained codec is the linear one. Quality is one more input
channel, so one set of weights serves all rates.

References
----------
A. Cohen, I. Daubechies, J.-C. Feauveau, "Biorthogonal bases of compactly supported wavelets", Comm. Pure Appl. Math.
45, 1992. I. Daubechies, W. Sweldens, "Factoring wavelet transforms into lifting steps", J. Fourier Anal. Appl. 4, 1998.
"""

from __future__ import annotations

import torch
from torch import Tensor, cat, nn
from torch.nn.functional import conv2d, gelu, pixel_shuffle, pixel_unshuffle

from sarlab.errors import ModelError
from sarlab.models.layers import zero_last_layer

STRIDE, CHANNELS, LEVELS = 8, 64, 3
#: Samples on each side that an output depends on: (9 − 1)/2 taps on each of three levels, 4 + 8 + 16.
REACH = 28

_LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
_SCALE = 1.230174104914001 / 2**0.5


def wavelet_analysis(x: Tensor) -> Tensor:
    """Transform pixels to three wavelet levels: (N, 1, H, W), sides multiples of 8 → (N, 64, H/8, W/8).

    White noise of unit variance comes out with variances between 0.9 and 1.3.
    """
    if x.ndim != 4 or x.shape[1] != 1 or x.shape[2] % STRIDE or x.shape[3] % STRIDE or 0 in x.shape:
        raise ModelError(
            f"the wavelet takes (N, 1, H, W) with sides that are multiples of {STRIDE}, not {tuple(x.shape)}"
        )
    channels: list[Tensor] = []
    for level in range(LEVELS):
        low, high = _split(x, -1)
        x, *details = *_split(low, -2), *_split(high, -2)
        factor = 1 << (LEVELS - 1 - level)
        # x holds LL; details are LH (from the low columns), HL and HH (from the high ones).
        lh, hl, hh = details
        channels = [pixel_unshuffle(band, factor) for band in (hl, lh, hh)] + channels
    return cat([x, *channels], 1)


def wavelet_synthesis(y: Tensor) -> Tensor:
    """Inverse of `wavelet_analysis`: (N, 64, h, w) → (N, 1, 8h, 8w)."""
    x, start = y[:, :1], 1
    for level in range(LEVELS):
        factor = 1 << level
        count = factor * factor
        hl, lh, hh = (pixel_shuffle(y[:, start + i * count : start + (i + 1) * count], factor) for i in range(LEVELS))
        start += 3 * count
        x = _merge(_merge(x, lh, -2), _merge(hl, hh, -2), -1)
    return x


def block_analysis(x: Tensor) -> Tensor:
    """Turn the pixels of each 8×8 block into channels."""
    return pixel_unshuffle(x, STRIDE)


def block_synthesis(y: Tensor) -> Tensor:
    """Inverse of `block_analysis`."""
    return pixel_shuffle(y, STRIDE)


def _split(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """One level along one axis: (low, high), each of half the length."""
    x = x.transpose(axis, -1)
    low, high = x[..., 0::2], x[..., 1::2]
    for i, factor in enumerate(_LIFTING):
        if i % 2 == 0:
            high = high + factor * (low + _next(low))
        else:
            low = low + factor * (high + _previous(high))
    return (low / _SCALE).transpose(axis, -1), (high * _SCALE).transpose(axis, -1)


def _merge(low: Tensor, high: Tensor, axis: int) -> Tensor:
    """Inverse of `_split`."""
    low, high = low.transpose(axis, -1) * _SCALE, high.transpose(axis, -1) / _SCALE
    for i, factor in reversed(list(enumerate(_LIFTING))):
        if i % 2 == 0:
            high = high - factor * (low + _next(low))
        else:
            low = low - factor * (high + _previous(high))
    out = low.new_empty((*low.shape[:-1], 2 * low.shape[-1]))
    out[..., 0::2], out[..., 1::2] = low, high
    return out.transpose(axis, -1)


def _next(low: Tensor) -> Tensor:
    return cat([low[..., 1:], low[..., -1:]], -1)


def _previous(high: Tensor) -> Tensor:
    return cat([high[..., :1], high[..., :-1]], -1)


#: Fixed part by name: (analysis, synthesis, samples beyond a block that analysis needs, blocks that synthesis needs).
FRONTS = {
    "wavelet": (wavelet_analysis, wavelet_synthesis, REACH, 3),
    "block": (block_analysis, block_synthesis, 0, 0),
}


class CodingTransform(nn.Module):
    """Analysis and synthesis between a normalized raster and a 64-channel latent at an eighth of its size.

    Parameters
    ----------
    front : {"wavelet", "block"}
    width : int
        Channels inside the learned correction; 0 leaves it out and the synthesis linear.
    depth : int
        Convolutions of the learned correction.

    Attributes
    ----------
    mixing : Tensor, shape (64, 64)
        V: orthogonal; columns are the axes.
    deviation : Tensor, shape (64,)
        Standard deviation of each channel of the linear latent over the training scenes.
    """

    stride, channels = STRIDE, CHANNELS
    mixing: Tensor
    deviation: Tensor

    def __init__(self, front: str = "wavelet", width: int = 96, depth: int = 2):
        super().__init__()
        if front not in FRONTS:
            raise ModelError(f"unknown transform '{front}'; use {' or '.join(FRONTS)}")
        self.front, self.width, self.depth = front, width, depth
        self._forward, self._inverse, reach, blocks = FRONTS[front]
        self.register_buffer("mixing", torch.eye(self.channels))
        self.register_buffer("deviation", torch.ones(self.channels))
        self.g_s = _Branch(self.channels + 1, self.channels, width, depth) if width else None
        #: Samples around a block that its latent depends on, and blocks around a block that its samples depend on.
        self.analysis_reach, self.synthesis_reach = reach, blocks + (depth if width else 0)
        #: Blocks around a block that its samples depend on without the correction.
        self.inverse_reach = blocks

    def analysis(self, x: Tensor, mixing: Tensor | None = None) -> Tensor:
        """Transform rasters around zero, (N, 1, H, W), sides multiples of 8, to latents, (N, 64, H/8, W/8).

        `mixing` replaces V.
        """
        axes = self.mixing if mixing is None else mixing
        return conv2d(self._forward(x), axes.T[:, :, None, None])

    def synthesis(self, y_hat: Tensor, quality: Tensor | float, steps: Tensor, mixing: Tensor | None = None) -> Tensor:
        """Reconstruct rasters, (N, 1, 8h, 8w), from latents, (N, 64, h, w), given the steps, (N or 1, 64, 1, 1)."""
        if self.g_s is not None:
            level = torch.as_tensor(quality, dtype=y_hat.dtype, device=y_hat.device).reshape(-1, 1, 1, 1)
            plane = ((level - 32.0) / 16.0).expand(y_hat.shape[0], 1, *y_hat.shape[2:])
            y_hat = y_hat + steps * self.g_s(torch.cat([y_hat / self.deviation[:, None, None], plane], 1))
        return self.linear_synthesis(y_hat, mixing)

    def linear_synthesis(self, y_hat: Tensor, mixing: Tensor | None = None) -> Tensor:
        """Reconstruct rasters without the learned correction."""
        axes = self.mixing if mixing is None else mixing
        return self._inverse(conv2d(y_hat, axes[:, :, None, None]))

    @torch.no_grad()
    def fit_linear(self, rasters: list[Tensor]) -> None:
        """Set axes and deviations from normalized training rasters, (H, W) each, without NaN."""
        if not rasters:
            raise ModelError("a transform needs at least one training raster to be fitted to")
        self.mixing.copy_(torch.eye(self.channels))
        pieces = []
        for raster in rasters:
            height, width = (n - n % self.stride for n in raster.shape)
            y = self.analysis(raster[None, None, :height, :width].to(self.mixing))
            pieces.append(y[0].flatten(1).double())
        samples = torch.cat(pieces, 1)
        _, axes = torch.linalg.eigh(samples @ samples.T / samples.shape[1])
        axes = axes.flip(1)
        axes = axes * torch.where(axes[axes.abs().argmax(0), torch.arange(len(axes))] < 0, -1.0, 1.0)
        self.mixing.copy_(axes)
        self.deviation.copy_((axes.T @ samples).square().mean(1).sqrt().clamp_min(1e-6))

    @torch.no_grad()
    def orthogonalize(self) -> None:
        """Replace the mixing by the nearest orthogonal matrix; storage in 16 bits makes it slightly oblique."""
        u, _, v = torch.linalg.svd(self.mixing.double())
        self.mixing.copy_(u @ v)


class _Branch(nn.Module):
    def __init__(self, inputs: int, channels: int, width: int, depth: int):
        super().__init__()
        self.inner = nn.Conv2d(inputs, width, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth - 2))
        self.outer = nn.Conv2d(width, channels, 3, padding=1)
        zero_last_layer(self.outer)

    def forward(self, y: Tensor) -> Tensor:
        # Channels last is 1.5 times as fast on CPUs.
        y = y.contiguous(memory_format=torch.channels_last)
        y = gelu(self.inner(y))
        for layer in self.middle:
            y = gelu(layer(y))
        return self.outer(y)
