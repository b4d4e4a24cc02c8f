"""Levels: native samples to normalized ones and back, exact zeros, flat areas."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.codec.levels import FEWEST_FLAT, WIDTH, fit_levels, native_levels
from sarlab.codec.tiles import CODED, FLAT
from sarlab.scenes.scene import Scene


def speckled(quantity, seed=0, shape=(2, 40, 48)):
    rng = np.random.default_rng(seed)
    db = rng.normal(-10, 8, shape)
    db[0, :3] = np.nan
    data = {"db": db, "amplitude": 10 ** (db / 20), "intensity": 10 ** (db / 10)}[quantity].astype(np.float32)
    return Scene(data, quantity, ("VV", "VH"))


@pytest.mark.parametrize("quantity", ["db", "amplitude", "intensity"])
def test_samples_come_back_around_a_center_at_their_mean(quantity):
    scene = speckled(quantity)
    levels = fit_levels([scene], True)
    valid, (x, kinds) = scene.valid, levels.normalized(scene)
    assert x.dtype == np.float32
    assert (kinds == valid).all()
    assert not x[~valid].any()
    for band in range(2):
        assert abs(WIDTH * x[band][valid[band]].mean()) < 1 / 64
        assert x[band][valid[band]].std() == pytest.approx(8 / 30, rel=0.1)
        assert levels.centers[band] * 64 == round(levels.centers[band] * 64)
    again = levels.restored(x, kinds)
    assert (np.isnan(again) == ~valid).all()
    assert np.allclose(again, scene.data, rtol=1e-5, atol=1e-5 if quantity == "db" else 0, equal_nan=True)
    assert levels.floors is levels.flats is None


@pytest.mark.parametrize(("quantity", "zero"), [("db", -np.inf), ("amplitude", 0), ("intensity", 0)])
def test_exact_zeros_survive_any_error_below_half_of_the_gap(quantity, zero):
    scene = speckled(quantity)
    data = scene.data.copy()
    data[1, 5:9, ::5] = zero
    scene = scene.with_data(data, valid=None)
    levels = fit_levels([scene], True)
    valid, (x, kinds) = scene.valid, levels.normalized(scene)
    gap = (20 if quantity == "amplitude" else 10) * np.log10(2)
    for error in (-0.49, 0.49):
        again = levels.restored((x + error * gap / WIDTH).astype(np.float32), kinds)
        assert (again[1][valid[1]] == zero).sum() == (data[1] == zero).sum()
        assert ((again[1] == zero) == (data[1] == zero))[valid[1]].all()
    assert np.isnan(levels.floors[0])
    assert np.isfinite(levels.floors[1])


@given(st.integers(0, FEWEST_FLAT + 2), st.integers(0, 2), st.booleans())
@settings(max_examples=40, deadline=None)
def test_blocks_of_one_value_are_found_and_come_back_exactly(count, others, missing):
    rng = np.random.default_rng(count)
    data = rng.gamma(3, 1, (1, 64, 72)).astype(np.float32)
    blocks = rng.permutation(72)[: count + others]
    for number, block in enumerate(blocks):
        i, j = divmod(block, 9)
        data[0, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8] = 7.5 if number < count else 9.25
        if missing:
            data[0, 8 * i, 8 * j] = np.nan
    scene = Scene(data, "intensity", ("x",))
    levels = fit_levels([scene], True)
    x, kinds = levels.normalized(scene)
    if count < FEWEST_FLAT or missing:  # Blocks with gaps alone do not make a value flat.
        assert levels.flats is None
        assert (kinds == scene.valid).all()
        return
    assert levels.flats == (7.5,)
    assert ((kinds == FLAT) == (data == 7.5)).all()
    again = levels.restored(x + np.float32(0.3), kinds)
    assert (again[kinds == FLAT] == 7.5).all()
    assert abs(WIDTH * x[kinds == CODED].mean()) < 0.02  # Flat samples do not move the center.


def test_native_levels_change_nothing():
    scene = replace(speckled("amplitude"), dtype="uint16")
    levels = native_levels(scene)
    again = levels.restored(*levels.normalized(scene))
    assert np.array_equal(again, scene.data, equal_nan=True)
