"""Coding of blocks: all that is quantized comes back, sizes are information, side information states spectra and factors."""

import math
import time

import numpy as np
import pytest

from sarlab.codec import block_model as bm
from sarlab.codec.block_model import FACTOR_UNIT, UNIT, Side, initial_tables
from sarlab.codec.lapped import BLOCK, LappedModel
from sarlab.errors import BitstreamError


def model(states=8):
    return LappedModel(initial_tables(), name="test-1", content_hash=bytes(8), states=states)


def flags(bands, h, w):
    """All columns active."""
    return np.ones((bands, h, w), np.uint8)


def test_a_stream_that_ends_early_is_given_up_early():
    """Zeros behind the end are no license to decode a whole tile of them, if decoding them takes bits."""
    coder, active = model(), flags(1, 32, 32)
    side = Side((np.full(BLOCK**2, 90 * UNIT),), (np.zeros(8, np.int64),), 8)
    start = time.process_time()
    with pytest.raises(BitstreamError):
        coder.decode(bytes([1, 255, 255]), active, 96, side)
    assert time.process_time() - start < 2


def test_side_information_is_what_was_measured():
    """A second band that is a multiple of the first, and noise: factors, and deviations of what they leave."""
    rng, coder = np.random.default_rng(50), model()
    frequency = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)).ravel() / (2 * BLOCK)
    first = rng.normal(0, 1, (BLOCK**2, 24, 24)) * np.exp2(-4 * frequency)[:, None, None]
    noise = 0.1 * rng.normal(0, 1, first.shape)
    y, active = np.stack([first, -0.75 * first + noise]).astype(np.float32), flags(2, 24, 24)
    side = coder.parse_side(coder.fit_side([(y, active)], 40), 2)
    assert side.states == 8
    assert (side.factors[0] == 0).all()
    # At this quality the first band is known within little.
    assert np.abs(side.factors[1] * FACTOR_UNIT + 0.75).max() <= FACTOR_UNIT
    octaves = [deviations / UNIT / 4 for deviations in side.deviations]
    assert np.abs(octaves[0] - np.log2(first.std((1, 2)))).max() < 0.45
    assert np.abs(octaves[1] - math.log2(0.1)).max() < 0.45
    assert len(coder.fit_side([(y, active)], 40)) < 140
    nothing = coder.parse_side(coder.fit_side([(y, 0 * active)], 40), 2)
    assert all((deviations < -80 * UNIT).all() for deviations in nothing.deviations)
    assert not nothing.factors[1].any()


@pytest.mark.parametrize(("states", "gain"), [(1, 0.0), (8, 1.09), (64, 1.27)])
def test_white_noise_takes_what_theory_says(states, gain):
    """Shannon's bound, log2(πe/6)/2 bit for a scalar quantizer less the gain of the trellis, and a little for adaptation."""
    y = np.random.default_rng(6).normal(0, 1, (1, BLOCK**2, 8, 8)).astype(np.float32)
    coder, active = model(states), flags(1, 8, 8)
    side = coder.parse_side(coder.fit_side([(y, active)], 26), 1)
    latent, data = coder.quantize(y, active, 26, side)
    error = np.square(coder.reconstruct(latent, 26, side) - y).mean(dtype=float)
    over = 8 * len(data) / y.size + 0.5 * math.log2(error)
    ideal = 0.5 * math.log2(math.pi * math.e / 6) - gain / 6.02
    assert ideal - 0.005 < over < ideal + 0.045


# --- spectra ----------------------------------------------------------------------------------------------------------


def octaves(parsed):
    return parsed / (UNIT * bm.PER_OCTAVE)


@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize("seed", range(4))
def test_a_smooth_spectrum_comes_back(size, seed):
    """A plane in the square root of frequency: knots are rounded to a quarter of an octave, and the surface lies within that."""
    a, b, c = np.random.default_rng(seed).uniform(-3, 3, 3)
    root = np.sqrt((np.arange(size) + 0.5) / size)
    spectrum, wanted = bm.smooth_spectrum(size), (a - 4 + b * root[:, None] + c * root).ravel()
    found = octaves(spectrum.parse(spectrum.fit(4.0**wanted)))
    assert np.abs(found - wanted).max() < 0.26
    assert np.sqrt(np.mean(np.square(found - wanted))) < 0.1


@pytest.mark.parametrize(("deviations", "channels"), [(bm.smooth_spectrum(32), 1024), (bm.listed_deviations(64), 64)])
def test_extremes_are_clipped_and_impossible_ones_refused(deviations, channels):
    for power in (0.0, 1e-300, 1e300):
        found = octaves(deviations.parse(deviations.fit(np.full(channels, power))))
        assert np.abs(found).max() <= 24
        assert (found < -20).all() if power < 1 else (found > 20).all()
    numbers = np.zeros(deviations.count, np.int64)
    for value in (97, -97, 2**31, -(2**31)):
        numbers[0] = value
        with pytest.raises(BitstreamError, match="the spectrum is damaged"):
            deviations.parse(numbers)
