"""Writing GeoTIFF and COG: round trips, windows, nodata, interruptions."""

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.transform import Affine

from sarlab.errors import SceneError
from sarlab.scenes.radiometry import from_db, to_db
from sarlab.scenes.readers import open_scene, read_scene
from sarlab.scenes.scene import Georeference, Scene
from sarlab.scenes.writers import open_writer, write_geotiff

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

one_folder = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@one_folder
@given(
    data=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=7),
        elements=st.one_of(st.floats(-60, 30, width=32), st.just(np.nan), st.just(-np.inf)),
    ),
    nodata=st.sampled_from([None, np.nan, -9999.0]),
    cog=st.booleans(),
)
def test_round_trip_of_floats(tmp_path, data, nodata, cog):
    scene = Scene(
        data, "db", tuple(f"band {i}" for i in range(data.shape[0])), name="a scene", looks=4.4, native_bits=16,
        acquisition="event", nodata=nodata, tags={"sensor": "x"}, simulated=True, credit="someone",
        georeference=Georeference(rasterio.crs.CRS.from_epsg(32633).to_wkt(), (10.0, 1.0, 5e5, -1.0, -10.0, 6e6)),
    )  # fmt: skip
    write_geotiff(scene, tmp_path / "x.tif", cog)
    again = read_scene(tmp_path / "x.tif", allow_empty=True)
    assert np.array_equal(again.data, scene.data, equal_nan=True)
    assert np.array_equal(again.valid, scene.valid)
    for field in ("quantity", "bands", "name", "looks", "native_bits", "acquisition", "dtype", "simulated", "credit"):
        assert getattr(again, field) == getattr(scene, field), field
    assert again.georeference.transform == scene.georeference.transform
    assert rasterio.crs.CRS.from_wkt(again.georeference.crs) == rasterio.crs.CRS.from_wkt(scene.georeference.crs)
    assert again.tags["sensor"] == "x"
    assert str(again.nodata) == str(scene.nodata)


@one_folder
@given(
    hnp.arrays(np.uint16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)), st.sampled_from([None, 0.0, 65535.0])
)
def test_round_trip_of_integers(tmp_path, data, nodata):
    valid = np.ones(data.shape, bool) if nodata is None else data != nodata
    bands = tuple(f"b{i}" for i in range(data.shape[0]))
    write_geotiff(Scene(data, "amplitude", bands, valid=valid, nodata=nodata, dtype="uint16"), tmp_path / "x.tif")
    again = read_scene(tmp_path / "x.tif", allow_empty=True)
    assert np.array_equal(again.valid, valid)
    # Through dB and back the file is the same.
    write_geotiff(from_db(to_db(again)), tmp_path / "y.tif")
    for name in ("x.tif", "y.tif"):
        with rasterio.open(tmp_path / name) as file:
            assert set(file.dtypes) == {"uint16"}
            assert np.array_equal(file.read(), data)


def test_round_trip_of_complex_integers(write_raw, tmp_path):
    array = np.array([[3 + 4j, -7 + 1j], [0, 5j]], np.complex64)
    scene = read_scene(write_raw(array, dtype="complex_int16"))
    assert (scene.quantity, scene.dtype, scene.native_bits, scene.looks) == ("complex", "complex_int16", 32, 1.0)
    assert np.array_equal(scene.data[0], array)
    write_geotiff(scene, tmp_path / "again.tif")
    again = read_scene(tmp_path / "again.tif")
    assert again.dtype == "complex_int16"
    assert np.array_equal(again.data, scene.data)


def test_measured_values_never_become_nodata_and_decibels_no_integers(tmp_path):
    scene = Scene(np.array([[[0.3, 1.7, np.nan]]]), "amplitude", ("b",), nodata=0, dtype="uint8")
    write_geotiff(scene, tmp_path / "x.tif")
    assert read_scene(tmp_path / "x.tif").valid[0].tolist() == [[True, True, False]]
    scene = to_db(Scene(np.array([[[3.0, 5.0]]]), "amplitude", ("b",), dtype="uint8"))
    write_geotiff(scene, tmp_path / "x.tif")
    again = read_scene(tmp_path / "x.tif")
    assert again.dtype == "float32"
    assert np.array_equal(again.data, scene.data)


@pytest.mark.parametrize("cog", [False, True])
def test_a_scene_is_written_window_by_window(write_raw, tmp_path, cog):
    image = np.random.default_rng(1).normal(-12, 2, (2, 600, 700)).astype(np.float32)
    write_raw(image, "in.tif", transform=Affine(10, 0, 5e5, 0, -10, 6e6), crs="EPSG:32633")
    with open_scene(tmp_path / "in.tif") as source:
        options = {"shape": source.shape, "georeference": source.georeference, "cog": cog}
        with open_writer(tmp_path / "out.tif", source.read((0, 0, 1, 1)), **options) as writer:
            for row, column, height, width in source.windows(256):
                part = source.read((row, column, height, width))
                writer.write(part.data, row, column, part.valid)
    again = read_scene(tmp_path / "out.tif")
    assert np.array_equal(again.data, image)
    assert again.georeference == source.georeference
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "out.tif"]
    with rasterio.open(tmp_path / "out.tif") as file:
        assert (file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG") == cog


def test_a_failed_or_interrupted_writer_leaves_nothing(tmp_path):
    path, scene = tmp_path / "x.tif", Scene(np.full((1, 3, 4), -9.0), "db", ("b",))
    with pytest.raises(SceneError, match="cannot mark nodata"):
        write_geotiff(Scene(np.array([[[1.0, np.nan]]]), "amplitude", ("b",), dtype="uint8"), path)
    with pytest.raises(KeyboardInterrupt), open_writer(path, scene) as writer:  # noqa: PT012
        writer.write(scene.data, 0, 0)
        raise KeyboardInterrupt
    with pytest.raises(SceneError, match="exceed the scene"), open_writer(path, scene) as writer:
        writer.write(scene.data, 1, 0)
    with pytest.raises(SceneError, match="is a folder"):
        write_geotiff(scene, tmp_path)
    assert list(tmp_path.iterdir()) == []
