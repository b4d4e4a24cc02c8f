"""Studies of networks: what is held equal is equal, losses are those of runs, bits those of the quantizers."""

from dataclasses import replace

import numpy as np
import pytest

from sarlab.lab.experiment import run
from sarlab.lab.runs import run_id
from sarlab.lab.studies import Context
from sarlab.lab.studies import networks as study
from sarlab.models.autoencoders import macs_per_pixel
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec

SCENES = SceneSpec("bigearthnet")


def context(tmp_path):
    return Context(SCENES, load_split(SCENES), 1, tmp_path / "journal")


def test_every_sweep_is_measured_for_every_architecture(monkeypatch, tmp_path):
    monkeypatch.setattr(study, "SIDES", (32, 64))
    monkeypatch.setattr(study, "CHANNELS", (8, 4))
    monkeypatch.setattr(study, "COST_WIDTHS", (4, 8))
    monkeypatch.setattr(study, "COST_TRAIN", replace(study.COST_TRAIN, patch_size=32, batch_size=1))
    table = study.cost(context(tmp_path))
    assert table.groupby(["sweep", "architecture"]).size().to_dict() == {
        (sweep, name): 2 for sweep in ("pixels", "ratio", "width") for name in ("attention", "plain", "residual")
    }
    assert (table[["encode_s", "decode_s"]] > 0).all(axis=None)
    assert (table["step_s"] > 0).equals(table["sweep"] != "pixels")
    wide = table[(table["sweep"] == "width") & (table["value"] == 8)]
    narrow = table[(table["sweep"] == "width") & (table["value"] == 4)]
    assert (wide["parameters"].to_numpy() > narrow["parameters"].to_numpy()).all()
    assert table["dimension_ratio"].where(table["sweep"] == "ratio").dropna().unique().tolist() == [32.0, 64.0]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(study, "LATENTS", ((16, 8),))
    grids = {"float32 channel": (32,), "affine channel": (4, 8), "affine tensor": (8,), "guide tensor": (10,)}
    patch.setattr(study, "GRIDS", {(*of.split(), "minmax"): bits for of, bits in grids.items()})
    found = study.latent_bits(context(tmp_path_factory.mktemp("runs")))
    patch.undo()
    return found


def test_losses_are_those_of_runs(table, tmp_path):
    spec = RunSpec(
        scenes=SCENES, model=ModelSpec("klt", 16, 8, "klt"), quantizer=QuantizerSpec("affine", 4), train=TrainSpec()
    )
    rows = run(spec, tmp_path / run_id(spec, load_split(SCENES).digest), device="cpu").rows.query("split == 'test'")
    ours = table[table["quantizer"] == "u4"].set_index("band")
    theirs = rows.set_index("band").loc[ours.index]
    assert ours["psnr_db"].to_numpy() == pytest.approx(theirs["psnr_db"].to_numpy(float), abs=1e-5)
    assert (ours["bytes"] == theirs["bytes"]).all()
    assert (ours["coded_bytes"] == theirs["coded_bytes"]).all()


def test_more_bits_lose_less_and_float32_nothing(table):
    loss = table.groupby("quantizer")["loss_db"].mean()
    assert loss["f32"] == 0
    assert 0 < loss["u8"] < loss["u4"] < loss["guide10"]
    assert loss["u8"] < loss["u8t"]


def test_bits_are_those_of_files(table):
    assert np.allclose(table["values"] * table["dimension_ratio"], table["pixels"], rtol=0.05)
    bits = (8 * table["bytes"] / table["values"]).groupby(table["quantizer"]).mean()
    assert bits["u4"] == pytest.approx(4, rel=0.01)
    # The guide casts to bytes whatever the bits, and stores its range.
    assert bits["u8"] < bits["guide10"] < 1.01 * bits["u8"]
    # Levels that nobody uses cost a range coder nothing.
    coded = table.groupby("quantizer")["coded_bytes"].mean()
    assert coded["u8t"] < coded["u8"]


def test_shapes_have_equal_values_and_multiplications():
    specs = [replace(study.MODEL, spatial_reduction=r, latent_channels=c, width=w) for r, c, w in study.POSITIONS]
    assert len({spec.dimension_ratio for spec in specs}) == 1
    macs = np.array([macs_per_pixel(spec) for spec in specs])
    assert macs.max() / macs.min() < 1.05
    assert max(spec.spatial_reduction for spec in specs) == study.POSITION_TRAIN.patch_size, "a single position"


def test_one_patch_is_a_tenth_of_the_pixels_and_rows_name_what_was_learned(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "TRAIN", replace(study.TRAIN, steps=2, batch_size=1, patch_size=32, validate_every=2))
    monkeypatch.setattr(study, "MODEL", ModelSpec("plain", 16, 4, "scratch", width=4, depth=0))
    for name, value in {"WIDTHS": {4: (0,)}, "STEPS": {}, "POSITIONS": (), "BATCHES": ()}.items():
        monkeypatch.setattr(study, name, value)
    rows = study.trainings(context(tmp_path))
    assert set(rows["split"]) == {"train", "test", "independent"}
    pixels = rows.groupby("patches")["training_pixels"].first()
    assert pixels["one"] == pytest.approx(pixels["all"] / 10)
    learned = rows[rows["split"] == "train"].groupby("patches")["scene"].nunique()
    assert learned["one"] == 1 < learned["all"]
    assert rows["psnr_db"].between(0, 60).all()


def test_memory_counts_the_batch(monkeypatch):
    monkeypatch.setattr(study, "MEMORY_MODEL", ModelSpec("plain", 16, 4, "scratch", width=16, depth=0))
    row = study.memory_row(4)
    assert row["peak_mb"] >= row["process_mb"] > 0
    assert (row["batch_size"], row["patch_size"]) == (4, 256)
    assert row["estimated_mb"] > 4 * 256 * 256 * 16 * 4 / 4 / 1e6, "the activations of the first layer alone"
