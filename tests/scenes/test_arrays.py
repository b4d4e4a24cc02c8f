"""Arrays of xarray, to scenes and back; outputs that hold samples only."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from sarlab.errors import SceneError
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Georeference, Profile, Scene
from sarlab.scenes.writers import open_writer

xarray = pytest.importorskip("xarray")

UTM = rasterio.crs.CRS.from_epsg(32633).to_wkt()
PLACE = Georeference(UTM, (10.0, 0.0, 5e5, 0.0, -10.0, 5e6))
POINTS = Georeference(
    gcps=((0.0, 0.0, 12.0, 45.0, 3.0, "a"), (9.0, 0.0, 12.0, 44.0, 3.0, "b")), gcps_crs=UTM, rpc={"LINE_OFF": "1"}
)
DN = np.random.default_rng(0).integers(1, 400, (2, 20, 30))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("nodata", [None, 0.0])
@pytest.mark.parametrize("place", [None, PLACE, Georeference(UTM, (10.0, 1.0, 5e5, 1.0, -10.0, 5e6)), POINTS])
def test_a_scene_comes_back_from_an_array(dtype, nodata, place):
    data = DN.astype(float)
    valid = np.ones(data.shape, bool)
    if nodata is not None or dtype.startswith("float"):
        valid[:, :3] = False
    scene = Scene(
        data, "amplitude", ("VV", "VH"), "x", valid=valid, nodata=nodata, dtype=dtype, georeference=place, looks=4.4,
        tags={"sensor": "S1"}, time="2020-01-01", acquisition="pass", profile=Profile(units=("1", "1")),
    )  # fmt: skip
    array = scene.to_xarray()
    assert array.dtype == dtype
    again = read_scene(array)
    assert np.array_equal(again.data, scene.data, equal_nan=True)
    assert np.array_equal(again.valid, scene.valid)
    for name in ("quantity", "bands", "name", "nodata", "dtype", "georeference", "looks", "time", "acquisition"):
        assert getattr(again, name) == getattr(scene, name), name
    assert again.tags["sensor"] == "S1"
    assert again.profile.units == ("1", "1")


def test_conventions_of_rioxarray(tmp_path):
    """An array as `rioxarray.open_rasterio(masked=True)` makes it."""
    data = np.where(DN == 7, np.nan, DN).astype("f4")
    mapping = xarray.DataArray(0, attrs={"crs_wkt": UTM, "GeoTransform": "500000.0 10.0 0.0 5000000.0 0.0 -10.0"})
    array = xarray.DataArray(
        data, dims=("band", "y", "x"), attrs={"long_name": ("VV", "VH"), "units": "amplitude"},
        coords={"band": [1, 2], "y": 5e6 - 10 * (np.arange(20) + 0.5), "x": 5e5 + 10 * (np.arange(30) + 0.5), "spatial_ref": mapping},
    )  # fmt: skip
    array.encoding["_FillValue"] = 0.0
    scene = read_scene(array)
    assert (scene.quantity, scene.bands, scene.nodata, scene.georeference) == ("amplitude", ("VV", "VH"), 0.0, PLACE)
    assert np.array_equal(scene.valid, DN != 7)
    # Without GeoTransform the coordinates give the transform.
    del mapping.attrs["GeoTransform"]
    bare = array.assign_coords(spatial_ref=mapping)
    assert read_scene(bare).georeference == PLACE
    single = read_scene(array[0, ::-1], window=(0, 0, 5, 5))
    assert single.georeference.transform == (10.0, 0.0, 5e5, 0.0, 10.0, 5e6 - 200)
    dask = pytest.importorskip("dask.array")
    lazy = array.copy(data=dask.from_array(data, chunks=(1, 7, 7)))
    assert np.array_equal(read_scene(lazy).data, scene.data, equal_nan=True)


def test_coordinates_give_names_time_and_the_place_of_a_part():
    times = np.array(["2020-01-02", "2020-01-14"], "M8[ns]")
    cube = xarray.DataArray(-DN.astype("f4"), {"time": times}, ("time", "latitude", "longitude"), "a/VV.db")
    scene = read_scene(cube)
    assert (scene.bands, scene.time) == (("2020-01-02T00:00:00", "2020-01-14T00:00:00"), "2020-01-02T00:00:00")
    one = read_scene(
        cube[1].assign_coords(polarization="VH", latitude=np.arange(20.0), longitude=np.arange(30.0) ** 0.5), "db"
    )
    assert (one.name, one.bands, one.time, one.georeference) == ("a_VV.db", ("VV",), "2020-01-14T00:00:00", None)
    assert one.tags["polarization"] == "VH"
    with pytest.warns(UserWarning, match="coordinates latitude, longitude, angle are left out"):
        read_scene(cube[1].assign_coords(latitude=np.arange(20.0), longitude=np.arange(30.0) ** 2, angle=cube[0]), "db")
    # As rioxarray reads a rotated image; the attribute is not that of a part.
    rows, columns = np.mgrid[0.5:20, 0.5:30]
    a, b, c, d, e, f = (10.0, 3.0, 5e5, 3.0, -10.0, 5e6)
    grids = {"xc": a * columns + b * rows + c, "yc": d * columns + e * rows + f}
    place = xarray.DataArray(0, attrs={"crs_wkt": "EPSG:32633", "GeoTransform": f"{c} {a} {b} {f} {d} {e}"})
    coordinates = {n: (("y", "x"), g) for n, g in grids.items()} | {"spatial_ref": place}
    image = xarray.DataArray(-DN[0].astype("f4"), coordinates, ("y", "x"))
    whole = read_scene(image, "db").georeference
    assert (whole.transform, whole.crs) == ((a, b, c, d, e, f), UTM)
    for part in (np.s_[4:, 7:], np.s_[4:5, 7:]):
        assert read_scene(image[part], "db").georeference == whole.shifted(4, 7)
    for name, value in (("GeoTransform", "a b"), ("gcps", "{"), ("rpc", "[1]"), ("crs_wkt", "hello")):
        with pytest.raises(SceneError, match="damaged attributes"):
            read_scene(image.assign_coords(spatial_ref=xarray.DataArray(0, attrs={name: value})))


def test_one_scale_keeps_integers():
    profile = Profile((0.001,) * 2, (0.0,) * 2)
    array = Scene(DN * 0.001, "amplitude", ("a", "b"), dtype="uint16", profile=profile).to_xarray()
    assert np.array_equal(array.values, DN)
    assert np.allclose(read_scene(array).data, DN * 0.001)
    assert read_scene(array).profile.scales == (0.001, 0.001)
    scales = {"scale_factor": np.array([0.1, 0.2]), "_FillValue": np.array([7.0])}
    scene = read_scene(array.assign_attrs(scales))
    assert (scene.profile.scales, scene.nodata) == ((0.1, 0.2), 7)


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_samples_written_by_window_come_back(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"

    def stored():
        if suffix == ".npy":
            return np.load(path)
        return xarray.open_zarr(path, mask_and_scale=False, consolidated=False)["scene"]

    # A scale of each band makes floats.
    scaled = Profile((0.001, 0.5), (0.0, 0.0))
    scaled = Scene(DN * [[[0.001]], [[0.5]]], "amplitude", ("a", "b"), dtype="uint16", profile=scaled)
    with open_writer(path, scaled) as writer:
        writer.write(scaled.data, 0, 0)
    assert np.allclose(stored(), scaled.data)
    assert np.allclose(scaled.to_xarray(), scaled.data)
    # Another scene replaces it.
    scene = Scene(DN.astype(float), "amplitude", ("VV", "VH"), "x", dtype="uint16", georeference=PLACE, nodata=0.0)
    with open_writer(path, scene) as writer:
        for row in (0, 8, 16):
            part = scene.window(row, 0, min(8, 20 - row), 30)
            writer.write(part.data, row, 0, part.valid)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert stored().dtype == np.uint16
    assert np.array_equal(stored(), DN)
    if suffix == ".zarr":
        again = read_scene(stored())
        for name in ("georeference", "bands", "quantity", "nodata"):
            assert getattr(again, name) == getattr(scene, name)


ARRAY = xarray.DataArray(np.zeros((3, 4, 2)), dims=("y", "x", "time"), name="VV")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (xarray.DataArray(np.zeros(3), dims=("x",)), "is no image"),
        ([1, 2], "not list"),
        (ARRAY, r"'VV': its dimensions are .*; transpose them"),
        (ARRAY.to_dataset(), "several arrays; give one of them: VV"),
    ],
)
def test_what_is_no_array_of_an_image_is_named(given, message):
    with pytest.raises(SceneError, match=message):
        read_scene(given, "db")


def test_open_datasets_are_read_and_stay_open(write_raw):
    with rasterio.open(write_raw(DN.astype("u2"), transform=Affine(*PLACE.transform), crs=UTM)) as file:
        scene = read_scene(file)
        assert not file.closed
        assert np.array_equal(file.read(), scene.data)
    assert scene.georeference == PLACE
