"""Welch spectrum, flatness and autocorrelation against plain loops and closed forms; error by spatial frequency."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import get_window
from scipy.special import digamma

from sarlab.metrics import Comparison, UndefinedMetric, Window, spectra

WINDOWS = [(r, c, 32, 32) for r in range(0, 256, 32) for c in range(0, 256, 32)]


def test_welch_spectrum_is_that_of_a_plain_loop():
    image = np.random.default_rng(0).normal(3, 2, (130, 170))
    image[100, 20] = np.nan
    taper = np.outer(get_window("hann", 64), get_window("hann", 64))
    power = []
    for row in range(0, 130 - 63, 32):
        for column in range(0, 170 - 63, 32):
            tile = image[row : row + 64, column : column + 64]
            if not np.isnan(tile).any():
                power.append(np.abs(np.fft.fft2((tile - tile.mean()) * taper)) ** 2 / (taper**2).sum())
    np.testing.assert_allclose(spectra.welch_spectrum(image), np.mean(power, axis=0), rtol=1e-9, atol=1e-12)
    image = np.random.default_rng(1).normal(0, 2, (512, 512))
    # the mean that is removed takes some noise along: about one part in a thousand
    assert spectra.welch_spectrum(image).mean() == pytest.approx(4, rel=0.01)
    image[::20, ::20] = np.nan
    with pytest.raises(UndefinedMetric, match="free of invalid"):
        spectra.welch_spectrum(image)


@pytest.mark.parametrize("count", [4, 50])
def test_flatness_of_averaged_white_periodograms(count):
    rng = np.random.default_rng(count)
    estimate = rng.gamma(count, 1 / count, (64, 64))
    assert spectra.spectral_flatness(estimate) == pytest.approx(np.exp(digamma(count)) / count, abs=0.01)
    spectrum = np.ones((64, 64))
    assert spectra.spectral_flatness(spectrum) == pytest.approx(1)
    spectrum[:, ::2] = 4.0
    away = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64))) > 2.5 / 64
    power = spectrum[away]
    assert spectra.spectral_flatness(spectrum) == pytest.approx(np.exp(np.mean(np.log(power))) / power.mean())
    assert "zero" in spectra.spectral_flatness(np.zeros((64, 64))).reason


def test_autocorrelation_is_that_of_a_plain_loop():
    image = np.random.default_rng(4).standard_normal((60, 60)) + np.arange(60) / 10
    windows = [Window(0, 0, 20, 20), Window(30, 10, 25, 18), Window(10, 40, 20, 20)]
    total = np.zeros((9, 9))
    for window in windows:
        tile = image[window.slices] - image[window.slices].mean()
        rows, columns = tile.shape
        for i in range(-4, 5):
            for j in range(-4, 5):
                a = tile[max(0, i) : rows + min(0, i), max(0, j) : columns + min(0, j)]
                b = tile[max(0, -i) : rows + min(0, -i), max(0, -j) : columns + min(0, -j)]
                total[i + 4, j + 4] += (a * b).mean() * rows * columns
    np.testing.assert_allclose(spectra.window_autocorrelation(image, windows), total / total[4, 4], rtol=1e-9)
    with pytest.raises(UndefinedMetric, match="nothing varies"):
        spectra.window_autocorrelation(np.zeros((40, 40)), [Window(0, 0, 32, 32)])
    with pytest.raises(UndefinedMetric, match="usable"):
        spectra.window_autocorrelation(np.full((40, 40), np.nan), [Window(0, 0, 32, 32)])


def test_power_is_lost_alike_in_all_bands_by_a_factor():
    reference = np.random.default_rng(2).standard_normal((512, 512))
    spectrum = spectra.welch_spectrum(reference)
    assert pytest.approx([*np.arange(8) / 16, 0.5**0.5]) == spectra.BANDS
    assert spectra.band_powers(spectrum).sum() == pytest.approx(spectrum.mean() - spectrum[0, 0] / spectrum.size)
    np.testing.assert_allclose(spectra.lost_power(Comparison(reference, 0.7 * reference)), 0.09, rtol=1e-9)
    np.testing.assert_allclose(spectra.lost_power(Comparison(reference, np.full_like(reference, -3))), 1.0, rtol=1e-9)


def test_an_error_like_the_speckle_itself_is_told_from_a_white_one():
    rng = np.random.default_rng(4)
    speckle, other, white = rng.standard_normal((3, 256, 256))
    speckle, other = gaussian_filter(speckle, 1), gaussian_filter(other, 1)
    alike = spectra.residual_autocorrelation_error(Comparison(speckle, speckle + 0.3 * other, windows=WINDOWS))
    unlike = spectra.residual_autocorrelation_error(Comparison(speckle, speckle + 0.3 * white, windows=WINDOWS))
    # of a Gaussian filter of σ = 1 the autocorrelation is exp(−d²/4); against white noise that is the difference
    d2 = np.add.outer(np.arange(-4, 5) ** 2, np.arange(-4, 5) ** 2)
    expected = np.sqrt(np.mean(np.exp(-d2[d2 > 0] / 4) ** 2))
    assert unlike == pytest.approx(expected, rel=0.1)
    assert alike < 0.1 * unlike
    assert spectra.residual_whiteness(Comparison(speckle, speckle + white)) > 0.94
    assert spectra.residual_whiteness(Comparison(speckle, speckle + other)) < 0.2


def test_spectrum_of_an_autocorrelation_and_spectrum_error_of_a_known_tilt():
    lags, frequency = np.arange(-4, 5), np.fft.fftfreq(64)
    tapered = 0.6 ** np.add.outer(lags**2, lags**2) * np.multiply.outer(*[np.cos(np.pi * lags / 10) ** 2] * 2)
    waves = np.exp(-2j * np.pi * np.outer(frequency, lags))
    expected = np.maximum((waves @ tapered @ waves.T).real, 1e-3)
    found = spectra.autocorrelation_spectrum(0.6 ** np.add.outer(lags**2, lags**2))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    flat = np.ones((64, 64))
    assert spectra.spectrum_error(flat, 7 * flat) == pytest.approx(0, abs=1e-12)
    tilted = flat.copy()
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None])
    tilted[frequency < spectra.BANDS[4]] = 3.0
    # the share of the tripled half rises to 3p / (1 + 2p), that of the other falls to (1 − p) / (1 + 2p)
    power = spectra.band_powers(flat)
    total = 1 + 2 * power[:4].sum() / power.sum()
    expected = 5 * np.log10(3 / total) + 5 * np.log10(total)
    assert spectra.spectrum_error(flat, tilted) == pytest.approx(expected)
    for pair in ((flat, 0 * flat), (0 * flat, flat)):
        with pytest.raises(UndefinedMetric, match="no power"):
            spectra.spectrum_error(*pair)
