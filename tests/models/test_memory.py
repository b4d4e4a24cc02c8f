"""Counted bytes against closed forms."""

import pytest
import torch

from sarlab.models import memory
from sarlab.models.memory import LiveBytes
from sarlab.specs import ModelSpec, TrainSpec

WIDE = ModelSpec("residual", 16, 16, "scratch", width=48, depth=1)
SMALL = ModelSpec("plain", 16, 16, "klt", width=8, depth=0)


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
        return memory.training_bytes(spec, TrainSpec(batch_size=count, patch_size=side))

    assert of(256) - of(192) == pytest.approx(of(192) - of(128), rel=0.01)
    if spec.architecture != "attention":  # whose windows are cut to a patch that is smaller
        assert of(8, 192) == pytest.approx(of(32, 96), rel=0.05)


def test_the_largest_batch_fits_and_one_more_does_not():
    train, budget = TrainSpec(patch_size=96), 300e6
    best = memory.largest_batch(WIDE, train, budget, bytes_a_pixel=40)

    def needed(count):
        return memory.training_bytes(WIDE, TrainSpec(batch_size=count, patch_size=96)) + 40 * count * 96**2

    assert needed(best) <= budget < needed(best + 1)
    assert memory.largest_batch(WIDE, train, 1e6) == 0
