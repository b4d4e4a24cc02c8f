"""What a second band gains from the first: a context model of its own, which sees the decoded first band as well.

It starts as that of a single band and is trained with everything else fixed. So a file of one band, and the first band of
every file, decode as if it were not there. Both orders of a pair are learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from sarlab.codec.codec_plans import CodecPlan
from sarlab.codec.hyper.context import ContextModel
from sarlab.codec.hyper.objective import HyperTrained
from sarlab.codec.hyper.train_heads import fit_head
from sarlab.models.data import PatchSampler, Raster

#: Side of the window of the first band's positions.
KERNEL = 3
#: Batches that the gain is measured on, when all is trained.
MEASURED = 40


def second_context(context: ContextModel) -> ContextModel:
    """A context model that predicts what `context` does until it is trained, and has a place for the first band."""
    second = deepcopy(context)
    second.cross = nn.Conv2d(2 * context.channels, context.width, KERNEL, padding=KERNEL // 2, bias=False)
    nn.init.zeros_(second.cross.weight)
    return second


def train_second(plan: CodecPlan, trained: HyperTrained, pairs: Sequence[tuple[Raster, Raster]]) -> float:
    """Learn the second band's context from pairs of bands.

    Parameters
    ----------
    plan : CodecPlan
    trained : HyperTrained
        Gets the context.
    pairs : sequence of (Raster, Raster)
        Bands of one scene each, of one size.

    Returns
    -------
    float
        Rate of the second band relative to that under the first band's context, on patches of the training scenes.
    """
    assert plan.hyper is not None
    spec = plan.training
    together = [joined(pair) for pair in pairs]
    samplers = [
        PatchSampler([pair[band] for pair in together], spec.patch_size, torch.device("cpu")) for band in range(2)
    ]
    generator = torch.Generator().manual_seed(plan.seed + 1)
    low, high = spec.quality
    trained.requires_grad_(False)
    trained.second = second = second_context(trained.context).requires_grad_(True)

    def drawn() -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Patches of one band and their mask, qualities, and the decoded patches of the other."""
        state = generator.get_state()
        batches = []
        for sampler in samplers:
            generator.set_state(state)
            batches.append(sampler.draw(spec.batch_size, generator))
        quality = low + (high - low) * torch.rand(spec.batch_size, generator=generator)
        order = torch.rand((), generator=generator) < 0.5
        first, other = batches if order else reversed(batches)
        return other.x, other.mask, quality, trained.decoded(first.x, quality)

    def loss() -> Tensor:
        x, mask, quality, other = drawn()
        costs = trained.costs(x, mask, quality, None, other)
        return (costs.cost / (costs.rate.detach() + trained.rate_offset)).mean()

    fit_head(
        second, loss, steps=plan.hyper.second_steps, clip_norm=spec.clip_norm,
        schedule=lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    )  # fmt: skip
    rates = torch.zeros(2)
    with torch.no_grad():
        for _ in range(MEASURED):
            x, mask, quality, other = drawn()
            rates += torch.stack([trained.costs(x, mask, quality, None, seen).rate.sum() for seen in (other, None)])
    return float(rates[0] / rates[1])


def joined(pair: tuple[Raster, Raster]) -> tuple[Raster, Raster]:
    """Both bands with the mask of what is valid in both, so that patches are drawn from the same places."""
    masks = [raster.mask for raster in pair if raster.mask is not None]
    mask = torch.stack(masks).all(0) if masks else None
    return Raster(pair[0].values, mask, pair[0].span_db), Raster(pair[1].values, mask, pair[1].span_db)
