"""One experiment as a function: its folder, the runs that share its training, the parameters of its notebook."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sarlab.errors import PlanError, ResultsError, SarlabError
from sarlab.lab import experiment
from sarlab.lab.runs import run_id
from sarlab.models import storage
from sarlab.models.quantizers import build_quantizer
from sarlab.models.training import leading_weights
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, TrainSpec

LINEAR = RunSpec(model=ModelSpec("klt", 16, 4, "klt"))
SPEC = RunSpec(
    model=ModelSpec("plain", 16, 16, "klt", width=8, depth=0),
    train=TrainSpec(steps=8, batch_size=2, patch_size=64, warmup_steps=1, validate_every=4),
)
FOUR = QuantizerSpec("affine", 4)


def place(runs, spec):
    return runs / run_id(spec, load_split(spec.scenes).digest)


def run(spec, runs):
    return experiment.run(spec, place(runs, spec), device="cpu")


def weights(folder):
    return experiment.load_network(folder).state_dict()


def equal(ours, theirs):
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def of(curve, channels):
    train = replace(SPEC.train, curve=curve, first_channels=16)
    return replace(SPEC, model=replace(SPEC.model, latent_channels=channels), train=train)


def test_a_finished_run_is_loaded_and_another_one_does_not_replace_it(tmp_path):
    first = experiment.run(replace(LINEAR, quantizer=FOUR), tmp_path)
    written = (tmp_path / "manifest.json").stat().st_mtime_ns
    assert experiment.run(first.spec, tmp_path).run_id == first.run_id
    assert (tmp_path / "manifest.json").stat().st_mtime_ns == written
    other = replace(first.spec, train=replace(LINEAR.train, threads=2))
    with pytest.raises(
        ResultsError, match=rf"finished run {first.run_id} \(threads=1\).*\(threads=2\).*overwrite=True"
    ):
        experiment.run(other, tmp_path)
    assert experiment.load(tmp_path).hash == first.hash
    replaced = experiment.run(LINEAR, tmp_path, overwrite=True)
    assert experiment.load(tmp_path).hash == replaced.hash != first.hash
    assert set(replaced.manifest["files"]) == {path.name for path in tmp_path.glob("[!.m]*.*")}, "and nothing is left"


def test_rows_say_whether_the_training_has_converged(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LEAST_STEPS", 1)
    outcome = run(replace(SPEC, train=replace(SPEC.train, scenes=1)), tmp_path)
    looks = outcome.history.dropna(subset=["validation_db"]).set_index("step")
    gain = looks.loc[8, "validation_db"] - looks.loc[6, "validation_db"]
    for rows in (outcome.rows, experiment.load(outcome.folder).rows):
        assert rows["last_quarter_gain_db"].to_numpy(float) == pytest.approx(gain, rel=1e-4)
        assert (rows["converged"] == (gain < 0.05)).all()
        assert (rows["pixels_seen"] == 8 * 2 * 64 * 64).all()
        assert (rows[["layers", "training_scenes"]] == [2, 1]).all(axis=None)
        assert (rows[["stem", "optimizer", "loss_name"]] == ["fold", "muon", "mse"]).all(axis=None)
    assert outcome.history.set_index("step").loc[4, "pixels_seen"] == 4 * 2 * 64 * 64


def test_unknown_devices_are_refused():
    assert experiment.pick_device("cpu").type == "cpu"
    with pytest.raises(SarlabError, match="unknown device 'gpu'"):
        experiment.pick_device("gpu")


def test_a_part_of_the_training_scenes_holds_the_smaller_parts():
    split = load_split(SPEC.scenes)
    parts = [[scene.name for scene in experiment.training_part(split, n).train] for n in (1, 2, 4, 0, 100)]
    assert [len(names) for names in parts[:3]] == [1, 2, 4]
    assert set(parts[0]) < set(parts[1]) < set(parts[2]) < set(parts[3])
    assert parts[3] == parts[4] == [scene.name for scene in split.train]


def test_without_validation_scenes_convergence_is_unknown(tmp_path, monkeypatch):
    split = load_split(SPEC.scenes)
    monkeypatch.setattr(experiment, "load_split", lambda scenes: replace(split, validation=()))
    seen = []
    outcome = experiment.run(SPEC, tmp_path, device="cpu", progress=lambda *state: seen.append(state))
    for rows in (outcome.rows, experiment.load(tmp_path).rows):
        assert rows["converged"].isna().all()
        assert rows["last_quarter_gain_db"].isna().all()
    assert seen
    assert all(np.isfinite(loss) for *_, loss in seen)


# --- runs that share a training ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    return run(replace(SPEC, quantizer=FOUR), tmp_path_factory.mktemp("runs"))


def test_a_quantizer_afterwards_takes_the_weights_of_the_run_without(quantized, monkeypatch):
    runs = quantized.folder.parent
    base = experiment.load(place(runs, SPEC))
    assert equal(weights(base.folder), weights(quantized.folder))
    assert quantized.history.equals(base.history)
    assert (quantized.rows["train_seconds"] == base.rows["train_seconds"].iloc[0]).all()
    monkeypatch.setattr(experiment, "train", None)  # another quantizer trains nothing
    eight = run(replace(SPEC, quantizer=QuantizerSpec("affine", 8)), runs)
    loss = base.rows["psnr_db"] - eight.rows["psnr_db"]
    assert 0 <= loss.mean() < (base.rows["psnr_db"] - quantized.rows["psnr_db"]).mean()


def test_rows_tell_fixed_length_from_range_coded(quantized):
    rows = quantized.rows
    assert (rows["quantizer"] == "u4").all()
    values = rows["pixels"] / SPEC.model.dimension_ratio
    assert (rows["bytes"] >= values * 4 / 8).all()
    assert (rows["nominal_cr"] == 16 * 32 / 4).all()
    assert (rows["coded_bpp"] < rows["bpp"]).all()
    assert rows["latent_entropy"].between(1, 4).all()
    assert rows["level_usage"].between(0.05, 1).all()
    # The coder takes its tables' ideal within half a percent and the words it ends with.
    assert (rows["coded_bytes"] * 8 <= rows["ideal_bpp"] * rows["pixels"] * 1.005 + 96).all()
    assert np.allclose(rows["coded_cr"], rows["native_bits"] / rows["coded_bpp"])


def test_one_nested_training_serves_all_ratios(tmp_path, monkeypatch):
    first = run(of("nested", 16), tmp_path)
    monkeypatch.setattr(experiment, "train", None)  # nothing is trained from here on
    done = run(of("nested", 4), tmp_path)
    assert (done.rows["dimension_ratio"] == 64).all()
    assert (done.rows["curve"] == "nested").all()
    assert done.rows["train_seconds"].to_numpy() == pytest.approx(first.rows["train_seconds"].iloc[0], rel=1e-5)
    part = experiment.load_network(done.folder)
    assert equal(part.state_dict(), leading_weights(weights(first.folder), part))


def test_a_progressive_run_starts_where_the_one_before_ended(tmp_path, monkeypatch):
    seen, original = [], experiment.train

    def watched(model, data, spec, **options):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        seen.append((model.spec.latent_channels, spec.steps, before))
        return original(model, data, spec, **options)

    monkeypatch.setattr(experiment, "train", watched)
    done = run(of("progressive", 8), tmp_path)
    assert [(channels, steps) for channels, steps, _ in seen] == [(16, 8), (8, 2)]
    wider = weights(place(tmp_path, of("progressive", 16)))
    assert equal(leading_weights(wider, experiment.load_network(done.folder)), seen[1][2])
    assert (done.rows["steps"] == 2).all()


# --- columns of the latent ---------------------------------------------------------------------------------------------


def test_values_outside_the_training_range_are_counted_and_32_bits_have_no_entropy():
    y = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    rows = []
    for spec in (FOUR, QuantizerSpec()):
        quantizer = build_quantizer(spec, 1)
        quantizer.calibrate(y)
        tables, size = experiment.frequencies(quantizer, [y]), {"pixels": 64, "native_bits": 16}
        rows.append(experiment.latent_columns(quantizer, quantizer.quantize(3 * y), 3 * y, tables, **size))
    assert rows[0]["saturated_share"] == pytest.approx(2 / 3, abs=0.1)
    assert ["latent_entropy" in row for row in rows] == [True, False]


# --- parameters of the notebook ---------------------------------------------------------------------------------------

DEFAULTS = {
    "scenes": {"source": "bigearthnet"}, "model": {"architecture": "residual", "init": "klt", "latent_channels": 16},
    "quantizer": {"scheme": "float32", "bits": 32}, "train": {"steps": 200}, "seed": 0,
}  # fmt: skip


def test_given_tables_change_some_keys_and_keep_the_other_defaults():
    spec = experiment.specification(DEFAULTS, {**DEFAULTS, "model": {"latent_channels": 8}, "seed": 3})
    whole = experiment.specification(DEFAULTS, DEFAULTS)
    assert spec == replace(whole, model=replace(whole.model, latent_channels=8), seed=3)
    assert (whole.model.architecture, whole.train.steps) == ("residual", 200)


@pytest.mark.parametrize("given", [{"model": {"latent_chanels": 8}}, {"train": 3}, {"sceens": {}}])
def test_unknown_parameters_are_errors(given):
    with pytest.raises(PlanError):
        experiment.specification(DEFAULTS, {**DEFAULTS, **given})
