"""Training of a codec: plans, resuming, what is frozen into a model's file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sarlab.codec.api import compress, decompress
from sarlab.codec.codec_plans import CodecData, CodecPlan, CodecTraining, gather, load_codec_plan
from sarlab.codec.costs import best_indices, code_costs, cost_of, histograms
from sarlab.codec.factorized import KNOTS, optimized
from sarlab.codec.fitting import fit_tables
from sarlab.codec.learned import CURRENT, load_model, model_path
from sarlab.codec.rangecoder import coded_bits
from sarlab.codec.tables import FAMILIES
from sarlab.codec.training import Trained, train_codec
from sarlab.codec.transform import CodingTransform
from sarlab.errors import PlanError
from sarlab.models.storage import read_tensors

PLANS = sorted((Path(__file__).parents[2] / "notebooks" / "plans" / "codecs").glob("*.toml"))
TINY = CodecPlan(
    "tiny-1", width=4, training=CodecTraining(steps=6, batch_size=2, patch_size=64, validate_every=3, threads=1)
)


@pytest.fixture(scope="module")
def few_knots():
    """Tables at all knots take ten seconds; the tests need the loop, not the tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sarlab.codec.training.fit_tables", lambda latents, gains: (np.full((25, 64), 40), np.full((25, 64), 1))
        )
        yield


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_shipped_plans_are_valid_and_belong_to_shipped_models(path):
    plan = load_codec_plan(path)
    assert plan.name in CURRENT.values()
    _, values = read_tensors(model_path(plan.name))
    assert values["name"] == plan.name
    # Weights may be older than an option of their plan, which then has its default.
    made_from = _completed(_plain(type(plan)(plan.name)), values["provenance"]["plan"])
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
    for name in CURRENT.values():
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


def test_missing_scenes_are_noted_and_all_missing_is_an_error():
    data = gather(replace(TINY, data=CodecData(("bigearthnet", "nowhere.tif"), (), ((4.0, 0.0),))))
    assert "not at hand: nowhere.tif" in data.note
    assert len(data.training) == 13  # six scenes of two bands, and a simulated one
    with pytest.raises(PlanError, match=r"nowhere\.tif"):
        gather(replace(TINY, data=CodecData(("nowhere.tif",))))


def test_gains_keep_the_meaning_of_quality():
    trained = Trained(CodingTransform("wavelet", 0))
    with torch.no_grad():
        trained.log_gain.normal_(generator=torch.Generator().manual_seed(0))
    assert float(trained.gains().detach().log().mean()) == pytest.approx(0, abs=1e-6)


def test_tables_fitted_to_known_distributions():
    rng = np.random.default_rng(0)
    scales = np.array([0.02, 0.2, 1.0])
    latents = [np.stack([rng.laplace(size=6000) * s / np.sqrt(2) for s in scales]) for _ in range(2)]
    indices, families = fit_tables(latents, np.ones(3), knots=(40,))
    step = np.sqrt(12) * 0.01
    expected = 32 + 8 * np.log2(scales / step)
    # Rounding towards zero makes the coded distribution a little narrower than the source.
    assert np.abs(indices[0] - expected)[1:].max() <= 4
    assert FAMILIES[families[0, 2]] in ("laplace", "heavy")


def test_counted_costs_are_those_of_the_coder():
    rng = np.random.default_rng(1)
    scales = 2.0 ** rng.uniform(-3, 9, 30)
    values = np.rint(rng.laplace(size=(30, 400)) * scales[:, None]).astype(np.int64)
    values = np.clip(values, -511, 511)
    families = rng.integers(0, 4, 30)
    indices = best_indices(histograms(values), families)
    true = sum(coded_bits(v, np.full(400, i), int(f)) for v, i, f in zip(values, indices, families, strict=True))
    assert cost_of(histograms(values), indices, families) == pytest.approx(true, rel=2e-3)
    for row in range(30):
        candidates = [coded_bits(values[row], np.full(400, i), int(families[row])) for i in range(152)]
        assert coded_bits(values[row], np.full(400, indices[row]), int(families[row])) <= 1.005 * min(candidates) + 1


def test_rounding_is_the_cheaper_of_two():
    rng = np.random.default_rng(2)
    scaled = rng.laplace(size=(5, 3000)) * 2.0 ** np.arange(-2, 3)[:, None]
    indices, families = np.arange(16, 56, 8), np.array([0, 1, 2, 3, 1])
    values = optimized(scaled, indices, families)
    from sarlab.codec.factorized import LAMBDA

    costs = code_costs()[families, indices]
    for row in range(5):
        magnitude = np.abs(scaled[row])
        near = np.rint(magnitude).astype(int)
        chosen = np.abs(values[row])
        assert set(np.unique(near - chosen)) <= {0, 1}
        score = lambda k: (magnitude - k) ** 2 + LAMBDA * costs[row][k]  # noqa: B023, E731
        below = np.maximum(near - 1, 0)
        assert (score(chosen) <= np.minimum(score(near), score(below)) + 1e-5).all()
        assert (np.sign(values[row]) * np.sign(scaled[row]) >= 0).all()


def test_knots_span_the_scale():
    model = load_model(model_path("klt8"))
    assert (KNOTS[0], KNOTS[-1]) == (model.lowest, model.highest)
    finer = np.stack([model.tables(q)[0] for q in np.arange(0, 96.001, 0.25)])
    assert (np.diff(finer.astype(int), axis=0) >= -1).all()
    assert np.abs(np.diff(finer.astype(int), axis=0)).max() <= 4
