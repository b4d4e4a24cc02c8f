"""Frequency tables against SciPy's distributions, and their digest against what version 1 of the format froze."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from sarlab.codec.rangecoder import RangeEncoder
from sarlab.codec.tables import (
    FAMILIES,
    TABLES,
    TOTAL,
    Table,
    best_indices,
    cost_of,
    family_table,
    histograms,
    split_index,
    table_from_histogram,
)
from sarlab.errors import CodecError

CDF = {
    "gaussian": stats.norm.cdf,
    "logistic": stats.logistic(scale=np.sqrt(3) / np.pi).cdf,
    "laplace": stats.laplace(scale=1 / np.sqrt(2)).cdf,
    "heavy": lambda x: (
        stats.laplace.cdf(x, scale=0.5 / np.sqrt(2)) / 2 + stats.laplace.cdf(x, scale=np.sqrt(1.75 / 2)) / 2
    ),
}


@pytest.mark.parametrize("family", range(len(FAMILIES)))
def test_tables_follow_their_distribution(family):
    cdf = CDF[FAMILIES[family]]
    for index in range(TABLES):
        table = family_table(family, index)
        sigma = 2 ** ((index - 32) / 8)
        k = np.arange(table.low, -table.low + 1)
        p = cdf((k + 0.5) / sigma) - cdf((k - 0.5) / sigma)
        wanted = 1 + np.floor((TOTAL - len(table.counts)) * p)
        off = np.abs(table.counts[:-1] - wanted)
        off[-table.low] = 0  # zero takes what is missing to the total
        assert off.max() <= 1, (family, index)  # floats may miss a floor by one
        assert 2 * cdf(-(-table.low + 0.5) / sigma) <= 2**-14 * (1 + 1e-9)
        assert table.low == -1 or 2 * cdf(-(-table.low - 0.5) / sigma) > 2**-14 * (1 - 1e-9)
        # What a mismatch costs: less than 0.1 % of the entropy, or next to nothing where there is none.
        p = np.append(p, 1 - p.sum()).clip(1e-300)
        excess = (p * (np.log2(p) + table.bits())).sum()
        assert excess < 1e-3 * -(p * np.log2(p)).sum() + 2e-4


def test_tables_are_frozen():
    digest = hashlib.sha256()
    for family in range(len(FAMILIES)):
        for index in range(TABLES):
            table = family_table(family, index)
            digest.update(np.array([table.low, len(table.counts), *table.counts], "<i4").tobytes())
    assert digest.hexdigest() == "177da56ebf33bae3d30665c74e1c5098f519f47e63f040c8f3c24fd0278d80c2"


def test_counts_are_probabilities_that_constriction_sees_exactly():
    table = family_table(2, 40)
    assert table.counts.sum() == TOTAL
    assert (table.probabilities * TOTAL == table.counts).all()
    assert (table.counts[:-1] == table.counts[:-1][::-1]).all()


def test_scale_indices_beyond_the_tables_halve_the_value():
    assert split_index(63) == (63, 0)
    assert split_index(64) == (56, 1)
    assert split_index(71) == (63, 1)
    assert split_index(72) == (56, 2)
    for index in range(64, 152):
        number, shift = split_index(index)
        assert number - 32 + 8 * shift == index - 32


def test_histogram_tables():
    table = table_from_histogram(np.array([0, 3, 1]), low=-1)
    assert table.low == -1
    assert table.size == 3
    assert table.counts.tolist() == [1, 49150, 16384, 1]
    assert table_from_histogram(np.zeros(4, int), low=0, escape=False).counts.sum() == TOTAL
    for bad in (np.array([5]), np.zeros(TOTAL, int), np.array([1, -1])):
        with pytest.raises(CodecError):
            table_from_histogram(bad, low=0, escape=False)


def test_bad_tables_are_refused():
    for counts in ([TOTAL], [0, TOTAL], [1, 2, 3]):
        with pytest.raises(CodecError):
            Table(np.array(counts), 0)
    with pytest.raises(CodecError):
        family_table(4, 0)
    with pytest.raises(CodecError):
        family_table(0, 64)


def size(values, index, family):
    encoder = RangeEncoder()
    encoder.encode_indexed(values, np.full(len(values), index), int(family))
    return 8 * len(encoder.finish())


def test_counted_costs_are_those_of_the_coder():
    rng = np.random.default_rng(1)
    scales = 2.0 ** rng.uniform(-3, 9, 30)
    values = np.rint(rng.laplace(size=(30, 400)) * scales[:, None]).astype(np.int64)
    values = np.clip(values, -511, 511)
    families = rng.integers(0, 4, 30)
    indices = best_indices(histograms(values), families)
    sizes = [size(v, i, f) for v, i, f in zip(values, indices, families, strict=True)]
    # The coder ends with up to two bytes.
    assert cost_of(histograms(values), indices, families) == pytest.approx(sum(sizes), rel=2e-3, abs=30 * 16)
    for row in range(0, 30, 5):
        assert sizes[row] <= 1.005 * min(size(values[row], index, families[row]) for index in range(152)) + 16
