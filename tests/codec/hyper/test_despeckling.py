"""The estimate of the reflectivity: what it is before training, and that it learns to shrink speckle and not ground."""

import pytest
import torch

from sarlab.codec.codec_plans import CodecPlan, CodecTraining, GatheredScenes, HyperSpec
from sarlab.codec.hyper.despeckling import REACH, Despeckling
from sarlab.codec.hyper.fitting import build, frozen_model
from sarlab.codec.hyper.train_despeckling import drawn, simulated_pairs, train_despeckling
from sarlab.codec.hyper.train_heads import coded_latents
from sarlab.models.data import Raster


def test_before_training_nearly_everything_is_kept():
    x = torch.randn(2, 8, 5, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(Despeckling(8, 4)(x, torch.tensor([20.0, 40.0])), torch.sigmoid(torch.tensor(3.0)) * x)


def test_an_estimate_depends_on_its_surroundings_only():
    head = Despeckling(8, 4)
    torch.nn.init.normal_(head.last.weight, generator=torch.Generator().manual_seed(1))
    x = torch.zeros(1, 8, 11, 11, requires_grad=True)
    head(x + torch.randn(x.shape, generator=torch.Generator().manual_seed(2)), 30.0)[0, :, 5, 5].sum().backward()
    touched = x.grad.abs().sum((0, 1)) > 0
    assert touched[5 - REACH : 6 + REACH, 5 - REACH : 6 + REACH].all()
    assert int(touched.sum()) == (2 * REACH + 1) ** 2


def test_pairs_share_their_ground():
    noisy, truth = simulated_pairs(0, 3, 64)
    assert noisy.shape == truth.shape == (3, 64, 64)
    again, _ = simulated_pairs(0, 3, 64)
    assert torch.equal(noisy, again)
    # Over many samples speckle has a mean of dB a little below the truth's.
    assert (abs((noisy - truth).mean((1, 2))) < 0.15).all()
    assert ((noisy - truth).std((1, 2)) > 0.02).all()
    x, clean = drawn(noisy, truth, 5, 32, torch.Generator().manual_seed(3))
    assert x.shape == clean.shape == (5, 1, 32, 32)
    for patch, ground in zip(x, clean, strict=True):
        spread = (patch - ground).std()
        assert any(
            float(spread) == pytest.approx(float((a - b).std()), rel=0.5) for a, b in zip(noisy, truth, strict=True)
        )


def test_training_comes_closer_to_the_reflectivity(monkeypatch):
    monkeypatch.setattr("sarlab.codec.hyper.train_despeckling.SCENES", 3)
    monkeypatch.setattr(
        "sarlab.codec.hyper.train_despeckling.simulated_pairs", lambda seed: simulated_pairs(seed, 3, 128)
    )
    plan = CodecPlan(
        "tiny-1", width=0, hyper=HyperSpec(groups=((64, 1, 3),), features=8, hidden=8, despeckle_steps=80),
        training=CodecTraining(batch_size=4, patch_size=64, quality=(35.0, 45.0), threads=1),
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trained = build(plan)
    noisy, truth = simulated_pairs(0, 3, 128)
    trained.network.fit_linear(list(noisy))
    data = GatheredScenes(tuple(Raster(part) for part in noisy), (), "", "")
    _, model = frozen_model(plan, trained.eval(), data)
    head = train_despeckling(plan, model)
    quality, network = torch.tensor([40.0]), model.network
    latents, _ = coded_latents(model, noisy[:, None], quality.expand(3))
    with torch.no_grad():
        deviation = network.deviation[:, None, None]
        clean = network.linear_synthesis(head(latents / deviation, quality) * deviation)
        plain = network.linear_synthesis(latents)
    # 80 steps of four patches halve the error.
    errors = [float((x[:, 0] - truth).square().mean()) for x in (plain, clean)]
    assert errors[1] < 0.6 * errors[0]
