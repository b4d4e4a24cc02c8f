"""Inputs of evaluate: bands of files, folders and names, with their clip range and reasons."""

import numpy as np
import pytest

from sarlab.errors import SceneError
from sarlab.lab.inputs import load_inputs
from sarlab.lab.quickstart import score
from sarlab.scenes.catalog import reference_normalizers
from sarlab.scenes.scene import Scene


def speckled(name="scene", seed=0, bands=("VV",)):
    intensity = np.random.default_rng(seed).gamma(4.4, 1 / 4.4, (len(bands), 64, 80))
    return Scene(
        (-12 + 10 * np.log10(intensity)).astype(np.float32), "db", bands, name=name, acquisition=name, looks=4.4
    )


def test_inputs_take_the_clip_range_of_their_kind():
    vv, hh = load_inputs([speckled("a", bands=("VV", "HH"))])
    known = reference_normalizers()["VV"]
    assert (vv.clip, vv.clip_source, hh.clip_source) == ((known.low, known.high), "embedded", "source")
    assert hh.clip == pytest.approx(tuple(np.percentile(hh.scene.data, (0.1, 99.9))), abs=1e-3)
    given = load_inputs([speckled()], clip=(-30.0, 5.0))[0]
    assert (given.clip, given.clip_source) == ((-30.0, 5.0), "user")


def test_inputs_from_the_catalog_carry_role_and_clean_scene():
    items = load_inputs(["simulated-l4.4"])
    assert items
    assert {item.split for item in items} <= {"test", "independent"}
    assert all(item.clean_db is not None and item.clean_db.shape == item.db.shape for item in items)
    embedded = load_inputs(["bigearthnet"], bands=["VV"])
    assert {item.split for item in embedded} == {"test", "independent"}
    assert all(item.scene.bands == ("VV",) for item in embedded)


def test_inputs_that_do_not_exist_or_clash():
    with pytest.raises(SceneError):
        load_inputs(["no-such-scene"])
    with pytest.raises(SceneError, match="no scene has a band"):
        load_inputs([speckled()], bands=["XX"])
    with pytest.raises(SceneError, match="two different scenes"):
        load_inputs([speckled(seed=1), speckled(seed=2)])
    assert len(load_inputs([speckled(seed=1), speckled(seed=1)])) == 1
    for scene, other in ((speckled().data, speckled()), (speckled(), speckled().data)):
        with pytest.raises(SceneError, match="not ndarray; make one of an array"):
            score(scene, other)
