"""The contract of preservation applied to files."""

from dataclasses import replace

import numpy as np
import pytest
from rasterio.crs import CRS

from sarlab.scenes.preservation import check, losses
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Georeference

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

DN = np.random.default_rng(0).integers(1, 400, (2, 20, 30)).astype(np.uint16)


def test_losses_are_what_an_output_cannot_hold(write_raw):
    attributes = {"scales": (0.5, 0.5), "units": ("1", "1"), "descriptions": ("VV", "VH")}
    scene = read_scene(write_raw(DN, nodata=0, attributes=attributes, tags={"a": "b"}), "amplitude")
    assert set(losses(scene, "x.npy")) >= {"scale and offset", "nodata value", "units", "tags"}
    assert losses(scene, "x.tif") == losses(scene, "x.zarr") == []
    place = Georeference(
        CRS.from_user_input("+proj=isea +ellps=WGS84").to_wkt(), gcps=((0, 0, 1, 2, 3, "a"),), rpc={"LINE_OFF": "1"}
    )
    assert losses(replace(scene, georeference=place, dtype="float16"), "x.tif") == [
        "rational polynomials (RPC) of 1 items instead of 14",
        "coordinate system (except in the tag SARLAB_CRS_WKT2)",
        "ids of ground control points (except in the tag SARLAB_GCP_IDS)",
        "sample type float16 (written as float32)",
    ]
    assert losses(scene, "x.tif", replace(scene, dtype="float32")) == ["sample type uint16 (written as float32)"]


def test_refusals_and_counts(write_raw, tmp_path):
    image = DN[0].astype(np.float32)
    image[0, :5], image[1, 0] = -0.1, np.inf
    path = write_raw(image, "noise_intensity.tif")
    report = check(path)
    assert report["counts"] == {"below the floor": 5, "infinite": 1}
    assert "--floor 0" in report["refused"]
    assert check(path, floor=0.0)["refused"] is None
    assert "no such file" in check(tmp_path / "gone.tif")["refused"]
    assert check(write_raw(image + 1j, "z.tif"))["properties"][2]["kept"] == "refused"
