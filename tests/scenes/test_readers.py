"""Files → scenes, and back: quantities, nodata, windows, metadata, bad input."""

import json

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.transform import Affine

from sarlab.errors import SceneError
from sarlab.scenes.quantity import acquisition_of, polarization
from sarlab.scenes.radiometry import from_db, to_db
from sarlab.scenes.readers import open_scene, read_scene
from sarlab.scenes.scene import Georeference, Scene
from sarlab.scenes.writers import GeoTiffWriter, write_geotiff

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

DB = np.linspace(-25, -3, 12, dtype=np.float32).reshape(3, 4)


def write_raw(path, array, **options):
    """A GeoTIFF by rasterio alone, without this package."""
    array = np.asarray(array)
    array = array[None] if array.ndim == 2 else array
    tags = options.pop("tags", {})
    descriptions = options.pop("descriptions", None)
    options.setdefault("dtype", array.dtype)
    with rasterio.open(
        path, "w", "GTiff", width=array.shape[2], height=array.shape[1], count=array.shape[0], **options
    ) as file:
        file.write(array)
        file.update_tags(**tags)
        if descriptions:
            file.descriptions = descriptions
    return path


# Quantities


@pytest.mark.parametrize(
    ("name", "array", "quantity"),
    [
        ("x.tif", DB, "db"),
        ("x.tif", np.arange(12, dtype=np.uint8).reshape(3, 4), "amplitude"),
        ("x.tif", np.arange(12, dtype=np.int16).reshape(3, 4), "amplitude"),
        ("x.tif", (DB + 1j).astype(np.complex64), "complex"),
        ("sigma0_intensity.tif", -DB, "intensity"),
        ("x_amplitude.tif", -DB, "amplitude"),
        ("x_sigma0_db.tif", np.abs(DB), "db"),
        ("x.npy", DB, "db"),
        ("x.npy", DB.astype(np.float64), "db"),
        ("x.npy", (DB + 1j).astype(np.complex128), "complex"),
    ],
)
def test_quantity_is_decided_by_documented_rules(tmp_path, name, array, quantity):
    path = tmp_path / name
    np.save(path, array) if path.suffix == ".npy" else write_raw(path, array)
    scene = read_scene(path)
    assert scene.quantity == quantity
    assert scene.data.dtype == (np.complex64 if quantity == "complex" else np.float32)
    assert np.allclose(scene.data[0], array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (-DB, "amplitude, intensity or dB"),
        (DB * 100, "neither like dB"),
        (DB + 15, "neither like dB"),
        (np.array([[-5, 3]], np.int16), "negative integers"),
    ],
)
def test_undecidable_quantities_are_refused(tmp_path, array, message):
    path = write_raw(tmp_path / "x.tif", array)
    with pytest.raises(SceneError, match=message) as error:
        read_scene(path)
    assert str(path) in str(error.value)
    assert "quantity '" in str(error.value)


@pytest.mark.parametrize(
    ("array", "quantity", "message"),
    [
        (DB, "amplitude", "negative amplitude .* probably in dB"),
        (DB, "intensity", "negative intensity .* probably in dB"),
        (DB, "complex", "not complex"),
        (DB + 1j, "db", "complex samples are not db"),
        (np.abs(DB) * 1e4, "db", "cannot be dB"),
    ],
)
def test_a_wrong_quantity_is_refused(tmp_path, array, quantity, message):
    path = tmp_path / "x.npy"
    np.save(path, array)
    with pytest.raises(SceneError, match=message):
        read_scene(path, quantity)


def test_the_tag_and_the_unit_of_a_file_decide_before_anything_else(tmp_path):
    assert read_scene(write_raw(tmp_path / "a.tif", -DB, tags={"SARLAB_QUANTITY": "intensity"})).quantity == "intensity"
    path = write_raw(tmp_path / "b.tif", -DB)
    with rasterio.open(path, "r+") as file:
        file.units = ("dB",)
    assert read_scene(path).quantity == "db"


def test_a_window_decides_nothing(tmp_path):
    """The bright corner of a dB image is all positive; alone it would be refused."""
    image = np.full((64, 64), -12, np.float32)
    image[:4, :4] = 9
    path = write_raw(tmp_path / "x.tif", image)
    scene = read_scene(path, window=(0, 0, 4, 4))
    assert scene.quantity == "db"
    assert (scene.data == 9).all()


def test_integer_complex(tmp_path):
    array = np.array([[3 + 4j, -7 + 1j], [0, 5j]], np.complex64)
    path = write_raw(tmp_path / "slc.tif", array, dtype="complex_int16")
    scene = read_scene(path)
    assert (scene.quantity, scene.dtype, scene.native_bits, scene.looks) == ("complex", "complex_int16", 32, 1.0)
    assert np.array_equal(scene.data[0], array)
    write_geotiff(scene, tmp_path / "again.tif")
    again = read_scene(tmp_path / "again.tif")
    assert again.dtype == "complex_int16"
    assert np.array_equal(again.data, scene.data)


# Nodata, zeros, odd shapes


def test_nodata_is_not_zero_and_zero_is_not_nodata(tmp_path):
    array = np.array([[0, 7, 255]], np.uint8)
    plain = read_scene(write_raw(tmp_path / "a.tif", array))
    assert plain.valid.all()
    assert plain.data[0, 0, 0] == 0
    marked = read_scene(write_raw(tmp_path / "b.tif", array, nodata=255))
    assert marked.valid[0].tolist() == [[True, True, False]]
    assert np.isnan(marked.data[0, 0, 2])
    assert marked.nodata == 255


def test_minus_infinity_is_an_exact_zero_and_plus_infinity_is_nodata(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[-np.inf, -12.0, np.inf, np.nan]], np.float32))
    scene = read_scene(tmp_path / "x.npy")
    assert scene.quantity == "db"
    assert scene.valid[0].tolist() == [[True, True, False, False]]
    assert to_db(scene).data[0, 0, 0] == pytest.approx(-12 - 10 * np.log10(2), abs=1e-5)


def test_a_dataset_mask_is_nodata(tmp_path):
    path = write_raw(tmp_path / "x.tif", DB)
    mask = np.ones((3, 4), bool)
    mask[1, 2] = False
    with rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    assert np.array_equal(read_scene(path).valid[0], mask)


def test_scaled_integers_are_scaled(tmp_path):
    path = write_raw(tmp_path / "x_db.tif", np.array([[100, 2000]], np.uint16))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.01,), (-30.0,)
    assert read_scene(path, "db").data[0, 0] == pytest.approx([-29, -10])


@pytest.mark.parametrize("shape", [(1, 1), (17, 1000), (1, 5), (3, 1, 1)])
def test_odd_shapes(tmp_path, shape):
    array = np.full(shape, -9.5, np.float32)
    np.save(tmp_path / "x.npy", array)
    write_raw(tmp_path / "x.tif", array)
    for name in ("x.npy", "x.tif"):
        scene = read_scene(tmp_path / name)
        assert scene.shape == (1, *shape)[-3:]
        assert (scene.data == -9.5).all()


def test_lines_of_nan_stay_nan(tmp_path):
    image = np.full((20, 20), -9.0, np.float32)
    image[7] = np.nan
    scene = read_scene(write_raw(tmp_path / "x.tif", image))
    assert scene.valid.sum() == 380
    assert not scene.valid[0, 7].any()


def test_a_scene_without_a_sample_is_refused_unless_allowed(tmp_path):
    path = write_raw(tmp_path / "x.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(SceneError, match="every sample is nodata"):
        read_scene(path)
    with pytest.raises(SceneError, match="every sample is nodata"):
        read_scene(path, "db")
    assert not read_scene(path, allow_empty=True).valid.any()


# Bad input


def test_bad_files_say_what_is_wrong(tmp_path):
    cases = {"missing.tif": None, "empty.tif": b"", "text.tif": b"hello", "text.npy": b"hello", "cut.npy": b"\x93NUMPY"}
    said = {"missing.tif": "no such file", "empty.tif": "is empty", "text.tif": "not a readable image"}
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(SceneError, match=said.get(name, r"not a readable \.npy")) as error:
            read_scene(tmp_path / name)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(SceneError, match="is a folder"):
        read_scene(tmp_path)
    with pytest.raises(SceneError, match="unknown quantity 'power'"):
        read_scene(tmp_path / "empty.tif", "power")


def test_a_truncated_image_is_refused(tmp_path):
    noise = np.random.default_rng(0).normal(-12, 2, (256, 256)).astype(np.float32)
    path = write_raw(tmp_path / "x.tif", noise, compress="deflate")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SceneError, match=r"x\.tif"):
        read_scene(path, "db")


def test_arrays_that_are_no_images_are_refused(tmp_path):
    for array, message in (
        (np.zeros((2, 2, 2, 2)), "is no image"),
        (np.zeros((0, 4)), "is no image"),
        (np.zeros((200, 200, 3)), "move the bands to the front"),
        (np.array([["a"]]), "is no image"),
    ):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(SceneError, match=message):
            read_scene(tmp_path / "x.npy", "db")
    np.save(tmp_path / "x.npy", np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(SceneError, match=r"not a readable \.npy"):
        read_scene(tmp_path / "x.npy", "db")


# Windows


def test_windows_cover_the_scene_and_move_the_georeference(tmp_path):
    image = np.random.default_rng(0).normal(-12, 2, (2, 50, 70)).astype(np.float32)
    path = write_raw(tmp_path / "x.tif", image, transform=Affine(10, 0, 500_000, 0, -10, 6_000_000), crs="EPSG:32633")
    with open_scene(path) as file:
        assert file.shape == (2, 50, 70)
        out = np.full(file.shape, np.nan, np.float32)
        for row, column, height, width in file.windows(32):
            part = file.read((row, column, height, width))
            out[:, row : row + height, column : column + width] = part.data
            assert part.georeference.transform[2] == 500_000 + 10 * column
            assert part.georeference.transform[5] == 6_000_000 - 10 * row
        assert np.array_equal(out, image)
        for wrong in ((0, 0, 51, 1), (-1, 0, 2, 2), (0, 0, 0, 2), (49, 69, 2, 1)):
            with pytest.raises(SceneError, match="exceeds the scene"):
                file.read(wrong)
    assert file.spacing == (10.0, 10.0)


def test_an_empty_window_of_a_scene_with_data_is_allowed(tmp_path):
    image = np.full((8, 8), -12, np.float32)
    image[:4] = np.nan
    assert not read_scene(write_raw(tmp_path / "x.tif", image), window=(0, 0, 4, 8)).valid.any()


# Round trip


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=7),
        elements=st.one_of(st.floats(-60, 30, width=32), st.just(np.nan), st.just(-np.inf)),
    ),
    nodata=st.sampled_from([None, np.nan, -9999.0]),
    cog=st.booleans(),
)
def test_geotiff_round_trip_of_floats(tmp_path, data, nodata, cog):
    scene = Scene(
        data,
        "db",
        tuple(f"band {i}" for i in range(data.shape[0])),
        name="a scene",
        looks=4.4,
        native_bits=16,
        acquisition="event",
        georeference=Georeference(rasterio.crs.CRS.from_epsg(32633).to_wkt(), (10.0, 1.0, 5e5, -1.0, -10.0, 6e6)),
        nodata=nodata,
        tags={"sensor": "x"},
        simulated=True,
        credit="someone",
    )
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


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(np.uint16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)), st.sampled_from([None, 0.0, 65535.0])
)
def test_geotiff_round_trip_of_integers(tmp_path, data, nodata):
    valid = np.ones(data.shape, bool) if nodata is None else data != nodata
    bands = tuple(f"b{i}" for i in range(data.shape[0]))
    scene = Scene(data, "amplitude", bands, valid=valid, nodata=nodata, dtype="uint16", native_bits=16)
    write_geotiff(scene, tmp_path / "x.tif")
    with rasterio.open(tmp_path / "x.tif") as file:
        assert set(file.dtypes) == {"uint16"}
        assert np.array_equal(file.read(), data)
    again = read_scene(tmp_path / "x.tif", allow_empty=True)
    assert np.array_equal(again.valid, valid)
    # Through dB and back the file is the same.
    write_geotiff(from_db(to_db(again)), tmp_path / "y.tif")
    with rasterio.open(tmp_path / "y.tif") as file:
        assert np.array_equal(file.read(), data)


def test_measured_values_never_become_nodata(tmp_path):
    scene = Scene(np.array([[[0.3, 1.7, np.nan]]]), "amplitude", ("b",), nodata=0, dtype="uint8")
    write_geotiff(scene, tmp_path / "x.tif")
    assert read_scene(tmp_path / "x.tif").valid[0].tolist() == [[True, True, False]]


def test_integers_without_nodata_refuse_invalid_samples_and_leave_no_file(tmp_path):
    scene = Scene(np.array([[[1.0, np.nan]]]), "amplitude", ("b",), dtype="uint8")
    with pytest.raises(SceneError, match="cannot mark nodata"):
        write_geotiff(scene, tmp_path / "x.tif")
    assert list(tmp_path.iterdir()) == []


def test_decibels_are_never_squeezed_into_integers(tmp_path):
    scene = to_db(Scene(np.array([[[3.0, 5.0]]]), "amplitude", ("b",), dtype="uint8"))
    write_geotiff(scene, tmp_path / "x.tif")
    with rasterio.open(tmp_path / "x.tif") as file:
        assert file.dtypes == ("float32",)
    assert np.array_equal(read_scene(tmp_path / "x.tif").data, scene.data)


@pytest.mark.parametrize("cog", [False, True])
def test_a_scene_can_be_written_window_by_window(tmp_path, cog):
    image = np.random.default_rng(1).normal(-12, 2, (2, 600, 700)).astype(np.float32)
    write_raw(tmp_path / "in.tif", image, transform=Affine(10, 0, 5e5, 0, -10, 6e6), crs="EPSG:32633")
    with open_scene(tmp_path / "in.tif") as source:
        like = source.read((0, 0, 1, 1))
        with GeoTiffWriter(
            tmp_path / "out.tif", like, shape=source.shape, georeference=source.georeference, cog=cog
        ) as writer:
            for row, column, height, width in source.windows(256):
                part = source.read((row, column, height, width))
                writer.write(part.data, row, column, part.valid)
    again = read_scene(tmp_path / "out.tif")
    assert np.array_equal(again.data, image)
    assert again.georeference == source.georeference
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "out.tif"]
    with rasterio.open(tmp_path / "out.tif") as file:
        assert (file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG") == cog


def test_an_interrupted_writer_leaves_nothing(tmp_path):
    scene = Scene(DB[None], "db", ("b",))
    path = tmp_path / "x.tif"
    writer = GeoTiffWriter(path, scene)

    def interrupted():
        with writer:
            writer.write(scene.data, 0, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SceneError, match="exceed the scene"), GeoTiffWriter(path, scene) as again:
        again.write(scene.data, 1, 0)
    with pytest.raises(SceneError, match="is a folder"):
        write_geotiff(scene, tmp_path)


# Names


def test_names_tell_polarization_and_acquisition():
    assert polarization("S1A_IW_VV_x") == "VV"
    assert polarization("sar_hv") == "HV"
    assert polarization("VV_VH") is None
    assert polarization("survival") is None
    product = "S1A_IW_GRDH_1SDV_20200607T010800_20200607T010825_032904_03CFBA_D457"
    assert acquisition_of(f"/data/{product}/VV.tif") == product
    assert acquisition_of("/data/Ghana_53713_S1Hand.tif") == acquisition_of("/x/Ghana_83483_S1Hand.tif") == "Ghana"
    assert acquisition_of("/data/sar_hh.tif") == acquisition_of("/data/sar_vv.tif") == "sar"
    assert acquisition_of("/data/night/VV.tif") == "night"


# Real files


def test_sentinel1_chip(shared_data):
    scene = read_scene(shared_data / "sentinel1_grd_chips" / "Nigeria_812045_S1Hand.tif")
    assert (scene.quantity, scene.bands, scene.shape) == ("db", ("VV", "VH"), (2, 512, 512))
    assert (scene.looks, scene.native_bits, scene.acquisition) == (4.4, 16, "Nigeria")
    assert scene.spacing == pytest.approx((10, 9.87), abs=0.02)
    assert (~scene.valid).mean() == pytest.approx(0.002, abs=0.0005)


def test_empty_chip_is_refused(shared_data):
    with pytest.raises(SceneError, match=r"Paraguay.*nodata"):
        read_scene(shared_data / "sentinel1_grd_chips" / "Paraguay_34417_S1Hand.tif")


def test_airborne_complex(shared_data):
    scene = read_scene(shared_data / "spacenet6_capella_slc" / "sar_hh.tif")
    assert (scene.quantity, scene.bands, scene.looks, scene.native_bits) == ("complex", ("HH",), 1.0, 32)
    assert json.loads(scene.tags["TIFFTAG_IMAGEDESCRIPTION"])["collect"]


def test_umbra_amplitude_with_zeros_and_a_rotated_grid(shared_data, tmp_path):
    path = shared_data / "umbra_mount_yasur" / "umbra_mount_yasur.tiff"
    scene = read_scene(path)
    assert (scene.quantity, scene.native_bits, scene.dtype) == ("amplitude", 8, "uint8")
    assert scene.valid.all()
    assert (scene.data == 0).mean() == pytest.approx(0.238, abs=0.001)
    assert scene.spacing == pytest.approx((0.594, 0.594), abs=0.001)
    assert scene.georeference.transform[1] != 0
    write_geotiff(from_db(to_db(scene)), tmp_path / "x.tif")
    with rasterio.open(path) as first, rasterio.open(tmp_path / "x.tif") as second:
        assert np.array_equal(first.read(), second.read())
        assert first.transform == second.transform
        assert first.crs == second.crs


def test_gamma_product_and_envi(shared_data):
    name = "S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif"
    scene = read_scene(shared_data / "pyrosar_s1" / name)
    assert (scene.quantity, scene.bands, scene.nodata, scene.spacing) == ("db", ("VV",), -99.0, (20.0, 20.0))
    envi = shared_data / "airsar_despeckled" / "T33.bin"
    assert read_scene(envi, "intensity").shape == (1, 900, 1024)
    with pytest.raises(SceneError, match="may be amplitude, intensity or dB"):
        read_scene(envi)
