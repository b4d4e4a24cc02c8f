"""``sarlab sweep``, ``status`` and ``cost``: a plan from end to end, interrupted, resumed, damaged and repaired."""

import ast
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

#: Columns whose values depend on the machine, not on the specification.
TIMING_COLUMNS = [
    "train_seconds", "train_pixels_per_s", "encode_mpx_per_s", "decode_mpx_per_s", "peak_memory_mb", "device",
]  # fmt: skip

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


@pytest.fixture
def plan(tmp_path):
    """Function that writes a plan on a small scene and returns its path."""
    scene = tmp_path / "small scene.npy"
    np.save(scene, 10 * np.log10(np.random.default_rng(0).gamma(4.4, 1 / 4.4, (160, 160))).astype(np.float32) - 10)

    def write(name="mine.toml", *, steps=4, architectures='["klt", "plain"]', more=""):
        path = tmp_path / name
        path.write_text(PLAN.format(scene=scene, steps=steps, architectures=architectures) + more)
        return path

    return write


def sweep(path, *arguments):
    return main(["sweep", str(path), "--runs", str(Path(path).with_name("runs")), "--engine", "inline", *arguments])


def test_a_plan_of_the_working_directory_is_found_by_its_name(plan, tmp_path, monkeypatch, capsys):
    plan()
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "mine", "--engine", "inline"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mine: 2 runs, 0 complete, 2 to do\n[1/2] complete ")
    assert main(["sweep", "mine", "--engine", "inline"]) == 0
    assert capsys.readouterr().out == "mine: 2 runs, 2 complete, 0 to do\n"
    assert main(["status", "mine"]) == 0
    assert capsys.readouterr().out.endswith("2 complete\n")
    assert main(["status", "--runs", "nowhere"]) == 0
    assert capsys.readouterr().out == "no runs in nowhere\n"
    assert main(["sweep", "yours"]) == 1
    assert "or the path of a .toml file" in capsys.readouterr().err


def test_damaged_results_are_told_and_repaired(plan, capsys):
    path = plan()
    assert sweep(path) == 0
    klt, plain = jobs_of(load_plan(path), path.with_name("runs"))
    expected = read_table(klt.folder / "rows.csv")
    (klt.folder / "rows.csv").unlink()
    manifest = (plain.folder / "manifest.json").read_text()
    (plain.folder / "manifest.json").write_text(manifest[:100])
    capsys.readouterr()
    for arguments in ([str(path)], []):
        assert main(["status", *arguments, "--runs", str(klt.folder.parent)]) == 0
        out = capsys.readouterr().out
        assert out.endswith("2 damaged\n")
        assert "rows.csv is missing" in out
        assert "manifest.json is unreadable" in out
    assert sweep(path) == 0
    assert "2 of them damaged" in capsys.readouterr().out
    assert [klt.state, plain.state] == ["complete"] * 2
    found = read_table(klt.folder / "rows.csv")
    pd.testing.assert_frame_equal(found.drop(columns=TIMING_COLUMNS), expected.drop(columns=TIMING_COLUMNS))


def test_a_failed_run_is_told_and_the_others_go_on(plan, capsys):
    path = plan(steps=2, more='[[experiment]]\n[[experiment]]\nmodel.architecture = "plain"\ntrain.loss = "nonsense"\n')
    assert sweep(path) == 1
    captured = capsys.readouterr()
    assert "nonsense" in captured.err
    assert "Traceback" not in captured.err
    assert [job.state for job in jobs_of(load_plan(path), path.with_name("runs"))] == ["complete", "complete", "failed"]
    assert sweep(path) == 1
    assert "1 failed earlier" in capsys.readouterr().out
    assert sweep(path, "--retry-failed") == 1
    assert main(["status", str(path), "--runs", str(path.with_name("runs")), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.partition("{")[2].join(["{", ""]))
    assert found["counts"]["failed"] == 1
    assert "nonsense" in found["runs"][2]["reason"]


def test_a_time_budget_stops_with_a_checkpoint_and_resumes_to_the_same_rows(plan, tmp_path):
    path = plan(steps=400, architectures='"plain"')
    (job,) = jobs_of(load_plan(path), path.with_name("runs"))
    statuses = []
    while not statuses or statuses[-1] == 3:
        statuses.append(sweep(path, "--time-budget", "0.5"))
        assert len(statuses) < 60
    assert statuses[-1] == 0
    assert len(statuses) > 1
    pieces = read_table(job.folder / "rows.csv")
    job.folder.rename(tmp_path / "kept")
    assert sweep(path) == 0
    whole = read_table(job.folder / "rows.csv")
    pd.testing.assert_frame_equal(pieces.drop(columns=TIMING_COLUMNS), whole.drop(columns=TIMING_COLUMNS))


def kernels_of(process):
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if any("ipykernel" in part for part in child.cmdline())]


@pytest.mark.parametrize(
    ("moment", "arguments"),
    [
        ("workers start", []),
        ("kernels start", []),
        ("training", []),
        ("training", ["--no-notebook"]),
        ("training", ["--engine", "inline"]),
        ("training", ["--engine", "inline", "--notebook"]),
    ],
)
def test_the_first_ctrl_c_stops_in_order_and_the_next_sweep_resumes(plan, moment, arguments):
    path = plan(steps=2500, architectures='"plain"')
    runs = path.with_name("runs")
    (job,) = jobs_of(load_plan(path), runs)
    command = [sys.executable, "-u", "-m", "sarlab", "sweep", str(path), "--runs", str(runs), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
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
@pytest.mark.parametrize("arguments", [[], ["--no-notebook"], ["--engine", "inline"]])
def test_killed_drivers_and_two_at_once_end_with_every_row_once(plan, tmp_path, arguments):
    path, rng = plan(steps=300, more="[[experiment]]\nseed = [0, 1]\n"), np.random.default_rng(20)
    assert sweep(path) == 0
    expected = pd.concat([read_table(job.folder / "rows.csv") for job in jobs_of(load_plan(path), tmp_path / "runs")])
    runs = tmp_path / "others"
    jobs = jobs_of(load_plan(path), runs)
    command = [sys.executable, "-m", "sarlab", "sweep", str(path), "--runs", str(runs), *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    for _ in range(8):
        driver = subprocess.Popen(command, **quiet)
        # from the first import to about the end of a run
        try:
            driver.wait(timeout=float(rng.uniform(0.5, 14.0)))
        except subprocess.TimeoutExpired:
            driver.kill()
        driver.communicate()
        for job in jobs:
            # never half a result under the final name
            if job.state == "complete":
                assert len(read_table(job.folder / "rows.csv")) == (expected["run_id"] == job.run_id).sum() > 0
    drivers = [subprocess.Popen(command, **quiet) for _ in range(2)]
    for driver in drivers:
        _, error = driver.communicate(timeout=300)
        assert driver.returncode == 0, error
    assert {job.state for job in jobs} == {"complete"}
    left = [
        file.name for job in jobs for file in job.folder.glob("*") if file.name.startswith(("checkpoint", "progress"))
    ]
    assert left == []
    rows = pd.concat([read_table(job.folder / "rows.csv") for job in jobs])
    assert not rows.duplicated(["run_id", "scene", "band"]).any()
    pd.testing.assert_frame_equal(rows.drop(columns=TIMING_COLUMNS), expected.drop(columns=TIMING_COLUMNS))


def test_wrong_plans_are_one_sentence_before_anything_runs(plan, tmp_path, capsys):
    bad = tmp_path / "bad.toml"
    bad.write_text("[train]\nstepz = 3\n")
    for path, word in ((bad, "stepz"), (plan(architectures='"transformer"'), "unknown architecture 'transformer'")):
        assert sweep(path) == 1
        error = capsys.readouterr().err.strip()
        assert error.startswith("sarlab: error:")
        assert word in error
        assert "\n" not in error
    assert not (tmp_path / "runs").exists()


def test_options_reach_the_engine(plan, monkeypatch, capsys):
    path = plan(more="")
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
    assert main([*base, "--engine", "inline", "--scheduler", "tcp://x:1"]) == 1
    for text in ("0", "-1", "two"):
        with pytest.raises(SystemExit):
            main([*base, "--workers", text])
    capsys.readouterr()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(None, "abcd"), ("residual", "cd"), ("*-c16-*", "bd"), ("c16", "bd"), ("plain-*-c8-*", "a"), ("nothing", "")],
)
def test_patterns_select_runs(pattern, expected):
    ids = {name: f"{kind}-r16-c{channels}-f32-s0-1f3a9c" for name, kind, channels in
           (("a", "plain", 8), ("b", "plain", 16), ("c", "residual", 8), ("d", "residual", 16))}  # fmt: skip
    assert "".join(name for name, run_id in ids.items() if matches(run_id, pattern)) == expected


def test_each_run_is_a_line_with_the_time_that_is_left(tmp_path):
    plan = build_plan("p", {"model": {"architecture": ["klt", "plain"]}, "seed": [0, 1, 2]})
    todo = jobs_of(plan, tmp_path)
    ended = [Finished(todo[0], "complete", "", 1.0)]
    assert ending(ended, todo, 2, 1.5) == f"[1/6] complete    {todo[0].run_id:<38}    1.0 s", (
        "no training has ended yet"
    )
    ended.append(Finished(todo[3], "failed", "", 750.0))
    assert ending(ended, todo, 2, 751).endswith("750.0 s   about 12.5 min left"), "two by two of 1 s and two of 750 s"
    ended += [Finished(job, "complete", "", 2.0) for job in (*todo[1:3], *todo[4:])]
    assert ending(ended, todo, 2, 80.0).endswith("2.0 s   80 s in all")
    assert [duration(seconds) for seconds in (40, 11520)] == ["40 s", "3.2 h"]


def test_a_dry_run_tells_time_and_memory_and_runs_nothing(plan, capsys):
    path = plan()
    assert sweep(path, "--dry-run", "--device", "cpu") == 0
    first, klt, plain, total = capsys.readouterr().out.splitlines()
    assert first == "mine: 2 runs, 0 complete, 2 to do"
    assert "waiting     klt-" in klt
    assert plain.endswith(" MB")
    assert total.startswith("about ")
    assert not path.with_name("runs").exists()


def test_no_module_needs_what_windows_lacks_to_be_imported():
    import sarlab

    for path in Path(sarlab.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {"fcntl", "resource", "pwd", "grp", "termios"} & set(names), path
