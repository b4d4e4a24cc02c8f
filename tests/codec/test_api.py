"""Compressing scenes: round trips, goals, tiles without seams, windows, exactness, models, damage."""

import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

import sarlab
from sarlab.codec import stream
from sarlab.codec.api import compress, compress_file, decompress, describe
from sarlab.codec.container import StreamReader
from sarlab.codec.goals import Goal
from sarlab.codec.model_store import model_path
from sarlab.codec.stream import Decoder, Encoder, MemorySource
from sarlab.errors import BitstreamError, CodecError, SarlabError, SceneError
from sarlab.scenes.catalog import load_split
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Georeference, Scene
from sarlab.specs import SceneSpec

CODECS = ["lapped", "factorized", "klt8"]


@pytest.fixture(params=CODECS)
def codec(request):
    return request.param


def rms(scene, other):
    return float(np.sqrt(np.nanmean(np.square(scene.data.astype(np.float64) - other.data))))


def psnr(scene, other):
    """Of samples in dB, with a peak of 30 dB."""
    return 20 * np.log10(30 / rms(scene, other))


def test_a_scene_comes_back(speckled, codec):
    place = Georeference('LOCAL_CS["field",UNIT["metre",1]]', (8.983152841195215e-05, 0.0, 5.79, 0.0, -8.98e-05, 9.1))
    about = {"spacing": (10.0, 9.87463101111782), "acquisition": "S1A", "simulated": True, "credit": "someone"}
    speckled = replace(speckled, name="naïve", tags={"a": "1", "ß": '"quoted"'}, georeference=place, **about)
    data = sarlab.compress(speckled, codec=codec, quality=30)
    decoded = sarlab.decompress(data)
    assert (np.isnan(decoded.data) == np.isnan(speckled.data)).all()
    names = "quantity bands name looks spacing native_bits georeference tags dtype nodata acquisition simulated credit"
    for name in names.split():
        assert getattr(decoded, name) == getattr(speckled, name), name
    assert rms(decoded, speckled) < 1.4
    assert describe(data)["bpp"] < 1.3
    about = describe(compress(speckled, codec=codec, quality=30, metadata=False))
    assert about["header_bytes"] - about["side_bytes"] <= 40
    assert about["side_bytes"] <= 100


# --- goals ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    """Sentinel-1, 360×240 samples of two bands."""
    return load_split(SceneSpec("bigearthnet")).test[0]


def test_rates_and_psnrs_are_met(real, codec):
    for bpp in (0.12, 0.5, 1.7, 4.0):
        assert 8 * len(compress(real, codec=codec, bpp=bpp)) / real.data.size == pytest.approx(bpp, rel=0.012)
    for wanted in (24.0, 31.0):
        assert psnr(real, decompress(compress(real, codec=codec, psnr=wanted))) == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize(
    ("goal", "message"),
    [({"bpp": 100.0}, "cannot be reached"), ({"bpp": 0.001}, "cannot be reached"), ({"psnr": 200.0}, "cannot be reached"),
     ({"bpp": -1.0}, "above zero"), ({"bpp": float("nan")}, "must be a number"), ({"quality": 97.0}, "outside"),
     ({"quality": 20, "bpp": 1.0}, "give one of"), ({"max_error_db": 1.0, "lossless": True}, "give one of"),
     ({"max_error_db": 0}, "above zero"), ({"max_error_db": 1e-4}, "outside"), ({"max_error_db": 1e3}, "outside"),
     ({"max_error_db": 1.0, "codec": "lapped"}, "of codec 'predictive' only"), ({"codec": "predictive"}, "no default quality"), ({"lossless": True}, "takes whole numbers"),
     ({"lossless": True, "radiometric": True}, "without --radiometric")],
)  # fmt: skip
def test_goals_that_are_impossible_or_out_of_reach_are_refused(speckled, goal, message):
    with pytest.raises(CodecError, match=message):
        compress(speckled, **goal)


@given(
    st.sampled_from([1, 2, 5]), st.integers(40, 130), st.integers(40, 130), st.floats(-1.5, 1.5),
    st.sampled_from(["white", "smooth", "gaps"]), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=8)
def test_rates_of_small_scenes_and_flat_spectra_are_met(bands, height, width, octaves, kind, seed):
    rng = np.random.default_rng(seed)
    data = rng.normal(-12, 4, (bands, height, width))
    if kind != "white":
        data = data / 2 + 8 * gaussian_filter(rng.normal(0, 4, data.shape), (0, 2, 2))
    if kind == "gaps":
        data[:, np.add.outer(np.arange(height), 2 * np.arange(width)) < height] = np.nan
    scene = Scene(data.astype(np.float32), "db", tuple("abcde"[:bands]))
    wanted = scene.data.size * 2**octaves / 8
    # All streams of a tiny file may change at once.
    assert len(compress(scene, bpp=2**octaves, metadata=False)) == pytest.approx(wanted, rel=0.012, abs=8)


def test_size_follows_the_estimate_and_a_rate_takes_few_probes(speckled, monkeypatch):
    encoder = Encoder(MemorySource(speckled), model_path("lapped"), tile=512)
    for quality in (15, 25, 40, 60):
        size = len(compress(speckled, quality=quality))
        assert size == pytest.approx(encoder.bytes(quality), abs=0)
    probes, quantize = [], type(encoder.model).quantize
    monkeypatch.setattr(type(encoder.model), "quantize", lambda *a: probes.append(a[3]) or quantize(*a))
    for bpp in (0.3, 0.8, 2.0):
        probes.clear()
        encoder.write(io.BytesIO(), Goal("bpp", bpp))
        assert len(set(probes)) <= 8


# --- tiles and windows ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide():
    """A scene of several tiles whose sides are no multiples of a block, with a structure at every place."""
    rng = np.random.default_rng(9)
    rows, columns = np.mgrid[:430, :515]
    level = -12 + 3 * np.sin(rows / 17) * np.cos(columns / 23) + 3 * (np.hypot(rows - 200, columns - 250) < 120)
    return Scene((level + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (1, 430, 515)))).astype(np.float32), "db", ("VV",))


def test_the_size_of_tiles_hardly_matters(wide, codec):
    files = {tile: compress(wide, codec=codec, quality=30, tile=tile) for tile in (128, 256, 1024)}
    decoded = {tile: decompress(data) for tile, data in files.items()}
    for tile in (128, 256):
        assert psnr(wide, decoded[tile]) == pytest.approx(psnr(wide, decoded[1024]), abs=0.01)
        # The error along the borders of tiles is that of other places.
        error = np.square(decoded[tile].data[0].astype(float) - wide.data[0])
        rows, columns = np.mgrid[:430, :515]
        beside = np.minimum(*(np.abs((place + tile // 2) % tile - tile // 2) for place in (rows, columns))) < 3
        beside &= (rows >= 8) & (columns >= 8)
        assert error[beside].mean() == pytest.approx(error[~beside].mean(), rel=0.12)
    assert len(files[256]) < 1.03 * len(files[1024])


def test_a_large_scene_goes_another_way_to_the_same_result(wide, codec, monkeypatch):
    small = decompress(compress(wide, codec=codec, quality=27, tile=128))
    monkeypatch.setattr(stream, "SMALL", 0)
    with monkeypatch.context() as patch:
        patch.setattr(stream, "sample_windows", lambda tiling: [tiling.checked()])
        assert np.array_equal(decompress(compress(wide, codec=codec, quality=27, tile=128)).data, small.data)
    large = compress(wide, codec=codec, quality=27, tile=128)
    data = compress(wide, codec=codec, bpp=0.7, tile=128)
    assert 8 * len(data) / wide.data.size == pytest.approx(0.7, rel=0.012)
    for workers in (2, 3):
        assert compress(wide, codec=codec, quality=27, tile=128, workers=workers) == large
        assert np.array_equal(decompress(large, workers=workers).data, decompress(large).data, equal_nan=True)


@pytest.fixture(scope="module", params=CODECS)
def tiled(request):
    """A scene with gaps in 12 tiles: its file, and the scene decoded as a whole."""
    rng = np.random.default_rng(1)
    data = 10 * np.log10(rng.gamma(4, 0.25, (1, 203, 157)))
    data[(rng.random(data.shape) < 0.01) | (np.hypot(*np.mgrid[:203, :157]) < 100)] = np.nan
    file = compress(
        Scene(data.astype(np.float32), "db", ("VV",)), codec=request.param, quality=27, tile=64, radiometric=True
    )
    return file, [decompress(file, radiometric=radiometric) for radiometric in (False, True)]


@given(st.integers(0, 202), st.integers(0, 156), st.integers(1, 203), st.integers(1, 157), st.booleans())
@settings(max_examples=30)
def test_any_window_is_that_of_the_whole(tiled, row, column, height, width, radiometric):
    window = row, column, min(height, 203 - row), min(width, 157 - column)
    part, expected = decompress(tiled[0], window=window, radiometric=radiometric), tiled[1][radiometric].window(*window)
    assert (part.valid == expected.valid).all()
    assert np.nanmax(np.abs(part.data - expected.data), initial=0) < 1e-3
    assert part.georeference == expected.georeference


def test_a_window_reads_no_more_tiles_than_it_needs(tiled):
    damaged = bytearray(tiled[0])
    damaged[-1] ^= 255  # the last tile
    with pytest.raises(BitstreamError, match="tile 11"):
        decompress(bytes(damaged))
    decompress(bytes(damaged), window=(0, 0, 40, 40))
    with pytest.raises(CodecError, match="leaves the scene"):
        decompress(tiled[0], window=(190, 0, 14, 5))


# --- kinds of scenes --------------------------------------------------------------------------------------------------


def test_zeros_that_no_sample_window_saw_are_exact(monkeypatch):
    data = np.random.default_rng(4).gamma(4, 0.25, (1, 1400, 1400)).astype(np.float32)
    data[0, 633:655, 1003:1021] = 0
    looked = stream.sample_windows
    monkeypatch.setattr(stream, "SMALL", 1 << 16)
    monkeypatch.setattr(stream, "sample_windows", lambda tiling: looked(tiling)[:1])
    coded = compress(Scene(data, "intensity", ("x",)), quality=25)
    assert Decoder(StreamReader(coded)).header.flats == (0.0,)
    assert np.array_equal(decompress(coded).data == 0, data == 0)


def test_zeros_whose_places_would_fill_the_file_are_announced():
    rng = np.random.default_rng(2)
    data = rng.gamma(4, 0.25, (1, 96, 96)) * (rng.random((1, 96, 96)) < 0.7)
    scene = Scene(data, "amplitude", ("x",))
    with pytest.warns(UserWarning, match="zeros are coded within the error.*more than half of the file"):
        coded = compress(scene, bpp=0.9)
    assert StreamReader(coded).header.floors
    assert np.array_equal(decompress(compress(scene, bpp=2.5)).data == 0, data == 0)


def test_complex_scenes_keep_their_intensity(codec):
    rng = np.random.default_rng(3)
    data = (rng.normal(size=(2, 60, 50)) + 1j * rng.normal(size=(2, 60, 50))).astype(np.complex64) * 100
    scene = Scene(data, "complex", ("HH", "HV"), dtype="complex_int16", native_bits=32)
    with pytest.raises(CodecError, match="--drop-phase"):
        compress(scene, codec=codec, quality=52)
    decoded = decompress(compress(scene, codec=codec, quality=52, drop_phase=True))
    assert (decoded.quantity, decoded.dtype) == ("intensity", "float32")
    assert np.abs(to_db(decoded).data - to_db(scene).data).max() < 1.5


@pytest.mark.parametrize("value", [0.0, -12.5])
def test_constant_scenes_and_scenes_without_a_sample(codec, value):
    constant = Scene(np.full((1, 100, 80), value, np.float32), "db", ("VV",))
    data = compress(constant, codec=codec, quality=40)
    assert len(data) < 160
    assert np.abs(decompress(data).data - value).max() < 0.3
    nothing = Scene(np.full((2, 100, 80), np.nan, np.float32), "db", ("VV", "VH"))
    for goal in ({"quality": 30}, {"bpp": 0.5}, {"psnr": 30}):
        data = compress(nothing, codec=codec, **goal)
        assert len(data) < 160
        assert np.isnan(decompress(data).data).all()


def test_the_package_imports_neither_torch_nor_numpy_and_lapped_files_need_no_torch(tmp_path, speckled):
    (tmp_path / "a.sarl").write_bytes(compress(speckled))
    script = (
        "import sys, sarlab; assert 'numpy' not in sys.modules; data = open(sys.argv[1], 'rb').read();"
        "scene = sarlab.decompress(data); sarlab.compress(scene); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "a.sarl"], check=True)


# --- models and paths -------------------------------------------------------------------------------------------------


def test_models_by_path_and_unknown_ones(speckled, tmp_path, monkeypatch):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(model_path("klt8").read_bytes())
    data = compress(speckled, codec=str(mine), quality=20)
    assert describe(data)["model"] == "klt8-1"
    assert decompress(data, model=mine).shape == speckled.shape
    with pytest.raises(BitstreamError, match="other weights"):
        decompress(data, model=model_path("lapped"))
    monkeypatch.setattr("sarlab.codec.model_store.ASSETS", tmp_path)
    with pytest.raises(BitstreamError, match=r"needs model 'klt8-1'.*install a version that has it"):
        decompress(data)
    mine.write_bytes(b"no weights")
    for codec, message in ((mine, "mine"), ("mine", "unknown codec 'mine'"), (tmp_path / "no.safetensors", "no such")):
        with pytest.raises(SarlabError, match=message):
            compress(speckled, codec=str(codec))


def test_a_path_is_read(speckled, tmp_path):
    from sarlab.scenes.readers import read_scene
    from sarlab.scenes.writers import write_geotiff

    path = tmp_path / "my.tif"
    write_geotiff(speckled, path)
    data = sarlab.compress(str(path), quality=25)
    assert data == sarlab.compress(path, quality=25) == sarlab.compress(read_scene(path), quality=25)
    compress_file(path, tmp_path / "my.sarl", goal=Goal("quality", 25))
    assert data == (tmp_path / "my.sarl").read_bytes()
    with pytest.raises(SceneError, match="make one of an array"):
        sarlab.compress(speckled.data)
