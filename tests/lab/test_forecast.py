"""Forecasts: runs that were measured decide, work scales them, what was never run is timed."""

import io
import json
from pathlib import Path

import pytest

from sarlab.lab.executors import Finished, Settings
from sarlab.lab.forecast import Estimate, Measured, calibrate, estimate, forecast, past_runs, together, work
from sarlab.lab.jobs import PROGRESS, Job
from sarlab.lab.machine import device_name, pick_device
from sarlab.lab.progress import Progress, duration
from sarlab.lab.experiment import PROGRESS as WRITTEN
from sarlab.specs import ModelSpec, RunSpec, TrainSpec


def spec(architecture="plain", steps=100, channels=16, seed=0):
    return RunSpec(
        model=ModelSpec(architecture, 16, channels, "klt", width=8, depth=int(architecture == "residual")),
        train=TrainSpec(steps=steps, batch_size=2, patch_size=32),
        seed=seed,
    )


def job(run, folder):
    return Job(run, run.label, "0" * 64, Path(folder) / run.label)


def keep(run, folder, *, train_seconds, seconds, memory, device):
    place = folder / run.label
    place.mkdir(parents=True)
    (place / "manifest.json").write_text(json.dumps({"spec": run.to_dict(), "seconds": seconds, "device": device}))
    (place / "rows.csv").write_text(f"train_seconds,peak_memory_mb\n{train_seconds},{memory}\n")


def test_twice_the_steps_twice_the_training(tmp_path):
    here = device_name(pick_device("cpu"))
    keep(spec(steps=100), tmp_path, train_seconds=10.0, seconds=13.0, memory=700, device=here)
    (found,) = forecast([job(spec(steps=200, seed=1), tmp_path)], Settings(device="cpu"), calibration=refuse)
    assert found == Estimate(pytest.approx(23.0), 700.0, "past runs")


def refuse(specs, device):
    raise AssertionError("nothing was to be calibrated")


def test_runs_of_another_device_do_not_count(tmp_path):
    keep(spec(), tmp_path, train_seconds=10.0, seconds=13.0, memory=700, device="another processor")
    assert past_runs(tmp_path, device_name(pick_device("cpu"))) == []


def test_what_was_never_run_is_calibrated_once_per_kind(tmp_path):
    asked = []

    def timed(specs, device):
        asked.extend(specs)
        return [Measured(spec("klt"), 0.0, 2.0, 500.0), Measured(spec(steps=10), 1.0, float("nan"), 600.0)]

    jobs = [job(spec(steps=100), tmp_path), job(spec(steps=100, seed=1), tmp_path), job(spec("klt"), tmp_path)]
    found = forecast(jobs, Settings(device="cpu"), calibration=timed)
    assert [item.model.architecture for item in asked] == ["plain"]
    assert [item.seconds for item in found] == pytest.approx([12.0, 12.0, 2.0])
    assert found[0].basis == "calibration"


def test_a_kind_without_time_for_calibration_gets_the_rate_of_the_others():
    known = [Measured(spec(steps=10), 1.0, 2.0, 600.0)]
    other = spec("residual", steps=10)
    expected = 2.0 + work(other) / work(spec(steps=10))
    assert estimate(other, known, []) == Estimate(pytest.approx(expected), 600.0, "other networks")


def test_a_network_that_cannot_be_built_is_no_work_and_stops_nothing():
    impossible = RunSpec(model=ModelSpec("residual", depth=0))
    assert work(impossible) == 0
    assert [item.spec.model.architecture for item in calibrate([impossible], "cpu")] == ["klt"]


def test_calibration_measures_a_whole_run_and_some_steps():
    found = calibrate([spec(steps=1000)], "cpu")
    assert found[0].other_seconds > 0
    assert found[0].train_seconds == 0
    assert found[1].train_seconds > 0
    assert found[1].memory_mb > 50


def test_runs_side_by_side_take_the_time_of_the_longest_row(tmp_path):
    estimates = [Estimate(10.0, 100.0, "a"), Estimate(10.0, 300.0, "a"), Estimate(15.0, 200.0, "b")]
    jobs = [job(spec(seed=s), tmp_path) for s in range(3)]
    assert together(jobs, estimates, "dask", Settings(device="cpu", workers=2)) == Estimate(25.0, 500.0, "a, b")
    assert together(jobs, estimates, "inline", Settings(device="cpu")) == Estimate(35.0, 300.0, "a, b")


def test_progress_counts_work_and_steps_in_flight(tmp_path):
    jobs = [job(spec(steps=100, seed=s), tmp_path) for s in range(2)]
    stream = io.StringIO()
    with Progress(jobs, stream) as progress:
        assert progress.share() == 0
        jobs[1].folder.mkdir(parents=True)
        (jobs[1].folder / PROGRESS).write_text('{"step": 50, "steps": 100}')
        assert progress.share() == pytest.approx(0.25)
        progress(Finished(jobs[0], "complete", seconds=1.0))
        assert progress.share() == pytest.approx(0.75)
        progress(Finished(jobs[1], "busy", "in use by process 7"))
    assert progress.share() == pytest.approx(0.75)
    assert stream.getvalue().startswith("[1/2] complete")
    assert "in use by process 7" in stream.getvalue()
    assert PROGRESS == WRITTEN


def test_what_is_left_is_told_from_the_pace_of_the_work_and_not_of_its_start(tmp_path, monkeypatch):
    jobs = [job(spec(steps=100, seed=s), tmp_path) for s in range(10)]
    clock = iter([0.0, 30.0, 40.0, 50.0, 120.0])
    monkeypatch.setattr("sarlab.lab.progress.time.monotonic", lambda: next(clock))
    jobs[0].folder.mkdir(parents=True)
    written = jobs[0].folder / PROGRESS
    written.write_text('{"step": 50, "steps": 100}')
    progress = Progress(jobs, io.StringIO())
    assert progress.left() == ""  # what an interrupted run had done says nothing of today's pace
    progress.done.add(jobs[0].run_id)
    assert progress.left() == ""  # 40 s, of which 30 or more were the start
    progress.done.add(jobs[1].run_id)
    assert progress.left() == "about 80 s left"  # 10 s for each of eight
    progress.done.update(item.run_id for item in jobs)
    assert progress.left() == "2.0 min in all"


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (750, "12.5 min"), (11520, "3.2 h"), (float("nan"), "unknown")]
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text
