"""Runs: locks that die with their holder, and the states of folders."""

import json
import os
import signal
import subprocess
import sys

import pytest

from sarlab.lab import runs
from sarlab.lab.plans import build_plan
from sarlab.lab.runs import jobs_of, state_of, status, statuses

HOLDER = """
import pathlib, sys, time
from sarlab.lab import runs
with runs.hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_excludes_other_processes_names_its_holder_and_dies_with_it(tmp_path):
    assert not runs.is_held(tmp_path)
    assert runs.owner_of(tmp_path) is None
    other = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline().strip() == b"held"
        assert runs.is_held(tmp_path)
        assert runs.owner_of(tmp_path)[0] == other.pid
        with pytest.raises(runs.Busy, match=f"in use by process {other.pid}$"), runs.hold(tmp_path):
            pass
        os.kill(other.pid, signal.SIGKILL)
    finally:
        other.kill()
        other.wait()
    assert not runs.is_held(tmp_path)
    with runs.hold(tmp_path):
        assert runs.owner_of(tmp_path)[0] == os.getpid()
    (tmp_path / runs.OWNER).write_text("7 node7\n")
    assert runs.describe_owner(tmp_path) == "process 7 on node7"


def test_a_look_at_a_lock_does_not_keep_others_from_taking_it(tmp_path):
    with runs.hold(tmp_path):
        pass
    code = "import pathlib, sys; from sarlab.lab import runs; print('looking', flush=True)\nwhile True: runs.is_held(pathlib.Path(sys.argv[1]))"
    looker = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert looker.stdout.readline().strip() == b"looking"
        for _ in range(50):
            with runs.hold(tmp_path):
                pass
    finally:
        looker.kill()
        looker.wait()


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


def test_a_foreign_hash_is_neither_complete_nor_damaged(mixed):
    assert status(mixed[0].folder, wanted_hash="f" * 64)["state"] == "waiting"


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
    assert state_of(tmp_path, "ab") == "complete"
    damage(tmp_path)
    assert status(tmp_path, wanted_hash="ab")["state"] == "damaged"
    assert status(tmp_path)["reason"] == reason
