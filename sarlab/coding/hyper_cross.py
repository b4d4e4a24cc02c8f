"""What a second band gains from the first: a convolution learned after everything else, with everything else fixed.

So a file of one band, and the first band of every file, decode as if it were not there. Both orders of a pair are learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sarlab.coding.codec_plans import HyperPlan
from sarlab.models.data import PatchSampler, Raster
from sarlab.models.hyper import HyperTrained

#: Side of the window of the other band's positions.
KERNEL = 3


def train_cross(plan: HyperPlan, trained: HyperTrained, pairs: Sequence[tuple[Raster, Raster]]) -> float:
    """Learn the convolution from pairs of bands.

    Parameters
    ----------
    plan : HyperPlan
    trained : HyperTrained
        Gets the convolution.
    pairs : sequence of (Raster, Raster)
        Bands of one scene each, of one size.

    Returns
    -------
    float
        Rate of the second band with the convolution, relative to that without, over the last tenth of the steps.
    """
    spec, context = plan.training, trained.context
    cross = nn.Conv2d(2 * context.channels, context.width, KERNEL, padding=KERNEL // 2, bias=False)
    nn.init.zeros_(cross.weight)
    average = cross.weight.detach().clone()
    together = [joined(pair) for pair in pairs]
    samplers = [
        PatchSampler([pair[band] for pair in together], spec.patch_size, torch.device("cpu")) for band in range(2)
    ]
    optimizer = torch.optim.Adam(cross.parameters(), lr=spec.learning_rate)
    generator = torch.Generator().manual_seed(plan.seed + 1)
    with_it = without = 0.0
    low, high = spec.quality
    for step in range(plan.hyper.cross_steps):
        state = generator.get_state()
        batches = []
        for sampler in samplers:
            generator.set_state(state)
            batches.append(sampler.draw(spec.batch_size, generator))
        quality = low + (high - low) * torch.rand(spec.batch_size, generator=generator)
        order = torch.rand((), generator=generator) < 0.5
        first, second = batches if order else reversed(batches)
        with torch.no_grad():
            other = trained.decoded(first.x, quality)
            before = trained.costs(second.x, second.mask, quality, None).rate
        context.cross = cross
        costs = trained.costs(second.x, second.mask, quality, None, other)
        context.cross = None
        share = step / plan.hyper.cross_steps
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * (1 - share)
        optimizer.zero_grad(set_to_none=True)
        (costs.cost / (before + trained.rate_offset)).mean().backward()
        optimizer.step()
        with torch.no_grad():
            average.lerp_(cross.weight, max(1 - spec.ema_decay, 1 / (10 + step)))
        if share >= 0.9:
            with_it, without = with_it + float(costs.rate.detach().sum()), without + float(before.sum())
    with torch.no_grad():
        cross.weight.copy_(average)
    context.cross = cross
    return with_it / without if without else 1.0


def joined(pair: tuple[Raster, Raster]) -> tuple[Raster, Raster]:
    """Both bands with the mask of what is valid in both, so that patches are drawn from the same places."""
    masks = [raster.mask for raster in pair if raster.mask is not None]
    mask = torch.stack(masks).all(0) if masks else None
    return Raster(pair[0].values, mask, pair[0].span_db), Raster(pair[1].values, mask, pair[1].span_db)
