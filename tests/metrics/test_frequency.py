"""Error by spatial frequency and likeness of the error to speckle."""

import numpy as np
import pytest

from sarlab.metrics.frequency import (
    BANDS,
    band_powers,
    error_by_frequency,
    residual_autocorrelation_error,
    residual_whiteness,
    spectrum_error,
)
from sarlab.metrics.spectrum import welch_spectrum

WINDOWS = [(r, c, 32, 32) for r in range(0, 256, 32) for c in range(0, 256, 32)]


def test_bands_share_the_whole_power():
    spectrum = welch_spectrum(np.random.default_rng(0).standard_normal((256, 256)))
    assert band_powers(spectrum).sum() == pytest.approx(spectrum.mean() - spectrum[0, 0] / spectrum.size)
    assert len(BANDS) == 9


def test_a_scaled_copy_loses_the_same_share_everywhere():
    reference = np.random.default_rng(1).normal(-10, 3, (256, 256))
    np.testing.assert_allclose(error_by_frequency(reference, 0.7 * reference), 0.09, rtol=1e-9)
    np.testing.assert_allclose(error_by_frequency(reference, np.full_like(reference, -3)), 1.0, rtol=1e-9)


def test_an_ideal_low_pass_loses_high_frequencies_only():
    reference = np.random.default_rng(2).standard_normal((512, 512))
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None])
    low = np.fft.ifft2(np.where(frequency < 0.25, np.fft.fft2(reference), 0)).real
    lost = error_by_frequency(reference, low)
    # a Hann window of 64 samples smears over two of its bins, 0.03 cycles a sample
    assert lost[:3].max() < 0.01
    assert lost[3] < 0.2
    assert lost[5:].min() > 0.99


def test_whiteness_of_white_and_of_smooth_errors():
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(3)
    reference = rng.normal(-10, 3, (512, 512))
    white = rng.standard_normal(reference.shape)
    assert residual_whiteness(reference, reference + white) > 0.97
    assert residual_whiteness(reference, reference + gaussian_filter(white, 3)) < 0.1
    assert "zero" in residual_whiteness(reference, reference).reason


def test_an_error_like_the_speckle_itself_is_told_from_a_white_one():
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(4)
    speckle, other, white = rng.standard_normal((3, 256, 256))
    speckle, other = gaussian_filter(speckle, 1), gaussian_filter(other, 1)
    alike = residual_autocorrelation_error(speckle, speckle + 0.3 * other, windows=WINDOWS)
    unlike = residual_autocorrelation_error(speckle, speckle + 0.3 * white, windows=WINDOWS)
    # of a Gaussian filter of σ = 1 the autocorrelation is exp(−d²/4); against white noise that is the difference
    d2 = np.add.outer(np.arange(-4, 5) ** 2, np.arange(-4, 5) ** 2)
    expected = np.sqrt(np.mean(np.exp(-d2[d2 > 0] / 4) ** 2))
    assert unlike == pytest.approx(expected, rel=0.1)
    assert alike < 0.1 * unlike


def test_spectrum_error_of_a_known_tilt():
    flat = np.ones((64, 64))
    assert spectrum_error(flat, 7 * flat) == pytest.approx(0, abs=1e-12)
    tilted = flat.copy()
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    tilted[frequency < BANDS[4]] = 3.0
    before, after = band_powers(flat), band_powers(tilted)
    expected = np.mean(np.abs(10 * np.log10((after / after.sum()) / (before / before.sum()))))
    assert spectrum_error(flat, tilted) == pytest.approx(expected)
    assert expected > 1
