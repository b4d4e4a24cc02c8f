"""Quantities deduced from files, and acquisitions and polarizations from names."""

import numpy as np
import pytest

from sarlab.errors import SceneError
from sarlab.scenes.scene import acquisition_of, polarization
from sarlab.scenes.readers import read_scene

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

DB = np.linspace(-25, -3, 12, dtype=np.float32).reshape(3, 4)


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
def test_quantity_is_decided_by_documented_rules(write_raw, name, array, quantity):
    scene = read_scene(write_raw(array, name))
    assert scene.quantity == quantity
    assert scene.data.dtype == (np.complex64 if quantity == "complex" else np.float32)
    assert np.allclose(scene.data[0], array)


def test_tags_and_units_take_precedence(write_raw):
    assert read_scene(write_raw(-DB, tags={"SARLAB_QUANTITY": "intensity"})).quantity == "intensity"
    assert read_scene(write_raw(-DB, attributes={"units": ("dB",)})).quantity == "db"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (-DB, "amplitude, intensity or dB"),
        (DB * 100, "neither like dB"),
        (DB + 15, "neither like dB"),
        (np.array([[-5, 3]], np.int16), "negative integers"),
    ],
)
def test_undecidable_quantities_are_refused(write_raw, array, message):
    path = write_raw(array)
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
        (DB, "power", "unknown quantity 'power'"),
    ],
)
def test_a_wrong_quantity_is_refused(write_raw, array, quantity, message):
    with pytest.raises(SceneError, match=message):
        read_scene(write_raw(array, "x.npy"), quantity)


def test_a_window_does_not_decide_the_quantity(write_raw):
    """The bright corner of a dB image is all positive; alone it would be refused."""
    image = np.full((64, 64), -12, np.float32)
    image[:4, :4] = 9
    scene = read_scene(write_raw(image), window=(0, 0, 4, 4))
    assert scene.quantity == "db"
    assert (scene.data == 9).all()


def test_names_contain_polarization_and_acquisition():
    assert polarization("S1A_IW_VV_x") == "VV"
    assert polarization("sar_hv") == "HV"
    assert polarization("VV_VH") == ""
    assert polarization("survival") == ""
    product = "S1A_IW_GRDH_1SDV_20200607T010800_20200607T010825_032904_03CFBA_D457"
    assert acquisition_of(f"/data/{product}/VV.tif") == product
    assert acquisition_of("/data/Ghana_53713_S1Hand.tif") == acquisition_of("/x/Ghana_83483_S1Hand.tif") == "Ghana"
    assert acquisition_of("/data/sar_hh.tif") == acquisition_of("/data/sar_vv.tif") == "sar"
    assert acquisition_of("/data/night/VV.tif") == "night"
