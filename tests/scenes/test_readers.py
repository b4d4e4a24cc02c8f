"""Reading files: quantity, nodata, zeros, windows, bad input, real products."""

import numpy as np
import pytest
from rasterio.transform import Affine

from sarlab.errors import SceneError
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.readers import open_scene, read_scene

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

DB = np.linspace(-25, -3, 12, dtype=np.float32).reshape(3, 4)


# Quantity


@pytest.mark.parametrize(
    ("name", "array", "options", "quantity"),
    [
        ("x.tif", DB, {}, "db"),
        ("x.tif", np.arange(12, dtype=np.uint8).reshape(3, 4), {}, "amplitude"),
        ("x.tif", np.arange(12, dtype=np.int16).reshape(3, 4), {}, "amplitude"),
        ("x.tif", (DB + 1j).astype(np.complex64), {}, "complex"),
        ("sigma0_intensity.tif", -DB, {}, "intensity"),
        ("x_amplitude.tif", -DB, {}, "amplitude"),
        ("x_sigma0_db.tif", np.abs(DB), {}, "db"),
        ("x.tif", -DB, {"tags": {"SARLAB_QUANTITY": "intensity"}}, "intensity"),
        ("x_amplitude.tif", -DB, {"attributes": {"units": ("dB",)}}, "db"),
        ("x.npy", DB, {}, "db"),
        ("x.npy", DB.astype(np.float64), {}, "db"),
        ("x.npy", (DB + 1j).astype(np.complex128), {}, "complex"),
    ],
)
def test_quantity_is_decided_by_documented_rules(write_raw, name, array, options, quantity):
    scene = read_scene(write_raw(array, name, **options))
    assert scene.quantity == quantity
    assert scene.data.dtype == (np.complex64 if quantity == "complex" else np.float32)
    assert np.allclose(scene.data[0], array)


@pytest.mark.parametrize(
    ("array", "quantity", "message"),
    [
        (-DB, "auto", "amplitude, intensity or dB; set quantity '"),
        (DB * 100, "auto", "neither like dB.*set quantity '"),
        (DB + 15, "auto", "neither like dB.*set quantity '"),
        (np.array([[-5, 3]], np.int16), "auto", "negative integers.*set quantity '"),
        (DB, "amplitude", "negative amplitude .* probably in dB"),
        (DB, "intensity", "negative intensity .* probably in dB"),
        (DB, "complex", "not complex"),
        (DB + 1j, "db", "complex samples are not db"),
        (np.abs(DB) * 1e4, "db", "cannot be dB"),
        (
            np.where(DB < -18, -9999, -DB),
            "intensity",
            r"all of one value; .*declare it \(gdal_edit\.py -a_nodata -9999",
        ),
        (np.where(DB < -18, -9999, -DB), "auto", "if -9999 marks missing samples, declare it"),
        (np.where(DB < -24, DB, -DB), "intensity", "8.33% of the samples are negative .*--floor 0"),
    ],
)
def test_wrong_and_undecidable_quantities_are_refused(write_raw, array, quantity, message):
    path = write_raw(array, "x.npy")
    with pytest.raises(SceneError, match=f"{path}: .*{message}"):
        read_scene(path, quantity)
    with pytest.raises(SceneError, match="unknown quantity 'power'"):
        read_scene(path, "power")


def test_a_window_does_not_decide_the_quantity(write_raw):
    """The bright corner of a dB image is all positive; alone it would be refused."""
    image = np.full((64, 64), -12, np.float32)
    image[:4, :4] = 9
    scene = read_scene(write_raw(image), window=(0, 0, 4, 4))
    assert scene.quantity == "db"
    assert (scene.data == 9).all()


# Nodata, zeros, odd shapes


def test_nodata_and_masks_are_no_zeros(write_raw):
    array = np.array([[0, 7, 255]], np.uint8)
    assert read_scene(write_raw(array)).data.tolist() == [[[0, 7, 255]]]
    marked = read_scene(write_raw(array, nodata=255))
    assert (marked.valid[0].tolist(), marked.nodata) == ([[True, True, False]], 255)
    assert np.isnan(marked.data[0, 0, 2])
    mask = np.arange(12).reshape(3, 4) != 5
    assert np.array_equal(read_scene(write_raw(DB, mask=mask)).valid[0], mask)


def test_minus_infinity_is_an_exact_zero_and_plus_infinity_is_nodata(write_raw):
    scene = read_scene(write_raw(np.array([[-np.inf, -12.0, np.inf, np.nan]], np.float32), "x.npy"))
    assert scene.quantity == "db"
    assert scene.valid[0].tolist() == [[True, True, False, False]]
    assert to_db(scene).data[0, 0, 0] == pytest.approx(-12 - 10 * np.log10(2), abs=1e-5)


def test_scaled_integers_are_scaled(write_raw):
    path = write_raw(np.array([[100, 2000]], np.uint16), attributes={"scales": (0.01,), "offsets": (-30.0,)})
    assert read_scene(path, "db").data[0, 0] == pytest.approx([-29, -10])
    path = write_raw(np.array([[1 + 2j]], np.complex64), attributes={"scales": (0.5,)})
    assert read_scene(path).data.tolist() == [[[0.5 + 1j]]]


def test_a_scene_of_nan_is_refused_but_a_window_of_nan_is_not(write_raw):
    image = np.full((20, 20), -9.0, np.float32)
    image[7] = np.nan
    path = write_raw(image)
    assert np.array_equal(read_scene(path).valid[0], np.isfinite(image))
    assert not read_scene(path, window=(7, 0, 1, 20)).valid.any()
    path = write_raw(image[7:8])
    for quantity in ("auto", "db"):
        with pytest.raises(SceneError, match="every sample is nodata"):
            read_scene(path, quantity)
    assert not read_scene(path, allow_empty=True).valid.any()


@pytest.mark.parametrize("floor", [0, 0.25])
def test_samples_that_change_are_counted(write_raw, floor):
    data = np.random.default_rng(0).random((2, 101, 2203), np.float32) + 0.3
    data[0, 50, 60], data[1, 100, 2202], data[1, 35, 30], data[0, 0, 0] = np.inf, -1, -2, np.finfo("f4").max
    data[0, 5], data[1, 6, :9] = 0, 0.2
    with open_scene(write_raw(data, "intensity.npy"), "intensity", floor=floor) as file:
        counts = {"below the floor": 2 + 9 * (floor > 0), "infinite": 1, "beyond float32": 1}
        assert file.census() == counts
        read = file.read().data
        assert file.census(seen=True) == counts
    assert (read[0, 5] == 0).all()
    assert np.array_equal(read[1], np.maximum(data[1], floor))
    data[1, 0, :3] = -7  # then +∞ is no nodata, although this is
    scene = read_scene(write_raw(data, "intensity.tif", nodata=-7), "intensity", floor=floor)
    assert np.argwhere(scene.nan).tolist() == [[0, 50, 60]]
    with open_scene(write_raw(data[0] + 1j, "z.npy")) as file:
        assert file.census()["infinite"] == 1


# Bad input


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.tif", None, "no such file"),
        ("empty.tif", b"", "is empty"),
        ("text.tif", b"hello", "not a readable image"),
        ("text.npy", b"hello", r"not a readable \.npy"),
        ("cut.npy", b"\x93NUMPY", r"not a readable \.npy"),
        (".", None, "is a folder"),
        ("x.npy", np.zeros((2, 2, 2, 2)), "no image"),
        ("x.npy", np.zeros((0, 4)), "no image"),
        ("x.npy", np.zeros((200, 200, 3)), "move the bands to the front"),
        ("x.npy", np.array([["a"]]), "no image"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SceneError, match=message) as error:
        read_scene(path, "db")
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


def test_what_may_not_be_read_is_named(write_raw, monkeypatch):
    path = write_raw(np.ones((8, 8), np.float32))
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    with pytest.raises(SceneError, match=r"x\.tif: no permission to read it"):
        read_scene(path, "db")


@pytest.mark.parametrize(
    ("name", "options", "kept", "message"),
    [
        ("x.tif", {"compress": "deflate"}, 0.5, r"x\.tif"),
        ("x.img", {"driver": "ENVI"}, 0.999999, r"x\.img: fewer than the 262144 bytes of its header"),
    ],
)
def test_a_truncated_image_is_refused(write_raw, name, options, kept, message):
    noise = np.random.default_rng(0).normal(-12, 2, (256, 256)).astype(np.float32)
    path = write_raw(noise, name, **options)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(SceneError, match=message):
        read_scene(path, "db")


def test_windows_cover_the_scene_and_move_the_georeference(write_raw):
    image = np.random.default_rng(0).normal(-12, 2, (2, 50, 70)).astype(np.float32)
    path = write_raw(image, transform=Affine(10, 0, 500_000, 0, -10, 6_000_000), crs="EPSG:32633")
    with open_scene(path) as file:
        assert (file.shape, file.spacing) == ((2, 50, 70), (10.0, 10.0))
        out = np.full(file.shape, np.nan, np.float32)
        for row, column, height, width in file.windows(32):
            part = file.read((row, column, height, width))
            out[:, row : row + height, column : column + width] = part.data
            assert part.georeference.transform[2::3] == (500_000 + 10 * column, 6_000_000 - 10 * row)
        assert np.array_equal(out, image)
        for wrong in ((0, 0, 51, 1), (-1, 0, 2, 2), (0, 0, 0, 2), (49, 69, 2, 1)):
            with pytest.raises(SceneError, match="exceeds the scene"):
                file.read(wrong)


# Real files


@pytest.mark.parametrize(
    ("name", "quantity", "known"),
    [
        ("sentinel1_grd_chips/Nigeria_812045_S1Hand.tif", "auto",
         {"quantity": "db", "bands": ("VV", "VH"), "shape": (2, 512, 512), "looks": 4.4, "native_bits": 16, "acquisition": "Nigeria",
          "spacing": pytest.approx((10, 9.87), abs=0.02)}),
        ("spacenet6_capella_slc/sar_hh.tif", "auto", {"quantity": "complex", "bands": ("HH",), "looks": 1.0, "native_bits": 32}),
        ("pyrosar_s1/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif", "auto",
         {"quantity": "db", "bands": ("VV",), "nodata": -99.0, "spacing": (20.0, 20.0)}),
        ("airsar_despeckled/T33.bin", "intensity", {"quantity": "intensity", "shape": (1, 900, 1024)}),
        ("umbra_mount_yasur/umbra_mount_yasur.tiff", "auto",
         {"quantity": "amplitude", "native_bits": 8, "dtype": "uint8", "spacing": pytest.approx((0.594, 0.594), abs=0.001)}),
    ],
)  # fmt: skip
def test_products_of_several_sensors(shared_data, name, quantity, known):
    scene = read_scene(shared_data / name, quantity)
    assert {key: getattr(scene, key) for key in known} == known


def test_zeros_of_a_real_file_are_samples(shared_data):
    scene = read_scene(shared_data / "umbra_mount_yasur" / "umbra_mount_yasur.tiff")
    assert scene.valid.all()
    assert (scene.data == 0).mean() == pytest.approx(0.238, abs=0.001)
