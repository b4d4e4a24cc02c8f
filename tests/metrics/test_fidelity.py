"""Fidelity against closed forms and independent programs."""

from functools import partial

import numpy as np
import pytest

from sarlab.errors import MetricError
from sarlab.metrics import Comparison, UndefinedMetric, fidelity, score
from sarlab.metrics.bounds import bias_limit, speckle_std

CLIP = (-25.0, 5.0)
compared = partial(Comparison, clip=CLIP)


@pytest.fixture
def images():
    reference, noise = np.random.default_rng(5).normal(0, 1, (2, 180, 200))
    return 5 * reference - 11, 5 * reference - 11 + 1.5 * noise


def test_errors_of_known_samples_clip_inside_only():
    case = compared(np.array([[-40.0, 0.0, 20.0]]), np.array([[-30.0, 3.0, 9.0]]))
    assert fidelity.rmse_clipped_db(case) == pytest.approx(np.sqrt(9 / 3))
    assert fidelity.rmse_db(case) == pytest.approx(np.sqrt((100 + 9 + 121) / 3))
    assert fidelity.peak_error_db(case) == 11
    reference = np.array([[-10.0, -20.0, -np.inf]])
    assert fidelity.max_relative_error(compared(reference, reference + 3)) == pytest.approx(10**0.3 - 1)
    assert fidelity.max_relative_error(compared(reference, reference - 3)) == pytest.approx(1 - 10**-0.3)
    # an exact zero in dB is clipped, but has no unclipped error
    case = compared(np.array([[-np.inf, -3.0]]), np.array([[-25.0, -3.0]]))
    assert fidelity.rmse_clipped_db(case) == 0
    with pytest.raises(UndefinedMetric, match="floor"):
        fidelity.rmse_db(case)


def test_psnr_in_each_domain_is_scikit_images_and_in_db_that_of_the_clipped_rmse(images):
    from skimage.metrics import peak_signal_noise_ratio

    domains = {
        "psnr_db": lambda db: db,
        "psnr_amplitude": lambda db: 10 ** (db / 20),
        "psnr_intensity": lambda db: 10 ** (db / 10),
    }
    found = score(*images, clip=CLIP, columns=list(domains))
    for name, domain in domains.items():
        x, y, clip = (domain(np.clip(image, *CLIP)) for image in (*images, np.array(CLIP)))
        assert found[name] == pytest.approx(peak_signal_noise_ratio(x, y, data_range=np.ptp(clip)))
    rmse = fidelity.rmse_clipped_db(compared(*images))
    assert found["psnr_db"] == fidelity.psnr(*images, clip=CLIP) == pytest.approx(20 * np.log10(30 / rmse))


def test_ssim_is_scikit_images(images):
    from skimage.metrics import structural_similarity

    x, y = (np.clip(image, *CLIP) for image in images)
    expected = structural_similarity(x, y, data_range=30, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert fidelity.ssim(compared(*images)) == pytest.approx(expected, abs=1e-12)
    # what lies at invalid samples does not matter
    x, y = images[0].copy(), images[1].copy()
    x[:, 100:] = np.nan
    y[:, 100:] = 17
    assert fidelity.ssim(compared(x, y)) == pytest.approx(fidelity.ssim(compared(x[:, :100], y[:, :100])), abs=1e-12)


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
        assert fidelity.ms_ssim(compared(x, y)) == pytest.approx(float(oracle(*tensors, data_range=1.0)), abs=2e-5)
    opposite = rng.normal(0, 2, (200, 200))
    assert fidelity.ms_ssim(compared(opposite - 10, -10 - opposite)) == 0


def test_images_too_small_or_too_holey_say_why(images):
    assert fidelity.ssim(compared(images[0][:11, :11], images[1][:11, :11])) > 0
    holey = images[0].copy()
    holey[::9, ::9] = np.nan
    for function, case, message in (
        (fidelity.ms_ssim, compared(images[0][:175], images[1][:175]), "176"),
        (fidelity.ms_ssim, compared(holey, images[1]), "1 %"),
        (fidelity.ssim, compared(images[0][:10], images[1][:10]), "11 samples"),
        (fidelity.ssim, compared(holey, images[1]), "11×11"),
        (lambda case: fidelity.error_at_scale(case, 32), compared(np.zeros((17, 1000)), np.zeros((17, 1000))), "32×32"),
        (lambda case: fidelity.error_at_scale(case, 2), compared(np.full((4, 4), -np.inf), np.zeros((4, 4))), "zero"),
    ):
        with pytest.raises(UndefinedMetric, match=message):
            function(case)


def test_missing_samples_are_not_overlooked(images):
    x, y = images[0], images[1].copy()
    y[3, 4] = np.nan
    assert "no value at 1 samples" in fidelity.psnr(x, y, clip=CLIP).reason
    x = x.copy()
    x[3, 4] = np.nan
    assert np.isfinite(fidelity.psnr(x, y, clip=CLIP))
    assert "infinite" in fidelity.psnr(x, x, clip=CLIP).reason
    with pytest.raises(MetricError, match="clip"):
        fidelity.psnr(x, y, clip=None)


@pytest.mark.parametrize("looks", [1.0, 4.4])
def test_speckle_averages_out_by_the_gamma_law(looks):
    """The mean of k² independent L-look samples is gamma with k²·L looks."""
    shape = (1024, 1024)
    speckled = 10 * np.log10(np.random.default_rng(3).gamma(looks, 1 / looks, shape))
    case = compared(np.zeros(shape), speckled)
    for side in (1, 2, 4, 8, 16):
        rmse, bias = fidelity.error_at_scale(case, side)
        expected = np.hypot(speckle_std(looks * side**2), bias_limit(looks * side**2))
        assert rmse == pytest.approx(expected, rel=0.03)
        assert bias == pytest.approx(bias_limit(looks * side**2), abs=0.02)
    assert fidelity.error_at_scale(case, 1).rmse == pytest.approx(fidelity.rmse_db(case))
    for side in fidelity.SCALES:
        assert fidelity.error_at_scale(compared(speckled, speckled + 0.18), side) == pytest.approx((0.18, 0.18))


def test_multilook_is_that_of_scikit_image_and_columns_against_the_clean_scene_are_the_function(images):
    from skimage.measure import block_reduce

    image = np.random.default_rng(0).random((37, 50))
    np.testing.assert_allclose(fidelity.multilook(image, 4), block_reduce(image[:36, :48], (4, 4), np.mean))
    image[0:2, 0:4] = image[4:7, 4:7] = np.nan
    averaged = fidelity.multilook(image, 4)
    assert averaged[0, 0] == pytest.approx(image[2:4, 0:4].mean())
    assert np.isnan(averaged[1, 1])
    clean, recorded = images
    scores = score(recorded, recorded, clip=CLIP, clean_db=clean, columns=["rmse_clean_k8_db", "rmse_k8_db"])
    assert scores["rmse_clean_k8_db"] == pytest.approx(fidelity.error_at_scale(compared(clean, recorded), 8).rmse)
    assert scores["rmse_k8_db"] == 0


@pytest.fixture(scope="module")
def field():
    return np.random.default_rng(0).standard_normal((500, 1000)).view(complex)


def test_sqnr_and_coherence_of_noise_and_of_a_factor(field):
    noise = 0.1 * np.random.default_rng(1).standard_normal((500, 1000)).view(complex)
    assert fidelity.sqnr(field, field + noise) == pytest.approx(20, abs=0.05)
    assert fidelity.coherence(field, field + noise) == pytest.approx(1 / np.sqrt(1.01), abs=1e-4)
    assert fidelity.sqnr(field, 0.9 * field) == pytest.approx(20)
    assert fidelity.coherence(field, 0.9j * field) == pytest.approx(1)
    assert fidelity.coherence(field, field[::-1]) < 0.02


def test_phase_error_is_weighted_by_amplitude_wraps_and_is_uniform_without_a_phase(field):
    z = np.array([[3.0, 1.0]], complex)
    turned = z * np.exp(1j * np.array([[0.2, -0.5]]))
    assert fidelity.phase_rmse(z, turned) == pytest.approx(np.sqrt((3 * 0.04 + 0.25) / 4))
    assert fidelity.phase_rmse(z, 7 * z) == pytest.approx(0)
    z = np.exp(1j * np.full((2, 2), 3.1))
    assert fidelity.phase_rmse(z, z.conj()) == pytest.approx(2 * np.pi - 6.2)
    assert fidelity.phase_rmse(field, field[::-1, ::-1]) == pytest.approx(np.pi / np.sqrt(3), rel=0.01)
    assert fidelity.phase_rmse(field, 0 * field) == pytest.approx(np.pi / np.sqrt(3))


def test_nodata_equal_and_empty(field):
    holed = field.copy()
    holed[:100] = np.nan
    assert fidelity.sqnr(holed, 0.9 * field) == pytest.approx(20)
    assert "infinite" in fidelity.sqnr(field, field).reason
    assert "zero" in fidelity.sqnr(0 * field, field).reason
    assert "zero" in fidelity.coherence(field, 0 * field).reason
    assert "no valid" in fidelity.phase_rmse(holed * np.nan, field).reason
    assert "no value at 50000" in fidelity.coherence(field, holed).reason
    with pytest.raises(MetricError, match="shape"):
        fidelity.sqnr(field, field[:3])
