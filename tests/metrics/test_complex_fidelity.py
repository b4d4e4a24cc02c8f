"""Complex data: closed forms."""

import numpy as np
import pytest

from sarlab.errors import MetricError
from sarlab.metrics.complex import coherence, phase_rmse, sqnr


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(0)
    return rng.standard_normal((500, 500)) + 1j * rng.standard_normal((500, 500))


def test_sqnr_and_coherence_of_added_noise(field):
    rng = np.random.default_rng(1)
    noise = 0.1 * (rng.standard_normal(field.shape) + 1j * rng.standard_normal(field.shape))
    assert sqnr(field, field + noise) == pytest.approx(20, abs=0.05)
    assert coherence(field, field + noise) == pytest.approx(1 / np.sqrt(1.01), abs=1e-4)


def test_sqnr_of_a_scale_error(field):
    assert sqnr(field, 0.9 * field) == pytest.approx(20)
    assert coherence(field, 0.9j * field) == pytest.approx(1)
    assert coherence(field, field[::-1]) < 0.02


def test_phase_error_is_weighted_by_amplitude():
    z = np.array([[3.0, 1.0]], complex)
    turned = z * np.exp(1j * np.array([[0.2, -0.5]]))
    assert phase_rmse(z, turned) == pytest.approx(np.sqrt((3 * 0.04 + 0.25) / 4))
    assert phase_rmse(z, 7 * z) == pytest.approx(0)


def test_phase_wraps_and_independent_phases_are_uniform(field):
    z = np.exp(1j * np.full((2, 2), 3.1))
    assert phase_rmse(z, np.exp(-1j * np.full((2, 2), 3.1))) == pytest.approx(2 * np.pi - 6.2)
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
