"""Costs against counts by hand."""

import dataclasses

import pytest
import torch

from sarlab.errors import ModelError
from sarlab.models.autoencoders import construct
from sarlab.models.complexity import count_parameters, macs_per_pixel
from sarlab.specs import ModelSpec


def test_klt_takes_one_product_a_component_and_direction():
    spec = ModelSpec("klt", 16, 24)
    assert macs_per_pixel(spec) == 48
    assert macs_per_pixel(spec, part="analysis") == macs_per_pixel(spec, part="synthesis") == 24


def test_the_pyramid_counted_by_hand():
    # 5×5 convolutions at 1/4, 1/16, 1/64, 1/256 of the pixels, and no unstrided layers.
    w, c = 8, 6
    layers = [(1, w, 4), (w, 2 * w, 16), (2 * w, 4 * w, 64), (4 * w, c, 256)]
    expected = sum(25 * a * b / share for a, b, share in layers)
    spec = ModelSpec("plain", 16, c, width=w, depth=0)
    assert macs_per_pixel(spec, part="analysis") == pytest.approx(expected)
    # A transposed 4×4 convolution of stride 2 takes 16 products per input sample and pair of channels.
    expected = sum(16 * a * b / share for a, b, share in layers)
    assert macs_per_pixel(spec, part="synthesis") == pytest.approx(expected)
    assert count_parameters(construct(spec, 0)) == sum(41 * a * b + a + b for a, b, _ in layers)


def test_a_residual_block_is_two_plain_layers():
    common = {"spatial_reduction": 16, "latent_channels": 8, "width": 8}
    plain, residual = ModelSpec("plain", depth=2, **common), ModelSpec("residual", depth=1, **common)
    assert macs_per_pixel(plain) == macs_per_pixel(residual)


@pytest.mark.parametrize("init", ["scratch", "klt"])
def test_attention_counts_its_products(init):
    spec = ModelSpec("attention", 16, 8, init, width=8)
    channels, tokens = 32, 64
    attention = (4 * channels**2 + 2 * tokens * channels) / 256
    residual = macs_per_pixel(dataclasses.replace(spec, architecture="residual"))
    extra = macs_per_pixel(spec) - residual
    if init == "klt":
        assert extra == pytest.approx(2 * attention)
    else:
        assert extra > 2 * attention


def test_counting_allocates_nothing_and_draws_nothing():
    state = torch.get_rng_state()
    assert macs_per_pixel(ModelSpec("residual", 256, 64, width=256)) > 1e5
    assert torch.equal(torch.get_rng_state(), state)


def test_impossible_requests_are_refused():
    with pytest.raises(ModelError, match="part must be"):
        macs_per_pixel(ModelSpec("klt"), part="encoder")
