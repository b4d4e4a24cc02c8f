"""Entropies of latents and scenes of known distribution; distances of histograms against SciPy and closed forms."""

import zlib
from functools import partial

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from sarlab.errors import MetricError
from sarlab.metrics import Comparison, entropy
from sarlab.metrics.bounds import speckle_entropy

CLIP = (-25.0, 5.0)
compared = partial(Comparison, clip=CLIP)


def test_entropy_of_counts_is_scipys_with_the_miller_madow_correction():
    counts = np.array([5, 0, 3, 9, 1])
    assert entropy.entropy_of_counts(counts) == pytest.approx(stats.entropy(counts, base=2) + 3 / (2 * 18 * np.log(2)))


def test_channels_of_known_entropy():
    rng = np.random.default_rng(1)
    symbols = np.stack([rng.integers(0, 4, (200, 200)), rng.integers(0, 2, (200, 200)), np.zeros((200, 200), int)])
    assert entropy.channel_entropies(symbols) == pytest.approx([2, 1, 0], abs=1e-3)
    assert entropy.joint_entropy(symbols) == pytest.approx(3, abs=1e-3)
    assert entropy.joint_entropy(np.stack([symbols[0]] * 3)) == pytest.approx(entropy.channel_entropies(symbols)[0])
    assert entropy.level_usage(symbols, 4) == pytest.approx([1, 0.5, 0.25])
    assert list(entropy.dead_channels(symbols)) == [False, False, True]
    scaled = rng.standard_normal((50, 50)) * np.array([1, 1.2e-3, 0.9e-3]).reshape(3, 1, 1)
    assert list(entropy.dead_channels(scaled)) == [False, False, True]
    # one table for all channels costs more than one for each
    apart = np.stack([rng.integers(0, 2, (50, 50)) + 2 * k for k in range(4)])
    assert entropy.pooled_entropy(apart) == pytest.approx(3, abs=0.02)
    assert entropy.channel_entropies(apart).mean() == pytest.approx(1, abs=0.01)


def test_entropy_rate_of_a_markov_chain_and_effective_rank():
    chain = np.cumsum(np.random.default_rng(5).random((200, 2000)) < 0.1, axis=1) % 2
    h = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9))
    assert entropy.spatial_entropy_rate(chain[None]) == pytest.approx(h, abs=0.005)
    assert entropy.channel_entropies(chain[None])[0] == pytest.approx(1, abs=0.01)
    independent = np.random.default_rng(6).standard_normal((8, 300, 300))
    assert entropy.effective_rank(independent) == pytest.approx(8, rel=1e-3)
    assert entropy.effective_rank(np.stack([independent[0]] * 8)) == pytest.approx(1)
    two = independent * (np.arange(8) < 2)[:, None, None]
    assert entropy.effective_rank(two) == pytest.approx(2, rel=1e-3)


def test_images_are_pooled_and_what_has_no_entropy_is_refused():
    rng = np.random.default_rng(7)
    symbols = rng.integers(0, 4, (3, 2, 20, 20))
    pooled = entropy.entropy_of_counts(np.bincount(symbols[:, 0].ravel()))
    assert entropy.channel_entropies(symbols)[0] == pytest.approx(pooled)
    assert entropy.channel_entropies(symbols.astype(float)) == pytest.approx(entropy.channel_entropies(symbols))
    for call, message in (
        (lambda: entropy.channel_entropies(np.zeros((4, 4))), "channels, height"),
        (lambda: entropy.channel_entropies(np.zeros((1, 0, 4))), "channels, height"),
        *((lambda measure=measure: measure(np.full((1, 2, 2), 0.5)), "integers") for measure in (
            entropy.channel_entropies, entropy.joint_entropy, entropy.pooled_entropy, entropy.spatial_entropy_rate,
            partial(entropy.level_usage, levels=4))),
        (lambda: entropy.entropy_of_counts([0, 0]), "no symbol"),
        (lambda: entropy.level_usage(symbols, 3), "levels"),
        (lambda: entropy.zeroth_order_entropy(np.zeros((4, 4))), "integers"),
        (lambda: entropy.lossless_bpp(symbols[0, 0] - 1, bytes), "65535"),
        (lambda: entropy.lossless_bpp(np.array([[0, 65536]]), bytes), "65535"),
        (lambda: entropy.quantize_db(np.zeros((2, 2)), step_db=0), "step_db"),
    ):  # fmt: skip
        with pytest.raises(MetricError, match=message):
            call()
    assert "distinct" in entropy.joint_entropy(np.arange(100).reshape(1, 10, 10) // 3).reason
    assert np.isfinite(entropy.joint_entropy(np.arange(100).reshape(1, 10, 10) // 4))
    assert np.isfinite(entropy.spatial_entropy_rate(np.arange(101).reshape(1, 1, 101) % 25))
    assert entropy.joint_entropy(symbols[:1, :, :1, :1]) == entropy.spatial_entropy_rate(np.zeros((1, 1, 2), int)) == 0
    assert "left" in entropy.spatial_entropy_rate(np.zeros((2, 8, 1), int)).reason
    assert "pairs" in entropy.spatial_entropy_rate(rng.integers(0, 200, (1, 10, 10))).reason
    assert "no channel" in entropy.effective_rank(np.zeros((4, 5, 5))).reason
    assert "one position" in entropy.effective_rank(np.zeros((4, 1, 1))).reason


def test_quantized_decibels_are_within_half_a_step_mark_nodata_and_have_the_differential_entropy_less_log_step():
    db = 10 * np.log10(np.random.default_rng(0).gamma(4.4, 1 / 4.4, (1000, 1000)))
    expected = (speckle_entropy(4.4) + np.log(10 / np.log(10))) / np.log(2) - np.log2(0.1)
    assert entropy.zeroth_order_entropy(entropy.quantize_db(db, step_db=0.1)) == pytest.approx(expected, abs=0.02)
    levels = entropy.quantize_db(db, step_db=0.25)
    assert levels.min() == 0
    offset = db - levels * 0.25
    assert np.ptp(offset) <= 0.25
    db[0, :5] = np.nan
    marked = entropy.quantize_db(db, step_db=0.25)
    assert (marked[0, :5] == 0).all()
    assert (marked[1:] - levels[1:] == marked[1:].min() - levels[1:].min()).all()
    assert marked[~np.isnan(db)].min() == 1


def test_entropy_and_lossless_rate_of_known_samples():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert entropy.zeroth_order_entropy(levels) == pytest.approx(8 + 255 / (512 * np.log(2)))
    assert entropy.zeroth_order_entropy(np.zeros((4, 4), np.uint16)) == 0
    samples = np.random.default_rng(2).integers(0, 4, (200, 200))
    found = entropy.lossless_bpp(samples, lambda array: zlib.compress(array.tobytes(), 9))
    assert found == pytest.approx(8 * len(zlib.compress(samples.astype(np.uint8).tobytes(), 9)) / 40_000)
    for most, bits in ((255, 8), (256, 16), (65535, 16)):
        assert entropy.lossless_bpp(np.array([[0, most]]), lambda array: array.tobytes()) == bits


def test_distances_against_scipy():
    rng = np.random.default_rng(0)
    images = rng.normal(-11, 3, (300, 300)), rng.normal(-10, 4, (300, 300))
    case = compared(*images)
    first, second = entropy.histogram(case.reference, CLIP), entropy.histogram(case, CLIP)
    p, q = first / first.sum(), second / second.sum()
    assert entropy.js_divergence(case) == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    assert entropy.kl_divergence(case) == pytest.approx(stats.entropy(first + 0.5, second + 0.5, base=2))
    assert entropy.hellinger(case) == pytest.approx(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2))
    exact = stats.wasserstein_distance(images[0].ravel(), images[1].ravel())
    assert entropy.wasserstein_db(case) == pytest.approx(exact, abs=0.02)
    assert entropy.wasserstein_db(compared(images[0], images[0] + 0.8)) == pytest.approx(0.8, abs=0.02)


def test_bins_are_fixed_by_the_clip_range_and_hold_everything():
    image = np.array([[-1000.0, -40.1, -39.9, 20.1, 400.0, -np.inf]])
    counts = entropy.histogram(compared(image, image), CLIP)
    assert (counts.size, counts.sum(), counts[0], counts[-1]) == (entropy.BINS, 6, 4, 2)
    # a sample in the middle of each bin
    each = -40 + 60 * (np.arange(entropy.BINS) + 0.5) / entropy.BINS
    assert (entropy.histogram(compared(each[None], each[None]), CLIP) == 1).all()
    disjoint = compared(np.full((50, 50), -20.0), np.full((50, 50), 0.0))
    assert entropy.js_divergence(disjoint) == pytest.approx(1)
    assert entropy.hellinger(disjoint) == pytest.approx(1)
    assert np.isfinite(entropy.kl_divergence(disjoint))
