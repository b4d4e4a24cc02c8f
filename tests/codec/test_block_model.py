"""Coding of blocks: all that is quantized comes back, sizes are information, side information states spectra and factors."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.codec import block_model as bm
from sarlab.codec.block_model import (
    CLASSES,
    FACTOR_UNIT,
    QUALITY_UNIT,
    UNIT,
    BlockModel,
    Side,
    fine_step,
)
from sarlab.codec.lapped import BLOCK, LappedModel
from sarlab.codec.tiles import LAST_COLUMN, LAST_ROW
from sarlab.codec.train_codec import initial_tables
from sarlab.errors import BitstreamError

TABLES = initial_tables()
WHOLE = (True, True, True, True)


def model(states=8, height=BLOCK, width=BLOCK, tables=TABLES):
    made = LappedModel(tables, name="test-1", content_hash=bytes(8), states=states)
    return made.for_scene(height, width)


def colored(bands, h, w, seed, slope=4.0):
    """Coefficients whose deviation falls with frequency, the second band like the first."""
    rng = np.random.default_rng(seed)
    frequency = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)).ravel() / (2 * BLOCK)
    y = rng.normal(0, 1, (bands, BLOCK**2, h, w)) * np.exp2(-slope * frequency)[:, None, None]
    y[1:] = 0.6 * y[1:] + 0.5 * y[:1]
    return y.astype(np.float32)


def flags(bands, h, w):
    """All columns active; the last ones at the far borders."""
    found = np.ones((bands, h, w), np.uint8)
    found[:, -1] |= LAST_ROW
    found[:, :, -1] |= LAST_COLUMN
    return found


def test_a_stream_that_ends_early_is_given_up_early():
    """Zeros behind the end are no license to decode a whole tile of them, if decoding them takes bits."""
    coder, active = model(), flags(1, 32, 32)
    side = Side((np.full(BLOCK**2, 90 * UNIT),), (np.zeros(8, np.int64),), 8)
    start = time.perf_counter()
    with pytest.raises(BitstreamError):
        coder.decode(bytes([1, 255, 255]), active, 96, side)
    assert time.perf_counter() - start < 2


def test_side_information_is_what_was_measured():
    """A second band that is a multiple of the first, and noise: factors, and deviations of what they leave."""
    rng, coder = np.random.default_rng(50), model()
    first = colored(1, 24, 24, 5)[0]
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


def test_listed_deviations_are_rounded_to_a_quarter_of_an_octave():
    listed, wanted = bm.listed_deviations(64), np.random.default_rng(0).uniform(-15, 3, 64)
    assert np.abs(octaves(listed.parse(listed.fit(4.0**wanted))) - wanted).max() <= 0.125 + 1e-9


@given(st.integers(-96 * UNIT, 96 * UNIT), st.integers(0, 96 * QUALITY_UNIT))
@settings(max_examples=300)
def test_steps_and_classes_in_integers_are_those_of_floating_point(deviation, quality):
    step = 2 * 2.5 * 10 ** (-quality / QUALITY_UNIT / 20)
    assert fine_step(quality / QUALITY_UNIT) == pytest.approx(step / 2)
    assert octaves(bm.step_units(quality)) == pytest.approx(np.log2(step), abs=1e-4)
    side = Side((np.array([deviation]),), (np.zeros(1),), 8)
    (found,) = BlockModel.classes(quality / QUALITY_UNIT, side, 0)
    exact = bm.UNIT_CLASS + bm.PER_OCTAVE * (octaves(deviation) - np.log2(step))
    assert found == pytest.approx(np.clip(np.floor(exact), 0, CLASSES - 1)) or abs(exact - np.rint(exact)) < 1e-3
