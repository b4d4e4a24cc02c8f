"""Simulated scenes: known truth, known statistics, splits of different seeds."""

from dataclasses import replace

import numpy as np
import pytest

from sarlab.errors import SceneError
from sarlab.scenes.simulate import SimulationSpec, catalog_names, reflectivity, simulate, simulated_split


def test_the_ratio_to_the_clean_scene_is_speckle_of_the_looks_asked_for():
    spec = SimulationSpec(256, 256, looks=4.4, seed=7, quantity="intensity", content=("regions", "texture", "roads"))
    scene, clean = simulate(spec)
    ratio = scene.data.astype(float) / clean.data
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert ratio.mean() ** 2 / ratio.var() == pytest.approx(4.4, rel=0.03)
    assert scene.simulated
    assert scene.looks == 4.4
    assert clean.looks == float("inf")


def test_quantities_describe_the_same_scene():
    spec = SimulationSpec(32, 40, seed=3)
    db, _ = simulate(spec)
    power, _ = simulate(replace(spec, quantity="intensity"))
    amplitude, _ = simulate(replace(spec, quantity="amplitude"))
    assert np.allclose(10 ** (db.data / 10), power.data, rtol=1e-5)
    assert np.allclose(amplitude.data**2, power.data, rtol=1e-5)


def test_reflectivity_has_what_the_metrics_look_for():
    spec = SimulationSpec(256, 256, seed=1)
    truth = reflectivity(spec)
    assert truth.intensity.shape == (256, 256)
    assert (truth.intensity > 0).all()
    assert len(np.unique(truth.regions)) >= 5
    assert 0 < truth.roads.mean() < 0.2
    assert np.allclose(10 * np.log10(truth.background[truth.roads]), -18)
    assert truth.positions.shape[0] == 7
    peaks = truth.targets[tuple(truth.positions.T)]
    assert (peaks >= 1 - 1e-9).all()
    assert np.count_nonzero(truth.targets) == len(np.unique(truth.positions, axis=0))
    # A region without texture and roads is exactly homogeneous; a textured one is not.
    for region in np.unique(truth.regions):
        inside = (truth.regions == region) & ~truth.roads
        if inside.any():
            spread = np.ptp(truth.background[inside])
            assert (spread > 0) == truth.textured[inside].any()


def test_looks_and_correlation_do_not_touch_the_background():
    first = reflectivity(SimulationSpec(64, 64, looks=1, seed=5)).background
    second = reflectivity(SimulationSpec(64, 64, looks=64, correlation=0.6, seed=5)).background
    assert np.array_equal(first, second)


def test_point_targets_are_as_wide_as_the_speckle_is_correlated():
    sharp = reflectivity(SimulationSpec(128, 128, seed=2))
    wide = reflectivity(SimulationSpec(128, 128, seed=2, correlation=0.6))
    row, column = next(p for p in sharp.positions if (p > 8).all() and (p < 120).all())
    assert wide.targets[row, column] == pytest.approx(sharp.targets[row, column], rel=1e-6)
    assert wide.targets[row, column + 1] / wide.targets[row, column] == pytest.approx(0.6, abs=0.01)


def test_empty_content_is_one_homogeneous_area():
    _, clean = simulate(SimulationSpec(20, 30, content=()))
    assert np.allclose(clean.data, -10)


def test_tiny_scenes_work():
    for shape in ((1, 1), (17, 1000), (3, 2)):
        scene, clean = simulate(SimulationSpec(*shape, correlation=0.5))
        assert scene.shape == clean.shape == (1, *shape)
        assert np.isfinite(scene.data).all()


def test_catalog_splits_share_reflectivity_and_differ_in_seeds():
    white, other = simulated_split(4.4), simulated_split(64.0)
    names = [scene.name for _, scene in white.roles()]
    assert len(set(names)) == len(names)
    assert {scene.acquisition for scene in white.train}.isdisjoint({scene.acquisition for scene in white.test})
    for role, scene in white.roles():
        clean = white.clean[scene.name]
        assert clean.shape == scene.shape
        assert scene.seen_in_training == ("true" if role == "train" else "false")
        assert np.array_equal(scene.data * 256, np.round(scene.data * 256))
    for a, b in zip(white.test, other.test, strict=True):
        assert np.array_equal(white.clean[a.name].data, other.clean[b.name].data)
        assert not np.array_equal(a.data, b.data)
    assert white.digest != other.digest


def test_catalog_holds_every_number_of_looks_white_and_correlated():
    assert {(looks, bool(c)) for _, looks, c in catalog_names()} == {
        (looks, c) for looks in (1.0, 4.4, 16.0, 64.0) for c in (False, True)
    }


def test_impossible_specifications_are_refused():
    with pytest.raises(SceneError, match="at least one pixel"):
        SimulationSpec(0, 5)
    with pytest.raises(SceneError, match="unknown content hills"):
        SimulationSpec(content=("hills",))
    with pytest.raises(SceneError, match="unknown quantity"):
        SimulationSpec(quantity="complex")
