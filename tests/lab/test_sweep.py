"""Sweeps: the same rows inline and on Dask, workers and kernels that die, jobs that others hold, errors of one job."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock, patch

import jupytext
import pandas as pd
import papermill
import pytest

from sarlab.errors import DiskError, SarlabError
from sarlab.lab import experiment, sweep
from sarlab.lab.results import read_record, read_table, shared_folder
from sarlab.lab.runs import FAILURE, base_of, hold, jobs_of, load_plan, owner_of
from sarlab.lab.sweep import Settings, execute, run_job

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    """One worker process with four threads, as `dask worker` starts it on four cores."""
    # Dask leaves variables for its workers in os.environ, one of which changes how much memory later processes take.
    lasting = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"})
    with patch.dict(os.environ), lasting, distributed.LocalCluster(
        n_workers=1, threads_per_worker=4, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50, preload=[sweep._PRELOAD]
    ) as running:  # fmt: skip
        yield running


@pytest.fixture(scope="module")
def on_cluster(cluster):
    return Settings("dask", device="cpu", scheduler=cluster.scheduler_address)


def rows_of(jobs):
    """Rows of finished jobs, without the columns that depend on the machine."""
    table = pd.concat([read_table(job.folder / "rows.csv") for job in jobs], ignore_index=True)
    return table.drop(columns=table.filter(regex="_seconds$|_per_s$|^peak_memory_mb$|^device$"))


def test_every_engine_and_kind_of_job_gives_the_same_rows(cluster, on_cluster, tiny, tmp_path):
    inline, together, dask, notebook = (tiny(tmp_path / name) for name in ("a", "b", "c", "d"))
    assert [item.outcome for item in execute(inline, Settings(device="cpu"), lambda item: None)] == ["complete"] * 2
    # two jobs in one process at once: the worker has threads for both
    with distributed.Client(cluster, set_as_default=False) as client:
        found = client.gather(client.map(run_job, together, [Settings(device="cpu")] * 2))
    assert [item.outcome for item in found] == ["complete"] * 2
    seen = []
    execute(dask, on_cluster, seen.append)
    assert {item.job.run_id for item in seen} == {job.run_id for job in dask}
    (item,) = execute(notebook[1:], replace(on_cluster, notebook=True), seen.append)
    assert item.outcome == "complete"
    assert (item.job.folder / "notebook.ipynb").is_file()
    expected = rows_of(inline)
    assert set(expected["split"]) == {"test"}
    assert expected["psnr_db"].notna().all()
    for jobs in (together, dask):
        pd.testing.assert_frame_equal(rows_of(jobs), expected)
    pd.testing.assert_frame_equal(rows_of(notebook[1:]), rows_of(inline[1:]))


def test_a_worker_that_differs_from_the_driver_refuses(on_cluster, tiny, tmp_path):
    (item,) = execute([replace(tiny(tmp_path)[0], hash="0" * 64)], on_cluster, print)
    assert item.outcome == "failed"
    assert "another version of sarlab" in item.message


def kill_worker_of(job):
    """Thread that kills the process of a job as soon as its training has begun."""

    def kill():
        deadline = time.monotonic() + 60
        while not (job.folder / "progress.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(owner_of(job.folder)[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_killed_worker_is_replaced_and_after_too_many_only_its_run_has_failed(cluster, on_cluster, tiny, tmp_path):
    first, second = tiny(tmp_path, steps=300, seed=[0, 1])
    killer = kill_worker_of(first)
    (item,) = execute([first], on_cluster, print)
    killer.join()
    assert item.outcome == "complete"
    assert owner_of(first.folder)[0] != os.getpid()
    before, cluster.scheduler.allowed_failures = cluster.scheduler.allowed_failures, 0
    killer = kill_worker_of(second)
    found = execute([second, *tiny(tmp_path)[:1]], on_cluster, print)
    killer.join()
    cluster.scheduler.allowed_failures = before
    assert [item.outcome for item in found] == ["failed", "complete"]
    assert (second.state, before) == ("failed", 3)
    assert "killed 4 times; is there enough memory?" in read_record(second.folder / FAILURE)["message"]


def test_a_cluster_without_workers_is_told_and_time_ends_the_wait(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "WORKER_SECONDS", 0.2)
    said = []
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as empty:
        address = empty.scheduler_address
        settings = Settings("dask", scheduler=address, deadline=time.time() + 2)
        assert execute(tiny(tmp_path), settings, print, said.append) == []
    assert said
    assert said[0].startswith(f"no worker at {address} yet; start some with 'dask worker {address}'")


def test_no_scheduler_is_one_sentence(tiny, tmp_path, monkeypatch):
    error = OSError("Timed out trying to connect\nand more")
    monkeypatch.setattr(distributed, "Client", Mock(side_effect=error))
    with pytest.raises(SarlabError, match=r"^no Dask scheduler answers at tcp://127.0.0.1:1 \(Timed out[^\n]*$"):
        execute(tiny(tmp_path), Settings("dask", scheduler="tcp://127.0.0.1:1"), print)


def test_a_full_disk_stops_the_sweep_and_blames_no_run(tiny, tmp_path, monkeypatch):
    error = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "rows.csv"))
    monkeypatch.setattr("sarlab.lab.results.write_table", Mock(side_effect=error))
    jobs = tiny(tmp_path / "runs")
    with pytest.raises(DiskError, match=r"rows.csv: the disk is full; free some space"):
        execute(jobs, Settings(), print)
    assert [job.state for job in jobs] == ["waiting", "waiting"]


@pytest.mark.parametrize("outcome", ["complete", "dead"])
def test_a_run_that_another_driver_has_is_waited_for_and_not_done_twice(tiny, tmp_path, outcome, monkeypatch):
    monkeypatch.setattr(sweep, "TICK", 0.02)
    job, begun = tiny(tmp_path)[0], threading.Event()

    def other():
        with hold(job.folder):
            begun.set()
            time.sleep(0.5)
            if outcome == "complete":
                (job.folder / "manifest.json").write_text(f'{{"hash": "{job.hash}", "files": {{}}}}')

    driver = threading.Thread(target=other)
    driver.start()
    begun.wait()
    said = []
    (item,) = execute([job], Settings(), print, said.append)
    driver.join()
    assert item.outcome == "complete"
    assert said == [f"{job.run_id} is in use by process {os.getpid()}; waiting for it"]
    assert (item.message == "by another process") == (outcome == "complete")
    other_job = tiny(tmp_path)[1]
    with hold(other_job.folder):
        assert execute([other_job], Settings(deadline=time.time() + 0.6), print) == [], "time ends the wait"


def test_runs_that_take_over_weights_come_after_those_that_train(tmp_path, monkeypatch):
    jobs, seen = jobs_of(load_plan("quick"), tmp_path), []
    monkeypatch.setattr(sweep, "run_job", lambda job, settings: seen.append(job) or sweep.Finished(job, "complete"))
    execute(jobs, Settings(), lambda item: None)
    follows = [base_of(job.spec) is not None for job in seen]
    assert sorted(job.run_id for job in seen) == sorted(job.run_id for job in jobs)
    assert any(follows)
    assert follows == sorted(follows)


def test_one_job_at_a_time_for_each_gpu_or_for_each_core(tiny, monkeypatch):
    import torch

    jobs = tiny(Path("runs"), seed=list(range(4)))
    monkeypatch.setattr(sweep, "cores", lambda: 3)
    assert sweep.worker_count(jobs, Settings("dask", device="cpu")) == 3
    assert sweep.worker_count(jobs[:2], Settings("dask", device="cpu")) == 2
    assert sweep.worker_count(jobs, Settings("inline", workers=5)) == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert sweep.worker_count(jobs, Settings("dask")) == 2
    assert sweep.worker_count(jobs, Settings("dask", device="cuda:1")) == 1
    assert sweep.worker_count(jobs, Settings("dask", workers=5)) == 5


@pytest.mark.slow
def test_the_script_for_slurm_works_as_it_is_printed(tmp_path):
    """The chapter's own script, with commands that start a job where SLURM would."""
    pytest.importorskip("dask_jobqueue", reason="the slurm extra is not installed")
    chapter = (Path(__file__).resolve().parents[2] / "book" / "chapters" / "scale.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)
    commands = tmp_path / "bin"
    commands.mkdir()
    fakes = {
        "sbatch": 'cp "$1" "$0.job"\nsetsid bash "$0.job" >>"$0.log" 2>&1 &\necho "Submitted batch job $!"',
        "scancel": 'for job in "$@"; do kill -- "-$job" 2>/dev/null; done; true',
        "sarlab": f'exec {sys.executable} -m sarlab "$@"',
    }
    for name, text in fakes.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod(0o755)
    (tmp_path / "slurm.py").write_text(script.replace("minimum=8, maximum=8", "minimum=1, maximum=1"))
    plan = tmp_path / "tiny.toml"
    plan.write_text('[model]\narchitecture = "klt"\ninit = "klt"\nlatent_channels = [4, 8]\n')
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    command = [sys.executable, "slurm.py", str(plan), "--runs", str(tmp_path / "runs"), "--no-notebook"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr + done.stdout + (commands / "sbatch.log").read_text()
    assert len(list((tmp_path / "runs").glob("*/manifest.json"))) == 2


def test_parameters_of_a_job_are_those_of_the_notebook(tiny, tmp_path):
    """Papermill only warns of others."""
    template = jupytext.read(shared_folder("notebooks") / "run_experiment.py", fmt="py:percent")
    (cell,) = (cell.source for cell in template.cells if "parameters" in cell.metadata.get("tags", []))
    known = set(re.findall(r"^(\w+) = ", cell, re.MULTILINE))
    assert set(sweep.parameters_of(tiny(tmp_path)[0], Settings(deadline=0.0))) <= known


def test_a_failing_cell_is_recorded_and_leaves_the_partial_notebook(tiny, tmp_path):
    job = tiny(tmp_path, train={"loss": "nonsense", "steps": 2})[1]
    item = run_job(job, Settings(notebook=True, device="cpu"))
    assert item.outcome == "failed"
    assert item.message.startswith("cell 3: ModelError: ")
    record = read_record(job.folder / FAILURE)
    assert (record["cell"], record["error"]) == (3, "ModelError")
    assert "nonsense" in record["message"]
    assert "\x1b" not in record["traceback"]
    assert (job.folder / sweep.FAILED_NOTEBOOK).is_file()
    assert not (job.folder / sweep.NOTEBOOK).exists()


def test_a_process_has_one_run_at_a_time_whatever_its_threads(tiny, tmp_path, monkeypatch):
    jobs = tiny(tmp_path, steps=4, seed=[0, 1, 2])
    now, most = [], []

    def run(spec, folder, **options):
        now.append(spec)
        most.append(len(now))
        time.sleep(0.05)
        now.remove(spec)

    monkeypatch.setattr(experiment, "run", run)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(run_job, jobs, [Settings()] * 3))
    assert most == [1, 1, 1]
    assert {item.outcome for item in found} == {"complete"}


@pytest.mark.parametrize(
    ("error", "outcome", "recorded"),
    [
        (ValueError("no such thing"), "failed", True),
        (experiment.OutOfTime("stopped"), "out of time", False),
        (papermill.PapermillExecutionError(3, 2, "x", "Busy", "m", []), "busy", False),
        (KeyboardInterrupt(), "interrupted", False),
    ],
)
def test_an_error_is_an_outcome(tiny, tmp_path, monkeypatch, error, outcome, recorded):
    job = tiny(tmp_path)[0]
    monkeypatch.setattr(experiment, "run", Mock(side_effect=error))
    assert run_job(job, Settings()).outcome == outcome
    assert (job.folder / "failure.json").is_file() == recorded
    if recorded:
        assert (job.state, read_record(job.folder / FAILURE)["message"]) == ("failed", "no such thing")


def test_a_stopped_sweep_begins_no_job_and_others_do(tiny, tmp_path, monkeypatch):
    job, begun = tiny(tmp_path)[0], []
    monkeypatch.setattr(experiment, "run", lambda spec, folder, **options: begun.append(folder))
    stopped, other = Settings(), Settings()
    sweep.stop(stopped.sweep)
    assert [run_job(job, settings).outcome for settings in (stopped, other)] == ["interrupted", "complete"]
    assert len(begun) == 1
    assert run_job(job, Settings(deadline=time.time() - 1)).outcome == "out of time"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (str(OSError(errno.ENOSPC, "No space left on device", "/data/x")), "/data/x: the disk is full"),
        (str(OSError(errno.EROFS, "Read-only file system", "/data/x")), "/data/x: the file system is read-only"),
        ("I/O error: No space left on device (os error 28)", "the disk is full"),
        (str(OSError(errno.ENOENT, "No such file", "/data/x")), ""),
        ("28", ""),
    ],
)
def test_disk_errors_are_explained_and_nothing_else_is(message, expected):
    assert sweep.explain(message).startswith(expected)
    assert bool(sweep.explain(message)) == bool(expected)
