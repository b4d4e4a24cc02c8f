"""Plans: grids expand, wrong ones are refused with the reason."""

import pytest

from sarlab.errors import PlanError
from sarlab.lab.runs import base_of, build_plan, load_plan, plan_names
from sarlab.models.autoencoders import macs_per_pixel
from sarlab.specs import RunSpec


def test_grid_is_all_combinations_in_order():
    latent = [{"latent_channels": 64}, {"spatial_reduction": 32, "latent_channels": 16}]
    grid = {"name": "grid", "latent": latent, "model": {"architecture": ["plain", "residual"]}, "seed": [0, 1]}
    plan = build_plan("p", {"train": {"steps": 5}, "experiment": [grid]})
    assert len(plan.runs) == 8
    assert plan.runs[0].model.architecture == "plain"
    assert {(r.model.spatial_reduction, r.model.latent_channels) for r in plan.runs} == {(16, 64), (32, 16)}
    assert {r.seed for r in plan.runs} == {0, 1}
    assert all(r.train.steps == 5 for r in plan.runs)
    assert plan.labels["grid"] == tuple(range(8))


def test_a_point_of_the_curve_can_set_its_training():
    plan = build_plan("p", {"experiment": [{"latent": [{"latent_channels": 8, "train": {"steps": 7}}]}]})
    assert (plan.runs[0].model.latent_channels, plan.runs[0].train.steps) == (8, 7)


def test_a_run_in_two_experiments_is_one_run():
    plan = build_plan("p", {"experiment": [{"name": "a"}, {"name": "b", "seed": [0, 1]}]})
    assert len(plan.runs) == 2
    assert plan.labels == {"a": (0,), "b": (0, 1)}


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"experimnt": []}, "experimnt"),
        ({"train": {"stepz": 3}}, "stepz"),
        ({"train": {"steps": "many"}}, "steps"),
        ({"model": {"latent_channels": -4}}, "latent_channels"),
        ({"model": {"spatial_reduction": 12}}, "power of two"),
        ({"experiment": [{"model": {"architecture": []}}]}, "no runs"),
        ({"experiment": {}}, "list of tables"),
        ({"train": 3}, "table"),
        ({"model": {"init": "magic"}}, "magic"),
        ({"train": {"patch_size": 100}}, "patch_size"),
        ({"scenes": {"quantity": "volts"}}, "volts"),
        ({"seed": True}, "seed"),
        ({"experiment": [{"latent": [3]}]}, "latent"),
    ],
)
def test_what_is_wrong_is_named(values, word):
    with pytest.raises(PlanError, match=word):
        build_plan("p", values)


def test_scenes_can_be_replaced():
    plan = build_plan("p", {}, scenes="mine.tif", quantity="db")
    assert (plan.runs[0].scenes.source, plan.runs[0].scenes.quantity) == ("mine.tif", "db")


def test_unknown_plan_names_the_known_ones():
    with pytest.raises(PlanError, match="smoke"):
        load_plan("smoek")


def test_broken_file_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("title = ")
    with pytest.raises(PlanError, match=r"mine\.toml.*not valid TOML"):
        load_plan(path)


@pytest.mark.parametrize("name", plan_names())
def test_every_plan_that_comes_along_loads_and_survives_json(name):
    plan = load_plan(name)
    assert plan.runs
    assert plan.title != name
    for run in plan.runs:
        assert RunSpec.from_dict(run.to_dict()) == run


def test_a_plan_may_extend_another(tmp_path):
    (tmp_path / "one.toml").write_text('title = "one"\nseed = [0, 1]\n[train]\nsteps = 7\nbatch_size = 4\n')
    (tmp_path / "two.toml").write_text('extends = "one"\ntitle = "two"\n[train]\nbatch_size = 2\n')
    plan = load_plan(tmp_path / "two.toml")
    assert (plan.name, plan.title) == ("two", "two")
    assert [(run.seed, run.train.steps, run.train.batch_size) for run in plan.runs] == [(0, 7, 2), (1, 7, 2)]
    (tmp_path / "three.toml").write_text('extends = "two"\n')
    with pytest.raises(PlanError, match="extends a plan itself"):
        load_plan(tmp_path / "three.toml")
    (tmp_path / "four.toml").write_text('extends = "nowhere"\n')
    with pytest.raises(PlanError, match="unknown plan 'nowhere'"):
        load_plan(tmp_path / "four.toml")


def test_the_report_plan_compares_equal_steps_and_multiplications():
    plan = load_plan("report")
    at = {label: [plan.runs[i] for i in positions] for label, positions in plan.labels.items()}
    main = [run for name in ("plain", "residual", "attention") for run in at[f"{name} from scratch"]]
    assert {run.seed for run in main} == {0, 1, 2}
    for ratio in (4, 8, 16, 32):
        alike = [run for run in main if run.model.dimension_ratio == ratio]
        alike += at["shapes"] + at["depth"] + at["pyramid"] if ratio == 16 else []
        assert {run.model.architecture for run in alike} == {"plain", "residual", "attention"}
        assert len({run.train.steps for run in alike}) == 1
        macs = [macs_per_pixel(run.model) for run in alike]
        assert max(macs) / min(macs) < 1.08
    assert {run.model.dimension_ratio for run in at["shapes"]} == {16}
    assert {(run.train.loss, run.model.dimension_ratio) for run in at["losses"]} >= {("mse+ssim", 16), ("gamma", 64)}
    # Quantizers after training take the weights of runs that the plan has anyway.
    afterwards = [base_of(run) for run in at["from scratch, quantized"] + at["from the KLT, quantized"]]
    assert set(afterwards) <= set(plan.runs)


def test_the_quick_plan_trains_nothing_twice():
    plan = load_plan("quick")
    assert len(plan.runs) == 27
    assert {base_of(run) for run in plan.runs} - {None} <= set(plan.runs)
