"""Studies are computed once by content, and complete only when whole."""

from dataclasses import replace

import pandas as pd
import pytest

from sarlab.cli import main
from sarlab.lab.evaluate import Journal
from sarlab.lab.results import read_table
from sarlab.lab.studies import Study, studies, study_jobs
from sarlab.specs import SceneSpec


@pytest.fixture
def counted(monkeypatch):
    calls = []

    def count(context):
        calls.append(context)
        Journal(context.journal).add("key", {})
        return pd.DataFrame({"scene": [scene.name for scene in context.split.test], "value": 1.5})

    monkeypatch.setitem(studies._items, "counted", Study(count, version=1))
    return calls


def test_a_study_is_run_once_and_again_when_damaged_with_other_scenes_or_newer(tmp_path, counted, monkeypatch):
    (job,) = study_jobs(["counted"], SceneSpec(), tmp_path)
    assert not job.manifest
    job.run(workers=1)
    assert job.manifest["name"] == "counted"
    assert not counted[0].journal.exists()
    assert list(read_table(job.table_path)["value"]) == [1.5]
    job.table_path.write_text("scene")
    assert not job.manifest
    (other,) = study_jobs(["counted"], SceneSpec("simulated-l1"), tmp_path)
    monkeypatch.setitem(studies._items, "counted", replace(studies["counted"], version=2))
    (newer,) = study_jobs(["counted"], SceneSpec(), tmp_path)
    assert len({job.hash, other.hash, newer.hash}) == 3


def test_a_sweep_runs_its_studies(tmp_path, counted, capsys):
    plan = tmp_path / "p.toml"
    plan.write_text('studies = ["counted"]\n[model]\narchitecture = "klt"\ninit = "klt"\nlatent_channels = 4\n')
    arguments = ["sweep", str(plan), "--runs", str(tmp_path / "runs"), "--engine", "inline"]
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert len(counted) == 1
