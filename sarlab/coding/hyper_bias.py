"""Learning the decoder's bias correction: after everything else, which stays as it is."""

from __future__ import annotations

import torch

from sarlab.coding.codec_plans import Gathered, HyperPlan
from sarlab.models.bias import BiasCorrection, ratio_loss
from sarlab.models.data import PatchSampler
from sarlab.models.hyper import HyperTrained


def train_bias(plan: HyperPlan, trained: HyperTrained, data: Gathered) -> BiasCorrection:
    """A correction for the decoded latents of a trained model, averaged over the second half of the steps."""
    spec, steps = plan.training, plan.hyper.bias_steps
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed + 2)
        correction = BiasCorrection(trained.network.channels)
    average = [p.detach().clone() for p in correction.parameters()]
    sampler = PatchSampler(data.training, spec.patch_size, torch.device("cpu"))
    optimizer = torch.optim.Adam(correction.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(plan.seed + 3)
    low, high = spec.quality
    deviation, stride = trained.network.deviation[:, None, None], trained.network.stride
    for step in range(steps):
        batch = sampler.draw(spec.batch_size, generator)
        quality = low + (high - low) * torch.rand(spec.batch_size, generator=generator)
        with torch.no_grad():
            scaled = trained.decoded(batch.x, quality)
            sizes = trained.step_sizes(quality)
            decoded = trained.network.synthesis(scaled * deviation, quality, sizes, trained.mixing())
        weight = torch.ones_like(batch.x) if batch.mask is None else batch.mask.to(batch.x.dtype)
        original_db, decoded_db = batch.x * batch.span_db, decoded * batch.span_db
        loss = ratio_loss(correction(scaled, quality), original_db, decoded_db, weight, stride)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(correction.parameters(), spec.clip_norm)
        optimizer.step()
        with torch.no_grad():
            for kept, parameter in zip(average, correction.parameters(), strict=True):
                kept.lerp_(parameter, 1.0 if step < steps // 2 else 1 / (step - steps // 2 + 1))
    with torch.no_grad():
        for kept, parameter in zip(average, correction.parameters(), strict=True):
            parameter.copy_(kept)
    return correction
