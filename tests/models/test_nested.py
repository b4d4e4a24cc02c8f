"""Nested latents: tails that vanish, and slices that compute what the whole network computes with zeros."""

import dataclasses

import numpy as np
import pytest
import torch

from sarlab.errors import ModelError
from sarlab.models.autoencoders import build_model
from sarlab.models.data import TrainingData
from sarlab.models.training import NestedChannels, leading_weights, nested_counts
from sarlab.specs import ModelSpec


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return TrainingData.from_arrays([rng.normal(0.5, 0.2, (96, 96)).cumsum(0).astype(np.float32) / 10])


def test_six_ratios_each_twice_the_one_before():
    assert nested_counts(64) == (64, 32, 16, 8, 4, 2)
    assert nested_counts(4) == (4, 2, 1)


def test_each_patch_keeps_leading_channels_only():
    hook = NestedChannels(16, seed=0).train()
    kept = (hook(torch.ones(4000, 16, 2, 2)) != 0).all(dim=(2, 3))
    lengths = kept.sum(dim=1)
    assert torch.equal(kept, torch.arange(16) < lengths[:, None]), "no gap before the tail"
    shares = torch.stack([(lengths == count).double().mean() for count in hook.counts])
    expected = torch.tensor(hook.counts).double()
    assert torch.allclose(shares, expected / expected.sum(), atol=0.03)


def test_evaluation_looks_at_every_count_and_repeats():
    hook = NestedChannels(8, seed=0).eval()
    shown = hook(torch.ones(2, 8, 3, 12))
    lengths = shown[0, :, 0].sum(dim=0)
    assert lengths.tolist() == [8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
    assert torch.equal(shown, hook(torch.ones(2, 8, 3, 12)))
    assert hook(torch.ones(1, 8, 1, 1)).sum() == 8


def test_draws_follow_the_seed_and_spread_over_every_batch():
    y = torch.ones(4, 16, 1, 1)

    def drawn(seed):
        hook = NestedChannels(16, seed=seed).train()
        return torch.stack([hook(y).sum(dim=(1, 2, 3)) for _ in range(50)])

    one, same, other = (drawn(seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    # Half of the patches keep all channels: two of any four, never none.
    assert ((one == 16).sum(dim=1).float() - 2).abs().max() <= 1


def test_gradients_reach_kept_channels_only():
    hook = NestedChannels(16, seed=0).train()
    y = torch.randn(8, 16, 2, 2, requires_grad=True)
    hook(y).sum().backward()
    kept = NestedChannels(16, seed=0).train()(torch.ones_like(y))
    assert torch.equal(y.grad, kept)
    assert 0 < kept.mean() < 1


@pytest.mark.parametrize(("architecture", "init"), [("plain", "scratch"), ("residual", "klt"), ("attention", "klt"), ("klt", "klt")])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 4])
def test_a_slice_computes_what_zeros_compute(architecture, init, channels, data):
    spec = ModelSpec(architecture, 16, 8, init, width=8, depth=1)
    whole = build_model(spec, seed=0, klt=data.fit_klt).eval()
    part = build_model(dataclasses.replace(spec, latent_channels=channels), seed=1, klt=data.fit_klt).eval()
    for tensor in whole.parameters():  # the last layers of a KLT start are zero, which would prove nothing
        tensor.data.add_(0.02 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(tensor.numel())))
    part.load_state_dict(leading_weights(whole.state_dict(), part))
    x = torch.rand(2, 1, 40, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        y = whole.analysis(x)
        assert torch.allclose(part.analysis(x), y[:, :channels], atol=1e-5)
        y[:, channels:] = 0
        assert torch.allclose(part.synthesis(y[:, :channels], (40, 64)), whole.synthesis(y, (40, 64)), atol=1e-5)


def test_other_networks_lend_nothing(data):
    spec = ModelSpec("plain", 16, 8, "klt", width=8, depth=0)
    whole = build_model(spec, seed=0, klt=data.fit_klt)
    for other in (
        dataclasses.replace(spec, latent_channels=16),
        dataclasses.replace(spec, width=16),
        dataclasses.replace(spec, depth=1),
    ):
        with pytest.raises(ModelError):
            leading_weights(whole.state_dict(), build_model(other, seed=0, klt=data.fit_klt))
    with pytest.raises(ModelError, match="16 channels"):
        NestedChannels(16, seed=0)(torch.ones(1, 8, 2, 2))
