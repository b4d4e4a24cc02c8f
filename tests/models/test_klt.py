"""The KLT against a singular value decomposition, and as the best linear code."""

import numpy as np
import pytest
import torch

from sarlab.errors import ModelError
from sarlab.models.autoencoders import build_model
from sarlab.models.data import TrainingData
from sarlab.models.klt import fit_klt
from sarlab.specs import ModelSpec


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


def reconstruct(basis, patches: np.ndarray) -> np.ndarray:
    return (patches - basis.mean) @ basis.vectors.T @ basis.vectors + basis.mean


def test_basis_is_that_of_a_singular_value_decomposition():
    image = texture(40, 36)
    basis = fit_klt([torch.from_numpy(image)], 4, 6)
    patches = all_patches(image, 4)
    _, s, vt = np.linalg.svd(patches - patches.mean(), full_matrices=False)
    np.testing.assert_allclose(basis.variances, s[:6] ** 2 / len(patches), rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(basis.vectors * vt[:6], axis=1)), 1.0, atol=1e-8)
    assert basis.mean == pytest.approx(patches.mean(), rel=1e-12)


def test_few_patches_give_the_same_basis_through_their_gram_matrix():
    image = texture(20, 20)
    # 25 overlapping patches of 256 samples: fewer patches than dimensions.
    basis = fit_klt([torch.from_numpy(image)], 16, 8)
    patches = all_patches(image, 16)
    assert len(patches) < 256
    _, s, vt = np.linalg.svd(patches - patches.mean(), full_matrices=False)
    np.testing.assert_allclose(basis.variances, s[:8] ** 2 / len(patches), rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(basis.vectors * vt[:8], axis=1)), 1.0, atol=1e-7)


def test_a_basis_larger_than_the_data_is_completed_orthonormally():
    basis = fit_klt([torch.from_numpy(texture(18, 18))], 16, 64)
    np.testing.assert_allclose(basis.vectors @ basis.vectors.T, np.eye(64), atol=1e-9)
    assert (basis.variances[9:] == 0).all()
    patches = all_patches(texture(18, 18), 16)
    np.testing.assert_allclose(reconstruct(basis, patches), patches, atol=1e-6)


def test_no_linear_code_of_equal_size_has_a_smaller_error():
    image = texture(64, 64)
    patches = all_patches(image, 8)
    basis = fit_klt([torch.from_numpy(image)], 8, 5)
    best = np.mean((reconstruct(basis, patches) - patches) ** 2)
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-2, 0.1):
        rows = np.linalg.qr((basis.vectors + size * rng.standard_normal(basis.vectors.shape)).T)[0].T
        error = (patches - basis.mean) @ rows.T @ rows + basis.mean - patches
        assert np.mean(error**2) > best


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


def test_patches_with_nodata_are_left_out():
    image = texture(40, 40)
    mask = torch.ones(40, 40, dtype=torch.bool)
    mask[:, 20:] = False
    damaged = image.copy()
    damaged[:, 20:] = 100.0
    basis = fit_klt([torch.from_numpy(damaged)], 4, 3, masks=[mask])
    clean = fit_klt([torch.from_numpy(image[:, :20].copy())], 4, 3)
    np.testing.assert_allclose(basis.variances, clean.variances, rtol=1e-12)
    with pytest.raises(ModelError, match="without nodata"):
        fit_klt([torch.from_numpy(image)], 32, 3, masks=[mask])


def test_more_components_than_samples_are_refused():
    with pytest.raises(ModelError, match="16 components"):
        fit_klt([torch.zeros(8, 8)], 4, 17)
    with pytest.raises(ModelError, match="exceeds"):
        build_model(ModelSpec("plain", 4, 17), seed=0)
