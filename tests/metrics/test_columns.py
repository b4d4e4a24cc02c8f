"""The registry of columns, `score`, and what happens on images for which a metric has no value."""

import math
import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import MetricError
from sarlab.metrics import Comparison, Metric, Reference, Undefined, UndefinedMetric, define, described, metrics, score
from sarlab.metrics.columns import GROUPS, Window, eroded, fill_invalid, once

CLIP = (-25.0, 5.0)
#: Every metric, the optional ones too.
score_all = partial(score, columns=list(metrics))


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(1)
    clean = np.full((200, 200), -12.0)
    clean[:, 90:] = -5
    recorded = clean + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, clean.shape))
    recorded[60, 40] = 15.0
    return recorded, recorded + rng.normal(0, 0.7, clean.shape), clean


def test_every_column_is_described_and_inside_its_range(scene):
    recorded, test, clean = scene
    scores = score_all(recorded, test, clip=CLIP, looks=4.4, clean_db=clean)
    assert set(scores) == set(metrics)
    assert not scores.reasons, scores.reason
    for metric in described():
        assert all((metric.label, metric.source, metric.domain))
        assert metric.unit in ("dB", "bit", "1")
        assert metric.group in GROUPS
        low, high = metric.valid_range
        assert low <= scores[metric.name] <= high, metric
    # a reference made once gives the same scores
    reference = Reference(recorded, clip=CLIP, looks=4.4, clean_db=clean)
    assert dict(score_all(reference, test)) == dict(scores)
    assert scores["rmse_clean_db"] == score(clean, test, clip=CLIP)["rmse_db"]


def test_a_new_metric_is_one_function_and_one_registration(scene):
    @define("median_error_db", "Median |error|", "dB", "lower", "dB", "a user's own", group="own")
    def median_error(case: Comparison) -> float:
        return np.median(np.abs(case.db - case.reference.db)[case.valid])

    try:
        scores = score(*scene[:2], clip=CLIP)
        assert scores["median_error_db"] == pytest.approx(0.7 * 0.6745, rel=0.03)
        assert list(scores)[-1] == "median_error_db"
        with pytest.raises(MetricError, match="registered twice"):
            define("median_error_db", "", "1", "zero", "", "")(lambda case: 0.0)
    finally:
        metrics._items.pop("median_error_db")


def test_reasons_are_gathered_into_one_line(scene):
    columns = ["psnr_db", "psnr_clean_db", "ssim_clean", "ms_ssim_clean", "rmse_clean_db"]
    scores = score(*scene[:2], clip=CLIP, columns=columns)
    assert scores.reason == "no clean scene is known (psnr_clean_db, ssim_clean, ms_ssim_clean and 1 more)"
    empty = score(np.full((20, 20), np.nan), np.zeros((20, 20)), clip=CLIP)
    assert empty.reason == "the reference has no valid sample"
    value = pickle.loads(pickle.dumps(Undefined("too small")))
    assert math.isnan(value)
    assert value.reason == "too small"
    # a metric without a value is remembered as such
    calls = []

    @once
    def undefined(reference):
        calls.append(1)
        raise UndefinedMetric("never")

    reference = Reference(np.zeros((5, 5)), clip=CLIP)
    for _ in range(2):
        with pytest.raises(UndefinedMetric, match="never"):
            undefined(reference)
    assert len(calls) == 1


def test_windows_of_valid_samples_are_those_of_a_plain_view():
    image = np.random.default_rng(2).normal(size=(13, 17))
    for valid in (image > -1.8, image < 9):
        expected = np.pad(np.lib.stride_tricks.sliding_window_view(valid, (5, 5)).all(axis=(2, 3)), 2)
        assert (eroded(valid, 2) == expected).all()
        assert (fill_invalid(image, valid) == np.where(valid, image, image[valid].mean())).all()
    assert (image[Window(2, 3, 4, 5).slices] == image[2:6, 3:8]).all()


def assert_defined(scores):
    assert set(scores) == set(metrics)
    for name, value in scores.items():
        assert type(value) is float
        assert not math.isinf(value), name
        assert math.isnan(value) == (name in scores.reasons), name
        assert scores.reasons.get(name, "a reason").strip()


@pytest.mark.parametrize("shape", [(1, 1), (17, 1000), (200, 180)])
@pytest.mark.parametrize("fill", [np.nan, -10.0, -np.inf, 1e4])
def test_constant_and_small_images_are_defined(shape, fill):
    image = np.full(shape, fill)
    assert_defined(score_all(image, image, clip=CLIP))
    assert_defined(score_all(image, image, clip=CLIP, looks=1.0, clean_db=image))
    x, noise = np.random.default_rng(3).normal(-10, 5, (2, *shape))
    assert_defined(score_all(x, x + noise / 5, clip=CLIP, looks=1.0, clean_db=x * 0 - 10))


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_images_with_nodata_are_defined_and_blind_to_what_lies_there(share):
    rng = np.random.default_rng(4)
    x = rng.normal(-10, 5, (200, 200))
    x[rng.random(x.shape) < share] = np.nan
    y = np.where(np.isnan(x), 999.0, x + 1)
    scores = score_all(x, y, clip=CLIP, looks=4)
    assert_defined(scores)
    other = score_all(x, np.where(np.isnan(x), np.nan, x + 1), clip=CLIP, looks=4)
    assert dict(scores) == pytest.approx(dict(other), nan_ok=True)
    assert scores["rmse_db"] == pytest.approx(1)
    assert scores["bias_db"] == pytest.approx(1)


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30)
def test_wild_values_are_defined(seed, rows, columns):
    rng = np.random.default_rng(seed)
    wild = np.array([np.nan, -np.inf, -1e5, -300.0, -30.0, -10.0, 0.0, 20.0, 400.0, 1e5])
    x, y = rng.choice(wild, (2, rows, columns))
    assert_defined(score_all(x, y, clip=CLIP, clean_db=rng.choice(wild, x.shape)))
    assert_defined(score_all(x, np.where(np.isnan(x), np.nan, -12.0), clip=CLIP, looks=2.0))


def test_wrong_calls_are_refused(scene):
    recorded, test, _ = scene
    assert Reference(recorded, windows=[(199, 0, 1, 200)]).windows == [(199, 0, 1, 200)]
    for call, message in (
        (lambda: score(recorded, test), "clip"),
        *((lambda clip=clip: Reference(recorded, clip=clip), "clip") for clip in ((3, 3), (5, -5), (np.nan, 3), 7, (-9, np.inf))),
        (lambda: score(recorded[None], test[None], clip=CLIP), "height, width"),
        (lambda: score(recorded, test[:5], clip=CLIP), "shape"),
        (lambda: score(np.empty((0, 3)), np.empty((0, 3)), clip=CLIP), "empty"),
        (lambda: score(recorded, test, clip=CLIP, looks=0), "looks"),
        (lambda: score(recorded, test, clip=CLIP, clean_db=test[:3]), "clean"),
        *((lambda place=place: Reference(recorded, windows=[place]), "window")
          for place in ((190, 0, 32, 32), (0, 190, 32, 32), (-1, 0, 9, 9), (0, -1, 9, 9), (0, 0, 0, 9), (0, 0, 9, 0))),
        (lambda: score(recorded * 1j, test, clip=CLIP), "complex"),
        (lambda: score(Reference(recorded, clip=CLIP), test, clip=CLIP), "Reference"),
        (lambda: score(Reference(recorded), test), "clip"),
        (lambda: score(recorded, test, clip=CLIP, columns=["psrn"]), "unknown metric 'psrn'"),
        (lambda: Metric("x", "x", "1", "up", "", "", lambda case: 0.0), "better"),
    ):  # fmt: skip
        with pytest.raises(MetricError, match=message):
            call()
