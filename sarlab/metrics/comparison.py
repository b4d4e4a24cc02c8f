"""The pair of images that metrics are computed from; what several metrics need is computed once.

recorded scene ──▶ Reference ─┐ (windows, classes, targets, noise floors: once a scene)
                              ├─▶ Comparison ──▶ metrics
reconstruction ───────────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.base import UndefinedMetric, checked_clip, pair, raster, to_intensity

T = TypeVar("T")


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
        self.reference = reference
        self.reference_db, test, self.valid = pair(reference.db, test_db)
        # what a decoder puts where the original has no sample is nobody's business
        self.test_db = test if self.valid.all() else np.where(self.valid, test, np.nan)
        self.clip = reference.clip
        self.reference_intensity = reference.intensity
        self.test_intensity = to_intensity(self.test_db)

    @property
    def clean_db(self) -> np.ndarray:
        """The speckle-free scene, NaN where the recorded one is."""
        if self.reference.clean_db is None:
            raise UndefinedMetric("no clean scene is known")
        return np.where(self.valid, self.reference.clean_db, np.nan)
