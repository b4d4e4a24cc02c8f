"""Levels: native samples to normalized ones and back, exact zeros, flat areas, and the curves that make means exact."""

import numpy as np
import pytest

from sarlab.codec.levels import WIDTH, correction, fit_curve, fit_curves, fit_levels, unpack_curves
from sarlab.codec.tiles import ZERO
from sarlab.scenes.scene import Scene


def speckled(quantity, seed=0, shape=(2, 40, 48)):
    rng = np.random.default_rng(seed)
    db = rng.normal(-10, 8, shape)
    db[0, :3] = np.nan
    data = {"db": db, "amplitude": 10 ** (db / 20), "intensity": 10 ** (db / 10)}[quantity].astype(np.float32)
    return Scene(data, quantity, ("VV", "VH"))


@pytest.mark.parametrize(("quantity", "zero"), [("db", -np.inf), ("amplitude", 0), ("intensity", 0)])
def test_samples_come_back_and_zeros_are_exact_or_survive_any_error_below_half_of_the_gap(quantity, zero):
    scene = speckled(quantity)
    data, valid = scene.data.copy(), scene.valid
    data[1, 5:9, ::5] = zero
    scene = scene.with_data(data, valid=None)
    marked = fit_levels([scene], True)
    assert marked.floors is None
    x, kinds = marked.normalized(scene)
    assert np.array_equal(kinds, np.where(data == zero, ZERO, valid))
    restored = marked.restored((x + np.random.default_rng(0).normal(0, 1, x.shape)).astype(np.float32), kinds)
    assert np.array_equal(restored == zero, data == zero)
    levels = fit_levels([scene], True, rate=0.01)
    x, kinds = levels.normalized(scene)
    assert (kinds == valid).all()
    assert not x[~valid].any()
    assert x[0][valid[0]].std() == pytest.approx(8 / 30, rel=0.1)
    for band in range(2):
        assert abs(WIDTH * x[band][valid[band]].mean()) < 1 / 64
    assert np.allclose(levels.restored(x, kinds), data, rtol=1e-5, atol=1e-5 if quantity == "db" else 0, equal_nan=True)
    gap = (20 if quantity == "amplitude" else 10) * np.log10(2)
    for error in (-0.49, 0.49):
        again = levels.restored((x + error * gap / WIDTH).astype(np.float32), kinds)
        assert ((again == zero) == (data == zero)).all()
    assert np.isfinite(levels.floors).all()


# --- exact means -------------------------------------------------------------------------------------------------------


def decoded_scene(seed=0, count=40_000):
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
    original, decoded, level = decoded_scene()
    curve = fit_curve(original, decoded, level, ONE_CLASS)
    corrected = decoded + curve(level.astype(np.float32))
    assert abs(bias(original, decoded)) > 0.9
    assert abs(bias(original, corrected)) < 0.01
    for low in (0.0, 0.2, 0.6):
        part = (level >= low) & (level < low + 0.2)
        assert abs(bias(original[part], corrected[part])) < 0.06
    (again,) = unpack_curves(curve.pack(), 1)
    assert np.array_equal(again(level), curve(level))


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
    original, decoded, level = decoded_scene(2)
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
