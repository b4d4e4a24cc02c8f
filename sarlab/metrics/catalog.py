"""The columns: a registry of metric descriptions, the pair of images they are computed from, and `score`.

    recorded scene ──▶ Reference ─┐ (windows, classes, targets, noise floors: once a scene)
                                  ├─▶ Comparison ──▶ every registered Metric ──▶ Scores (columns, reasons)
    reconstruction ───────────────┘

A new metric is one function of a `Comparison` and one registration with `define`, here or in a package that names its
module under the entry point group ``sarlab.metrics``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.base import Undefined, UndefinedMetric, checked, checked_clip, raster, to_intensity
from sarlab.registry import Registry

T = TypeVar("T")
_sequence = itertools.count()

#: Groups of columns in the order of a table.
GROUPS = (
    "fidelity", "aggregation", "class", "frequency", "reflectivity", "looks", "bias", "edges", "ratio", "distribution",
    "targets",
)  # fmt: skip


class Window(NamedTuple):
    """A rectangle of samples."""

    row: int
    column: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing an image."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)


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


class _Memo:
    """Remembers the value (or the reason why there is none) of each function it was asked for."""

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}

    def once(self, function: Callable[..., T], *args: Any) -> T:
        """`function(self, *args)`, computed at the first call only."""
        key = (function, *args)
        if key not in self._values:
            try:
                self._values[key] = function(self, *args)
            except UndefinedMetric as undefined:
                self._values[key] = undefined
        value = self._values[key]
        if isinstance(value, UndefinedMetric):
            raise UndefinedMetric(str(value))
        return value


class Reference(_Memo):
    """The recorded scene and all that follows from it alone: make it once, score many reconstructions.

    Parameters
    ----------
    reference_db : array_like, shape (height, width)
        Recorded intensity in dB; NaN where there is no measurement.
    clip : (low, high)
        In dB, of PSNR and SSIM.
    looks : float, optional
        Nominal number of looks; where absent it is measured.
    clean_db : array_like, shape (height, width), optional
        The speckle-free scene in dB, where it is known.
    windows : sequence of (row, column, height, width), optional
        Homogeneous windows; found automatically where absent.
    seed : int
        Of the speckle that is drawn for noise floors.
    """

    def __init__(
        self,
        reference_db: Any,
        *,
        clip: tuple[float, float],
        looks: float | None = None,
        clean_db: Any = None,
        windows: Sequence[Sequence[int]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.db = raster(reference_db, "reference")
        self.clip = checked_clip(clip)
        if looks is not None and not (np.isfinite(looks) and looks > 0):
            raise MetricError(f"looks must be a positive number, not {looks!r}")
        self.looks = None if looks is None else float(looks)
        self.clean_db = None if clean_db is None else raster(clean_db, "clean scene")
        if self.clean_db is not None and self.clean_db.shape != self.db.shape:
            raise MetricError(f"the clean scene is {self.clean_db.shape} and the reference {self.db.shape}")
        self.windows = None if windows is None else [self._window(window) for window in windows]
        self.seed = int(seed)
        self.valid = ~np.isnan(self.db)
        self.intensity = to_intensity(self.db)

    def _window(self, window: Sequence[int]) -> Window:
        rectangle = Window(*(int(value) for value in window))
        inside = rectangle.row >= 0 and rectangle.column >= 0 and min(rectangle[2:]) >= 1
        inside &= rectangle.row + rectangle.height <= self.db.shape[0]
        inside &= rectangle.column + rectangle.width <= self.db.shape[1]
        if not inside:
            raise MetricError(f"window {tuple(window)} (row, column, height, width) leaves the image {self.db.shape}")
        return rectangle


class Comparison(_Memo):
    """A reconstruction beside its reference: what a metric is computed from.

    Parameters
    ----------
    reference : Reference
    test_db : array_like, shape (height, width)
        The reconstruction in dB.

    Raises
    ------
    UndefinedMetric
        Nothing can be judged: no valid sample, or samples missing from the reconstruction.
    """

    def __init__(self, reference: Reference, test_db: Any) -> None:
        super().__init__()
        from sarlab.metrics.base import pair

        self.reference = reference
        self.reference_db, self.test_db, self.valid = pair(reference.db, test_db)
        self.clip = reference.clip
        self.reference_intensity = reference.intensity
        self.test_intensity = to_intensity(np.where(self.valid, self.test_db, np.nan))

    @property
    def clean_db(self) -> np.ndarray:
        """The speckle-free scene, NaN where the recorded one is."""
        if self.reference.clean_db is None:
            raise UndefinedMetric("no clean scene is known")
        return np.where(self.valid, self.reference.clean_db, np.nan)


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
        """All reasons in one line, each once with its columns, for the ``reason`` column of a row."""
        columns: dict[str, list[str]] = {}
        for name, reason in self.reasons.items():
            columns.setdefault(reason, []).append(name)
        whole = len(self.reasons) == len(self)
        return "; ".join(reason if whole else f"{reason} ({', '.join(names)})" for reason, names in columns.items())


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
