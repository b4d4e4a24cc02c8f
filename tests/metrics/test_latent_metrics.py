"""Entropies and rank of latents of known law."""

import numpy as np
import pytest

from sarlab.errors import MetricError
from sarlab.metrics.latent import (
    channel_entropies,
    dead_channels,
    effective_rank,
    entropy_of_counts,
    joint_entropy,
    level_usage,
    pooled_entropy,
    spatial_entropy_rate,
)


def test_entropy_of_counts_is_scipys():
    from scipy.stats import entropy

    counts = np.array([5, 0, 3, 9, 1])
    assert entropy_of_counts(counts, corrected=False) == pytest.approx(entropy(counts, base=2))


def test_miller_madow_takes_most_of_the_bias_away():
    rng = np.random.default_rng(0)
    draws = rng.integers(0, 16, (400, 60))
    plain = np.mean([entropy_of_counts(np.bincount(d), corrected=False) for d in draws])
    corrected = np.mean([entropy_of_counts(np.bincount(d)) for d in draws])
    assert plain < 4 - 0.15
    assert corrected == pytest.approx(4, abs=0.03)


def test_channels_of_known_entropy():
    rng = np.random.default_rng(1)
    symbols = np.stack([rng.integers(0, 4, (200, 200)), rng.integers(0, 2, (200, 200)), np.zeros((200, 200), int)])
    assert channel_entropies(symbols) == pytest.approx([2, 1, 0], abs=1e-3)
    assert joint_entropy(symbols) == pytest.approx(3, abs=1e-3)
    assert level_usage(symbols, 4) == pytest.approx([1, 0.5, 0.25])
    assert list(dead_channels(symbols)) == [False, False, True]


def test_joint_entropy_of_copies_is_that_of_one():
    symbols = np.random.default_rng(2).integers(0, 8, (100, 100))
    assert joint_entropy(np.stack([symbols] * 3), corrected=False) == pytest.approx(
        channel_entropies(symbols[None], corrected=False)[0]
    )


def test_joint_entropy_of_too_few_samples_says_so():
    symbols = np.random.default_rng(3).integers(0, 256, (16, 16, 16))
    assert "distinct" in joint_entropy(symbols).reason


def test_one_table_for_all_channels_costs_more():
    symbols = np.stack([np.random.default_rng(4).integers(0, 2, (50, 50)) + 2 * k for k in range(4)])
    assert pooled_entropy(symbols) == pytest.approx(3, abs=0.02)
    assert channel_entropies(symbols).mean() == pytest.approx(1, abs=0.01)


def test_entropy_rate_of_a_markov_chain():
    rng = np.random.default_rng(5)
    flips = rng.random((200, 2000)) < 0.1
    chain = np.cumsum(flips, axis=1) % 2
    h = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9))
    assert spatial_entropy_rate(chain[None]) == pytest.approx(h, abs=0.005)
    assert channel_entropies(chain[None])[0] == pytest.approx(1, abs=0.01)
    assert "left" in spatial_entropy_rate(np.zeros((2, 8, 1), int)).reason
    assert "pairs" in spatial_entropy_rate(rng.integers(0, 200, (1, 10, 10))).reason


def test_effective_rank():
    rng = np.random.default_rng(6)
    independent = rng.standard_normal((8, 300, 300))
    assert effective_rank(independent) == pytest.approx(8, rel=1e-3)
    assert effective_rank(np.stack([independent[0]] * 8)) == pytest.approx(1)
    assert effective_rank(independent * np.array([1, 1, 0, 0, 0, 0, 0, 0])[:, None, None]) == pytest.approx(2, rel=1e-3)
    assert "no channel" in effective_rank(np.zeros((4, 5, 5))).reason
    assert "one place" in effective_rank(np.zeros((4, 1, 1))).reason


def test_images_are_pooled_and_wrong_latents_refused():
    symbols = np.random.default_rng(7).integers(0, 4, (3, 2, 20, 20))
    assert channel_entropies(symbols)[0] == pytest.approx(entropy_of_counts(np.bincount(symbols[:, 0].ravel())))
    assert channel_entropies(symbols.astype(float)) == pytest.approx(channel_entropies(symbols))
    for wrong, message in ((np.zeros((4, 4)), "channels, height"), (np.full((1, 2, 2), 0.5), "integers")):
        with pytest.raises(MetricError, match=message):
            channel_entropies(wrong)
    with pytest.raises(MetricError, match="levels"):
        level_usage(symbols, 3)
