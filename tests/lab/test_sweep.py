"""A sweep from end to end on the embedded scenes: executors agree, finished runs stay, failures are told."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from sarlab.cli import main
from sarlab.lab import executors
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import load_plan
from sarlab.lab.results import TIMING_COLUMNS, read_table

TINY = """
title = "Two runs, seconds"
[train]
steps = {steps}
batch_size = 2
patch_size = 32
warmup_steps = 1
validate_every = 2
[model]
width = 8
depth = 0
latent_channels = 8
[[experiment]]
model.architecture = "klt"
model.init = "klt"
[[experiment]]
model.architecture = "{architecture}"
model.init = "klt"
"""


def write_plan(folder, *, steps=4, architecture="plain"):
    path = folder / "tiny.toml"
    path.write_text(TINY.format(steps=steps, architecture=architecture))
    return path


def rows_of(plan_path, runs):
    plan = load_plan(plan_path)
    frames = [read_table(job.folder / "rows.csv") for job in jobs_of(plan, runs)]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Runs of one tiny plan by all executors."""
    folder = tmp_path_factory.mktemp("sweep")
    plan = write_plan(folder)
    for executor in executors.EXECUTORS:
        assert main(["sweep", str(plan), "--runs", str(folder / executor), "--executor", executor]) == 0
    return folder, plan


def test_executors_give_the_same_rows(swept):
    folder, plan = swept
    inline = rows_of(plan, folder / "inline")
    for other in ("papermill", "dask"):
        rows = rows_of(plan, folder / other)
        pd.testing.assert_frame_equal(inline.drop(columns=TIMING_COLUMNS), rows.drop(columns=TIMING_COLUMNS))
    assert set(inline["split"]) == {"test", "independent"}
    assert inline["psnr_db"].notna().all()
    assert set(inline["band"]) == {"VV", "VH"}
    assert (inline["seen_in_training"].astype(str).str.lower() == "false").all()


def test_a_run_leaves_all_its_files(swept):
    folder, plan = swept
    for job in jobs_of(load_plan(plan), folder / "papermill"):
        names = {path.name for path in job.folder.iterdir()}
        assert {"notebook.ipynb", "weights.safetensors", "rows.csv", "manifest.json", "history.csv", "figures"} <= names
        assert not [name for name in names if name.startswith("checkpoint")]
        manifest = json.loads((job.folder / "manifest.json").read_text())
        assert manifest["hash"] == job.hash
        assert manifest["versions"]["torch"]
        figures = {path.name for path in (job.folder / "figures").iterdir()}
        assert {"scene.png", "latent.png", "histogram.png"} <= figures


def test_pages_are_rendered_from_saved_runs(swept):
    folder, plan = swept
    jobs = jobs_of(load_plan(plan), folder / "inline")
    before = [(job.folder / "manifest.json").read_bytes() for job in jobs]
    ended = executors.render(jobs, executors.Settings(), lambda item: None)
    assert [item.outcome for item in ended] == ["complete", "complete"]
    assert all((job.folder / "notebook.ipynb").is_file() for job in jobs)
    assert [(job.folder / "manifest.json").read_bytes() for job in jobs] == before
    assert executors.render(jobs, executors.Settings(), lambda item: None) == []


def test_complete_runs_are_not_run_again(swept, capsys):
    folder, plan = swept
    before = {
        job.run_id: (job.folder / "manifest.json").stat().st_mtime_ns
        for job in jobs_of(load_plan(plan), folder / "inline")
    }
    start = time.monotonic()
    assert main(["sweep", str(plan), "--runs", str(folder / "inline"), "--executor", "inline"]) == 0
    assert time.monotonic() - start < 5
    assert "2 complete, 0 to do" in capsys.readouterr().out
    for job in jobs_of(load_plan(plan), folder / "inline"):
        assert (job.folder / "manifest.json").stat().st_mtime_ns == before[job.run_id]


def test_a_damaged_run_is_run_again(tmp_path):
    plan = write_plan(tmp_path)
    runs = tmp_path / "runs"
    assert main(["sweep", str(plan), "--runs", str(runs), "--executor", "inline", "--only", "klt-r16"]) == 0
    job = jobs_of(load_plan(plan), runs)[0]
    (job.folder / "rows.csv").write_text("")
    assert job.state == "waiting"
    assert main(["sweep", str(plan), "--runs", str(runs), "--executor", "inline", "--only", "klt-r16"]) == 0
    assert job.state == "complete"


@pytest.mark.parametrize("executor", ["inline", "papermill"])
def test_a_failed_run_is_told_and_the_others_go_on(tmp_path, capsys, executor, monkeypatch):
    plan = write_plan(tmp_path, steps=2)
    text = plan.read_text() + '[[experiment]]\ntrain.loss = "nonsense"\n'
    plan.write_text(text)
    arguments = ["sweep", str(plan), "--runs", str(tmp_path / "runs"), "--executor", executor]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "nonsense" in error
    assert "Traceback" not in error
    states = [job.state for job in jobs_of(load_plan(plan), tmp_path / "runs")]
    assert states == ["complete", "complete", "failed"]
    assert main(arguments) == 1
    assert "failed before" in capsys.readouterr().out


def test_time_budget_stops_with_a_checkpoint_and_resumes_to_the_same_rows(tmp_path):
    plan = write_plan(tmp_path, steps=60)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    base = ["sweep", str(plan), "--executor", "inline", "--only", "plain"]
    assert main([*base, "--runs", str(whole)]) == 0
    statuses = []
    while not statuses or statuses[-1] == 3:
        statuses.append(main([*base, "--runs", str(pieces), "--time-budget", "1.0"]))
        assert len(statuses) < 60
    assert statuses[-1] == 0
    ours = read_table(jobs_of(load_plan(plan), pieces)[1].folder / "rows.csv").drop(columns=TIMING_COLUMNS)
    theirs = read_table(jobs_of(load_plan(plan), whole)[1].folder / "rows.csv").drop(columns=TIMING_COLUMNS)
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize("executor", executors.EXECUTORS)
def test_ctrl_c_keeps_finished_runs_and_the_next_start_goes_on(tmp_path, executor):
    plan = write_plan(tmp_path, steps=4000)
    runs = tmp_path / "runs"
    command = [
        sys.executable,
        "-m",
        "sarlab",
        "sweep",
        str(plan),
        "--runs",
        str(runs),
        "--executor",
        executor,
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    first, second = jobs_of(load_plan(plan), runs)
    deadline = time.monotonic() + 120
    while not (first.state == "complete" and second.state == "running" and (second.folder / "progress.json").exists()):
        assert time.monotonic() < deadline, (first.state, second.state)
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert first.state == "complete"
    assert second.state == "interrupted"


def test_unknown_plan_key_is_one_sentence(tmp_path, capsys):
    plan = tmp_path / "bad.toml"
    plan.write_text("[train]\nstepz = 3\n")
    assert main(["sweep", str(plan), "--runs", str(tmp_path / "runs")]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("sarlab: error:")
    assert "stepz" in error
    assert "\n" not in error
    assert not (tmp_path / "runs").exists()


def test_unknown_architecture_is_refused_before_anything_runs(tmp_path, capsys):
    plan = write_plan(tmp_path, architecture="transformer")
    assert main(["sweep", str(plan), "--runs", str(tmp_path / "runs")]) == 1
    assert "unknown architecture 'transformer'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_runs_that_take_over_weights_come_after_those_that_train(tmp_path, monkeypatch):
    from sarlab.lab.lineage import base_of

    jobs = jobs_of(load_plan("quick"), tmp_path)
    seen = []
    monkeypatch.setattr(executors, "_inline", lambda jobs, settings, report: seen.extend(jobs) or [])
    executors.execute(jobs, "inline", executors.Settings(), lambda item: None)
    follows = [base_of(job.spec) is not None for job in seen]
    assert sorted(job.run_id for job in seen) == sorted(job.run_id for job in jobs)
    assert any(follows)
    assert follows == sorted(follows)
