"""The columns: a registry of metric descriptions, and `score`, which computes them.

    Reference + reconstruction ──▶ Comparison ──▶ every registered Metric ──▶ Scores (columns, reasons)

A new metric is one function of a `Comparison` and one registration with `define`, here or in a package that names its
module under the entry point group ``sarlab.metrics``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.base import Undefined, UndefinedMetric, checked
from sarlab.metrics.comparison import Comparison, Reference
from sarlab.registry import Registry

_sequence = itertools.count()

#: Groups of columns in the order of a table.
GROUPS = (
    "fidelity", "aggregation", "class", "frequency", "reflectivity", "looks", "bias", "edges", "ratio", "distribution",
    "targets",
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """One column of a results table.

    Parameters
    ----------
    name : str
        Of the column.
    label : str
        On an axis of a figure, without the unit.
    unit : str
        ``"dB"``, ``"bit"``, ``"1"`` (dimensionless) …
    better : {"higher", "lower", "zero", "one"}
        Which way is better; "zero" and "one" name the value of a perfect reconstruction.
    domain : str
        Of the samples it is computed from, and the clip rule.
    valid_range : (float, float)
        Smallest and largest value it can take.
    source : str
        Paper or standard.
    compute : callable
        `Comparison` → float. It may raise `UndefinedMetric` with the reason why there is no value.
    group : str
        Chapter of METRICS the column belongs to; one of `GROUPS`, or the user's own.
    needs_clean : bool
        Needs the speckle-free scene: undefined without it.
    """

    name: str
    label: str
    unit: str
    better: str
    domain: str
    valid_range: tuple[float, float]
    source: str
    compute: Callable[[Comparison], float]
    group: str = "other"
    needs_clean: bool = False
    sequence: int = field(default_factory=lambda: next(_sequence), compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.better not in ("higher", "lower", "zero", "one"):
            raise MetricError(
                f"metric '{self.name}': better must be 'higher', 'lower', 'zero' or 'one', not {self.better!r}"
            )


#: Every metric by the name of its column.
metrics: Registry[Metric] = Registry("metric", "sarlab.metrics", MetricError)


def define(name: str, **description: Any) -> Callable[[Callable[[Comparison], float]], Callable[[Comparison], float]]:
    """Decorator that registers a function of a `Comparison` as the metric `name`; keywords are fields of `Metric`."""

    def decorate(compute: Callable[[Comparison], float]) -> Callable[[Comparison], float]:
        metrics.register(name)(Metric(name=name, compute=compute, **description))
        return compute

    return decorate


class Scores(dict[str, float]):
    """Columns by name, NaN where undefined, and the reasons.

    Attributes
    ----------
    reasons : dict of str to str
        Column → why it has no value.
    """

    def __init__(self, values: Mapping[str, float] = (), reasons: Mapping[str, str] | None = None) -> None:  # type: ignore[assignment]
        super().__init__(values)
        self.reasons: dict[str, str] = dict(reasons or {})

    @property
    def reason(self) -> str:
        """All reasons in one line, each once with its first columns, for the ``reason`` column of a row."""
        columns: dict[str, list[str]] = {}
        for name, reason in self.reasons.items():
            columns.setdefault(reason, []).append(name)
        if len(columns) == 1 and len(self.reasons) == len(self):
            return next(iter(columns))
        return "; ".join(f"{reason} ({_listed(names)})" for reason, names in columns.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def described() -> list[Metric]:
    """Every metric in the order of a table: by group, then as registered."""
    found = [metrics[name] for name in metrics]
    ranks = {group: rank for rank, group in enumerate(GROUPS)}
    return sorted(found, key=lambda metric: (ranks.get(metric.group, len(GROUPS)), metric.sequence))


def score(
    reference_db: Any,
    test_db: Any,
    *,
    clip: tuple[float, float] | None = None,
    looks: float | None = None,
    clean_db: Any = None,
    windows: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
    columns: Iterable[str] | None = None,
) -> Scores:
    """Every metric of a reconstruction against its reference.

    Parameters
    ----------
    reference_db : array_like of shape (height, width), or Reference
        Recorded intensity in dB, NaN = nodata. With a `Reference` what depends on the scene alone is computed once
        for many reconstructions, and the other keywords are its own.
    test_db : array_like, shape (height, width)
        The reconstruction in dB.
    clip, looks, clean_db, windows, seed
        See `Reference`.
    columns : iterable of str, optional
        Only these; default all registered metrics.

    Returns
    -------
    Scores
        Column → float; NaN where a metric is undefined, with the reason in ``.reasons``.
    """
    if isinstance(reference_db, Reference):
        if any(value is not None for value in (clip, looks, clean_db, windows)):
            raise MetricError("clip, looks, clean_db and windows belong to the Reference; give them there")
        reference = reference_db
    else:
        if clip is None:
            raise MetricError("score needs clip=(low, high) in dB, the convention of PSNR for this polarization")
        reference = Reference(reference_db, clip=clip, looks=looks, clean_db=clean_db, windows=windows, seed=seed)
    chosen = described() if columns is None else [metrics[name] for name in columns]
    scores = Scores()
    try:
        case = Comparison(reference, test_db)
    except UndefinedMetric as undefined:
        return Scores(
            {metric.name: float("nan") for metric in chosen}, {metric.name: str(undefined) for metric in chosen}
        )
    for metric in chosen:
        try:
            if metric.needs_clean and reference.clean_db is None:
                raise UndefinedMetric("no clean scene is known")
            with np.errstate(all="ignore"):
                value = checked(metric.compute(case))
        except UndefinedMetric as undefined:
            value = Undefined(str(undefined))
        scores[metric.name] = float(value)
        if isinstance(value, Undefined):
            scores.reasons[metric.name] = value.reason
    return scores
