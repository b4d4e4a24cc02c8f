"""One experiment as a function: its folder, and the parameters that a notebook hands to it."""

from dataclasses import replace

import pytest

from sarlab.errors import PlanError, ResultsError
from sarlab.lab import experiment
from sarlab.specs import ModelSpec, RunSpec

LINEAR = RunSpec(model=ModelSpec("klt", 16, 4, "klt"))


def test_a_finished_run_is_loaded_and_another_one_does_not_replace_it(tmp_path):
    first = experiment.run(LINEAR, tmp_path)
    written = (tmp_path / "manifest.json").stat().st_mtime_ns
    assert experiment.run(LINEAR, tmp_path).run_id == first.run_id
    assert (tmp_path / "manifest.json").stat().st_mtime_ns == written
    other = replace(LINEAR, train=replace(LINEAR.train, threads=2))
    with pytest.raises(ResultsError) as refused:
        experiment.run(other, tmp_path)
    message = str(refused.value)
    assert f"finished run {first.run_id} (threads=1)" in message
    assert "(threads=2)" in message
    assert "overwrite=True" in message
    assert experiment.load(tmp_path).hash == first.hash
    replaced = experiment.run(other, tmp_path, overwrite=True)
    assert experiment.load(tmp_path).hash == replaced.hash != first.hash


DEFAULTS = {
    "scenes": {"source": "bigearthnet"}, "model": {"architecture": "residual", "init": "klt", "latent_channels": 16},
    "quantizer": {"scheme": "float32", "bits": 32}, "train": {"steps": 200}, "seed": 0,
}  # fmt: skip


def test_given_tables_change_some_keys_and_keep_the_other_defaults():
    spec = experiment.specification(DEFAULTS, {**DEFAULTS, "model": {"latent_channels": 8}, "seed": 3})
    whole = experiment.specification(DEFAULTS, DEFAULTS)
    assert spec == replace(whole, model=replace(whole.model, latent_channels=8), seed=3)
    assert whole.model.architecture == "residual"
    assert whole.train.steps == 200


@pytest.mark.parametrize("given", [{"model": {"latent_chanels": 8}}, {"train": 3}, {"sceens": {}}])
def test_unknown_parameters_are_errors(given):
    with pytest.raises(PlanError):
        experiment.specification(DEFAULTS, {**DEFAULTS, **given})
