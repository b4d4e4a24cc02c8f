"""The reflectivity behind decoded speckle, learned in the transform domain of a codec.

A decoded latent holds ground and what was kept of the speckle. How much of each value is ground depends on its channel, its
size, its neighbors and the quality: a small network says so as one factor for each value, and what to add to it. Smooth ground
is left with a few coarse channels, edges and targets keep their fine ones.

    ŷ/σ, quality ─ conv·gelu·conv·gelu·conv ─┬─ g (0 … 1)
                                             └─ a            clean = g·ŷ + a·σ ── W⁻¹V

It learns from simulated scenes of many looks and correlations, whose reflectivity is known: decoded on one side, clean on the
other, squared error in dB between them.

References
----------
D. L. Donoho, I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81, 1994 (shrinking as an estimate
of the mean; here the shrinkage is learned).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from sarlab.codec.hyper.context import features
from sarlab.models.layers import zero_last_layer

#: Latent positions on each side that an estimate depends on.
REACH = 2


class Despeckling(nn.Module):
    """Decoded latent → latent of the reflectivity, both in deviations.

    Parameters
    ----------
    channels : int
        Of the latent.
    width : int
    """

    def __init__(self, channels: int = 64, width: int = 64):
        super().__init__()
        self.first = nn.Conv2d(2 * channels + 1, width, 1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.third = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 2 * channels, 1)
        zero_last_layer(self.last)
        # Before training nearly everything is kept.
        assert self.last.bias is not None
        self.last.bias.data[:channels] = 3.0

    def forward(self, scaled: Tensor, quality: Tensor | float) -> Tensor:
        """Latent of the reflectivity.

        Parameters
        ----------
        scaled : Tensor, shape (N, C, h, w)
            Decoded, in deviations.
        quality : Tensor, shape (N,), or float

        Returns
        -------
        Tensor, shape (N, C, h, w)
        """
        level = torch.as_tensor(quality, dtype=scaled.dtype).reshape(-1, 1, 1, 1)
        plane = ((level - 32.0) / 16.0).expand(len(scaled), 1, *scaled.shape[2:])
        out = gelu(self.first(torch.cat([features(scaled), plane], 1)))
        gate, add = self.last(gelu(self.third(gelu(self.second(out))))).chunk(2, 1)
        return torch.sigmoid(gate) * scaled + add
