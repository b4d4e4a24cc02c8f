"""`sarlab scenes` and `sarlab fetch` as a user calls them."""

import json

import numpy as np
import pytest

from sarlab.cli import main
from sarlab.errors import SceneError
from sarlab.scenes.catalog import Entry, load_split
from sarlab.specs import SceneSpec


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SARLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SARLAB_DATA", raising=False)


def test_the_list_names_everything_and_what_is_available(capsys):
    assert main(["scenes", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    embedded, collection = rows["bigearthnet"], rows["sentinel1-all"]
    assert embedded["at_hand"]
    assert embedded["split"] == {"train": 6, "validation": 1, "test": 1, "independent": 4}
    assert embedded["pixels"] == 24 * 120**2
    assert 0 <= embedded["duplicate_share"] < 0.03
    assert (rows["sen1floods11"]["at_hand"], rows["sen1floods11"]["pixels"]) == (False, None)
    assert (rows["sentinel1"]["places"], rows["sentinel1"]["passes"]) == (7, 33)
    assert (collection["at_hand"], collection["files"], collection["files_present"]) == (False, 28, 0)
    assert main(["scenes"]) == 0
    text = capsys.readouterr().out
    for part in (*rows, "0 of 28 files", "sarlab fetch umbra-tanna", "CC BY 4.0", "Copernicus"):
        assert part in text


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


def test_files_of_a_collection_and_which_are_missing(tmp_path, capsys):
    (tmp_path / "sentinel1_more").mkdir()
    (tmp_path / "sentinel1_more" / "panama.tif").touch()
    assert main(["scenes", "files", f"sentinel1-all:{tmp_path}", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["panama"]["present"]
    assert rows["azores"]["present"]
    assert not rows["berlin"]["present"]
    assert main(["scenes", "files", f"sentinel1-all:{tmp_path}"]) == 0
    text = capsys.readouterr().out
    assert f"  {tmp_path / 'sentinel1_more' / 'berlin.tif'}\n" in text
    assert "panama.tif" not in text
    assert "43 of 68 scenes are present" in text
    assert main(["scenes", "show", "sentinel1-all:nowhere", "--allow-missing", "--json"]) == 0
    scenes = {scene["name"]: scene for scene in json.loads(capsys.readouterr().out)["scenes"]}
    assert scenes["morocco-20230916"]["place"] == "Morocco"
    assert scenes["morocco-20230916"]["license"] == "MIT"


def test_fetch_stops_at_a_file_that_cannot_be_had(monkeypatch, capsys):
    def fetch(self, file, *, progress):
        if file.startswith("India"):
            raise SceneError("the server refused the download")
        return file

    monkeypatch.setattr(Entry, "fetch", fetch)
    assert main(["fetch", "sen1floods11"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err == "sarlab: error: the server refused the download\n"
    assert main(["fetch", "umbra-tanna"]) == 0
