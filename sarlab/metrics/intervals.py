"""Confidence intervals of a mean over independent observations: acquisitions, or trainings from different seeds.

Scenes of one acquisition share orbit, weather and season, and tiles of one scene share even more, so they are averaged
first: an observation is one acquisition. Student's t allows for how few there are. Below five observations, their range
is reported instead; a bootstrap over three or four means would cover the truth in only 75 to 79 % of cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from sarlab.errors import MetricError

#: Observations from which an interval is stated; below, the range.
LEAST_OBSERVATIONS = 5


class Interval(NamedTuple):
    """A mean over independent observations, with its uncertainty."""

    #: NaN without observations.
    mean: float
    #: Ends of the 95 % interval of the mean (Student's t), or of the range of the observations; NaN below two.
    low: float
    high: float
    #: Number of observations.
    n: int
    #: Meaning of the ends: "95 %", "range", or empty where they are NaN.
    kind: str


def interval(values: Iterable[Any], groups: Iterable[Any]) -> Interval:
    """Mean over groups of values, with its 95 % interval by Student's t, or the range of fewer than five groups.

    Parameters
    ----------
    values : array_like, shape (count,)
        One per scene, band or run; NaN and infinities are left out.
    groups : array_like, shape (count,)
        Acquisition (or seed) of each value. Values of one group are not independent: their mean is one observation.

    References: Student, "The probable error of a mean", Biometrika 6(1), 1908.
    """
    values, groups = np.asarray(values, np.float64).ravel().tolist(), list(groups)
    if len(values) != len(groups):
        raise MetricError(f"{len(values)} values but {len(groups)} groups: give one for each value")
    # pages call this for thousands of small groups: a dictionary is many times as fast as a data frame
    members: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if math.isfinite(value):
            members.setdefault(str(group), []).append(value)
    means = np.array([sum(found) / len(found) for found in members.values()])
    n = len(means)
    if n < 2:
        return Interval(float(means[0]) if n else np.nan, np.nan, np.nan, n, "")
    mean = float(means.mean())
    if n < LEAST_OBSERVATIONS:
        return Interval(mean, float(means.min()), float(means.max()), n, "range")
    half = float(stdtrit(n - 1, 0.975) * means.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n, "95 %")
