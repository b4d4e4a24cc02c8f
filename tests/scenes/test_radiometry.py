"""dB and back, exact zeros, normalizers, local means and gray values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarlab.errors import SceneError
from sarlab.scenes import radiometry
from sarlab.scenes.radiometry import Normalizer, decibels, from_db, to_db
from sarlab.scenes.scene import Scene

images = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
positive = st.floats(2.0**-20, 2.0**20, width=32)


@given(hnp.arrays(np.float32, images, elements=positive))
def test_quantities_agree_with_their_definitions(amplitudes):
    power = amplitudes.astype(float) ** 2
    db = 10 * np.log10(power)
    assert np.allclose(decibels(amplitudes, "amplitude"), db, atol=1e-9)
    assert np.allclose(decibels(power, "intensity"), db, atol=1e-9)
    assert np.allclose(decibels(amplitudes * np.exp(0.7j).astype(np.complex64), "complex"), db, atol=1e-5)


@given(
    st.one_of(
        st.tuples(hnp.arrays(np.uint8, images), st.sampled_from(["amplitude", "intensity"])),
        st.tuples(hnp.arrays(np.uint16, images), st.just("amplitude")),
    )
)
def test_integers_survive_the_way_to_db_and_back(case):
    numbers, quantity = case
    bands = tuple(f"b{i}" for i in range(numbers.shape[0]))
    there = to_db(Scene(numbers, quantity, bands, dtype=str(numbers.dtype)))
    assert np.isfinite(there.data).all()
    back = from_db(there)
    assert (back.quantity, back.dtype) == (quantity, str(numbers.dtype))
    assert np.array_equal(np.rint(back.data), numbers)
    assert np.array_equal(back.data == 0, numbers == 0)


@given(hnp.arrays(np.float32, images, elements=st.one_of(st.just(0.0), st.floats(2.0**-60, 2.0**60, width=32))))
def test_floats_and_their_exact_zeros_survive(values):
    scene = Scene(values, "intensity", tuple(f"b{i}" for i in range(values.shape[0])))
    back = from_db(to_db(scene))
    assert np.array_equal(back.data == 0, values == 0)
    # One unit in the last place of float32 dB at 180 dB is 1.5e-5 dB, that is 3.5e-6 of the intensity.
    assert np.allclose(back.data, values, rtol=5e-6, atol=0)
    # A single band of the scene finds its own floor.
    band = scene.bands[-1]
    assert np.array_equal(from_db(to_db(scene).band(band)).data[0] == 0, values[-1] == 0)


@pytest.mark.parametrize(
    ("samples", "quantity", "dtype", "floor"),
    [
        ([0, 3], "amplitude", "uint8", 20 * np.log10(0.5)),
        ([0, 3], "intensity", "uint16", 10 * np.log10(0.5)),
        ([0, 0.02, 5.0], "intensity", "float32", 10 * np.log10(0.01)),
        ([-np.inf, -30.0, 2.0], "db", "float32", -30 - 10 * np.log10(2)),
    ],
)
def test_the_floor_is_half_of_the_smallest_positive_sample(samples, quantity, dtype, floor):
    scene = Scene(np.array([[samples]]), quantity, ("b",), dtype=dtype)
    assert radiometry.zero_floor_db(scene)[0] == pytest.approx(floor)
    db = to_db(scene)
    assert db.data[0, 0] == pytest.approx([floor, *decibels(scene.data[0, 0, 1:], quantity)])
    assert from_db(db).data[0, 0] == pytest.approx(samples, rel=1e-6)


def test_a_codec_may_disturb_the_floor():
    there = to_db(Scene(np.array([[[0, 1, 7]]]), "amplitude", ("b",), dtype="uint8"))
    noisy = there.with_data(there.data + np.float32([[[1.5, -0.4, 0.2]]]))
    assert (from_db(noisy).data == 0).tolist() == [[[True, False, False]]]


def test_nothing_is_clipped_nodata_stays_and_complex_becomes_intensity():
    there = to_db(Scene(np.array([[[np.nan, 1e-12, 1e12]]]), "intensity", ("b",)))
    assert there.data[0, 0] == pytest.approx([np.nan, -120, 120], nan_ok=True)
    back = from_db(to_db(Scene(np.array([[[3 + 4j, 0]]]), "complex", ("b",), dtype="complex64")))
    assert (back.quantity, back.data[0, 0].tolist()) == ("intensity", pytest.approx([25, 0]))


def test_negative_amplitude_is_refused_with_a_hint():
    with pytest.raises(SceneError, match=r"'here'.*negative intensity.*dB"):
        to_db(Scene(np.array([[[-3.0, 1.0]]]), "intensity", ("b",), name="here"))
    with pytest.raises(SceneError, match="needs a scene in dB"):
        from_db(Scene(np.ones((1, 1, 1)), "intensity", ("b",)))


@given(st.floats(-60, 20), st.floats(0.5, 80), hnp.arrays(np.float64, 7, elements=st.floats(-200, 200)))
def test_normalizer_is_affine_invertible_and_does_not_clip(low, width, samples):
    normalizer = Normalizer(low, low + width)
    assert np.allclose(normalizer.denormalize(normalizer.normalize(samples)), samples, atol=1e-9)
    assert normalizer.normalize(np.array([low, low + width])) == pytest.approx([0, 1], abs=1e-9)


def test_normalizer_is_fitted_to_percentiles_of_valid_samples():
    for low, high in ((1, 1), (2, 1), (np.nan, 1), (0, np.inf)):
        with pytest.raises(SceneError, match="finite low < high"):
            Normalizer(low, high)
    ramp = np.linspace(-30, 0, 10_001, dtype=np.float32).reshape(1, 1, -1)
    other = np.concatenate([ramp, np.full((1, 1, 500), np.nan, np.float32)], -1)
    fitted = radiometry.fit_normalizers([Scene(other, "db", ("VV",))])["VV"]
    assert (fitted.low, fitted.high) == pytest.approx((-29.97, -0.03), abs=1e-3)
    with pytest.raises(SceneError, match="dB"):
        radiometry.fit_normalizers([Scene(ramp**2, "intensity", ("VV",))])
    assert radiometry.fit_normalizer(np.full(9, -7.0)).width == 1, "a constant scene has a range of one decibel"
    with pytest.raises(SceneError, match="nodata"):
        radiometry.fit_normalizer(np.full(3, np.nan))


def test_local_mean_leaves_nodata_out():
    rng = np.random.default_rng(0)
    values = rng.random((60, 60))
    valid = rng.random(values.shape) > 0.3
    window, held = values[10:35, 15:40], valid[10:35, 15:40]
    mean = radiometry.local_mean(np.where(valid, values, np.nan), valid, 25)
    assert mean[22, 27] == pytest.approx(window[held].mean() if valid[22, 27] else 0)
    assert radiometry.local_mean(values, np.ones_like(valid), 25)[22, 27] == pytest.approx(window.mean())


def test_gray_values_of_the_clip_range():
    values = np.array([[np.nan, -50.0, 5.0, np.inf, -np.inf, -10.0, -5.0]])
    assert radiometry.to_gray(values, (-10, 0)).tolist() == [[0, 0, 255, 255, 0, 0, 128]]
    ramp = radiometry.to_gray(np.linspace(-10, 0, 1001)[None], (-10, 0), levels=5)
    assert np.unique(ramp).tolist() == [0, 64, 128, 191, 255]
