"""``sarlab sweep``, ``status`` and ``cost``: a plan from end to end, odd scenes, interrupted, resumed, damaged and repaired."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from sarlab.cli import main
from sarlab.cli.sweep import duration, ending, matches
from sarlab.lab.results import read_table
from sarlab.lab.runs import build_plan, jobs_of, load_plan
from sarlab.lab.sweep import Finished

PLAN = """
title = "Two runs of a second"
[scenes]
source = "{scene}"
quantity = "db"
[train]
steps = {steps}
batch_size = 2
patch_size = 32
warmup_steps = 1
validate_every = 2
[model]
width = 4
depth = 0
latent_channels = 4
init = "klt"
architecture = {architectures}
"""


def speckle(*shape, seed=0):
    return 10 * np.log10(np.random.default_rng(seed).gamma(4.4, 1 / 4.4, shape)).astype(np.float32) - 10


@pytest.fixture
def plan(tmp_path):
    """Function that writes a plan on a small scene and returns its path."""

    def write(scene=None, *, steps=4, architectures='["klt", "plain"]', more=""):
        path, source = tmp_path / "mine.toml", tmp_path / "small scene.npy"
        np.save(source, speckle(160, 160) if scene is None else scene)
        path.write_text(PLAN.format(scene=source, steps=steps, architectures=architectures) + more)
        return path

    return write


def sweep(path, *arguments):
    return main(["sweep", str(path), "--runs", str(Path(path).with_name("runs")), "--engine", "inline", *arguments])


def jobs(path, runs="runs"):
    return jobs_of(load_plan(path), path.with_name(runs))


def rows(found):
    """Rows of finished jobs, without the columns that depend on the machine."""
    table = pd.concat([read_table(job.folder / "rows.csv") for job in found])
    return table.drop(columns=table.filter(regex="_seconds$|_per_s$|^peak_memory_mb$|^device$"))


def test_a_plan_from_its_name_to_damaged_and_repaired_results(plan, tmp_path, monkeypatch, capsys):
    path = plan()
    monkeypatch.chdir(tmp_path)

    def said(*words):
        assert main([*words]) == 0
        return capsys.readouterr().out

    command = ["sweep", "mine", "--engine", "inline"]
    assert said("status", "--runs", "nowhere") == "no runs in nowhere\n"
    first, *_, total = said(*command, "--dry-run", "--device", "cpu").splitlines()
    assert (first, total[:6]) == ("mine: 2 runs, 0 complete, 2 to do", "about ")
    assert not (tmp_path / "runs").exists()
    assert said(*command).startswith("mine: 2 runs, 0 complete, 2 to do\n[1/2] complete ")
    assert said(*command) == "mine: 2 runs, 2 complete, 0 to do\n"
    expected, (klt, plain) = rows(jobs(path)), jobs(path)
    (klt.folder / "rows.csv").unlink()
    (plain.folder / "manifest.json").write_text((plain.folder / "manifest.json").read_text()[:100])
    for plan_or_all in (["mine"], []):
        text = said("status", *plan_or_all)
        assert text.endswith("2 damaged\n")
        assert "rows.csv is missing" in text
        assert "manifest.json is unreadable" in text
    assert "2 of them damaged" in said(*command)
    assert said("status", "mine").endswith("2 complete\n")
    pd.testing.assert_frame_equal(rows(jobs(path)), expected)


def lines_of_nan():
    scene = speckle(200, 200)
    scene[:, 90] = scene[140:143] = np.nan
    return scene


@pytest.mark.parametrize(
    ("scene", "measured"),
    [
        (speckle(1, 1), False), (speckle(17, 1000), False), (speckle(129, 63), False), (lines_of_nan(), True),
        (np.full((160, 160), -12.0, np.float32), False),
    ],
)  # fmt: skip
def test_odd_shapes_lines_of_nan_and_constants_go_through_with_figures_or_reasons(plan, scene, measured):
    path = plan(scene, steps=2)
    assert sweep(path) == 0
    for job in jobs(path):
        frame = read_table(job.folder / "rows.csv")
        undefined = frame["psnr_db"].isna()
        assert len(frame)
        assert not (measured and undefined.any())
        assert (frame.loc[undefined, "reason"].astype(str).str.len() > 3).all()


def test_an_empty_scene_in_a_folder_is_a_row_with_its_reason(plan, tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    for index in range(4):
        np.save(folder / f"scene{index}.npy", speckle(96, 96, seed=index))
    np.save(folder / "void.npy", np.full((96, 96), np.nan, np.float32))
    path = plan(steps=2, architectures='"klt"')
    assert sweep(path, "--scenes", str(folder)) == 0
    (frame,) = [read_table(found) for found in (tmp_path / "runs").glob("*/rows.csv")]
    void = frame[frame["scene"].str.contains("void")]
    assert void["psnr_db"].isna().tolist() == [True]
    assert void["reason"].str.len().gt(3).all()
    assert frame["psnr_db"].notna().any()


def test_a_failed_run_is_told_and_the_others_go_on(plan, capsys):
    path = plan(steps=2, more='[[experiment]]\n[[experiment]]\nmodel.architecture = "plain"\ntrain.loss = "nonsense"\n')
    assert sweep(path) == 1
    captured = capsys.readouterr()
    assert "nonsense" in captured.err
    assert "Traceback" not in captured.err
    assert [job.state for job in jobs(path)] == ["complete", "complete", "failed"]
    assert sweep(path) == 1
    assert "1 failed earlier" in capsys.readouterr().out
    assert sweep(path, "--retry-failed") == 1
    capsys.readouterr()
    assert main(["status", str(path), "--runs", str(path.with_name("runs")), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["failed"] == 1
    assert "nonsense" in found["runs"][2]["reason"]


def test_a_time_budget_stops_with_a_checkpoint_and_resumes_to_the_same_rows(plan, tmp_path):
    path = plan(steps=400, architectures='"plain"')
    statuses = []
    while not statuses or statuses[-1] == 3:
        statuses.append(sweep(path, "--time-budget", "0.5"))
        assert len(statuses) < 60
    assert statuses[-1] == 0
    assert len(statuses) > 1
    pieces = rows(jobs(path))
    (tmp_path / "runs").rename(tmp_path / "kept")
    assert sweep(path) == 0
    pd.testing.assert_frame_equal(pieces, rows(jobs(path)))


def kernels_of(process):
    children = psutil.Process(process.pid).children(recursive=True)
    found = []
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since it was listed
            found += [child] if any("ipykernel" in part for part in child.cmdline()) else []
    return found


@pytest.mark.parametrize(
    ("moment", "arguments"),
    [
        ("workers start", []), ("kernels start", []), ("training", []), ("training", ["--no-notebook"]),
        ("training", ["--engine", "inline"]), ("training", ["--engine", "inline", "--notebook"]),
    ],
)  # fmt: skip
def test_the_first_ctrl_c_stops_in_order_and_the_next_sweep_resumes(plan, moment, arguments):
    path = plan(steps=2500, architectures='"plain"')
    (job,) = jobs(path)
    command = [sys.executable, "-u", "-m", "sarlab", "sweep", path, "--runs", path.with_name("runs"), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(list(map(str, command)), start_new_session=True, **pipes)
    try:
        assert "1 to do" in process.stdout.readline()
        begun = {
            "workers start": lambda: time.sleep(0.7) or True,
            "kernels start": lambda: kernels_of(process),
            "training": lambda: (job.folder / "progress.json").exists(),
        }[moment]
        deadline = time.monotonic() + 120
        while not begun():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert job.state == ("interrupted" if moment == "training" else "waiting")
    if arguments == ["--no-notebook"]:
        assert sweep(path) == 0
        assert job.state == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--no-notebook"]])
def test_killed_drivers_and_two_at_once_end_with_every_row_once(plan, tmp_path, arguments):
    """`tests/trust` kills sweeps of one process; here workers and kernels outlive the driver for a moment."""
    path, rng = plan(steps=300, more="[[experiment]]\nseed = [0, 1]\n"), np.random.default_rng(20)
    assert sweep(path) == 0
    expected, found = rows(jobs(path)), jobs(path, "others")
    command = [sys.executable, "-m", "sarlab", "sweep", str(path), "--runs", str(tmp_path / "others"), *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    for _ in range(8):
        driver = subprocess.Popen(command, **quiet)
        try:
            driver.wait(timeout=float(rng.uniform(0.5, 14.0)))  # from the first import to about the end of a run
        except subprocess.TimeoutExpired:
            driver.kill()
        driver.communicate()
    drivers = [subprocess.Popen(command, **quiet) for _ in range(2)]
    for driver in drivers:
        _, error = driver.communicate(timeout=300)
        assert driver.returncode == 0, error
    assert {job.state for job in found} == {"complete"}
    files = [path.name for job in found for path in job.folder.iterdir()]
    assert not [name for name in files if name.startswith(("checkpoint", "progress"))]
    pd.testing.assert_frame_equal(rows(found), expected)


def test_options_reach_the_engine(plan, monkeypatch):
    path = plan()
    path.write_text('studies = ["limits"]\n' + path.read_text())
    seen = []
    monkeypatch.setattr("sarlab.cli.sweep.execute", lambda jobs, settings, *report: seen.append(settings) or [])
    monkeypatch.setattr("sarlab.cli.sweep.run_studies", lambda studies, settings: seen.append(studies) or 0)
    base = ["sweep", str(path), "--runs", str(path.with_name("runs"))]
    assert main([*base, "--workers", "2", "--device", "cpu", "--scheduler", "tcp://x:1"]) == 3
    assert main([*base, "--engine", "inline", "--only", "plain"]) == 3
    dask, studies, inline, none = seen
    assert (dask.engine, dask.notebook, dask.workers, dask.device) == ("dask", True, 2, "cpu")
    assert dask.scheduler == "tcp://x:1"
    assert [study.name for study in studies] == ["limits"]
    assert (inline.engine, inline.notebook, none) == ("inline", False, [])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(None, "abcd"), ("residual", "cd"), ("*-c16-*", "bd"), ("c16", "bd"), ("plain-*-c8-*", "a"), ("nothing", "")],
)
def test_patterns_select_runs(pattern, expected):
    ids = {name: f"{kind}-r16-c{channels}-f32-s0-1f3a9c" for name, kind, channels in
           (("a", "plain", 8), ("b", "plain", 16), ("c", "residual", 8), ("d", "residual", 16))}  # fmt: skip
    assert "".join(name for name, run_id in ids.items() if matches(run_id, pattern)) == expected


def test_each_run_is_a_line_with_the_time_that_is_left(tmp_path):
    todo = jobs_of(build_plan("p", {"model": {"architecture": ["klt", "plain"]}, "seed": [0, 1, 2]}), tmp_path)
    ended = [Finished(todo[0], "complete", "", 1.0)]
    assert ending(ended, todo, 2, 1.5) == f"[1/6] complete    {todo[0].run_id:<38}    1.0 s", "no training has ended"
    ended.append(Finished(todo[3], "failed", "", 750.0))
    assert ending(ended, todo, 2, 751).endswith("750.0 s   about 12.5 min left"), "two by two of 1 s and two of 750 s"
    ended += [Finished(job, "complete", "", 2.0) for job in (*todo[1:3], *todo[4:])]
    assert ending(ended, todo, 2, 80.0).endswith("2.0 s   80 s in all")
    assert [duration(seconds) for seconds in (40, 11520)] == ["40 s", "3.2 h"]
