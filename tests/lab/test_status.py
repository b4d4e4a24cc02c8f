"""Status of runs: what is done, who runs what, what failed where, what is missing."""

import json

import pytest

from sarlab.cli import main
from sarlab.cli.sweep import select
from sarlab.lab import locks
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import build_plan, load_plan
from sarlab.lab.status import status

PLAN = 'title = "five"\n[train]\nsteps = 4\n[model]\narchitecture = "plain"\nlatent_channels = 4\n[[experiment]]\nseed = [0, 1, 2, 3, 4]\n'


@pytest.fixture
def mixed(tmp_path):
    """A plan of five runs, one in each state."""
    plan = tmp_path / "five.toml"
    plan.write_text(PLAN)
    jobs = jobs_of(load_plan(plan), tmp_path / "runs")
    for job in jobs[:4]:
        job.folder.mkdir(parents=True)
    (jobs[0].folder / "manifest.json").write_text(json.dumps({"hash": jobs[0].hash, "seconds": 12.34, "files": {}}))
    (jobs[1].folder / "failure.json").write_text(
        json.dumps({"cell": 3, "source": "x", "error": "ModelError", "message": "no such loss"})
    )
    (jobs[2].folder / "progress.json").write_text('{"step": 7, "steps": 40}')
    (jobs[3].folder / "checkpoint.safetensors").write_bytes(b"")
    with locks.hold(jobs[2].folder / ".lock"):
        yield plan, jobs, tmp_path / "runs"


def test_every_state_is_told_for_people(mixed, capsys):
    plan, jobs, runs = mixed
    assert main(["status", str(plan), "--runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 complete, 1 running, 1 failed, 1 interrupted, 1 waiting"
    told = {line.split()[1]: line for line in lines[:-1]}
    assert "12.3 s" in told[jobs[0].run_id]
    assert "cell 3: ModelError: no such loss" in told[jobs[1].run_id]
    assert "step 7 of 40, by process" in told[jobs[2].run_id]
    assert told[jobs[3].run_id].split()[0] == "interrupted"
    assert told[jobs[4].run_id].split()[0] == "waiting"


def test_json_is_for_scripts(mixed, capsys):
    plan, jobs, runs = mixed
    assert main(["status", str(plan), "--runs", str(runs), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"complete": 1, "running": 1, "failed": 1, "interrupted": 1, "waiting": 1}
    assert found["runs"][1] == {
        "run_id": jobs[1].run_id, "state": "failed", "cell": 3, "reason": "ModelError: no such loss",
    }  # fmt: skip
    assert found["runs"][2]["steps"] == 40


def test_without_a_plan_every_folder_counts(mixed, capsys):
    _, jobs, runs = mixed
    assert main(["status", "--runs", str(runs)]) == 0
    out = capsys.readouterr().out
    assert all(job.run_id in out for job in jobs[:3])
    assert jobs[4].run_id not in out


def test_patterns_count_with_a_plan_and_without(mixed, capsys):
    plan, jobs, runs = mixed
    for arguments in ([], [str(plan)]):
        assert main(["status", *arguments, "--runs", str(runs), "--only", "*-s1-*", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["runs"]
        assert [item["run_id"] for item in found] == [jobs[1].run_id]


def test_an_empty_folder_is_said(tmp_path, capsys):
    assert main(["status", "--runs", str(tmp_path / "nowhere")]) == 0
    assert "no runs below" in capsys.readouterr().out


def test_a_foreign_hash_is_not_complete(mixed):
    _, jobs, _ = mixed
    assert status(jobs[0].folder, wanted_hash="f" * 64).state == "waiting"


def test_patterns_select_runs(tmp_path):
    plan = build_plan("p", {"model": {"architecture": ["plain", "residual"], "latent_channels": [8, 16]}})
    jobs = jobs_of(plan, tmp_path)
    assert len(select(jobs, None)) == 4
    assert [job.spec.model.architecture for job in select(jobs, "residual")] == ["residual"] * 2
    assert [job.spec.model.latent_channels for job in select(jobs, "*-c16-*")] == [16, 16]
    assert select(jobs, "c16") == select(jobs, "*-c16-*")
    assert select(jobs, "nothing") == []


def test_twins_show_in_what_they_differ(tmp_path, capsys):
    plan = tmp_path / "twins.toml"
    plan.write_text("[train]\nlearning_rate = [0.001, 0.002]\n[[experiment]]\nseed = [0, 1]\n")
    assert main(["status", str(plan), "--runs", str(tmp_path / "runs")]) == 0
    lines = capsys.readouterr().out.splitlines()[:-1]
    assert sorted(line.split()[2] for line in lines) == ["learning_rate=0.001"] * 2 + ["learning_rate=0.002"] * 2
