"""Curves that correct mean intensity: what they make equal, what their bytes may be."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarlab.codec.levels import (
    CURVE_SIZE,
    FINEST,
    KNOTS,
    LEVEL_WINDOW,
    WIDTH,
    LevelCurve,
    correction,
    fit_curve,
    fit_curves,
    unpack_curves,
)
from sarlab.errors import BitstreamError


def scene(seed=0, count=40_000):
    """Speckle over levels from −20 to 0 dB, decoded as its mean in dB: darker by 0.5 dB, on bright ground by 1.5."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0, 0.8, count)
    ground = -20 + 25 * level
    original = ground + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, count))
    return original, ground - np.where(level > 0.5, 1.5, 0.5), level


#: All samples of a scene in one class: that of the scene.
ONE_CLASS = np.zeros(40_000, int)


def bias(original, decoded):
    return 10 * np.log10(np.sum(10 ** (decoded / 10)) / np.sum(10 ** (original / 10)))


def test_means_become_those_of_the_original_at_every_level():
    original, decoded, level = scene()
    curve = fit_curve(original, decoded, level, ONE_CLASS)
    corrected = decoded + curve(level.astype(np.float32))
    assert abs(bias(original, decoded)) > 0.9
    assert abs(bias(original, corrected)) < 0.01
    for low in (0.0, 0.2, 0.6):
        part = (level >= low) & (level < low + 0.2)
        assert abs(bias(original[part], corrected[part])) < 0.06
    (again,) = unpack_curves(curve.pack(), 1)
    assert np.array_equal(again(level), curve(level))


@given(st.binary(min_size=2 * CURVE_SIZE, max_size=2 * CURVE_SIZE))
def test_any_bytes_are_refused_or_a_finite_curve(data):
    assert unpack_curves(b"", 3) == ()
    with pytest.raises(BitstreamError, match="11 bytes of curves"):
        unpack_curves(data[:11], 1)
    try:
        curves = unpack_curves(data, 2)
    except BitstreamError:
        fields = [struct.unpack("<hhB8b", data[at : at + CURVE_SIZE]) for at in (0, CURVE_SIZE)]
        assert any(low >= high or fineness > FINEST for low, high, fineness, *_ in fields)
        return
    for curve in curves:
        values = curve(np.linspace(-40, 40, 9, dtype=np.float32))
        assert np.isfinite(values).all()
        assert np.abs(values).max() <= 3.2 + 1e-6


def test_means_of_ground_that_is_decoded_as_another_level():
    """Dark and bright ground mixed at every decoded level, in other proportions: no curve is right at all levels and for both."""
    rng = np.random.default_rng(4)
    classes = rng.integers(0, 2, 40_000)
    level = np.clip(0.35 + 0.2 * classes + rng.normal(0, 0.06, 40_000), 0, 0.9)
    original = -11.5 + 5.6 * classes + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, 40_000))
    decoded = -20 + 25 * level
    for known in (ONE_CLASS, classes):
        corrected = decoded + fit_curve(original, decoded, level, known)(level.astype(np.float32))
        worst = max(abs(bias(original[classes == c], corrected[classes == c])) for c in (0, 1))
        assert (worst < 0.1) == (known is classes), worst


def test_the_mean_of_the_scene_comes_before_its_levels():
    """A target that no value can bring back: the other levels carry what it lacks."""
    original, decoded, level = scene(2)
    bright = level > 0.78
    original = np.where(bright, original + 4, original)
    corrected = decoded + fit_curve(original, decoded, level, ONE_CLASS)(level.astype(np.float32))
    assert bias(original[bright], corrected[bright]) < -1
    assert abs(bias(original, corrected)) < 0.02


def test_speckle_that_is_decoded_as_its_mean_in_db():
    """Single-look speckle has e^γ = 2.507 dB more mean intensity than its mean in dB says, at all levels; a gap changes nothing."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:200, :160]
    ground = np.stack([(rows + columns) / 500, columns / 400 - 0.3]).astype(np.float32)
    speckle = 10 * np.log10(rng.gamma(1, 1, ground.shape)) + 2.507
    x, coded = (ground + speckle / WIDTH).astype(np.float32), np.ones(ground.shape, bool)
    coded[0, 50:90, 20:70] = False
    x[~coded] = 7
    margin = np.pad(ground, ((0, 0), (9, 0), (0, 5)), mode="edge")
    place = np.s_[9:, :160]
    curves = unpack_curves(fit_curves([(x, margin, coded, place)]), 2)
    lifted = WIDTH * correction(margin, curves)[(slice(None), *place)]
    assert np.abs(lifted[:, 30:-30, 30:-30] - 2.507).max() < 0.3
    for band in range(2):
        at = coded[band]
        assert abs(bias(WIDTH * x[band][at], WIDTH * ground[band][at] + lifted[band][at])) < 0.01


def test_levels_are_means_of_a_window_and_values_lie_on_lines_between_knots():
    curve = LevelCurve(0, 7 * 128, np.arange(KNOTS) * 8)
    assert curve(np.array([-1, 0, 0.5, 0.875, 2], np.float32)) == pytest.approx([0, 0, 0.8, 1.4, 1.4])
    x_hat = np.zeros((1, 60, 60), np.float32)
    x_hat[0, 30, 30] = LEVEL_WINDOW**2
    curve = LevelCurve(0, 1024, np.arange(KNOTS) * 10)
    lifted = correction(x_hat, [curve])[0] * WIDTH
    inside = np.zeros((60, 60), bool)
    inside[30 - LEVEL_WINDOW // 2 :, 30 - LEVEL_WINDOW // 2 :][:LEVEL_WINDOW, :LEVEL_WINDOW] = True
    assert lifted[inside] == pytest.approx(70 / 40, rel=1e-4)
    assert np.abs(lifted[~inside]).max() < 1e-4
