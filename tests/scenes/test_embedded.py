"""Embedded scenes: packing, licenses, the two splits."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from sarlab.scenes.catalog import (
    ASSETS,
    bigearthnet_split,
    embedded_scenes,
    load_optical_control,
    reference_normalizers,
    sentinel1,
)
from sarlab.scenes.radiometry import from_db
from sarlab.scenes.readers import read_scene
from sarlab.scenes.splits import scene_duplicate_share

MAIN = "S1B_IW_GRDH_1SDV_20170612T165809"


def test_assets_are_small_and_licensed():
    assert sum(file.stat().st_size for file in ASSETS.iterdir()) < 8e6
    assert {file.name for file in ASSETS.glob("*.tif")} == {
        "optical_control.tif", *(record.files[0].name for record in sentinel1().records)
    }  # fmt: skip
    text = (ASSETS / "CREDITS.md").read_text()
    assert "modified Copernicus Sentinel data [2014–2024]" in text
    for record in sentinel1().records:
        assert (ASSETS / f"LICENSE-{record.license}.txt").is_file()
        assert f"**{record.license}.**" in text
        assert "contains modified Copernicus Sentinel data [20" in record.credit
    for holder in ("Katsuto Shimizu", "AIRCentre", "Olivier D'Hondt"):
        assert holder in text
        assert holder in (ASSETS / "LICENSE-MIT.txt").read_text()


# The split sentinel1


@pytest.fixture(scope="module")
def split():
    return sentinel1().split(reference_normalizers())


def test_the_split_holds_out_places_and_passes(split):
    scenes = [scene for _, scene in split.roles()]
    assert len({scene.acquisition for scene in scenes}) >= 12
    assert len({scene.place for scene in scenes}) >= 7
    assert len({scene.acquisition for scene in split.test}) >= 6
    for name in ("place", "acquisition"):
        groups = [{getattr(s, name) for s in part} for part in (split.train, split.validation, split.test)]
        assert len(set().union(*groups)) == sum(map(len, groups))
    assert {s.seen_in_training for s in split.train} == {"true"}
    assert {s.seen_in_training for s in (*split.validation, *split.test)} == {"false"}


def test_test_scenes_are_large_enough(split):
    """Networks are tested on 256² pixels or more, codecs on 512² or more."""
    areas = {scene.name: scene.shape[1] * scene.shape[2] for scene in split.test}
    assert min(areas.values()) >= 256**2
    large = {scene.acquisition for scene in split.test if areas[scene.name] >= 512**2}
    assert len(large) >= 4


def test_every_scene_is_described(split):
    for _, scene in split.roles():
        for name in ("place", "land_cover", "mode", "license", "credit", "acquisition"):
            assert getattr(scene, name), (scene.name, name)
        assert " " not in scene.land_cover
        assert scene.looks
        assert scene.quantity == "db"
        assert scene.dtype == "float32"
        assert len(scene.bands) == len(reference_normalizers().keys() & set(scene.bands))


def test_no_ground_and_no_pixel_is_in_two_roles(split, find_leaks):
    assert find_leaks(split, sentinel1().records) == []


def test_levels_fit_the_clip_range(split):
    """Medians lie within it; the scene of unknown level has its median in the middle."""
    assert dict(split.normalizers) == reference_normalizers()
    for _, scene in split.roles():
        for band, plane in zip(scene.bands, scene.data, strict=True):
            low, high = split.normalizers[band].low, split.normalizers[band].high
            assert low + 5 < np.nanmedian(plane) < high - 5
            if scene.name == "azores":
                assert np.nanmedian(plane) == pytest.approx((low + high) / 2, abs=0.011)


def test_the_split_is_the_same_every_time(split):
    assert split.digest == sentinel1().split(reference_normalizers()).digest
    assert split.digest.startswith("926dd98dcb4e")


def test_exact_zeros_survive(split):
    azores = next(scene for scene in split.test if scene.name == "azores")
    zeros = from_db(azores, "intensity").data == 0
    assert zeros.mean() == pytest.approx(0.0031, abs=1e-4)
    assert scene_duplicate_share(azores) < 0.01


# The raw files


@pytest.fixture
def raw(shared_data):
    if not (shared_data / "stacks").is_dir():
        pytest.skip(f"no raw scenes in {shared_data}")
    return shared_data


@pytest.fixture
def raw_patches(shared_data):
    lmdb = pytest.importorskip("lmdb")
    from safetensors.numpy import load

    folder = shared_data / "bigearthnet_v2_s1"
    if not (folder / "data.mdb").exists():
        pytest.skip(f"no {folder}")
    with lmdb.open(str(folder), readonly=True, lock=False).begin() as transaction:
        return {key.decode(): load(bytes(value)) for key, value in transaction.cursor()}


def stacked(raw, name, acquisition):
    import rasterio

    planes = []
    for band in ("vv", "vh"):
        with rasterio.open(raw / "stacks" / "myanmar_30m" / f"{band}.tif") as file:
            layer = [text.startswith(acquisition) for text in file.descriptions].index(True) + 1
            planes.append(file.read(layer) / 100)
    return np.stack(planes)


def original(raw, record):
    """Raw samples of a scene in dB, NaN where there are none."""
    kind, last = record.name.split("-")[0], record.name.split("-")[-1]
    if kind == "myanmar":
        return stacked(raw, record.name, record.acquisition)
    files = {
        "morocco": (f"sentinel1_more/morocco_amp_{last}.tif", "amplitude"),
        "azores": ("sentinel1_more/azores_slc_iw3_vv_cint16.tif", "complex"),
        "belgian": ("sentinel1_more/belgian_coast_ships_grd_dn.tif", "amplitude"),
        "png": (f"stacks/png_rtc30_vh/{last}_vh.tif", "intensity"),
    }
    name, quantity = files[kind]
    data = read_scene(raw / name, quantity).data
    with np.errstate(divide="ignore"):
        return (10 if quantity == "intensity" else 20) * np.log10(np.abs(data).astype(np.float64))


def test_samples_match_the_originals(raw):
    for record in sentinel1().records:
        if record.name.startswith("ben-"):
            continue
        scene = record.load(reference_normalizers())
        packed = read_scene(record.files[0], record.quantity)
        db = packed.data if packed.quantity == "db" else 20 * np.log10(packed.data.astype(np.float64))
        expected = original(raw, record)
        zeros = np.isneginf(expected)
        assert np.array_equal(scene.valid, ~np.isnan(expected)), record.name
        error = np.abs(db - expected)[scene.valid & ~zeros].max()
        assert error <= 0.01 + 1e-6, record.name
        if record.name.startswith(("myanmar", "belgian")):
            assert error < 2e-6, record.name
        assert np.array_equal(from_db(scene, "intensity").data == 0, zeros), record.name
        assert record.name == "azores" or not zeros.any()


def test_patches_match_the_originals(raw_patches):
    worst, seen = 0.0, 0
    for key, bands in raw_patches.items():
        if not key.startswith("S1"):
            continue
        *_, tile, column, row = key.split("_")
        for scene in embedded_scenes().values():
            if not scene.name.startswith(f"ben-{tile}"):
                continue
            _, _, c0, r0 = scene.name.split("-")
            y, x = (int(row) - int(r0)) * 120, (int(column) - int(c0)) * 120
            if key.startswith(scene.tags["product"]) and 0 <= y < scene.shape[1] and 0 <= x < scene.shape[2]:
                for i, band in enumerate(scene.bands):
                    worst = max(worst, np.abs(scene.data[i, y : y + 120, x : x + 120] - bands[band]).max())
                seen += 1
    assert seen == 24
    assert 0 < worst <= 5 / 512 + 1e-6


def test_the_optical_control_is_lossless(raw_patches):
    control = load_optical_control()
    for band in ("B04", "B08"):
        assert control[band].dtype == np.uint16
        assert control[band].shape == (360, 240)
        for column in (37, 38):
            for row in (88, 89, 90):
                patch = raw_patches[f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{column}_{row}"][band]
                y, x = (row - 88) * 120, (column - 37) * 120
                assert np.array_equal(control[band][y : y + 120, x : x + 120], patch)


def test_the_builder_reproduces_the_assets(raw, raw_patches, tmp_path):
    path = Path(__file__).parents[2] / "tools" / "pack_scenes.py"
    spec = importlib.util.spec_from_file_location("pack_scenes", path)
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    (tmp_path / "sentinel1.toml").write_bytes((ASSETS / "sentinel1.toml").read_bytes())
    builder.pack(raw, tmp_path)
    for file in ASSETS.glob("*.tif"):
        quantity = "intensity" if file.stem in ("optical_control", "belgian-coast") else "db"
        built, kept = read_scene(tmp_path / file.name, quantity), read_scene(file, quantity)
        assert np.array_equal(built.data, kept.data, equal_nan=True), file.name
        assert built.tags == kept.tags
        assert built.georeference == kept.georeference


# The split bigearthnet


def test_the_bigearthnet_split_is_the_one_described():
    split = bigearthnet_split()
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
    assert split.digest.startswith("5fbe73ad0df4")
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
        samples = np.concatenate([s.data[index].ravel() for s in bigearthnet_split().train])
        assert (normalizer.low, normalizer.high) == pytest.approx(np.percentile(samples, [0.1, 99.9]), abs=1e-4)


def test_shared_arrays_cannot_be_changed():
    for name in ("ben-33UUP-37-88", "azores"):
        with pytest.raises(ValueError, match="read-only"):
            embedded_scenes()[name].data[0, 0, 0] = 1
