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
    asked = []

    def evaluated(names, scenes, targets, **options):
        asked.append(list(targets))
        # as rows come back from a table: in another order, values as floats
        return pd.DataFrame(
            [
                {
                    "codec": names[0], "target": t.kind, "target_value": float(t.value), "bytes": 500, "bpp": 1.0,
                    "pixels": 4096, "height": 64, "width": 64,
                }
                for t in reversed(targets)
            ]
        )  # fmt: skip

    monkeypatch.setattr(study_codecs, "evaluate", evaluated)
    rows = study_codecs.protocol(Context(SceneSpec(), None, 1, tmp_path))
    assert len(asked) == 1
    counts = rows["points"].value_counts()
    grid = codecs[study_codecs.ANCHOR].capabilities.quality.grid
    assert counts.to_dict() == {
        "matched": len(study_codecs.PSNR_DB),
        "between": len(study_codecs.BETWEEN_DB),
        "grid": len(grid),
        "rate": len(study_codecs.RATES_BPP),
    }
    matched = rows[rows["points"] == "matched"]
    assert set(matched["target"]) == {"psnr"}
    assert set(matched["target_value"]) == set(study_codecs.PSNR_DB)
    assert not set(study_codecs.PSNR_DB) & set(study_codecs.BETWEEN_DB)


def test_the_study_of_codecs_has_eight_matched_points_and_a_learned_codec():
    from sarlab.lab.studies.codecs import PSNR_DB, SHORT

    assert sum(25 <= value <= 40 for value in PSNR_DB) >= 8
    assert min(PSNR_DB) < 25 < 40 < max(PSNR_DB)
    assert {"jpeg2000", "hevc12", "factorized"} <= set(SHORT)
