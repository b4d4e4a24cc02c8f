"""Rates and the three ratios, by hand."""

import pytest

from sarlab.errors import MetricError
from sarlab.metrics.rate import bits_per_pixel, dimension_ratio, measured_cr, measured_cr_lossless, nominal_cr


def test_the_guides_16_by_16_by_16_latent_has_three_ratios():
    assert dimension_ratio(256 * 256, 16 * 16 * 16) == 16
    assert nominal_cr(256 * 256, 32, 16 * 16 * 16, 8) == 64
    assert nominal_cr(256 * 256, 16, 16 * 16 * 16, 8) == 32
    # a file of 4096 latent bytes and 200 bytes of header and ranges
    assert measured_cr(4296, 256 * 256, native_bits=16) == pytest.approx(2 * 65536 / 4296)


def test_bits_per_pixel_count_bands_and_the_whole_file():
    assert bits_per_pixel(1024, 64 * 64) == 2
    assert bits_per_pixel(1024, 64 * 64, bands=2) == 1
    assert measured_cr(1024, 64 * 64, bands=2, native_bits=16) == 16
    assert measured_cr_lossless(1024, 5120) == 5


@pytest.mark.parametrize("byte_count", [0, -1, float("nan")])
def test_impossible_sizes_are_refused(byte_count):
    with pytest.raises(MetricError, match="byte_count"):
        bits_per_pixel(byte_count, 100)
