"""The trellis quantizer: its code's free distance, exhaustive search, published errors, and the cost of every file."""

import heapq
import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sarlab.errors import QuantizerError
from sarlab.models.quantizers import Quantized, build_quantizer
from sarlab.models.quantizers import trellis as module
from sarlab.models.quantizers.trellis import MOST_ABOVE_AVERAGE, NEXT, STATES, TrellisQuantizer, refined, state_parities
from sarlab.specs import QuantizerSpec


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ready(bits: int, y: torch.Tensor, calibration: str = "mse", training: str = "none") -> TrellisQuantizer:
    quantizer = build_quantizer(QuantizerSpec("trellis", bits, calibration=calibration, training=training), y.shape[1])
    quantizer.calibrate(y)
    return quantizer


def test_every_state_is_entered_twice_by_subsets_of_one_kind():
    entered = [(after, 2 * bit + state % 2) for state, row in enumerate(NEXT) for bit, after in enumerate(row)]
    for state in range(STATES):
        subsets = [subset for after, subset in entered if after == state]
        assert sorted(subsets) in ([0, 2], [1, 3])


def test_free_distance_is_that_of_ungerboecks_code():
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


def test_states_follow_the_bits():
    # 0 −1→ 1 −1→ 3 −0→ 7;  0 −0→ 0 −1→ 1 −0→ 2
    for bits, parities in (([1, 1, 0, 1], [0, 1, 1, 1]), ([0, 1, 0, 1], [0, 0, 1, 0])):
        assert state_parities(np.array(bits)).tolist() == parities


@given(seed=st.integers(0, 10_000), bits=st.integers(1, 2))
@example(seed=127, bits=1)
@settings(max_examples=12, deadline=None)
def test_a_short_latent_gets_the_best_of_all_its_files(seed, bits):
    """Every sequence of integers is tried: none decodes to a smaller squared error than the one that was chosen."""
    quantizer = ready(bits, normal(4, 2, 16, 16, seed=seed) * torch.tensor([1.0, 0.7]).view(1, 2, 1, 1))
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
    quantizer = ready(bits, normal(1, 1, 128, 128))
    y = normal(4, 1, 256, 256, seed=1)
    found = -10 * np.log10(float((quantizer.rounded(y) - y).square().mean()))
    scalar, published = GAUSSIAN[bits]
    assert found > scalar + (0.6 if bits == 1 else 1.2)
    if published is not None:
        # Levels of a few thousand values: below the published one, not by much.
        assert published - 0.2 < found < published + 0.02
    # The distance to the rate-distortion bound, 6.02 dB a bit, is never negative.
    assert found < 20 * bits * np.log10(2)


def test_integers_rise_with_the_values_and_cost_their_bits():
    quantizer = ready(3, normal(2, 4, 32, 32))
    y = normal(1, 4, 24, 24, seed=3)
    quantized = quantizer.quantize(y)
    for channel, width in enumerate(quantizer.widths):
        integers, values = quantized.integers[0, channel].flatten().double(), y[0, channel].flatten().double()
        assert int(integers.max()) < 2**width
        assert np.corrcoef(integers, values)[0, 1] > 0.95
    assert len(quantizer.pack(y)) == 3 + 4 * 24 * 24 * 3 // 8
    assert quantizer.side_bytes == 0


@given(average=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_bits_keep_the_average_and_levels_ascend(average, seed):
    y = normal(2, 6, 16, 16, seed=seed) * torch.logspace(1, -2, 6).view(1, -1, 1, 1)
    quantizer = ready(average, y)
    assert sum(quantizer.widths) == 6 * average
    assert max(quantizer.widths) <= average + MOST_ABOVE_AVERAGE
    for row, width, low, high in zip(quantizer.codebook, quantizer.widths, quantizer.low, quantizer.high, strict=True):
        count = 2 ** (width + 1) if width else 1
        assert (row[:count].diff() >= 0).all()
        assert (row[count:] == row[count - 1]).all()
        assert (float(row[0]), float(row[-1])) == (float(low), float(high))


def test_images_of_a_batch_are_coded_as_if_alone():
    quantizer = ready(4, normal(4, 3, 16, 16))
    y = normal(3, 3, 30, 20, seed=5)
    apart = torch.cat([quantizer.rounded(image[None]) for image in y])
    assert torch.equal(quantizer.rounded(y), apart)


def test_a_channel_without_bits_is_its_mean_and_no_part_of_the_paths():
    scale = torch.tensor([10.0, 1e-4, 8.0]).view(1, 3, 1, 1)
    y = normal(2, 3, 16, 16) * scale
    quantizer = ready(2, y)
    assert quantizer.widths[1] == 0
    restored = quantizer.unpack(quantizer.pack(y))
    assert torch.allclose(restored[:, 1], y[:, 1].mean(), atol=1e-6)
    changed = y.clone()
    changed[:, 1] = 1e6
    assert torch.equal(quantizer.quantize(changed).integers, quantizer.quantize(y).integers)
    assert quantizer.quantize(changed).saturated == quantizer.quantize(y).saturated


def test_saturation_is_counted_and_goes_to_the_end():
    quantizer = ready(4, normal(1, 1, 32, 32))
    y = normal(1, 1, 16, 16).clamp(-1, 1)
    base = quantizer.quantize(y)
    assert base.saturated == 0
    for far in (20.0, 3e38):
        beyond = y.clone()
        beyond[0, 0, 5, 5], beyond[0, 0, 6, 6] = far, -far
        quantized = quantizer.quantize(beyond)
        assert quantized.saturated == 2
        restored = quantizer.dequantize(quantized)[0, 0]
        assert restored[5, 5] >= quantizer.codebook[0, 28]
        assert restored[6, 6] <= quantizer.codebook[0, 3]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(scale):
    train, y = normal(2, 2, 16, 16), normal(1, 2, 20, 20, seed=1)
    plain, scaled = ready(4, train), ready(4, train * scale)
    errors = [float((q.rounded(y * by) / by - y).square().mean()) for q, by in ((plain, 1.0), (scaled, scale))]
    assert errors[1] == pytest.approx(errors[0], rel=0.02)


def test_ranges_other_than_least_error_keep_the_extremes():
    y = normal(1, 2, 32, 32)
    for calibration in ("minmax", "percentile"):
        quantizer = ready(5, y, calibration)
        values = y.movedim(1, 0).flatten(1)
        ends = torch.stack([quantizer.low, quantizer.high])
        if calibration == "minmax":
            assert torch.allclose(ends, torch.stack([values.amin(1), values.amax(1)]), atol=1e-4)
            assert quantizer.quantize(y).saturated == 0
        else:
            assert 0 < quantizer.quantize(y).saturated < 0.01 * y.numel()


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


def test_latents_beyond_float32_are_refused():
    with pytest.raises(QuantizerError, match="diverged"):
        ready(4, torch.tensor([-3.4e38, 3.4e38, 0.0, 1.0]).view(1, 1, 2, 2), "minmax")


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_noise_is_as_strong_as_the_error(bits):
    y = normal(8, 3, 32, 32) * torch.tensor([5.0, 1.0, 0.3]).view(1, 3, 1, 1)
    quantizer = ready(bits, y, training="noise")
    clamped = y.clamp(*quantizer._ends())
    noise = quantizer.noisy(y, torch.Generator().manual_seed(1)) - clamped
    error = quantizer.rounded(y) - y
    for channel, width in enumerate(quantizer.widths):
        if width:
            powers = [float(t[:, channel].square().mean()) for t in (noise, error)]
            assert powers[0] == pytest.approx(powers[1], rel=0.1)


def test_straight_through_shows_the_real_path_with_the_gradient_of_the_identity():
    quantizer = ready(4, normal(2, 3, 16, 16), training="ste")
    y = normal(1, 3, 9, 9, seed=2)
    y[0, 0, 0, 0] = 50.0
    y.requires_grad_()
    seen = quantizer.straight_through(y)
    assert torch.allclose(seen, quantizer.rounded(y), atol=1e-5)
    (gradient,) = torch.autograd.grad(seen.sum(), y)
    assert float(gradient[0, 0, 0, 0]) == 0
    assert int((gradient == 1).sum()) > 0.95 * y.numel()


def test_levels_follow_a_training():
    quantizer = build_quantizer(QuantizerSpec("trellis", 3, calibration="mse", training="ste"), 2)
    for step in range(60):
        quantizer.training_view(normal(4, 2, 16, 16, seed=step) * (1 + min(step, 30) / 6))
    y = normal(8, 2, 16, 16, seed=99) * 6
    own = ready(3, y)
    errors = [float((q.rounded(y) - y).square().mean()) for q in (quantizer, own)]
    assert errors[0] < 1.3 * errors[1]
