"""Commands that are killed at any moment, run out of room, or meet damaged files: no wrong result, nothing half-written, no litter."""

import contextlib
import ctypes
import json
import os
import random
import re
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
#: A training of some seconds.
TRAINING = 'name = "small-1"\nkind = "factorized"\nsource = "bigearthnet"\nwidth = 4\nsteps = 6\nbatch_size = 1\npatch_size = 64\nvalidate_every = 3\nthreads = 1\n'
PLAN = (Path(__file__).parent / "tiny.toml").read_text()
SWEEP = ["sweep", "tiny.toml", "--runs", "runs", "--engine", "inline", "--no-notebook"]
#: Columns of rows that are times, and that of a training in the file of its weights.
TIMES = ["train_seconds", "train_pixels_per_s", "encode_mpx_per_s", "decode_mpx_per_s", "peak_memory_mb"]
SECONDS = re.compile(rb'\\"seconds\\": [\d.]+')


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


@pytest.fixture(autouse=True)
def image(tmp_path):
    """The scene of all commands."""
    data = np.random.default_rng(0).gamma(4, 0.25, (1, 700, 800)).astype(np.float32)
    data[:, :90] = np.nan
    write_geotiff(Scene(data, "intensity", ("VV",), "a"), tmp_path / "a.tif")
    return tmp_path / "a.tif"


def timed(folder, *command):
    """Run a command to its end: its seconds."""
    begin = time.monotonic()
    code, said = run(folder, *command)
    assert code == 0, said
    return time.monotonic() - begin


def litter(folder):
    return [name for name in os.listdir(folder) if name.startswith(".")]


#: File or folder that a command writes → the command.
KILLED = {
    "b.sarl": ["compress", "a.tif", "b.sarl"],
    "b.tif": ["decompress", "a.sarl", "b.tif"],
    "b.zarr": ["decompress", "a.sarl", "b.zarr"],
    "m.safetensors": ["train", "plan.toml", "--out", "m.safetensors", "--checkpoint", "m.checkpoint", "--quiet"],
}


@pytest.mark.parametrize("name", ["b.sarl", *(pytest.param(n, marks=pytest.mark.slow) for n in [*KILLED][1:])])
def test_compression_decompression_and_training_killed(name, tmp_path):
    """What stands under the final name is whole; a training goes on to the same weights."""
    (tmp_path / "plan.toml").write_text(TRAINING)
    if name.startswith("b."):
        run(tmp_path, "compress", "a.tif", "a.sarl")
    target, whole = tmp_path / name, tmp_path / "whole"

    def finished():
        """Take away what a command that came to its end has written: its content."""
        target.rename(whole / name)
        (tmp_path / "m.checkpoint").unlink(missing_ok=True)
        content = {file: SECONDS.sub(b"", (whole / file).read_bytes()) for file in files(whole)}
        shutil.rmtree(whole)
        whole.mkdir()
        return content

    def check():
        if target.exists():
            assert finished() == wanted

    whole.mkdir()
    seconds = timed(tmp_path, *KILLED[name])
    wanted = finished()
    kill_at_random(tmp_path, KILLED[name], 1.1 * seconds, check, KILLS if name.startswith("b.") else max(1, KILLS // 4))
    timed(tmp_path, *KILLED[name])
    assert finished() == wanted
    assert litter(tmp_path) == []


def rows_of(runs):
    tables = [pd.read_csv(path).drop(columns=TIMES, errors="ignore") for path in sorted(runs.glob("*/rows.csv"))]
    return pd.concat(tables, ignore_index=True).to_csv(index=False)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """(folder with a finished sweep, seconds that it took)."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "tiny.toml").write_text(PLAN)
    return folder, timed(folder, *SWEEP)


@pytest.mark.slow
def test_a_sweep_and_a_publication_killed(swept, tmp_path):
    from sarlab.lab.runs import is_complete

    done, seconds = swept[0] / "runs", swept[1]
    (tmp_path / "tiny.toml").write_text(PLAN)
    runs = [tmp_path / path.parent.relative_to(swept[0]) for path in done.glob("*/manifest.json")]
    complete = {}

    def check():
        """What is complete stays so: no run is computed twice."""
        for path, stamp in complete.items():
            assert path.stat().st_mtime_ns == stamp, "finished work was done again"
        finished = [run / "manifest.json" for run in runs if is_complete(run)]
        complete.update({path: path.stat().st_mtime_ns for path in finished})

    kill_at_random(tmp_path, SWEEP, seconds, check, KILLS)
    timed(tmp_path, *SWEEP)
    assert rows_of(tmp_path / "runs") == rows_of(done)
    assert files(tmp_path / "runs") == files(done)

    book = tmp_path / "book"
    shutil.copytree(BOOK, book, ignore=shutil.ignore_patterns("runs", "results"))
    publish = ["publish", "tiny.toml", "--runs", "runs", "--book", str(book)]

    def published():
        return {name: (book / name).read_bytes() for name in files(book) if not name.endswith("manifest.json")}

    seconds = timed(tmp_path, *publish)
    wanted = published()
    kill_at_random(tmp_path, publish, seconds, lambda: None, KILLS)
    timed(tmp_path, *publish)
    assert published() == wanted


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk(tmp_path):
    """Every command says so, leaves nothing half-written, and works once there is room."""
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


def without_rights_of_root():
    """Drop the capabilities by which root writes and reads everything (`man 7 capabilities`)."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are those of Linux")
def test_a_folder_that_may_not_be_written(tmp_path):
    """Every command says so in one sentence that names what it wanted to write, and leaves nothing."""
    run(tmp_path, "compress", "a.tif", "a.sarl")
    (tmp_path / "small.toml").write_text(TRAINING)
    before = files(tmp_path)
    tmp_path.chmod(0o555)
    try:
        for target, *command in (
            ("b.sarl", "compress", "a.tif", "b.sarl"), *((f"b{end}", "decompress", "a.sarl", f"b{end}") for end in (".tif", ".npy")),
            (".", "train", "small.toml", "--out", "b.safetensors"), ("runs", "sweep", "smoke", "--runs", "runs"),
            (".", "evaluate", "--scenes", "a.tif", "--codecs", "lapped", "--bpp", "1", "--out", "rows.csv"),
            ("site", "report", "--published", "--out", "site"),
        ):  # fmt: skip
            code, said = run(tmp_path, *command, preexec_fn=without_rights_of_root)
            assert code == 1, (command, said)
            assert re.search(
                rf"^sarlab: error: {target}:? cannot be written .*Permission denied", said, re.MULTILINE
            ), said
            assert "Traceback" not in said, said
            assert files(tmp_path) == before, command
    finally:
        tmp_path.chmod(0o755)


def test_an_input_that_changes_while_it_is_read(image, tmp_path):
    """A file that is cut off in the middle of compression is an error, not a shorter scene."""
    data = image.read_bytes()
    for share in (0.3, 0.7):
        process = start(tmp_path, "compress", "a.tif", "a.sarl", "--workers", "1")
        time.sleep(share)
        image.write_bytes(data[: len(data) // 3])
        said = process.communicate()[0]
        image.write_bytes(data)
        if process.returncode:
            assert "Traceback" not in said, said
            assert not (tmp_path / "a.sarl").exists()
        (tmp_path / "a.sarl").unlink(missing_ok=True)


def test_two_writers_of_one_file(tmp_path):
    qualities = ("20", "30")
    both = [start(tmp_path, "compress", "a.tif", "a.sarl", "--force", "--quality", quality) for quality in qualities]
    for process in both:
        said = process.communicate()[0]
        assert process.returncode == 0, said
    for quality in qualities:
        run(tmp_path, "compress", "a.tif", f"{quality}.sarl", "--quality", quality)
    assert (tmp_path / "a.sarl").read_bytes() in [(tmp_path / f"{each}.sarl").read_bytes() for each in qualities]
    assert litter(tmp_path) == []


@pytest.mark.slow
def test_results_that_were_damaged_are_made_again_and_dates_do_not_matter(swept, tmp_path):
    """A file of a finished run that is cut off: the sweep says so and repairs it, with the same rows."""
    shutil.copytree(swept[0], tmp_path, dirs_exist_ok=True)
    wanted = rows_of(tmp_path / "runs")
    folder = next((tmp_path / "runs").glob("plain*"))
    stated = json.loads((folder / "manifest.json").read_text())["files"]
    names = [path.name for path in folder.iterdir() if path.is_file() and path.name in stated]
    for name in ("manifest.json", *random.Random(1).sample(names, min(KILLS, len(names)))):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        code, said = run(tmp_path, "status", "--runs", "runs", "--json")
        assert code == 0
        assert any(one["state"] == "damaged" for one in json.loads(said)["runs"]), name
        timed(tmp_path, *SWEEP)
        assert rows_of(tmp_path / "runs") == wanted
    stamps = {path: number % 2 * 4e9 for number, path in enumerate(sorted((tmp_path / "runs").rglob("*.*")))}
    for path, stamp in stamps.items():
        os.utime(path, (stamp, stamp))
    timed(tmp_path, *SWEEP)
    assert {path: path.stat().st_mtime for path in stamps} == stamps, "a clock that jumps makes nothing incomplete"
