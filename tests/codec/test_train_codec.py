"""Training of a codec: plans, resuming, fitted tables, what is frozen into a model's file."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from sarlab.codec.block_model import WEIGHT, fine_step, initial_tables
from sarlab.codec.lapped import BLOCK, LappedModel
from sarlab.codec.model_store import BUILT_IN, load_model, model_path
from sarlab.codec.predictive import SIZE, PredictiveModel
from sarlab.codec.train_codec import CodecPlan, fit_tables, gather, load_codec_plan, train_codec
from sarlab.errors import PlanError
from sarlab.models.storage import read_tensors

MODELS = {codec.model: name for name, codec in BUILT_IN.items()}
PLANS = sorted((Path(__file__).parents[2] / "notebooks" / "plans" / "codecs").glob("*.toml"))
TINY = CodecPlan("tiny-1", "factorized", "bigearthnet")


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_shipped_plans_are_valid_and_belong_to_shipped_models(path):
    plan = load_codec_plan(path)
    assert plan.name in MODELS
    assert sum(model_path(name).stat().st_size for name in BUILT_IN) < 1_000_000
    _, values = read_tensors(model_path(MODELS[plan.name]))
    assert values["name"] == plan.name
    made_from = values["provenance"]["plan"]
    assert made_from == json.loads(json.dumps(asdict(plan)))


def test_fitted_tables_cost_less_than_gaussian_ones():
    """On values with heavy tails, and new ones of the same kind; by what the encoder minimizes."""
    rng = np.random.default_rng(1)
    scenes = [(0.1 * rng.standard_t(3, (1, 8 * BLOCK, 8 * BLOCK))).astype(np.float32) for _ in range(3)]
    # Blocks of cosines would make Gaussian values of them: the values are the coefficients.
    make = lambda tables: Plain(tables, name="test-1", content_hash=bytes(8), states=4)  # noqa: E731
    tables = fit_tables(make, scenes[:2], rounds=2, qualities=(23.0, 24.0, 25.0))
    costs = []
    for model in (make(initial_tables()), make(tables)):
        y, active = model.analyze(scenes[2], (True,) * 4), np.ones((1, 8, 8), np.uint8)
        side = model.parse_side(model.fit_side([(y, active)], 24.0), 1)
        latent, data = model.quantize(y, active, 24.0, side)
        error = np.square(model.reconstruct(latent, 24.0, side) - y).mean()
        costs.append(error / fine_step(24.0) ** 2 + WEIGHT * 8 * len(data) / y.size)
    assert costs[1] < 0.99 * costs[0]


class Plain(LappedModel):
    """Blocks as they are."""

    def transform(self, x, borders):
        h, w = (length // BLOCK for length in x.shape)
        return x.reshape(h, BLOCK, w, BLOCK).transpose(1, 3, 0, 2).reshape(BLOCK**2, h, w)


def test_a_predictive_model_is_fitted(tmp_path, monkeypatch, speckled):
    monkeypatch.setattr("sarlab.codec.train_codec.BOUNDS", (1.0,))
    path = tmp_path / "mine.safetensors"
    train_codec(CodecPlan("mine-1", "predictive", "bigearthnet"), path)
    even = PredictiveModel(np.full(SIZE, 32768), name="", content_hash=b"")
    samples = np.nan_to_num(speckled.data[:1, :90, 40:130] / 30)[:, None]
    active = np.ones(samples[0].shape, np.uint8)
    mine, untaught, shipped = (
        len(model.quantize(samples, active, 64.0, None)[1])
        for model in (load_model(path), even, load_model(model_path("predictive")))
    )
    assert mine < untaught
    assert mine < 1.01 * shipped


@pytest.mark.parametrize(
    ("text", "message"),
    [("width = 3", "needs a 'name'"), ("name = 'a'\nwidht = 3", "unknown key 'widht'"), ("name = ", "not a valid plan"),
     ("name = 'a'\nwidth = 'b'", "width must be int"), ("name = 'a'\nkind = 'hyper'", "unknown kind 'hyper'")],
)  # fmt: skip
def test_wrong_plans_are_refused(tmp_path, text, message):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(PlanError, match=message):
        load_codec_plan(tmp_path / "plan.toml")


def test_scenes_of_a_plan_are_normalized_as_in_files():
    data = gather(replace(TINY, simulated=((4.0, 0.0),)))
    assert "simulated 4 looks" in data.note
    assert data.training[-1][0].shape == (1, 512, 512)
    for samples, valid in (*data.training, *data.validation):
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert all(abs(band[mask].mean()) < 1e-3 for band, mask in zip(samples, valid, strict=True))
    assert gather(TINY).digest != data.digest
