"""Threads: results in order, few jobs in flight, errors that arrive."""

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from forged import head_of, with_checksum

from sarlab.codec.api import compress, decompress
from sarlab.codec.levels import fit_levels
from sarlab.codec.model_store import load_model, model_path
from sarlab.codec.stream import MemorySource, analyze, ordered, threads
from sarlab.codec.tiles import Tiling
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.scene import Scene


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_order_with_few_jobs_in_flight(count):
    drawn, names = [], set()

    def jobs():
        for n in range(40):
            drawn.append(n)
            yield n

    def work(n):
        names.add(threading.current_thread().name)
        time.sleep(0.001 * (n % 3))
        return n * n

    for taken, result in enumerate(ordered(work, jobs(), count)):
        assert result == taken * taken
        assert len(drawn) - taken <= 2 * count + 1
    assert (names == {"MainThread"}) == (count == 1)


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_arrives_and_ends_the_work(count):
    done = []

    def work(n):
        if n == 3:
            raise ZeroDivisionError
        done.append(n)

    with pytest.raises(ZeroDivisionError):
        list(ordered(work, range(1000), count))
    assert len(done) < 20


def test_numbers_of_workers():
    assert threads(0) >= 1
    with pytest.raises(CodecError, match="must be positive"):
        threads(-1)


@pytest.mark.parametrize("codec", ["lapped", "klt8"])
def test_pieces_agree_with_the_whole_beside_missing_and_flat_samples(codec):
    data = np.random.default_rng(0).gamma(4, 1, (1, 400, 420)).astype(np.float32)
    data[:, :, :170], data[:, 250:, 200:] = 0, np.nan
    scene = Scene(data, "intensity", ("VV",))
    model = load_model(model_path(codec)).for_scene(400, 420)
    tiling, levels, source = Tiling(400, 420, 64, model.stride), fit_levels([scene], True), MemorySource(scene)
    whole = analyze(source, model, levels, tiling, tiling.checked())
    for window in (window for run in tiling.runs() for window in run):
        piece = analyze(source, model, levels, tiling, window)
        assert np.allclose(piece.latent(window), whole.latent(window), atol=1e-4)
        assert np.array_equal(piece.kinds(window), whole.kinds(window))


def test_a_latent_that_is_not_the_coded_one_is_refused(speckled):
    data = bytearray(compress(speckled, quality=25))
    data[head_of(data)[1] - 1] ^= 1  # the last byte of the index: checksum of the latent
    with pytest.raises(BitstreamError, match=r"tile 0 \(row 0, column 0\): the decoded latent is not the one"):
        decompress(with_checksum(data))
