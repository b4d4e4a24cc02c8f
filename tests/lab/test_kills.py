"""Faults by force: drivers and workers are killed at random moments, and every row is there exactly once."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from sarlab.lab import locks
from sarlab.lab.executors import Settings, execute
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import load_plan
from sarlab.lab.results import TIMING_COLUMNS, read_table

#: Trainings of some seconds, so that most kills fall into one.
PLAN = """
title = "Six runs of some seconds"
[train]
steps = 240
batch_size = 2
patch_size = 64
validate_every = 40
[model]
width = 8
depth = 0
init = "klt"
latent_channels = [4, 8]
[[experiment]]
model.architecture = "klt"
[[experiment]]
model.architecture = "plain"
seed = [0, 1]
"""
KILLS = 20
#: The inline executor with processes of its own.
PROCESSES = "inline --workers 2"


def sweep(plan, runs, executor):
    command = [sys.executable, "-m", "sarlab", "sweep", str(plan), "--runs", str(runs), "--executor", *executor.split()]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, start_new_session=True, **quiet)


def rows_of(jobs):
    return pd.concat([read_table(job.folder / "rows.csv") for job in jobs], ignore_index=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Plan, and its rows when nothing happens."""
    folder = tmp_path_factory.mktemp("whole")
    plan = folder / "kills.toml"
    plan.write_text(PLAN)
    jobs = jobs_of(load_plan(plan), folder / "runs")
    assert {item.outcome for item in execute(jobs, "inline", Settings(), lambda item: None)} == {"complete"}
    return plan, rows_of(jobs)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", PROCESSES, "papermill", "dask"])
def test_a_driver_killed_at_random_moments_ends_with_every_row_once(undisturbed, executor, tmp_path):
    plan, expected = undisturbed
    runs = tmp_path / "runs"
    rng = np.random.default_rng(20)
    jobs = jobs_of(load_plan(plan), runs)
    kills = 0
    while kills < KILLS:
        driver = sweep(plan, runs, executor)
        # from the first import to about the end of a run
        try:
            driver.wait(timeout=float(rng.uniform(0.2, 14.0)))
        except subprocess.TimeoutExpired:
            os.kill(driver.pid, signal.SIGKILL)
        kills += 1
        driver.communicate()
        for job in jobs:
            # never half a result under the final name
            if job.state == "complete":
                assert len(read_table(job.folder / "rows.csv")) == (expected["run_id"] == job.folder.name).sum() > 0
    driver = sweep(plan, runs, executor)
    _, error = driver.communicate(timeout=300)
    assert driver.returncode == 0, error
    assert {job.state for job in jobs} == {"complete"}
    assert sorted(path.name for path in runs.iterdir()) == sorted(job.run_id for job in jobs)
    left = [
        path.name
        for job in jobs
        for path in job.folder.iterdir()
        if path.name.startswith(("checkpoint", "progress", ".checkpoint", ".rows"))
    ]
    assert left == []
    rows = rows_of(jobs)
    assert not rows.duplicated(["run_id", "scene", "band"]).any()
    pd.testing.assert_frame_equal(rows.drop(columns=TIMING_COLUMNS), expected.drop(columns=TIMING_COLUMNS))


@pytest.mark.slow
@pytest.mark.parametrize("executor", [PROCESSES, "papermill", "dask"])
def test_killed_workers_are_replaced(undisturbed, executor, tmp_path):
    plan, expected = undisturbed
    runs = tmp_path / "runs"
    jobs = jobs_of(load_plan(plan), runs)
    driver, killed = sweep(plan, runs, executor), set()
    deadline = time.monotonic() + 240
    while driver.poll() is None and len(killed) < 2 and time.monotonic() < deadline:
        for job in jobs:
            process = locks.holder(job.folder / ".lock")
            if process not in (None, driver.pid, *killed) and job.state == "running":
                os.kill(process, signal.SIGKILL)
                killed.add(process)
                break
        time.sleep(0.5)
    _, error = driver.communicate(timeout=300)
    assert driver.returncode == 0, error
    assert len(killed) == 2
    pd.testing.assert_frame_equal(rows_of(jobs).drop(columns=TIMING_COLUMNS), expected.drop(columns=TIMING_COLUMNS))


@pytest.mark.slow
def test_two_drivers_on_one_folder_share_the_work(undisturbed, tmp_path):
    plan, expected = undisturbed
    runs = tmp_path / "runs"
    jobs = jobs_of(load_plan(plan), runs)
    drivers = [sweep(plan, runs, "inline") for _ in range(2)]
    for driver in drivers:
        _, error = driver.communicate(timeout=300)
        assert driver.returncode == 0, error
    pd.testing.assert_frame_equal(rows_of(jobs).drop(columns=TIMING_COLUMNS), expected.drop(columns=TIMING_COLUMNS))
    processes = {locks.holder(job.folder / ".lock") for job in jobs}
    assert len(processes) == 2, "both took part"
