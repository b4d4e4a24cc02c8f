"""Columns of a row that describe the latent."""

import pytest
import torch

from sarlab.lab import measure
from sarlab.models.quantizers import build_quantizer
from sarlab.specs import QuantizerSpec


@pytest.fixture
def four():
    """(quantizer of 4 bits, latent that it is calibrated on)."""
    y = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    quantizer = build_quantizer(QuantizerSpec("affine", 4), 1)
    quantizer.calibrate(y)
    return quantizer, y


def test_values_of_32_bits_have_no_entropy():
    y = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = build_quantizer(QuantizerSpec(), 3)
    assert measure.frequencies(whole, [y]) is None
    assert "latent_entropy" not in measure.latent_columns(whole, whole.quantize(y), y, None, pixels=64, native_bits=16)


def test_values_outside_the_training_range_are_counted(four):
    quantizer, y = four
    tables = measure.frequencies(quantizer, [y])
    row = measure.latent_columns(quantizer, quantizer.quantize(3 * y), 3 * y, tables, pixels=64, native_bits=16)
    assert row["saturated_share"] == pytest.approx(2 / 3, abs=0.1)
