"""Publishing: tables, images, pages and the table of contents of a copy of the book."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sarlab.cli import main
from sarlab.errors import ResultsError
from sarlab.lab import release
from sarlab.lab.contents import find
from sarlab.lab.executors import Settings, execute
from sarlab.lab.jobs import jobs_of
from sarlab.lab.plans import build_plan
from sarlab.lab.publish import publish
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
    chapter = find(yaml.safe_load((book / "_toc.yml").read_text()), "chapters/runs")
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


def contents_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_publication_that_fails_at_the_end_leaves_the_book_as_it_was(published, tmp_path, monkeypatch):
    plan, jobs, _, _ = published
    copy = tmp_path / "book"
    shutil.copytree(ROOT / "book", copy)
    before, folders = contents_of(copy), sorted(copy.rglob("*/"))

    def refuse(path, value):
        raise ResultsError("the manifest, which is written last")

    with monkeypatch.context() as patch:
        patch.setattr("sarlab.lab.publish.write_json", refuse)
        with pytest.raises(ResultsError, match="written last"):
            publish(plan, jobs, copy, tracked=True)
    assert contents_of(copy) == before
    assert sorted(copy.rglob("*/")) == folders
    with pytest.raises(ResultsError, match=r"is no copy of the book, it has no _toc\.yml"):
        publish(plan, jobs, tmp_path / "new" / "book")
    assert not (tmp_path / "new").exists()
    (copy / "_toc.yml").write_text("root: index\n")
    with pytest.raises(ResultsError, match=r"^_toc\.yml: no entry 'chapters/runs'"):
        publish(plan, jobs, copy)
    assert contents_of(copy) == {**before, Path("_toc.yml"): b"root: index\n"}


# --- the tracked report -----------------------------------------------------------------------------------------------


def test_the_tracked_report_is_small_and_free_of_this_machine(published, tmp_path):
    plan, jobs, _, _ = published
    book = tmp_path / "book"
    shutil.copytree(ROOT / "book", book)
    manifest = publish(plan, jobs, book, tracked=True)
    assert manifest["pages"] == 2
    assert manifest["devices"]
    assert manifest["environments"][0]["versions"]["torch"]
    assert release.folder_bytes(book / "results", book / "runs") <= release.ALL_BYTES
    for job in jobs:
        path = book / "runs" / f"{job.run_id}.ipynb"
        assert path.stat().st_size <= release.PAGE_BYTES
        release.check_page(path.stem, json.loads(path.read_text()))
    before = {path: path.read_bytes() for path in book.rglob("*") if path.is_file() and path.name != "manifest.json"}
    publish(plan, jobs, book, tracked=True)
    assert before == {p: p.read_bytes() for p in book.rglob("*") if p.is_file() and p.name != "manifest.json"}
    remarks = [line for line in (ROOT / "book" / "_toc.yml").read_text().splitlines() if line.startswith("#")]
    assert (book / "_toc.yml").read_text().splitlines()[: len(remarks)] == remarks


def test_an_incomplete_plan_is_not_published(published, tmp_path, capsys):
    _plan, jobs, _, _ = published
    more = build_plan("tiny", {**PLAN, "seed": [0, 1]})
    with pytest.raises(ResultsError, match=r"plan 'tiny' is not complete: .*-s1-\w+ \(waiting\)"):
        publish(more, jobs_of(more, jobs[0].folder.parent), tmp_path / "book", tracked=True)
    assert not (tmp_path / "book").exists()
    assert main(["publish", "smoke", "--runs", str(tmp_path), "--book", str(tmp_path / "book")]) == 1
    assert "'sarlab status smoke' says where it stands" in capsys.readouterr().err


def test_one_seed_of_each_architecture_and_ratio_has_a_page(tmp_path):
    grid = {"model": {"architecture": "plain", "latent_channels": [4, 8], "depth": [0, 1]}, "seed": [1, 0]}
    jobs = jobs_of(build_plan("grid", {**grid, "quantizer": {"scheme": "float16", "bits": [16]}}), tmp_path)
    jobs += jobs_of(build_plan("grid", grid), tmp_path)
    chosen = release.with_pages(jobs)
    assert [(job.spec.model.latent_channels, job.spec.seed, job.spec.quantizer.bits) for job in chosen] == [
        (4, 0, 32), (8, 0, 32),
    ]  # fmt: skip
    turns = list(release.in_turn(jobs_of(build_plan("two", {"model": {"architecture": ["klt", "plain"], "init": "klt", "latent_channels": [4, 8]}}), tmp_path)))  # fmt: skip
    assert [job.spec.model.architecture for job in turns] == ["klt", "plain", "klt", "plain"]


def test_scenes_of_a_user_get_no_page_and_no_picture(tmp_path):
    from dataclasses import replace

    job = jobs_of(build_plan("tiny", PLAN), tmp_path)[0]
    assert release.may_be_shown(job)
    spec = replace(job.spec, scenes=replace(job.spec.scenes, source="simulated-l1"))
    assert release.may_be_shown(replace(job, spec=spec))
    for source in ("sen1floods11", "umbra-tanna", "/data/mine.tif"):
        spec = replace(job.spec, scenes=replace(job.spec.scenes, source=source))
        assert not release.may_be_shown(replace(job, spec=spec))


def test_pictures_are_coded_again_until_a_page_fits(published):
    _, jobs, book, _ = published
    page = json.loads((book / "runs" / f"{jobs[1].run_id}.ipynb").read_text())
    whole = release.size(page)
    assert release.shrink(page, whole) == page
    smaller = release.shrink(page, int(0.6 * whole))
    assert release.size(smaller) <= 0.6 * whole
    assert "coded a second time" in smaller["cells"][0]["source"]
    assert "coded a second time" not in page["cells"][0]["source"]
    with pytest.raises(ResultsError, match="a page is"):
        release.shrink(page, 1000)


@pytest.mark.parametrize("text", ["see /home/ann/runs", "(/work/x.csv)", "'/Users/ann/x'", "in /tmp/abc"])
def test_pages_that_name_folders_are_refused(text):
    page = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": text, "id": "a"}]}
    with pytest.raises(ResultsError, match="names a folder of this machine"):
        release.check_page("p", page)


@pytest.mark.parametrize(
    "text", ["runs/home/x", "https://example.org/home/x", "data:image/webp;base64,AAAA/tmp/BBBB", "a/b"]
)
def test_pages_that_name_none_pass(text):
    release.check_page("p", {"cells": [{"cell_type": "markdown", "metadata": {}, "source": text, "id": "a"}]})


def test_tables_of_many_runs_are_read_as_one_by_one(tmp_path):
    from sarlab.lab.publish import _OF, read_together
    from sarlab.lab.results import read_table

    texts = {
        "b": 'x,reason\n1,\n2,"a, b"\n',
        "a": "y,x\n0.5,3\n",
        "c": 'x,reason\n4,"two\nlines"\n',
        "d": "x,reason\n",
        "e": "x,reason\n5,late\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    paths = {name: tmp_path / f"{name}.csv" for name in texts}
    whole = read_together(paths)
    frames = [read_table(path).assign(**{_OF: name}) for name, path in paths.items()]
    expected = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    pd.testing.assert_frame_equal(whole[expected.columns], expected, check_dtype=False)
    assert read_together({"d": paths["d"]}).empty


def test_another_plan_replaces_what_was_published(published, tmp_path):
    plan, jobs, book, _ = published
    copy = tmp_path / "book"
    shutil.copytree(book, copy)
    before = json.loads((copy / "results" / "manifest.json").read_text())
    before["studies"] = {"files": {"name": "files"}}
    (copy / "results" / "manifest.json").write_text(json.dumps(before))
    (copy / "results" / "files.csv").write_text("sweep\nquality\n")
    (copy / "results" / "mine.csv").write_text("a\n1\n")
    (copy / "runs" / "elsewhere.ipynb").write_text("{}")
    publish(plan, jobs, copy)
    left = {path.name for path in (copy / "results").glob("*.csv")}
    assert left >= {"runs.csv", "history.csv", "mine.csv"}
    assert "files.csv" not in left, "a table of the plan that was there before"
    assert not (copy / "runs" / "elsewhere.ipynb").exists()
    assert tables(copy).manifest["studies"] == {}


def test_tables_of_the_tracked_report_keep_whole_numbers_and_round_the_others():
    table = pd.DataFrame({
        "psnr_db": [25.086918, -0.00123456, float("nan")], "bytes": [1411659.0, 3.0, float("nan")], "name": ["a", "b", "c"],
        "seed": [0, 1, 2],
    })  # fmt: skip
    small = release.rounded(table)
    assert list(small["psnr_db"].head(2)) == [25.087, -0.0012346]
    assert small["psnr_db"].isna().iloc[2]
    assert list(small["bytes"].head(2)) == [1411659.0, 3.0]
    assert list(small.columns) == list(table.columns)


def test_histories_of_the_tracked_report_keep_what_was_validated():
    history = pd.DataFrame({"step": [0, 10, 20, 50], "loss": 1.0, "validation_db": [20.0, None, None, 24.0]})
    assert list(release.thin(history)["step"]) == [0, 50]
    assert len(release.thin(history.drop(columns="validation_db"))) == 4


def test_first_pages_span_the_ratios(tmp_path):
    latents = [{"spatial_reduction": 16, "latent_channels": c} for c in (64, 32, 16, 8, 4, 2)]
    plan = build_plan("six", {"experiment": [{"latent": latents, "model": {"architecture": "klt", "init": "klt"}}]})
    ratios = [job.spec.model.dimension_ratio for job in release.spread(jobs_of(plan, tmp_path))]
    assert ratios[:3] == [16, 128, 4]
    assert sorted(ratios) == [4, 8, 16, 32, 64, 128]
    assert release.spread([]) == []
