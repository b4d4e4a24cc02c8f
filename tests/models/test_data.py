"""Training data: patches are windows of the data in one of eight orientations, and NaN goes nowhere."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import TrainingError
from sarlab.models.data import LEAST_VALID, PatchSampler, Raster, TrainingData, patch_origins
from sarlab.scenes.scene import Scene

CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def orientations(window: np.ndarray) -> list[np.ndarray]:
    turned = [np.rot90(window, k) for k in range(4)]
    return turned + [t.T for t in turned]


@given(st.integers(4, 12), st.integers(4, 12), st.integers(1, 4), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_every_patch_is_a_window_turned_or_flipped(height, width, side, seed):
    images = [np.arange(height * width, dtype=np.float32).reshape(height, width), -np.ones((5, 9), np.float32)]
    sampler = PatchSampler([Raster.from_array(i) for i in images], side, CPU)
    batch = sampler.draw(6, seeded(seed))
    assert batch.x.shape == (6, 1, side, side)
    assert batch.mask is None
    for patch in batch.x[:, 0].numpy():
        if patch[0, 0] < 0:
            assert (patch == -1).all()
            continue
        corner = int(patch.min())
        top, left = divmod(corner, width)
        window = images[0][top : top + side, left : left + side]
        assert any(np.array_equal(patch, o) for o in orientations(window))


def test_all_orientations_and_origins_occur_equally_often():
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    sampler = PatchSampler([Raster.from_array(image)], 2, CPU)
    patches = sampler.draw(9600, seeded()).x[:, 0].numpy()
    kinds, counts = np.unique(patches.reshape(len(patches), -1), axis=0, return_counts=True)
    assert len(kinds) == 6 * 8
    assert counts.min() > 130
    assert counts.max() < 280


def test_masks_travel_with_their_samples():
    image = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    image[image < 0.2] = np.nan
    raster = Raster.from_array(image, span_db=25.0)
    assert torch.isfinite(raster.values).all()
    assert float(raster.values[~raster.mask][0]) == pytest.approx(np.nanmean(image))
    batch = PatchSampler([raster], 8, CPU).draw(50, seeded())
    filled = raster.values[~raster.mask][0]
    assert torch.equal(batch.x == filled, ~batch.mask)
    assert batch.span_db.flatten().tolist() == [25.0] * 50


def test_patches_hold_enough_valid_samples():
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[:, 12:] = True
    origins = patch_origins(mask.shape, mask, 8)
    columns = origins % 30
    # A window of 8 columns has at least half of them right of column 12 from column 8 on.
    assert int(columns.min()) == 8
    assert len(origins) == 13 * 15
    brute = [
        r * 30 + c for r in range(13) for c in range(23) if mask[r : r + 8, c : c + 8].float().mean() >= LEAST_VALID
    ]
    assert origins.tolist() == brute


def test_small_rasters_are_mirrored_up_to_a_patch():
    image = np.random.default_rng(0).random((5, 40)).astype(np.float32)
    sampler = PatchSampler([Raster.from_array(image)], 16, CPU)
    patch = sampler.draw(200, seeded()).x
    assert patch.shape == (200, 1, 16, 16)
    assert set(np.unique(patch.numpy())) <= set(np.unique(image))


def test_a_nodata_scene_is_left_out_and_alone_it_is_refused():
    nothing = np.full((8, 8), np.nan)
    data = TrainingData.from_arrays([nothing, np.ones((8, 8))], [nothing])
    assert len(data.training) == 1
    assert data.validation == ()
    with pytest.raises(TrainingError, match="nodata"):
        TrainingData.from_arrays([nothing])


def test_infinite_samples_and_wrong_shapes_are_refused():
    image = np.zeros((8, 8))
    image[3, 3] = -np.inf
    with pytest.raises(TrainingError, match="floor in dB"):
        Raster.from_array(image)
    with pytest.raises(TrainingError, match="single bands"):
        Raster.from_array(np.zeros((2, 8, 8)))


def scene(value: float, side: int = 40, bands: tuple[str, ...] = ("VV", "VH")) -> Scene:
    return Scene(np.full((len(bands), side, side), value, np.float32), "db", bands)


def test_a_split_is_normalized_by_its_own_ranges():
    normalizers = {"VV": SimpleNamespace(low=-20.0, high=0.0), "VH": SimpleNamespace(low=-30.0, high=-5.0)}
    split = SimpleNamespace(train=[scene(-10.0)], validation=[scene(0.0, 900)], normalizers=normalizers)
    data = TrainingData.from_split(split)
    assert [r.span_db for r in data.training] == [20.0, 25.0]
    assert [float(r.values[0, 0]) for r in data.training] == pytest.approx([0.5, 0.8])
    assert [float(r.values[0, 0]) for r in data.validation] == pytest.approx([1.0, 1.2])
    assert all(r.values.shape == (512, 512) for r in data.validation)


def test_the_digest_tells_data_apart():
    image = np.random.default_rng(0).random((9, 9)).astype(np.float32)
    other = image.copy()
    other[4, 4] += 1e-6
    digests = {
        TrainingData.from_arrays([image]).digest,
        TrainingData.from_arrays([image], span_db=20).digest,
        TrainingData.from_arrays([other]).digest,
        TrainingData.from_arrays([image, image]).digest,
        TrainingData.from_arrays([image], [image]).digest,
    }
    assert len(digests) == 5
    assert TrainingData.from_arrays([image]).digest in digests
