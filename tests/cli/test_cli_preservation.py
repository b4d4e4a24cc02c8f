"""Options of compress and decompress that decide what is kept: --check, --bands, --floor, --drop-phase, --no-tags, outputs."""

import json

import numpy as np
import pytest
import rasterio

from sarlab.cli import main
from sarlab.scenes.readers import read_scene

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

DN = np.random.default_rng(0).integers(1, 400, (3, 40, 50)).astype(np.uint16)


@pytest.fixture
def image(tmp_path):
    def write(array, name="x.tif", descriptions=None, tags=None, **options):
        array = array if array.ndim == 3 else array[None]
        options = {"dtype": array.dtype, **options}
        with rasterio.open(tmp_path / name, "w", "GTiff", width=50, height=40, count=len(array), **options) as file:
            file.write(array)
            if descriptions:
                file.descriptions = descriptions
            file.update_tags(**tags or {})
            file.update_tags(1, **tags or {})
        return str(tmp_path / name)

    return write


def test_check_prints_the_contract_and_writes_nothing(image, capsys, tmp_path):
    path = image(DN, descriptions=("VV", "VH", "HH"), nodata=0)
    assert main(["compress", path, "--check"]) == 0
    text = capsys.readouterr().out
    assert "nodata value" in text
    assert "exactly" in text
    assert main(["compress", path, "--check", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {row["property"]: row["value"] for row in report["properties"]}["band descriptions"] == "VV/VH/HH"
    assert main(["compress", image((DN + 1j).astype("c8"), "z.tif"), "--check"]) == 1
    assert "--drop-phase" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.tif", "z.tif"]
    assert main(["compress", path]) == 1
    assert "--check" in capsys.readouterr().err


def test_a_phase_is_dropped_only_on_request(image, capsys, tmp_path):
    path, target = image((DN + 1j).astype("c8")), str(tmp_path / "x.sarl")
    assert main(["compress", path, target]) == 1
    error = capsys.readouterr().err
    assert path in error
    assert "BAQ" in error
    assert not (tmp_path / "x.sarl").exists()
    assert main(["compress", path, target, "--drop-phase"]) == 0
    iq = image(np.random.default_rng(1).normal(0, 60, (2, 40, 50)).astype("i2"), "iq.tif")
    assert main(["compress", iq, target, "--force"]) == 1
    assert "set quantity 'iq'" in capsys.readouterr().err
    assert main(["compress", iq, target, "--force", "--quantity", "iq", "--drop-phase"]) == 0


def test_bands_floor_and_tags(image, capsys, tmp_path):
    noisy = DN.astype("f4") * 0.01
    noisy[0, 0, :5], noisy[2] = -0.1, 38
    path = image(noisy, "s_intensity.tif", ("VV", "VH", "angle"), {"note": "kept"})
    target = str(tmp_path / "x.sarl")
    assert main(["compress", path, target]) == 1
    assert "--bands VV,VH" in capsys.readouterr().err
    assert main(["compress", path, target, "--bands", "VV,VH"]) == 1
    assert "--floor 0" in capsys.readouterr().err
    options = ["--bands", "VV,VH", "--floor", "0", "--quality", "40"]
    assert main(["compress", path, target, *options, "--json"]) == 0
    said = capsys.readouterr()
    assert "5 samples below the floor" in said.err
    assert json.loads(said.out)["changed"] == ["5 samples below the floor were replaced by it"]
    assert main(["decompress", target, str(tmp_path / "y.tif")]) == 0
    again = read_scene(tmp_path / "y.tif")
    assert (again.bands, again.tags["note"]) == (("VV", "VH"), "kept")
    assert (again.data[0, 0, :5] == 0).all()
    assert again.profile.tags[0][2] == {"note": "kept"}
    assert main(["compress", path, target, *options, "--no-tags", "--force"]) == 0
    assert main(["decompress", target, str(tmp_path / "y.tif"), "--force"]) == 0
    assert "note" not in read_scene(tmp_path / "y.tif").tags


def test_outputs_are_what_their_names_say(image, capsys, tmp_path):
    path, target = image(DN, nodata=0, tags={"note": "kept"}), str(tmp_path / "x.sarl")
    assert main(["compress", path, target, "--quality", "60"]) == 0
    assert main(["decompress", target, str(tmp_path / "y.npy"), "--json"]) == 0
    said = capsys.readouterr()
    assert "y.npy: .npy cannot hold the nodata value" in said.err
    array = np.load(tmp_path / "y.npy")
    assert (array.dtype, array.shape) == (np.uint16, DN.shape)
    assert np.abs(20 * np.log10(array / DN)).max() < 2
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    assert main(["decompress", target, str(tmp_path / "y.zarr")]) == 0
    assert np.array_equal(xarray.open_zarr(tmp_path / "y.zarr", mask_and_scale=False)["scene"], array)
    assert main(["decompress", target, str(tmp_path / "y.png")]) == 1
    assert ".tif, .npy or .zarr" in capsys.readouterr().err


def test_a_product_folder_keeps_its_control_points(shared_data, capsys, tmp_path):
    safe = next((shared_data / "sentinel1_safe").glob("*.SAFE"))
    target = str(tmp_path / "x.sarl")
    assert main(["compress", str(safe), target, "--calibrate", "sigma0", "--denoise", "--floor", "0"]) == 0
    assert "samples below the floor" in capsys.readouterr().err
    assert main(["decompress", target, str(tmp_path / "y.tif"), "--window", "100", "50", "64", "64"]) == 0
    with rasterio.open(tmp_path / "y.tif") as file, rasterio.open(safe / "manifest.safe") as product:
        assert len(file.gcps[0]) == 210
        assert [(p.row + 4100, p.col + 4050, p.x, p.y, p.z) for p in file.gcps[0]] == [
            (p.row, p.col, p.x, p.y, p.z) for p in product.gcps[0]
        ]
        assert file.gcps[1] == product.gcps[1]
    capsys.readouterr()
    assert main(["info", target, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["control_points"], report["time"]) == (210, "2022-06-12T17:33:29.384150")
    assert report["polarizations"] == ["VV", "VH"]
