"""The study of quantizers on the KLT: its losses are those of runs, its bits those of the quantizers."""

import numpy as np
import pytest

from sarlab.lab.experiment import run
from sarlab.lab.runs import run_id
from sarlab.lab.studies import Context
from sarlab.lab.studies import latent_bits as study
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec

SCENES = SceneSpec("bigearthnet")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(study, "LATENTS", ((16, 8),))
    grids = {
        ("float32", "channel"): (32,),
        ("affine", "channel"): (4, 8),
        ("affine", "tensor"): (8,),
        ("guide", "tensor"): (10,),
    }
    patch.setattr(study, "GRIDS", {(*of, "minmax"): bits for of, bits in grids.items()})
    found = study.latent_bits(Context(SCENES, load_split(SCENES), 1, tmp_path_factory.mktemp("runs")))
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
