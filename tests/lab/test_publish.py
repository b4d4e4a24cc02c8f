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
    text, executed = ((folder / name).read_text() for folder, name in (
        (book / "runs", f"{jobs[1].run_id}.ipynb"), (jobs[1].folder, "notebook.ipynb")
    ))  # fmt: skip
    page = json.loads(text)
    assert page["cells"][0]["source"].startswith("# plain from KLT, 64× (16×16×4), seed 0")
    assert [cell["id"] for cell in page["cells"]] == [f"cell-{index:02d}" for index in range(len(page["cells"]))]
    for trace in (str(jobs[0].folder.parent), '"start_time"', "step 2 of 2, loss"):
        assert trace in executed
        assert trace not in text
    assert "steps = 200" not in text, "the cell of default parameters"
    assert {cell.get("execution_count") for cell in page["cells"]} == {None}
    assert clean_notebook(page, title=page["cells"][0]["source"].splitlines()[0][2:], root=BOOK) == page
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


def test_a_publication_that_fails_changes_nothing_and_one_that_was_killed_is_replaced(finished, book, monkeypatch):
    plan, jobs = finished
    before = contents_of(book)
    monkeypatch.setattr(publishing.results, "environment", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(plan, jobs, book)
    monkeypatch.undo()
    assert contents_of(book) == before
    assert not list(book.glob(".publish-*"))
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(plan, jobs, book)
    monkeypatch.undo()
    publish(plan, jobs[:1], book)
    assert [path.stem for path in (book / "runs").glob("*.ipynb")] == [jobs[0].run_id]
    assert {name for name in contents_of(book) if name.startswith("results/images")} <= owned(book)


def test_folders_that_are_no_book_and_incomplete_plans_are_refused(finished, book, tmp_path, capsys):
    plan, jobs = finished
    more, before = build_plan("tiny", {**PLAN, "seed": [0, 1]}), contents_of(book)
    with pytest.raises(ResultsError, match="give the folder 'book' of a checkout"):
        publish(plan, jobs, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ResultsError, match="run 'sarlab sweep tiny' first"):
        publish(plan, jobs_of(plan, tmp_path), book)
    with pytest.raises(ResultsError, match=r"plan 'tiny' is not complete: .*-s1-\w+ \(waiting\)"):
        publish(more, jobs_of(more, jobs[0].folder.parent), book, tracked=True)
    assert main(["publish", "smoke", "--runs", str(book.parent), "--book", str(book)]) == 1
    assert "'sarlab status smoke' shows" in capsys.readouterr().err
    assert contents_of(book) == before


def test_a_report_replaces_no_folder_that_it_did_not_make(tmp_path):
    shutil.copytree(BOOK, tmp_path / "book")
    before = contents_of(tmp_path)
    with pytest.raises(ResultsError, match="was not made by 'sarlab report'"):
        stage(tmp_path)
    assert contents_of(tmp_path) == before
    (tmp_path / "html").mkdir()
    with pytest.raises(ResultsError, match="was not made by"):
        publishing.render(stage(tmp_path / "new"), tmp_path)


def test_one_seed_of_each_architecture_and_ratio_has_a_page_unless_its_scenes_are_downloads_or_files(tmp_path):
    grid = {"model": {"architecture": "plain", "latent_channels": [4, 16], "depth": [0, 1]}, "seed": [1, 0]}
    jobs = jobs_of(build_plan("grid", {**grid, "quantizer": {"scheme": "float16", "bits": [16]}}), tmp_path)
    jobs += jobs_of(build_plan("grid", grid), tmp_path)
    chosen = [(job.spec.model.latent_channels, job.spec.seed, job.spec.quantizer.bits) for job in with_pages(jobs)]
    assert chosen == [(16, 0, 32), (4, 0, 32)], "the ratio nearest to 16 first"
    shown = []
    for source in ("bigearthnet", "simulated-l1", "sentinel1-all", "sen1floods11", "umbra-tanna", "/data/mine.tif"):
        spec = replace(jobs[0].spec, scenes=replace(jobs[0].spec.scenes, source=source))
        shown += [source] * len(with_pages([replace(jobs[0], spec=spec)]))
    assert shown == ["bigearthnet", "simulated-l1", "sentinel1-all"]


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
    table = pd.DataFrame(
        {"psnr_db": [25.086918, -0.00123456, None], "bytes": [1411659.0, 3, None], "name": ["a", "b", "c"]}
    )
    pd.testing.assert_frame_equal(rounded(table), table.assign(psnr_db=[25.087, -0.0012346, None]), rtol=0, atol=1e-12)
