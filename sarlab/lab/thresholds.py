"""Limits on metrics: how they are written, and when measurements meet one with confidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from sarlab.errors import ResultsError
from sarlab.metrics import metrics
from sarlab.metrics.intervals import bootstrap_mean

FEWEST_ACQUISITIONS = 3
#: A file that was made to meet a value meets it as nearly as `sarlab.codec.targets` searches for it: that counts as met.
TOLERANCE = {"psnr_db": 0.02}


@dataclass(frozen=True)
class Threshold:
    """A limit on one metric.

    Parameters
    ----------
    metric : str
        Column.
    side : {"min", "max"}
    value : float
    """

    metric: str
    side: str
    value: float

    @property
    def text(self) -> str:
        """For people: ``psnr_db ≥ 30``."""
        name = f"|{self.metric}|" if self.side == "max" and zero_is_best(self.metric) else self.metric
        return f"{name} {'≥' if self.side == 'min' else '≤'} {self.value:g}"

    def met(self, margin: float) -> bool:
        """Whether a margin is one of a threshold that is met; not where nothing is known."""
        return margin >= -TOLERANCE.get(self.metric, 0.0)

    def margin(self, values: np.ndarray, acquisitions: Sequence[Any]) -> float:
        """How far the threshold is met at worst; negative where it is missed, NaN where nothing is known."""
        values = np.asarray(values, float)
        if self.side == "max" and zero_is_best(self.metric):
            values = np.abs(values)
        gained = values - self.value if self.side == "min" else self.value - values
        known = np.isfinite(gained)
        if not known.any():
            return float("nan")
        return lowest(gained[known], [a for a, k in zip(acquisitions, known, strict=True) if k])


def zero_is_best(metric: str) -> bool:
    """Whether a perfect reconstruction has 0 in this column: then ``max`` speaks of its magnitude."""
    return metric in metrics and metrics[metric].better == "zero"


def lowest(values: np.ndarray, acquisitions: Sequence[Any]) -> float:
    """Lower end of the interval of the mean over acquisitions; the smallest value where there are too few."""
    if len(set(map(str, acquisitions))) < FEWEST_ACQUISITIONS:
        return float(values.min())
    return float(bootstrap_mean(values, acquisitions).low)


def parse_threshold(text: str, side: str, columns: Iterable[str]) -> Threshold:
    """``psnr=30`` → Threshold. Short names are allowed: ``psnr``, ``bias``, ``rmse_8x8_db``.

    Raises
    ------
    ResultsError
        If it is no ``name=number`` or no column has that name.
    """
    name, equals, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not equals or not np.isfinite(value):
        raise ResultsError(f"'{text}' is no threshold; write name=number, such as psnr=30")
    columns = set(columns)
    name = re.sub(r"_(\d+)x\1(?=_|$)", r"_k\1", name.strip())
    for candidate in (name, f"{name}_db"):
        if candidate in columns:
            return Threshold(candidate, side, value)
    measured = sorted(columns & set(metrics))
    likely = [column for column in measured if column.startswith(name[:4])] or get_close_matches(name, measured)
    hint = f"did you mean {', '.join(likely[:4])}" if likely else f"there are {', '.join(measured)}"
    raise ResultsError(f"no column '{name}' in these results; {hint}")
