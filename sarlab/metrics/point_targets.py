"""Point targets: found by a constant-false-alarm-rate (CFAR) detector, their peaks and impulse responses compared."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import fdtri, gammainccinv

from sarlab.metrics.columns import Comparison, Reference, UndefinedMetric, define, once
from sarlab.metrics.looks import scene_looks

#: Sides in samples of the guard area and of the whole window around a cell; the background is the ring between them.
GUARD, RING = 9, 21
RING_CELLS = RING**2 - GUARD**2
#: Probability that a sample of speckle is detected, and the least contrast in linear intensity (6 dB).
FALSE_ALARM, LEAST_CONTRAST = 1e-7, 10**0.6
#: Detections within so many samples of each other are the same target.
TOLERANCE = 2
#: Half the length of a cut through a target in samples, its oversampling, and how many targets are analyzed.
CUT, OVERSAMPLING, ANALYZED = 16, 16, 32


class ImpulseResponse(NamedTuple):
    """3 dB width in samples, peak and integrated sidelobe ratio in dB of one cut; NaN where there is none."""

    width: float
    pslr: float
    islr: float


def cfar_threshold(looks: float, false_alarm: float) -> float:
    """Ratio of a cell to the mean of its ring that gamma speckle of `looks` looks exceeds with that probability.

    Cell and mean are independent gamma variates, so the ratio has the distribution F(2L, 2NL), N being the cells of the
    ring. At one look this is the threshold N·(p^(−1/N) − 1) of cell-averaging CFAR.
    """
    return float(fdtri(2 * looks, 2 * looks * RING_CELLS, 1 - false_alarm))


def exceeds(intensity: np.ndarray, valid: np.ndarray, threshold: float) -> np.ndarray:
    """Mask of the cells of linear `intensity` above `threshold` × the mean of a ring around them (cell-averaging CFAR).

    References: Finn & Johnson, RCA Review 29, 1968.
    """
    from scipy.ndimage import uniform_filter

    if min(intensity.shape) < RING:
        raise UndefinedMetric(f"a side is below {RING} samples, the background of the detector")
    filled = np.where(valid, intensity, 0.0)

    def ring(values: np.ndarray) -> np.ndarray:
        whole = uniform_filter(values, RING, mode="reflect") * RING**2
        return whole - uniform_filter(values, GUARD, mode="reflect") * GUARD**2

    count = float(RING_CELLS) if valid.all() else np.maximum(ring(valid.astype(np.float64)), 1.0)
    return valid & (filled > threshold * np.maximum(ring(filled), 0) / count) & (filled > 0)


def detect(intensity: np.ndarray, valid: np.ndarray, threshold: float) -> np.ndarray:
    """Mask of point targets, one True each: local maxima (the first of equal ones) among the cells that `exceeds` finds."""
    from scipy.ndimage import label, maximum_filter

    candidates = exceeds(intensity, valid, threshold)
    if not candidates.any():
        return candidates
    filled = np.where(valid, intensity, 0.0)
    peaks = candidates & (filled >= maximum_filter(filled, 5, mode="reflect"))
    number, first = np.unique(label(peaks, structure=np.ones((3, 3)))[0], return_index=True)
    single = np.zeros(peaks.shape, bool)
    single.flat[first[number > 0]] = True
    return single


def impulse_response(profile: np.ndarray) -> ImpulseResponse:
    """Measure 3 dB width, peak and integrated sidelobe ratio of a cut of linear intensity through a target.

    The target is in the middle of `profile`. The cut is interpolated 16 times by its Fourier transform; the main lobe
    ends at the first minimum on each side.

    References: Cumming & Wong, Digital Processing of Synthetic Aperture Radar Data, 2005, ch. 2.
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


class PointTargets(NamedTuple):
    """Targets of a scene, the strongest first: mask, (row, column) positions, threshold, responses of the strongest."""

    mask: np.ndarray
    positions: np.ndarray
    threshold: float
    responses: np.ndarray


def kept_and_invented(reference: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Share of the reference's detections that the test keeps; detections only in the test, per detection of the reference."""
    from scipy.ndimage import maximum_filter

    count = np.count_nonzero(reference)
    if not count:
        raise UndefinedMetric("the reference has no point target")
    near_test, near_reference = (maximum_filter(m, 2 * TOLERANCE + 1, mode="constant") for m in (test, reference))
    return np.count_nonzero(reference & near_test) / count, np.count_nonzero(test & ~near_reference) / count


@once
def scene_targets(reference: Reference) -> PointTargets:
    """Detect the targets of a scene and measure the strongest.

    The threshold is the quantile of gamma speckle of the scene's looks, but at least 6 dB above the background.
    """
    looks = scene_looks(reference)
    threshold = max(float(gammainccinv(looks, FALSE_ALARM)) / looks, LEAST_CONTRAST)
    mask = detect(reference.intensity, reference.valid, threshold)
    positions = np.argwhere(mask)
    positions = positions[np.argsort(-reference.intensity[mask], kind="stable")]
    return PointTargets(mask, positions, threshold, responses(reference.intensity, positions[:ANALYZED]))


def _targets(reference: Reference) -> PointTargets:
    found = scene_targets(reference)
    if not len(found.positions):
        raise UndefinedMetric("the reference has no point target")
    return found


@once
def detections(case: Comparison) -> tuple[float, float]:
    """Detections kept and invented, at the threshold of the reference."""
    targets = scene_targets(case.reference)
    return kept_and_invented(targets.mask, detect(case.intensity, case.valid, targets.threshold))


@once
def peak_errors(case: Comparison) -> np.ndarray:
    """Error in dB of the highest sample within one of each target's position, against the reference's peak: 1-D."""
    from scipy.ndimage import maximum_filter

    rows, columns = _targets(case.reference).positions.T
    test = np.where(case.valid, case.db, -np.inf)
    highest = maximum_filter(test, 3, mode="nearest")[rows, columns]
    if np.isinf(highest).any():
        raise UndefinedMetric("a target became an exact zero")
    return highest - case.reference.db[rows, columns]


@once
def response_changes(case: Comparison) -> np.ndarray:
    """Change of relative width, PSLR (dB) and ISLR (dB), one row per cut, NaN without one: shape (cuts, 3)."""
    targets = _targets(case.reference)
    changes = responses(case.intensity, targets.positions[:ANALYZED]) - targets.responses
    changes[..., 0] /= targets.responses[..., 0]
    return changes.reshape(-1, 3)


def _median_change(case: Comparison, which: int) -> float:
    changes = response_changes(case)[:, which]
    changes = changes[np.isfinite(changes)]
    if not changes.size:
        raise UndefinedMetric("no target has a cut to measure: too near the rim or nodata, or nothing but clutter")
    return np.median(changes)


_POSITIVE, _SIGNED = (0, np.inf), (-np.inf, np.inf)
_CFAR, _CUMMING = "Finn & Johnson 1968", "Cumming & Wong 2005, ch. 2"
for _name, _label, _unit, _better, _range, _source, _compute in (
    ("targets", "Point targets", "1", "higher", _POSITIVE, _CFAR, lambda c: len(scene_targets(c.reference).positions)),
    ("targets_kept", "Detections kept", "1", "higher", (0, 1), _CFAR, lambda c: detections(c)[0]),
    ("targets_invented", "Detections invented", "1", "lower", _POSITIVE, _CFAR, lambda c: detections(c)[1]),
    ("target_peak_error_db", "Mean |peak error| of targets", "dB", "lower", _POSITIVE, "definition",
     lambda c: np.abs(peak_errors(c)).mean()),
    ("target_peak_bias_db", "Mean peak error of targets", "dB", "zero", _SIGNED, "definition",
     lambda c: peak_errors(c).mean()),
    ("target_width_change", "Relative change of 3 dB width", "1", "zero", (-1, np.inf), _CUMMING,
     lambda c: _median_change(c, 0)),
    ("target_pslr_change_db", "Change of PSLR", "dB", "zero", _SIGNED, _CUMMING, lambda c: _median_change(c, 1)),
    ("target_islr_change_db", "Change of ISLR", "dB", "zero", _SIGNED, _CUMMING, lambda c: _median_change(c, 2)),
):  # fmt: skip
    define(_name, _label, _unit, _better, "intensity", _source, valid_range=_range, group="targets")(_compute)
