"""Bad input on the way through a sweep: one clear sentence, exit status 1, nothing left half-written."""

import numpy as np
import pytest

from sarlab.cli import main
from sarlab.lab.results import read_table
from sarlab.lab.runs import jobs_of, load_plan

PLAN = """
title = "tiny"
[train]
steps = 2
batch_size = 1
patch_size = 32
validate_every = 1
[model]
architecture = ["klt", "plain"]
init = "klt"
width = 4
latent_channels = 4
"""


@pytest.fixture
def sweep(tmp_path, capsys):
    plan = tmp_path / "tiny.toml"
    plan.write_text(PLAN)

    def run(scenes, quantity="db"):
        runs = tmp_path / "runs"
        arguments = ["sweep", str(plan), "--scenes", str(scenes), "--quantity", quantity, "--runs", str(runs)]
        status = main([*arguments, "--engine", "inline"])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        rows = None
        if status == 0:
            jobs = jobs_of(load_plan(plan, scenes=str(scenes), quantity=quantity), runs)
            rows = [read_table(job.folder / "rows.csv") for job in jobs]
        elif runs.exists():
            assert not list(runs.rglob("*.tmp*"))
            assert not list(runs.rglob("manifest.json"))
        return status, captured.err.strip(), rows

    return run


def speckle(shape, seed=0):
    return 10 * np.log10(np.random.default_rng(seed).gamma(4.4, 1 / 4.4, shape)).astype(np.float32) - 10


def saved(path, array):
    np.save(path, array.astype(np.float32))
    return path


def text(path):
    path.write_text("this is not an image\n" * 40)
    return path


@pytest.mark.parametrize(
    ("make", "quantity", "word"),
    [
        (lambda folder: folder / "missing.tif", "db", "missing.tif"),
        (lambda folder: text(folder / "notes.tif"), "db", "notes.tif"),
        (lambda folder: saved(folder / "negative.npy", speckle((64, 64))), "amplitude", "negative"),
        (lambda folder: saved(folder / "empty.npy", np.full((64, 64), np.nan)), "db", "empty"),
    ],
    ids=["missing", "no image", "wrong quantity", "all nodata"],
)
def test_one_sentence_names_the_file(tmp_path, sweep, make, quantity, word):
    status, error, _ = sweep(make(tmp_path), quantity)
    assert status == 1
    assert error.startswith("sarlab: error:")
    assert word in error
    assert "\n" not in error


def lines_of_nan():
    scene = speckle((200, 200))
    scene[:, 90] = scene[140:143] = np.nan
    return scene


@pytest.mark.parametrize(
    ("scene", "measured"),
    [
        (speckle((1, 1)), False), (speckle((17, 1000)), False), (speckle((3, 5)), False), (speckle((129, 63)), False),
        (lines_of_nan(), True), (np.full((160, 160), -12.0), False),
    ],
)  # fmt: skip
def test_odd_shapes_lines_of_nan_and_constants_go_through_with_figures_or_reasons(tmp_path, sweep, scene, measured):
    status, error, rows = sweep(saved(tmp_path / "odd.npy", scene))
    assert status == 0, error
    for frame in rows:
        undefined = frame["psnr_db"].isna()
        assert len(frame)
        assert not (measured and undefined.any())
        assert (frame.loc[undefined, "reason"].astype(str).str.len() > 3).all()


def test_an_empty_scene_in_a_folder_is_a_row_with_its_reason(tmp_path, sweep):
    folder = tmp_path / "scenes"
    folder.mkdir()
    for index in range(4):
        saved(folder / f"scene{index}.npy", speckle((96, 96), index))
    saved(folder / "void.npy", np.full((96, 96), np.nan))
    status, error, rows = sweep(folder)
    assert status == 0, error
    for frame in rows:
        void = frame[frame["scene"].str.contains("void")]
        assert len(void) == 1
        assert void["psnr_db"].isna().all()
        assert void["reason"].str.len().gt(3).all()
        assert frame["psnr_db"].notna().any()
