"""The study of small trainings: what is held equal is equal, and its rows say what happened."""

from dataclasses import replace

import numpy as np
import pytest

from sarlab.lab.studies import Context
from sarlab.lab.studies import trainings as study
from sarlab.models.autoencoders import macs_per_pixel
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, SceneSpec


def few(monkeypatch, **sweeps):
    """Two steps of tiny networks; only the sweeps that are given."""
    monkeypatch.setattr(study, "TRAIN", replace(study.TRAIN, steps=2, batch_size=1, patch_size=32, validate_every=2))
    monkeypatch.setattr(study, "MODEL", ModelSpec("plain", 16, 4, "scratch", width=4, depth=0))
    for name, value in {"WIDTHS": {}, "STEPS": {}, "POSITIONS": (), "BATCHES": (), **sweeps}.items():
        monkeypatch.setattr(study, name, value)


def context(tmp_path):
    return Context(SceneSpec(), load_split(SceneSpec()), 1, tmp_path)


def test_shapes_have_equal_values_and_multiplications():
    specs = [
        replace(study.MODEL, spatial_reduction=r, latent_channels=c, width=w) for r, c, w in study.POSITIONS
    ]  # fmt: skip
    assert len({spec.dimension_ratio for spec in specs}) == 1
    macs = np.array([macs_per_pixel(spec) for spec in specs])
    assert macs.max() / macs.min() < 1.05
    assert max(spec.spatial_reduction for spec in specs) == study.POSITION_TRAIN.patch_size, "a single position"


def test_one_patch_is_a_tenth_of_the_pixels_and_rows_name_what_was_learned(tmp_path, monkeypatch):
    few(monkeypatch, WIDTHS={4: (0,)})
    rows = study.trainings(context(tmp_path))
    assert set(rows["split"]) == {"train", "test", "independent"}
    pixels = rows.groupby("patches")["training_pixels"].first()
    assert pixels["one"] == pytest.approx(pixels["all"] / 10)
    learned = rows[rows["split"] == "train"].groupby("patches")["scene"].nunique()
    assert learned["one"] == 1 < learned["all"]
    assert rows["psnr_db"].between(0, 60).all()


def test_a_study_that_was_interrupted_goes_on(tmp_path, monkeypatch):
    few(monkeypatch, STEPS={4: (2,)})
    monkeypatch.setattr(study, "BATCHES", (4, 8))
    done = []

    def memory_row(batch):
        if len(done) == 1:
            done.append(0)
            raise KeyboardInterrupt
        done.append(batch)
        return {"sweep": "memory", "value": batch}

    monkeypatch.setattr(study, "alone", lambda _, batch: memory_row(batch))
    with pytest.raises(KeyboardInterrupt):
        study.trainings(context(tmp_path))
    monkeypatch.setattr(study, "rows_of", lambda *_: pytest.fail("trained again"))
    rows = study.trainings(context(tmp_path))
    assert done == [4, 0, 8]
    assert set(rows["sweep"]) == {"steps", "memory"}


def test_memory_counts_the_batch(monkeypatch):
    monkeypatch.setattr(study, "MEMORY_MODEL", ModelSpec("plain", 16, 4, "scratch", width=16, depth=0))
    row = study.memory_row(4)
    assert row["peak_mb"] >= row["process_mb"] > 0
    assert (row["batch_size"], row["patch_size"]) == (4, 256)
    assert row["estimated_mb"] > 4 * 256 * 256 * 16 * 4 / 4 / 1e6, "the activations of the first layer alone"
