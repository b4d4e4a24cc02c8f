"""Training data: patches are windows of the data in one of eight orientations, and NaN goes nowhere."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from draws import seeded

from sarlab.errors import ModelError, TrainingError
from sarlab.models.autoencoders import build_model
from sarlab.models.data import LEAST_VALID, PatchSampler, Raster, TrainingData, fit_klt, patch_origins
from sarlab.scenes.scene import Scene
from sarlab.specs import ModelSpec

CPU = torch.device("cpu")


def test_patches_are_all_windows_in_all_orientations_equally_often():
    """Of rasters that are mirrored up to a patch if they are smaller."""
    large, small = np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(-5, 0, dtype=np.float32)[None]
    batch = PatchSampler([Raster.from_array(image) for image in (large, small)], 2, CPU).draw(9600, seeded())
    assert batch.x.shape == (9600, 1, 2, 2)
    assert batch.mask is None
    found = Counter(patch.tobytes() for patch in batch.x[:, 0].numpy())
    expected = Counter(
        turned.tobytes()
        for image in (large, np.repeat(small, 2, axis=0))
        for window in np.lib.stride_tricks.sliding_window_view(image, (2, 2)).reshape(-1, 2, 2)
        for quarter in (np.rot90(window, k) for k in range(4))
        for turned in (quarter, quarter.T)
    )
    assert found.keys() == expected.keys()
    assert all(70 * share < found[patch] < 180 * share for patch, share in expected.items())


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

    # patches hold enough valid samples
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[:, 12:] = True
    origins = patch_origins(mask.shape, mask, 8)
    brute = [
        r * 30 + c for r in range(13) for c in range(23) if mask[r : r + 8, c : c + 8].float().mean() >= LEAST_VALID
    ]
    assert origins.tolist() == brute


def test_nodata_scenes_are_left_out_and_impossible_data_refused():
    nothing = np.full((8, 8), np.nan)
    data = TrainingData.from_arrays([nothing, np.ones((8, 8))], [nothing])
    assert (len(data.training), data.validation) == (1, ())
    for image, message in (
        (nothing, "nodata"),
        (np.full((8, 8), -np.inf), "floor in dB"),
        (np.zeros((2, 8, 8)), "single bands"),
    ):
        with pytest.raises(TrainingError, match=message):
            TrainingData.from_arrays([image])


def scene(value: float, side: int = 40) -> Scene:
    return Scene(np.full((2, side, side), value, np.float32), "db", ("VV", "VH"))


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
    of = TrainingData.from_arrays
    found = [of([image]), of([image], span_db=20), of([other]), of([image, image]), of([image], [image])]
    assert len({data.digest for data in found}) == 5
    assert of([image]).digest == found[0].digest


# --- KLT --------------------------------------------------------------------------------------------------------------


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Correlated noise about 0.5."""
    rng = np.random.default_rng(seed)
    noise = np.fft.fft2(rng.standard_normal((height, width)))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    smooth = np.fft.ifft2(noise / (0.02 + np.hypot(fy, fx))).real
    return (0.5 + 0.15 * smooth / smooth.std()).astype(np.float32)


def all_patches(image: np.ndarray, side: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(image.astype(np.float64), (side, side))
    return windows.reshape(-1, side * side)


def basis_of(image: np.ndarray, side: int, channels: int):
    return fit_klt([Raster.from_array(image)], side, channels)


@pytest.mark.parametrize(("image", "side"), [((40, 36), 4), ((20, 20), 16)], ids=["covariance", "Gram matrix"])
def test_basis_is_that_of_a_singular_value_decomposition(image, side):
    image = texture(*image)
    basis, patches = basis_of(image, side, 6), all_patches(image, side)
    _, s, vt = np.linalg.svd(patches - patches.mean(), full_matrices=False)
    np.testing.assert_allclose(basis.variances, s[:6] ** 2 / len(patches), rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(basis.vectors * vt[:6], axis=1)), 1.0, atol=1e-7)
    assert basis.mean == pytest.approx(patches.mean(), rel=1e-12)


def test_a_basis_larger_than_the_data_is_completed_orthonormally():
    basis = basis_of(texture(18, 18), 16, 64)
    np.testing.assert_allclose(basis.vectors @ basis.vectors.T, np.eye(64), atol=1e-9)
    assert (basis.variances[9:] == 0).all()
    patches = all_patches(texture(18, 18), 16)
    reconstructed = (patches - basis.mean) @ basis.vectors.T @ basis.vectors + basis.mean
    np.testing.assert_allclose(reconstructed, patches, atol=1e-6)


def test_the_network_is_a_strided_convolution_and_its_transpose():
    image = texture(48, 40)
    data = TrainingData.from_arrays([image])
    model = build_model(ModelSpec("klt", 8, 5), seed=0, klt=data.fit_klt)
    basis = data.fit_klt(8, 5)
    kernel = torch.from_numpy(basis.vectors.reshape(5, 1, 8, 8)).float()
    x = torch.from_numpy(image)[None, None]
    out = model(x)
    y = torch.nn.functional.conv2d(x - basis.mean, kernel, stride=8)
    torch.testing.assert_close(out.y, y, atol=1e-5, rtol=1e-5)
    x_hat = torch.nn.functional.conv_transpose2d(y, kernel, stride=8) + basis.mean
    torch.testing.assert_close(out.x_hat, x_hat, atol=1e-5, rtol=1e-5)


def test_patches_with_nodata_are_left_out_and_impossible_bases_refused():
    image = texture(40, 40)
    half = image[:, :20].copy()
    image[:, 20:] = np.nan
    np.testing.assert_allclose(basis_of(image, 4, 3).variances, basis_of(half, 4, 3).variances, rtol=1e-12)
    with pytest.raises(ModelError, match="without nodata"):
        basis_of(image, 32, 3)
    with pytest.raises(ModelError, match="16 components"):
        basis_of(half, 4, 17)
    with pytest.raises(ModelError, match="exceeds"):
        build_model(ModelSpec("plain", 4, 17), seed=0)
