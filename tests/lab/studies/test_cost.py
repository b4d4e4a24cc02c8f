"""The study of cost measures what its table says."""

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
