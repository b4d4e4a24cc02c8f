"""Writing GeoTIFF and COG: round trips, windows, nodata, interruptions."""

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.transform import Affine

from sarlab.errors import SceneError
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.readers import open_scene, read_scene
from sarlab.scenes.scene import Scene
from sarlab.scenes.writers import open_writer, write_geotiff

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=7),
        elements=st.one_of(st.floats(-60, 30, width=32), st.just(np.nan), st.just(-np.inf)),
    ),
    st.sampled_from([None, np.nan, -9999.0]),
    st.booleans(),
)
def test_the_fields_of_a_scene_come_back(tmp_path, data, nodata, cog):
    scene = Scene(
        data, "db", tuple(f"band {i}" for i in range(data.shape[0])), name="a scene", looks=4.4, native_bits=16,
        acquisition="event", nodata=nodata, simulated=True, credit="someone",
    )  # fmt: skip
    write_geotiff(scene, tmp_path / "x.tif", cog)
    again = read_scene(tmp_path / "x.tif", allow_empty=True)
    assert np.array_equal(again.data, scene.data, equal_nan=True)
    for field in ("quantity", "bands", "name", "looks", "native_bits", "acquisition", "dtype", "simulated", "credit"):
        assert getattr(again, field) == getattr(scene, field), field


def test_round_trip_of_complex_integers(write_raw, tmp_path):
    array = np.array([[3 + 4j, -7 + 1j], [0, 5j]], np.complex64)
    scene = read_scene(write_raw(array, dtype="complex_int16"))
    assert (scene.quantity, scene.dtype, scene.native_bits, scene.looks) == ("complex", "complex_int16", 32, 1.0)
    write_geotiff(scene, tmp_path / "again.tif")
    again = read_scene(tmp_path / "again.tif")
    assert again.dtype == "complex_int16"
    assert np.array_equal(again.data[0], array)


def test_measured_values_never_become_nodata_and_integers_in_db_become_floats(tmp_path):
    scene = Scene(np.array([[[0.3, 1.7, np.nan]]]), "amplitude", ("b",), nodata=0, dtype="uint8")
    write_geotiff(scene, tmp_path / "x.tif")
    assert read_scene(tmp_path / "x.tif").valid[0].tolist() == [[True, True, False]]
    scene = to_db(scene)
    write_geotiff(scene, tmp_path / "x.tif")
    assert np.array_equal(read_scene(tmp_path / "x.tif").data, scene.data, equal_nan=True)


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
