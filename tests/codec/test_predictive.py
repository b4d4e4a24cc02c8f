"""Lossless files and files with a bound on every error."""

import numpy as np
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from raster_files import write

from sarlab.codec.api import compress, compress_file, decompress_file, make_goal
from sarlab.codec.goals import Goal
from sarlab.codec.model_store import load_model, model_path
from sarlab.codec.predictive import LARGEST_BOUND, LEAST_BOUND, LOSSLESS, PredictiveModel, exact_quality
from sarlab.scenes.scene import Scene

MODEL = load_model(model_path("predictive"))


def plane_of(kind, shape, seed):
    """Integers that are hard to predict, or too easy."""
    rng, (h, w) = np.random.default_rng(seed), shape
    return {
        "constant": lambda: np.full(shape, 7),
        "noise": lambda: rng.integers(0, 2, shape) * 60000,
        "ramp": lambda: np.add.outer(3 * np.arange(h), np.arange(w)),
        "spikes": lambda: (rng.random(shape) < 0.05) * 10**6 + rng.poisson(5, shape),
        "extremes": lambda: rng.choice([-(1 << 27), 1 << 27], shape),
        "checkers": lambda: np.add.outer(np.arange(h), np.arange(w)) % 2 * 65535,
    }[kind]()


KINDS = ["constant", "noise", "ramp", "spikes", "extremes", "checkers"]


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=2), height=st.integers(1, 40), width=st.integers(1, 40),
    share=st.sampled_from([0, 0.5, 1]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
def test_any_integers_come_back(kinds, height, width, share, seed):
    y = np.stack([plane_of(kind, (height, width), seed) for kind in kinds])[:, None].astype(np.float32)
    active = (np.random.default_rng(seed).random((len(kinds), height, width)) < share).astype(np.uint8)
    latent, data = MODEL.quantize(y, active, LOSSLESS, None)
    assert (latent == y * active[:, None]).all()
    assert (MODEL.decode(data, active, LOSSLESS, None) == latent).all()
    assert MODEL.synthesize(latent, LOSSLESS, None, (True,) * 4).shape == (len(kinds), height, width)


def test_scaled_integers_come_back_exactly(tmp_path):
    """The file has the same numbers, scale and offset, and masks the same, as GDAL reads both."""
    numbers = np.random.default_rng(3).integers(-3000, 500, (2, 70, 90)).astype(np.int16)
    numbers[0, :5], numbers[1, 7] = -32768, 0
    packing = {"scales": (0.01, 0.02), "offsets": (0.0, 7.5)}
    write(tmp_path / "x_db.tif", numbers, nodata=-32768, attributes=packing)
    compress_file(tmp_path / "x_db.tif", tmp_path / "x.sarl", goal=make_goal(lossless=True))
    decompress_file(tmp_path / "x.sarl", tmp_path / "y.tif")
    with rasterio.open(tmp_path / "y.tif") as file:
        assert np.array_equal(file.read(), numbers)
        assert (file.scales, file.offsets, file.nodata) == ((0.01, 0.02), (0.0, 7.5), -32768)


def test_speckle_within_a_bound_costs_what_a_uniform_quantizer_does():
    """White speckle cannot be predicted: the entropy of its multiples of twice the bound."""
    rng = np.random.default_rng(2)
    data = (10 * np.log10(rng.gamma(4.4, 1 / 4.4, (1, 300, 300)))).astype(np.float32)
    coded = compress(Scene(data, "db", ("x",)), max_error_db=0.5)
    share = np.unique(np.rint(data), return_counts=True)[1] / data.size
    ideal = -(share * np.log2(share)).sum()
    assert 8 * len(coded) / data.size < 1.05 * ideal + 0.02


def test_a_bound_becomes_a_quality_that_keeps_it():
    for bound in np.geomspace(LEAST_BOUND, LARGEST_BOUND, 50):
        quality = exact_quality(Goal("max_error_db", bound)).value
        assert quality * 256 == round(quality * 256)
        assert bound * 0.999 < PredictiveModel.step(quality) * 15 + 2e-5 <= bound * (1 + 1e-12)
        assert PredictiveModel.lowest <= quality <= PredictiveModel.highest
