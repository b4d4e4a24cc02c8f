"""Any raster in, everything back: files of any type, mask, georeference and tags through compression, read by rasterio alone."""

import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raster_files import facts, write
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

import sarlab
from sarlab.codec.api import compress_file, decompress_file, make_goal
from sarlab.errors import SarlabError
from sarlab.scenes.scene import Scene

warnings.simplefilter("ignore", NotGeoreferencedWarning)
#: Examples of each property: few in the tests, 10,000 in all by `make trust`.
EXAMPLES = int(os.environ.get("SARLAB_EXAMPLES", "25"))
EACH = settings(max_examples=EXAMPLES, suppress_health_check=[*HealthCheck])

FLOAT_MAX = float(np.finfo(np.float32).max)
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
FLOATS = ("float32", "float64")
#: Samples that are hard for somebody: zeros, subnormals, infinities, numbers beyond float32, one target 60 dB up.
ODD = (0.0, 1e-42, 1e-30, np.inf, 1e6, 1e300, 65504.0, np.nan)
NODATA = (None, np.nan, 0.0, -9999.0, -1.7976931348623157e308, 255.0, 1e20, -32768.0)
LETTERS = st.characters(codec="ascii", exclude_categories=("C",), exclude_characters="=")
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=20)
#: Tags that mean something to a program, not to the scene.
TRAPS = ({}, {"ns": "x"}, {"bidx": "7"}, {"SARLAB_LOOKS": "abc"}, {"SARLAB_NATIVE_BITS": "-3"}, {"x": "<b>&amp;"})


def fits(nodata, dtype):
    """A file of this type can declare this value."""
    if nodata is None or dtype == "float64":
        return True
    if dtype == "float32":
        return not abs(nodata) > FLOAT_MAX
    return np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max


@st.composite
def rasters(draw, dtypes=(*INTEGERS, *FLOATS, *FLOATS)):
    """Arguments of rasterio, samples, mask and metadata of a file with radar samples in amplitude or intensity, or dB."""
    dtype = draw(st.sampled_from(dtypes))
    count, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 70)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    quantity = "amplitude" if dtype in INTEGERS else draw(st.sampled_from(("amplitude", "intensity", "db")))
    data = rng.gamma(2.0, 20.0, (count, height, width))
    data = np.where(np.arange(width) > draw(st.integers(0, 80)), data * 30, data)
    if dtype in INTEGERS:
        data = np.clip(np.rint(data), 0, np.iinfo(dtype).max)
    elif quantity == "db":
        data = 10 * np.log10(data) - 20
    values = [0.0] if dtype in INTEGERS else [value for value in ODD if dtype == "float64" or value != 1e300]
    for value in draw(st.lists(st.sampled_from(values), max_size=3)):
        data[rng.integers(count), rng.integers(height), rng.integers(width)] = value
    if draw(st.booleans()):
        data[:, : draw(st.integers(0, height)), : draw(st.integers(0, width))] = -np.inf if quantity == "db" else 0
    data = data.astype(dtype)
    nodata = draw(st.sampled_from([value for value in NODATA if fits(value, dtype)]))
    if nodata is not None:
        data[:, draw(st.integers(0, height)) :, : draw(st.integers(0, width))] = nodata
    mask = rng.random((height, width)) < 0.7 if nodata is None and draw(st.booleans()) else None
    place = draw(st.sampled_from(("none", "transform", "points")))
    options = {"dtype": dtype, "nodata": nodata}
    if place == "transform":
        a, rotation = draw(st.floats(0.1, 1e4)), draw(st.sampled_from((0.0, 0.0, 0.25)))
        options |= {
            "crs": f"EPSG:{draw(st.sampled_from((32633, 3857, 3031)))}",
            "transform": Affine(a, rotation, 1e5, rotation, -a, 4e6),
        }
    corners = [(r, c) for r in (0, height) for c in (0, width)] if place == "points" else []
    points = [GroundControlPoint(r, c, 10 + c / 90, 50 - r / 90, 5.0) for r, c in corners]
    names = st.text(LETTERS, min_size=1, max_size=12)
    tags = draw(st.dictionaries(names, TEXTS.filter(bool), max_size=3)) | draw(st.sampled_from(TRAPS))
    descriptions = draw(st.lists(TEXTS, min_size=count, max_size=count))
    return options, data, quantity, mask, points, tags, descriptions


def write_example(path, example):
    options, data, _, mask, points, tags, descriptions = example
    attributes = {"descriptions": [text or None for text in descriptions]}
    attributes |= {"gcps": (points, rasterio.crs.CRS.from_epsg(4326))} if points else {}
    tags = {name: value for name, value in tags.items() if name not in ("ns", "bidx")}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(path, data, attributes=attributes, tags=tags, mask=mask, **options)


def reading(path):
    with rasterio.open(path) as file:
        return facts(path) | {"data": file.read(), "valid": file.read_masks() > 0}


def round_trip(example, **goal):
    """The readings of a file before and after, or nothing if the file is refused with a sentence."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        write_example(folder / "a.tif", example)
        try:
            for workers in (1, 2):
                target = folder / f"{workers}.sarl"
                compress_file(folder / "a.tif", target, quantity=example[2], goal=make_goal(**goal), workers=workers)
        except SarlabError:
            return None
        assert target.read_bytes() == (folder / "1.sarl").read_bytes(), "encoding twice makes two files"
        decompress_file(target, folder / "b.tif", workers=1)
        return reading(folder / "a.tif"), reading(folder / "b.tif")


def measured(found):
    """Samples that hold a measurement."""
    values = found["data"].astype(float)
    return found["valid"] & ~np.isnan(values) & ~np.isposinf(values)


def assert_metadata(old, new):
    for key in set(old) - {"data", "valid", "masks", "flags", "dtypes", "nodata"}:
        assert new[key] == old[key], key
    assert new["nodata"] == old["nodata"] or new["dtypes"] != old["dtypes"]


@EACH
@given(rasters())
def test_metadata_and_masks_come_back(example):
    if found := round_trip(example, quality=20.0):
        assert_metadata(*found)
        np.testing.assert_array_equal(*map(measured, found))
        old, new = (one["data"][found[0]["valid"]] for one in found)
        zero = old == (-np.inf if example[2] == "db" else 0)
        np.testing.assert_array_equal(new[zero], old[zero])


@EACH
@given(rasters(FLOATS), st.sampled_from((0.05, 0.5, 3.0)))
def test_the_error_of_every_sample_is_bounded(example, bound):
    if found := round_trip(example, max_error_db=bound):
        valid = measured(found[0])
        a, b = (one["data"].astype(float)[valid] for one in found)
        a = np.where(np.isfinite(a), np.clip(a, -FLOAT_MAX, FLOAT_MAX), a).astype(np.float32).astype(float)
        if example[2] != "db":
            factor = 20 if example[2] == "amplitude" else 10
            with np.errstate(divide="ignore"):
                a, b = factor * np.log10(a), factor * np.log10(b)
        zero = np.isneginf(a)
        assert np.isneginf(b[zero]).all(), "a zero has become something else"
        assert (np.abs(a[~zero] - b[~zero]) <= bound * (1 + 1e-6) + 1e-5 * (np.abs(a[~zero]) > 100)).all()


@EACH
@given(rasters(INTEGERS))
def test_integers_without_loss(example):
    if found := round_trip(example, lossless=True):
        old, new = found
        assert_metadata(old, new)
        assert new["dtypes"] == old["dtypes"]
        np.testing.assert_array_equal(new["valid"], old["valid"])
        np.testing.assert_array_equal(new["data"][new["valid"]], old["data"][old["valid"]])


@EACH
@given(
    st.integers(0, 2**31),
    st.sampled_from(("db", "amplitude", "intensity", "complex")),
    st.sampled_from(({"quality": 24.0}, {"bpp": 1.0}, {"max_error_db": 1.0})),
)
def test_scenes_in_memory_of_any_values(seed, quantity, goal):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, (4, 50, 50)))
    data = rng.gamma(2, 20, shape) * 10.0 ** rng.choice([-40, -20, 0, 0, 0, 20, 36])
    odd = rng.random(shape) < rng.choice([0, 0, 0.01, 0.5, 1])
    data = np.where(odd, rng.choice(np.array(ODD), shape), data)
    if quantity == "complex":
        data = data * np.exp(2j * np.pi * rng.random(shape))
    elif quantity == "db":
        data = np.where(np.abs(data) < 1e30, data - 60, data)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        scene = Scene(data, quantity, tuple(f"b{i}" for i in range(shape[0])))
        try:
            stream = sarlab.compress(scene, drop_phase=True, **goal)
        except SarlabError:
            return
        decoded = sarlab.decompress(stream)
    infinite = np.isinf(scene.data) if quantity == "complex" else np.isposinf(scene.data)
    np.testing.assert_array_equal(decoded.valid, scene.valid & ~infinite)
    assert not np.isposinf(decoded.data).any()
