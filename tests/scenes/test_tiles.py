"""Grids, halos, stitching, patches and guarded blocks."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from sarlab.errors import SceneError
from sarlab.scenes.radiometry import Normalizer
from sarlab.scenes.scene import Scene
from sarlab.scenes.tiles import (
    PatchSampler,
    blocks_with_guard,
    cut,
    duplicate_share,
    fill_nodata,
    grid,
    map_tiles,
    stitch,
)

sides = st.integers(1, 40)


@given(sides, sides, st.integers(1, 20), st.data())
def test_a_grid_covers_every_pixel_and_stays_inside(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    covered = np.zeros((height, width), int)
    for row, column, h, w in grid(height, width, tile, overlap):
        assert (h, w) == (min(tile, height), min(tile, width))
        assert row >= 0
        assert column >= 0
        assert row + h <= height
        assert column + w <= width
        covered[row : row + h, column : column + w] += 1
    assert covered.min() >= 1
    if tile < min(height, width):
        starts = sorted({row for row, *_ in grid(height, width, tile, overlap)})
        assert all(b - a <= tile - overlap for a, b in itertools.pairwise(starts))


def test_impossible_grids_are_refused():
    for tile, overlap in ((0, 0), (4, 4), (4, -1)):
        with pytest.raises(SceneError, match="overlap"):
            grid(10, 10, tile, overlap)


@given(sides, sides, st.integers(1, 16), st.integers(0, 5))
def test_a_sufficient_halo_gives_the_result_of_the_whole(height, width, tile, reach):
    image = np.random.default_rng(0).normal(size=(2, height, width))

    def shift_sum(x):
        """Sums `reach` neighbors to each side; zero beyond the border."""
        padded = np.pad(x, [(0, 0), (reach, reach), (reach, reach)])
        return sum(
            padded[:, i : i + x.shape[1], j : j + x.shape[2]]
            for i in range(2 * reach + 1)
            for j in (0, reach, 2 * reach)
        )

    assert np.allclose(map_tiles(shift_sum, image, tile, halo=reach), shift_sum(image))


def test_an_insufficient_halo_shows():
    image = np.random.default_rng(0).normal(size=(32, 32))
    whole = uniform_filter(image, 5, mode="nearest")
    assert np.allclose(map_tiles(lambda x: uniform_filter(x, 5, mode="nearest"), image, 8, halo=2), whole)
    assert not np.allclose(map_tiles(lambda x: uniform_filter(x, 5, mode="nearest"), image, 8, halo=1), whole)


def test_a_tiled_operation_keeps_its_size_and_may_change_its_bands():
    image = np.arange(24.0).reshape(1, 4, 6)
    assert map_tiles(lambda x: np.repeat(x, 3, 0), image, 3).shape == (3, 4, 6)
    with pytest.raises(SceneError, match="keep the size"):
        map_tiles(lambda x: x[..., 1:, :], image, 3)


@given(sides, sides, st.integers(1, 12), st.data())
def test_pieces_that_agree_give_their_image_back(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    image = np.random.default_rng(1).normal(size=(2, height, width)).astype(np.float32)
    windows = grid(height, width, tile, overlap)
    pieces = [cut(image, window)[0] for window in windows]
    assert np.allclose(stitch(pieces, windows, height, width), image, atol=1e-6)


def test_blending_has_no_step():
    windows = grid(1, 20, 12, 4)
    pieces = [np.full((1, w), float(k)) for k, (_, _, _, w) in enumerate(windows)]
    joined = stitch(pieces, windows, 1, 20)[0]
    assert joined[0] == 0
    assert joined[-1] == 1
    assert np.abs(np.diff(joined)).max() < 0.6
    with pytest.raises(SceneError, match="do not cover"):
        stitch(pieces[:1], windows[:1], 1, 20)


# Patches


def scene(data, name="s"):
    data = np.asarray(data, np.float32)
    data = data[None] if data.ndim == 2 else data
    return Scene(data, "db", ("VV", "VH")[: data.shape[0]], name=name)


def test_patches_come_from_the_scenes_and_avoid_nodata():
    image = np.arange(30 * 40, dtype=np.float32).reshape(30, 40)
    image[10:12, :] = np.nan
    sampler = PatchSampler([scene(image)], 8)
    patches = sampler.sample(200, np.random.default_rng(0))
    assert patches.shape == (200, 8, 8)
    assert not sampler.filled
    for patch in patches:
        row, column = divmod(int(patch[0, 0]), 40)
        assert np.array_equal(patch, image[row : row + 8, column : column + 8])


def test_every_position_is_equally_likely():
    image = np.arange(6 * 7, dtype=np.float32).reshape(6, 7)
    image[0, 0] = np.nan
    patches = PatchSampler([scene(image), scene(image + 100)], 3).sample(20_000, np.random.default_rng(1))
    _, counts = np.unique(patches[:, 0, 0], return_counts=True)
    positions = 2 * (4 * 5 - 1)
    assert counts.size == positions
    expected = 20_000 / positions
    assert np.sum((counts - expected) ** 2 / expected) < positions + 5 * np.sqrt(2 * positions)


def test_the_generator_decides():
    sampler = PatchSampler([scene(np.random.default_rng(0).normal(size=(2, 20, 20)))], 5)
    draw = [sampler.sample(4, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert np.array_equal(draw[0], draw[1])
    assert not np.array_equal(draw[0], draw[2])
    assert next(sampler.batches(2, np.random.default_rng(3))).shape == (2, 5, 5)


def test_scenes_smaller_than_a_patch_are_mirrored():
    for shape in ((1, 1), (3, 50)):
        patches = PatchSampler([scene(np.random.default_rng(0).normal(size=shape))], 16).sample(
            3, np.random.default_rng(0)
        )
        assert np.isfinite(patches).all()
    tiny = np.array([[1.0, 2.0]])
    patch = PatchSampler([scene(tiny)], 4).sample(1, np.random.default_rng(0))[0]
    assert np.array_equal(patch, np.tile([1, 2, 2, 1], (4, 1)))


def test_where_every_patch_touches_nodata_it_is_filled():
    image = np.full((8, 8), -10.0)
    image[:, 3] = np.nan
    image[:, 6] = np.nan
    sampler = PatchSampler([scene(image)], 6)
    assert sampler.filled
    assert (sampler.sample(5, np.random.default_rng(0)) == -10).all()
    with pytest.raises(SceneError, match="no valid sample"):
        PatchSampler([scene(np.full((4, 4), np.nan))], 2)


def test_patches_are_normalized_by_band():
    data = np.stack([np.full((9, 9), -10.0), np.full((9, 9), -20.0)])
    normalizers = {"VV": Normalizer(-20, 0), "VH": Normalizer(-40, 0)}
    patches = PatchSampler([scene(data)], 4, normalizers).sample(50, np.random.default_rng(0))
    assert np.allclose(patches, 0.5)


def test_fill_nodata_takes_the_nearest_sample_of_the_band():
    data = np.array([[[1.0, np.nan, np.nan, 5.0]], [[np.nan] * 4]])
    filled = fill_nodata(data, ~np.isnan(data))
    assert filled[0, 0].tolist() in ([1, 1, 5, 5], [1, 1, 1, 5])
    assert (filled[1] == 0).all()


# Blocks


@given(st.integers(1, 700), st.integers(1, 700))
def test_blocks_are_inside_disjoint_and_guarded(height, width):
    blocks = blocks_with_guard(height, width)
    parts = [blocks.train, blocks.validation, blocks.test]
    for row, column, h, w in parts:
        assert min(h, w) >= 1
        assert 0 <= row <= height - h
        assert 0 <= column <= width - w
    if not blocks.separate:
        assert max(height, width) < 12
        return
    assert blocks.guard == 64 or max(height, width) < 384
    for i, (r1, c1, h1, w1) in enumerate(parts):
        for r2, c2, h2, w2 in parts[i + 1 :]:
            rows = max(r1 - (r2 + h2), r2 - (r1 + h1))
            columns = max(c1 - (c2 + w2), c2 - (c1 + w1))
            assert max(rows, columns) >= blocks.guard
    areas = [h * w for _, _, h, w in parts]
    assert areas[0] >= max(areas[1:])


def test_large_scenes_get_the_full_guard():
    assert blocks_with_guard(512, 512).guard == 64
    assert blocks_with_guard(17, 1000).guard == 64
    assert not blocks_with_guard(1, 1).separate


def test_duplicate_share():
    assert duplicate_share(np.array([[1.0, 1, 2, 2, 3]])) == 0.5
    assert duplicate_share(np.array([[1.0, np.nan, 1, 1]])) == 1
    assert np.isnan(duplicate_share(np.array([[1.0]])))
    repeated = np.repeat(np.random.default_rng(0).normal(size=(5, 50)), 2, axis=1)
    assert duplicate_share(repeated) == pytest.approx(50 / 99)
