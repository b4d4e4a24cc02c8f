"""The trellis quantizer: its code's free distance, exhaustive search, published errors, and the cost of every file."""

import heapq
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from draws import normal, ready
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sarlab.errors import QuantizerError
from sarlab.models.quantizers import Quantized
from sarlab.models.quantizers import trellis as module
from sarlab.models.quantizers.trellis import NEXT, refined, state_parities

fitted = partial(ready, "trellis", calibration="mse")


def test_free_distance_is_that_of_ungerboecks_code_and_states_follow_the_bits():
    """Squared distance of two paths that part and meet again: at least 10 for 8 states (Ungerboeck 1982, table I)."""
    gap = {0: 0, 1: 1, 2: 4, 3: 1}  # squared distance of subsets that are so many apart, in distances of levels
    # Dijkstra over pairs of states, from every pair that a fork leads to.
    heap, best = [], {}
    for state, row in enumerate(NEXT):
        heap.append((gap[2], row[0], row[1], state))
    least = np.inf
    while heap:
        cost, a, b, start = heapq.heappop(heap)
        if a == b:
            least = min(least, cost)
            continue
        if best.get((a, b), np.inf) <= cost:
            continue
        best[a, b] = cost
        for i, j in itertools.product((0, 1), repeat=2):
            step = gap[(2 * i + a % 2 - 2 * j - b % 2) % 4]
            heapq.heappush(heap, (cost + step, NEXT[a][i], NEXT[b][j], start))
    # Two levels of one subset are 4 apart: parallel paths are at a squared distance of 16.
    assert min(least, 16) == 10
    # 0 −1→ 1 −1→ 3 −0→ 7;  0 −0→ 0 −1→ 1 −0→ 2
    for bits, parities in (([1, 1, 0, 1], [0, 1, 1, 1]), ([0, 1, 0, 1], [0, 0, 1, 0])):
        assert state_parities(np.array(bits)).tolist() == parities


@given(seed=st.integers(0, 10_000), bits=st.integers(1, 2))
@example(seed=127, bits=1)
@settings(max_examples=12)
def test_a_short_latent_gets_the_best_of_all_its_files(seed, bits):
    """Every sequence of integers is tried: none decodes to a smaller squared error than the one that was chosen."""
    quantizer = fitted(bits, normal(4, 2, 16, 16, seed=seed) * torch.tensor([1.0, 0.7]).view(1, 2, 1, 1))
    y = normal(1, 2, 1, 3, seed=seed + 1)
    chosen = float((quantizer.rounded(y) - y).square().sum())
    spans = [range(2**width) for width in quantizer.widths for _ in range(3)]
    every = torch.tensor(list(itertools.product(*spans))).view(-1, 2, 1, 3)
    errors = (quantizer.dequantize(Quantized(every)) - y).square().flatten(1).sum(1)
    assert chosen == pytest.approx(float(errors.min()), rel=1e-5)


#: Signal to noise in dB: of the best levels for values one by one (Max 1960), and of the trellis of 8 states with
#: optimized levels (Marcellin & Fischer 1990); the latter not given for 4 bits.
GAUSSIAN = {1: (4.40, 5.19), 2: (9.30, 10.70), 3: (14.62, 16.33), 4: (20.22, None)}


@pytest.mark.parametrize("bits", GAUSSIAN)
def test_error_of_a_gaussian_is_the_published_one(bits):
    quantizer = fitted(bits, normal(1, 1, 128, 128))
    y = normal(4, 1, 256, 256, seed=1)
    found = -10 * np.log10(float((quantizer.rounded(y) - y).square().mean()))
    scalar, published = GAUSSIAN[bits]
    assert found > scalar + (0.6 if bits == 1 else 1.2)
    if published is not None:
        # Levels of a few thousand values: below the published one, not by much.
        assert published - 0.2 < found < published + 0.02
    # The distance to the rate-distortion bound, 6.02 dB a bit, is never negative.
    assert found < 20 * bits * np.log10(2)


def test_neither_scale_nor_other_images_matter():
    train, y = normal(2, 2, 16, 16), normal(3, 2, 20, 20, seed=1)
    scaled = {scale: fitted(4, train * scale) for scale in (1.0, 1e-30, 1e30)}
    errors = [float((q.rounded(y * scale) / scale - y).square().mean()) for scale, q in scaled.items()]
    assert errors[1:] == pytest.approx([errors[0]] * 2, rel=0.02)
    assert torch.equal(scaled[1].rounded(y), torch.cat([scaled[1].rounded(image[None]) for image in y]))


def test_fitting_never_makes_it_worse_and_few_values_do_not_scatter_levels():
    values = normal(2, 400).double()
    counts = torch.tensor([64, 64])
    start = torch.linspace(-3.5, 3.5, 64).double().expand(2, -1).clone()

    def error(levels: torch.Tensor, of: torch.Tensor) -> float:
        return float((levels.gather(1, module._chosen(of, levels, counts)) - of).square().mean())

    errors = [error(refined(values, start, counts, rounds), values) for rounds in (0, 1, 4, 12)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]
    unseen = normal(2, 8000, seed=1).double()
    assert error(refined(values, start, counts, 12), unseen) < 1.05 * error(start, unseen)


def test_values_more_than_half_a_step_beyond_the_levels_are_counted_and_beyond_float32_refused():
    quantizer = fitted(3, normal(1, 1, 32, 32))
    ends = torch.stack([quantizer.low, quantizer.high]).view(1, 1, 1, 2)
    away = quantizer.step_of(ends) * torch.tensor([-1.0, 1.0])
    for share, count in ((0.45, 0), (0.55, 2)):
        assert quantizer.quantize(ends + share * away).saturated == count
    with pytest.raises(QuantizerError, match="diverged"):
        ready("trellis", 4, torch.tensor([-3.4e38, 3.4e38, 0.0, 1.0]).view(1, 1, 2, 2))


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_noise_is_as_strong_as_the_error(bits):
    y = normal(8, 3, 32, 32) * torch.tensor([5.0, 1.0, 0.3]).view(1, 3, 1, 1)
    quantizer = fitted(bits, y, training="noise")
    clamped = y.clamp(*quantizer._ends())
    noise = quantizer.noisy(y, torch.Generator().manual_seed(1)) - clamped
    error = quantizer.rounded(y) - y
    for channel, width in enumerate(quantizer.widths):
        if width:
            powers = [float(t[:, channel].square().mean()) for t in (noise, error)]
            assert powers[0] == pytest.approx(powers[1], rel=0.1)
