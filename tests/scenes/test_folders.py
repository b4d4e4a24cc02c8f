"""Files and folders as lists of scenes."""

import json

import numpy as np
import pytest

from sarlab.errors import SceneError
from sarlab.scenes.collection import find_scenes
from sarlab.scenes.splits import split_scenes


def speckled(seed, side=96):
    return np.random.default_rng(seed).normal(-12, 2, (1, side, side)).astype(np.float32)


def test_a_folder_sets_bad_files_aside_and_goes_on(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"good{i}.npy", speckled(i))
    np.save(tmp_path / "empty.npy", np.full((8, 8), np.nan, np.float32))
    np.save(tmp_path / "ambiguous.npy", np.abs(speckled(1)))
    (tmp_path / "broken.tif").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / ".hidden.npy").write_bytes(b"")
    found = find_scenes(tmp_path)
    assert [s.name for s in found.scenes] == ["good0", "good1", "good2"]
    assert {name for name, _ in found.excluded} == {"empty", "ambiguous", "broken"}
    assert [s.name for s in found.empty] == ["empty"]
    split = split_scenes(found.scenes, {}, found.excluded, found.empty, found.note)
    assert split.reason("empty") == "every sample is nodata or NaN"
    assert split.reason("good0") == ""
    assert "empty" in [s.name for s in split.test]
    assert "Left out" in split.note
    assert str(tmp_path) not in json.dumps(split.excluded)


def test_a_folder_without_a_usable_scene_is_refused(tmp_path):
    with pytest.raises(SceneError, match="contains no image"):
        find_scenes(tmp_path)
    np.save(tmp_path / "empty.npy", np.full((8, 8), np.nan, np.float32))
    with pytest.raises(SceneError, match=r"no usable scene.*empty: every sample"):
        find_scenes(tmp_path)


def test_polarizations_in_files_of_their_own_become_bands(tmp_path):
    for date in ("one", "two"):
        (tmp_path / date).mkdir()
        for i, band in enumerate(("VH", "VV")):
            np.save(tmp_path / date / f"{band}.npy", speckled(i))
    found = find_scenes(tmp_path)
    assert [(s.name, s.bands, s.acquisition) for s in found.scenes] == [
        ("one", ("VV", "VH"), "one"),
        ("two", ("VV", "VH"), "two"),
    ]
    assert np.array_equal(found.scenes[0].data[0], speckled(1)[0])


def test_different_sizes_and_different_folders_stay_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "image.npy", speckled(0))
    np.save(tmp_path / "c_VV.npy", speckled(0, 20))
    np.save(tmp_path / "c_VH.npy", speckled(0, 30))
    assert [s.name for s in find_scenes(tmp_path).scenes] == ["a-image", "b-image", "c_VH", "c_VV"]


def test_a_huge_scene_is_represented_by_its_center(tmp_path, monkeypatch):
    monkeypatch.setattr("sarlab.scenes.collection.LARGEST_SIDE", 64)
    np.save(tmp_path / "huge.npy", speckled(0, 100))
    found = find_scenes(tmp_path / "huge.npy")
    assert np.array_equal(found.scenes[0].data, speckled(0, 100)[:, 18:82, 18:82])
    assert "central 64×64" in found.note


def test_two_dates_with_two_polarizations_each(shared_data):
    found = find_scenes(shared_data / "ssl4eo_s1")
    assert [(s.bands, s.shape) for s in found.scenes] == [(("VV", "VH"), (2, 264, 264))] * 2
    assert {s.acquisition[:25] for s in found.scenes} == {"S1A_IW_GRDH_1SDV_20200607", "S1A_IW_GRDH_1SDV_20200903"}


def test_product_folders_in_a_folder_are_one_scene_each(shared_data, tmp_path):
    safe = next((shared_data / "sentinel1_safe").glob("*.SAFE"))
    (tmp_path / safe.name).symlink_to(safe)
    np.save(tmp_path / "other.npy", speckled(0))
    found = find_scenes(tmp_path)
    assert [(s.bands, s.shape) for s in found.scenes] == [(("VV", "VH"), (2, 1000, 1000)), (("band1",), (1, 96, 96))]
    assert [s.bands for s in find_scenes(safe).scenes] == [("VV", "VH")]
