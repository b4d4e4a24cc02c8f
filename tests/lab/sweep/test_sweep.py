"""One job: one at a time in a process, and errors that become records or stop the sweep."""

import errno
import os
import threading
import time

import pytest

from sarlab.lab import experiment, sweep
from sarlab.lab.results import read_record
from sarlab.lab.runs import FAILURE
from sarlab.lab.sweep import DiskError, Settings, check_writable, explain, run_job


def test_a_process_has_one_run_at_a_time_whatever_its_threads(tiny, tmp_path, monkeypatch):
    jobs = tiny(tmp_path, steps=4, seed=[0, 1, 2])
    now, most = [], []

    def run(spec, folder, **options):
        now.append(spec)
        most.append(len(now))
        time.sleep(0.05)
        now.remove(spec)

    monkeypatch.setattr(experiment, "run", run)
    found = []
    threads = [threading.Thread(target=lambda job=job: found.append(run_job(job, Settings()))) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    assert {item.outcome for item in found} == {"complete"}


def raising(error):
    def run(*arguments, **options):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "outcome", "recorded"),
    [
        (ValueError("no such thing"), "failed", True),
        (experiment.OutOfTime("stopped"), "out of time", False),
        (sweep.notebook.NotebookFailed({"cell": 2, "source": "x", "error": "Busy", "message": "m"}), "busy", False),
        (KeyboardInterrupt(), "interrupted", False),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "disk", False),
    ],
)
def test_an_error_is_an_outcome(tiny, tmp_path, monkeypatch, error, outcome, recorded):
    job = tiny(tmp_path)[0]
    monkeypatch.setattr(experiment, "run", raising(error))
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


def test_a_kernel_that_dies_is_replaced_until_it_was_too_often(tiny, tmp_path, monkeypatch):
    job, deaths = tiny(tmp_path)[0], []

    def die(*arguments):
        deaths.append(1)
        if len(deaths) != 6:
            raise sweep.notebook.NotebookFailed(sweep.failure("DeadKernelError", "died"))

    monkeypatch.setattr(sweep.notebook, "execute", die)
    item = run_job(job, Settings(notebook=True))
    assert (item.outcome, len(deaths), job.state) == ("failed", sweep.RETRIES + 1, "failed")
    assert "killed 4 times" in item.message
    assert run_job(job, Settings(notebook=True)).outcome == "complete"


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
    assert explain(message).startswith(expected)
    assert bool(explain(message)) == bool(expected)


def test_a_folder_that_cannot_be_written_is_refused_and_checking_leaves_nothing(tmp_path):
    check_writable(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="choose another folder with --out"):
        check_writable(tmp_path / "file" / "deep", "--out")
    if os.geteuid():
        tmp_path.chmod(0o500)
        with pytest.raises(DiskError, match="ermission denied"):
            check_writable(tmp_path / "other")
