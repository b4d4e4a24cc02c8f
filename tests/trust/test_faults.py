"""Commands that are killed at any moment, run out of room, or meet damaged files: no wrong result, nothing half-written, no litter."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sarlab.scenes.scene import Scene
from sarlab.scenes.writers import write_geotiff

#: Kills of each command: few in the tests, 200 in all by `make trust`.
KILLS = int(os.environ.get("SARLAB_KILLS", "2"))
BOOK = Path(__file__).parents[2] / "book"
TRAINING = 'name = "small-1"\nkind = "factorized"\nsource = "bigearthnet"\nwidth = 4\nsteps = 6\nbatch_size = 1\npatch_size = 64\nvalidate_every = 3\nthreads = 1\n'
PLAN = (Path(__file__).parent / "tiny.toml").read_text()
#: Columns of rows that are times.
TIMES = ["train_seconds", "train_pixels_per_s", "encode_mpx_per_s", "decode_mpx_per_s", "peak_memory_mb"]


def start(folder, *arguments, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "sarlab", *map(str, arguments)], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
    )  # fmt: skip


def run(folder, *arguments, **options):
    process = start(folder, *arguments, **options)
    said = process.communicate(timeout=600)[0]
    return process.returncode, said


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def kill_at_random(folder, command, seconds, check, number):
    """Start a command, kill all of its processes at a random moment, and check what it left; `number` times."""
    rng = random.Random(repr(command))
    for _ in range(number):
        process = start(folder, *command)
        time.sleep(rng.uniform(0, seconds))
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.communicate()
        check()


def scene(folder):
    rng = np.random.default_rng(0)
    data = rng.gamma(4, 0.25, (1, 700, 800)).astype(np.float32)
    data[:, :90] = np.nan
    write_geotiff(Scene(data, "intensity", ("VV",), "a"), folder / "a.tif")


def timed(folder, *command):
    """Run a command to its end: its seconds."""
    begin = time.monotonic()
    code, said = run(folder, *command)
    assert code == 0, said
    return time.monotonic() - begin


@pytest.mark.parametrize(
    "target", ["a.sarl", *(pytest.param(name, marks=pytest.mark.slow) for name in ("b.tif", "b.zarr"))]
)
def test_compress_and_decompress_killed(target, tmp_path):
    scene(tmp_path)
    if target != "a.sarl":
        run(tmp_path, "compress", "a.tif", "a.sarl")
    command = ["compress", "a.tif", target] if target == "a.sarl" else ["decompress", "a.sarl", target]
    (tmp_path / "whole").mkdir()
    seconds = timed(tmp_path, *command)
    (tmp_path / target).rename(tmp_path / "whole" / target)

    def content(path):
        return {name: (path / name).read_bytes() for name in files(path)} if path.is_dir() else path.read_bytes()

    def check():
        if (tmp_path / target).exists():
            assert content(tmp_path / target) == content(tmp_path / "whole" / target)
            shutil.rmtree(tmp_path / target) if (tmp_path / target).is_dir() else (tmp_path / target).unlink()

    kill_at_random(tmp_path, command, 1.1 * seconds, check, KILLS)
    timed(tmp_path, *command)
    check()
    assert [one for one in os.listdir(tmp_path) if one.startswith(".")] == []


@pytest.mark.slow
def test_a_training_killed_goes_on_to_the_same_weights(tmp_path):
    (tmp_path / "plan.toml").write_text(TRAINING)
    command = ["train", "plan.toml", "--out", "m.safetensors", "--checkpoint", "m.checkpoint", "--quiet"]
    seconds = timed(tmp_path, *command)
    wanted = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "m.safetensors").unlink()
    (tmp_path / "m.checkpoint").unlink(missing_ok=True)

    def check():
        if (tmp_path / "m.safetensors").exists():
            assert (tmp_path / "m.safetensors").read_bytes() == wanted
            (tmp_path / "m.safetensors").unlink()
            (tmp_path / "m.checkpoint").unlink(missing_ok=True)

    kill_at_random(tmp_path, command, seconds, check, max(1, KILLS // 4))
    timed(tmp_path, *command)
    assert (tmp_path / "m.safetensors").read_bytes() == wanted
    assert [one for one in os.listdir(tmp_path) if one.startswith(".")] == []


def rows_of(runs):
    tables = [pd.read_csv(path).drop(columns=TIMES, errors="ignore") for path in sorted(runs.glob("*/rows.csv"))]
    return pd.concat(tables, ignore_index=True).to_csv(index=False)


@pytest.mark.slow
def test_a_sweep_and_a_publication_killed(tmp_path):
    (tmp_path / "tiny.toml").write_text(PLAN)
    sweep = ["sweep", "tiny.toml", "--runs", "runs", "--engine", "inline", "--no-notebook"]
    seconds = timed(tmp_path, *sweep)
    wanted = rows_of(tmp_path / "runs")
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/manifest.json")}
    shutil.copytree(tmp_path / "runs", tmp_path / "done")
    shutil.rmtree(tmp_path / "runs")
    complete = {}

    def check():
        """What is complete stays so: no run is computed twice."""
        from sarlab.lab.runs import is_complete

        for path, stamp in complete.items():
            assert path.stat().st_mtime_ns == stamp, "finished work was done again"
        complete.update({path: path.stat().st_mtime_ns for path in finished if is_complete(path.parent)})

    kill_at_random(tmp_path, sweep, seconds, check, KILLS)
    timed(tmp_path, *sweep)
    assert rows_of(tmp_path / "runs") == wanted
    assert files(tmp_path / "runs") == files(tmp_path / "done")

    book = tmp_path / "book"
    shutil.copytree(BOOK, book, ignore=shutil.ignore_patterns("runs", "results"))
    publish = ["publish", "tiny.toml", "--runs", "runs", "--book", str(book)]
    seconds = timed(tmp_path, *publish)
    published = {name: (book / name).read_bytes() for name in files(book) if not name.endswith("manifest.json")}
    kill_at_random(tmp_path, publish, seconds, lambda: None, KILLS)
    timed(tmp_path, *publish)
    assert {name: (book / name).read_bytes() for name in files(book) if not name.endswith("manifest.json")} == published


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk(tmp_path):
    """Every command says so, leaves nothing half-written, and works once there is room."""
    scene(tmp_path)
    run(tmp_path, "compress", "a.tif", "a.sarl")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with contextlib.suppress(OSError), (small / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        for command in (
            ["compress", "a.tif", "small/a.sarl"], ["decompress", "a.sarl", "small/b.tif"], ["decompress", "a.sarl", "small/b.npy"],
            ["evaluate", "--scenes", "a.tif", "--codecs", "lapped", "--bpp", "1", "--out", "small/rows.csv"],
        ):  # fmt: skip
            code, said = run(tmp_path, *command)
            assert code == 1, (command, said)
            assert "Traceback" not in said
            assert files(small) == ["filler"], command
        (small / "filler").unlink()
        assert run(tmp_path, "compress", "a.tif", "small/a.sarl")[0] == 0
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_an_input_that_changes_while_it_is_read(tmp_path):
    """A file that is cut off in the middle of compression is an error, not a shorter scene."""
    scene(tmp_path)
    data = (tmp_path / "a.tif").read_bytes()
    for share in (0.3, 0.7):
        process = start(tmp_path, "compress", "a.tif", "a.sarl", "--workers", "1")
        time.sleep(share)
        (tmp_path / "a.tif").write_bytes(data[: len(data) // 3])
        said = process.communicate()[0]
        (tmp_path / "a.tif").write_bytes(data)
        if process.returncode:
            assert "Traceback" not in said, said
            assert not (tmp_path / "a.sarl").exists()
        (tmp_path / "a.sarl").unlink(missing_ok=True)


def test_two_writers_of_one_file(tmp_path):
    scene(tmp_path)
    both = [start(tmp_path, "compress", "a.tif", "a.sarl", "--force", "--quality", quality) for quality in ("20", "30")]
    for process in both:
        said = process.communicate()[0]
        assert process.returncode == 0, said
    run(tmp_path, "compress", "a.tif", "c.sarl", "--quality", "20")
    run(tmp_path, "compress", "a.tif", "d.sarl", "--quality", "30")
    assert (tmp_path / "a.sarl").read_bytes() in [(tmp_path / name).read_bytes() for name in ("c.sarl", "d.sarl")]
    assert [one for one in os.listdir(tmp_path) if one.startswith(".")] == []


@pytest.mark.slow
def test_results_that_were_damaged_are_made_again_and_dates_do_not_matter(tmp_path):
    """A file of a finished run that is cut off: the sweep says so and repairs it, with the same rows."""
    (tmp_path / "tiny.toml").write_text(PLAN)
    sweep = ["sweep", "tiny.toml", "--runs", "runs", "--engine", "inline", "--no-notebook"]
    timed(tmp_path, *sweep)
    wanted = rows_of(tmp_path / "runs")
    folder = next((tmp_path / "runs").glob("plain*"))
    names = [
        path.name
        for path in folder.iterdir()
        if path.is_file() and path.name in json.loads((folder / "manifest.json").read_text())["files"]
    ]
    for name in ("manifest.json", *random.Random(1).sample(names, min(KILLS, len(names)))):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        code, said = run(tmp_path, "status", "--runs", "runs", "--json")
        assert code == 0
        assert any(one["state"] == "damaged" for one in json.loads(said)["runs"]), name
        timed(tmp_path, *sweep)
        assert rows_of(tmp_path / "runs") == wanted
    stamps = {path: number % 2 * 4e9 for number, path in enumerate(sorted((tmp_path / "runs").rglob("*.*")))}
    for path, stamp in stamps.items():
        os.utime(path, (stamp, stamp))
    timed(tmp_path, *sweep)
    assert {path: path.stat().st_mtime for path in stamps} == stamps, "a clock that jumps makes nothing incomplete"
