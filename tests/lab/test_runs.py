"""Plans expand and wrong ones are refused; what a run's hash covers, whose weights it takes, its lock and its states."""

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections import defaultdict
from dataclasses import replace

import pytest

from sarlab.errors import PlanError
from sarlab.lab import runs
from sarlab.lab.runs import base_of, build_plan, jobs_of, load_plan, start_of, status, statuses, steps_of
from sarlab.models.autoencoders import architectures, macs_per_pixel
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec

# --- plans -------------------------------------------------------------------------------------------------------------


def test_grid_is_all_combinations_in_order():
    latent = [{"latent_channels": 64, "train": {"steps": 7}}, {"spatial_reduction": 32, "latent_channels": 16}]
    grid = {"name": "grid", "latent": latent, "model": {"architecture": ["plain", "residual"]}, "seed": [0, 1]}
    plan = build_plan("p", {"train": {"steps": 5}, "experiment": [grid]})
    found = [
        (r.model.architecture, r.model.spatial_reduction, r.model.latent_channels, r.train.steps, r.seed)
        for r in plan.runs
    ]
    shapes = [(16, 64, 7), (32, 16, 5)]
    assert found == [(name, *shape, seed) for name in ("plain", "residual") for shape in shapes for seed in (0, 1)]
    assert plan.experiments == ("grid",) * 8


def test_the_plan_of_the_docstring_is_one():
    example = re.search(r"::\n\n((?:    .*\n)+)", runs.__doc__)[1]
    plan = build_plan("p", tomllib.loads(textwrap.dedent(example)))
    assert (plan.title, len(plan.runs), plan.studies) == ("Two ratios by two architectures", 12, ("limits",))


def test_a_run_in_two_experiments_is_one_run_and_scenes_can_be_replaced():
    plan = build_plan(
        "p", {"experiment": [{"name": "a"}, {"name": "b", "seed": [0, 1]}]}, scenes="x.tif", quantity="db"
    )
    assert {(run.scenes.source, run.scenes.quantity) for run in plan.runs} == {("x.tif", "db")}
    assert (len(plan.runs), plan.experiments) == (2, ("a", "b"))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"experimnt": []}, "experimnt"), ({"train": {"stepz": 3}}, "stepz"), ({"train": {"steps": "many"}}, "steps"),
        ({"model": {"latent_channels": -4}}, "latent_channels"), ({"model": {"spatial_reduction": 12}}, "power of two"),
        ({"experiment": [{"model": {"architecture": []}}]}, "no runs"), ({"experiment": {}}, "list of tables"),
        ({"train": 3}, "table"), ({"model": {"init": "magic"}}, "magic"), ({"train": {"patch_size": 100}}, "patch_size"),
        ({"scenes": {"quantity": "volts"}}, "volts"), ({"seed": True}, "seed"), ({"experiment": [{"latent": [3]}]}, "latent"),
        ({"train": {"curve": "nested"}}, "first_channels"), ({"train": {"first_channels": 64}}, "first_channels"),
        ({"train": {"curve": "both", "first_channels": 64}}, "unknown curve"),
        *(({"train": {"curve": "nested", "first_channels": n}, "model": {"latent_channels": m}}, "power of two")
          for n, m in ((48, 32), (48, 16), (8, 16))),
        ({"train": {"curve": "nested", "first_channels": 16}, "quantizer": {"training": "ste"}}, "without quantizer"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(values, word):
    with pytest.raises(PlanError, match=word):
        build_plan("p", values)


@pytest.mark.parametrize("name", runs.plan_names())
def test_every_plan_that_comes_along_loads_and_survives_json(name):
    plan = load_plan(name)
    assert plan.title != name
    assert [RunSpec.from_dict(run.to_dict()) for run in plan.runs] == list(plan.runs) != []
    if name == "quick":
        assert {base_of(run) for run in plan.runs} - {None} <= set(plan.runs), "nothing is trained twice"


@pytest.mark.parametrize(
    ("content", "message"), [(b"title = ", "Invalid value"), (b"\xff", "codec can't decode"), (b"a=" + b"[" * 5000, "five.toml")]
)  # fmt: skip
def test_broken_files_are_named(tmp_path, content, message):
    (tmp_path / "five.toml").write_bytes(content)
    with pytest.raises(PlanError, match=rf"plan five\.toml: .*{message}|recursion"):
        load_plan(tmp_path / "five.toml")


def test_the_report_plan_compares_equal_steps_and_multiplications():
    plan = load_plan("report")
    at = defaultdict(list)
    for run, experiment in zip(plan.runs, plan.experiments, strict=True):
        at[experiment].append(run)
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


# --- identity ----------------------------------------------------------------------------------------------------------


def test_content_of_the_scenes_every_field_and_the_version_count_but_no_path(monkeypatch):
    spec = RunSpec(SceneSpec("a.tif", "db"))
    assert runs.run_hash(spec, "d") == runs.run_hash(replace(spec, scenes=SceneSpec("b.tif", "auto")), "d")
    hashes = {runs.run_hash(spec, "d"), runs.run_hash(spec, "e"), runs.run_hash(replace(spec, seed=1), "d")}
    changes = {
        "model": {"architecture": "residual", "init": "klt", "spatial_reduction": 32, "latent_channels": 3, "width": 5},
        "quantizer": {"bits": 16, "granularity": "tensor", "training": "ste"},
        "train": {"steps": 1, "threads": 2, "learning_rate": 0.5, "loss": "other"},
    }
    for part, fields in changes.items():
        for name, value in fields.items():
            changed = replace(spec, **{part: replace(getattr(spec, part), **{name: value})})
            hashes.add(runs.run_hash(changed, "d"))
    monkeypatch.setattr(runs, "EXPERIMENT_VERSION", runs.EXPERIMENT_VERSION + 1)
    hashes.add(runs.run_hash(spec, "d"))
    assert len(hashes) == 4 + sum(map(len, changes.values()))


def test_a_users_architecture_counts_by_its_source(tmp_path, monkeypatch):
    digests = []
    for step, body in enumerate(("x = 1", "x = 2", "x = 2")):
        name = f"users_network_{step}"
        (tmp_path / f"{name}.py").write_text(f"class Net:\n    {body}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        module = __import__(name)
        monkeypatch.setitem(architectures._items, name, module.Net)
        digests.append(runs._plugin_digest(name))
    assert digests[0] != digests[1]
    assert digests[1] == digests[2]
    assert runs._plugin_digest("plain") == ""


def test_runs_of_one_label_are_told_apart_by_the_fields_that_differ():
    spec = RunSpec()
    slow = replace(spec, train=replace(spec.train, learning_rate=1e-4))
    short = replace(slow, train=replace(slow.train, steps=10))
    other = replace(spec, seed=1)
    texts = ["steps=300 learning_rate=0.002", "steps=300 learning_rate=0.0001", "steps=10 learning_rate=0.0001", ""]
    assert runs.distinctions([spec, slow, short, other]) == texts


# --- shared trainings --------------------------------------------------------------------------------------------------

SPEC = RunSpec(model=ModelSpec("plain", 16, 8, "klt"), train=TrainSpec(steps=8))
EIGHT = QuantizerSpec("affine", 8)


def of(curve, channels, **changes):
    train = replace(SPEC.train, curve=curve, first_channels=16)
    return replace(SPEC, model=replace(SPEC.model, latent_channels=channels), train=train, **changes)


@pytest.mark.parametrize(
    ("spec", "base", "start", "steps"),
    [
        (SPEC, None, None, 8),
        (replace(SPEC, quantizer=EIGHT), SPEC, None, 8),
        (replace(SPEC, quantizer=replace(EIGHT, training="noise")), None, None, 8),
        (of("nested", 16), None, None, 8),
        (of("nested", 4), of("nested", 16), None, 8),
        (of("nested", 4, quantizer=EIGHT), of("nested", 4), None, 8),
        (of("progressive", 16), None, None, 8),
        (of("progressive", 4), None, of("progressive", 8), 2),
        (of("progressive", 4, quantizer=EIGHT), of("progressive", 4), of("progressive", 8), 2),
        (replace(of("nested", 4), model=ModelSpec("klt", 16, 4, "klt")), None, None, 0),
        (replace(SPEC, model=ModelSpec("klt", 16, 8, "klt"), quantizer=EIGHT), None, None, 0),
    ],
)
def test_lineage_of_every_kind_of_run(spec, base, start, steps):
    assert (base_of(spec), start_of(spec), steps_of(spec)) == (base, start, steps)


# --- locks and states --------------------------------------------------------------------------------------------------

HOLDER = """
import pathlib, sys, time
from sarlab.lab import runs
folder = pathlib.Path(sys.argv[1])
with runs.hold(folder):
    print("held", flush=True)
    sys.stdin.readline()
print("looking", flush=True)
while True:
    runs.is_held(folder)
"""


def test_a_lock_excludes_other_processes_names_its_holder_and_dies_with_it(tmp_path):
    assert not runs.is_held(tmp_path)
    assert runs.owner_of(tmp_path) is None
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    holder, looker = (subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / name)], **pipes) for name in "ab")
    try:
        looker.stdin.write("\n")
        for process, folder in ((holder, tmp_path / "a"), (looker, tmp_path / "b")):
            assert process.stdout.readline() == "held\n"
            assert runs.owner_of(folder)[0] == process.pid
        assert runs.is_held(tmp_path / "a")
        with pytest.raises(runs.Busy, match=f"in use by process {holder.pid}$"), runs.hold(tmp_path / "a"):
            pass
        holder.kill()
        holder.wait()
        assert not runs.is_held(tmp_path / "a")
        assert looker.stdout.readline() == "looking\n"
        for _ in range(50):  # asking whether a lock is held must not keep another process from taking it
            with runs.hold(tmp_path / "b"):
                assert runs.owner_of(tmp_path / "b")[0] == os.getpid()
    finally:
        for process in (holder, looker):
            process.kill()
            process.wait()
    (tmp_path / "a" / runs.OWNER).write_text("7 node7\n")
    assert runs.describe_owner(tmp_path / "a") == "process 7 on node7"


@pytest.fixture
def mixed(tmp_path):
    """Six runs of a plan, one in each state."""
    plan = build_plan("six", {"train": {"steps": 4}, "model": {"latent_channels": 4}, "seed": list(range(6))})
    jobs = jobs_of(plan, tmp_path)
    for job in jobs[:5]:
        job.folder.mkdir(parents=True)
    (jobs[0].folder / "manifest.json").write_text(json.dumps({"hash": jobs[0].hash, "seconds": 12.34, "files": {}}))
    record = {"cell": 3, "source": "x", "error": "ModelError", "message": "no such loss"}
    (jobs[1].folder / "failure.json").write_text(json.dumps(record))
    (jobs[2].folder / "progress.json").write_text('{"step": 7, "steps": 40}')
    (jobs[3].folder / "checkpoint.safetensors").write_bytes(b"")
    (jobs[4].folder / "manifest.json").write_text('{"hash": "')
    with runs.hold(jobs[2].folder):
        yield jobs


def test_every_state_is_told_with_what_is_known(mixed):
    found = statuses(mixed[0].folder.parent, mixed)
    ids = [job.run_id for job in mixed]
    assert found == [
        {"run_id": ids[0], "state": "complete", "seconds": 12.34},
        {"run_id": ids[1], "state": "failed", "cell": 3, "reason": "ModelError: no such loss"},
        {"run_id": ids[2], "state": "running", "step": 7, "steps": 40, "holder": f"process {os.getpid()}"},
        {"run_id": ids[3], "state": "interrupted"},
        {"run_id": ids[4], "state": "damaged", "reason": "manifest.json is unreadable"},
        {"run_id": ids[5], "state": "waiting"},
    ]
    assert {item["state"] for item in found} == set(runs.STATES)
    without_plan = statuses(mixed[0].folder.parent)
    assert {item["run_id"] for item in without_plan} == {*ids[:3], ids[4]}
    assert status(mixed[0].folder, "f" * 64)["state"] == "waiting", "another run is not a damaged one"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "manifest.json").write_text('{"hash": "ab", "fi'), "manifest.json is unreadable"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda folder: (folder / "rows.csv").unlink(), "rows.csv is missing"),
        (lambda folder: (folder / "rows.csv").write_text("a"), "rows.csv is cut off or was changed"),
        (lambda folder: (folder / "manifest.json").write_text('{"hash": "ab", "files": [1]}'), "manifest.json is unreadable"),
    ],
)  # fmt: skip
def test_damaged_results_are_told_and_not_complete(tmp_path, damage, reason):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "manifest.json").write_text(json.dumps({"hash": "ab", "files": {"rows.csv": {"bytes": 8}}}))
    assert status(tmp_path, "ab") == {"run_id": tmp_path.name, "state": "complete"}
    damage(tmp_path)
    assert status(tmp_path, "ab")["state"] == "damaged"
    assert status(tmp_path)["reason"] == reason
