"""Collections: the TOML file, the split by place, levels, missing files; files and folders as lists of scenes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sarlab.errors import SceneError
from sarlab.scenes.catalog import available, find_collection, load_split, reference_normalizers, sentinel1
from sarlab.scenes.collection import Record, at_level, find_scenes, read_collection
from sarlab.scenes.radiometry import FLOOR_TAG, Normalizer, from_db, to_db
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split, split_scenes
from sarlab.specs import SceneSpec

RANGES = {"VV": Normalizer(-25, 3), "VH": Normalizer(-31, -4)}
THREE = """
title = "Mine"
[[place]]
name = "A"
role = "train"
scenes = [{ name = "a", pass = "1", file = "a.npy", quantity = "db" }]
[[place]]
name = "B"
role = "validation"
quantity = "db"
scenes = [{ name = "b", pass = "2", file = "b.npy" }]
[[place]]
name = "C"
role = "test"
quantity = "amplitude"
calibrated = false
land_cover = "city"
license = "MIT"
scenes = [{ name = "c", pass = "3", files = ["c1.npy", "c2.npy"], bands = ["VV", "VH"], looks = 4 }]
"""


@pytest.fixture
def mine(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", draw.normal(-12, 2, (64, 70)).astype(np.float32))
    for name in ("c1", "c2"):
        np.save(tmp_path / f"{name}.npy", draw.integers(0, 900, (80, 90), dtype=np.uint16))
    (tmp_path / "mine.toml").write_text(THREE)
    return tmp_path / "mine.toml"


def test_a_collection_of_your_own_is_a_source(mine):
    split = load_split(SceneSpec(str(mine)))
    ((a,), (b,), (c,)) = split.train, split.validation, split.test
    assert (a.name, b.place, c.acquisition, c.bands) == ("a", "B", "3", ("VV", "VH"))
    assert (c.land_cover, c.license, c.looks, c.quantity) == ("city", "MIT", 4, "db")
    assert (a.seen_in_training, b.seen_in_training, c.seen_in_training) == ("true", "false", "false")
    assert "Split by place" in split.note
    assert "clip range: c." in split.note
    for band, plane in zip(c.bands, c.data, strict=True):
        middle = (split.normalizers[band].low + split.normalizers[band].high) / 2
        assert np.median(plane) == pytest.approx(middle, abs=0.011)
    native = np.load(mine.parent / "c1.npy")
    assert np.array_equal(from_db(c).data[0] == 0, native == 0)


def test_missing_files_are_listed_and_left_out_on_request(mine):
    assert find_collection(str(mine)).missing == []
    fourth = THREE[THREE.rindex("[[place]]") :].replace('"C"', '"D"').replace('"c"', '"d"').replace('"3"', '"4"')
    mine.write_text(THREE + fourth.replace("c1", "d1"))
    with pytest.raises(SceneError, match=r"1 of 6 files are missing in .*: d1.npy; .*allow_missing"):
        load_split(SceneSpec(str(mine)))
    split = load_split(SceneSpec(str(mine), allow_missing=True))
    assert [scene.name for scene in split.test] == ["c"]
    assert "Left out because their files are missing: d." in split.note
    (mine.parent / "c1.npy").unlink()
    with pytest.raises(SceneError, match="no scene with the role test"):
        load_split(SceneSpec(str(mine), allow_missing=True))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title", "titel", "no keys but title"),
        ('role = "test"', 'role = "exam"', "unknown role 'exam'"),
        ("calibrated", "calibrate", "unknown key 'calibrate'"),
        ('name = "c"', 'name = "b"', "two scenes are named 'b'"),
        ('name = "C"', 'name = "A"', "place 'A' has the roles train and test"),
        ('pass = "3"', 'pass = "1"', "pass '1' has the roles train and test"),
        (', pass = "3"', "", "there is no 'pass'"),
        ("[[place]]", "[[place", "not a usable collection"),
        ("title", 'extends = ["nothing"]\ntitle', "not a usable collection"),
        (THREE[THREE.index("[[place]]") :], "", "needs places with scenes"),
    ],
)
def test_faults_of_the_file_are_named(mine, old, new, message):
    mine.write_text(THREE.replace(old, new))
    with pytest.raises(SceneError, match=message):
        read_collection(mine, mine.parent)


def test_a_known_factor_is_added_and_an_unknown_one_replaced_by_the_median():
    digits = np.random.default_rng(1).integers(0, 400, (2, 50, 50)).astype(np.float32)
    scene = to_db(Scene(digits, "amplitude", ("VV", "HH"), dtype="uint16"))
    known = at_level(scene, RANGES, True, -50.0)
    assert known.data == pytest.approx(scene.data - 50, abs=1e-5)
    assert known.dtype == "float32"
    unknown = at_level(scene, RANGES, False)
    assert np.median(unknown.data[0]) == pytest.approx(-11, abs=0.006)
    assert np.array_equal(unknown.data[1], scene.data[1])  # a band without a clip range keeps its level
    for one in (known, unknown):
        assert set(json.loads(one.tags[FLOOR_TAG])) == {"VV", "HH"}
        assert np.array_equal(from_db(one).data == 0, digits == 0)
    assert at_level(scene, RANGES, True) is scene
    data = np.random.default_rng(2).normal(40, 2, (1, 50, 50)).astype(np.float32)
    data[:, :20] = np.nan
    moved = at_level(Scene(data, "db", ("VV",)), RANGES, False)
    assert np.nanmedian(moved.data) == pytest.approx(-11, abs=0.006)
    assert np.array_equal(np.isnan(moved.data), np.isnan(data))


def test_a_leak_is_found(find_leaks):
    """A block of a test scene, at another level and position, in a training scene; one place in two roles; close ground."""
    train, test = (Scene(speckled(i), "db", ("VV",), name=n, place=n, acquisition=n) for i, n in enumerate("ab"))
    records = [Record(n, n, role, n, (), lonlat=(i, 0)) for i, (n, role) in enumerate((("a", "train"), ("b", "test")))]
    assert find_leaks(Split((train,), (), (test,)), records) == []
    data = train.data.copy()
    data[0, 11:40, 17:60] = test.data[0, 30:59, 20:63] - 7
    spoiled = replace(train, data=data, place="b")
    close = [replace(record, lonlat=(0, 0)) for record in records]
    kinds = [kind for kind, *_ in find_leaks(Split((spoiled,), (), (test,)), close)]
    assert kinds[:2] == ["place or pass", "ground"]
    assert "runs of pixels" in kinds[2]


# The collection sentinel1-all


def test_the_collection_needs_a_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("SARLAB_DATA", raising=False)
    with pytest.raises(SceneError, match=f"missing in {tmp_path}"):
        load_split(SceneSpec(f"sentinel1-all:{tmp_path}"))
    assert not available("sentinel1-all")
    split = load_split(SceneSpec("sentinel1-all", allow_missing=True))
    assert split.digest == load_split(SceneSpec("sentinel1")).digest
    with pytest.raises(SceneError, match="are in dB"):
        load_split(SceneSpec("sentinel1-all", "amplitude", allow_missing=True))


def test_the_collection_extends_the_embedded_scenes_and_does_not_leak(shared_data, monkeypatch, find_leaks):
    monkeypatch.setenv("SARLAB_DATA", str(shared_data))
    found = find_collection("sentinel1-all")
    assert found.records[: len(sentinel1().records)] == sentinel1().records
    assert len({record.acquisition for record in found.records}) >= 25
    for record in found.records:
        for name in ("land_cover", "mode", "license", "credit", "quantity", "looks"):
            assert getattr(record, name), (record.name, name)
    if found.missing:
        pytest.skip(f"{len(found.missing)} files are missing in {shared_data}")
    split = load_split(SceneSpec("sentinel1-all"))
    assert find_leaks(split, found.records) == []
    for band in ("VV", "VH"):
        assert len({scene.acquisition for scene in split.test if band in scene.bands}) >= 5
    assert dict(split.normalizers) == reference_normalizers()


# Files and folders


def speckled(seed, side=96):
    return np.random.default_rng(seed).normal(-12, 2, (1, side, side)).astype(np.float32)


def test_a_folder_sets_bad_files_aside_and_goes_on(tmp_path):
    with pytest.raises(SceneError, match="contains no image"):
        find_scenes(tmp_path)
    np.save(tmp_path / "empty.npy", np.full((8, 8), np.nan, np.float32))
    with pytest.raises(SceneError, match=r"none of 1 images .*empty: every sample"):
        find_scenes(tmp_path)
    for i, name in enumerate(("good0", "good1", "good2", "mangle")):
        np.save(tmp_path / f"{name}.npy", speckled(i))
    np.save(tmp_path / "ambiguous.npy", np.abs(speckled(1)))
    (tmp_path / "broken.tif").write_bytes(b"no image")
    for name in ("N00E010_20_linci", "S1_RTC30_ls_map", "OPERA_L2_RTC-S1_mask"):
        np.save(tmp_path / f"{name}.npy", speckled(5))
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / ".hidden.npy").write_bytes(b"")
    found = find_scenes(tmp_path)
    assert [s.name for s in found.scenes] == ["good0", "good1", "good2", "mangle"]
    excluded = dict(found.excluded)
    auxiliary = {name for name, reason in excluded.items() if reason == "no radar image by its name"}
    assert auxiliary == {"N00E010_20_linci", "S1_RTC30_ls_map", "OPERA_L2_RTC-S1_mask"}
    assert set(excluded) - auxiliary == {"empty", "ambiguous", "broken"}
    assert [s.name for s in found.empty] == ["empty"]
    split = split_scenes(found, {})
    assert (split.reason("empty"), split.reason("good0")) == ("every sample is nodata or NaN", "")
    assert "empty" in [s.name for s in split.test]
    assert "Left out" in split.note
    assert str(tmp_path) not in json.dumps(split.excluded)


def test_polarizations_in_files_of_their_own_become_bands_unless_sizes_differ(tmp_path):
    for date in ("one", "two"):
        (tmp_path / date).mkdir()
        np.save(tmp_path / date / "image.npy", speckled(0))
        for i, band in enumerate(("VH", "VV")):
            np.save(tmp_path / date / f"{band}.npy", speckled(i))
            np.save(tmp_path / f"c_{band}.npy", speckled(i, 20 + i))
    (tmp_path / "one" / "image.tif").write_bytes(b"no image")
    found = find_scenes(tmp_path)
    assert sorted(s.name for s in found.scenes) == ["c_VH", "c_VV", "one", "one-image.npy", "two", "two-image"]
    assert [name for name, _ in found.excluded] == ["one-image.tif"]
    one, two = (s for s in found.scenes if s.shape[0] == 2)
    assert [(s.bands, s.acquisition) for s in (one, two)] == [(("VV", "VH"), n) for n in ("one", "two")]
    assert np.array_equal(one.data[0], speckled(1)[0])


def test_a_huge_scene_is_represented_by_its_center(tmp_path, monkeypatch):
    monkeypatch.setattr("sarlab.scenes.collection.LARGEST_SIDE", 64)
    np.save(tmp_path / "huge.npy", speckled(0, 100))
    found = find_scenes(tmp_path / "huge.npy")
    assert np.array_equal(found.scenes[0].data, speckled(0, 100)[:, 18:82, 18:82])
    assert "central 64×64" in found.note


def test_product_folders_in_a_folder_are_one_scene_each(shared_data, tmp_path):
    safe = next((shared_data / "sentinel1_safe").glob("*.SAFE"))
    (tmp_path / safe.name).symlink_to(safe)
    np.save(tmp_path / "other.npy", speckled(0))
    found = find_scenes(tmp_path).scenes
    assert [(s.bands, s.shape) for s in found] == [(("VV", "VH"), (2, 1000, 1000)), (("band1",), (1, 96, 96))]
    assert [s.bands for s in find_scenes(safe).scenes] == [("VV", "VH")]
