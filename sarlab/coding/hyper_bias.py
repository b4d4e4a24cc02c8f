"""Learning the decoder's bias correction: after everything else, which stays as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from sarlab.coding.codec_plans import Gathered, HyperPlan
from sarlab.coding.hyper_heads import fit_head
from sarlab.models.bias import BiasCorrection, ratio_loss
from sarlab.models.data import PatchSampler
from sarlab.models.hyper import HyperTrained


def train_bias(plan: HyperPlan, trained: HyperTrained, data: Gathered) -> BiasCorrection:
    """A correction for the decoded latents of a trained model, averaged over the second half of the steps."""
    spec, steps = plan.training, plan.hyper.bias_steps
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed + 2)
        correction = BiasCorrection(trained.network.channels)
    sampler = PatchSampler(data.training, spec.patch_size, torch.device("cpu"))
    generator = torch.Generator().manual_seed(plan.seed + 3)
    low, high = spec.quality
    deviation, stride = trained.network.deviation[:, None, None], trained.network.stride

    def loss() -> Tensor:
        batch = sampler.draw(spec.batch_size, generator)
        quality = low + (high - low) * torch.rand(spec.batch_size, generator=generator)
        with torch.no_grad():
            scaled = trained.decoded(batch.x, quality)
            sizes = trained.step_sizes(quality)
            decoded = trained.network.synthesis(scaled * deviation, quality, sizes, trained.mixing())
        weight = torch.ones_like(batch.x) if batch.mask is None else batch.mask.to(batch.x.dtype)
        original_db, decoded_db = batch.x * batch.span_db, decoded * batch.span_db
        return ratio_loss(correction(scaled, quality), original_db, decoded_db, weight, stride)

    fit_head(correction, loss, steps=steps, clip_norm=spec.clip_norm, schedule=lambda done: 1 - done)
    return correction
