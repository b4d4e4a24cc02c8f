"""Learning the decoder's bias correction: after everything else, which stays as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from sarlab.codec.codec_plans import CodecPlan, GatheredScenes
from sarlab.codec.hyper.bias import BiasCorrection, ratio_loss
from sarlab.codec.hyper.model import HyperModel
from sarlab.codec.hyper.train_heads import coded_latents, fit_head
from sarlab.models.data import PatchSampler


def train_bias(plan: CodecPlan, model: HyperModel, data: GatheredScenes) -> BiasCorrection:
    """A correction for the decoded latents of a model, averaged over the second half of the steps."""
    assert plan.hyper is not None
    spec, network = plan.training, model.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed + 2)
        correction = BiasCorrection(network.channels)
    sampler = PatchSampler(data.training, spec.patch_size, torch.device("cpu"))
    generator = torch.Generator().manual_seed(plan.seed + 3)
    low, high = spec.quality
    deviation = network.deviation[:, None, None]

    def loss() -> Tensor:
        batch = sampler.draw(spec.batch_size, generator)
        quality = low + (high - low) * torch.rand(spec.batch_size, generator=generator)
        latents, steps = coded_latents(model, batch.x, quality)
        with torch.no_grad():
            decoded = network.synthesis(latents, quality, steps)
        weight = torch.ones_like(batch.x) if batch.mask is None else batch.mask.to(batch.x.dtype)
        original_db, decoded_db = batch.x * batch.span_db, decoded * batch.span_db
        return ratio_loss(correction(latents / deviation, quality), original_db, decoded_db, weight, network.stride)

    fit_head(correction, loss, steps=plan.hyper.bias_steps, clip_norm=spec.clip_norm, schedule=lambda done: 1 - done)
    return correction
