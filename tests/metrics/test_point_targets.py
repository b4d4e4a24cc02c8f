"""Point targets: the detector's false alarms, and the impulse response of an ideal sinc²."""

import numpy as np
import pytest
from scipy.stats import gamma

from sarlab.metrics import Comparison, Reference, UndefinedMetric, point_targets, score

CLIP = (-25.0, 5.0)


def targets(intensity, looks):
    return point_targets.scene_targets(Reference(10 * np.log10(intensity), looks=looks))


def test_impulse_response_of_sinc_squared():
    """3 dB width 0.8859 / bandwidth, highest sidelobe −13.26 dB; ISLR over the cut by quadrature."""
    bandwidth = 0.4
    x = np.arange(-128, 129)
    response = point_targets.impulse_response(7 * np.sinc(bandwidth * x) ** 2)
    assert response.width == pytest.approx(0.8859 / bandwidth, rel=0.003)
    assert response.pslr == pytest.approx(-13.26, abs=0.05)
    assert response.islr == pytest.approx(-9.68, abs=0.15)
    # a Gaussian off the grid
    x = np.arange(-16, 17)
    response = point_targets.impulse_response(np.exp(-((x - 0.3) ** 2) / (2 * 1.5**2)))
    assert response.width == pytest.approx(2 * np.sqrt(2 * np.log(2)) * 1.5, rel=0.002)


def test_false_alarms_are_rare_and_targets_are_found_once_strongest_first():
    for looks in (1.0, 4.4):
        speckle = np.random.default_rng(0).gamma(looks, 1 / looks, (1024, 1024))
        # the ring of 360 samples is a noisy mean: a few more than the nominal 1e-7
        assert len(targets(speckle, looks).positions) <= 5
        assert gamma.sf(targets(np.ones((21, 21)), looks).threshold, looks, scale=1 / looks) == pytest.approx(1e-7)
    assert targets(np.ones((21, 21)), 64.0).threshold == pytest.approx(10**0.6)
    image = np.random.default_rng(1).gamma(4, 1 / 4, (200, 200))
    image[50, 60], image[120:122, 90:92], image[150, 30] = 100, 400, 50
    found = targets(image, 4.0)
    assert [tuple(position) for position in found.positions] == [(120, 90), (50, 60), (150, 30)]


@pytest.mark.parametrize("looks", [1.0, 4.4, 16.0])
def test_the_false_alarm_rate_of_the_detector_is_the_design_rate(looks):
    speckle, cells = np.random.default_rng(0).gamma(looks, 1 / looks, (1500, 1500)), point_targets.RING_CELLS
    for rate in (1e-2, 1e-3):
        threshold = point_targets.cfar_threshold(looks, rate)
        found = point_targets.exceeds(speckle, speckle > 0, threshold).mean()
        assert found == pytest.approx(rate, rel=5 / np.sqrt(rate * speckle.size))
    assert point_targets.cfar_threshold(1.0, 1e-5) == pytest.approx(cells * (1e-5 ** (-1 / cells) - 1))


def test_the_ring_of_the_detector_is_the_mean_of_its_valid_samples():
    rng = np.random.default_rng(3)
    for valid in (rng.random((60, 60)) > 0.3, np.ones((60, 60), bool)):
        intensity = np.where(valid, rng.gamma(1, 1, (60, 60)), np.nan)
        found = point_targets.exceeds(intensity, valid, 1.5)
        ring = np.lib.stride_tricks.sliding_window_view(intensity, (21, 21)).copy()
        ring[..., 6:15, 6:15] = np.nan
        assert (found[10:-10, 10:-10] == (intensity[10:-10, 10:-10] > 1.5 * np.nanmean(ring, axis=(2, 3)))).all()
        assert not found[~valid].any()


def test_targets_are_kept_within_two_samples_lost_or_invented():
    reference, test = np.zeros((2, 50, 50), bool)
    reference[10, 10] = reference[30, 30] = reference[40, 10] = reference[5, 40] = True
    test[12, 11] = test[30, 34] = test[40, 10] = True
    assert point_targets.kept_and_invented(reference, test) == (0.5, 0.25)
    recorded = 10 * np.log10(np.random.default_rng(2).gamma(4, 1 / 4, (200, 200)))
    for place in ((40, 40), (40, 160), (160, 40), (160, 160)):
        recorded[place] = 20
    test = recorded.copy()
    test[40, 40] = 0
    test[100, 100] = 18
    scores = score(recorded, test, clip=CLIP, looks=4)
    assert scores["targets"] == 4
    assert scores["targets_kept"] == 0.75
    assert scores["targets_invented"] == 0.25
    assert scores["target_peak_bias_db"] == pytest.approx(-20 / 4, abs=1.5)


def test_peaks_are_sought_one_sample_around_and_widths_compared_with_the_original():
    recorded = np.full((100, 100), -10.0)
    recorded[20, 20] = recorded[50, 50] = 10
    test = recorded.copy()
    test[50, 50], test[51, 51] = 3.0, 8.5
    test[48, 48] = test[52, 52] = 9.0
    assert point_targets.peak_errors(Comparison(recorded, test, looks=4)) == pytest.approx([0, -1.5])
    test[19:22, 19:22] = -np.inf
    with pytest.raises(UndefinedMetric, match="exact zero"):
        point_targets.peak_errors(Comparison(recorded, test, looks=4))
    x = np.arange(128) - 64.0
    before, after = (
        100 * np.exp(-((x[:, None] / down) ** 2 + (x / across) ** 2) / 2) + 1e-3
        for down, across in ((1.2, 1.5), (1.8, 2.25))
    )
    scores = score(10 * np.log10(before), 10 * np.log10(after), clip=CLIP, looks=4)
    assert scores["target_width_change"] == pytest.approx(0.5, abs=0.01)
    assert scores["target_peak_error_db"] == pytest.approx(0, abs=1e-3)
    cuts = [
        [point_targets.impulse_response(cut) for cut in (image[48:81, 64], image[64, 48:81])]
        for image in (before, after)
    ]
    (found,), (rim,) = (point_targets.responses(np.roll(before, k, axis=0), np.array([(64 + k, 64)])) for k in (0, 48))
    assert found[:, 0] == pytest.approx([2.3548 * 1.2, 2.3548 * 1.5], rel=0.01)
    assert found == pytest.approx(np.array(cuts[0]), nan_ok=True)
    assert rim == pytest.approx(np.array([[np.nan] * 3, found[1]]), nan_ok=True)
    changes = np.nanmedian(np.subtract(cuts[1], cuts[0]), axis=0)
    found = [scores["target_pslr_change_db"], scores["target_islr_change_db"]]
    assert found == pytest.approx(list(changes[1:]))
