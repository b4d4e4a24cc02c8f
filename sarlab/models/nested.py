"""Nested latents: one training whose leading channels serve every ratio, and networks cut out of it.

In training each patch keeps a random number of leading channels and loses the tail; so what matters most moves to the
front, as the components of a KLT do by themselves. A network for fewer channels is then a slice of the weights::

    y ── g_a ──▶ [0 … c) kept, [c … C) zero ──▶ g_s ──▶ x̂        the slice computes the same without the zeros
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sarlab.errors import ModelError

#: Halvings of the latent that one training serves: 64, 32, 16, 8, 4, 2 channels at 16× per axis are 4× to 128×.
RATIOS = 6
#: A patch keeps c channels with a probability in proportion to c to this power. Errors grow about as c falls, and a ratio
#: whose error is large needs few patches for the same gradient; at 0.75 the mildest ratio lags a quarter of a dB behind.
POWER = 1.0


def counts_of(channels: int) -> tuple[int, ...]:
    """Numbers of leading channels that a nested training of `channels` serves, the largest first."""
    return tuple(dict.fromkeys(max(1, channels >> k) for k in range(RATIOS)))


class NestedChannels(nn.Module):
    """What stands between analysis and synthesis in a nested training: all but some leading channels become zero.

    In training each patch draws its own number of channels. In evaluation the latent is divided into as many vertical
    stripes as there are numbers, so that one pass looks at every ratio.

    Parameters
    ----------
    channels : int
    seed : int

    References
    ----------
    Rippel, Gelbart & Adams 2014 (nested dropout); for linear networks the channels become principal components.
    """

    def __init__(self, channels: int, *, seed: int):
        super().__init__()
        self.channels = channels
        self.counts = counts_of(channels)
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, y: Tensor) -> Tensor:
        if y.shape[1] != self.channels:
            raise ModelError(f"a nested latent of {self.channels} channels is expected, not one of {y.shape[1]}")
        counts = torch.tensor(self.counts)
        if self.training:
            # One draw for the batch, spread evenly over the distribution: every batch has its share of each number.
            share = (counts.double() ** POWER).cumsum(0)
            places = (torch.arange(len(y)) + torch.rand((), generator=self.generator)) / len(y)
            drawn = torch.searchsorted(share / share[-1], places.double()).clamp(max=len(counts) - 1)
            kept = counts[drawn].view(-1, 1, 1, 1)
        else:
            width = y.shape[-1]
            kept = counts[torch.arange(width) * len(counts) // width].view(1, 1, 1, -1)
        channel = torch.arange(self.channels).view(1, -1, 1, 1)
        return y * (channel < kept).to(y.device, y.dtype)


def leading_weights(state: Mapping[str, Tensor], smaller: nn.Module) -> dict[str, Tensor]:
    """Weights of `smaller`, the same network with fewer latent channels, as the leading part of `state`.

    Parameters
    ----------
    state : mapping of str to Tensor
        State of the network with more channels.
    smaller : Module

    Raises
    ------
    ModelError
        If the networks differ in more than the number of latent channels.
    """
    wanted = smaller.state_dict()
    if set(wanted) != set(state):
        raise ModelError("only a network of the same architecture can lend its leading channels")
    cut = {}
    for name, tensor in wanted.items():
        found = state[name]
        if found.ndim != tensor.ndim or any(a < b for a, b in zip(found.shape, tensor.shape, strict=True)):
            raise ModelError(f"'{name}' has shape {tuple(found.shape)}, which does not hold {tuple(tensor.shape)}")
        cut[name] = found[tuple(slice(size) for size in tensor.shape)].clone()
    return cut
