"""Several runs at a time in processes of the inline executor, and how many share a GPU."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from sarlab.cli import main
from sarlab.cli.sweep import positive
from sarlab.errors import SarlabError
from sarlab.lab import executors, locks, process_executor
from sarlab.lab.executors import Settings, execute
from sarlab.lab.forecast import Estimate, together
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import build_plan, load_plan
from sarlab.lab.results import TIMING_COLUMNS, read_table

PLAN = {
    "train": {"steps": 4, "batch_size": 1, "patch_size": 32, "validate_every": 2},
    "model": {"init": "klt", "width": 4, "latent_channels": 4, "architecture": ["klt", "plain"]},
}
LONG = {**PLAN, "train": {**PLAN["train"], "steps": 600}, "model": {**PLAN["model"], "architecture": "plain"}}


@pytest.fixture
def two_gpus(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def running(job, patience=240):
    """Process that trains a job, once it has begun."""
    deadline = time.monotonic() + patience
    while not (job.folder / "progress.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return locks.holder(job.folder / ".lock")


def test_rows_are_those_of_one_process_and_a_failure_leaves_the_others(tmp_path):
    plan = build_plan("tiny", PLAN)
    alone, several = (jobs_of(plan, tmp_path / name) for name in ("alone", "several"))
    seen = []
    assert {item.outcome for item in execute(alone, "inline", Settings("cpu"), print)} == {"complete"}
    wild = {**LONG, "train": {**PLAN["train"], "learning_rate": 1e30, "steps": 40}}
    (bad,) = jobs_of(build_plan("bad", wild), tmp_path / "several")
    ended = execute([*several, bad], "inline", Settings("cpu", workers=2), seen.append)
    assert [item.job.run_id for item in ended] == [job.run_id for job in (*several, bad)]
    assert [item.outcome for item in ended] == ["complete", "complete", "failed"]
    assert "lower learning_rate" in bad.failure["message"]
    assert len(seen) == 3
    for one, other in zip(alone, several, strict=True):
        ours, theirs = (read_table(job.folder / "rows.csv").drop(columns=TIMING_COLUMNS) for job in (one, other))
        pd.testing.assert_frame_equal(ours, theirs)
    # one of them may have done all, if the other one was late
    assert os.getpid() not in {locks.holder(job.folder / ".lock") for job in several}


@pytest.mark.slow
def test_a_killed_process_is_replaced_until_it_was_too_often(tmp_path):
    jobs = jobs_of(build_plan("long", {**LONG, "seed": [0, 1]}), tmp_path)
    killed = []

    def kill():
        # the first job once, the second one always
        for job, times in ((jobs[0], 1), (jobs[1], executors.ATTEMPTS)):
            for _ in range(times):
                while (process := running(job)) in (*killed, None) or job.state != "running":
                    time.sleep(0.02)
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    killer = threading.Thread(target=kill)
    killer.start()
    first, second = execute(jobs, "inline", Settings("cpu", workers=2), lambda item: None)
    killer.join()
    assert first.outcome == "complete"
    assert (second.outcome, jobs[1].state) == ("failed", "failed")
    assert f"killed {executors.ATTEMPTS} times" in second.message


@pytest.mark.slow
def test_the_end_of_time_is_told(tmp_path):
    endless = {**LONG, "train": {**LONG["train"], "steps": 10**6, "validate_every": 10**5}, "seed": [0, 1, 2]}
    deadline = time.monotonic() + 6
    jobs = jobs_of(build_plan("long", endless), tmp_path)
    ended = execute(jobs, "inline", Settings("cpu", workers=2, deadline=deadline), lambda item: None)
    assert {item.outcome for item in ended} <= {"out of time", "interrupted"}
    assert len(ended) == 3
    assert time.monotonic() < deadline + 15


@pytest.mark.slow
def test_ctrl_c_leaves_checkpoints_of_all(tmp_path):
    plan = tmp_path / "two.toml"
    plan.write_text(
        "seed = [0, 1]\n[train]\nsteps = 100000\nbatch_size = 1\npatch_size = 32\nvalidate_every = 20\n"
        '[model]\narchitecture = "plain"\ninit = "klt"\nwidth = 4\nlatent_channels = 4\n'
    )
    command = [sys.executable, "-m", "sarlab", "sweep", str(plan), "--runs", str(tmp_path / "runs")]
    command += ["--executor", "inline", "--workers", "2", "--device", "cpu"]
    driver = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    jobs = jobs_of(load_plan(plan), tmp_path / "runs")
    try:
        processes = {running(job) for job in jobs}
    finally:
        os.killpg(driver.pid, signal.SIGINT)
    _, error = driver.communicate(timeout=60)
    assert len(processes) == 2
    assert driver.returncode == 130, error
    assert "Traceback" not in error
    assert [job.state for job in jobs] == ["interrupted"] * 2


def test_processes_that_do_not_start_are_one_sentence(tmp_path, monkeypatch):
    jobs = jobs_of(build_plan("tiny", PLAN), tmp_path)
    monkeypatch.setattr(process_executor, "serve", os.abort)
    with pytest.raises(SarlabError, match="do not start"):
        execute(jobs, "inline", Settings("cpu", workers=2), print)


def test_gpus_are_shared_evenly(two_gpus):
    assert executors.inline_count(Settings()) == 2
    settings = Settings(runs_per_gpu=3)
    jobs = jobs_of(build_plan("tiny", PLAN), Path("runs"))
    assert executors.worker_count(jobs, settings) == executors.inline_count(settings) == 6
    assert executors.places(settings, 6) == ["cuda:0", "cuda:1"] * 3
    assert executors.places(Settings("cuda:1", runs_per_gpu=2), 2) == ["cuda:1", "cuda:1"]
    assert executors.inline_count(Settings("cuda:1", runs_per_gpu=2)) == 2
    assert executors.worker_count(jobs, Settings(workers=5, runs_per_gpu=3)) == 5
    assert executors.places(Settings("cpu"), 2) == ["cpu", "cpu"]
    assert executors.inline_count(Settings("cpu")) == 1
    estimates = [Estimate(10.0, 100.0, "past runs")] * 12
    both = together(jobs * 6, estimates, "inline", settings)
    assert (both.seconds, both.memory_mb) == (20.0, 600.0)


def test_notebooks_and_dask_share_gpus_too(two_gpus, monkeypatch, tmp_path):
    from sarlab.lab import papermill_executor

    devices, most, busy, lock = [], {}, [], threading.Lock()

    def run_notebook(job, settings):
        with lock:
            busy.append(settings.device)
            devices.append(settings.device)
            most[settings.device] = max(most.get(settings.device, 0), busy.count(settings.device))
        time.sleep(0.2)
        with lock:
            busy.remove(settings.device)
        return "complete", ""

    monkeypatch.setattr(papermill_executor, "run_notebook", run_notebook)
    jobs = jobs_of(build_plan("many", {**PLAN, "seed": list(range(6))}), tmp_path)
    for share in (1, 3):
        most.clear()
        papermill_executor.run_notebooks(jobs, Settings(runs_per_gpu=share), lambda item: None)
        assert most == {"cuda:0": share, "cuda:1": share}

    from sarlab.lab import dask_executor

    made = []
    monkeypatch.setattr(dask_executor, "_local_cluster", lambda *arguments: made.append(arguments) or 1 / 0)
    with pytest.raises(ZeroDivisionError), dask_executor.connected(jobs, Settings(runs_per_gpu=3)):
        pass
    assert made[0][0] == 6
    assert made[0][2] is True


def test_the_option_takes_whole_numbers_from_one(tmp_path, capsys):
    assert positive("3") == 3
    for text in ("0", "-1", "two"):
        with pytest.raises(SystemExit):
            main(["sweep", "smoke", "--runs-per-gpu", text, "--runs", str(tmp_path)])
        assert "--runs-per-gpu" in capsys.readouterr().err


def test_options_reach_the_executor(tmp_path, monkeypatch, capsys):
    plan = tmp_path / "p.toml"
    plan.write_text(
        'studies = ["limits"]\n[model]\narchitecture = "klt"\ninit = "klt"\nlatent_channels = 4\n', encoding="utf-8"
    )
    seen = []
    monkeypatch.setattr("sarlab.cli.sweep.execute", lambda jobs, name, settings, report: seen.append(settings) or [])
    monkeypatch.setattr("sarlab.cli.sweep.run_studies", lambda studies, settings: seen.append(studies) or 0)
    command = ["sweep", str(plan), "--runs", str(tmp_path / "runs"), "--executor", "inline"]
    assert main([*command, "--runs-per-gpu", "3", "--no-studies"]) == 3
    assert main([*command, "--workers", "2", "--device", "cpu"]) == 3
    settings, none, others, studies = seen
    assert (settings.runs_per_gpu, settings.workers, none) == (3, 0, [])
    assert (others.runs_per_gpu, others.workers, others.device) == (1, 2, "cpu")
    assert [study.name for study in studies] == ["limits"]
