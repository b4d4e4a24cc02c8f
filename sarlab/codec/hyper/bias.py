"""What a decoder of dB must add for the mean intensity to be right, learned.

Who minimizes squared error in dB decodes, at low rates, the mean of the logarithm, which lies below the logarithm of the
mean: by 0.5 dB at 4.4 looks, 2.5 dB at one, more over unresolved texture, and by less the more of the speckle was coded. How
much, a small network says from the decoded latent and the quality, as one number for each 8×8 samples.

Training minimizes r/c + ln c for the ratio r of original and decoded mean intensity, whose minimum is at c = E[r] (the
quasi-likelihood of a gamma distribution), so that corrected means are unbiased wherever the network can tell cases apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, gelu, interpolate

from sarlab.codec.hyper.context import features
from sarlab.models.layers import zero_last_layer

NEPER_DB = 10 / math.log(10)
#: Largest correction in nepers.
_LARGEST = 1.5


class BiasCorrection(nn.Module):
    """Decoded latent → ln of the factor on intensity.

    Parameters
    ----------
    channels : int
        Of the latent.
    width : int
    """

    def __init__(self, channels: int = 64, width: int = 24):
        super().__init__()
        self.first = nn.Conv2d(2 * channels + 1, width, 1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 1, 1)
        zero_last_layer(self.last)

    def forward(self, scaled: Tensor, quality: Tensor | float) -> Tensor:
        """ln of the factor, (N, 1, h, w), from latents in deviations (N, C, h, w)."""
        level = torch.as_tensor(quality, dtype=scaled.dtype).reshape(-1, 1, 1, 1)
        plane = ((level - 32.0) / 16.0).expand(len(scaled), 1, *scaled.shape[2:])
        out = gelu(self.first(torch.cat([features(scaled), plane], 1)))
        return self.last(gelu(self.second(out))).clamp(-_LARGEST, _LARGEST)

    def in_db(self, scaled: Tensor, quality: Tensor | float, stride: int) -> Tensor:
        """dB to add to every sample, (N, 1, stride·h, stride·w)."""
        return interpolate(NEPER_DB * self(scaled, quality), scale_factor=stride, mode="bilinear", align_corners=False)


def ratio_loss(correction: Tensor, original_db: Tensor, decoded_db: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Mean of r/c + ln c over blocks.

    Parameters
    ----------
    correction : Tensor, shape (N, 1, h, w)
        ln c.
    original_db, decoded_db, weight : Tensor, shape (N, 1, stride·h, stride·w)
        Weight is 1 where a sample is valid, else 0.
    stride : int
    """
    # Relative to the decoded mean of the block, so that no power overflows.
    level = avg_pool2d(decoded_db * weight, stride) / avg_pool2d(weight, stride).clamp_min(1e-6)
    level = level.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    original, decoded = (
        avg_pool2d(torch.exp((db - level) / NEPER_DB) * weight, stride) for db in (original_db, decoded_db)
    )
    inside = avg_pool2d(weight, stride) > 0.5
    ratio = torch.where(inside, original / decoded.clamp_min(1e-6), 1.0)
    cost = ratio * torch.exp(-correction) + correction
    return (cost * inside).sum() / inside.sum().clamp_min(1)
