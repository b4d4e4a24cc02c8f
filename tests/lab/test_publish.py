"""Publishing: tables, images and pages in a copy of the book, and nothing else touched there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sarlab.cli import main
from sarlab.errors import ResultsError
from sarlab.lab import publish as publishing
from sarlab.lab.publish import clean_notebook, names_folder, owned, publish, rounded, stage, with_pages
from sarlab.lab.results import RUN_COLUMNS, tables
from sarlab.lab.runs import build_plan, jobs_of
from sarlab.lab.sweep import Settings, execute

BOOK = Path(__file__).resolve().parents[2] / "book"
PLAN = {
    "title": "tiny",
    "train": {"steps": 2, "batch_size": 1, "patch_size": 32, "validate_every": 1},
    "model": {"init": "klt", "width": 4, "latent_channels": 4},
    "experiment": [{"name": n, "model": {"architecture": a}} for n, a in (("linear", "klt"), ("networks", "plain"))],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    plan = build_plan("tiny", PLAN)
    jobs = jobs_of(plan, tmp_path_factory.mktemp("publish") / "runs")
    ended = execute(jobs, Settings("dask", notebook=True), lambda item: None)
    assert [item.outcome for item in ended] == ["complete"] * 2, ended
    return plan, jobs


@pytest.fixture
def book(tmp_path):
    return shutil.copytree(BOOK, tmp_path / "book")


def contents_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("tracked", [False, True])
def test_tables_images_and_pages_of_complete_runs(finished, book, tracked):
    plan, jobs = finished
    others = contents_of(BOOK).keys() - owned(BOOK) - {"results/manifest.json"}
    manifest = publish(plan, jobs, book, tracked=tracked)
    found = tables(book)
    assert (manifest["runs"], manifest["missing"], manifest["pages"]) == (2, 0, 2)
    assert manifest["devices"]
    assert manifest["environments"][0]["versions"]["torch"]
    assert found.manifest["title"] == "tiny"
    assert found.runs.groupby("architecture")["experiment"].first().to_dict() == {"klt": "linear", "plain": "networks"}
    assert set(found.runs["run_id"]) == {job.run_id for job in jobs}
    assert set(found.runs["plan"]) == {"tiny"}
    assert list(found.runs.columns[:5]) == RUN_COLUMNS[:5]
    assert set(found.history["run_id"]) == {jobs[1].run_id}
    index = pd.read_csv(book / "results" / "examples.csv")
    assert set(index["kind"]) == {"original", "reconstruction"}
    written = {"results/runs.csv", "results/history.csv", "results/examples.csv"}
    written |= {f"results/images/{name}" for name in index["file"]} | {f"runs/{job.run_id}.ipynb" for job in jobs}
    assert owned(book) == written
    # What the publication in the repository had left is gone, and everything else is as it was.
    after = contents_of(book)
    assert after.keys() == others | written | {"results/manifest.json"}
    assert all(after[name] == (BOOK / name).read_bytes() for name in others)
    text = (book / "runs" / f"{jobs[1].run_id}.ipynb").read_text()
    cells = json.loads(text)["cells"]
    assert cells[0]["source"].startswith("# plain from KLT, 64× (16×16×4), seed 0")
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert str(jobs[0].folder.parent) not in text
    assert names_folder(text) == ""
    assert len(text) < 600_000
    publish(plan, jobs, book, tracked=tracked)
    again = contents_of(book)
    del after["results/manifest.json"], again["results/manifest.json"]
    assert again == after, "publishing again changes nothing but the date"


def test_files_that_no_publication_wrote_are_neither_replaced_nor_removed(finished, book):
    plan, jobs = finished
    (book / "results" / "mine.csv").write_text("a\n1\n")
    (book / "runs" / "mine.ipynb").write_text("{}")
    publish(plan, jobs, book)
    assert (book / "results" / "mine.csv").is_file()
    assert (book / "runs" / "mine.ipynb").is_file()
    manifest = book / "results" / "manifest.json"
    listed = json.loads(manifest.read_text())
    listed["files"] = [name for name in listed["files"] if name != "results/runs.csv"] + ["../outside.txt", "index.md"]
    manifest.write_text(json.dumps(listed))
    (book.parent / "outside.txt").write_text("")
    before = contents_of(book.parent)
    with pytest.raises(ResultsError, match=r"runs\.csv was not written by sarlab"):
        publish(plan, jobs, book)
    assert contents_of(book.parent) == before
    (book / "results" / "runs.csv").unlink()
    publish(plan, jobs, book)
    assert (book.parent / "outside.txt").is_file()
    assert (book / "index.md").is_file()


def test_a_publication_that_fails_leaves_the_book_as_it_was(finished, book, monkeypatch):
    plan, jobs = finished
    before = contents_of(book)
    monkeypatch.setattr(publishing.results, "environment", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(plan, jobs, book)
    assert contents_of(book) == before
    assert not list(book.glob(".publish-*"))


def test_a_publication_that_was_killed_halfway_is_replaced_by_the_next(finished, book, monkeypatch):
    plan, jobs = finished
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(plan, jobs, book)
    monkeypatch.undo()
    publish(plan, jobs[:1], book)
    assert owned(book) == {
        name for name in contents_of(book) if name.startswith(("results/", "runs/")) and (name in owned(BOOK) or jobs[0].run_id in name or "images/" in name)
    }  # fmt: skip
    assert [path.stem for path in (book / "runs").glob("*.ipynb")] == [jobs[0].run_id]


def test_folders_that_are_no_book_are_refused(finished, book, tmp_path, monkeypatch, capsys):
    plan, jobs = finished
    with pytest.raises(ResultsError, match="give the folder 'book' of a checkout"):
        publish(plan, jobs, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ResultsError, match="run 'sarlab sweep tiny' first"):
        publish(plan, jobs_of(plan, tmp_path), book)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.rmtree(book)
    assert main(["publish", "smoke", "--runs", str(tmp_path)]) == 1
    assert "no book in this folder or above" in capsys.readouterr().err


def test_a_report_replaces_no_folder_that_it_did_not_make(tmp_path, capsys):
    shutil.copytree(BOOK, tmp_path / "book")
    before = contents_of(tmp_path)
    assert main(["report", "--published", "--out", str(tmp_path)]) == 1
    assert "was not made by 'sarlab report'" in capsys.readouterr().err
    assert contents_of(tmp_path) == before
    (tmp_path / "html").mkdir()
    with pytest.raises(ResultsError, match="was not made by"):
        publishing.render(stage(tmp_path / "new"), tmp_path)


def test_an_incomplete_plan_is_not_published(finished, book, capsys):
    _, jobs = finished
    more = build_plan("tiny", {**PLAN, "seed": [0, 1]})
    before = contents_of(book)
    with pytest.raises(ResultsError, match=r"plan 'tiny' is not complete: .*-s1-\w+ \(waiting\)"):
        publish(more, jobs_of(more, jobs[0].folder.parent), book, tracked=True)
    assert main(["publish", "smoke", "--runs", str(book.parent), "--book", str(book)]) == 1
    assert "'sarlab status smoke' shows" in capsys.readouterr().err
    assert contents_of(book) == before


def test_one_seed_of_each_architecture_and_ratio_has_a_page(tmp_path):
    grid = {"model": {"architecture": "plain", "latent_channels": [4, 16], "depth": [0, 1]}, "seed": [1, 0]}
    jobs = jobs_of(build_plan("grid", {**grid, "quantizer": {"scheme": "float16", "bits": [16]}}), tmp_path)
    jobs += jobs_of(build_plan("grid", grid), tmp_path)
    chosen = [(job.spec.model.latent_channels, job.spec.seed, job.spec.quantizer.bits) for job in with_pages(jobs)]
    assert chosen == [(16, 0, 32), (4, 0, 32)], "the ratio nearest to 16 first"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("bigearthnet", 1), ("simulated-l1", 1), ("sentinel1-all", 1),
        ("sen1floods11", 0), ("umbra-tanna", 0), ("/data/mine.tif", 0),
    ],
)  # fmt: skip
def test_runs_on_downloads_and_on_files_of_the_user_have_no_page(tmp_path, source, shown):
    job = jobs_of(build_plan("tiny", PLAN), tmp_path)[0]
    spec = replace(job.spec, scenes=replace(job.spec.scenes, source=source))
    assert len(with_pages([replace(job, spec=spec)])) == shown


def test_only_the_scenes_asked_for_are_pictured_and_pages_stop_where_the_room_ends(finished, tmp_path):
    _, jobs = finished
    every = publishing.write_images(jobs, tmp_path / "every")
    one = every["scene"].iloc[0]
    some = publishing.write_images(jobs, tmp_path / "some", {one})
    assert set(some["scene"]) == {one}
    assert some["file"].tolist() == every.loc[every["scene"] == one, "file"].tolist()
    assert publishing.write_images(jobs, tmp_path / "none", set()).empty
    assert not list((tmp_path / "none").iterdir())
    assert publishing.write_pages(jobs, tmp_path / "all") == 2
    first = (tmp_path / "all" / f"{jobs[0].run_id}.ipynb").stat().st_size
    assert publishing.write_pages(jobs, tmp_path / "some", first + 10) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see /home/ann/runs", "/home/ann"), ("(/work/x.csv)", "/work/x.csv"), ("'/Users/ann/x'", "/Users/ann"),
        ("in /tmp/abc", "/tmp/abc"), ("runs/home/x", ""), ("https://example.org/home/x", ""),
        ("data:image/webp;base64,AAAA/tmp/BBBB", ""), ("a/b", ""),
    ],
)  # fmt: skip
def test_folders_of_a_machine_are_found_in_a_page(text, found):
    assert names_folder(text) == found


def test_published_tables_keep_whole_numbers_and_round_the_others():
    table = pd.DataFrame({
        "psnr_db": [25.086918, -0.00123456, float("nan")], "bytes": [1411659.0, 3.0, float("nan")], "name": ["a", "b", "c"],
        "seed": [0, 1, 2],
    })  # fmt: skip
    small = rounded(table)
    assert list(small["psnr_db"].head(2)) == [25.087, -0.0012346]
    assert small["psnr_db"].isna().iloc[2]
    assert list(small["bytes"].head(2)) == [1411659.0, 3.0]
    assert list(small.columns) == list(table.columns)


ROOT = Path("/home/somebody/work/runs")
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# One experiment\n", "\n", "Text"], "id": "q1"},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "seed = 0", "outputs": [], "execution_count": 1},
        {
            "cell_type": "code", "metadata": {"tags": ["injected-parameters"], "papermill": {"duration": 1.0}},
            "source": f'# Parameters\nseed = 3\nfolder = "{ROOT}/a"\ndevice = "auto"\ntime_budget = 3.0',
            "outputs": [], "execution_count": 2,
        },
        {
            "cell_type": "code", "metadata": {"tags": ["hide-input"], "execution": {"iopub": "2026"}}, "source": "show()",
            "outputs": [
                {"output_type": "stream", "name": "stderr", "text": "step 1"},
                {"output_type": "stream", "name": "stdout", "text": [f"in {ROOT}/a\n"]},
                {"output_type": "execute_result", "execution_count": 9, "data": {"text/html": f"<p>{ROOT}</p>"}, "metadata": {}},
            ],
            "execution_count": 9,
        },
    ],
    "metadata": {"papermill": {"output_path": str(ROOT)}}, "nbformat": 4, "nbformat_minor": 5,
}  # fmt: skip


def test_a_cleaned_notebook_is_titled_and_free_of_traces():
    before = repr(NOTEBOOK)
    page = clean_notebook(NOTEBOOK, title="plain, 16×", root=ROOT)
    assert page["cells"][0]["source"].startswith("# plain, 16×\n\nText")
    text = repr(page)
    for trace in ("somebody", "papermill", "step 1", "seed = 0", "time_budget"):
        assert trace not in text
    assert "seed = 3" in text
    assert page["cells"][-1]["outputs"][-1]["execution_count"] is None
    assert [cell["id"] for cell in page["cells"]] == ["cell-00", "cell-01", "cell-02"]
    assert clean_notebook(page, title="plain, 16×", root=ROOT) == page
    assert repr(NOTEBOOK) == before
