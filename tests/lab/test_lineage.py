"""Runs that share a training: whose weights they take."""

from dataclasses import replace

import pytest

from sarlab.errors import PlanError
from sarlab.lab.lineage import base_of, start_of, steps_of
from sarlab.lab.plans import build_plan
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, TrainSpec

SPEC = RunSpec(model=ModelSpec("plain", 16, 8, "klt"), train=TrainSpec(steps=8))
EIGHT = QuantizerSpec("affine", 8)


def of(curve, channels, **changes):
    train = replace(SPEC.train, curve=curve, first_channels=16)
    return replace(SPEC, model=replace(SPEC.model, latent_channels=channels), train=train, **changes)


@pytest.mark.parametrize(
    ("spec", "base", "start", "steps"),
    [
        (SPEC, None, None, 8),
        (replace(SPEC, quantizer=EIGHT), SPEC, None, 8),
        (replace(SPEC, quantizer=replace(EIGHT, training="noise")), None, None, 8),
        (of("nested", 16), None, None, 8),
        (of("nested", 4), of("nested", 16), None, 8),
        (of("nested", 4, quantizer=EIGHT), of("nested", 4), None, 8),
        (of("progressive", 16), None, None, 8),
        (of("progressive", 4), None, of("progressive", 8), 2),
        (of("progressive", 4, quantizer=EIGHT), of("progressive", 4), of("progressive", 8), 2),
        (replace(of("nested", 4), model=ModelSpec("klt", 16, 4, "klt")), None, None, 0),
        (replace(SPEC, model=ModelSpec("klt", 16, 8, "klt"), quantizer=EIGHT), None, None, 0),
    ],
)
def test_lineage_of_every_kind_of_run(spec, base, start, steps):
    assert (base_of(spec), start_of(spec), steps_of(spec)) == (base, start, steps)


def test_plans_offer_it_and_ids_show_it():
    plan = build_plan(
        "mine",
        {
            "train": {"curve": "nested", "first_channels": 64},
            "experiment": [{"latent": [{"spatial_reduction": 16, "latent_channels": c} for c in (64, 8)]}],
        },
    )
    assert [run.label for run in plan.runs] == ["plain-r16-c64-n64-f32-s0", "plain-r16-c8-n64-f32-s0"]


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"curve": "nested"}},
        {"train": {"first_channels": 64}},
        {"train": {"curve": "both", "first_channels": 64}},
        {"train": {"curve": "nested", "first_channels": 48}, "model": {"latent_channels": 32}},
        {"train": {"curve": "progressive", "first_channels": 48}, "model": {"latent_channels": 16}},
        {"train": {"curve": "nested", "first_channels": 8}, "model": {"latent_channels": 16}},
        {"train": {"curve": "nested", "first_channels": 16}, "quantizer": {"scheme": "affine", "bits": 4, "training": "ste"}},
    ],
)  # fmt: skip
def test_impossible_curves_are_refused(changes):
    with pytest.raises(PlanError):
        RunSpec.from_dict(changes)
