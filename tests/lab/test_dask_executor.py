"""The Dask executor: a cluster that runs already, workers that die, workers that do not fit."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sarlab.cli import main
from sarlab.errors import SarlabError
from sarlab.lab import dask_executor, locks
from sarlab.lab.executors import Settings, execute
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import build_plan

distributed = pytest.importorskip("distributed", reason="the dask extra is not installed")

PLAN = {
    "train": {"steps": 4, "batch_size": 1, "patch_size": 32, "validate_every": 2},
    "model": {"init": "klt", "width": 4, "latent_channels": 4, "architecture": ["klt", "plain"]},
}


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
    ) as running:
        yield running


def test_a_running_cluster_is_used(cluster, tmp_path):
    jobs = jobs_of(build_plan("tiny", PLAN), tmp_path / "runs")
    seen = []
    ended = execute(jobs, "dask", Settings(scheduler=cluster.scheduler_address), seen.append)
    assert [item.outcome for item in ended] == ["complete"] * 2
    assert {item.job.run_id for item in seen} == {job.run_id for job in jobs}
    assert all(job.state == "complete" for job in jobs)


def test_a_worker_that_differs_from_the_driver_refuses(cluster, tmp_path):
    (job,) = jobs_of(build_plan("tiny", PLAN), tmp_path / "runs")[:1]
    (item,) = execute([replace(job, hash="0" * 64)], "dask", Settings(scheduler=cluster.scheduler_address), print)
    assert item.outcome == "failed"
    assert "another version of sarlab" in item.message


def test_no_scheduler_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(distributed, "Client", refuse)
    plan = tmp_path / "p.toml"
    plan.write_text('[model]\narchitecture = "klt"\ninit = "klt"\nlatent_channels = 4\n')
    arguments = ["sweep", str(plan), "--runs", str(tmp_path / "runs"), "--executor", "dask"]
    assert main([*arguments, "--scheduler", "tcp://127.0.0.1:1"]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("sarlab: error: no Dask scheduler answers at tcp://127.0.0.1:1")
    assert "\n" not in error


def refuse(*arguments, **options):
    raise OSError("Timed out trying to connect")


def test_a_killed_worker_is_replaced_and_its_run_goes_on(tmp_path):
    plan = {**PLAN, "train": {**PLAN["train"], "steps": 400, "validate_every": 10}}
    job = jobs_of(build_plan("tiny", plan), tmp_path / "runs")[1]
    killed = []

    def kill() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            process = locks.holder(job.folder / ".lock")
            if process and (job.folder / "progress.json").exists():
                killed.append(process)
                os.kill(process, signal.SIGKILL)
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    (item,) = execute([job], "dask", Settings(workers=1), print)
    killer.join()
    assert killed
    assert item.outcome == "complete", item
    assert locks.holder(job.folder / ".lock") not in (*killed, os.getpid())


def test_a_cluster_without_dask_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    jobs = jobs_of(build_plan("tiny", PLAN), tmp_path / "runs")
    with pytest.raises(SarlabError, match=r"pip install 'sarlab\[dask\]'"):
        dask_executor.run_on_dask(jobs, Settings(), print)


@pytest.mark.slow
def test_the_script_for_slurm_works_as_it_is_printed(tmp_path):
    """The chapter's own script, with commands that start a job where SLURM would."""
    pytest.importorskip("dask_jobqueue", reason="the dask extra is not installed")
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
    command = [sys.executable, "slurm.py", str(plan), "--runs", str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr + done.stdout + (commands / "sbatch.log").read_text()
    assert len(list((tmp_path / "runs").glob("*/manifest.json"))) == 2
