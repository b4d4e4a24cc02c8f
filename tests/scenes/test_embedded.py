"""Embedded scenes and their container."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarlab.errors import SceneError
from sarlab.scenes.embedded import (
    ASSETS,
    PACKING_ERROR_DB,
    build_assets,
    decode_planes,
    embedded_scenes,
    embedded_split,
    encode_planes,
    load_optical_control,
    read_asset,
    reference_normalizers,
)
from sarlab.scenes.splits import scene_duplicate_share

MAIN = "S1B_IW_GRDH_1SDV_20170612T165809"


@settings(max_examples=20)
@given(hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=17), elements=st.integers(-8000, 8000)))
def test_planes_survive_packing(planes):
    assert np.array_equal(decode_planes(encode_planes(planes), planes.shape), planes)


def test_damaged_planes_are_refused():
    planes = np.random.default_rng(0).integers(-900, 900, (2, 16, 16))
    data = encode_planes(planes)
    for bad, shape in ((data[:-9], (2, 16, 16)), (data, (2, 16, 8)), (data, (2, 32, 16)), (b"\xff" * 40, (2, 16, 16))):
        with pytest.raises(SceneError, match="damaged"):
            decode_planes(bad, shape)
    with pytest.raises(SceneError, match="impossible shape"):
        decode_planes(data, (1 << 20, 1 << 20, 1))
    with pytest.raises(SceneError, match="too large"):
        encode_planes(np.full((1, 2, 2), 40_000))


def test_a_foreign_file_is_no_asset(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    for name in ("x.npz", "missing.npz"):
        with pytest.raises(SceneError, match="install the package again"):
            read_asset(tmp_path / name)


def test_assets_are_small_and_licensed():
    assert sum(f.stat().st_size for f in ASSETS.iterdir()) < 1.2e6
    credits = (ASSETS / "CREDITS.md").read_text()
    assert "modified Copernicus Sentinel data [2017]" in credits
    assert "CDLA-Permissive-1.0" in credits
    assert "Permissive – Version 1.0" in (ASSETS / "LICENSE-CDLA-Permissive-1.0.txt").read_text()


@pytest.fixture
def raw_folder(shared_data):
    pytest.importorskip("lmdb")
    folder = shared_data / "bigearthnet_v2_s1"
    if not (folder / "data.mdb").exists():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture
def raw_patches(raw_folder):
    import lmdb
    from safetensors.numpy import load

    with lmdb.open(str(raw_folder), readonly=True, lock=False).begin() as transaction:
        return {key.decode(): load(bytes(value)) for key, value in transaction.cursor()}


def test_embedded_samples_match_the_originals(raw_patches):
    worst, seen = 0.0, 0
    for key, bands in raw_patches.items():
        if not key.startswith("S1"):
            continue
        *_, tile, column, row = key.split("_")
        for scene in embedded_scenes().values():
            _, name_tile, c0, r0 = scene.name.split("-")
            y, x = (int(row) - int(r0)) * 120, (int(column) - int(c0)) * 120
            inside = 0 <= y < scene.shape[1] and 0 <= x < scene.shape[2]
            if name_tile == tile and key.startswith(scene.acquisition) and inside:
                for i, band in enumerate(scene.bands):
                    worst = max(worst, np.abs(scene.data[i, y : y + 120, x : x + 120] - bands[band]).max())
                seen += 1
    assert seen == 24
    assert 0 < worst <= PACKING_ERROR_DB + 1e-6 < 0.01


def test_the_optical_control_is_lossless(raw_patches):
    control = load_optical_control()
    for band in ("B04", "B08"):
        assert control[band].dtype == np.uint16
        assert control[band].shape == (360, 240)
        for column in (37, 38):
            for row in (88, 89, 90):
                original = raw_patches[f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{column}_{row}"][band]
                y, x = (row - 88) * 120, (column - 37) * 120
                assert np.array_equal(control[band][y : y + 120, x : x + 120], original)


def test_the_builder_reproduces_the_assets(raw_folder, tmp_path):
    build_assets(raw_folder, tmp_path)
    for name in ("bigearthnet_s1.npz", "bigearthnet_s2.npz"):
        (built, first), (kept, second) = read_asset(tmp_path / name), read_asset(ASSETS / name)
        assert np.array_equal(built, kept)
        assert first == second
        assert first["largest_error"] <= PACKING_ERROR_DB


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
