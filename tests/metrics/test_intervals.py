"""Intervals over acquisitions: Student's t as SciPy has it, and the range of few observations."""

import numpy as np
import pytest
from scipy import stats

from sarlab.errors import MetricError
from sarlab.metrics.intervals import interval


@pytest.mark.parametrize("count", [5, 12, 40])
def test_the_interval_is_scipys_students_t_of_the_means_of_groups(count):
    values = np.random.default_rng(0).normal(3, 2, (count, 4))
    found = interval(values.ravel(), np.repeat(range(count), 4))
    expected = stats.ttest_1samp(values.mean(axis=1), 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.n, found.kind) == (count, "95 %")


def test_scenes_of_one_acquisition_count_once_and_fewer_than_five_acquisitions_give_their_range():
    assert interval([1, 1, 1, 5], ["a", "a", "a", "b"]) == (3, 1, 5, 2, "range")
    assert interval([1.0, 4.0, 2.0, 2.0], "abcd") == (2.25, 1, 4, 4, "range")
    one = interval([1.0, 2.0], ["a", "a"])
    assert (one.mean, one.n, one.kind) == (1.5, 1, "")
    assert np.isnan([one.low, one.high]).all()
    none = interval([np.nan], ["a"])
    assert np.isnan(none[:3]).all()
    assert (none.n, none.kind) == (0, "")
    assert interval([1.0, np.nan, 4.0, np.inf], "abcd").n == 2
    with pytest.raises(MetricError, match="2 values but 1 groups"):
        interval([1.0, 2.0], ["a"])
