"""Training of a codec: plans, resuming, what is frozen into a model's file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sarlab.codec.api import compress, decompress
from sarlab.codec.codec_plans import CodecData, CodecPlan, CodecTraining, HyperSpec, gather, load_codec_plan
from sarlab.codec.model_store import BUILT_IN, load_model, model_path
from sarlab.codec.train_codec import train_codec
from sarlab.errors import PlanError
from sarlab.models.storage import read_tensors

MODELS = [codec.model for codec in BUILT_IN.values()]
PLANS = sorted((Path(__file__).parents[2] / "notebooks" / "plans" / "codecs").glob("*.toml"))
TINY = CodecPlan(
    "tiny-1", width=4, training=CodecTraining(steps=6, batch_size=2, patch_size=64, validate_every=3, threads=1)
)


@pytest.fixture(scope="module")
def few_knots():
    """Tables at all knots take ten seconds; the tests need the loop, not the tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sarlab.codec.factorized.fit.fit_tables",
            lambda latents, gains: (np.full((25, 64), 40), np.full((25, 64), 1)),
        )
        yield


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_shipped_plans_are_valid_and_belong_to_shipped_models(path):
    plan = load_codec_plan(path)
    assert plan.name in MODELS
    _, values = read_tensors(model_path(plan.name))
    assert values["name"] == plan.name
    # Weights may be older than an option of their plan, which then has its default.
    defaults = _plain(replace(plan, data=CodecData(), training=CodecTraining(), hyper=plan.hyper and HyperSpec()))
    made_from = _completed(defaults, values["provenance"]["plan"])
    assert json.loads(json.dumps(made_from)) == json.loads(json.dumps(_plain(plan)))
    assert "ssl4eo" not in json.dumps(values)
    assert "test" not in json.dumps(made_from)


def _completed(defaults, made_from):
    if not isinstance(made_from, dict):
        return made_from
    # Options that have gone since are left out.
    return defaults | {k: _completed(defaults[k], value) for k, value in made_from.items() if k in defaults}


def _plain(plan):
    from dataclasses import asdict

    return asdict(plan)


def test_shipped_weights_are_small_and_half_precision():
    for name in MODELS:
        path = model_path(name)
        assert path.stat().st_size < 2e6
        tensors, _ = read_tensors(path)
        assert {str(t.dtype) for t in tensors.values()} <= {
            "torch.float16",
            "torch.uint8",
            "torch.uint16",
            "torch.int16",
            "torch.int32",
        }


def test_training_makes_a_codec(tmp_path, few_knots, speckled):
    history = train_codec(TINY, tmp_path / "tiny.safetensors")
    assert history.stopped == "finished"
    assert history.steps_done == 6
    model = load_model(tmp_path / "tiny.safetensors")
    assert model.name == "tiny-1"
    data = compress(speckled, codec=str(tmp_path / "tiny.safetensors"), quality=25)
    assert decompress(data, model=tmp_path / "tiny.safetensors").shape == speckled.shape


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path, few_knots):
    train_codec(TINY, tmp_path / "one.safetensors")
    checkpoint = tmp_path / "state.safetensors"
    stops = 0
    while (
        train_codec(
            TINY, tmp_path / "two.safetensors", checkpoint=checkpoint, time_budget=0.0 if stops == 0 else 0.02
        ).stopped
        != "finished"
    ):
        stops += 1
        assert not (tmp_path / "two.safetensors").exists()
        assert stops < 100
        if stops == 3:
            train_codec(TINY, tmp_path / "two.safetensors", checkpoint=checkpoint)
            break
    one, two = (read_tensors(tmp_path / f"{name}.safetensors")[0] for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_plan_says_what_is_wrong_with_it(tmp_path):
    path = tmp_path / "plan.toml"
    for text, message in (
        ("width = 3", "needs a 'name'"),
        ("name = 'a'\nwidht = 3", "'widht' is unknown"),
        ("name = 'a'\nwidth = 'b'", "'width' is unknown or of the wrong type"),
        ("name = 'a'\n[training]\nstep = 3", "step"),
        ("name = ", "not valid TOML"),
    ):
        path.write_text(text)
        with pytest.raises(PlanError, match=message):
            load_codec_plan(path)
    with pytest.raises(PlanError, match="cannot be read"):
        load_codec_plan(tmp_path / "none.toml")


def test_missing_scenes_are_refused_unless_allowed():
    plan = replace(TINY, data=CodecData(("bigearthnet", "nowhere.tif"), ("none.tif",), ((4.0, 0.0),)))
    with pytest.raises(PlanError, match=r"2 scenes of plan 'tiny-1' are missing: nowhere\.tif, none\.tif"):
        gather(plan)
    data = gather(plan, allow_missing=True)
    assert "missing: nowhere.tif, none.tif" in data.note
    assert len(data.training) == 13  # six scenes of two bands, and a simulated one
    with pytest.raises(PlanError, match="no training scene"):
        gather(replace(TINY, data=CodecData(("nowhere.tif",))), allow_missing=True)
