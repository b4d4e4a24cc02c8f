"""Embedded scenes, their container, and the catalog by name."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarlab.errors import SceneError
from sarlab.scenes import packing
from sarlab.scenes.catalog import Entry, catalog_entries, load_optical_control, load_scene, load_split
from sarlab.scenes.embedded import ASSETS, embedded_scenes, embedded_split, reference_normalizers
from sarlab.scenes.splits import scene_duplicate_share
from sarlab.specs import SceneSpec

MAIN = "S1B_IW_GRDH_1SDV_20170612T165809"


@settings(max_examples=20)
@given(hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=17), elements=st.integers(-8000, 8000)))
def test_planes_survive_packing(planes):
    assert np.array_equal(packing.decode_planes(packing.encode_planes(planes), planes.shape), planes)


def test_damaged_planes_are_refused():
    planes = np.random.default_rng(0).integers(-900, 900, (2, 16, 16))
    data = packing.encode_planes(planes)
    for bad, shape in ((data[:-9], (2, 16, 16)), (data, (2, 16, 8)), (data, (2, 32, 16)), (b"\xff" * 40, (2, 16, 16))):
        with pytest.raises(SceneError, match="damaged"):
            packing.decode_planes(bad, shape)
    with pytest.raises(SceneError, match="impossible shape"):
        packing.decode_planes(data, (1 << 20, 1 << 20, 1))
    with pytest.raises(SceneError, match="too large"):
        packing.encode_planes(np.full((1, 2, 2), 40_000))


def test_a_foreign_file_is_no_asset(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(SceneError, match="install the package again"):
        packing.read_asset(tmp_path / "x.npz")
    with pytest.raises(SceneError, match="install the package again"):
        packing.read_asset(tmp_path / "missing.npz")


def test_assets_are_small_and_licensed():
    assert sum(f.stat().st_size for f in ASSETS.iterdir()) < 1.2e6
    credits = (ASSETS / "CREDITS.md").read_text()
    assert "modified Copernicus Sentinel data [2017]" in credits
    assert "CDLA-Permissive-1.0" in credits
    assert "Permissive – Version 1.0" in (ASSETS / "LICENSE-CDLA-Permissive-1.0.txt").read_text()


def raw_patches(folder):
    lmdb = pytest.importorskip("lmdb")
    from safetensors.numpy import load

    if not (folder / "data.mdb").exists():
        pytest.skip(f"no {folder}")
    with lmdb.open(str(folder), readonly=True, lock=False).begin() as transaction:
        return {key.decode(): load(bytes(value)) for key, value in transaction.cursor()}


def test_embedded_samples_match_the_originals(shared_data):
    patches = raw_patches(shared_data / "bigearthnet_v2_s1")
    scenes = embedded_scenes()
    worst, seen = 0.0, 0
    for key, bands in patches.items():
        if not key.startswith("S1"):
            continue
        *_, tile, column, row = key.split("_")
        for scene in scenes.values():
            _, name_tile, c0, r0 = scene.name.split("-")
            y, x = (int(row) - int(r0)) * 120, (int(column) - int(c0)) * 120
            inside = 0 <= y < scene.shape[1] and 0 <= x < scene.shape[2]
            if name_tile == tile and key.startswith(scene.acquisition) and inside:
                for i, band in enumerate(scene.bands):
                    worst = max(worst, np.abs(scene.data[i, y : y + 120, x : x + 120] - bands[band]).max())
                seen += 1
    assert seen == 24
    assert 0 < worst <= 0.01
    assert worst <= packing.PACKING_ERROR_DB + 1e-6


def test_the_optical_control_is_lossless(shared_data):
    patches = raw_patches(shared_data / "bigearthnet_v2_s1")
    control = load_optical_control()
    for band in ("B04", "B08"):
        assert control[band].dtype == np.uint16
        assert control[band].shape == (360, 240)
        for column in (37, 38):
            for row in (88, 89, 90):
                original = patches[f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{column}_{row}"][band]
                y, x = (row - 88) * 120, (column - 37) * 120
                assert np.array_equal(control[band][y : y + 120, x : x + 120], original)


def test_the_builder_reproduces_the_assets(shared_data, tmp_path):
    pytest.importorskip("lmdb")
    folder = shared_data / "bigearthnet_v2_s1"
    if not (folder / "data.mdb").exists():
        pytest.skip(f"no {folder}")
    report = packing.build_assets(folder, tmp_path)
    assert report["largest_error_db"] <= 0.01
    for name in ("bigearthnet_s1.npz", "bigearthnet_s2.npz"):
        (built, first), (kept, second) = packing.read_asset(tmp_path / name), packing.read_asset(ASSETS / name)
        assert np.array_equal(built, kept)
        assert first == second


def test_the_split_is_the_one_described():
    split = embedded_split()
    (test,) = split.test
    (validation,) = split.validation
    assert test.shape == (2, 360, 240)
    assert validation.shape == (2, 240, 240)
    assert sum(s.shape[1] * s.shape[2] for s in split.train) == 10 * 120**2
    assert sum(s.shape[1] * s.shape[2] for s in split.independent) == 4 * 120**2
    assert {s.acquisition for s in (*split.train, validation, test)} == {MAIN}
    assert MAIN not in {s.acquisition for s in split.independent}
    assert {s.seen_in_training for s in split.train} == {"true"}
    assert {s.seen_in_training for s in (validation, test, *split.independent)} == {"false"}
    assert "shares the acquisition" in split.note
    for _, scene in split.roles():
        assert scene.bands == ("VV", "VH")
        assert scene.looks == 4.4
        assert scene.native_bits == 16
        assert scene.valid.all()
        assert "Copernicus" in scene.credit
        assert scene_duplicate_share(scene) < 0.03


def test_mosaics_have_no_seams():
    """Differences across patch borders are like those beside them."""
    for name, rows, columns in (("ben-33UUP-37-88", (120, 240), (120,)), ("ben-33UUP-27-55", (120, 240, 360, 480), ())):
        data = embedded_scenes()[name].data
        down, across = np.abs(np.diff(data, axis=1)), np.abs(np.diff(data, axis=2))
        for row in rows:
            assert down[:, row - 1].mean() < 1.25 * down.mean()
        for column in columns:
            assert across[:, :, column - 1].mean() < 1.25 * across.mean()


def test_clip_ranges_are_percentiles_of_the_training_scenes():
    for band, normalizer in reference_normalizers().items():
        index = ("VV", "VH").index(band)
        samples = np.concatenate([s.data[index].ravel() for s in embedded_split().train])
        assert (normalizer.low, normalizer.high) == pytest.approx(np.percentile(samples, [0.1, 99.9]), abs=1e-4)


def test_shared_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        embedded_split().test[0].data[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        load_optical_control()["B04"][0, 0] = 1


# The catalog


def test_every_name_of_the_catalog_tells_what_it_is():
    names = list(catalog_entries)
    assert {"bigearthnet", "simulated-l1", "simulated-l4.4-correlated", "sen1floods11", "umbra-tanna"} <= set(names)
    for name in names:
        entry = catalog_entries[name]
        assert entry.kind in ("embedded", "simulated", "download")
        assert entry.title
        assert entry.license


def test_unknown_names_and_files_are_refused_with_a_hint():
    with pytest.raises(SceneError, match="did you mean 'bigearthnet'"):
        load_split(SceneSpec("bigearthnt"))
    with pytest.raises(SceneError, match="no such file or folder"):
        load_split(SceneSpec("nowhere/x.tif"))
    with pytest.raises(SceneError, match="are in dB"):
        load_split(SceneSpec("bigearthnet", "amplitude"))
    with pytest.raises(SceneError, match="are in dB"):
        load_split(SceneSpec("simulated-l1", "complex"))


def test_a_download_that_is_not_at_hand_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SARLAB_CACHE", str(tmp_path))
    assert not catalog_entries["sen1floods11"].at_hand()
    with pytest.raises(SceneError, match="sarlab fetch sen1floods11"):
        load_split(SceneSpec("sen1floods11"))


def test_fetched_chips_make_a_split(tmp_path, monkeypatch, shared_data):
    folder = shared_data / "sentinel1_grd_chips"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    from sarlab.scenes.checksums import file_hash
    from sarlab.scenes.downloads import SOURCES

    monkeypatch.setenv("SARLAB_CACHE", str(tmp_path))
    (tmp_path / "sen1floods11").mkdir()
    for file in SOURCES["sen1floods11"].files:
        assert file_hash(folder / file.filename) == file.sha256
        (tmp_path / "sen1floods11" / file.filename).symlink_to(folder / file.filename)
    split = load_split(SceneSpec("sen1floods11"))
    assert len([*split.roles()]) == 8
    assert all("Sen1Floods11" in s.credit for _, s in split.roles())
    assert all(s.looks == 4.4 for _, s in split.roles())


def test_load_scene_by_name_source_and_file(tmp_path):
    assert load_scene("ben-33UUP-33-69").shape == (2, 240, 240)
    assert load_scene("bigearthnet").name == "ben-33UUP-37-88"
    assert load_scene("simulated-l1").simulated
    np.save(tmp_path / "mine.npy", np.full((9, 9), 3, np.uint8))
    assert load_scene(str(tmp_path / "mine.npy")).quantity == "amplitude"


def test_a_source_of_ones_own_is_one_registration():
    class Mine(Entry):
        def split(self, quantity):
            return embedded_split()

    name = "test-source-of-ones-own"
    catalog_entries.register(name)(Mine("embedded", "mine", "MIT", "", None))
    try:
        assert load_split(SceneSpec(name)).digest == embedded_split().digest
    finally:
        del catalog_entries._items[name]


def test_named_scenes_need_nothing_but_numpy_and_scipy():
    """The bare machine has no GeoTIFF library, no progress bar and, for scenes, needs no torch."""
    code = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"rasterio", "imagecodecs", "tqdm", "pooch", "pyarrow", "psutil", "matplotlib",
                                  "torch", "torchmetrics", "lmdb", "affine", "pandas"}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
from sarlab.scenes.catalog import load_split, load_optical_control
from sarlab.specs import SceneSpec
print(load_split(SceneSpec("bigearthnet")).digest)
load_split(SceneSpec("simulated-l4.4"))
load_optical_control()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == embedded_split().digest
