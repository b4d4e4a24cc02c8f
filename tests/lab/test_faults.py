"""What the operating system refuses is one clear sentence, and no fault of a run."""

import errno
import os
import threading
import time

import pytest

from sarlab.cli import main
from sarlab.lab import executors, locks
from sarlab.lab.executors import Settings, execute
from sarlab.lab.faults import DiskError, check_writable, explain
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import build_plan

PLAN = {
    "train": {"steps": 2, "batch_size": 1, "patch_size": 32, "validate_every": 1},
    "model": {"init": "klt", "width": 4, "latent_channels": 4, "architecture": ["klt", "plain"]},
}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "/data/x: the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "/data/x: the file system is read-only"),
        ("[Errno 28] No space left on device: '/data/y'", "/data/y: the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (OSError(errno.ENOENT, "No such file", "/data/x"), ""),
        (ValueError("28"), ""),
    ],
)
def test_refusals_are_explained_and_nothing_else_is(error, expected):
    assert explain(error).startswith(expected)
    assert bool(explain(error)) == bool(expected)


def test_a_folder_that_is_a_file_is_said(tmp_path, capsys):
    (tmp_path / "runs").write_text("")
    with pytest.raises(DiskError, match="a file is where a folder should be"):
        check_writable(tmp_path / "runs")
    assert main(["sweep", "smoke", "--runs", str(tmp_path / "runs" / "deep"), "--executor", "inline"]) == 1
    error = capsys.readouterr().err.strip()
    assert "a file is where a folder should be" in error
    assert "\n" not in error


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DiskError, match="no permission"):
        check_writable(tmp_path / "runs")


def test_checking_leaves_nothing(tmp_path):
    check_writable(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_disk_that_fills_stops_the_sweep_and_blames_no_run(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "rows.csv"))

    monkeypatch.setattr("sarlab.lab.experiment.write_table", full)
    jobs = jobs_of(build_plan("tiny", PLAN), tmp_path / "runs")
    with pytest.raises(DiskError, match=r"rows.csv: the disk is full; free some space"):
        execute(jobs, "inline", Settings(), print)
    assert [job.state for job in jobs] == ["waiting", "waiting"]


@pytest.mark.parametrize("outcome", ["complete", "dead"])
def test_a_run_that_another_driver_has_is_waited_for(tmp_path, outcome, monkeypatch):
    monkeypatch.setattr(executors, "LOOK_EVERY", 0.02)
    job = jobs_of(build_plan("tiny", PLAN), tmp_path / "runs")[0]
    begun = threading.Event()

    def other() -> None:
        with locks.hold(job.folder / ".lock"):
            begun.set()
            time.sleep(0.5)
            if outcome == "complete":
                (job.folder / "manifest.json").write_text(f'{{"hash": "{job.hash}", "files": {{}}}}')

    driver = threading.Thread(target=other)
    driver.start()
    begun.wait()
    seen = []
    (item,) = execute([job], "inline", Settings(), seen.append)
    driver.join()
    assert item.outcome == "complete"
    assert [one.outcome for one in seen] == ["busy", "complete"]
    assert (item.message == "by another process") == (outcome == "complete")


def test_time_that_is_over_ends_the_wait(tmp_path):
    job = jobs_of(build_plan("tiny", PLAN), tmp_path / "runs")[0]
    with locks.hold(job.folder / ".lock"):
        (item,) = execute([job], "inline", Settings(deadline=time.monotonic() + 0.6), print)
    assert item.outcome == "busy"
