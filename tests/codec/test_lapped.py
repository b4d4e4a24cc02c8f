"""The lapped transform: against windowed cosines in closed form, orthonormal, without seams."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sarlab.codec.lapped import LappedTransform

sys.path.insert(0, str(Path(__file__).parent))
from second_decoder import cosines

WHOLE = (True, True, True, True)
SIZES = (4, 8, 32)


def in_blocks(y, size):
    """Rows and columns of frequencies within rows and columns of blocks."""
    _, h, w = y.shape
    return y.reshape(size, size, h, w).transpose(2, 0, 3, 1).reshape(size * h, size * w)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)


def padded(x, size):
    return np.pad(x, [(0, -n % size) for n in x.shape], constant_values=99)


def last(size, length):
    return (length - 1) % size + 1


def made(size, height, width):
    return LappedTransform(size, last(size, height), last(size, width))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("h", "w"), [(1, 1), (1.0, 3.4), (0.1, 2.0), (2.75, 1.25), (3.05, 4.5)])
def test_coefficients_are_products_with_windowed_cosines(size, h, w):
    height, width = max(1, int(h * size)), max(1, int(w * size))
    rows, columns = cosines(size, height).T, cosines(size, width).T
    assert np.allclose(rows.T @ rows, np.eye(height), atol=1e-12)
    x, transform = noise(height, width), made(size, height, width)
    y = transform.forward(padded(x, size), WHOLE)
    expected = rows @ x.astype(float) @ columns.T
    assert y.dtype == np.float32
    assert np.abs(in_blocks(y, size) - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.square(y, dtype=float).sum() == pytest.approx(np.square(x, dtype=float).sum(), rel=1e-6)
    assert np.abs(transform.inverse(y, WHOLE)[:height, :width] - x).max() < 1e-5
