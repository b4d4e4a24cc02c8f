"""`sarlab scenes` and `sarlab fetch` as a user calls them."""

import json

import numpy as np
import pytest

from sarlab.cli import main
from sarlab.scenes import downloads
from sarlab.scenes.catalog import load_split
from sarlab.specs import SceneSpec


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SARLAB_CACHE", str(tmp_path / "cache"))


def test_the_list_names_everything_and_says_what_is_at_hand(capsys):
    assert main(["scenes", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    embedded = rows["bigearthnet"]
    assert embedded["at_hand"]
    assert embedded["split"] == {"train": 6, "validation": 1, "test": 1, "independent": 4}
    assert embedded["pixels"] == 24 * 120**2
    assert "Copernicus" in embedded["credit"]
    assert 0 <= embedded["duplicate_share"] < 0.03
    assert not rows["sen1floods11"]["at_hand"]
    assert rows["sen1floods11"]["pixels"] is None
    assert rows["simulated-l64"]["looks"] == 64
    assert main(["scenes"]) == 0
    text = capsys.readouterr().out
    for name in rows:
        assert name in text
    assert "sarlab fetch umbra-tanna" in text
    assert "CC BY 4.0" in text


def test_show_tells_the_split_of_a_file(tmp_path, capsys):
    path = tmp_path / "mine.npy"
    np.save(path, np.random.default_rng(0).normal(-12, 2, (400, 400)).astype(np.float32))
    assert main(["scenes", "show", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [s["role"] for s in report["scenes"]] == ["train", "validation", "test"]
    assert "guard of 64 pixels" in report["note"]
    assert report["digest"] == load_split(SceneSpec(str(path))).digest
    assert main(["scenes", "show", "bigearthnet"]) == 0
    text = capsys.readouterr().out
    assert "360×240" in text
    assert "clip range VV" in text


def test_pack_and_use(tmp_path, capsys):
    out = tmp_path / "scenes.npz"
    assert main(["scenes", "pack", str(out), "bigearthnet", "simulated-l1"]) == 0
    assert f"{out}#bigearthnet" in capsys.readouterr().out
    assert main(["scenes", "show", f"{out}#bigearthnet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == load_split(SceneSpec("bigearthnet")).digest
    np.save(tmp_path / "a.npy", np.full((20, 20), 7, np.uint8))
    assert main(["scenes", "pack", str(out), str(tmp_path / "a.npy"), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["digests"]) == ["a"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["scenes", "show", "nothing"], "no scenes named 'nothing'"),
        (["scenes", "show", "nowhere/x.tif"], "no such file or folder"),
        (["scenes", "pack", "{tmp}/x.npz", "nothing"], "no scenes named"),
        (["scenes", "pack", "{tmp}/x.txt", "bigearthnet"], "a pack is a .npz file"),
        (["fetch", "nothing"], "nothing to fetch by the name"),
        (["scenes", "show", "sen1floods11"], "sarlab fetch sen1floods11"),
    ],
)
def test_errors_are_one_sentence_without_a_traceback(argv, message, tmp_path, capsys):
    assert main([word.format(tmp=tmp_path) for word in argv]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sarlab: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == []


def test_fetch_goes_on_after_a_file_that_has_moved(tmp_path, monkeypatch, capsys):
    from sarlab.errors import SceneError
    from sarlab.scenes import fetch as module

    def fake(file, folder, *, progress):
        if file.filename.startswith("Ghana"):
            raise SceneError("the server answers 404")
        return folder / file.filename

    monkeypatch.setattr(module, "fetch", fake)
    assert main(["fetch", "sen1floods11", "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 6
    assert "2 of the files could not be fetched" in err


def test_every_download_has_an_address_and_chips_are_pinned():
    for source in downloads.SOURCES.values():
        assert source.license
        assert source.credit
        for file in source.files:
            assert file.url.startswith("https://")
            assert "/" not in file.filename
    assert all(len(f.sha256) == 64 and f.size for f in downloads.SOURCES["sen1floods11"].files)
