"""Options of compress and decompress that decide what is kept: --check, --bands, --floor, --drop-phase, --no-tags, outputs."""

import json

import numpy as np
import pytest
import rasterio
from raster_files import write

from sarlab.cli import main
from sarlab.scenes.readers import read_scene

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
DN = np.random.default_rng(0).integers(1, 400, (3, 40, 50)).astype(np.uint16)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Function of a command line and its exit status, in an empty folder: what it printed, and its errors."""
    monkeypatch.chdir(tmp_path)

    def call(command, status=0):
        assert main(command.split()) == status, capsys.readouterr().err
        return tuple(capsys.readouterr())

    return call


def test_check_prints_the_contract_and_writes_nothing(run, tmp_path):
    write("x.tif", DN, attributes={"descriptions": ("VV", "VH", "HH")}, nodata=0)
    write("z.tif", (DN + 1j).astype("c8"))
    text, _ = run("compress x.tif --check")
    assert "nodata value" in text
    assert "exactly" in text
    report = json.loads(run("compress x.tif --check --json")[0])
    assert {row["property"]: row["value"] for row in report["properties"]}["band descriptions"] == "VV/VH/HH"
    assert "--drop-phase" in run("compress z.tif --check", 1)[0]
    assert "BAQ" in run("compress z.tif x.sarl", 1)[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tif", "z.tif"]
    run("compress z.tif x.sarl --drop-phase")
    write("iq.tif", np.random.default_rng(1).normal(0, 60, (2, 40, 50)).astype("i2"))
    assert "set quantity 'iq'" in run("compress iq.tif y.sarl", 1)[1]
    run("compress iq.tif y.sarl --quantity iq --drop-phase")


def test_bands_floor_and_tags(run):
    noisy = DN.astype("f4") * 0.01
    noisy[0, 0, :5], noisy[2] = -0.1, 38
    names, note = {"descriptions": ("VV", "VH", "angle")}, {"note": "kept"}
    write("s_intensity.tif", noisy, attributes=names, tags=note | {"AREA_OR_POINT": "Point"}, band_tags=note)
    assert "--bands VV,VH" in run("compress s_intensity.tif x.sarl", 1)[1]
    assert "--floor 0" in run("compress s_intensity.tif x.sarl --bands VV,VH", 1)[1]
    command = "compress s_intensity.tif x.sarl --bands VV,VH --floor 0 --quality 40 --force"
    out, error = run(f"{command} --json")
    assert "5 samples below the floor" in error
    assert json.loads(out)["changed"] == ["5 samples below the floor were replaced by it"]
    run("decompress x.sarl y.tif")
    again = read_scene("y.tif")
    assert (again.bands, again.tags["note"]) == (("VV", "VH"), "kept")
    assert (again.data[0, 0, :5] == 0).all()
    assert again.profile.tags[0][2] == {"note": "kept"}
    run(f"{command} --no-tags")
    run("decompress x.sarl y.tif --force")
    assert read_scene("y.tif").tags == {"AREA_OR_POINT": "Point"}
    error = run(command.replace("--quality 40", "--lossless"), 1)[1]
    assert "s_intensity.tif: lossless coding takes whole numbers" in error
    write("dn.tif", DN)
    out, _ = run("compress dn.tif x.sarl --max-error-db 0.5 --force --json")
    assert json.loads(out)["changed"] == ["samples of type uint16 become float32"]


def test_outputs_are_what_their_names_say(run):
    write("x.tif", DN, nodata=0, tags={"note": "kept"})
    run("compress x.tif x.sarl --quality 60")
    assert "y.npy: .npy cannot hold the nodata value" in run("decompress x.sarl y.npy --json")[1]
    array = np.load("y.npy")
    assert (array.dtype, array.shape) == (np.uint16, DN.shape)
    assert np.abs(20 * np.log10(array / DN)).max() < 2
    assert ".tif, .npy or .zarr" in run("decompress x.sarl y.png", 1)[1]
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    run("decompress x.sarl y.zarr")
    assert np.array_equal(xarray.open_zarr("y.zarr", mask_and_scale=False)["scene"], array)


def test_a_product_folder_keeps_its_control_points(run, shared_data):
    safe = next((shared_data / "sentinel1_safe").glob("*.SAFE"))
    assert "samples below the floor" in run(f"compress {safe} x.sarl --calibrate sigma0 --denoise --floor 0")[1]
    run("decompress x.sarl y.tif --window 100 50 64 64")
    with rasterio.open("y.tif") as file, rasterio.open(safe / "manifest.safe") as product:
        ours, theirs = (
            [(p.row + row, p.col + column, p.x, p.y, p.z) for p in source.gcps[0]]
            for source, row, column in ((file, 4100, 4050), (product, 0, 0))
        )
        assert ours == theirs
        assert (len(ours), file.gcps[1]) == (210, product.gcps[1])
    report = json.loads(run("info x.sarl --json")[0])
    assert (report["control_points"], report["time"]) == (210, "2022-06-12T17:33:29.384150")
    assert report["polarizations"] == ["VV", "VH"]
