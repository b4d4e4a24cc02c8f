"""Runs with a quantizer: whose weights they take, what their rows say about the latent."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sarlab.lab import experiment, measure
from sarlab.lab.identity import run_id
from sarlab.models.quantizers import build_quantizer
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, TrainSpec

SPEC = RunSpec(
    model=ModelSpec("plain", 16, 16, "klt", width=8, depth=0),
    train=TrainSpec(steps=4, batch_size=2, patch_size=64, warmup_steps=1, validate_every=2),
)
FOUR = QuantizerSpec("affine", 4)


@pytest.fixture(scope="module")
def split():
    return load_split(SPEC.scenes)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory, split):
    runs = tmp_path_factory.mktemp("runs")
    spec = replace(SPEC, quantizer=FOUR)
    return experiment.run(spec, runs / run_id(spec, split.digest), device="cpu")


def test_weights_are_those_of_the_run_without_quantizer(quantized, split, monkeypatch):
    base = quantized.folder.parent / run_id(SPEC, split.digest)
    assert (base / "manifest.json").is_file()
    ours, theirs = (experiment.load_network(folder).state_dict() for folder in (quantized.folder, base))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    outcome = experiment.load(base)
    assert quantized.history.equals(outcome.history)
    assert (quantized.rows["train_seconds"] == outcome.rows["train_seconds"].iloc[0]).all()
    # Another quantizer trains nothing.
    monkeypatch.setattr(experiment, "train", None)
    spec = replace(SPEC, quantizer=QuantizerSpec("affine", 8))
    eight = experiment.run(spec, quantized.folder.parent / run_id(spec, split.digest), device="cpu")
    loss = outcome.rows["psnr_db"] - eight.rows["psnr_db"]
    assert 0 <= loss.mean() < (outcome.rows["psnr_db"] - quantized.rows["psnr_db"]).mean()


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


def test_training_with_a_quantizer_differs_from_one_without(quantized, split):
    spec = replace(SPEC, quantizer=replace(FOUR, training="ste"))
    assert experiment.base_of(spec) is None
    other = experiment.run(spec, quantized.folder.parent / run_id(spec, split.digest), device="cpu")
    assert (other.rows["quantizer"] == "u4-ste").all()
    ours, theirs = (experiment.load_network(outcome.folder).state_dict() for outcome in (quantized, other))
    assert not all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("quantizer", "architecture"),
    [(QuantizerSpec(), "plain"), (FOUR, "klt"), (replace(FOUR, training="noise"), "plain")],
)
def test_others_train_their_own(quantizer, architecture):
    assert (
        experiment.base_of(replace(SPEC, model=replace(SPEC.model, architecture=architecture), quantizer=quantizer))
        is None
    )


def test_a_row_has_no_entropy_of_32_bit_values_and_no_bytes_without_a_coder(monkeypatch):
    y = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = build_quantizer(QuantizerSpec(), 3)
    assert measure.frequencies(whole, [y]) is None
    assert "latent_entropy" not in measure.latent_columns(whole, whole.quantize(y), y, None, pixels=64, native_bits=16)
    four = build_quantizer(FOUR, 3)
    four.calibrate(y)
    tables = measure.frequencies(four, [y])
    monkeypatch.setattr(measure.importlib.util, "find_spec", lambda name: None)
    row = measure.latent_columns(four, four.quantize(y), y, tables, pixels=64, native_bits=16)
    assert "coded_bytes" not in row
    assert row["ideal_bpp"] > 0


def test_values_outside_the_training_range_are_counted():
    y = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    four = build_quantizer(FOUR, 1)
    four.calibrate(y)
    row = measure.latent_columns(
        four, four.quantize(3 * y), 3 * y, measure.frequencies(four, [y]), pixels=64, native_bits=16
    )
    assert row["saturated_share"] == pytest.approx(2 / 3, abs=0.1)
