"""Product folders: Sentinel-1 SAFE with calibration and noise, PolSARpro, BEAM-DIMAP, pairs of bands."""

import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine
from scipy.interpolate import RegularGridInterpolator

from sarlab.errors import SceneError
from sarlab.scenes.readers import open_scene, read_scene

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

NAME = "S1A_IW_GRDH_1SDV_20210809T173953_20210809T174018_039156_049F13_6FF8"
RNG = np.random.default_rng(0)
DN = {band: RNG.integers(20, 400, (60, 90)).astype(np.uint16) for band in ("vv", "vh")}
LINES, PIXELS = np.array([0, 25, 70]), np.array([0, 40, 95])
GAINS = {
    name: 300.0 + gain + np.add.outer(LINES, 2 * PIXELS)
    for name, gain in (("sigmaNought", 0), ("gamma", 40), ("betaNought", 80))
}
NOISE, FACTORS = 400 + np.add.outer(3 * LINES, PIXELS).astype(float), np.array([0.9, 1.2])


def vectors(path, tables):
    rows = []
    for i, line in enumerate(LINES):
        values = "".join(f"<{n}>{' '.join(map(str, t[i]))}</{n}>" for n, t in tables.items())
        rows.append(f"<{path}><line>{line}</line><pixel>{' '.join(map(str, PIXELS))}</pixel>{values}</{path}>")
    return f"<{path}List>{''.join(rows)}</{path}List>"


@pytest.fixture
def safe(tmp_path, write_raw):
    folder = tmp_path / f"{NAME}.SAFE"
    (folder / "annotation/calibration").mkdir(parents=True)
    (folder / "manifest.safe").write_text("<x/>")
    points = [GroundControlPoint(r, c, 12 + c / 1e4, 45 - r / 1e4, 100.0) for r in (0, 30, 60) for c in (0, 45, 90)]
    for number, (band, image) in enumerate(DN.items(), 1):
        name = f"s1a-iw-grd-{band}-20210809t173953-20210809t174018-039156-049f13-00{number}"
        image = image.copy()
        image[:, :4] = 0
        place = (points, rasterio.crs.CRS.from_epsg(4326))
        write_raw(image, f"{NAME}.SAFE/measurement/{name}.tiff", attributes={"gcps": place})
        head = "<adsHeader><startTime>2021-08-09T17:39:53.123456</startTime></adsHeader>"
        (folder / f"annotation/{name}.xml").write_text(f"<product>{head}</product>")
        (folder / f"annotation/calibration/calibration-{name}.xml").write_text(
            f"<a>{vectors('calibrationVector', GAINS)}</a>"
        )
        azimuth = (
            "<noiseAzimuthVector><firstAzimuthLine>10</firstAzimuthLine><firstRangeSample>20</firstRangeSample>"
            "<lastAzimuthLine>49</lastAzimuthLine><lastRangeSample>69</lastRangeSample><line>10 49</line>"
            f"<noiseAzimuthLut>{FACTORS[0]} {FACTORS[1]}</noiseAzimuthLut></noiseAzimuthVector>"
        )
        (folder / f"annotation/calibration/noise-{name}.xml").write_text(
            f"<a>{vectors('noiseRangeVector', {'noiseRangeLut': NOISE})}{azimuth}</a>"
        )
    return folder


def zipped(folder):
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder.parent))
    return target


@pytest.mark.parametrize("name", ["", "{}", "/vsizip/{}", "/vsizip/{}/{}.SAFE"])
def test_both_polarizations_are_one_scene(safe, name):
    scene = read_scene(name.format(zipped(safe), NAME) if name else safe)
    assert (scene.bands, scene.quantity, scene.dtype, scene.name) == (("VV", "VH"), "amplitude", "uint16", NAME)
    assert (scene.acquisition, scene.time, scene.looks) == (NAME, "2021-08-09T17:39:53.123456", 4.4)
    assert np.array_equal(scene.data[1, :, 4:], DN["vh"][:, 4:])
    with rasterio.open(next((safe / "measurement").glob("*vv*"))) as file:
        points = [(p.row, p.col, p.x, p.y, p.z, p.id) for p in file.gcps[0]]
    assert [*scene.georeference.gcps] == points
    assert len(points) == 9


def bilinear(table):
    where = np.stack(np.meshgrid(np.arange(60), np.arange(90), indexing="ij"), -1)
    return RegularGridInterpolator((LINES, PIXELS), table)(where)


@pytest.mark.parametrize(("name", "table"), [("sigma0", "sigmaNought"), ("gamma0", "gamma"), ("beta0", "betaNought")])
def test_calibration_is_that_of_the_tables(safe, name, table):
    scene = read_scene(safe, calibrate=name)
    assert (scene.quantity, scene.dtype) == ("intensity", "float32")
    expected = DN["vv"].astype(float) ** 2 / bilinear(GAINS[table]) ** 2
    expected[:, :4] = 0
    assert np.allclose(scene.data[0], expected, rtol=1e-6)
    part = read_scene(safe, calibrate=name, window=(7, 11, 20, 30), bands=("VV",))
    assert np.array_equal(part.data[0], scene.data[0, 7:27, 11:41])


def test_noise_is_subtracted_with_its_variation_in_azimuth(safe):
    with pytest.raises(SceneError, match="--floor 0"):
        read_scene(safe, calibrate="sigma0", denoise=True)
    scene = read_scene(safe, calibrate="sigma0", denoise=True, floor=0.0)
    noise = bilinear(NOISE)
    noise[10:50, 20:70] *= np.interp(np.arange(10, 50), [10, 49], FACTORS)[:, None]
    expected = np.maximum(DN["vv"].astype(float) ** 2 - noise, 0) / bilinear(GAINS["sigmaNought"]) ** 2
    expected[:, :4] = 0
    assert np.allclose(scene.data[0], expected, rtol=1e-5, atol=1e-9)
    with open_scene(safe, calibrate="sigma0", denoise=True, floor=0.0) as file:
        counts = file.census()
    assert counts["below the floor"] == sum((d[:, 4:].astype(float) ** 2 < noise[:, 4:]).sum() for d in DN.values())


def test_what_a_product_lacks_is_named(safe, tmp_path):
    with pytest.raises(SceneError, match="unknown calibration 'sigma'"):
        read_scene(safe, calibrate="sigma")
    with pytest.raises(SceneError, match="--calibrate sigma0 --denoise"):
        read_scene(safe, denoise=True)
    with pytest.raises(SceneError, match="only Sentinel-1 products"):
        read_scene(next((safe / "measurement").iterdir()), calibrate="sigma0")
    table = next((safe / "annotation/calibration").glob("calibration-*vh*"))
    for damage in (("<line>", "<line>x"), ("</calibrationVector>", "")):
        content = table.read_text()
        table.write_text(content.replace(*damage))
        with pytest.raises(SceneError, match="a damaged file in 'annotation'"):
            read_scene(safe, calibrate="sigma0")
        table.write_text(content)
    for file in (safe / "annotation/calibration").glob("*vh*"):
        file.unlink()
    with pytest.raises(SceneError, match="no calibration table of VH"):
        read_scene(safe, calibrate="sigma0")
    first = next((safe / "measurement").glob("*vv*"))
    first.with_name(first.name.replace("-iw-", "-iw1-")).write_bytes(first.read_bytes())
    with pytest.raises(SceneError, match="several swaths"):
        read_scene(safe)


def test_a_cropped_product_is_calibrated_at_its_place(shared_data):
    """The crop begins at line and sample 4000 of the product."""
    folder = next((shared_data / "sentinel1_safe").glob("*.SAFE"))
    window = (100, 200, 4, 4)
    numbers, sigma = read_scene(folder, window=window), read_scene(folder, calibrate="sigma0", window=window)
    found = np.sqrt(numbers.data[0].astype(float) ** 2 / sigma.data[0])
    (table,) = (folder / "annotation" / "calibration").glob("calibration-*-vv-*.xml")
    vectors = ElementTree.parse(table).findall(".//calibrationVector")
    lines = [int(vector.findtext("line")) for vector in vectors]
    above = max(i for i, line in enumerate(lines) if line <= 4100)
    gains = [
        np.interp(np.arange(4200, 4204), *(np.array(v.findtext(n).split(), float) for n in ("pixel", "sigmaNought")))
        for v in vectors[above : above + 2]
    ]
    share = (np.arange(4100, 4104) - lines[above])[:, None] / (lines[above + 1] - lines[above])
    assert np.allclose(found, (1 - share) * gains[0] + share * gains[1], rtol=1e-5)


def test_polsarpro_and_dimap_folders_are_scenes_without_their_auxiliary_rasters(write_raw, tmp_path):
    image = np.random.default_rng(0).gamma(4, 1, (30, 40)).astype(np.float32)
    for name in ("C11", "C22", "C33"):
        write_raw(image, f"C3/{name}.bin", driver="ENVI")
    for size in ("Nrow\n30\n", "Nrow\n30\n---------\nNcol\n40\n"):
        (tmp_path / "C3" / "config.txt").write_text(size)
        scene = read_scene(tmp_path / "C3", "intensity")
        assert (scene.bands, scene.shape) == (("C11", "C22", "C33"), (3, 30, 40))
        assert np.array_equal(scene.data[2], image)
        for header in (tmp_path / "C3").glob("*.hdr"):  # then the sizes are those of the text
            header.unlink()
    (tmp_path / "C3" / "C12_imag.bin").write_bytes((-image).tobytes())
    with pytest.raises(SceneError, match="band C12_imag is no radar image; choose the others with --bands C11,C22,C33"):
        read_scene(tmp_path / "C3", "intensity")
    (tmp_path / "C3" / "config.txt").write_text("Nrow\n30\n")
    with pytest.raises(SceneError, match=r"C11\.bin: the size is not that of 30×0 samples.*add a header"):
        read_scene(tmp_path / "C3", "intensity")
    names = "Sigma0_VH Sigma0_VV incidenceAngleFromEllipsoid layover_shadow_mask elevation latitude"
    for name in names.split():
        write_raw(image, f"S1.data/{name}.img", driver="ENVI", attributes={"descriptions": (name,)})
    write_raw(image[:5, :5], "S1.data/tie_point_grids/latitude.img", driver="ENVI")
    (tmp_path / "S1.dim").write_text("<Dimap_Document/>")
    for path in (tmp_path / "S1.dim", tmp_path / "S1.data"):
        assert read_scene(path, "intensity").bands == ("Sigma0_VV", "Sigma0_VH")
    bands = {tags["Band_1"] for band, space, tags in read_scene(path, "intensity").profile.tags if band and not space}
    assert bands == {"Sigma0_VH"}  # the name of the first is a tag of the file
    write_raw(image, "S1.data/Sigma0_HV.img", driver="ENVI", transform=Affine(2, 0, 0, 0, -2, 0), crs="EPSG:32633")
    with pytest.raises(SceneError, match="another place; give one of the files"):
        read_scene(tmp_path / "S1.data", "intensity")
    write_raw(image[:7], "S1.data/Sigma0_HH.img", driver="ENVI")
    with pytest.raises(SceneError, match=r"1 band\(s\) of 7×40 samples of float32, the first image 30×40"):
        read_scene(tmp_path / "S1.data", "intensity")


def test_pairs_of_bands_are_complex(write_raw):
    rng = np.random.default_rng(0)
    parts = rng.normal(0, 60, (2, 20, 30)).round().astype(np.int16)
    path = write_raw(parts, "GF3_HH_iq.tif")
    with pytest.raises(SceneError, match="set quantity 'iq'"):
        read_scene(path)
    with pytest.raises(SceneError, match=r"set a floor .* or quantity 'iq' for pairs of bands I and Q"):
        read_scene(path, "amplitude")
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="MISSION", x="y")
        file.update_tags(1, gain="3")
    scene = read_scene(path, "iq")
    assert (scene.quantity, scene.bands, scene.looks) == ("complex", ("HH",), 1.0)
    assert np.array_equal(scene.data[0], parts[0] + 1j * parts[1])
    assert set(map(str, scene.profile.tags)) == {"(0, 'MISSION', {'x': 'y'})", "(1, '', {'gain': '3'})"}
    polar = np.stack([np.abs(parts[0]), rng.uniform(-np.pi, np.pi, (20, 30))]).astype(np.float32)
    with pytest.raises(SceneError, match="or for pairs of bands 'iq' or 'amplitude-phase'"):
        read_scene(write_raw(polar, "z.tif"))
    path = write_raw(polar, "x.tif", attributes={"descriptions": ("amplitude", "phase")})
    with pytest.raises(SceneError, match="set quantity 'amplitude-phase'"):
        read_scene(path)
    assert np.allclose(read_scene(path, "amplitude-phase").data[0], polar[0] * np.exp(1j * polar[1]), atol=1e-4)
    with pytest.raises(SceneError, match="no pairs of real bands"):
        read_scene(write_raw(polar[:1], "y.tif"), "iq")
