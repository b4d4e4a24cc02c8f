"""Publishing: tables, images, pages and the table of contents of a copy of the book."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sarlab.errors import ResultsError
from sarlab.lab.executors import Settings, execute
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import build_plan
from sarlab.lab.publish import _find, publish
from sarlab.lab.results import RUN_COLUMNS, tables

ROOT = Path(__file__).resolve().parents[2]
PLAN = {
    "title": "tiny",
    "train": {"steps": 2, "batch_size": 1, "patch_size": 32, "validate_every": 1},
    "model": {"init": "klt", "width": 4, "latent_channels": 4},
    "experiment": [
        {"name": "linear", "model": {"architecture": "klt"}},
        {"name": "networks", "model": {"architecture": "plain"}},
    ],
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("publish")
    plan = build_plan("tiny", PLAN)
    jobs = jobs_of(plan, folder / "runs")
    ended = execute(jobs, "papermill", Settings(), lambda item: None)
    assert [item.outcome for item in ended] == ["complete"] * 2, ended
    book = folder / "book"
    shutil.copytree(ROOT / "book", book)
    manifest = publish(plan, jobs, book)
    return plan, jobs, book, manifest


def test_tables_hold_every_row_with_plan_and_experiment(published):
    _plan, jobs, book, manifest = published
    found = tables(book)
    assert manifest["runs"] == 2
    assert manifest["missing"] == 0
    assert set(found.runs["run_id"]) == {job.run_id for job in jobs}
    assert set(found.runs["plan"]) == {"tiny"}
    assert dict(zip(found.runs["architecture"], found.runs["experiment"], strict=True)) == {
        "klt": "linear",
        "plain": "networks",
    }
    assert list(found.runs.columns[:5]) == RUN_COLUMNS[:5]
    assert set(found.history["run_id"]) == {jobs[1].run_id}
    assert found.manifest["title"] == "tiny"


def test_images_are_listed_and_lie_there(published):
    _, _jobs, book, _ = published
    index = pd.read_csv(book / "results" / "examples.csv")
    assert {"original", "reconstruction"} == set(index["kind"])
    assert all((book / "results" / "images" / name).is_file() for name in index["file"])


def test_pages_are_titled_listed_and_free_of_this_machine(published):
    _, jobs, book, _ = published
    chapter = _find(yaml.safe_load((book / "_toc.yml").read_text()), "chapters/runs")
    assert [entry["file"] for entry in chapter["sections"]] == [f"runs/{job.run_id}" for job in jobs]
    for job in jobs:
        text = (book / "runs" / f"{job.run_id}.ipynb").read_text()
        assert str(job.folder.parent) not in text
        page = json.loads(text)
        assert page["cells"][0]["source"].startswith("# ")
        assert len({cell["id"] for cell in page["cells"]}) == len(page["cells"])
        assert len(text) < 600_000


def test_publishing_again_changes_nothing_but_the_date(published):
    plan, jobs, book, _ = published
    before = {path: path.read_bytes() for path in book.rglob("*") if path.is_file() and path.name != "manifest.json"}
    publish(plan, jobs, book)
    after = {path: path.read_bytes() for path in book.rglob("*") if path.is_file() and path.name != "manifest.json"}
    assert before == after


def test_pages_of_runs_that_are_gone_go(published, tmp_path):
    plan, jobs, book, _ = published
    copy = tmp_path / "book"
    shutil.copytree(book, copy)
    publish(plan, jobs[:1], copy)
    assert [path.stem for path in (copy / "runs").glob("*.ipynb")] == [jobs[0].run_id]


def test_nothing_to_publish_is_said(tmp_path):
    plan = build_plan("tiny", PLAN)
    with pytest.raises(ResultsError, match="run 'sarlab sweep tiny' first"):
        publish(plan, jobs_of(plan, tmp_path), tmp_path / "book")
