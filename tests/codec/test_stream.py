"""Threads, pieces of scenes, and previews from a small part of a file."""

import math
import threading
import time
import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest
from forged import assembled, head_of, with_checksum

from sarlab.codec.api import compress, decompress, decompress_file
from sarlab.codec.container import StreamReader
from sarlab.codec.levels import fit_levels
from sarlab.codec.model_store import load_model, model_path
from sarlab.codec.stream import ordered, threads
from sarlab.codec.tiles import Tiling, analyze
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Georeference, Scene
from sarlab.scenes.simulate import simulate


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_order_with_few_jobs_in_flight_and_errors_end_the_work(count):
    drawn, names = [], set()

    def work(n):
        names.add(threading.current_thread().name)
        time.sleep(0.001 * (n % 3))
        return 100 // (40 - n)

    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for taken, result in enumerate(ordered(work, (drawn.append(n) or n for n in range(1000)), count)):
            assert result == 100 // (40 - taken)
            assert len(drawn) - taken <= 2 * count + 1
    assert len(drawn) <= 40 + 2 * count + 1
    assert (names == {"MainThread"}) == (count == 1)
    assert threads(0) >= 1
    with pytest.raises(CodecError, match="must be positive"):
        threads(-1)


@pytest.mark.parametrize("codec", ["lapped", "factorized", "klt8"])
def test_pieces_agree_with_the_whole_beside_missing_and_flat_samples(codec):
    data = np.random.default_rng(0).gamma(4, 1, (1, 400, 420)).astype(np.float32)
    data[:, :, :170], data[:, 250:, 200:] = 0, np.nan
    scene = Scene(data, "intensity", ("VV",))
    model = load_model(model_path(codec)).for_scene(400, 420)
    tiling, levels = Tiling(400, 420, 64, model.stride), fit_levels([scene], True)
    scene_window = lambda window: scene.window(*window)  # noqa: E731
    whole = analyze(scene_window, levels.normalized, model, tiling, tiling.checked())
    for window in tiling.tiles():
        piece = analyze(scene_window, levels.normalized, model, tiling, window)
        assert np.allclose(piece.latent(window), whole.latent(window), atol=1e-4)
        assert np.array_equal(piece.kinds(window), whole.kinds(window))


def test_a_latent_that_is_not_the_coded_one_is_refused(speckled):
    data = bytearray(compress(speckled, quality=25))
    data[head_of(data)[1] - 1] ^= 1  # the last byte of the index: checksum of the latent
    with pytest.raises(BitstreamError, match=r"tile 0 \(row 0, column 0\): the decoded latent is not the one"):
        decompress(with_checksum(data))


# --- previews ----------------------------------------------------------------------------------------------------------

PLACE = Georeference("", (10.0, 0.0, 5e5, 0.0, -10.0, 4e6))


@pytest.fixture(scope="module")
def land():
    """1024² samples of simulated land in dB."""
    made = to_db(simulate((1024, 1024), 4.4, 0.5, seed=3)[0])
    return replace(made, georeference=PLACE)


def difference(small, scene):
    """Root mean square difference from the means of 8×8 valid samples, and their standard deviation."""
    bands, height, width = scene.shape
    padded = np.full((bands, height + -height % 8, width + -width % 8), np.nan)
    padded[:, :height, :width] = np.where(scene.valid, scene.data, np.nan)
    with warnings.catch_warnings(action="ignore"):
        expected = np.nanmean(padded.reshape(bands, padded.shape[1] // 8, 8, -1, 8), (2, 4))
    assert (np.isnan(expected) == ~small.valid).all()
    return np.sqrt(np.nanmean(np.square(small.data - expected))), np.nanstd(expected)


def test_a_preview_reads_a_small_part_of_a_file_and_is_near_the_means(land, monkeypatch):
    data, read = compress(land), []
    at = StreamReader._at
    monkeypatch.setattr(
        StreamReader, "_at", lambda reader, *part: read.append(len(at(reader, *part))) or at(reader, *part)
    )
    small = decompress(data, preview=8)
    assert sum(read) < 0.12 * len(data)
    assert (small.shape, small.quantity) == ((1, 128, 128), "db")
    assert small.georeference.transform == (80.0, 0.0, 5e5, 0.0, -80.0, 4e6)
    off, spread = difference(small, land)
    assert off < 0.35 * spread


@pytest.mark.parametrize("codec", ["lapped", "factorized", "klt8"])
@pytest.mark.parametrize("shape", [(2, 203, 157), (1, 33, 8), (1, 1, 1), (1, 64, 97), (3, 40, 263)])
def test_previews_of_any_size(land, shape, codec):
    part = np.stack([land.data[0, 10 * band : 10 * band + shape[1], 5 : 5 + shape[2]] for band in range(shape[0])])
    scene = Scene(part, "db", tuple("abc"[: shape[0]]))
    small, other = (decompress(compress(scene, codec=codec, quality=45, tile=tile), preview=8) for tile in (64, 512))
    assert small.shape == (shape[0], -(-shape[1] // 8), -(-shape[2] // 8))
    off, _ = difference(small, scene)
    assert off < 0.5 * scene.data.std() + 0.1
    # Tiles are quantized on their own, which moves means by less than the step.
    assert np.abs(small.data - other.data).max() < 0.5


def test_previews_of_gaps_flat_areas_and_georeferenced_files(land, tmp_path):
    data, (rows, columns) = land.data[:, :320, :256].copy(), np.mgrid[:320, :256]
    data[0][rows + columns < 150] = np.nan
    data[0][rows > 256] = -np.inf
    gaps = land.with_data(data, valid=~np.isnan(data), nan=np.isnan(data) & (columns < 70), nodata=-99.0)
    (tmp_path / "a.sarl").write_bytes(compress(gaps, quality=36, tile=64))
    small = decompress(tmp_path / "a.sarl", preview=8)
    assert np.isneginf(small.data[:, 33:]).all()
    off, _ = difference(small.window(0, 0, 32, 32), gaps.window(0, 0, 256, 256))
    assert off < 1.5
    decompress_file(tmp_path / "a.sarl", tmp_path / "small.tif", preview=8)
    written = read_scene(tmp_path / "small.tif", "db")
    assert np.array_equal(written.data[:, :32], small.data[:, :32], equal_nan=True)
    assert written.georeference == small.georeference


def test_previews_of_what_declares_a_huge_scene_are_refused_before_memory_is_taken(speckled, tmp_path):
    header = replace(StreamReader(compress(speckled.band(0))).header, shape=(1, 1 << 14, 1 << 17), tile=1024)
    (tmp_path / "a.sarl").write_bytes(
        assembled(header.pack(), [bytes(header.least_payload(n)) for n in range(math.prod(header.grid))])
    )
    tracemalloc.start()
    for decode in (decompress, lambda path, **how: decompress_file(path, tmp_path / "a.tif", **how)):
        with pytest.raises(BitstreamError, match="any-size"):
            decode(tmp_path / "a.sarl", preview=8)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


def test_what_has_no_preview_is_refused(speckled):
    with pytest.raises(CodecError, match="have no preview"):
        decompress(compress(speckled, max_error_db=2), preview=8)
    data = compress(speckled)
    for options in ({"preview": 4}, {"preview": 8, "window": (0, 0, 8, 8)}, {"preview": 8, "radiometric": True}):
        with pytest.raises(CodecError, match="a preview"):
            decompress(data, **options)
