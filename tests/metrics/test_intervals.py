"""Bootstrap intervals over acquisitions."""

import numpy as np
import pytest
from scipy import stats

from sarlab.errors import MetricError
from sarlab.metrics.intervals import bootstrap_difference, bootstrap_mean


def test_singletons_are_scipys_percentile_bootstrap():
    values = np.random.default_rng(0).normal(3, 2, 40)
    ours = bootstrap_mean(values, np.arange(40), resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_copies_of_one_acquisition_are_no_new_evidence():
    values = np.random.default_rng(1).normal(0, 1, 10)
    once = bootstrap_mean(values, np.arange(10))
    copies = bootstrap_mean(np.repeat(values, 20), np.repeat(np.arange(10), 20))
    assert (
        copies == pytest.approx(once, abs=1e-12) if isinstance(once, float) else copies[:4] == pytest.approx(once[:4])
    )


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(200):
        group = np.repeat(np.arange(30), 4)
        values = rng.normal(0, 1, 30)[group] + rng.normal(0, 0.3, 120)
        interval = bootstrap_mean(values, group, resamples=400, seed=trial)
        hits += interval.low <= 0 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_pairing_takes_out_the_scenes():
    rng = np.random.default_rng(3)
    scene = rng.normal(30, 5, 12)
    ours, theirs = scene + 0.5 + rng.normal(0, 0.05, 12), scene
    paired = bootstrap_difference(ours, theirs, np.arange(12))
    assert paired.low > 0.4
    assert paired.high < 0.6
    alone = bootstrap_mean(ours, np.arange(12))
    assert alone.high - alone.low > 10 * (paired.high - paired.low)


def test_one_acquisition_or_no_value_gives_a_reason():
    one = bootstrap_mean([1.0, 2.0], ["a", "a"])
    assert one.mean == 1.5
    assert np.isnan(one.low)
    assert "one acquisition" in one.reason
    assert bootstrap_mean([np.nan], ["a"]).reason == "no value is defined"
    assert bootstrap_mean([1.0, np.nan, 4.0], ["a", "b", "c"]).groups == 2


def test_wrong_calls_are_refused():
    with pytest.raises(MetricError, match="acquisitions"):
        bootstrap_mean([1.0, 2.0], ["a"])
    with pytest.raises(MetricError, match="paired"):
        bootstrap_difference([1.0], [1.0, 2.0], ["a"])
    with pytest.raises(MetricError, match="level"):
        bootstrap_mean([1.0], ["a"], level=95)
