"""Compressing scenes with learned models: round trips, goals, tiles without seams, regions, exactness, damage."""

import io
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sarlab
from sarlab.codec import encode
from sarlab.codec.api import compress, decompress, describe
from sarlab.codec.container import StreamReader
from sarlab.codec.decode import Decoder, decode_one
from sarlab.codec.encode import Encoder
from sarlab.codec.goals import Goal
from sarlab.codec.model_store import FOLDERS, known_codecs, load_model, model_path
from sarlab.codec.pieces import MemorySource
from sarlab.errors import BitstreamError, CodecError, SarlabError
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

sys.path.insert(0, str(Path(__file__).parent))
from forged import damage_payload, with_checksum

CODECS = ["factorized", "klt8", "hyper"]
#: Codecs whose latent follows from predictions within a tile: its borders are seen in the integers, hardly in the picture.
CONTEXTUAL = ["hyper"]


@pytest.fixture(params=CODECS)
def codec(request):
    return request.param


def rms(scene, other):
    return float(np.sqrt(np.nanmean(np.square(scene.data.astype(np.float64) - other.data))))


def test_a_scene_comes_back(speckled, codec):
    data = sarlab.compress(speckled, codec=codec, quality=30)
    decoded = sarlab.decompress(data)
    assert (np.isnan(decoded.data) == np.isnan(speckled.data)).all()
    for field in (
        "quantity",
        "bands",
        "name",
        "looks",
        "spacing",
        "native_bits",
        "georeference",
        "tags",
        "dtype",
        "nodata",
    ):
        assert getattr(decoded, field) == getattr(speckled, field), field
    assert rms(decoded, speckled) < (1.6 if codec in CONTEXTUAL else 1.2)
    assert describe(data)["bpp"] < 2


def test_quality_is_the_psnr_of_the_quantizer(speckled, codec):
    for quality in (40, 60, 80):
        decoded = decompress(compress(speckled, codec=codec, quality=quality))
        width = np.array([n.width for n in Decoder(StreamReader(compress(speckled, codec=codec))).levels.normalizers])
        error = (decoded.data - speckled.data) / width[:, None, None]
        # Latents of blocks without a sample are not sent; what they leave beside them drowns in all but the finest steps.
        error[:, 80:160, :60] = np.nan
        # Coefficients smaller than half a step lose less than a uniform quantizer's noise: the PSNR may lie above. Below it
        # lies where an encoder trades error for bits.
        least = quality - (2.0 if codec in CONTEXTUAL else 0.6)
        assert least <= -20 * np.log10(np.sqrt(np.nanmean(np.square(error)))) <= quality + 1.0


def test_bright_targets_are_not_clipped(speckled, codec):
    decoded = decompress(compress(speckled, codec=codec, quality=40))
    bright = speckled.data[0, 50, 60:64]
    assert bright.min() > 5
    assert np.abs(decoded.data[0, 50, 60:64] - bright).max() < 1.5


@pytest.mark.parametrize("bpp", [0.12, 0.5, 1.7])
def test_a_rate_is_met(speckled, codec, bpp):
    data = compress(speckled, codec=codec, bpp=bpp)
    assert 8 * len(data) / speckled.data.size == pytest.approx(bpp, rel=0.03)


def test_a_psnr_is_met(speckled, codec):
    data = compress(speckled, codec=codec, psnr=31.0)
    decoded = decompress(data)
    levels = Decoder(StreamReader(data)).levels
    errors = []
    for band, normalizer in enumerate(levels.normalizers):
        valid = speckled.valid[band]
        x, y = (np.clip(normalizer.normalize(s.data[band][valid]), 0, 1) for s in (speckled, decoded))
        errors.append(np.square(x - y))
    assert -10 * np.log10(np.concatenate(errors).mean()) == pytest.approx(31.0, abs=0.05)


def test_goals_out_of_reach_are_refused(speckled):
    for goal in ({"bpp": 100.0}, {"bpp": 0.001}, {"psnr": 200.0}):
        with pytest.raises(CodecError, match="cannot be reached"):
            compress(speckled, codec="klt8", **goal)
    for goal in ({"bpp": -1.0}, {"bpp": float("nan")}, {"quality": 97.0}, {"quality": 20, "bpp": 1.0}):
        with pytest.raises(CodecError):
            compress(speckled, codec="klt8", **goal)


def test_tiles_leave_no_seams(speckled, codec):
    whole = decompress(compress(speckled, codec=codec, quality=25, tile=1024))
    for tile in (64, 128):
        tiled = decompress(compress(speckled, codec=codec, quality=25, tile=tile))
        if codec in CONTEXTUAL:
            # A scene unlike those of training, in tiles of few positions: their contexts are mostly borders.
            assert abs(20 * np.log10(rms(tiled, speckled) / rms(whole, speckled))) < 0.6
            # The error along the borders of tiles is that of other places.
            error = np.nanmean(np.square(tiled.data - speckled.data), (0, 2))
            rows = np.arange(len(error))
            beside = (np.abs((rows + 4) % tile - 4) < 4) & (rows >= 4)
            assert error[beside].mean() < 1.15 * error[~beside].mean()
        else:
            # Float sums may round differently; a flipped rounding of a latent would be seen as far more.
            assert np.nanmax(np.abs(tiled.data - whole.data)) < 1e-3


def test_the_size_of_tiles_hardly_matters_where_contexts_end_at_them():
    from sarlab.scenes.catalog import load_split
    from sarlab.specs import SceneSpec

    scene = load_split(SceneSpec("bigearthnet")).test[0].band(0)
    for codec in CONTEXTUAL:
        files = [compress(scene, codec=codec, quality=25, tile=tile) for tile in (128, 512)]
        errors = [rms(decompress(data), scene) for data in files]
        assert abs(20 * np.log10(errors[0] / errors[1])) < 0.05
        assert len(files[0]) < 1.04 * len(files[1])


def test_a_large_scene_goes_another_way_to_the_same_result(speckled, codec, monkeypatch):
    small = decompress(compress(speckled, codec=codec, quality=25, tile=64))
    monkeypatch.setattr(encode, "SMALL", 0)
    tiled = decompress(compress(speckled, codec=codec, quality=25, tile=64))
    if codec in CONTEXTUAL:
        # Latents of a piece may differ in the last bit, and an integer by one where that makes the difference.
        assert np.nanmean(np.abs(tiled.data - small.data) > 1e-3) < 0.01
    else:
        whole = decompress(compress(speckled, codec=codec, quality=25, tile=1024))
        assert np.nanmax(np.abs(tiled.data - whole.data)) < 1e-3
    data = compress(speckled, codec=codec, bpp=0.7, tile=64)
    # Windows that stand for the scene are larger than these tiles, which have more borders for contexts to end at.
    assert 8 * len(data) / speckled.data.size == pytest.approx(0.7, rel=0.05 if codec in CONTEXTUAL else 0.03)


@given(st.integers(0, 202), st.integers(0, 156), st.integers(1, 203), st.integers(1, 157))
@settings(max_examples=25, deadline=None)
def test_any_window_is_that_of_the_whole(row, column, height, width):
    data, whole = _tiled()
    height, width = min(height, 203 - row), min(width, 157 - column)
    part = decompress(data, window=(row, column, height, width))
    expected = whole.window(row, column, height, width)
    assert (part.valid == expected.valid).all()
    assert np.nanmax(np.abs(part.data - expected.data), initial=0) < 1e-3
    assert part.georeference == expected.georeference


def _tiled(cache={}):  # noqa: B006 (made once for all examples)
    if not cache:
        rng = np.random.default_rng(1)
        scene = Scene(10 * np.log10(rng.gamma(4, 0.25, (1, 203, 157))).astype(np.float32), "db", ("VV",))
        scene = scene.with_data(np.where(rng.random(scene.shape) < 0.01, np.nan, scene.data), valid=None)
        cache["data"] = compress(scene, codec="klt8", quality=25, tile=64)
        cache["whole"] = decompress(cache["data"])
    return cache["data"], cache["whole"]


def test_windows_outside_are_refused():
    data, _ = _tiled()
    for window in ((-1, 0, 5, 5), (0, 0, 0, 5), (200, 0, 5, 5), (0, 157, 1, 1)):
        with pytest.raises(CodecError, match="leaves the scene"):
            decompress(data, window=window)


def test_a_window_reads_no_more_tiles_than_it_needs():
    data, _ = _tiled()
    damaged = bytearray(data)
    damaged[-1] ^= 255  # the last tile
    with pytest.raises(BitstreamError, match="tile 11"):
        decompress(bytes(damaged))
    decompress(bytes(damaged), window=(0, 0, 40, 40))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 9), (2, 8, 8), (3, 1, 300), (1, 65, 64), (2, 33, 1)])
def test_any_size(shape, codec):
    rng = np.random.default_rng(2)
    scene = Scene(rng.normal(-10, 3, shape).astype(np.float32), "db", tuple("abc")[: shape[0]])
    decoded = decompress(compress(scene, codec=codec, quality=45, tile=64))
    assert decoded.shape == shape
    assert rms(decoded, scene) < 0.3


def test_exact_zeros_are_values(amplitudes, codec):
    decoded = decompress(compress(amplitudes, codec=codec, quality=45))
    assert decoded.quantity == "amplitude"
    assert decoded.dtype == "uint8"
    assert (np.rint(decoded.data) == amplitudes.data).mean() > 0.97
    assert (decoded.data[:, 5:35, 5:45] == 0).all()
    floats = replace(amplitudes, data=amplitudes.data**2 / 1e4, quantity="intensity", dtype="float32")
    again = decompress(compress(floats, codec=codec, quality=50))
    assert (again.data[:, 5:35, 5:45] == 0).all()
    decibels = replace(
        amplitudes, data=np.where(amplitudes.data > 0, amplitudes.data - 20, -np.inf), quantity="db", dtype="float32"
    )
    again = decompress(compress(decibels, codec=codec, quality=50))
    assert np.isneginf(again.data[:, 5:35, 5:45]).all()


def swath(amplitudes, value):
    """The scene with blocks of one sample beyond a slanted border and in a box, and where they are."""
    rows, columns = (at // 8 for at in np.mgrid[: amplitudes.shape[1], : amplitudes.shape[2]])
    flat = np.broadcast_to((2 * rows + columns < 11) | ((rows > 8) & (columns > 4)), amplitudes.shape)
    return replace(amplitudes, data=np.where(flat, np.float32(value), np.maximum(amplitudes.data, 1))), flat


@pytest.mark.parametrize("value", [0.0, 255.0])
def test_areas_of_one_sample_come_back_exactly_and_cost_nothing(amplitudes, codec, value):
    scene, flat = swath(amplitudes, value)
    assert 0.1 < flat.mean() < 0.9
    invalid = replace(scene, data=np.where(flat, np.nan, scene.data), valid=None)
    for quality in (20, 45):
        data = compress(scene, codec=codec, quality=quality, tile=64)
        decoded = decompress(data).data
        assert (decoded[flat] == value).all()
        # No more than if they were missing, but for what says where they are.
        without = len(compress(invalid, codec=codec, quality=quality, tile=64))
        assert len(data) < without + 60 + 0.02 * without


def test_areas_of_one_sample_do_not_change_what_quality_means(speckled):
    plain = Scene(10 ** (speckled.data[:, :, 100:] / 10), "intensity", ("x", "y"))
    data = np.pad(plain.data, ((0, 0), (0, 0), (400, 0)))
    before, after = (compress(s, quality=28) for s in (plain, Scene(data, "intensity", ("x", "y"))))
    assert len(after) == pytest.approx(len(before), rel=0.05)
    normalizers = [Decoder(StreamReader(d)).levels.normalizers for d in (before, after)]
    assert np.allclose(*([(n.low, n.high) for n in part] for part in normalizers), atol=0.05)


def test_zeros_that_no_sample_window_saw_are_exact(monkeypatch):
    rng = np.random.default_rng(4)
    data = rng.gamma(4, 0.25, (1, 1400, 1400)).astype(np.float32)
    data[0, 633:655, 1003:1021] = 0
    looked = encode.sample_windows
    monkeypatch.setattr(encode, "SMALL", 1 << 16)
    monkeypatch.setattr(encode, "sample_windows", lambda tiling: looked(tiling)[:1])
    coded = compress(Scene(data, "intensity", ("x",)), quality=25)
    assert Decoder(StreamReader(coded)).header.flats == (0.0,)
    assert (decompress(coded).data[0, 640:648, 1008:1016] == 0).all()


def test_complex_scenes_keep_their_intensity(codec):
    rng = np.random.default_rng(3)
    data = (rng.normal(size=(2, 60, 50)) + 1j * rng.normal(size=(2, 60, 50))).astype(np.complex64) * 100
    scene = Scene(data, "complex", ("HH", "HV"), dtype="complex_int16", native_bits=32)
    decoded = decompress(compress(scene, codec=codec, quality=50))
    assert decoded.quantity == "intensity"
    assert decoded.dtype == "float32"
    assert np.abs(to_db(decoded).data - to_db(scene).data).max() < 1.5


def test_the_header_of_a_plain_scene_is_small(codec):
    """Names of two bands, a tile of the index and the container: 96 bytes; what the model measured comes on top."""
    data = np.random.default_rng(2).normal(-12, 4, (2, 200, 150)).astype(np.float32)
    about = describe(compress(Scene(data, "db", ("VV", "VH")), codec=codec, quality=24))
    assert about["index_bytes"] == 10
    assert about["header_bytes"] - about["side_bytes"] <= 96
    assert about["side_bytes"] <= 2 * 70


@pytest.mark.parametrize("value", [0.0, -12.5])
def test_constant_scenes_and_scenes_without_a_sample(codec, value):
    constant = Scene(np.full((1, 100, 80), value, np.float32), "db", ("VV",))
    data = compress(constant, codec=codec, quality=40)
    # Networks that know speckle only expect it everywhere, the more of it the finer the step.
    assert len(data) < (2800 if codec in CONTEXTUAL else 600)
    assert np.abs(decompress(data).data - value).max() < (0.8 if codec in CONTEXTUAL else 0.3)
    nothing = Scene(np.full((2, 100, 80), np.nan, np.float32), "db", ("VV", "VH"))
    for goal in ({"quality": 30}, {"bpp": 0.5}, {"psnr": 30}):
        data = compress(nothing, codec=codec, **goal)
        assert len(data) < 120
        assert np.isnan(decompress(data).data).all()


def test_one_band_without_samples(codec):
    data = np.full((2, 40, 40), np.nan, np.float32)
    data[1] = np.random.default_rng(4).normal(-10, 2, (40, 40))
    decoded = decompress(compress(Scene(data, "db", ("VV", "VH")), codec=codec, quality=40))
    assert (np.isnan(decoded.data) == np.isnan(data)).all()


def test_nodata_costs_little(codec):
    rng = np.random.default_rng(5)
    data = rng.normal(-10, 2, (1, 512, 512)).astype(np.float32)
    half = data.copy()
    half[:, :256] = np.nan
    sizes = [len(compress(Scene(d, "db", ("VV",)), codec=codec, quality=27)) for d in (half[:, 256:], half)]
    assert sizes[1] - sizes[0] < 0.03 * sizes[0] + 100


def test_integers_are_the_same_whatever_decodes_them(speckled, codec):
    data = compress(speckled, codec=codec, quality=28, tile=64)
    latents = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            with StreamReader(data) as reader:
                decoder = Decoder(reader)
                latents.append([decode_one(decoder._tile_order(r, c))[0] for r in range(4) for c in range(3)])
    finally:
        torch.set_num_threads(threads)
    assert all((a == b).all() for a, b in zip(*latents, strict=True))
    one = decompress(data)
    torch.set_num_threads(4)
    try:
        four = decompress(data)
    finally:
        torch.set_num_threads(threads)
    assert np.nanmax(np.abs(one.data - four.data)) < 1e-3


@pytest.mark.slow
def test_processes_do_the_same(speckled, monkeypatch):
    monkeypatch.setattr(encode, "SMALL", 0)
    alone = compress(speckled, codec="klt8", quality=25, tile=64, workers=1)
    assert compress(speckled, codec="klt8", quality=25, tile=64, workers=2) == alone
    assert np.nanmax(np.abs(decompress(alone, workers=2).data - decompress(alone).data)) < 1e-3


def test_processes_do_not_run_the_script_that_starts_them(speckled, tmp_path):
    (tmp_path / "a.sarl").write_bytes(compress(speckled, codec="klt8", tile=64))
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np, sarlab\n"
        "print('once')\n"
        "data = open('a.sarl', 'rb').read()\n"
        "one, two = (sarlab.decompress(data, workers=workers).data for workers in (1, 2))\n"
        "assert np.array_equal(one, two, equal_nan=True)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "once\n"), done.stderr


def test_size_follows_the_estimate(speckled, codec):
    encoder = Encoder(MemorySource(speckled), model_path(codec), tile=512)
    for quality in (15, 25, 40, 60):
        size = len(compress(speckled, codec=codec, quality=quality))
        assert size == pytest.approx(encoder.sample.bytes(quality), rel=0.005, abs=16)


def test_a_latent_that_is_not_the_coded_one_is_noticed(speckled):
    data = bytearray(compress(speckled, codec="klt8", quality=25))
    with StreamReader(bytes(data)) as reader:
        first = reader.header_bytes
    # The stored checksum of the latent, two bytes before the payload, with the header's checksum put right.
    data[first - 2] ^= 1
    struct.pack_into("<I", data, 5, zlib.crc32(bytes(data[9:first])))
    with pytest.raises(BitstreamError, match="not the one that was coded"):
        decompress(bytes(data))


def test_unknown_models_are_named(speckled, tmp_path, monkeypatch):
    data = compress(speckled, codec="klt8", quality=20)
    known = load_model(model_path("klt8"))
    monkeypatch.setattr("sarlab.codec.model_store.ASSETS", tmp_path)
    with pytest.raises(
        BitstreamError, match=r"needs model 'klt8-1'.*written by sarlab 0\.1\.0: install that version or a later one"
    ):
        decompress(data)
    with pytest.raises(CodecError, match="unknown codec 'klt8'"):
        compress(speckled, codec="klt8")
    assert known.name == "klt8-1"


def test_other_weights_under_the_same_name_are_noticed(speckled):
    data = compress(speckled, codec="klt8", quality=20)
    with pytest.raises(BitstreamError, match="other weights"):
        decompress(data, model=model_path("factorized"))


def test_a_models_folder(speckled, tmp_path, monkeypatch):
    (tmp_path / "mine.safetensors").write_bytes(model_path("klt8").read_bytes())
    monkeypatch.setenv(FOLDERS, str(tmp_path))
    assert "mine" in known_codecs()
    data = compress(speckled, codec="mine", quality=20)
    assert describe(data)["model"] == "klt8-1"
    assert decompress(data).shape == speckled.shape
    with pytest.raises(SarlabError):
        compress(speckled, codec=str(tmp_path / "none.safetensors"))
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(SarlabError, match="broken"):
        compress(speckled, codec="broken")


def test_a_path_is_read(speckled, tmp_path):
    from sarlab.codec.api import compress_file
    from sarlab.scenes.readers import read_scene
    from sarlab.scenes.writers import write_geotiff

    path = tmp_path / "my.tif"
    write_geotiff(speckled, path)
    data = sarlab.compress(str(path), codec="klt8", quality=25)
    assert data == sarlab.compress(path, codec="klt8", quality=25)
    compress_file(path, tmp_path / "my.sarl", codec="klt8", goal=Goal("quality", 25))
    assert data == (tmp_path / "my.sarl").read_bytes()
    assert data == sarlab.compress(read_scene(path), codec="klt8", quality=25)
    with pytest.raises(SarlabError, match=r"none\.tif"):
        sarlab.compress(tmp_path / "none.tif")


def test_what_is_neither_scene_nor_path_is_refused(speckled):
    with pytest.raises(CodecError, match="make a scene of it"):
        sarlab.compress(speckled.data)
    with pytest.raises(CodecError, match="not dict"):
        sarlab.compress({})


def test_a_small_scene_starts_no_process(speckled, monkeypatch):
    monkeypatch.setattr("sarlab.codec.workers._prepare", lambda: pytest.fail("a process starts"))
    compress(speckled, codec="klt8", workers=4)


def test_a_rate_takes_few_probes(monkeypatch):
    from sarlab.scenes.catalog import load_split
    from sarlab.specs import SceneSpec

    encoder = Encoder(MemorySource(load_split(SceneSpec("bigearthnet")).test[0].band(0)), model_path("klt8"))
    probes = []
    quantize = type(encoder.model).quantize
    monkeypatch.setattr(type(encoder.model), "quantize", lambda *a: probes.append(a[3]) or quantize(*a))
    for bpp in (0.3, 0.8, 2.0):
        probes.clear()
        encoder.write(io.BytesIO(), Goal("bpp", bpp))
        assert len(probes) <= 5


def test_the_package_imports_neither_torch_nor_numpy():
    script = "import sys, sarlab; assert 'numpy' not in sys.modules; sarlab.compress; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("count", [1200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_files_end_in_a_scene_or_an_error(count):
    rng = np.random.default_rng(count)
    scene = Scene(rng.normal(-10, 3, (1, 40, 72)).astype(np.float32), "db", ("VV",), tags={"a": "b"})
    scene = scene.with_data(np.where(rng.random(scene.shape) < 0.05, np.nan, scene.data), valid=None)
    data = compress(scene, codec="klt8", quality=22, tile=64)
    with StreamReader(data) as reader:
        first = reader.header_bytes
    decoded = 0
    for number in range(count):
        damaged = bytearray(data)
        kind = number % 4
        if kind == 0:
            damaged = damaged[: rng.integers(len(damaged))]
        elif kind == 1:
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        elif kind == 2:  # fields behind a checksum that was put right
            damaged[rng.integers(9, first)] ^= 1 << rng.integers(8)
            damaged = with_checksum(damaged)
        else:  # payloads behind checksums that were put right
            damage_payload(damaged, first, rng)
        try:
            result = decompress(bytes(damaged))
        except BitstreamError:
            continue
        decoded += 1
        assert result.data.size <= 1 << 22
    assert 0 < decoded < count / 2


def test_radiometric_decoding_brings_mean_intensity_closer():
    from sarlab.scenes.catalog import load_split
    from sarlab.specs import SceneSpec

    scene = load_split(SceneSpec("bigearthnet")).test[0]
    data = compress(scene, codec="hyper", quality=26)
    mean = lambda s: (10 ** (s.data.astype(np.float64) / 10)).mean((1, 2))  # noqa: E731
    plain, corrected = (10 * np.log10(mean(decompress(data, radiometric=r)) / mean(scene)) for r in (False, True))
    assert (plain < -0.1).all()
    assert (np.abs(corrected) < 0.06).all()
    told = compress(scene, codec="hyper", quality=20, radiometric=True)
    exact = 10 * np.log10(mean(decompress(told, radiometric=True)) / mean(scene))
    assert (np.abs(exact) < 0.02).all()
    part = decompress(data, radiometric=True, window=(40, 16, 70, 50))
    assert np.abs(part.data - decompress(data, radiometric=True).window(40, 16, 70, 50).data).max() < 1e-3
    with pytest.raises(CodecError, match="no bias correction"):
        decompress(compress(scene, codec="klt8", quality=26), radiometric=True)


@pytest.mark.parametrize("name", ["simulated-l1", "simulated-l4.4-correlated"])
def test_the_estimated_reflectivity_is_closer_to_the_ground_than_any_mean(name):
    from scipy.ndimage import uniform_filter

    from sarlab.scenes.catalog import load_split
    from sarlab.specs import SceneSpec

    split = load_split(SceneSpec(name))
    scene = split.test[0]
    truth = split.clean[scene.name].data[0]
    data = compress(scene, codec="hyper", bpp=1.0)
    plain, estimate = (decompress(data, despeckled=d).data[0] for d in (False, True))
    filtered = [10 * np.log10(uniform_filter(10 ** (plain.astype(float) / 10), side)) for side in (3, 5, 7)]
    error = lambda found: float(np.sqrt(np.mean((found - truth) ** 2)))  # noqa: E731
    assert error(estimate) < min(map(error, [plain, *filtered]))
    part = decompress(data, despeckled=True, window=(40, 16, 70, 50)).data[0]
    assert np.abs(part - estimate[40:110, 16:66]).max() < 1e-3
