"""Fidelity against closed forms and independent programs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import MetricError
from sarlab.metrics import Comparison, Undefined, UndefinedMetric, score
from sarlab.metrics.bounds import bias_limit, speckle_std
from sarlab.metrics.fidelity import (
    SCALES,
    coherence,
    error_at_scale,
    max_relative_error,
    ms_ssim,
    multilook,
    peak_error_db,
    phase_rmse,
    psnr,
    psnr_amplitude,
    psnr_intensity,
    rmse_clipped_db,
    rmse_db,
    sqnr,
    ssim,
)

CLIP = (-25.0, 5.0)


def compared(reference, test):
    return Comparison(reference, test, clip=CLIP)


@pytest.fixture
def images():
    rng = np.random.default_rng(5)
    reference = rng.normal(-11, 5, (180, 200))
    return reference, reference + rng.normal(0, 1.5, reference.shape)


def test_errors_of_known_samples_clip_inside_only():
    case = compared(np.array([[-40.0, 0.0, 20.0]]), np.array([[-30.0, 3.0, 9.0]]))
    assert rmse_clipped_db(case) == pytest.approx(np.sqrt(9 / 3))
    assert rmse_db(case) == pytest.approx(np.sqrt((100 + 9 + 121) / 3))
    assert peak_error_db(case) == 11
    reference = np.array([[-10.0, -20.0, -np.inf]])
    assert max_relative_error(compared(reference, reference + 3)) == pytest.approx(10**0.3 - 1)
    assert max_relative_error(compared(reference, reference - 3)) == pytest.approx(1 - 10**-0.3)
    # an exact zero in dB is clipped, but has no unclipped error
    case = compared(np.array([[-np.inf, -3.0]]), np.array([[-25.0, -3.0]]))
    assert rmse_clipped_db(case) == 0
    with pytest.raises(UndefinedMetric, match="floor"):
        rmse_db(case)


@given(st.integers(0, 2**31), st.floats(0.01, 8))
@settings(max_examples=25, deadline=None)
def test_psnr_is_the_clipped_rmse_in_other_words(seed, spread):
    rng = np.random.default_rng(seed)
    reference = rng.normal(-10, 6, (9, 13))
    test = reference + rng.normal(0, spread, reference.shape)
    rmse = np.sqrt(np.mean((np.clip(reference, *CLIP) - np.clip(test, *CLIP)) ** 2))
    assert psnr(reference, test, clip=CLIP) == pytest.approx(20 * np.log10(30 / rmse))
    assert rmse_clipped_db(compared(reference, test)) == pytest.approx(rmse)


@pytest.mark.parametrize(("function", "power"), [(psnr_amplitude, 20), (psnr_intensity, 10)])
def test_psnr_of_linear_data_is_scikit_images(images, function, power):
    from skimage.metrics import peak_signal_noise_ratio

    x, y = (10 ** (np.clip(image, *CLIP) / power) for image in images)
    low, high = (10 ** (edge / power) for edge in CLIP)
    expected = peak_signal_noise_ratio(x, y, data_range=high - low)
    assert function(compared(*images)) == pytest.approx(expected)


def test_ssim_is_scikit_images(images):
    from skimage.metrics import structural_similarity

    x, y = (np.clip(image, *CLIP) for image in images)
    expected = structural_similarity(x, y, data_range=30, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert ssim(compared(*images)) == pytest.approx(expected, abs=1e-12)
    # what lies at invalid samples does not matter
    x, y = images[0].copy(), images[1].copy()
    x[:, 100:] = np.nan
    y[:, 100:] = 17
    assert ssim(compared(x, y)) == pytest.approx(ssim(compared(x[:, :100], y[:, :100])), abs=1e-12)


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
    assert ms_ssim(compared(x, y)) == pytest.approx(expected, abs=1e-4)
    opposite = np.random.default_rng(1).normal(0, 2, (200, 200))
    assert ms_ssim(compared(opposite - 10, -10 - opposite)) == 0


@pytest.mark.parametrize("shape", [(176, 176), (179, 233)])
def test_ms_ssim_against_torchmetrics(shape):
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("torchmetrics.functional.image").multiscale_structural_similarity_index_measure
    rng = np.random.default_rng(9)
    x = np.cumsum(np.cumsum(rng.normal(size=shape), 0), 1)
    x = CLIP[0] + (x - x.min()) / np.ptp(x) * (CLIP[1] - CLIP[0])
    for noise in (0.5, 12.0):
        y = np.clip(x + rng.normal(0, noise, shape), *CLIP)
        tensors = [torch.from_numpy(((i - CLIP[0]) / 30).astype(np.float32))[None, None] for i in (x, y)]
        assert ms_ssim(compared(x, y)) == pytest.approx(float(oracle(*tensors, data_range=1.0)), abs=2e-5)


def test_images_too_small_or_too_holey_say_why(images):
    small = compared(images[0][:175], images[1][:175])
    assert 0 < ms_ssim(compared(images[0][:176, :176], images[1][:176, :176])) < 1
    assert ssim(compared(images[0][:11, :11], images[1][:11, :11])) > 0
    holey = images[0].copy()
    holey[::9, ::9] = np.nan
    with pytest.raises(UndefinedMetric, match="1 %"):
        ms_ssim(compared(holey[:200], images[1]))
    for function, case, message in (
        (ms_ssim, small, "176"),
        (ssim, compared(images[0][:10], images[1][:10]), "11 samples"),
        (ssim, compared(holey, images[1]), "11×11"),
        (lambda case: error_at_scale(case, 32), compared(np.zeros((17, 1000)), np.zeros((17, 1000))), "32×32"),
        (lambda case: error_at_scale(case, 2), compared(np.full((4, 4), -np.inf), np.zeros((4, 4))), "zero"),
    ):
        with pytest.raises(UndefinedMetric, match=message):
            function(case)


def test_samples_missing_from_the_reconstruction_are_not_overlooked(images):
    x, y = images[0], images[1].copy()
    y[3, 4] = np.nan
    assert isinstance(psnr(x, y, clip=CLIP), Undefined)
    assert "no value at 1 samples" in psnr(x, y, clip=CLIP).reason
    x = x.copy()
    x[3, 4] = np.nan
    assert np.isfinite(psnr(x, y, clip=CLIP))
    assert "infinite" in psnr(x, x, clip=CLIP).reason


@pytest.mark.parametrize("clip", [(3, 3), (5, -5), (np.nan, 3), None, 7, (-np.inf, 0)])
def test_impossible_clip_is_refused(images, clip):
    with pytest.raises(MetricError, match="clip"):
        psnr(*images, clip=clip)


@pytest.mark.parametrize("looks", [1.0, 4.4])
def test_speckle_averages_out_by_the_gamma_law(looks):
    """The mean of k² independent L-look samples is gamma with k²·L looks."""
    shape = (1024, 1024)
    speckled = 10 * np.log10(np.random.default_rng(3).gamma(looks, 1 / looks, shape))
    case = compared(np.zeros(shape), speckled)
    for side in (1, 2, 4, 8, 16):
        rmse, bias = error_at_scale(case, side)
        expected = np.hypot(speckle_std(looks * side**2), bias_limit(looks * side**2))
        assert rmse == pytest.approx(expected, rel=0.03)
        assert bias == pytest.approx(bias_limit(looks * side**2), abs=0.02)
    assert error_at_scale(case, 1).rmse == pytest.approx(rmse_db(case))
    for side in SCALES:
        assert error_at_scale(compared(speckled, speckled + 0.18), side) == pytest.approx((0.18, 0.18))


def test_multilook_against_a_loop_and_skimage():
    from skimage.measure import block_reduce

    image = np.random.default_rng(0).random((37, 50))
    np.testing.assert_allclose(multilook(image, 4), block_reduce(image[:36, :48], (4, 4), np.mean))
    image[0:2, 0:4] = image[4:7, 4:7] = np.nan
    averaged = multilook(image, 4)
    assert averaged[0, 0] == pytest.approx(image[2:4, 0:4].mean())
    assert np.isnan(averaged[1, 1])


def test_columns_against_the_clean_scene_are_the_function():
    rng = np.random.default_rng(0)
    clean = rng.normal(-10, 4, (64, 64))
    recorded = clean + 10 * np.log10(rng.gamma(4, 1 / 4, clean.shape))
    scores = score(recorded, recorded, clip=CLIP, clean_db=clean, columns=["rmse_clean_k8_db", "rmse_k8_db"])
    assert scores["rmse_clean_k8_db"] == pytest.approx(error_at_scale(compared(clean, recorded), 8).rmse)
    assert scores["rmse_k8_db"] == 0


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(0)
    return rng.standard_normal((500, 500)) + 1j * rng.standard_normal((500, 500))


def test_sqnr_and_coherence_of_noise_and_of_a_factor(field):
    rng = np.random.default_rng(1)
    noise = 0.1 * (rng.standard_normal(field.shape) + 1j * rng.standard_normal(field.shape))
    assert sqnr(field, field + noise) == pytest.approx(20, abs=0.05)
    assert coherence(field, field + noise) == pytest.approx(1 / np.sqrt(1.01), abs=1e-4)
    assert sqnr(field, 0.9 * field) == pytest.approx(20)
    assert coherence(field, 0.9j * field) == pytest.approx(1)
    assert coherence(field, field[::-1]) < 0.02


def test_phase_error_is_weighted_by_amplitude_wraps_and_is_uniform_without_a_phase(field):
    z = np.array([[3.0, 1.0]], complex)
    assert phase_rmse(z, z * np.exp(1j * np.array([[0.2, -0.5]]))) == pytest.approx(np.sqrt((3 * 0.04 + 0.25) / 4))
    assert phase_rmse(z, 7 * z) == pytest.approx(0)
    z = np.exp(1j * np.full((2, 2), 3.1))
    assert phase_rmse(z, z.conj()) == pytest.approx(2 * np.pi - 6.2)
    assert phase_rmse(field, field[::-1, ::-1]) == pytest.approx(np.pi / np.sqrt(3), rel=0.01)
    assert phase_rmse(field, 0 * field) == pytest.approx(np.pi / np.sqrt(3))


def test_nodata_equal_and_empty(field):
    holed = field.copy()
    holed[:100] = np.nan
    assert sqnr(holed, 0.9 * field) == pytest.approx(20)
    assert "infinite" in sqnr(field, field).reason
    assert "zero" in sqnr(0 * field, field).reason
    assert "zero" in coherence(field, 0 * field).reason
    assert "no valid" in phase_rmse(holed * np.nan, field).reason
    assert "no value at 50000" in coherence(field, holed).reason
    with pytest.raises(MetricError, match="shape"):
        sqnr(field, field[:3])
