"""Dependent quantization: no sequence is cheaper, and the gain is that of Ungerboeck's codes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarlab.codec.trellis import COSTED, LANES, OFFSETS, SEGMENT, Costs, search, trellis

NO_OFFSETS = np.zeros((1, 2, OFFSETS), np.float32)
FREE = np.zeros((1, 1, 2, COSTED), np.float32)


def quantized(y, states, weight=0.0, costs=FREE, offsets=NO_OFFSETS):
    """Integers and points in fine steps of a band (channels, h, w)."""
    y, channels = np.asarray(y, np.float32), np.arange(len(y))
    latent, activity, costs = (
        np.zeros(y.shape, np.int32),
        np.zeros(y.shape, np.uint8),
        Costs(costs, offsets, np.float32(weight)),
    )
    search(y, np.ones(y.shape, bool), 0 * channels, activity, channels, costs, trellis(states), latent)
    return (latent + (latent > 0)) >> 1, latent


def walk(integers, states):
    """Points of a sequence of integers, and the quantizer of each, as a decoder finds them."""
    state, quantizers, after = 0, [], trellis(states).after.tolist()
    for k in integers.tolist():
        quantizers.append(state & 1)
        state = after[state][k & 1]
    return 2 * integers - np.array(quantizers) * np.sign(integers), np.array(quantizers)


@given(
    hnp.arrays(np.float32, st.integers(1, 4), elements=st.floats(-5, 5, width=32)),
    st.sampled_from([1, 4, 8]), st.sampled_from([0.0, 0.26]), st.integers(0, 100),
)  # fmt: skip
@settings(max_examples=150)
def test_no_sequence_is_cheaper(y, states, weight, seed):
    """Against all sequences of integers near the values, with costs that grow with the magnitude."""
    rng = np.random.default_rng(seed)
    costs = rng.uniform(0, 2, (1, 1, 2, COSTED)).cumsum(-1).astype(np.float32)
    offsets = rng.uniform(-0.2, 0.1, NO_OFFSETS.shape).astype(np.float32)

    def cost(integers):
        points, quantizers = walk(integers, states)
        moved = offsets[0, quantizers, np.clip(np.abs(integers), 1, OFFSETS) - 1] * np.sign(points)
        return float((np.square(y - points - moved) + weight * costs[0, 0, quantizers, np.abs(integers)]).sum())

    k, latent = (part.ravel() for part in quantized(y[:, None, None], states, weight, costs, offsets))
    assert (walk(k, states)[0] == latent).all()
    near = [sorted({int(m if v >= 0 else -m) for m in range(2 if abs(v) < 0.75 else 5)}, key=abs) for v in y]
    # The search looks at two magnitudes of each parity and zero; more than one step too small is never worth its bits here.
    assert cost(k) == pytest.approx(min(cost(np.array(s)) for s in itertools.product(*near)), abs=1e-3)


@given(hnp.arrays(np.float32, st.integers(1, 70), elements=st.floats(-1e7, 1e7, width=32)))
def test_any_value_has_a_point(y):
    points = quantized(y[:, None, None], 8, 0.26)[1].ravel()
    assert (np.abs(y - points) <= 4 + 1e-6 * np.abs(y)).all()


#: Marcellin and Fischer 1990, table of uniform sources: dB that a trellis gains on a uniform quantizer of twice the fine step.
GAINS = {4: 0.99, 8: 1.09, 16: 1.16, 32: 1.22, 64: 1.27, 256: 1.33}


@pytest.mark.parametrize("states", GAINS)
def test_the_gain_at_high_rates_is_the_published_one(states):
    y = np.random.default_rng(1).uniform(50, 300, (2500, LANES + 3, SEGMENT)).astype(np.float32)
    error = np.mean(np.square(y - quantized(y, states)[1]))
    # The uniform quantizer's error is (2²)/12.
    assert -10 * np.log10(3 * error) == pytest.approx(GAINS[states], abs=0.03)
