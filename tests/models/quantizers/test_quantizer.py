"""The contract of all quantizers: exact packing, clear errors, half a step of error, training views; float formats."""

import contextlib
import copy
import itertools

import numpy as np
import pytest
import torch
from draws import normal, ready, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.errors import BitstreamError, PlanError, QuantizerError
from sarlab.models.quantizers import TRAINING_VIEWS, build_quantizer, quantizers
from sarlab.models.quantizers.quantizer import MAX_EXTENT, pack_bits, read_header, unpack_bits, write_header
from sarlab.specs import QuantizerSpec

#: Scheme, bits and further fields of specifications.
ALL = [
    ("float32", 32, {}), ("float16", 16, {}), ("bfloat16", 16, {}), ("affine", 8, {}), ("trellis", 1, {}), ("lsq", 5, {}),
    ("affine", 10, {"granularity": "tensor", "calibration": "percentile"}), ("guide", 4, {}), ("guide", 12, {}),
    *((scheme, 4, {"calibration": "mse"}) for scheme in ("affine", "allocated", "companded", "trellis", "fsq")),
]  # fmt: skip
#: Scheme → bits that are compared with each other.
BITS = {
    "affine": range(2, 11), "allocated": range(1, 9), "companded": range(2, 7), "trellis": range(1, 7), "fsq": range(2, 9), "lsq": range(2, 11),
    "guide": range(2, 9), "float16": (16,), "bfloat16": (16,), "float32": (32,),
}  # fmt: skip
SCHEMES = [
    ("float16", 16), ("affine", 4), ("allocated", 4), ("companded", 4), ("trellis", 4), ("lsq", 4), ("fsq", 4), ("guide", 4)
]  # fmt: skip


def latent(*shape: int, seed: int = 0) -> torch.Tensor:
    """Gaussian latent whose channels differ in scale and mean."""
    scale = torch.logspace(1, -2, shape[1]).view(1, -1, 1, 1)
    return normal(*shape, seed=seed) * scale + scale.flip(1)


def view(quantizer, y: torch.Tensor, seed: int = 0, progress: float = 0.0) -> torch.Tensor:
    quantizer.generator.manual_seed(seed)
    quantizer.progress = progress
    return quantizer.training_view(y)


# --- files ------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), n=st.integers(1, 3), h=st.integers(1, 40), w=st.integers(1, 40))
@settings(max_examples=10)
@pytest.mark.parametrize(("scheme", "bits"), [(s, b[-1]) for s, b in BITS.items()] + [("affine", 10), ("allocated", 3)])
def test_every_byte_is_counted_and_every_value_comes_back(scheme, bits, seed, n, h, w):
    quantizer = ready(scheme, bits, latent(2, 3, 16, 16), calibration="mse")
    y = normal(n, 3, h, w, seed=seed)
    data = quantizer.pack(y)
    assert 8 * len(data) == quantizer.bits(y.shape) >= n * h * w * sum(quantizer.widths) + 8 * quantizer.side_bytes
    assert quantizer.pack(quantizer.quantize(y)) == data
    restored = quantizer.unpack(data)
    assert torch.equal(restored, quantizer.rounded(y))
    assert restored.dtype == torch.float32


@pytest.mark.parametrize(("scheme", "bits", "options"), ALL)
def test_a_saved_quantizer_is_the_same_and_damaged_bytes_never_crash_it(scheme, bits, options):
    assert {case[0] for case in ALL} == set(BITS) == set(quantizers), "every scheme is tested"
    quantizer = ready(scheme, bits, latent(2, 6, 16, 16, seed=1), **options)
    data = quantizer.pack(latent(1, 6, 5, 7))
    again = build_quantizer(QuantizerSpec(**quantizer.config()["spec"]), quantizer.config()["channels"])
    again.load_state_dict(quantizer.state_dict())
    assert again.pack(latent(1, 6, 5, 7)) == data
    assert torch.equal(again.unpack(data), quantizer.unpack(data))
    for cut in (b"", data[:2], data[:-1], data + b"\0"):
        with pytest.raises(BitstreamError):
            quantizer.unpack(cut)
    generator = np.random.default_rng(0)
    for _ in range(50):
        damaged = bytearray(data)
        damaged[generator.integers(len(data))] = generator.integers(256)
        with contextlib.suppress(BitstreamError):
            assert torch.isfinite(quantizer.unpack(bytes(damaged))).all()


@given(st.data())
@settings(max_examples=80)
def test_packing_matches_one_big_integer_and_headers_come_back(data):
    widths = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 7, 8, 10, 12, 16, 24, 32]), min_size=1, max_size=5))
    count = data.draw(st.integers(1, 9))
    rows = [data.draw(st.lists(st.integers(0, 2**w - 1), min_size=count, max_size=count)) for w in widths]
    packed = pack_bits(np.array(rows, np.int64), widths)
    total, number = count * sum(widths), 0
    for row, width in zip(rows, widths, strict=True):
        for value in row:
            number = number << width | value
    assert packed == (number << (-total % 8)).to_bytes(-(-total // 8), "big")
    assert unpack_bits(packed, count, widths).tolist() == rows
    shape = data.draw(st.tuples(*[st.integers(1, MAX_EXTENT)] * 3))
    header = write_header(*shape)
    assert len(header) <= 12
    assert read_header(header + packed) == (shape, len(header))


def test_what_does_not_fit_and_damaged_headers_are_refused():
    for value in (-1, 16):
        with pytest.raises(BitstreamError, match="do not fit into 4 bits"):
            pack_bits(np.array([[3, value]]), [4])
    with pytest.raises(BitstreamError, match="damaged"):
        unpack_bits(b"\0\0", 1, [8])
    for data in (b"", b"\x01\x01", b"\x01\x81", b"\xff" * 12, b"\x01\x00\x01"):
        with pytest.raises(BitstreamError):
            read_header(data)
    for shape in ((0, 1, 1), (1, 1, MAX_EXTENT + 1)):
        with pytest.raises(BitstreamError):
            write_header(*shape)
    data = write_header(1, 1, 1) + np.array([np.nan], ">f2").tobytes()
    with pytest.raises(BitstreamError, match="NaN or infinite"):
        build_quantizer(QuantizerSpec("float16", 16), 1).unpack(data)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "bits", "options"), ALL)
def test_bad_latents_are_refused_and_far_values_saturate(scheme, bits, options):
    quantizer = ready(scheme, bits, latent(2, 6, 16, 16, seed=1), **options)
    for value in (np.nan, np.inf, -np.inf):
        y = latent(1, 6, 4, 4)
        y[0, 2, 1, 1] = value
        for use in (quantizer.pack, lambda y: quantizer.calibrate([y])):
            with pytest.raises(QuantizerError, match="NaN or infinite"):
                use(y)
    integers, nothing = torch.zeros(1, 6, 4, 4, dtype=torch.int64), torch.zeros(1, 6, 0, 4)
    for y, message in ((latent(1, 5, 4, 4), "6 channels"), (nothing, "non-empty"), (integers, "floating-point")):
        with pytest.raises(QuantizerError, match=message):
            quantizer.pack(y)
    with pytest.raises(QuantizerError, match="6 channels"):
        quantizer.bits((1, 5, 4, 4))
    for empty in ([], torch.zeros(0, 6, 4, 4), [torch.zeros(0, 6, 4, 4)]):
        with pytest.raises(QuantizerError, match="no latents"):
            quantizer.calibrate(empty)
    if scheme == "guide":
        return
    inside = latent(1, 6, 8, 8, seed=1) * 0.5
    outside = inside.clone()
    outside[0, 0, 3, 3], outside[0, 0, 4, 4] = 3e38, -3e38
    quantized = quantizer.quantize(outside)
    expected = {"float32": 0, "bfloat16": 0}.get(scheme, 2)
    assert quantized.saturated - quantizer.quantize(inside).saturated == expected
    restored = quantizer.dequantize(quantized)[0, 0]
    assert torch.isfinite(restored).all()
    assert restored[3, 3] == restored.max(), "a wrap-around"
    assert restored[4, 4] == restored.min(), "a wrap-around"


def test_impossible_specifications_and_missing_ranges_say_what_is_possible():
    wrong = [("affine", 1), ("affine", 17), ("lsq", 1), ("fsq", 17), ("guide", 32), ("float16", 32), ("trellis", 9)]
    for spec, message in [
        *((QuantizerSpec(scheme, bits), f"bits={bits}") for scheme, bits in wrong),
        (QuantizerSpec("int8", 8), "unknown quantizer 'int8'; known: affine"),
        (QuantizerSpec("affine", 8, granularity="row"), "granularity 'row'"),
        (QuantizerSpec("affine", 8, calibration="best"), "calibration 'best'"),
        (QuantizerSpec("affine", 8, training="hope"), "training 'hope'"),
        (QuantizerSpec("allocated", 4, granularity="tensor"), "granularity 'channel'"),
    ]:
        with pytest.raises(QuantizerError, match=message):
            build_quantizer(spec, 4)
    with pytest.raises(PlanError):
        QuantizerSpec("affine", 0)
    with pytest.raises(QuantizerError, match="at least 1 channel"):
        build_quantizer(QuantizerSpec("affine", 8), 0)
    y = latent(1, 3, 4, 4)
    for scheme in ("affine", "allocated", "lsq", "fsq", "trellis"):
        quantizer = build_quantizer(QuantizerSpec(scheme, 4), 3)
        with pytest.raises(QuantizerError, match="calibrate"):
            quantizer.pack(y)
        assert quantizer.eval()(y) is y


# --- error ------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), bits=st.integers(2, 10), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
@settings(max_examples=25)
@pytest.mark.parametrize(
    ("scheme", "granularity"),
    [("affine", "channel"), ("affine", "tensor"), ("allocated", "channel"), ("lsq", "channel"), ("guide", "tensor")],
)
def test_error_of_uniform_grids_is_at_most_half_a_step_inside_their_range(
    scheme, granularity, seed, bits, scale, shift
):
    y, bits = scale * (latent(2, 3, 16, 16, seed=seed) + shift), min(bits, 8 if scheme == "guide" else 10)
    quantizer = ready(scheme, bits, y, granularity=granularity)
    quantized = quantizer.quantize(y)
    step = quantizer.step_of(y).expand_as(y)
    error = (quantizer.dequantize(quantized) - y).abs()
    inside = step > 0  # a channel without bits has one level and no step
    assert quantized.saturated == 0
    rounding = 4 * torch.finfo(torch.float32).eps * y.abs().max()
    assert (error[inside] <= (0.5 + 1e-3) * step[inside] + rounding).all()
    if scheme == "affine":
        axes = (0, 2, 3) if granularity == "channel" else (0, 1, 2, 3)
        low, high = y.amin(axes, keepdim=True), y.amax(axes, keepdim=True)
        assert torch.allclose(step, (high - low) / (2**bits - 1), rtol=1e-4)
        assert (quantized.integers.amin(axes) == 0).all()
        assert (quantized.integers.amax(axes) == 2**bits - 1).all()


@pytest.mark.parametrize("scheme", [name for name, bits in BITS.items() if len(bits) > 1])
def test_more_bits_never_make_more_error_and_constant_channels_come_back_exactly(scheme):
    y = latent(2, 3, 16, 16)
    found = [ready(scheme, bits, y, calibration="mse").rounded(y) for bits in BITS[scheme]]
    errors = [float((restored - y).square().mean()) for restored in found]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    if scheme in ("affine", "allocated", "lsq", "trellis"):
        y = torch.tensor([3.25, -7.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        quantizer = ready(scheme, 4, y)
        assert torch.equal(quantizer.unpack(quantizer.pack(y)), y)
        assert quantizer.quantize(y).saturated == 0
        assert quantizer.quantize(y + 1).saturated == 16 * sum(width > 0 for width in quantizer.widths)


@pytest.mark.parametrize("scheme", ["allocated", "trellis"])
def test_channels_without_bits_become_their_mean_and_change_no_other(scheme):
    y = normal(2, 3, 16, 16) * torch.tensor([10.0, 1e-4, 8.0]).view(1, 3, 1, 1) + 5
    quantizer = ready(scheme, 2, y, calibration="mse")
    assert quantizer.widths[1] == 0
    restored = quantizer.unpack(quantizer.pack(y))
    assert torch.allclose(restored[:, 1], y[:, 1].mean(), atol=1e-6)
    changed = y.clone()
    changed[:, 1] = 1e6
    assert torch.equal(quantizer.quantize(changed).integers, quantizer.quantize(y).integers)
    assert quantizer.quantize(changed).saturated == quantizer.quantize(y).saturated


@given(st.lists(st.floats(-6e4, 6e4, width=32), min_size=1, max_size=30))
@settings(max_examples=60)
def test_float_formats_are_numpys_and_the_rounded_upper_half(values):
    y, exact = torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1), np.asarray(values, np.float32)
    bits = exact.view(np.uint32).astype(np.uint64)
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(">u2")
    half = exact.astype(np.float16).astype(">f2")
    for scheme, expected in (("float32", exact.astype(">f4")), ("float16", half), ("bfloat16", upper)):
        quantizer = build_quantizer(QuantizerSpec(scheme, 8 * expected.itemsize), 1)
        assert quantizer.pack(y)[-expected.nbytes :] == expected.tobytes()
        assert (torch.abs(quantizer.rounded(y) - y) <= quantizer.step_of(y) / 2).all()


# --- training views ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", TRAINING_VIEWS)
@pytest.mark.parametrize(("scheme", "bits"), SCHEMES)
def test_every_view_is_finite_and_differentiable(scheme, bits, training):
    y = normal(2, 3, 8, 8).requires_grad_()
    quantizer, twin = (build_quantizer(QuantizerSpec(scheme, bits, training=training), 3, seed=5) for _ in range(2))
    seen = view(quantizer, y, seed=5, progress=0.3)
    assert seen.shape == y.shape
    (gradient,) = torch.autograd.grad(seen.sum(), y)
    assert torch.isfinite(seen).all()
    assert float(gradient.abs().sum()) > 0
    assert (seen is y) == (training == "none")
    # in training a quantizer shows this view, in evaluation it rounds
    twin.progress = 0.3
    assert torch.equal(twin(y), seen)
    if training != "none":
        twin.calibrate(y.detach())
        assert torch.equal(twin.eval()(y.detach()), twin.rounded(y.detach()))


@pytest.mark.parametrize(("scheme", "bits"), [case for case in SCHEMES if case[0] not in ("fsq", "trellis")])
def test_noise_is_as_wide_as_the_true_step(scheme, bits):
    y = uniform(8, 2, 32, 32, seed=1) - 0.5
    y *= torch.tensor([1.0, 7.0]).view(1, 2, 1, 1)
    quantizer = ready(scheme, bits, y, training="noise")
    step = quantizer.step_of(y).detach()
    noise, real = (view(quantizer, y, 3) - y).detach() / step, (quantizer.rounded(y) - y) / step
    assert max(float(noise.abs().max()), float(real.abs().max())) <= 0.5 + 1e-3
    assert float(noise.std()) == pytest.approx(12**-0.5, rel=0.03)
    assert float(noise.square().mean()) == pytest.approx(float(real.square().mean()), rel=0.1)


@pytest.mark.parametrize("scheme", ["affine", "guide"])
def test_guide_noise_is_of_the_unit_range_whatever_the_latent(scheme):
    y = normal(4, 2, 32, 32) * 100
    quantizer = ready(scheme, 6, y, training="guide-noise")
    noise = (view(quantizer, y) - y).double()
    assert float(noise.abs().max()) <= 0.5 / 63 + 2e-5
    assert float(noise.std()) == pytest.approx(1 / 63 / 12**0.5, rel=0.05)
    assert float(quantizer.step_of(y).mean()) > 100 / 63


@pytest.mark.parametrize(("scheme", "bits"), [case for case in SCHEMES if case[0] != "trellis"])
def test_straight_through_shows_real_rounding_and_mixed_only_later(scheme, bits):
    y = normal(2, 3, 8, 8)
    for training, progress, rounded in (("ste", 0, True), ("mixed", 0.49, False), ("mixed", 0.5, True)):
        quantizer = ready(scheme, bits, y, training=training)
        before = copy.deepcopy(quantizer.state_dict())
        seen = view(quantizer, y, progress=progress)
        quantizer.load_state_dict(before)
        assert torch.allclose(seen, quantizer.rounded(y), atol=1e-5) is rounded


def test_ranges_follow_a_training():
    quantizer = build_quantizer(QuantizerSpec("affine", 8, training="noise"), 2)
    for step in range(60):
        quantizer.training_view(normal(4, 2, 16, 16, seed=step) * (1 + step / 6))
    own = ready("affine", 8, normal(4, 2, 16, 16) * 11)
    ratio = (quantizer.high - quantizer.low) / (own.high - own.low)
    assert (ratio > 0.6).all()
    assert (ratio < 1.15).all()
