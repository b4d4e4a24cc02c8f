"""Studies are computed once by content, and complete only when whole."""

from dataclasses import replace

import pandas as pd
import pytest

from sarlab.cli import main
from sarlab.errors import PlanError
from sarlab.lab.studies import Study, studies, study_jobs
from sarlab.specs import SceneSpec


@pytest.fixture
def counted(monkeypatch):
    calls = []

    def count(context):
        calls.append(context)
        return pd.DataFrame({"scene": [scene.name for scene in context.split.test], "value": 1.5})

    monkeypatch.setitem(studies._items, "counted", Study(count, version=1))
    return calls


def test_a_study_is_run_once_and_again_when_damaged(tmp_path, counted):
    (job,) = study_jobs(["counted"], SceneSpec(), tmp_path)
    assert not job.manifest
    job.run(workers=1)
    assert job.manifest["name"] == "counted"
    assert list(job.table()["value"]) == [1.5]
    job.table_path.write_text("scene")
    assert not job.manifest


def test_the_scenes_and_the_version_count(tmp_path, counted, monkeypatch):
    one, other = (study_jobs(["counted"], SceneSpec(name), tmp_path)[0] for name in ("bigearthnet", "simulated-l1"))
    monkeypatch.setitem(studies._items, "counted", replace(studies["counted"], version=2))
    (newer,) = study_jobs(["counted"], SceneSpec("bigearthnet"), tmp_path)
    assert len({one.hash, other.hash, newer.hash}) == 3


def test_unknown_study_is_refused_before_anything_runs(tmp_path, capsys):
    with pytest.raises(PlanError, match="nonsense"):
        study_jobs(["nonsense"], SceneSpec(), tmp_path)
    plan = tmp_path / "p.toml"
    plan.write_text('studies = ["nonsense"]\n[train]\nsteps = 0\n')
    assert main(["sweep", str(plan), "--runs", str(tmp_path / "runs"), "--engine", "inline"]) == 1
    assert "nonsense" in capsys.readouterr().err


def test_a_sweep_runs_its_studies(tmp_path, counted, capsys):
    plan = tmp_path / "p.toml"
    plan.write_text('studies = ["counted"]\n[model]\narchitecture = "klt"\ninit = "klt"\nlatent_channels = 4\n')
    arguments = ["sweep", str(plan), "--runs", str(tmp_path / "runs"), "--engine", "inline"]
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert len(counted) == 1


def test_the_protocol_tells_its_operating_points_apart(tmp_path, monkeypatch):
    from sarlab.lab.studies import Context
    from sarlab.lab.studies import codecs as study_codecs
    from sarlab.peers import codecs

    if not codecs[study_codecs.ANCHOR].available().ok:
        pytest.skip("no JPEG 2000 here")

    def evaluated(names, scenes, targets, **options):
        # as rows come back from a table: in another order, values as floats
        rows = pd.DataFrame({"target": t.kind, "target_value": float(t.value)} for t in reversed(targets))
        return rows.assign(codec=names[0], bytes=500, bpp=1.0, pixels=4096, height=64, width=64)

    monkeypatch.setattr(study_codecs, "evaluate", evaluated)
    rows = study_codecs.protocol(Context(SceneSpec(), None, 1, tmp_path))
    found = {name: set(zip(part["target"], part["target_value"], strict=True)) for name, part in rows.groupby("points")}
    named = {"matched": ("psnr", "PSNR_DB"), "between": ("psnr", "BETWEEN_DB"), "rate": ("bpp", "RATES_BPP")}
    expected = {name: {(kind, v) for v in getattr(study_codecs, values)} for name, (kind, values) in named.items()}
    grid = codecs[study_codecs.ANCHOR].capabilities.quality.grid
    assert found == {**expected, "grid": {("quality", float(quality)) for quality in grid}}
    assert not expected["matched"] & expected["between"]
