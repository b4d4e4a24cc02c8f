"""Splits by acquisition and by block, with empty files and other sensors."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sarlab.scenes.catalog import load_split
from sarlab.scenes.radiometry import Normalizer
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import FoundScenes, blocks_with_guard, choose_normalizers, scene_duplicate_share, split_scenes
from sarlab.specs import SceneSpec

REFERENCE = {"VV": Normalizer(-25, 3), "VH": Normalizer(-31, -4)}


def speckled(seed, side=96, level=-12.0, bands=("VV",)):
    return np.random.default_rng(seed).normal(level, 2, (len(bands), side, side)).astype(np.float32)


def scene(seed, name, acquisition="", **options):
    return Scene(speckled(seed), "db", ("VV",), name=name, acquisition=acquisition or name, **options)


def test_three_acquisitions_are_split_by_acquisition():
    scenes = [scene(i, f"s{i}", f"event {i // 2}") for i in range(10)]
    split = split_scenes(FoundScenes(scenes), REFERENCE)
    events = [{s.acquisition for s in getattr(split, role)} for role in ("train", "validation", "test")]
    assert all(events)
    assert len(set().union(*events)) == sum(map(len, events))
    for role, one in split.roles():
        assert one.seen_in_training == ("true" if role == "train" else "false")
    assert len([*split.roles()]) == 10
    assert "by acquisition" in split.note
    again = split_scenes(FoundScenes(scenes[::-1]), REFERENCE)
    assert {s.name for s in again.test} == {s.name for s in split.test}
    odd = Scene(speckled(9), "db", ("HH",), name="odd", acquisition="odd")
    assert set(split_scenes(FoundScenes([*scenes, odd]), REFERENCE).normalizers) == {"VV", "HH"}


def test_scenes_with_copied_pixels_are_not_for_testing():
    copied = [
        Scene(np.repeat(speckled(i), 2, axis=2), "db", ("VV",), name=f"copy{i}", acquisition=f"copy{i}")
        for i in range(5)
    ]
    pure = [scene(10 + i, f"pure{i}") for i in range(2)]
    split = split_scenes(FoundScenes([*copied, *pure]), REFERENCE)
    assert [s.name[:4] for s in split.test] == ["pure"]
    assert any(s.name.startswith("pure") for s in split.train)


def test_fewer_acquisitions_are_cut_into_guarded_blocks():
    image = -np.arange(512 * 512, dtype=np.float32).reshape(1, 512, 512) / 2**14
    split = split_scenes(FoundScenes([Scene(image, "db", ("VV",), name="one", acquisition="one")]), REFERENCE)
    assert [s.name for _, s in split.roles()] == ["one-train", "one-validation", "one-test"]
    assert "guard of 64 pixels" in split.note
    assert "share the acquisition" in split.note
    values = [set(s.data.ravel().tolist()) for _, s in split.roles()]
    assert not values[0] & values[2]
    # Two scenes of one event are one acquisition.
    split = split_scenes(FoundScenes([scene(i, f"s{i}", f"event {i % 2}") for i in range(4)]), REFERENCE)
    assert "contiguous blocks" in split.note
    assert len(split.train) == len(split.test) == 4


HALF_EMPTY = speckled(0, 400)
HALF_EMPTY[:, 200:] = np.nan


@pytest.mark.parametrize("data", [speckled(0)[:, :1, :1], speckled(0)[:, :5, :5], speckled(0)[:, :11, :3], HALF_EMPTY])
def test_scenes_too_small_or_too_empty_are_not_divided(data):
    split = split_scenes(FoundScenes([Scene(data, "db", ("VV",))]), REFERENCE)
    assert "too small (or too empty)" in split.note
    assert split.test[0].seen_in_training == "true"
    assert split.test[0].shape == data.shape


def test_a_constant_strip_and_another_quantity():
    split = split_scenes(FoundScenes([Scene(np.full((1, 17, 1000), 40.0), "db", ("VV",), name="flat")]), REFERENCE)
    assert split.test[0].shape == (1, 17, 218)
    assert split.normalizers["VV"].width == 1
    split = split_scenes(FoundScenes([Scene(10 ** (speckled(0) / 10), "intensity", ("VV",), name="p")]), REFERENCE)
    assert {s.quantity for _, s in split.roles()} == {"db"}
    assert split.normalizers["VV"] == REFERENCE["VV"]


def test_calibrated_backscatter_takes_the_embedded_range_and_others_their_own():
    assert choose_normalizers([scene(0, "s1")], REFERENCE)[0]["VV"] == REFERENCE["VV"]
    bright = Scene(speckled(0, level=40), "db", ("VV",), name="uncalibrated")
    other = Scene(speckled(0), "db", ("HH",), name="other polarization")
    for one in (bright, other, scene(0, "simulated", simulated=True)):
        ((_, chosen),) = choose_normalizers([one], REFERENCE)[0].items()
        assert (chosen.low, chosen.high) == pytest.approx(np.percentile(one.data, [0.1, 99.9]), abs=1e-3)


def test_the_digest_is_of_values_not_of_names_or_places():
    first, renamed = (split_scenes(FoundScenes([scene(0, name)]), REFERENCE) for name in "ab")
    assert first.digest == renamed.digest
    changed = scene(0, "a")
    changed.data[0, 0, 0] += 0.01
    assert first.digest not in (
        split_scenes(FoundScenes([changed]), REFERENCE).digest,
        split_scenes(FoundScenes([scene(0, "a")]), {}).digest,
    )


@given(st.integers(1, 700), st.integers(1, 700))
@example(512, 512)
@example(17, 1000)
@example(1, 1)
def test_blocks_are_inside_disjoint_and_guarded(height, width):
    *parts, guard = blocks_with_guard(height, width)
    for row, column, h, w in parts:
        assert min(h, w) >= 1
        assert 0 <= row <= height - h
        assert 0 <= column <= width - w
    if not guard:
        assert max(height, width) < 12
        return
    assert guard == 64 or max(height, width) < 384
    for i, (r1, c1, h1, w1) in enumerate(parts):
        for r2, c2, h2, w2 in parts[i + 1 :]:
            rows = max(r1 - (r2 + h2), r2 - (r1 + h1))
            columns = max(c1 - (c2 + w2), c2 - (c1 + w1))
            assert max(rows, columns) >= guard
    areas = [h * w for _, _, h, w in parts]
    assert areas[0] >= max(areas[1:])


def test_duplicate_share():
    def share(values):
        return scene_duplicate_share(Scene(np.asarray(values, float)[None], "db", ("VV",)))

    assert share([[1.0, 1, 2, 2, 3]]) == 0.5
    assert share([[1.0, np.nan, 1, 1]]) == 1
    assert np.isnan(share([[1.0]]))
    assert share(np.repeat(np.random.default_rng(0).normal(size=(5, 50)), 2, axis=1)) == pytest.approx(50 / 99)


def test_test_scenes_are_cut_to_their_middle_and_others_stay_whole():
    whole, cut = (load_split(SceneSpec("simulated-l1", side=side)) for side in (0, 100))
    assert cut.digest != whole.digest
    assert [a is b for a, b in zip(cut.train, whole.train, strict=True)] == [True] * len(whole.train)
    for before, after in zip(whole.test, cut.test, strict=True):
        top, left = ((length - 100) // 2 for length in before.shape[1:])
        inside = slice(top, top + 100), slice(left, left + 100)
        assert (after.data[0] == before.data[0][inside]).all()
        assert (cut.clean[after.name].data[0] == whole.clean[before.name].data[0][inside]).all()
        assert (after.acquisition, after.place) == (before.acquisition, before.place)
