"""Dependent quantization: the trellis, the search through it, its tables and its code."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarlab.codec.hyper import trellis
from sarlab.codec.hyper.latent_quantizers import LEAST_INDEX, ScalarQuantizer, TrellisQuantizer
from sarlab.codec.hyper.trellis_tables import LARGEST_COUNTED, TrellisTables, fitted_tables, foreseen, histogram
from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import INDICES, TABLES, TOTAL
from sarlab.errors import ModelError

FREE = np.zeros((1, 2, 128), np.float32)


def found(x, price=0.0, costs=FREE, indices=None):
    x = np.asarray(x, np.float32)
    indices = np.zeros(x.shape, np.uint8) if indices is None else indices
    return trellis.search(x, np.full(x.shape, price, np.float32), indices, costs)


def quantizers_of(integers):
    """Quantizer of each of a sequence of integers, as a decoder finds it out."""
    out = np.empty(len(integers), np.int64)

    def parities(places, quantizers):
        out[places] = quantizers
        return integers[places] & 1

    trellis.walk(len(integers), parities)
    return out


# --- the trellis ------------------------------------------------------------------------------------------------------


def test_paths_part_and_meet_like_ungerboecks_code():
    """Two ways out of and into every state, and no two paths that part meet again in fewer than three steps."""
    nexts = trellis.NEXT
    assert sorted(nexts.ravel().tolist()) == sorted([*range(8), *range(8)])
    for state in range(8):
        ends = [{nexts[state, 0]}, {nexts[state, 1]}]
        for _ in range(2):
            assert not ends[0] & ends[1]
            ends = [{int(n) for s in part for n in nexts[s]} for part in ends]
    # Both ways out of a state have points of both parities of one quantizer, so the same value never costs a path twice.
    assert all(len(set(row)) == 2 for row in nexts.tolist())


def test_points_interleave():
    k = np.arange(-4, 5)
    assert trellis.points(k, np.zeros(9, int)).tolist() == [-8, -6, -4, -2, 0, 2, 4, 6, 8]
    assert trellis.points(k, np.ones(9, int)).tolist() == [-7, -5, -3, -1, 0, 1, 3, 5, 7]


@pytest.mark.parametrize("count", [0, 1, 5, 16, 17, 500, 2048, 2049, 40_000])
def test_lanes_share_the_values(count):
    lanes = trellis.lane_count(count)
    assert 1 <= lanes <= max(count, 1)
    assert math.ceil(count / lanes) <= trellis.LONGEST


def test_a_decoder_finds_the_quantizers():
    x = np.random.default_rng(0).normal(0, 5, 3001)
    integers, quantizers = found(x, 0.3)
    assert (quantizers_of(integers) == quantizers).all()
    assert 0.3 < quantizers.mean() < 0.7
    assert not quantizers[: trellis.lane_count(len(x))].any()


# --- the search -------------------------------------------------------------------------------------------------------


@given(
    hnp.arrays(np.float32, st.integers(1, 4), elements=st.floats(-5, 5, width=32)), st.sampled_from([0.0, 0.3, 1.5]),
    st.integers(0, 100),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_no_sequence_is_cheaper(x, price, seed):
    """One lane, against all sequences of integers near the values, with costs that grow with the magnitude."""
    grown = np.random.default_rng(seed).uniform(0, 2, (3, 2, 128)).cumsum(-1).astype(np.float32)
    indices = np.random.default_rng(seed + 1).integers(0, 3, x.shape)
    original = trellis.lane_count
    trellis.lane_count = lambda count: 1
    try:
        integers, quantizers = found(x, price, grown, indices)
        own = cost(x, integers, quantizers, price, grown, indices)
        near = [sorted({int(s * m) for m in range(5) for s in (1, -1)}) for _ in x]
        # Only integers of the value's own sign, or zero, can be best.
        near = [[k for k in ks if k * value >= 0] for ks, value in zip(near, x, strict=True)]
        least = min(
            cost(x, np.array(k), quantizers_of(np.array(k)), price, grown, indices) for k in itertools.product(*near)
        )
    finally:
        trellis.lane_count = original
    # The search looks at two magnitudes of each parity, which is enough unless bits are dearer than that.
    assert own >= least - 1e-3
    if price <= 0.3:
        assert own == pytest.approx(least, abs=0.15)
    if price == 0:
        assert own == pytest.approx(least, abs=1e-3)


def cost(x, integers, quantizers, price, costs, indices):
    errors = np.square(x - trellis.points(integers, quantizers))
    return float((errors + price * costs[indices, quantizers, np.abs(integers)]).sum())


def test_the_gain_at_high_rates():
    """Against a quantizer of twice the step, whose error is a third: 8 states gain 1.1 dB (Marcellin and Fischer, table I)."""
    x = np.random.default_rng(1).uniform(-300, 300, 300_000)
    integers, quantizers = found(x)
    error = np.mean(np.square(x - trellis.points(integers, quantizers)))
    gain = -10 * math.log10(3 * error)
    assert 1.02 < gain < 1.12


def test_a_higher_price_means_smaller_integers():
    x = np.random.default_rng(2).normal(0, 3, 4000)
    costs = np.broadcast_to(np.arange(128, dtype=np.float32), (1, 2, 128)).copy()
    sums = [np.abs(found(x, price, costs)[0]).sum() for price in (0, 0.3, 1.0, 3.0)]
    assert all(a > b for a, b in itertools.pairwise(sums))
    assert not found(np.clip(x, -1, 1), 100.0, costs)[0].any()


@given(hnp.arrays(np.float32, st.integers(0, 70), elements=st.floats(-1e7, 1e7, width=32)))
@settings(deadline=None)
def test_any_value_has_an_integer(x):
    integers, quantizers = found(x, 0.3)
    assert np.abs(integers).max(initial=0) <= trellis.LARGEST_INTEGER
    reached = np.abs(x) < 2 * trellis.LARGEST_INTEGER - 4
    assert (np.abs(x - trellis.points(integers, quantizers))[reached] <= 4).all()


# --- tables -----------------------------------------------------------------------------------------------------------


def test_foreseen_probabilities():
    p = foreseen()
    assert p.shape == (TABLES, 2, LARGEST_COUNTED + 1)
    assert p.sum(-1) == pytest.approx(1, abs=1e-3)
    # Where the step is fine, half of all integers are odd; where it is coarse, none are.
    odd = p[:, :, 1::2].sum(-1)
    assert odd[-1] == pytest.approx(0.5, abs=0.02)
    assert odd[0].max() < 1e-3


@pytest.fixture(scope="module")
def learned():
    """Tables after coding normal values of all scales with those before."""
    rng, tables = np.random.default_rng(3), fitted_tables()
    for _ in range(2):
        indices = np.repeat(np.arange(LEAST_INDEX, 60), 600)
        rng.shuffle(indices)
        x = rng.normal(0, 2.0 ** ((indices - 32.0) / 8))
        integers, quantizers = found(x, 0.3, tables.costs, indices)
        tables = fitted_tables(histogram(integers, quantizers, indices))
    return tables


def quantizer(tables):
    """With Gaussian tables for the values out of the trellis."""
    return TrellisQuantizer(tables, ScalarQuantizer(np.zeros((1, INDICES), int), np.arange(INDICES)[None]))


def coded(coder, scaled, indices, price=0.3):
    steps, code = coder.choose(0, scaled.astype(np.float32), indices, np.full(scaled.shape, price, np.float32))
    encoder = RangeEncoder()
    coder.encode(encoder, 0, code)
    return steps, code, encoder.finish()


def test_learned_tables_cost_what_files_cost(learned):
    rng = np.random.default_rng(4)
    indices = rng.integers(0, 100, (300, 40)).astype(np.uint8)
    scaled = rng.normal(0, 2.0 ** ((indices - 32.0) / 8))
    coder = quantizer(learned)
    steps, code, data = coded(coder, scaled, indices)
    assert 8 * len(data) == pytest.approx(coder.bits(0, code), rel=1e-2, abs=64)
    assert (coder.decode(RangeDecoder(data), 0, indices) == steps).all()
    # Learned tables are better than foreseen ones for what they were learned from.
    plain = quantizer(fitted_tables())
    assert len(data) < len(coded(plain, scaled, indices)[2])


def test_the_trellis_beats_values_one_by_one(learned):
    """At equal error, in real bytes, for normal values of deviation 2 steps."""
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (200, 100))
    points = {}
    for name, coder, offset in (("trellis", quantizer(learned), 2700 / 4096), ("scalar", quantizer(learned).scalar, 0)):
        points[name] = []
        for log in (-1.5, -0.5, 0.5):
            step = 2.0 ** (log - offset)
            index = np.uint8(np.clip(round(32 - 8 * math.log2(step)), 0, 151))
            price = 2 * math.log(2) / 12 * 4.0 ** (log) / step**2
            steps, _, data = coded(coder, x / step, np.full(x.shape, index), price)
            points[name].append((8 * len(data) / x.size, 10 * math.log10(np.mean(np.square(x - steps * step)))))
    for (rate, error), (other_rate, other_error) in zip(points["trellis"], points["scalar"], strict=True):
        # 6.02 dB a bit.
        assert error + 6.02 * rate < other_error + 6.02 * other_rate - 0.3


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.floats(0.1, 1e5))
@settings(max_examples=20, deadline=None)
def test_whatever_is_coded_comes_back(seed, count, scale):
    """Also where the predicted scale has nothing to do with the value."""
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, INDICES, (count, 3)).astype(np.uint8)
    scaled = rng.normal(0, scale, indices.shape)
    coder = quantizer(fitted_tables())
    steps, _, data = coded(coder, scaled, indices)
    assert (coder.decode(RangeDecoder(data), 0, indices) == steps).all()


def test_damaged_tables_are_refused():
    tables = fitted_tables()
    with pytest.raises(ModelError, match="shapes"):
        TrellisTables(tables.odd[:5], tables.counts)
    with pytest.raises(ModelError, match="impossible counts"):
        TrellisTables(tables.odd * 0 + TOTAL, tables.counts)
    with pytest.raises(ModelError, match="impossible counts"):
        TrellisTables(tables.odd, tables.counts - 10**6)
