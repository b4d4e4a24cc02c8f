"""Runs that share a training: who takes whose weights, and that they are those."""

from dataclasses import replace

import pytest
import torch

from sarlab.errors import PlanError
from sarlab.lab import experiment
from sarlab.lab.identity import run_id
from sarlab.lab.lineage import base_of, start_of, steps_of
from sarlab.lab.plans import build_plan
from sarlab.models.training import leading_weights
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, TrainSpec

TRAIN = TrainSpec(steps=8, batch_size=2, patch_size=64, warmup_steps=1, validate_every=4)
SPEC = RunSpec(model=ModelSpec("plain", 16, 8, "klt", width=8, depth=0), train=TRAIN)
EIGHT = QuantizerSpec("affine", 8)


def of(curve, channels, **changes):
    train = replace(TRAIN, curve=curve, first_channels=16)
    return replace(SPEC, model=replace(SPEC.model, latent_channels=channels), train=train, **changes)


@pytest.fixture(scope="module")
def split():
    return load_split(SPEC.scenes)


def test_lineage_of_every_kind_of_run():
    assert (base_of(SPEC), start_of(SPEC), steps_of(SPEC)) == (None, None, 8)
    assert base_of(replace(SPEC, quantizer=EIGHT)) == SPEC
    assert base_of(of("nested", 16)) is None
    assert base_of(of("nested", 4)) == of("nested", 16)
    assert base_of(of("nested", 4, quantizer=EIGHT)) == of("nested", 4)
    assert steps_of(of("nested", 4)) == 8
    assert start_of(of("progressive", 16)) is None
    assert start_of(of("progressive", 4)) == of("progressive", 8)
    assert base_of(of("progressive", 4)) is None
    assert base_of(of("progressive", 4, quantizer=EIGHT)) == of("progressive", 4)
    assert (steps_of(of("progressive", 16)), steps_of(of("progressive", 4))) == (8, 2)
    linear = replace(of("nested", 4), model=ModelSpec("klt", 16, 4, "klt"))
    assert (base_of(linear), start_of(linear), steps_of(linear)) == (None, None, 0)


def test_one_nested_training_serves_all_ratios(split, tmp_path, monkeypatch):
    first = experiment.run(of("nested", 16), tmp_path / run_id(of("nested", 16), split.digest), device="cpu")
    monkeypatch.setattr(experiment, "train", None)  # nothing is trained from here on
    spec = of("nested", 4)
    done = experiment.run(spec, tmp_path / run_id(spec, split.digest), device="cpu")
    assert (done.rows["dimension_ratio"] == 64).all()
    assert (done.rows["curve"] == "nested").all()
    assert done.rows["train_seconds"].to_numpy() == pytest.approx(first.rows["train_seconds"].iloc[0], rel=1e-5)
    whole, part = (experiment.load_network(outcome.folder) for outcome in (first, done))
    cut = leading_weights(whole.state_dict(), part)
    assert all(torch.equal(tensor, cut[name]) for name, tensor in part.state_dict().items())


def test_a_progressive_run_starts_where_the_one_before_ended(split, tmp_path, monkeypatch):
    seen = []
    original = experiment.train

    def watched(model, data, spec, **options):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        seen.append((model.spec.latent_channels, spec.steps, before))
        return original(model, data, spec, **options)

    monkeypatch.setattr(experiment, "train", watched)
    spec = of("progressive", 8)
    done = experiment.run(spec, tmp_path / run_id(spec, split.digest), device="cpu")
    assert [(channels, steps) for channels, steps, _ in seen] == [(16, 8), (8, 2)]
    wider = experiment.load_network(tmp_path / run_id(of("progressive", 16), split.digest))
    cut = leading_weights(wider.state_dict(), experiment.load_network(done.folder))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in seen[1][2].items())
    assert (done.rows["steps"] == 2).all()


def test_plans_offer_it_and_ids_tell_it():
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
