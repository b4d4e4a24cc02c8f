"""Properties of raster files, before and after, as GDAL reads them; files that are refused."""

import multiprocessing
import os
import sys
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raster_files import facts
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from sarlab.codec.api import compress, compress_file, decompress, decompress_file, make_goal
from sarlab.codec.stream import FileSource
from sarlab.errors import SceneError
from sarlab.scenes.rasters import Georeference
from sarlab.scenes.readers import read_scene
from sarlab.scenes.writers import write_geotiff

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

UTM = CRS.from_epsg(32633)
ROTATED = Affine(-0.346, 0.2915, 366317.96, 0.2915, 0.346, 130406.04)
DN = np.random.default_rng(0).integers(1, 400, (40, 50)).astype(np.uint16)
DB = np.random.default_rng(1).normal(-12, 3, (40, 50)).astype(np.float32)
HALF = np.add.outer(np.arange(40), np.arange(50)) > 30


def returned(path, target, quantity="auto", **options):
    """Read, write and read again; the facts of both files, and nothing but the file itself."""
    target.parent.mkdir(exist_ok=True)
    write_geotiff(read_scene(path, quantity, allow_empty=True, **options), target)
    assert [p.name for p in target.parent.iterdir()] == [target.name]
    return facts(path), facts(target)


def vrt(path, *bands, head=""):
    """Write a VRT of 50×40 samples; of each band: type, source, other elements, attribute of the name, band of the source."""
    text = f'<VRTDataset rasterXSize="50" rasterYSize="40">{head}'
    for number, band in enumerate(bands, 1):
        kind, name, inner, relative, source = (*band, *("", 1, 1)[len(band) - 2 :])
        text += f'<VRTRasterBand dataType="{kind}" band="{number}">{inner}<SimpleSource><SourceFilename relativeToVRT="{relative}">'
        text += f"{name}</SourceFilename><SourceBand>{source}</SourceBand></SimpleSource></VRTRasterBand>"
    path.write_text(f"{text}</VRTDataset>")


RPC = {
    "HEIGHT_OFF": "0", "HEIGHT_SCALE": "100", "LAT_OFF": "1.2", "LAT_SCALE": "0.1", "LONG_OFF": "103.8", "LONG_SCALE": "0.1",
    "LINE_OFF": "100", "LINE_SCALE": "100", "SAMP_OFF": "130", "SAMP_SCALE": "130", "ERR_BIAS": "-1", "ERR_RAND": "-1",
    **{f"{n}_COEFF": " ".join(["1", *["0"] * 19]) for n in ("LINE_NUM", "LINE_DEN", "SAMP_NUM", "SAMP_DEN")},
}  # fmt: skip
POINTS = [GroundControlPoint(r, c, 12 + c * 1e-4, 45 - r * 9e-5, 100.0) for r in (0, 20, 40) for c in (0, 25, 50)]


WORDS = st.text(st.characters(categories=("Lu", "Ll", "Nd")), min_size=1, max_size=8)
TEXTS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("Cs", "Cc", "Zs")), min_size=1, max_size=30
)
TRANSFORMS = {"affine": Affine(10, 0, 5e5, 0, -10, 5e6), "rotated": ROTATED, "south-up": Affine(10, 0, 5e5, 0, 10, 4e6)}
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int64", "uint64", "float32", "float64"]


@st.composite
def profiles(draw):
    """Arguments of a file: samples, options, attributes that are set afterwards, mask."""
    dtype = draw(st.sampled_from(DTYPES))
    count, kind = draw(st.integers(1, 3)), np.dtype(dtype).kind
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    data = rng.integers(1, 100, (count, 12, 17)).astype(dtype)
    of_floats = [np.nan, -9999.0, float(np.finfo("f4").min), -np.inf, np.inf] if kind == "f" else []
    nodata = draw(st.sampled_from([None, 0, 7, *of_floats]))
    masked = draw(st.booleans())
    if nodata is not None and not (masked and (nodata < 0 or np.isinf(nodata))):
        data[:, :3] = nodata
    if kind == "f" and draw(st.booleans()):
        data[:, 5, 5:9] = np.nan
    mask = rng.random((12, 17)) > 0.3 if masked else None
    place = draw(st.sampled_from(["none", *TRANSFORMS, "gcps", "rpc", "no transform"]))
    options = {"dtype": dtype, "nodata": nodata, "rpc": RPC if place == "rpc" else {}}
    options |= {"transform": TRANSFORMS.get(place), "crs": UTM if place in (*TRANSFORMS, "no transform") else None}
    after = {"gcps": (POINTS, CRS.from_epsg(4326))} if place == "gcps" else {}
    after |= {"scales": (0.25,) * count, "offsets": (0.5,) * count} if draw(st.booleans()) else {}
    after |= {"units": ("m",) * count} if draw(st.booleans()) else {}
    after |= {"descriptions": [f"date {i}" for i in range(count)]} if draw(st.booleans()) else {}
    options["tags"] = draw(st.dictionaries(WORDS.map(lambda t: f"t{t}"), TEXTS, max_size=3))
    if draw(st.booleans()):
        options["tags"]["AREA_OR_POINT"] = "Point"
    options["band_tags"] = draw(st.dictionaries(WORDS.map(lambda t: f"b{t}"), TEXTS, max_size=2))
    return data, options, after, mask


@pytest.mark.parametrize("compressed", [False, True])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(profiles())
def test_a_profile_comes_back(write_raw, tmp_path, compressed, profile):
    data, options, after, mask = profile
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=len(data) == 1):
        path, back = write_raw(data, attributes=after, mask=mask, **options), tmp_path / "out" / "back.tif"
    if compressed:
        compress_file(path, tmp_path / "x.sarl", quantity="intensity", goal=make_goal(quality=50), force=True)
        decompress_file(tmp_path / "x.sarl", back, force=True)
        assert facts(path) == facts(back)
    else:
        first, second = returned(path, back, "intensity")
        assert first == second
    with rasterio.open(path) as a, rasterio.open(back) as b:
        seen, inside = a.read_masks() > 0, slice(None) if mask is None else mask  # samples under a mask are not kept
        assert np.array_equal(np.isnan(a.read()[:, inside]), np.isnan(b.read()[:, inside]))
        assert compressed or np.array_equal(a.read()[seen], b.read()[seen], equal_nan=True)


def test_control_points_keep_their_ids_and_move_with_a_window(write_raw, tmp_path):
    points = [GroundControlPoint(r, c, 1.0 + c, 2.0 + r, 3.0, id=f"p{r}-{c}") for r in (0, 30) for c in (0, 40)]
    listed = (f'<GCP Id="{p.id}" Pixel="{p.col}" Line="{p.row}" X="{p.x}" Y="{p.y}" Z="{p.z}"/>' for p in points)
    vrt(tmp_path / "x.vrt", ("UInt16", "x.tif"), head=f'<GCPList Projection="EPSG:4326">{"".join(listed)}</GCPList>')
    write_raw(DN)
    scene = read_scene(tmp_path / "x.vrt")
    write_geotiff(scene, tmp_path / "back.tif")
    again = read_scene(tmp_path / "back.tif")
    assert [p[5] for p in again.georeference.gcps] == ["p0-0", "p0-40", "p30-0", "p30-40"]
    assert again.georeference == scene.georeference
    part = read_scene(tmp_path / "x.vrt", window=(5, 7, 10, 10)).georeference.gcps
    assert [(p[0], p[1]) for p in part] == [(-5, -7), (-5, 33), (25, -7), (25, 33)]


def test_rpc_beside_the_image_move_with_a_window(write_raw, tmp_path):
    path = write_raw(DN)
    lines = [f"{k}: {v}" for k, v in RPC.items() if "COEFF" not in k]
    lines += [f"{k}_{i}: {v}" for k, t in RPC.items() if "COEFF" in k for i, v in enumerate(t.split(), 1)]
    (tmp_path / "x_RPC.TXT").write_text("\n".join(lines))
    write_geotiff(read_scene(path), tmp_path / "back.tif")
    with rasterio.open(path) as a, rasterio.open(tmp_path / "back.tif") as b:
        assert a.rpcs.to_dict() == b.rpcs.to_dict()
    part = read_scene(path, window=(10, 20, 5, 5)).georeference.rpc
    assert (float(part["LINE_OFF"]), float(part["SAMP_OFF"])) == (90, 110)


@pytest.mark.parametrize(
    "crs",
    [
        "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=40 +lon_0=10",
        'ENGCRS["grid",EDATUM["y"],CS[Cartesian,2],AXIS["e",east],AXIS["n",north],LENGTHUNIT["metre",1]]',
        "+proj=isea +ellps=WGS84",
        "EPSG:3857+5773",
    ],
)  # fmt: skip
def test_a_system_that_geotiff_cannot_hold_comes_back(write_raw, tmp_path, crs):
    scene = read_scene(write_raw(DB))
    known = CRS.from_user_input(crs).to_wkt()
    place = Georeference(known, (10.0, 0.0, 5.0, 0.0, -10.0, 6.0))
    write_geotiff(replace(scene, georeference=place), tmp_path / "out" / "y.tif")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["y.tif"]
    again = read_scene(tmp_path / "out" / "y.tif")
    assert CRS.from_wkt(again.georeference.crs) == CRS.from_wkt(known)
    assert again.georeference.transform == place.transform


def test_defaults_of_other_programs_are_no_properties(write_raw):
    """A geographic system without a transform, and tags that GDAL writes by itself."""
    scene = read_scene(write_raw(DB, crs="EPSG:4326"))
    assert (scene.georeference, scene.spacing) == (None, None)
    given = {"AREA_OR_POINT": "Area", "OVR_RESAMPLING_ALG": "NEAREST"}
    path = write_raw(DB, tags=given, crs=UTM, transform=ROTATED)
    with rasterio.open(path) as file:
        assert file.tags() == given
    assert read_scene(path).tags == {}


def test_tags_of_any_name_and_namespace(write_raw, tmp_path):
    path = write_raw(DB, tags={"big": "x" * 2_000_000})
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="EXTRA", a="1")
        file.update_tags(1, ns="BAND", b="2")
        file.update_tags(ns="xml:XMP", **{"<x a": '"1">2</x>'})
    head = '<Metadata><MDI key="ns">x</MDI><MDI key="bidx">y</MDI><MDI key="SARLAB_TAG_0">z</MDI></Metadata>'
    head += '<Metadata domain="xml:A" format="xml"><a>1</a></Metadata>'
    head += '<Metadata domain="&quot;B&quot; &amp; C"><MDI key="&lt;&quot;ö">d</MDI></Metadata>'
    inner = '<Metadata><MDI key="ns">z</MDI></Metadata>'  # without a color interpretation, which is undefined
    gray = '<ColorInterp>Gray</ColorInterp><Metadata domain="E"><MDI key="f">g</MDI></Metadata>'
    vrt(tmp_path / "x.vrt", ("Float32", "x.tif", inner), ("Float32", "x.tif", gray), head=head)
    for name in ("x.tif", "x.vrt"):
        first, second = returned(tmp_path / name, tmp_path / f"out-{name}" / "y.tif")
        assert first == second
    write_geotiff(read_scene(tmp_path / "x.vrt"), tmp_path / "cog.tif", cog=True)
    cog, source = facts(tmp_path / "cog.tif"), facts(tmp_path / "x.vrt")
    for name in ("tags", "band_tags", "spaces", "colors"):
        assert cog[name] == source[name]
    assert source["colors"] == (ColorInterp.undefined, ColorInterp.gray)
    with rasterio.open(tmp_path / "cog.tif") as file:
        assert file.tags(2, ns="E") == {"f": "g"}


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_an_alpha_band_is_a_mask(write_raw, tmp_path, dtype):
    alpha = HALF * np.iinfo(dtype).max
    path = write_raw(np.stack([DN % 200, alpha]).astype(dtype), alpha="yes", photometric="minisblack")
    scene = read_scene(path)
    assert scene.shape == (1, 40, 50)
    assert np.array_equal(scene.valid[0], HALF)
    first, second = returned(path, tmp_path / "out" / "y.tif")
    assert first == second
    # A band with many values is none.
    path = write_raw(np.stack([DN, DN]).astype(dtype), "z.tif", alpha="yes", photometric="minisblack")
    assert read_scene(path).shape[0] == 2


def test_nan_beside_nodata_and_measured_samples_near_it(write_raw, tmp_path):
    image = DB.copy()
    image[:5], image[10, :9], image[20, 20] = -9999, np.nan, np.nextafter(np.float32(-9999), np.float32(0))
    first, second = returned(write_raw(image, nodata=-9999), tmp_path / "out" / "z.tif")
    assert first == second
    # GDAL compares floats with a tolerance.
    assert first["masks"][0][20][20] == 0
    image[20, 20] = -9999
    with rasterio.open(tmp_path / "out" / "z.tif") as file:
        assert np.array_equal(file.read(1), image, equal_nan=True)
    near = read_scene(tmp_path / "out" / "z.tif")
    data = np.where(near.valid, near.data, -12)
    data[0, 30, 30] = -9998.999
    write_geotiff(near.with_data(data, valid=near.valid, nan=near.nan, quantity="intensity"), tmp_path / "near.tif")
    with rasterio.open(tmp_path / "near.tif") as file:
        assert np.array_equal(file.read_masks() > 0, near.valid | near.nan)


def test_nodata_of_each_band_and_out_of_the_range_of_the_type(tmp_path, write_raw):
    write_raw(np.stack([DN, DN + 1]), "x.tif")
    path, values = tmp_path / "x.vrt", ((1, DN[0, 0]), (2, DN[5, 5] + 1))
    vrt(path, *(("UInt16", "x.tif", f"<NoDataValue>{value}</NoDataValue>", 1, band) for band, value in values))
    first, second = returned(path, tmp_path / "out" / "y.tif")
    assert first["masks"] == second["masks"]
    assert 0 in first["masks"][1][5]
    said = f"the nodata value {DN[0, 0]} of a band stands for {DN[5, 5] + 1} of others, too"
    assert FileSource(path).changed() == [said]
    vrt(path, ("UInt16", "x.tif", "<NoDataValue>7</NoDataValue>"), ("UInt16", "x.tif", "", 1, 2))
    assert FileSource(path).changed() == ["the nodata value 7 of a band stands for a missing one of others, too"]


def test_masks_of_each_band_become_nan(write_raw, tmp_path):
    for name, mask in (("a.tif", HALF), ("b.tif", ~HALF)):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            write_raw(DN, name, mask=mask)
    source = '<SimpleSource><SourceFilename relativeToVRT="1">{}.tif</SourceFilename><SourceBand>mask,1</SourceBand></SimpleSource>'
    band = f'<MaskBand><VRTRasterBand dataType="Byte">{source}</VRTRasterBand></MaskBand>'
    vrt(tmp_path / "x.vrt", *(("UInt16", f"{name}.tif", band.format(name)) for name in "ab"))
    compress_file(tmp_path / "x.vrt", tmp_path / "x.sarl")
    with pytest.warns(UserWarning, match="cannot hold the sample type uint16"):
        decompress_file(tmp_path / "x.sarl", tmp_path / "y.tif")
    with rasterio.open(tmp_path / "x.vrt") as a, rasterio.open(tmp_path / "y.tif") as b:
        assert np.array_equal(a.read_masks() > 0, ~np.isnan(b.read()))


LONG, HUGE = (
    np.where(HALF, DN.astype(kind), limit) for kind, limit in (("i8", np.iinfo("i8").min), ("u8", np.iinfo("u8").max))
)
LOW, ZEROS = np.where(np.arange(50) < 6, np.finfo("f4").min, DB), np.where(np.arange(50) < 5, 0, DN + 2j)


@pytest.mark.parametrize(
    ("image", "text", "masked"),
    [
        (DN * HALF, '<GDALMetadata><Item name="NODATA_VALUES">0</Item></GDALMetadata>', np.mean(~HALF)),
        (DN, "-9999", 0),
        (LOW.astype("f4"), "-3.40282e+38", 6 / 50),
        (ZEROS.astype("c8"), "0", 5 / 50),
        (DB, "-1e40", 0),
        (LONG, str(np.iinfo("i8").min), np.mean(~HALF)),
        (HUGE, str(np.iinfo("u8").max), np.mean(~HALF)),
    ],
)
def test_nodata_masks_what_gdal_masks(tmp_path, image, text, masked):
    """A list of values, a value beyond the type, in rounded text, of complex samples, of 64-bit integers that are no float64."""
    tag = 42112 if text.startswith("<") else 42113
    tifffile.imwrite(tmp_path / "x.tif", image, extratags=[(tag, "s", 0, text, True)], metadata=None)
    first, second = returned(tmp_path / "x.tif", tmp_path / "out" / "y.tif")
    assert first["masks"] == second["masks"]
    assert np.mean(np.array(first["masks"]) == 0) == masked
    assert np.mean(~read_scene(tmp_path / "x.tif").valid) == masked


def test_doubles_beyond_float32_stay_valid(write_raw, tmp_path):
    image = np.abs(DB).astype(np.float64)
    image[0, 0], image[1], image[2, :3] = 1e300, -1.7976931348623157e308, 1e-300
    path = write_raw(image, nodata=-1.7976931348623157e308)
    first, second = returned(path, tmp_path / "out" / "y.tif", "intensity")
    assert first == second
    assert (read_scene(path, "intensity").data[0, 2] > 0).all()
    assert FileSource(path, "intensity").file.census()["beyond float32"] == 4


def test_a_vrt_may_only_name_files_in_its_folder(write_raw, tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    write_raw(DN)
    for relative, name in ((1, "../x.tif"), (0, tmp_path / "x.tif")):
        vrt(folder / "x.vrt", ("UInt16", name, "", relative))
        vrt(folder / "outer.vrt", ("UInt16", "x.vrt"))
        for path in (folder / "x.vrt", folder / "outer.vrt"):
            with pytest.raises(SceneError, match=r"refers to .*/x\.tif outside its folder"):
                read_scene(path)
            assert read_scene(path, allow_external=True).shape == (1, 40, 50)
    vrt(folder / "x.vrt", ("UInt16", "gone.tif"))
    with pytest.raises(SceneError, match=r"x\.vrt: its source gone\.tif is missing"):
        read_scene(folder / "x.vrt")


def test_addresses_are_read_on_request(write_raw, tmp_path, monkeypatch):
    for address in ("https://example.com/x.tif", "/vsis3/bucket/x.tif"):
        with pytest.raises(SceneError, match="--allow-remote"):
            read_scene(address)
    for folder in ("a", "b", "bucket", "other"):
        (tmp_path / folder).mkdir()
        content = write_raw(DN).read_bytes()
        (tmp_path / folder / "x.tif").write_bytes(content)
        (tmp_path / folder / "index.html").write_text(
            f"<ListBucketResult><Contents><Key>x.tif</Key><Size>{len(content)}</Size></Contents></ListBucketResult>"
        )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    # GDAL keeps the interpreter while it opens a file, so the server is a process.
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    process.start()
    place = f"127.0.0.1:{server.server_port}"
    settings = {"S3_ENDPOINT": place, "HTTPS": "NO", "VIRTUAL_HOSTING": "FALSE", "NO_SIGN_REQUEST": "YES"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    web = f"http://{place}/a/x.tif", f"/vsicurl/http://{place}/b/x.tif"
    for address in (*web, "s3://bucket/x.tif", "/vsis3/other/x.tif"):
        scene = read_scene(address, allow_remote=True)
        assert (scene.name, scene.quantity) == ("x", "amplitude")
        assert np.array_equal(scene.data[0], DN)
    process.kill()
    server.server_close()


def test_images_in_archives(write_raw, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(write_raw(DN), "inner/x.tif")
    scene = read_scene(f"/vsizip/{tmp_path}/x.zip/inner/x.tif")
    assert np.array_equal(scene.data[0], DN)
    assert scene.name == "x"
    with pytest.raises(
        SceneError, match=r"no Sentinel-1 product; give an image in the archive as /vsizip/.*x\.zip/NAME"
    ):
        read_scene(tmp_path / "x.zip")


def test_subdatasets_in_both_spellings(tmp_path):
    xarray = pytest.importorskip("xarray")
    nc, h5 = tmp_path / "x.nc", tmp_path / "x.h5"
    xarray.Dataset({"VV": (("y", "x"), DB), "VH": (("y", "x"), DB - 7)}).to_netcdf(nc, engine="scipy")
    with rasterio.open(h5, "w", "BAG", width=50, height=40, count=1, dtype="float32") as file:  # HDF5 in groups
        file.write(DB, 1)
    for path, inner in ((nc, r"[Nn][Ee][Tt].*:VV"), (h5, "://BAG_root/elevation")):
        with pytest.raises(SceneError, match=f"give one of its subdatasets.*{inner}"):
            read_scene(path)
    for name in (f"NETCDF:{nc}:VH", f'NETCDF:"{nc}":VH', f"{nc}:/VH", f"{nc}:VH"):
        scene = read_scene(name, "db")
        with rasterio.open(f'NETCDF:"{nc}":VH') as file:
            assert np.array_equal(scene.data[0], file.read(1))
        assert (scene.bands, scene.name) == (("VH",), "x.nc-VH")
    inner = "BAG_root/elevation"
    for name in (f"HDF5:{h5}://{inner}", f'HDF5:"{h5}"://{inner}', f"{h5}:/{inner}"):
        scene = read_scene(name, "db")
        assert np.array_equal(scene.data[0], DB[::-1])
        assert scene.name == "elevation"
    with pytest.raises(SceneError, match="no such file"):
        read_scene(tmp_path / "y.h5:/a/b")


def test_coordinates_in_hdf5_are_found(write_raw, tmp_path):
    """As in products of NISAR: the HDF5 driver of GDAL reads the samples, and only its netCDF driver the coordinates."""
    source, path = write_raw(DB, crs=UTM, transform=Affine(20, 0, 5e5, 0, -20, 5e6)), tmp_path / "x.h5"
    rasterio.shutil.copy(source, path.with_suffix(".nc"), driver="netCDF", FORMAT="NC4")
    path.with_suffix(".nc").rename(path)
    with rasterio.open(f'HDF5:"{path}"://Band1') as samples, rasterio.open(f'NETCDF:"{path}":Band1') as placed:
        assert samples.crs is None
        for name in (f"HDF5:{path}://Band1", f"{path}:/Band1"):
            scene = read_scene(name, "db")
            assert np.array_equal(scene.data[0], DB)
            assert scene.georeference.transform == (20, 0, 5e5, 0, -20, 5e6)
            assert CRS.from_wkt(scene.georeference.crs) == placed.crs == UTM


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux only")
def test_names_that_are_no_text(write_raw, tmp_path):
    name = os.fsdecode(bytes(tmp_path) + b"/VV\xff_db")
    os.replace(write_raw(DB), f"{name}.tif")
    np.save(f"{name}.npy", DB)
    with pytest.raises(SceneError, match="not a readable image"):
        read_scene(f"{name}.tif")
    assert decompress(compress(Path(f"{name}.npy"))).name == "VV\ufffd_db"


def test_bands_are_chosen_and_angles_are_refused(write_raw):
    image = np.stack([DB, DB - 7, np.broadcast_to(np.linspace(30, 46, 50, dtype=np.float32), DB.shape)])
    path = write_raw(image, attributes={"descriptions": ("VV", "VH", "angle")})
    with pytest.raises(SceneError, match="--bands VV,VH"):
        read_scene(path)
    assert read_scene(path, bands=("VH", 1)).bands == ("VH", "VV")
    assert np.array_equal(read_scene(path, bands=("VH", 1)).data[0], DB - 7)
    with pytest.raises(SceneError, match="no band 'HH'; it has VV, VH, angle"):
        read_scene(path, bands=("HH",))


def test_bands_in_db_beside_others_are_refused(write_raw):
    names = {"descriptions": ("Sigma0_VV", "Sigma0_VV_db")}
    path = write_raw(np.stack([10 ** (DB / 10), DB]), attributes=names)
    with pytest.raises(SceneError, match=r"Sigma0_VV, Sigma0_VV_db are of different quantities.*--bands"):
        read_scene(path)
    with pytest.raises(SceneError, match=r"band1 1, band2 dB are of different quantities"):
        read_scene(write_raw(np.stack([10 ** (DB / 10), DB]), "y.tif", attributes={"units": ("1", "dB")}))
    assert read_scene(path, bands=("Sigma0_VV_db",)).quantity == "db"
    assert read_scene(path, "intensity", bands=("Sigma0_VV",)).quantity == "intensity"


def test_tags_that_another_program_changed_are_ignored(write_raw):
    path = write_raw(DB, tags={"SARLAB_LOOKS": "abc", "SARLAB_NATIVE_BITS": "1e99"})
    with pytest.warns(UserWarning, match="SARLAB_LOOKS='abc'"), pytest.warns(UserWarning, match="NATIVE_BITS='1e99'"):
        scene = read_scene(path)
    assert (scene.looks, scene.native_bits) == (None, 16)


def test_bands_of_different_types_and_color_tables(write_raw, tmp_path):
    write_raw(DN, "a.tif")
    write_raw(DB, "b.tif")
    vrt(tmp_path / "x.vrt", ("UInt16", "a.tif"), ("Float32", "b.tif"))
    with pytest.raises(SceneError, match=r"different types \(float32, uint16\).*--bands"):
        read_scene(tmp_path / "x.vrt")
    assert np.array_equal(read_scene(tmp_path / "x.vrt", bands=("2",)).data[0], DB)
    path = write_raw((DN % 200).astype(np.uint8), "p.tif")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {i: (i, i, i, 255) for i in range(256)})
    with pytest.raises(SceneError, match="color table"):
        read_scene(path)
    vrt(tmp_path / "x.vrt", ("UInt16", "a.tif", "<Scale>0</Scale>"))
    with pytest.raises(SceneError, match=r"x\.vrt: scales \(0\.0,\) .*correct them"):
        read_scene(tmp_path / "x.vrt")
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([DB, DB - 7]), photometric="minisblack", metadata=None)
    with pytest.raises(SceneError, match=r"2 images, not one; give .*GTIFF_DIR:2:.*pages\.tif"):
        read_scene(tmp_path / "pages.tif")
    assert np.array_equal(read_scene(f"GTIFF_DIR:2:{tmp_path}/pages.tif").data[0], DB - 7)
