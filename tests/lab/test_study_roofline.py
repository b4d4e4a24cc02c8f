"""The study of the roofline: a row for each network and precision, on any device."""

import numpy as np
import pytest
import torch

from sarlab.lab import study_roofline
from sarlab.lab.studies import Context, find_study
from sarlab.models import graphs
from sarlab.models.data import TrainingData
from sarlab.specs import SceneSpec, TrainSpec


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("sarlab.lab.roofline.PRODUCT_SIDE", {"cpu": 128})
    monkeypatch.setattr("sarlab.lab.roofline.COPY_BYTES", {"cpu": 1 << 18})
    monkeypatch.setattr(study_roofline, "WARM_UP", 1)
    monkeypatch.setattr(study_roofline, "CASES", (("plain", "klt", 4, 0), ("plain", "scratch", 4, 0)))
    settings = TrainSpec(steps=2, batch_size=2, patch_size=32, validate_every=10**9)
    monkeypatch.setattr(study_roofline, "SETTINGS", {"cpu": settings})


def test_every_network_and_precision_has_a_row(quick, monkeypatch):
    monkeypatch.setattr(study_roofline, "pick_device", lambda name: torch.device("cpu"))
    data = TrainingData.from_arrays([np.random.default_rng(0).normal(0.5, 0.1, (64, 64)).astype(np.float32)])
    monkeypatch.setattr(TrainingData, "from_split", lambda split: data)
    table = find_study("roofline").compute(Context(SceneSpec(), None, 1, None))
    assert list(zip(table["init"], table["precision"], strict=True)) == [
        ("klt", "float32"), ("scratch", "float32"), ("klt", "bfloat16"), ("scratch", "bfloat16"),
    ]  # fmt: skip
    assert not table["graphs"].any()
    assert (table[["flops", "bytes", "kernels", "seconds", "floor_s"]] > 0).all().all()
    assert table["utilization"].to_numpy() == pytest.approx(
        (table["flops"] / table["seconds"] / table["flops_per_s"]).to_numpy()
    )
    assert table["of_roofline"].to_numpy() == pytest.approx((table["floor_s"] / table["seconds"]).to_numpy())


def test_graphs_are_asked_for_by_the_switch_alone(quick, monkeypatch):
    import os

    asked = []

    def train(*arguments, **options):
        asked.append(os.environ.get(graphs.SWITCH))
        return type("History", (), {"seconds": 1.0})

    monkeypatch.setattr(study_roofline, "train", train)
    data = TrainingData.from_arrays([np.zeros((64, 64), np.float32)])
    model = study_roofline.ModelSpec("plain", 16, 16, "scratch", 4, 0)
    monkeypatch.delenv(graphs.SWITCH, raising=False)
    for on in (False, True):
        study_roofline.step_seconds(model, TrainSpec(), data, torch.device("cpu"), graphs=on)
    assert asked == [None, "0", None, "1"]
    monkeypatch.setenv(graphs.SWITCH, "1")
    assert graphs.wanted(torch.device("cuda"), 1000)
    assert not graphs.wanted(torch.device("cpu"), 1000)
