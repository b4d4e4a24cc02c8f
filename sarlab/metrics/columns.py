"""Metric columns: the registry, `score`, and the checked pair of images that every metric is computed from.

    recorded scene ──▶ Reference ─┐   (windows, classes, targets, noise floors: once per scene)
                                  ├──▶ Comparison ──▶ every Metric ──▶ Scores: columns and reasons
    reconstruction ───────────────┘

Images are (height, width) arrays of intensity in dB; NaN marks samples without a measurement. A metric is evaluated where
the *reference* has samples. A reconstruction that lacks one of them is not scored on the rest, which would flatter it.

A metric is a function of a `Comparison`, registered under the name of its column with `define`. A package of your own can
add metrics by naming its module under the entry point group ``sarlab.metrics``.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sarlab.errors import MetricError
from sarlab.registry import Registry

Function = TypeVar("Function", bound=Callable[..., Any])

#: One neper of intensity in dB: 10 / ln 10.
DB_PER_NEPER = 10 / np.log(10)

#: Groups of columns, in the order of a table.
GROUPS = (
    "fidelity", "aggregation", "class", "frequency", "reflectivity", "looks", "bias", "edges", "ratio", "distribution",
    "targets", "applications",
)  # fmt: skip


class UndefinedMetric(MetricError):
    """A metric has no value for these samples; the message is the reason."""


class Undefined(float):
    """NaN that carries the reason why a metric has no value, for the ``reason`` column of a table."""

    reason: str

    def __new__(cls, reason: str) -> Undefined:
        value = super().__new__(cls, "nan")
        value.reason = reason
        return value

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.reason,)


def scalar(function: Function) -> Function:
    """Decorate a function to return a finite float, or `Undefined` if it raises `UndefinedMetric`, is NaN or infinite."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> float:
        try:
            with np.errstate(all="ignore"):
                value = function(*args, **kwargs)
        except UndefinedMetric as undefined:
            return Undefined(str(undefined))
        if isinstance(value, Undefined):
            return value
        if not np.isfinite(value):
            return Undefined("the result is not a number" if np.isnan(value) else "the result is infinite")
        return float(value)

    return wrapped  # type: ignore[return-value]


def once(function: Function) -> Function:
    """Decorate a function of a `Reference` or `Comparison` so that each of them computes it only once.

    An `UndefinedMetric` is remembered as well, and raised again.
    """

    @functools.wraps(function)
    def remembered(owner: Image, *args: Any) -> Any:
        key = (function, *args)
        if key not in owner.memo:
            try:
                owner.memo[key] = function(owner, *args)
            except UndefinedMetric as undefined:
                owner.memo[key] = undefined
        value = owner.memo[key]
        if isinstance(value, UndefinedMetric):
            raise UndefinedMetric(str(value))
        return value

    return remembered  # type: ignore[return-value]


def raster(array: Any, what: str = "image") -> np.ndarray:
    """Return `array` as a two-dimensional float64 array; raise `MetricError` if it is anything else."""
    values = np.asarray(array)
    if np.iscomplexobj(values):
        raise MetricError(f"the {what} is complex; pass intensity in dB, or use sqnr, coherence and phase_rmse")
    values = values.astype(np.float64, copy=False)
    if values.ndim != 2 or values.size == 0:
        raise MetricError(f"the {what} must be a (height, width) array that is not empty, not of shape {values.shape}")
    return values


def pair(reference: Any, test: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two rasters as float64, and the mask of samples that the reference has.

    Raise `MetricError` if their shapes differ, `UndefinedMetric` if no sample is valid or the test image lacks some.
    """
    reference, test = raster(reference, "reference"), raster(test, "test image")
    if reference.shape != test.shape:
        raise MetricError(f"the reference is {reference.shape} and the test image {test.shape}: shapes must agree")
    valid = ~np.isnan(reference)
    if not valid.any():
        raise UndefinedMetric("the reference has no valid sample")
    missing = int(np.count_nonzero(np.isnan(test) & valid))
    if missing:
        raise UndefinedMetric(f"the test image has no value at {missing} samples where the reference has one")
    return reference, test, valid


def require_finite(*images: np.ndarray) -> None:
    """Raise `UndefinedMetric` if a sample is infinite, as an exact zero in dB is without a floor; NaN passes."""
    if any(np.isinf(image).any() for image in images):
        raise UndefinedMetric("infinite samples: give exact zeros a floor in dB")


def checked_clip(clip: Any) -> tuple[float, float]:
    """Return a clip range as two floats; raise `MetricError` if it is not (low, high) in dB."""
    try:
        low, high = (float(edge) for edge in clip)
    except (TypeError, ValueError):
        raise MetricError(f"clip must be (low, high) in dB, not {clip!r}") from None
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        raise MetricError(f"clip must be two finite values in dB, the second above the first, not {clip!r}")
    return low, high


def to_intensity(db: np.ndarray) -> np.ndarray:
    """Convert dB to linear intensity; NaN stays NaN, minus infinity becomes an exact zero."""
    with np.errstate(over="ignore"):
        return np.exp(db * (1 / DB_PER_NEPER))


def fill_invalid(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Replace invalid samples by the mean of the valid ones: neutral for filters whose output is masked afterwards."""
    if valid.all():
        return values
    return np.where(valid, values, values[valid].mean())


def eroded(valid: np.ndarray, radius: int) -> np.ndarray:
    """Mask of samples whose (2·radius + 1)² window lies inside the image and holds valid samples only."""
    from scipy.ndimage import minimum_filter

    inside = np.zeros_like(valid)
    inside[radius : valid.shape[0] - radius, radius : valid.shape[1] - radius] = True
    if valid.all():
        return inside
    return inside & minimum_filter(valid, size=2 * radius + 1, mode="nearest")


class Window(NamedTuple):
    """A rectangle of samples."""

    row: int
    column: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices that cut the window from an image."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)


class Reference:
    """A recorded scene and everything that depends on it alone: create it once, score many reconstructions.

    Parameters
    ----------
    reference_db : array_like, shape (height, width)
        Recorded intensity in dB; NaN = nodata.
    clip : (low, high), optional
        Range in dB for PSNR, SSIM and histograms, which need it.
    looks : float, optional
        Nominal number of looks; default: measured.
    clean_db : array_like, shape (height, width), optional
        The speckle-free scene in dB, if it is known.
    windows : sequence of (row, column, height, width), optional
        Homogeneous windows; default: found automatically.
    seed : int
        Seed of the speckle drawn for noise floors.
    """

    def __init__(
        self, reference_db: Any, *, clip: tuple[float, float] | None = None, looks: float | None = None,
        clean_db: Any = None, windows: Sequence[Sequence[int]] | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.memo: dict[Any, Any] = {}
        self.db = raster(reference_db, "reference")
        self.clip = None if clip is None else checked_clip(clip)
        if looks is not None and not (np.isfinite(looks) and looks > 0):
            raise MetricError(f"looks must be a positive number, not {looks!r}")
        self.looks = None if looks is None else float(looks)
        self.clean_db = None if clean_db is None else raster(clean_db, "clean scene")
        if self.clean_db is not None and self.clean_db.shape != self.db.shape:
            raise MetricError(f"the clean scene is {self.clean_db.shape} and the reference {self.db.shape}")
        self.windows = None if windows is None else [self._window(window) for window in windows]
        self.seed = int(seed)
        self.valid = ~np.isnan(self.db)

    @functools.cached_property
    def intensity(self) -> np.ndarray:
        """Linear intensity, shape (height, width)."""
        return to_intensity(self.db)

    def _window(self, window: Sequence[int]) -> Window:
        rectangle = Window(*(int(value) for value in window))
        inside = rectangle.row >= 0 and rectangle.column >= 0 and min(rectangle[2:]) >= 1
        inside &= rectangle.row + rectangle.height <= self.db.shape[0]
        inside &= rectangle.column + rectangle.width <= self.db.shape[1]
        if not inside:
            raise MetricError(f"window {tuple(window)} (row, column, height, width) leaves the image {self.db.shape}")
        return rectangle


class Comparison:
    """A reconstruction in dB and its reference: the argument of every metric.

    Parameters
    ----------
    reference : Reference or array_like
        If an array, `keywords` are those of `Reference`.
    test_db : array_like, shape (height, width)
        Intensity in dB; ignored where the reference has none.

    Raises
    ------
    UndefinedMetric
        No sample is valid, or the reconstruction lacks some.
    """

    def __init__(self, reference: Any, test_db: Any, **keywords: Any) -> None:
        if not isinstance(reference, Reference):
            reference = Reference(reference, **keywords)
        elif keywords:
            raise MetricError(f"a Reference has its own {', '.join(keywords)}; give them when it is made")
        self.memo: dict[Any, Any] = {}
        self.reference: Reference = reference
        _, test, self.valid = pair(reference.db, test_db)
        self.db = test if self.valid.all() else np.where(self.valid, test, np.nan)

    @property
    def clip(self) -> tuple[float, float]:
        """Clip range (low, high) in dB."""
        if self.reference.clip is None:
            raise MetricError("this metric needs a clip range: give clip=(low, high) in dB")
        return self.reference.clip

    @functools.cached_property
    def intensity(self) -> np.ndarray:
        """Linear intensity of the reconstruction, shape (height, width)."""
        return to_intensity(self.db)


#: An image with `db`, `intensity` and `valid`: the recorded scene, or a reconstruction.
Image = Reference | Comparison


@once
def clean_reference(reference: Reference) -> Reference:
    """The speckle-free scene as a reference; NaN where the recorded one is."""
    if reference.clean_db is None:
        raise UndefinedMetric("no clean scene is known")
    return Reference(np.where(reference.valid, reference.clean_db, np.nan), clip=reference.clip)


@once
def against_clean(case: Comparison) -> Comparison:
    """The reconstruction compared with the speckle-free scene."""
    return Comparison(clean_reference(case.reference), case.db)


@dataclass(frozen=True)
class Metric:
    """One column of a results table."""

    #: Name of the column, label of an axis without the unit, and unit: ``"dB"``, ``"bit"``, ``"1"`` (dimensionless) …
    name: str
    label: str
    unit: str
    #: "higher", "lower", "zero" or "one"; the last two name the value of a perfect reconstruction.
    better: str
    #: Domain of the samples (dB, amplitude, intensity) and clip rule.
    domain: str
    #: Paper or standard.
    source: str
    #: It may raise `UndefinedMetric` with the reason why there is no value.
    compute: Callable[[Comparison], float]
    #: Smallest and largest possible value.
    valid_range: tuple[float, float] = (0, np.inf)
    #: One of `GROUPS`, or your own, which comes after them.
    group: str = "other"
    #: Undefined without the speckle-free scene.
    needs_clean: bool = False
    #: Computed only if it is named.
    optional: bool = False
    sequence: int = field(default_factory=itertools.count().__next__, compare=False, repr=False)

    def __post_init__(self) -> None:
        directions = ("higher", "lower", "zero", "one")
        if self.better not in directions:
            raise MetricError(f"metric '{self.name}': better must be one of {directions}, not {self.better!r}")


#: Every metric by the name of its column.
metrics: Registry[Metric] = Registry("metric", "sarlab.metrics", MetricError)


def define(
    name: str, label: str, unit: str, better: str, domain: str, source: str, *, clean: str = "", **fields: Any
) -> Callable[[Function], Function]:
    """Decorate a function of a `Comparison` to register it as a metric; arguments are the fields of `Metric`.

    With the name of a second column `clean`, it is registered once more, against the speckle-free scene.
    """

    def decorate(compute: Function) -> Function:
        metric = Metric(name, label, unit, better, domain, source, compute, **fields)
        metrics.register(name)(metric)
        if clean:
            again: dict[str, Any] = {"group": "reflectivity", "needs_clean": True}
            again |= {"name": clean, "label": f"{label} against clean"}
            metrics.register(clean)(replace(metric, compute=lambda case: compute(against_clean(case)), **again))
        return compute

    return decorate


def described() -> list[Metric]:
    """Every metric in the order of a table: by group, then as registered."""
    ranks = {group: rank for rank, group in enumerate(GROUPS)}
    found = [metrics[name] for name in metrics]
    return sorted(found, key=lambda metric: (ranks.get(metric.group, len(GROUPS)), metric.sequence))


class Scores(dict[str, float]):
    """Columns by name, NaN where undefined; ``reasons`` maps those to the reason why."""

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
        more = {reason: f" and {len(names) - 3} more" * (len(names) > 3) for reason, names in columns.items()}
        return "; ".join(f"{reason} ({', '.join(names[:3])}{more[reason]})" for reason, names in columns.items())


def score(reference_db: Any, test_db: Any, *, columns: Iterable[str] | None = None, **keywords: Any) -> Scores:
    """Compute the metrics of a reconstruction.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Recorded intensity in dB, NaN = nodata, and its reconstruction. With a `Reference` for the first, what depends on
        the scene alone is computed once for many reconstructions.
    columns : iterable of str, optional
        Names of metrics; default: all that are not optional.
    **keywords
        As of `Reference`; an array needs ``clip``, the convention of PSNR for this polarization.

    Returns
    -------
    Scores
        Column → float; NaN where a metric is undefined, with the reason in ``.reasons``.
    """
    if not isinstance(reference_db, Reference) and keywords.get("clip") is None:
        raise MetricError("score needs clip=(low, high) in dB, the convention of PSNR for this polarization")
    chosen = [m for m in described() if not m.optional] if columns is None else [metrics[name] for name in columns]
    try:
        case = Comparison(reference_db, test_db, **keywords)
    except UndefinedMetric as undefined:
        return Scores({m.name: float("nan") for m in chosen}, {m.name: str(undefined) for m in chosen})
    scores = Scores()
    for metric in chosen:
        unknown = metric.needs_clean and case.reference.clean_db is None
        value = Undefined("no clean scene is known") if unknown else scalar(metric.compute)(case)
        scores[metric.name] = float(value)
        if isinstance(value, Undefined):
            scores.reasons[metric.name] = value.reason
    return scores
