"""Entropy model of the codec `hyper`: what is known of a latent before it is decoded, in a few parallel steps.

    quality ── embed ──▶ F ◀── gather₀ ◀── ŷ of step 0
                         │ ◀── gather₁ ◀── ŷ of step 1 …
                         └── head_s ──▶ mean and scale of step s

The channels are coded in groups, coarse to fine, and every group in phases of a checkerboard (2) or of a 2×2 pattern
(4). All steps share one sum of features F: what a step has decoded is convolved once and added, so that the number of
steps hardly changes the cost. Latents are in units of their channel's deviation; a sample is seen as its clipped value
and as the logarithm of its magnitude. Every function between latents and scales is one that integers can follow:
convolutions, sums, rectifiers.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sarlab.errors import ModelError
from sarlab.models.layers import zero_last_layer

#: Qualities between which everything that depends on quality is interpolated; it is constant beyond them.
FIRST_KNOT, KNOT_SPACING, KNOT_COUNT = 8, 6, 9
#: What the networks see of a latent ends here, in deviations.
CLIP = 8.0
#: Order of positions (row, column) modulo 2 in each kind of pattern.
PATTERNS = {1: (((0, 0), (0, 1), (1, 0), (1, 1)),), 2: (((0, 0), (1, 1)), ((0, 1), (1, 0))),
            4: (((0, 0),), ((1, 1),), ((0, 1),), ((1, 0),))}  # fmt: skip


class Step(NamedTuple):
    """One parallel step: channels first … last − 1 at the positions of one phase.

    Attributes
    ----------
    first, last : int
    places : tuple of (row, column)
        Positions modulo 2.
    """

    first: int
    last: int
    places: tuple[tuple[int, int], ...]

    def mask(self, height: int, width: int, device: torch.device | None = None) -> Tensor:
        """True at the positions of the step: bool, shape (height, width)."""
        mask = torch.zeros(height, width, dtype=torch.bool, device=device)
        for row, column in self.places:
            mask[row::2, column::2] = True
        return mask


def steps_of(groups: tuple[tuple[int, int, int], ...], channels: int) -> list[Step]:
    """Steps of groups of (channels, phases, kernel)."""
    if sum(group[0] for group in groups) != channels or any(group[1] not in PATTERNS for group in groups):
        raise ModelError(f"groups {groups} must hold {channels} channels, each group in 1, 2 or 4 phases")
    steps, first = [], 0
    for count, phases, _ in groups:
        steps += [Step(first, first + count, places) for places in PATTERNS[phases]]
        first += count
    return steps


def features(x: Tensor) -> Tensor:
    """What the networks see of latents in deviations: clipped value and log₂(1 + 8·magnitude), (N, C, …) → (N, 2C, …)."""
    x = x.clamp(-CLIP, CLIP)
    return torch.cat([x, torch.log2(1 + 8 * x.abs())], 1)


def at_quality(knots: Tensor, quality: Tensor) -> Tensor:
    """Rows of a (knots, …) tensor interpolated at qualities (N,): shape (N, …)."""
    place = ((quality - FIRST_KNOT) / KNOT_SPACING).clamp(0, KNOT_COUNT - 1)
    below = place.floor().clamp(max=KNOT_COUNT - 2).long()
    share = (place - below).reshape(-1, *[1] * (knots.ndim - 1))
    return knots[below] * (1 - share) + knots[below + 1] * share


class ContextModel(nn.Module):
    """Context networks.

    Parameters
    ----------
    channels : int
        Of the latent.
    groups : tuple of (channels, phases, kernel)
        Kernel: side of the window of decoded positions that a group is seen through.
    width, hidden : int
        Features of the shared sum, and of each step's head.
    """

    def __init__(
        self,
        channels: int = 64,
        groups: tuple[tuple[int, int, int], ...] = ((4, 4, 5), (12, 2, 3), (20, 2, 3), (28, 2, 3)),
        width: int = 80,
        hidden: int = 64,
    ):
        super().__init__()
        self.channels, self.groups, self.width, self.hidden = channels, groups, width, hidden
        self.steps = steps_of(groups, channels)
        kernels = [kernel for _, phases, kernel in groups for _ in range(phases)]
        self.embed = nn.Parameter(torch.zeros(KNOT_COUNT, width))
        self.edges = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.gather = nn.ModuleList(
            nn.Conv2d(2 * (step.last - step.first), width, kernel, padding=kernel // 2, bias=False)
            for step, kernel in zip(self.steps[:-1], kernels[:-1], strict=True)
        )
        #: What a second band takes from the first, in a context model for second bands.
        self.cross: nn.Conv2d | None = None
        self.heads = nn.ModuleList(Head(width, hidden, step.last - step.first) for step in self.steps)

    def begin(self, quality: Tensor, size: tuple[int, int], active: Tensor | None = None) -> Tensor:
        """Features before the first step, shape (N, width, h, w).

        Parameters
        ----------
        quality : Tensor, shape (N,)
        size : (h, w)
        active : Tensor, shape (N, 1, h, w), optional
            1 where there are latents, 0 elsewhere; default ones.
        """
        if active is None:
            active = self.embed.new_ones(len(quality), 1, *size)
        return self.edges(active) + at_quality(self.embed, quality)[:, :, None, None]

    def walk(self, total: Tensor) -> Generator[tuple[Step, Tensor, Tensor], Tensor | None, None]:
        """Steps in order with their means and scales (log₂ of deviations); send the decoded values into it.

        Yields
        ------
        step : Step
        mean, log_scale : Tensor, shape (N, step.last − step.first, h, w)
            At all positions; those of the step count. What is sent back has the same shape, zero elsewhere.
        """
        for number, step in enumerate(self.steps):
            mean, log_scale = self.heads[number](total).chunk(2, 1)
            decoded = yield step, mean, log_scale
            if number < len(self.gather):
                assert decoded is not None
                total = total + self.gather[number](features(decoded))


class Head(nn.Module):
    def __init__(self, width: int, hidden: int, channels: int):
        super().__init__()
        self.inner = nn.Conv2d(width, hidden, 1)
        self.outer = nn.Conv2d(hidden, 2 * channels, 1)
        zero_last_layer(self.outer)

    def forward(self, total: Tensor) -> Tensor:
        return self.outer(relu(self.inner(relu(total))))
