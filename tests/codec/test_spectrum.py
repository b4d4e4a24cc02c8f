"""Spectra in the header: they come back, their surface is bilinear, classes are those of floating point, damage is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarlab.codec.block_model import (
    CLASSES,
    FINE_STEP,
    KNOTS,
    PER_OCTAVE,
    QUALITY_UNIT,
    UNIT,
    UNIT_CLASS,
    BlockModel,
    ListedDeviations,
    Side,
    SmoothSpectrum,
    fine_step,
    step_units,
)
from sarlab.errors import BitstreamError

STATE = SmoothSpectrum(32)


def octaves(parsed):
    return parsed / (UNIT * PER_OCTAVE)


def smooth(size, seed):
    """log2 of the deviation, a plane in the square root of frequency."""
    a, b, c = np.random.default_rng(seed).uniform(-3, 3, 3)
    root = np.sqrt((np.arange(size) + 0.5) / size)
    return (a - 4 + b * root[:, None] + c * root).ravel()


@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize("seed", range(4))
def test_a_smooth_spectrum_comes_back(size, seed):
    """Knots are rounded to a quarter of an octave, and the surface lies within that of what it was fitted to."""
    spectrum, wanted = SmoothSpectrum(size), smooth(size, seed)
    found = octaves(spectrum.parse(spectrum.fit(4.0**wanted)))
    assert np.abs(found - wanted).max() < 0.26
    assert np.sqrt(np.mean(np.square(found - wanted))) < 0.1


@given(hnp.arrays(np.int64, KNOTS * KNOTS, elements=st.integers(-9, 9)))
@settings(max_examples=60, deadline=None)
def test_the_surface_is_bilinear_between_its_knots(numbers):
    """Against SciPy, from knots that are predicted from above and from the left."""
    from scipy.interpolate import RegularGridInterpolator

    knots = np.zeros((KNOTS, KNOTS), int)
    for place, number in enumerate(numbers):
        i, j = divmod(place, KNOTS)
        above, left = knots[i - 1, j] if i else None, knots[i, j - 1] if j else None
        known = [v for v in (above, left) if v is not None]
        knots[i, j] = number + (int(np.floor(np.mean(known))) if known else 0)
    if np.abs(knots).max() > 96:
        with pytest.raises(BitstreamError, match="damaged"):
            STATE.parse(numbers)
        return
    root = np.sqrt((np.arange(32) + 0.5) / 32)
    place = np.clip((root - (1 / 128) ** 0.5) / (1 - (1 / 128) ** 0.5) * (KNOTS - 1), 0, None)
    points = np.stack(np.meshgrid(place, place, indexing="ij"), -1)
    expected = RegularGridInterpolator((np.arange(KNOTS),) * 2, knots.astype(float))(points).ravel()
    steepest = max(np.abs(np.diff(knots, axis=axis)).max() for axis in (0, 1))
    # Weights are rounded to 1/256, on both axes.
    assert np.abs(STATE.parse(numbers) / UNIT - expected).max() <= steepest / 256 + 1e-9


@pytest.mark.parametrize("deviations", [STATE, ListedDeviations(64)])
def test_extremes_are_clipped_and_impossible_ones_refused(deviations):
    channels = 1024 if deviations is STATE else 64
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
    wanted = np.random.default_rng(0).uniform(-15, 3, 64)
    listed = ListedDeviations(64)
    assert np.abs(octaves(listed.parse(listed.fit(4.0**wanted))) - wanted).max() <= 0.125 + 1e-9


def test_the_step_in_integers_is_that_of_floating_point():
    for quality in range(0, 96 * QUALITY_UNIT + 1, 7):
        step = 2 * FINE_STEP * 10 ** (-quality / QUALITY_UNIT / 20)
        assert fine_step(quality / QUALITY_UNIT) == pytest.approx(step / 2)
        assert step_units(quality) / (UNIT * PER_OCTAVE) == pytest.approx(np.log2(step), abs=1e-4)


@given(st.integers(-96 * UNIT, 96 * UNIT), st.integers(0, 96 * QUALITY_UNIT))
@settings(max_examples=300)
def test_classes_in_integers_are_those_of_floating_point(deviation, quality):
    side = Side((np.array([deviation]),), (np.zeros(1),), 8)
    (found,) = BlockModel.classes(quality / QUALITY_UNIT, side, 0)
    octaves_above = octaves(deviation) - np.log2(2 * FINE_STEP * 10 ** (-quality / QUALITY_UNIT / 20))
    exact = UNIT_CLASS + PER_OCTAVE * octaves_above
    assert found == pytest.approx(np.clip(np.floor(exact), 0, CLASSES - 1)) or abs(exact - np.rint(exact)) < 1e-3
