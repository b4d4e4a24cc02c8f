"""Costs against counts by hand; counted bytes against closed forms."""

import dataclasses

import pytest
import torch

from sarlab.models import complexity
from sarlab.models.autoencoders import construct
from sarlab.models.complexity import LiveBytes, count_parameters, macs_per_pixel
from sarlab.specs import ModelSpec, TrainSpec

WIDE = ModelSpec("residual", 16, 16, "scratch", width=48, depth=1)
SMALL = ModelSpec("plain", 16, 16, "klt", width=8, depth=0)


def test_klt_takes_one_product_a_component_and_direction():
    spec = ModelSpec("klt", 16, 24)
    assert macs_per_pixel(spec) == 48
    assert macs_per_pixel(spec, part="analysis") == macs_per_pixel(spec, part="synthesis") == 24


def test_the_pyramid_counted_by_hand():
    # 5×5 convolutions at 1/4, 1/16, 1/64, 1/256 of the pixels, and no unstrided layers.
    w, c = 8, 6
    layers = [(1, w, 4), (w, 2 * w, 16), (2 * w, 4 * w, 64), (4 * w, c, 256)]
    expected = sum(25 * a * b / share for a, b, share in layers)
    spec = ModelSpec("plain", 16, c, width=w, depth=0, stem="pyramid")
    assert macs_per_pixel(spec, part="analysis") == pytest.approx(expected)
    # A transposed 4×4 convolution of stride 2 takes 16 products per input sample and pair of channels.
    expected = sum(16 * a * b / share for a, b, share in layers)
    assert macs_per_pixel(spec, part="synthesis") == pytest.approx(expected)
    assert count_parameters(construct(spec, 0)) == sum(41 * a * b + a + b for a, b, _ in layers)


def test_the_folded_stem_counted_by_hand():
    # A 3×3 convolution of 64 folded pixels at 1/64 of the pixels, and 5×5 (synthesis: 4×4) of stride 2 to the latent.
    w, c = 8, 6
    spec = ModelSpec("plain", 16, c, width=w, depth=0)
    assert macs_per_pixel(spec, part="analysis") == pytest.approx(9 * 64 * 4 * w / 64 + 25 * 4 * w * c / 256)
    assert macs_per_pixel(spec, part="synthesis") == pytest.approx(9 * 64 * 4 * w / 64 + 16 * 4 * w * c / 256)


@pytest.mark.parametrize("stem", ["fold", "pyramid"])
def test_attention_counts_its_products(stem):
    # On both sides at 1/64 of the pixels: four products of all channels, and two of each pair of tokens in a window.
    spec = ModelSpec("attention", 16, 8, width=8, stem=stem)
    channels, tokens = 32, 64
    residual = macs_per_pixel(dataclasses.replace(spec, architecture="residual"))
    assert macs_per_pixel(spec) - residual == pytest.approx(2 * (4 * channels**2 + 2 * tokens * channels) / 64)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_live_bytes_come_and_go():
    with torch.device("meta"), LiveBytes() as counted:
        a = torch.zeros(1000)
        view = a[10:]
        b = a + 1
        assert counted.live == 8000
        del a
        assert counted.live == 8000, "a view keeps its storage"
        del view, b
        assert counted.live == 0
        assert counted.peak == 8000


@pytest.mark.parametrize("spec", [WIDE, SMALL, ModelSpec("attention", 16, 8, "klt", width=8, depth=1)])
def test_training_grows_by_the_same_with_each_patch(spec):
    def of(count, side=96):
        return complexity.training_bytes(spec, TrainSpec(batch_size=count, patch_size=side))

    assert of(256) - of(192) == pytest.approx(of(192) - of(128), rel=0.01)
    if spec.architecture != "attention":  # whose windows are cut to a patch that is smaller
        assert of(8, 192) == pytest.approx(of(32, 96), rel=0.05)


def test_the_largest_batch_fits_and_one_more_does_not():
    train, budget = TrainSpec(patch_size=96), 300e6
    best = complexity.largest_batch(WIDE, train, budget, bytes_a_pixel=40)

    def needed(count):
        return complexity.training_bytes(WIDE, TrainSpec(batch_size=count, patch_size=96)) + 40 * count * 96**2

    assert needed(best) <= budget < needed(best + 1)
    assert complexity.largest_batch(WIDE, train, 1e6) == 0
