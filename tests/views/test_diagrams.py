"""Diagrams are those of the modules."""

import pytest
import torch

from sarlab.models.autoencoders import construct
from sarlab.specs import ModelSpec
from sarlab.views import diagrams


@pytest.mark.parametrize("architecture", ["plain", "residual", "attention"])
@pytest.mark.parametrize("stem", ["fold", "pyramid"])
def test_layers_are_those_of_the_module_and_end_in_its_latent(architecture, stem):
    spec = ModelSpec(architecture, 16, 8, width=4, depth=1, stem=stem)
    model, down, up = diagrams.layers(spec)
    assert down[-1][1] == "16²×8"
    assert up[-1][1] == "256²×1"
    words, plain, stages = [text for text, _, _ in down], architecture == "plain", 3 if stem == "pyramid" else 1
    outside = [m for m in construct(spec, 0).g_a if isinstance(m, torch.nn.Conv2d)]
    assert words.count("residual block") == (0 if plain else model.spec.depth * stages)
    assert sum(text.startswith("conv") for text in words) == len(outside) + plain * stages
