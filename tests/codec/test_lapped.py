"""The lapped transform: against windowed cosines in closed form, and orthonormal."""

import numpy as np
import pytest
from second_decoder import cosines

from sarlab.codec.lapped import LappedTransform

WHOLE = (True, True, True, True)


@pytest.mark.parametrize("size", [4, 8, 32])
@pytest.mark.parametrize(("h", "w"), [(1, 1), (1.0, 3.4), (0.1, 2.0), (2.75, 1.25), (3.05, 4.5)])
def test_coefficients_are_products_with_windowed_cosines(size, h, w):
    height, width = max(1, int(h * size)), max(1, int(w * size))
    rows, columns = cosines(size, height).T, cosines(size, width).T
    assert np.allclose(rows.T @ rows, np.eye(height), atol=1e-12)
    x = np.random.default_rng(0).normal(0, 1, (height, width)).astype(np.float32)
    transform = LappedTransform(size, (height - 1) % size + 1, (width - 1) % size + 1)
    y = transform.forward(np.pad(x, [(0, -n % size) for n in x.shape], constant_values=99), WHOLE)
    blocks = y.reshape(size, size, *y.shape[1:]).transpose(2, 0, 3, 1).reshape(len(rows), len(columns))
    expected = rows @ x.astype(float) @ columns.T
    assert np.abs(blocks - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.square(y, dtype=float).sum() == pytest.approx(np.square(x, dtype=float).sum(), rel=1e-6)
    assert np.abs(transform.inverse(y, WHOLE)[:height, :width] - x).max() < 1e-5
