"""The study of cost measures what its table says."""

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.studies import Context
from sarlab.lab.studies import cost as study_cost
from sarlab.scenes.catalog import load_split
from sarlab.specs import SceneSpec


def test_every_sweep_is_measured_for_every_architecture(monkeypatch, tmp_path):
    monkeypatch.setattr(study_cost, "SIDES", (32, 64))
    monkeypatch.setattr(study_cost, "CHANNELS", (8, 4))
    monkeypatch.setattr(study_cost, "WIDTHS", (4, 8))
    monkeypatch.setattr(study_cost, "TRAIN", study_cost.replace(study_cost.TRAIN, patch_size=32, batch_size=1))
    table = study_cost.cost(Context(SceneSpec(), load_split(SceneSpec()), 1, tmp_path))
    assert table.groupby(["sweep", "architecture"]).size().to_dict() == {
        (sweep, name): 2 for sweep in ("pixels", "ratio", "width") for name in ("attention", "plain", "residual")
    }
    assert (table[["encode_s", "decode_s"]] > 0).all(axis=None)
    assert (table["step_s"] > 0).equals(table["sweep"] != "pixels")
    wide = table[(table["sweep"] == "width") & (table["value"] == 8)]
    narrow = table[(table["sweep"] == "width") & (table["value"] == 4)]
    assert (wide["parameters"].to_numpy() > narrow["parameters"].to_numpy()).all()
    assert table["dimension_ratio"].where(table["sweep"] == "ratio").dropna().unique().tolist() == [32.0, 64.0]


def test_the_least_of_repetitions_is_taken(monkeypatch):
    ticks = iter(np.cumsum([0, 9, 0, 3, 0, 2, 0, 5, 0, 4, 0, 7]))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(study_cost, "LONG_SECONDS", 100.0)
    assert study_cost.least(lambda: None, study_cost.torch.device("cpu")) == pytest.approx(2.0)
    assert pd.notna(study_cost.REPEATS)
