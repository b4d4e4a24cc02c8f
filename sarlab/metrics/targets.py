"""Point targets: found by a constant-false-alarm-rate detector, their peaks and impulse responses compared."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammainccinv

from sarlab.metrics.base import UndefinedMetric, fill_invalid, pair, scalar, to_intensity
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison, Reference
from sarlab.metrics.looks import scene_looks

#: Sides of the background ring of the detector: guard area and whole, in samples.
GUARD, RING = 9, 21
#: Share of speckle samples that count as targets by accident, and the least contrast in linear intensity (6 dB).
FALSE_ALARM, LEAST_CONTRAST = 1e-7, 10**0.6
#: A detection within so many samples is the same target.
TOLERANCE = 2
#: Half the length of a cut through a target in samples, oversampling, and how many targets are analyzed.
CUT, OVERSAMPLING, ANALYZED = 16, 16, 32


class ImpulseResponse(NamedTuple):
    """Of one cut: 3 dB width in samples, peak and integrated sidelobe ratio in dB; NaN where there is none."""

    width: float
    pslr: float
    islr: float


def detection_threshold(looks: float) -> float:
    """Least ratio of a target to its background, for gamma speckle of so many looks.

    Parameters
    ----------
    looks : float
    """
    return max(float(gammainccinv(looks, FALSE_ALARM)) / looks, LEAST_CONTRAST)


def detect(intensity: np.ndarray, valid: np.ndarray, threshold: float) -> np.ndarray:
    """Cell-averaging CFAR detections: local maxima that exceed `threshold` × the mean of a ring around them.

    Parameters
    ----------
    intensity : ndarray, shape (height, width)
        Linear.
    valid : ndarray of bool, shape (height, width)
    threshold : float
        See `detection_threshold`.

    Returns
    -------
    ndarray of bool, shape (height, width)
        One True per target (of equal neighboring maxima the first).

    References
    ----------
    Finn & Johnson, RCA Review 29, 1968 (cell-averaging CFAR).
    """
    from scipy.ndimage import label, maximum_filter, uniform_filter

    if min(intensity.shape) < RING:
        raise UndefinedMetric(f"a side is below {RING} samples, the background of the detector")
    share = None if valid.all() else valid.astype(np.float64)
    filled = np.where(valid, intensity, 0.0)

    def ring(values: np.ndarray) -> np.ndarray:
        whole = uniform_filter(values, RING, mode="reflect") * RING**2
        return whole - uniform_filter(values, GUARD, mode="reflect") * GUARD**2

    background = ring(filled)
    count = float(RING**2 - GUARD**2) if share is None else np.maximum(ring(share), 1.0)
    candidates = valid & (filled > threshold * np.maximum(background, 0) / count) & (filled > 0)
    if not candidates.any():
        return candidates
    peaks = candidates & (filled >= maximum_filter(filled, 5, mode="reflect"))
    labels, number = label(peaks, structure=np.ones((3, 3)))
    _, first = np.unique(labels.ravel(), return_index=True)
    single = np.zeros(peaks.size, bool)
    single[first[1:] if number < labels.size else first] = True
    return single.reshape(peaks.shape)


def impulse_response(profile: np.ndarray) -> ImpulseResponse:
    """3 dB width, peak and integrated sidelobe ratio of a cut of linear intensity through a target at its middle.

    The cut is interpolated 16 times by its Fourier transform; the main lobe ends at the first minimum on each side.

    Parameters
    ----------
    profile : ndarray, shape (length,)

    Returns
    -------
    ImpulseResponse

    References
    ----------
    Cumming & Wong, Digital Processing of Synthetic Aperture Radar Data, 2005, ch. 2.
    """
    length = len(profile)
    transform = np.fft.rfft(profile)
    fine = np.fft.irfft(transform, length * OVERSAMPLING) * OVERSAMPLING
    middle = length // 2 * OVERSAMPLING
    near = slice(middle - OVERSAMPLING, middle + OVERSAMPLING + 1)
    peak = int(np.argmax(fine[near])) + near.start
    top = fine[peak]
    if top <= 0:
        return ImpulseResponse(np.nan, np.nan, np.nan)

    def crossing(side: np.ndarray) -> float:
        below = np.nonzero(side < top / 2)[0]
        if not below.size:
            return np.nan
        k = int(below[0])
        return k - 1 + (side[k - 1] - top / 2) / (side[k - 1] - side[k])

    def lobe_end(side: np.ndarray) -> int:
        rising = np.nonzero(np.diff(side) > 0)[0]
        return int(rising[0]) if rising.size else len(side) - 1

    right, left = fine[peak:], fine[peak::-1]
    width = (crossing(right) + crossing(left)) / OVERSAMPLING
    start, stop = peak - lobe_end(left), peak + lobe_end(right) + 1
    outside = np.concatenate([fine[:start], fine[stop:]])
    inside = fine[start:stop].sum()
    if not outside.size or outside.max() <= 0 or outside.sum() <= 0:
        return ImpulseResponse(width, np.nan, np.nan)
    return ImpulseResponse(width, 10 * np.log10(outside.max() / top), 10 * np.log10(outside.sum() / inside))


def responses(intensity: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Impulse responses at (row, column) positions along both axes: shape (targets, 2, 3), NaN without a valid cut."""
    result = np.full((len(positions), 2, 3), np.nan)
    for index, (row, column) in enumerate(positions):
        cuts = (
            intensity[max(row - CUT, 0) : row + CUT + 1, column],
            intensity[row, max(column - CUT, 0) : column + CUT + 1],
        )
        for axis, cut in enumerate(cuts):
            if len(cut) == 2 * CUT + 1 and np.isfinite(cut).all():
                result[index, axis] = impulse_response(cut)
    return result


class Targets(NamedTuple):
    """Targets of a scene: where, the detector's threshold, and the impulse responses of the strongest."""

    mask: np.ndarray
    positions: np.ndarray
    threshold: float
    responses: np.ndarray


def find_targets(intensity: np.ndarray, valid: np.ndarray, looks: float) -> Targets:
    """Detect targets; positions are sorted by intensity, the strongest first."""
    threshold = detection_threshold(looks)
    mask = detect(intensity, valid, threshold)
    positions = np.argwhere(mask)
    positions = positions[np.argsort(-intensity[mask], kind="stable")]
    return Targets(mask, positions, threshold, responses(intensity, positions[:ANALYZED]))


def _near(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import maximum_filter

    return maximum_filter(mask, 2 * TOLERANCE + 1, mode="constant")


def kept_and_invented(reference: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Share of the reference's detections found in the test, and detections of the test alone per one of the reference.

    Raises `UndefinedMetric` where the reference has none.
    """
    count = np.count_nonzero(reference)
    if not count:
        raise UndefinedMetric("the reference has no point target")
    kept = np.count_nonzero(reference & _near(test)) / count
    return kept, np.count_nonzero(test & ~_near(reference)) / count


def peak_errors(reference: np.ndarray, test_db: np.ndarray, targets: Targets) -> np.ndarray:
    """Error in dB of the highest sample within one of each target's place, against the reference's peak: 1-D."""
    if not len(targets.positions):
        raise UndefinedMetric("the reference has no point target")
    from scipy.ndimage import maximum_filter

    rows, columns = targets.positions.T
    highest = maximum_filter(np.where(np.isnan(test_db), -np.inf, test_db), 3, mode="nearest")[rows, columns]
    if np.isinf(highest).any():
        raise UndefinedMetric("a target became an exact zero")
    return highest - reference[rows, columns]


@scalar
def targets_kept(reference_db: Any, test_db: Any, *, looks: float) -> float:
    """Share of the original's CFAR detections that the reconstruction has too (within 2 samples); in [0, 1].

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB.
    looks : float
        Of the original; sets one threshold for both.
    """
    return kept_and_invented(*_detections(reference_db, test_db, looks))[0]


@scalar
def targets_invented(reference_db: Any, test_db: Any, *, looks: float) -> float:
    """CFAR detections of the reconstruction alone, per detection of the original; in [0, ∞). See `targets_kept`.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    looks : float
        Of the original; sets one threshold for both.
    """
    return kept_and_invented(*_detections(reference_db, test_db, looks))[1]


def _detections(reference_db: Any, test_db: Any, looks: float) -> tuple[np.ndarray, np.ndarray]:
    reference, test, valid = pair(reference_db, test_db)
    threshold = detection_threshold(looks)
    return tuple(detect(to_intensity(fill_invalid(image, valid)), valid, threshold) for image in (reference, test))  # type: ignore[return-value]


def scene_targets(reference: Reference) -> Targets:
    """Point targets of a scene. For `Reference.once`."""
    return find_targets(reference.intensity, reference.valid, reference.once(scene_looks))


def case_kept_and_invented(case: Comparison) -> tuple[float, float]:
    """Detections kept and invented. For `Comparison.once`."""
    targets = case.reference.once(scene_targets)
    return kept_and_invented(targets.mask, detect(case.test_intensity, case.valid, targets.threshold))


def case_peak_errors(case: Comparison) -> np.ndarray:
    """Peak errors of targets in dB. For `Comparison.once`."""
    return peak_errors(case.reference_db, case.test_db, case.reference.once(scene_targets))


def case_response_changes(case: Comparison) -> np.ndarray:
    """Changes of (relative width, PSLR in dB, ISLR in dB), a row per cut, NaN without one. For `Comparison.once`."""
    targets = case.reference.once(scene_targets)
    if not len(targets.positions):
        raise UndefinedMetric("the reference has no point target")
    test = responses(case.test_intensity, targets.positions[:ANALYZED])
    changes = test - targets.responses
    changes[..., 0] /= targets.responses[..., 0]
    return changes.reshape(-1, 3)


def _median_change(case: Comparison, which: int) -> float:
    changes = case.once(case_response_changes)[:, which]
    changes = changes[np.isfinite(changes)]
    if not changes.size:
        raise UndefinedMetric("no target has a cut to measure: too near the rim or nodata, or nothing but clutter")
    return np.median(changes)


_TARGETS = {"domain": "intensity", "group": "targets"}
_CFAR, _CUMMING = "Finn & Johnson 1968", "Cumming & Wong 2005, ch. 2"
for _name, _label, _unit, _better, _range, _source, _function in (
    ("targets", "Point targets", "1", "higher", (0, np.inf), _CFAR,
     lambda case: len(case.reference.once(scene_targets).positions)),
    ("targets_kept", "Detections kept", "1", "higher", (0, 1), _CFAR,
     lambda case: case.once(case_kept_and_invented)[0]),
    ("targets_invented", "Detections invented", "1", "lower", (0, np.inf), _CFAR,
     lambda case: case.once(case_kept_and_invented)[1]),
    ("target_peak_error_db", "Mean |peak error| of targets", "dB", "lower", (0, np.inf), "definition",
     lambda case: np.abs(case.once(case_peak_errors)).mean()),
    ("target_peak_bias_db", "Mean peak error of targets", "dB", "zero", (-np.inf, np.inf), "definition",
     lambda case: case.once(case_peak_errors).mean()),
    ("target_width_change", "Relative change of 3 dB width", "1", "zero", (-1, np.inf), _CUMMING,
     lambda case: _median_change(case, 0)),
    ("target_pslr_change_db", "Change of PSLR", "dB", "zero", (-np.inf, np.inf), _CUMMING,
     lambda case: _median_change(case, 1)),
    ("target_islr_change_db", "Change of ISLR", "dB", "zero", (-np.inf, np.inf), _CUMMING,
     lambda case: _median_change(case, 2)),
):  # fmt: skip
    define(_name, label=_label, unit=_unit, better=_better, valid_range=_range, source=_source, **_TARGETS)(_function)
