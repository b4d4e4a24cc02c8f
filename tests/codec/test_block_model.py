"""Coding of blocks: all that is quantized comes back, sizes are information, side information states spectra and factors."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.interpolate import RegularGridInterpolator

from sarlab.codec import block_model as bm
from sarlab.codec import entropy
from sarlab.codec.block_model import (
    CLASSES,
    FACTOR_UNIT,
    KNOTS,
    LARGEST_FACTOR,
    QUALITY_UNIT,
    UNIT,
    BlockModel,
    Side,
    fine_step,
)
from sarlab.codec.lapped import BLOCK, LappedModel
from sarlab.codec.tiles import LAST_COLUMN, LAST_ROW
from sarlab.codec.train_codec import initial_tables
from sarlab.codec.trellis import OFFSETS, STATES
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


def flags(bands, h, w, seed, share):
    """Some columns active; the last ones at the far borders."""
    found = (np.random.default_rng(seed).random((bands, h, w)) < share).astype(np.uint8)
    found[:, -1] |= LAST_ROW
    found[:, :, -1] |= LAST_COLUMN
    return found


@given(
    bands=st.integers(1, 3), h=st.integers(1, 5), w=st.integers(1, 4), share=st.sampled_from([0, 0.5, 1]),
    quality=st.floats(0, 96), states=st.sampled_from(STATES[:5]), seed=st.integers(0, 99), last=st.tuples(*[st.integers(1, 32)] * 2),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_tiles_come_back(bands, h, w, share, quality, states, seed, last):
    coder = model(states, *last)
    active, y = flags(bands, h, w, seed, share), 0.3 * colored(bands, h, w, seed)
    y *= (active[:, None] & coder.absent[:, None, None]) == 0
    side = coder.parse_side(coder.fit_side([(y, active)], quality), bands)
    latent, data = coder.quantize(y, active, quality, side)
    assert (coder.decode(data, active, quality, side) == latent).all()
    assert (coder.decode(data + bytes(5), active, quality, side) == latent).all()
    assert not latent.transpose(0, 2, 3, 1)[active & 1 == 0].any()
    low = coder.decode(data, active, quality, side, low=True)
    part = coder.order[: coder.low]
    assert (low[:, part] == latent[:, part]).all()
    assert not np.delete(low, part, 1).any()
    # Every coded value is a point of the quantizer of its state, and close to what was asked for.
    error = np.abs(coder.reconstruct(latent, quality, side) - y).transpose(0, 2, 3, 1)[active & 1 > 0]
    assert error.max(initial=0) < 4.5 * fine_step(quality) * (1 if states > 1 else 1.1)


def test_sizes_are_the_information_of_the_decisions():
    """With probabilities that follow what occurs from the start in the tables."""
    coder = model()
    y, active = colored(2, 6, 6, 0), flags(2, 6, 6, 0, 1)
    side = coder.parse_side(coder.fit_side([(y, active)], 25), 2)
    latent, _ = coder.quantize(y, active, 25, side)
    lists = list(coder.decisions(latent, np.ones(y.shape[:2], bool), active, 25, side))
    assert len(lists) == 4
    contexts = coder.tables.contexts()
    for decisions in lists:
        again, ideal = entropy.encoder(contexts, len(decisions)), 0.0
        for context, bit in zip((decisions >> 17).tolist(), (decisions >> 16 & 1).tolist(), strict=True):
            one = 0.5 if context < 0 else min(max((contexts[context, :2].sum() >> 1), 24), 65512) / 65536
            ideal -= math.log2(one if bit else 1 - one)
            if context >= 0:
                entropy.code_decision(again, context, bit)
        assert ideal / 8 - 1 <= len(entropy.pack(decisions)) <= 1.01 * ideal / 8 + 4


def test_a_stream_that_ends_early_is_given_up_early():
    """Zeros behind the end are no license to decode a whole tile of them, if decoding them takes bits."""
    coder, active = model(), flags(1, 32, 32, 0, 1)
    side = Side((np.full(BLOCK**2, 90 * UNIT),), (np.zeros(8, np.int64),), 8)
    start = time.perf_counter()
    with pytest.raises(BitstreamError):
        coder.decode(bytes([1, 255, 255]), active, 96, side)
    assert time.perf_counter() - start < 2


def test_points_get_the_offset_of_their_quantizer_and_magnitude():
    offsets = np.random.default_rng(2).uniform(-0.3, 0.1, (CLASSES, 2, OFFSETS)).astype(np.float32)
    coder = model(tables=bm.Tables(TABLES.probabilities, TABLES.expected, offsets))
    points = np.arange(-9, 10)
    latent = np.zeros((2, BLOCK**2, 1, len(points)), np.int32)
    latent[:, :, 0] = points
    deviations = tuple(np.random.default_rng(3 + b).integers(-60 * UNIT, 10 * UNIT, BLOCK**2) for b in range(2))
    factors = (np.zeros(8, np.int64), np.arange(-4, 4))
    side = Side(deviations, factors, 8)
    found = coder.reconstruct(latent, 31.25, side)
    fine = 2.5 * 10 ** (-31.25 / 20)
    for band, channel in itertools.product(range(2), range(0, BLOCK**2, 37)):
        for place, point in enumerate(points.tolist()):
            own = []
            for b in range(band + 1):
                of_class = BlockModel.classes(31.25, side, b)[channel]
                magnitude = (abs(point) + 1) // 2
                moved = abs(point) + offsets[of_class, point & 1, min(magnitude, OFFSETS) - 1]
                own.append(math.copysign(moved, point) * fine if point else 0)
            expected = own[band] + (own[0] * (coder.zones[channel] - 4) / 16 if band else 0)
            assert found[band, channel, 0, place] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_side_information_is_what_was_measured():
    """A second band that is a multiple of the first, and noise: factors, and deviations of what they leave."""
    rng, coder = np.random.default_rng(50), model()
    first = colored(1, 24, 24, 5)[0]
    noise = 0.1 * rng.normal(0, 1, first.shape)
    y, active = np.stack([first, -0.75 * first + noise]).astype(np.float32), flags(2, 24, 24, 0, 1)
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


@given(st.binary(max_size=80), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_side_information_or_refused(data, bands):
    try:
        side = model().parse_side(data, bands)
    except BitstreamError:
        return
    assert side.states in STATES
    assert all(np.abs(deviations).max() <= 96 * UNIT for deviations in side.deviations)
    assert all(np.abs(factors).max() <= LARGEST_FACTOR for factors in side.factors)


@pytest.mark.parametrize(("states", "gain"), [(1, 0.0), (8, 1.09), (64, 1.27)])
def test_white_noise_takes_what_theory_says(states, gain):
    """Shannon's bound, log2(πe/6)/2 bit for a scalar quantizer less the gain of the trellis, and a little for adaptation."""
    y = np.random.default_rng(6).normal(0, 1, (1, BLOCK**2, 8, 8)).astype(np.float32)
    coder, active = model(states), flags(1, 8, 8, 0, 1)
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
    spectrum, wanted = bm.SmoothSpectrum(size), (a - 4 + b * root[:, None] + c * root).ravel()
    found = octaves(spectrum.parse(spectrum.fit(4.0**wanted)))
    assert np.abs(found - wanted).max() < 0.26
    assert np.sqrt(np.mean(np.square(found - wanted))) < 0.1


@given(hnp.arrays(np.int64, KNOTS * KNOTS, elements=st.integers(-9, 9)))
@settings(max_examples=60, deadline=None)
def test_the_surface_is_bilinear_between_its_knots(numbers):
    """Against SciPy, from knots that are predicted from above and from the left."""
    knots = np.zeros((KNOTS, KNOTS), int)
    for (i, j), number in zip(np.ndindex(knots.shape), numbers, strict=True):
        known = [*([knots[i - 1, j]] if i else []), *([knots[i, j - 1]] if j else [])]
        knots[i, j] = number + (int(np.floor(np.mean(known))) if known else 0)
    if np.abs(knots).max() > 96:
        with pytest.raises(BitstreamError, match="damaged"):
            bm.SmoothSpectrum(32).parse(numbers)
        return
    root = np.sqrt((np.arange(32) + 0.5) / 32)
    place = np.clip((root - (1 / 128) ** 0.5) / (1 - (1 / 128) ** 0.5) * (KNOTS - 1), 0, None)
    points = np.stack(np.meshgrid(place, place, indexing="ij"), -1)
    expected = RegularGridInterpolator((np.arange(KNOTS),) * 2, knots.astype(float))(points).ravel()
    steepest = max(np.abs(np.diff(knots, axis=axis)).max() for axis in (0, 1))
    # Weights are rounded to 1/256, on both axes.
    assert np.abs(bm.SmoothSpectrum(32).parse(numbers) / UNIT - expected).max() <= steepest / 256 + 1e-9


@pytest.mark.parametrize(("deviations", "channels"), [(bm.SmoothSpectrum(32), 1024), (bm.ListedDeviations(64), 64)])
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
    listed, wanted = bm.ListedDeviations(64), np.random.default_rng(0).uniform(-15, 3, 64)
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
