"""A sweep under torchrun: two processes, one set of rows, one writer."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from sarlab.cli import main
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import load_plan
from sarlab.lab.results import read_table
from sarlab.lab.studies import study_jobs

PLAN = """
studies = ["limits"]
[train]
steps = 12
batch_size = 4
patch_size = 32
validate_every = 6
[model]
width = 4
depth = 0
init = "klt"
latent_channels = 4
[[experiment]]
model.architecture = "klt"
[[experiment]]
model.architecture = "plain"
quantizer = { scheme = "float16", bits = 16 }
"""


def test_two_processes_give_the_rows_of_one(tmp_path):
    plan = tmp_path / "two.toml"
    plan.write_text(PLAN)
    alone, team = tmp_path / "alone", tmp_path / "team"
    assert main(["sweep", str(plan), "--runs", str(alone), "--executor", "inline"]) == 0
    jobs = jobs_of(load_plan(plan), team)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "sarlab"]
    command += ["sweep", str(plan), "--runs", str(team), "--executor", "inline", "--device", "cpu"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.count("2 runs, 2 to do, each by 2 processes") == 1
    # the first process computes the studies when all is trained
    assert done.stdout.count("study limits: ") == 1
    ours, theirs = (study_jobs(["limits"], jobs[0].spec.scenes, runs)[0].table() for runs in (team, alone))
    pd.testing.assert_frame_equal(ours, theirs)
    # the weights that float16 takes over are a run of their own
    assert len(list(team.iterdir())) == 4, "with the folder of studies"
    assert {job.run_id for job in jobs} < {path.name for path in team.iterdir()}
    for job in jobs:
        ours, theirs = read_table(job.folder / "rows.csv"), read_table(alone / job.run_id / "rows.csv")
        assert list(ours["scene"]) == list(theirs["scene"])
        assert ours["psnr_db"].to_numpy() == pytest.approx(theirs["psnr_db"].to_numpy(), abs=0.01)
    # again: nothing to do, and nobody waits for anybody
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "0 to do" in done.stdout
    assert "study" not in done.stdout


def test_another_executor_is_refused(tmp_path, monkeypatch, capsys):
    plan = tmp_path / "two.toml"
    plan.write_text('[model]\narchitecture = "klt"\ninit = "klt"\nlatent_channels = 4\n')
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert main(["sweep", str(plan), "--runs", str(tmp_path / "runs"), "--executor", "dask"]) == 1
    assert "add --executor inline" in capsys.readouterr().err
