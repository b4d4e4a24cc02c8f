"""Sample-wise fidelity against closed forms and independent programs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import MetricError
from sarlab.metrics.base import Undefined
from sarlab.metrics.pixel import (
    max_relative_error,
    ms_ssim,
    peak_error,
    psnr,
    psnr_amplitude,
    psnr_intensity,
    rmse,
    ssim,
)

CLIP = (-25.0, 5.0)


@pytest.fixture
def images():
    rng = np.random.default_rng(5)
    reference = rng.normal(-11, 5, (180, 200))
    return reference, reference + rng.normal(0, 1.5, reference.shape)


def test_psnr_closed_form():
    reference = np.full((20, 30), -10.0)
    assert psnr(reference, reference + 3, clip=CLIP) == pytest.approx(20 * np.log10(30 / 3))


def test_psnr_and_rmse_clip_inside_only():
    reference = np.array([[-40.0, 0.0, 20.0]])
    test = np.array([[-30.0, 3.0, 9.0]])
    assert rmse(reference, test, clip=CLIP) == pytest.approx(np.sqrt(9 / 3))
    assert rmse(reference, test) == pytest.approx(np.sqrt((100 + 9 + 121) / 3))
    assert peak_error(reference, test) == 11
    assert reference[0, 0] == -40


@given(st.integers(0, 2**31), st.floats(0.01, 8))
@settings(max_examples=25, deadline=None)
def test_rmse_is_psnr_in_other_words(seed, spread):
    rng = np.random.default_rng(seed)
    reference = rng.normal(-10, 6, (9, 13))
    test = reference + rng.normal(0, spread, reference.shape)
    assert rmse(reference, test, clip=CLIP) == pytest.approx(30 * 10 ** (-psnr(reference, test, clip=CLIP) / 20))


@pytest.mark.parametrize(("function", "power"), [(psnr_amplitude, 20), (psnr_intensity, 10)])
def test_psnr_of_linear_data_is_scikit_images(images, function, power):
    from skimage.metrics import peak_signal_noise_ratio

    x, y = (10 ** (np.clip(image, *CLIP) / power) for image in images)
    low, high = (10 ** (edge / power) for edge in CLIP)
    expected = peak_signal_noise_ratio(x, y, data_range=high - low)
    assert function(*images, clip=CLIP) == pytest.approx(expected)


def test_max_relative_error_of_a_db_step():
    reference = np.array([[-10.0, -20.0, -np.inf]])
    assert max_relative_error(reference, reference + 3) == pytest.approx(10**0.3 - 1)
    assert max_relative_error(reference, reference - 3) == pytest.approx(1 - 10**-0.3)


def test_ssim_is_scikit_images(images):
    from skimage.metrics import structural_similarity

    x, y = (np.clip(image, *CLIP) for image in images)
    expected = structural_similarity(x, y, data_range=30, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert ssim(*images, clip=CLIP) == pytest.approx(expected, abs=1e-12)


def test_ssim_ignores_what_lies_at_invalid_samples(images):
    x, y = images[0].copy(), images[1].copy()
    x[:, 100:] = np.nan
    y[:, 100:] = 17
    assert ssim(x, y, clip=CLIP) == pytest.approx(ssim(x[:, :100], y[:, :100], clip=CLIP), abs=1e-12)


def independent_ms_ssim(x, y, data_range):
    """Wang, Simoncelli & Bovik 2003 in SciPy: the product over five scales of the mean contrast-structure terms."""
    from scipy.ndimage import correlate1d

    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def blur(image):
        return correlate1d(correlate1d(image, taps, 0), taps, 1)[5:-5, 5:-5]

    c1, c2, result = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2, 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        term = (2 * vxy + c2) / (vx + vy + c2)
        if scale == 4:
            term = term * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        result *= term.mean() ** weight
        x, y = (i[: i.shape[0] // 2 * 2, : i.shape[1] // 2 * 2] for i in (x, y))
        x, y = (i.reshape(i.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3)) for i in (x, y))
    return result


def test_ms_ssim_against_an_independent_implementation():
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(8)
    x = np.clip(gaussian_filter(rng.normal(0, 60, (200, 224)), 4) - 11, *CLIP)
    y = np.clip(x + rng.normal(0, 3, x.shape), *CLIP)
    expected = independent_ms_ssim((x - CLIP[0]) / 30, (y - CLIP[0]) / 30, 1.0)
    assert expected < 0.95
    assert ms_ssim(x, y, clip=CLIP) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("side", [1, 160, 161, 175])
def test_ms_ssim_of_small_images_says_why(images, side):
    value = ms_ssim(images[0][:side], images[1][:side], clip=CLIP)
    assert isinstance(value, Undefined)
    assert "176" in value.reason


def test_ms_ssim_of_the_smallest_image_it_is_defined_for(images):
    assert 0 < ms_ssim(images[0][:176, :176], images[1][:176, :176], clip=CLIP) < 1


@pytest.mark.parametrize("shape", [(176, 176), (179, 233), (256, 300)])
def test_ms_ssim_against_torchmetrics(shape):
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("torchmetrics.functional.image").multiscale_structural_similarity_index_measure
    rng = np.random.default_rng(9)
    x = np.cumsum(np.cumsum(rng.normal(size=shape), 0), 1)
    x = CLIP[0] + (x - x.min()) / np.ptp(x) * (CLIP[1] - CLIP[0])
    for noise in (0.5, 3.0, 12.0):
        y = np.clip(x + rng.normal(0, noise, shape), *CLIP)
        tensors = [
            torch.from_numpy(((i - CLIP[0]) / (CLIP[1] - CLIP[0])).astype(np.float32))[None, None] for i in (x, y)
        ]
        assert ms_ssim(x, y, clip=CLIP) == pytest.approx(float(oracle(*tensors, data_range=1.0)), abs=2e-5)


def test_ms_ssim_of_opposites_is_zero():
    x = np.random.default_rng(1).normal(0, 2, (200, 200))
    middle = (CLIP[0] + CLIP[1]) / 2
    assert ms_ssim(middle + x, middle - x, clip=CLIP) == 0


def test_equal_images():
    image = np.random.default_rng(0).normal(-10, 3, (32, 32))
    assert "infinite" in psnr(image, image, clip=CLIP).reason
    assert rmse(image, image) == peak_error(image, image) == max_relative_error(image, image) == 0
    assert ssim(image, image, clip=CLIP) == pytest.approx(1)


def test_samples_missing_from_the_reconstruction_are_not_overlooked(images):
    x, y = images[0], images[1].copy()
    y[3, 4] = np.nan
    assert "no value at 1 samples" in psnr(x, y, clip=CLIP).reason
    x = x.copy()
    x[3, 4] = np.nan
    assert np.isfinite(psnr(x, y, clip=CLIP))


def test_exact_zero_in_db_is_clipped_but_has_no_unclipped_error():
    x, y = np.array([[-np.inf, -3.0]]), np.array([[-25.0, -3.0]])
    assert rmse(x, y, clip=CLIP) == 0
    assert "floor" in rmse(x, y).reason


@pytest.mark.parametrize("clip", [(3, 3), (5, -5), (np.nan, 3), None, 7, (-np.inf, 0)])
def test_impossible_clip_is_refused(images, clip):
    with pytest.raises(MetricError, match="clip"):
        psnr(*images, clip=clip)


def test_shapes_must_agree(images):
    with pytest.raises(MetricError, match="shape"):
        psnr(images[0], images[1][:10], clip=CLIP)
