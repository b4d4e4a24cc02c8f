"""Packs: runs travel whole, and a pack can do nothing but add runs."""

import hashlib
import json
import shutil
import stat
import zipfile

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sarlab.cli import main
from sarlab.errors import ResultsError
from sarlab.lab.jobs import state_of
from sarlab.lab.packing import CONTENTS, FORMAT, pack, unpack

FILES = {"rows.csv": b"run_id,psnr_db\nx,30\n", "weights.safetensors": bytes(range(256)) * 40}


def write_run(folder, files=FILES):
    """A complete run as the laboratory leaves it, with a notebook and a figure beside."""
    (folder / "figures").mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "notebook.ipynb").write_text("{}")
    (folder / "figures" / "scene.png").write_bytes(b"png")
    (folder / ".lock").write_text("123")
    entries = {n: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in files.items()}
    manifest = {"run_id": folder.name, "hash": "a" * 64, "files": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def content(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"
    }


@pytest.fixture
def packed(tmp_path):
    """(runs, pack) of two complete runs, one that failed and a study."""
    runs = tmp_path / "runs"
    for name in ("one-r16", "two-r16"):
        write_run(runs / name)
    (runs / "three-r16").mkdir()
    (runs / "three-r16" / "failure.json").write_text("{}")
    (runs / "studies").mkdir()
    (runs / "studies" / "limits-012abc.csv").write_text("a\n1\n")
    (runs / "studies" / "limits-012abc.json").write_text("{}")
    out = tmp_path / "all.zip"
    done = pack(sorted(runs.glob("*-r16")), out, studies=sorted((runs / "studies").glob("*.csv")))
    assert done.runs == ["one-r16", "two-r16"]
    assert done.studies == ["limits-012abc"]
    assert done.bytes == out.stat().st_size
    return runs, out


def test_runs_arrive_as_they_left(packed, tmp_path):
    runs, out = packed
    done = unpack(out, tmp_path / "there")
    assert done.runs == ["one-r16", "two-r16"]
    for name in ("one-r16", "two-r16", "studies"):
        assert content(tmp_path / "there" / name) == content(runs / name)
    assert state_of(tmp_path / "there" / "one-r16", "a" * 64) == "complete"
    assert not (tmp_path / "there" / "three-r16").exists()


def test_what_is_there_stays(packed, tmp_path):
    _, out = packed
    unpack(out, tmp_path / "there")
    weights = tmp_path / "there" / "one-r16" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    (tmp_path / "there" / "two-r16" / "rows.csv").unlink()
    done = unpack(out, tmp_path / "there")
    assert done.kept == ["one-r16"]
    assert done.runs == ["two-r16"]
    assert weights.stat().st_mtime_ns == before
    assert state_of(tmp_path / "there" / "two-r16", "a" * 64) == "complete"


def test_a_run_that_does_not_match_its_manifest_is_not_packed(packed, tmp_path):
    runs, _ = packed
    weights = runs / "one-r16" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[7] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(ResultsError, match=r"weights.safetensors is not what its manifest says"):
        pack([runs / "one-r16"], tmp_path / "bad.zip")
    assert not (tmp_path / "bad.zip").exists()
    with pytest.raises(ResultsError, match="no complete run to pack"):
        pack([runs / "three-r16"], tmp_path / "bad.zip")


def forge(path, members, table=None, mode=None):
    """A pack with any members and any table of contents."""
    stated = {n: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONTENTS, json.dumps({"format": FORMAT, "files": {**stated, **(table or {})}}))
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            if mode is not None:
                info.external_attr = mode << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json", "runs/../evil.json", "runs/a/../../evil.json", "/tmp/evil.json", "runs/a/.lock", "runs/.a/rows.csv",
        "runs/a/b/c/rows.csv", "runs/a/run.py", "C:\\evil.json", "runs/a\\..\\..\\evil.json", "studies/x.csv", "runs/a/rows.csv\n",
        "runs/a/figures/../rows.csv", "evil.json",
    ],
)  # fmt: skip
def test_names_that_no_pack_may_hold_are_refused(name, tmp_path):
    path = forge(tmp_path / "evil.zip", {name: b"{}"})
    with pytest.raises(ResultsError, match="names a file that no pack may hold"):
        unpack(path, tmp_path / "deep" / "runs")
    assert {item.name for item in tmp_path.rglob("*")} == {"evil.zip"}


def test_links_are_refused(tmp_path):
    path = forge(tmp_path / "evil.zip", {"runs/a/rows.csv": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(ResultsError, match="holds a link"):
        unpack(path, tmp_path / "runs")


def test_sizes_are_bounded_before_anything_is_read(tmp_path):
    path = forge(tmp_path / "big.zip", {"runs/a/rows.csv": b"\0" * 2_000_000})
    assert path.stat().st_size < 20_000
    with pytest.raises(ResultsError, match="raise --most-gb"):
        unpack(path, tmp_path / "runs", most_bytes=1_000_000)
    lie = forge(
        tmp_path / "lie.zip", {"runs/a/rows.csv": b"\0" * 2_000_000}, {"runs/a/rows.csv": {"bytes": 5, "sha256": "0"}}
    )
    with pytest.raises(ResultsError, match="sizes differ"):
        unpack(lie, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_members_beside_the_table_and_twice_are_refused(tmp_path):
    path = forge(tmp_path / "more.zip", {"runs/a/rows.csv": b"1"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("runs/a/history.csv", b"2")
    with pytest.raises(ResultsError, match="other files than its table"):
        unpack(path, tmp_path / "runs")
    twice = forge(tmp_path / "twice.zip", {"runs/a/rows.csv": b"1"})
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("runs/a/rows.csv", b"2")
    with pytest.raises(ResultsError, match="other files than its table"):
        unpack(twice, tmp_path / "runs")


def test_a_run_without_its_own_manifest_is_refused(packed, tmp_path):
    runs, _ = packed
    members = {f"runs/other-r16/{n}": d for n, d in content(runs / "one-r16").items()}
    with pytest.raises(ResultsError, match="belongs to another run"):
        unpack(forge(tmp_path / "a.zip", members), tmp_path / "x")
    members = {f"runs/one-r16/{n}": d for n, d in content(runs / "one-r16").items() if n != "rows.csv"}
    with pytest.raises(ResultsError, match="is not the file that its manifest names"):
        unpack(forge(tmp_path / "b.zip", members), tmp_path / "x")
    del members["runs/one-r16/manifest.json"]
    with pytest.raises(ResultsError, match="no manifest"):
        unpack(forge(tmp_path / "c.zip", members), tmp_path / "x")
    assert not list((tmp_path / "x").glob("*/manifest.json"))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a zip at all" * 50])
def test_other_files_are_said_to_be_none(data, tmp_path, capsys):
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    assert main(["runs", "unpack", str(path), "--runs", str(tmp_path / "runs")]) == 1
    assert "no pack of runs" in capsys.readouterr().err


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(place=0.9992384541175808, bit=0)  # a directory that points before the file
def test_a_flipped_bit_is_an_error_or_changes_nothing(packed, tmp_path, place, bit):
    runs, out = packed
    data = bytearray(out.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    (tmp_path / "flipped.zip").write_bytes(bytes(data))
    target = tmp_path / "flipped"
    try:
        done = unpack(tmp_path / "flipped.zip", target)
    except ResultsError:
        pass
    else:
        for name in done.runs:
            assert content(target / name) == content(runs / name)
    finally:
        assert not [p for p in target.glob("*") if p.name not in ("one-r16", "two-r16", "studies")]
        shutil.rmtree(target, ignore_errors=True)


def test_the_command_line_packs_and_unpacks(packed, tmp_path, capsys):
    runs, _ = packed
    out = tmp_path / "cli.zip"
    assert main(["runs", "pack", str(out), "--runs", str(runs), "--only", "one"]) == 0
    assert "1 runs and 1 studies" in capsys.readouterr().out
    assert main(["runs", "unpack", str(out), "--runs", str(tmp_path / "other")]) == 0
    assert content(tmp_path / "other" / "one-r16") == content(runs / "one-r16")
    assert main(["runs", "unpack", str(out), "--runs", str(tmp_path / "other")]) == 0
    assert "1 there already" in capsys.readouterr().out
    assert main(["runs", "unpack", str(tmp_path / "none.zip"), "--runs", str(tmp_path / "other")]) == 1
    assert "no file" in capsys.readouterr().err
