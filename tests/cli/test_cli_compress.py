"""`sarlab compress`, `decompress` and `info` as a user calls them, on real products."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from raster_files import facts

from sarlab.cli import main
from sarlab.codec.api import describe
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Georeference, Scene
from sarlab.scenes.writers import write_geotiff

rasterio = pytest.importorskip("rasterio")
UTM = rasterio.crs.CRS.from_epsg(32633).to_wkt()


def sarlab(*arguments):
    assert main([str(a) for a in arguments]) == 0


def refused(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 1
    message = capsys.readouterr().err
    assert message.startswith("sarlab: error: ")
    return message


@pytest.fixture
def image(tmp_path):
    """A small GeoTIFF of two bands, with nodata, tags and a coordinate system."""
    rng = np.random.default_rng(0)
    data = 10 * np.log10(rng.gamma(4, 0.02, (2, 150, 131)))
    data[:, 20:30, 40:60] = np.nan
    scene = Scene(
        data.astype(np.float32), "db", ("VV", "VH"), "small", nodata=-9999.0, tags={"MISSION": "none"}, looks=4.0,
        georeference=Georeference(UTM, (10.0, 0.0, 5e5, 0.0, -10.0, 4e6)),
    )  # fmt: skip
    write_geotiff(scene, tmp_path / "in.tif")
    return tmp_path / "in.tif"


def test_there_and_back(image, tmp_path, capsys):
    sarlab("compress", image, tmp_path / "a.sarl", "--bpp", "0.6", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["bytes"] == (tmp_path / "a.sarl").stat().st_size
    assert report["bpp"] == pytest.approx(0.6, rel=0.03)
    sarlab("decompress", tmp_path / "a.sarl", tmp_path / "a.tif")
    assert "150×131" in capsys.readouterr().out
    assert facts(image) == facts(tmp_path / "a.tif")
    sarlab("info", tmp_path / "a.sarl", "--json")
    info = json.loads(capsys.readouterr().out)
    assert info["model"] == "lapped-1"
    assert (info["height"], info["width"], info["bands"]) == (150, 131, ["VV", "VH"])
    sarlab("info", tmp_path / "a.sarl")
    text = capsys.readouterr().out
    for part in ("lapped-1", "150×131", "VV, VH", "MISSION", "UTM zone 33N", "-9999"):
        assert part in text


def test_bounds_previews_and_means(image, tmp_path):
    sarlab("compress", image, tmp_path / "a.sarl", "--max-error-db", "0.5")
    sarlab("decompress", tmp_path / "a.sarl", tmp_path / "a.tif")
    assert np.nanmax(np.abs(read_scene(image).data - read_scene(tmp_path / "a.tif").data)) <= 0.5
    sarlab("compress", image, tmp_path / "b.sarl", "--effort", "fast", "--quality", "21", "--radiometric")
    sarlab("decompress", tmp_path / "b.sarl", tmp_path / "small.tif", "--preview", "8")
    assert read_scene(tmp_path / "small.tif").shape == (2, 19, 17)
    sarlab("decompress", tmp_path / "b.sarl", tmp_path / "b.tif", "--radiometric")
    means = [np.nanmean(10 ** (read_scene(path).data[0].astype(float) / 10)) for path in (image, tmp_path / "b.tif")]
    assert abs(10 * np.log10(means[1] / means[0])) < 0.05


def test_a_window_and_a_cog(image, tmp_path):
    sarlab("compress", image, tmp_path / "a.sarl", "--tile", "64", "--codec", "klt8")
    sarlab("decompress", tmp_path / "a.sarl", tmp_path / "whole.tif")
    sarlab("decompress", tmp_path / "a.sarl", tmp_path / "part.tif", "--window", "70", "33", "40", "50", "--cog")
    whole, part = read_scene(tmp_path / "whole.tif"), read_scene(tmp_path / "part.tif")
    expected = whole.window(70, 33, 40, 50)
    assert np.nanmax(np.abs(part.data - expected.data)) < 1e-3
    assert part.georeference.transform == expected.georeference.transform
    with rasterio.open(tmp_path / "part.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"


@pytest.mark.parametrize(
    ("name", "options", "error_db"),
    [
        ("sentinel1_grd_chips/Nigeria_812045_S1Hand.tif", ["--quantity", "db", "--bpp", "0.5"], 2.0),
        ("sentinel1_grd_chips/Paraguay_34417_S1Hand.tif", [], None),  # without a valid sample
        ("umbra_mount_yasur/umbra_mount_yasur.tiff", ["--quality", "32"], 1.0),
        ("spacenet6_capella_slc/sar_vv.tif", ["--quality", "36", "--drop-phase"], 2.5),
    ],
)  # fmt: skip
def test_real_products(name, options, error_db, tmp_path, shared_data):
    source = shared_data / name
    coded, back = tmp_path / "x.sarl", tmp_path / f"back_{source.name}"  # the name of a file may state its polarization
    sarlab("compress", source, coded, *options)
    sarlab("decompress", coded, back)
    if "--drop-phase" not in options:
        assert facts(source) == facts(back)
    if error_db is None:
        assert coded.stat().st_size < 300
        assert not read_scene(back, allow_empty=True).valid.any()
        return
    before, after = read_scene(source, "db" if "db" in options else "auto"), read_scene(back)
    assert (after.bands, after.georeference.transform) == (before.bands, before.georeference.transform)
    if "--bpp" in options:
        assert 8 * coded.stat().st_size / before.data.size == pytest.approx(0.5, rel=0.03)
    valid = before.valid & (np.abs(before.data) > 0)
    error = (to_db(before).data - to_db(after).data)[valid]
    assert np.sqrt(np.mean(np.square(error))) < error_db


def test_what_exists_is_left_alone_and_a_truncated_file_makes_nothing(image, tmp_path, capsys):
    target = tmp_path / "a.sarl"
    target.write_bytes(b"precious")
    assert "exists already" in refused(capsys, "compress", image, target)
    assert target.read_bytes() == b"precious"
    sarlab("compress", image, target, "--force")
    (tmp_path / "a.tif").write_bytes(b"precious")
    assert "exists already" in refused(capsys, "decompress", target, tmp_path / "a.tif")
    assert (tmp_path / "a.tif").read_bytes() == b"precious"
    sarlab("decompress", target, tmp_path / "a.tif", "--force")
    assert facts(image) == facts(tmp_path / "a.tif")
    target.write_bytes(target.read_bytes()[:-10])
    assert "truncated" in refused(capsys, "decompress", target, tmp_path / "b.tif")
    assert not list(tmp_path.glob("*b*.tif"))


def peak_bytes(folder, side):
    """Largest memory of a process that compresses and decompresses a side×side image."""
    script = (
        "import sys; from sarlab.cli import main\n"
        "assert main(['compress', 'in.npy', 'a.sarl', '--quantity', 'intensity', '--workers', '1', '--force']) == 0\n"
        "assert main(['decompress', 'a.sarl', 'a.tif', '--workers', '1', '--force']) == 0\n"
        # Not `ru_maxrss`, which begins with the memory of the process that started this one.
        "line = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(int(line.split()[1]) * 1024, file=sys.stderr)"
    )
    rng = np.random.default_rng(0)
    np.save(folder / "in.npy", rng.gamma(4, 0.25, (side, side)).astype(np.float32))
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak of memory is read from /proc")
def test_memory_hardly_grows_with_the_scene(tmp_path):
    small, large = peak_bytes(tmp_path, 2000), peak_bytes(tmp_path, 4000)
    samples = 4000**2 - 2000**2
    # The input is mapped, so up to 4 of these bytes per sample are the file itself in the page cache.
    assert (large - small) / samples < 8, (small, large)
    assert large < 0.8e9
    assert describe(tmp_path / "a.sarl")["tiles"] == 64
