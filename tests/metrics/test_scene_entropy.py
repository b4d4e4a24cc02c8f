"""Entropy of a scene: high-resolution theory, and real encoders handed in."""

import zlib

import numpy as np
import pytest

from sarlab.errors import MetricError
from sarlab.metrics.bounds import speckle_entropy
from sarlab.metrics.scene_entropy import lossless_bpp, quantize_db, speckle_share, zeroth_order_entropy


@pytest.mark.parametrize("looks", [1.0, 4.4])
def test_finely_quantized_speckle_has_its_differential_entropy_less_log_step(looks):
    db = 10 * np.log10(np.random.default_rng(0).gamma(looks, 1 / looks, (1000, 1000)))
    expected = (speckle_entropy(looks) + np.log(10 / np.log(10))) / np.log(2) - np.log2(0.1)
    assert zeroth_order_entropy(quantize_db(db, step_db=0.1)) == pytest.approx(expected, abs=0.02)


def test_entropy_of_known_samples():
    assert zeroth_order_entropy(np.arange(256, dtype=np.uint8).reshape(16, 16), corrected=False) == 8
    assert zeroth_order_entropy(np.zeros((4, 4), np.uint16)) == 0
    with pytest.raises(MetricError, match="integers"):
        zeroth_order_entropy(np.zeros((4, 4)))


def test_quantized_raster_is_within_half_a_step_and_marks_nodata():
    db = np.random.default_rng(1).normal(-10, 4, (50, 60))
    levels = quantize_db(db, step_db=0.25)
    assert levels.min() == 0
    assert np.abs((levels - levels[0, 0]) * 0.25 - (db - db[0, 0])).max() <= 0.25
    db[0, :5] = np.nan
    levels = quantize_db(db, step_db=0.25)
    assert (levels[0, :5] == 0).all()
    assert levels[~np.isnan(db)].min() == 1


def test_lossless_rate_is_that_of_the_file():
    samples = np.random.default_rng(2).integers(0, 4, (200, 200))
    assert lossless_bpp(samples, lambda array: zlib.compress(array.tobytes(), 9)) == pytest.approx(
        8 * len(zlib.compress(samples.astype(np.uint8).tobytes(), 9)) / 40_000
    )
    assert lossless_bpp(samples * 300, lambda array: array.tobytes()) == 16
    with pytest.raises(MetricError, match="65535"):
        lossless_bpp(samples - 1, bytes)


def test_share_of_speckle():
    rng = np.random.default_rng(3)
    clean = np.kron(rng.choice([-16.0, -12.0, -8.0, -4.0], (8, 8)), np.ones((32, 32)))
    recorded = clean + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, clean.shape))
    share = speckle_share(recorded, clean, step_db=0.1)
    assert share == pytest.approx(1 - 2 / zeroth_order_entropy(quantize_db(recorded, step_db=0.1)), abs=0.02)
    coded = speckle_share(recorded, clean, step_db=0.1, encode=lambda a: zlib.compress(a.tobytes(), 9))
    assert coded > 0.98
    assert speckle_share(recorded, recorded) == 0
    assert "constant" in speckle_share(np.zeros((5, 5)), np.zeros((5, 5))).reason
    assert "no valid" in speckle_share(clean * np.nan, clean).reason
