"""The contract of all quantizers: exact packing, clear errors, half a step of error, training views."""

import contextlib
import copy
import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sarlab.errors import BitstreamError, ModelError, PlanError, QuantizerError
from sarlab.models.quantizers import TRAINING_VIEWS, build_quantizer, quantizer_from_config, quantizers
from sarlab.specs import QuantizerSpec

ALL = [QuantizerSpec(*of) for of in (("float32", 32), ("float16", 16), ("bfloat16", 16), ("affine", 8), ("trellis", 1))]
ALL += [QuantizerSpec(*of) for of in (("affine", 10, "tensor", "percentile"), ("lsq", 5), ("guide", 4), ("guide", 12))]
ALL += [
    QuantizerSpec(scheme, 4, calibration="mse") for scheme in ("affine", "allocated", "companded", "trellis", "fsq")
]
IDS = [f"{s.scheme}{s.bits}" for s in ALL]
#: Scheme → bits that are compared with each other.
BITS = {
    "affine": range(2, 11), "allocated": range(1, 9), "companded": range(2, 7), "trellis": range(1, 7), "fsq": range(2, 9), "lsq": range(2, 11),
    "guide": range(2, 9), "float16": (16,), "bfloat16": (16,), "float32": (32,),
}  # fmt: skip
SCHEMES = [
    ("float16", 16), ("affine", 4), ("allocated", 4), ("companded", 4), ("trellis", 4), ("lsq", 4), ("fsq", 4), ("guide", 4)
]  # fmt: skip


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latent(*shape: int, seed: int = 0) -> torch.Tensor:
    """Gaussian latent whose channels differ in scale and mean."""
    y = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    scale = torch.logspace(1, -2, shape[1]).view(1, -1, 1, 1)
    return y * scale + scale.flip(1)


def transformed(seed: int, scale: float = 1.0, channels: int = 3) -> torch.Tensor:
    """Channels of different strength with heavy tails, as those of a transform."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(2, channels, 16, 16, generator=generator) * torch.rand(2, channels, 16, 16, generator=generator)
    return scale * y * 4.0 ** -torch.arange(channels).view(1, -1, 1, 1)


def fitted(spec: QuantizerSpec, channels: int = 6):
    quantizer = build_quantizer(spec, channels)
    quantizer.calibrate(latent(2, channels, 16, 16, seed=1))
    return quantizer


def ready(scheme: str, bits: int, y: torch.Tensor, **options: str):
    quantizer = build_quantizer(QuantizerSpec(scheme, bits, **options), y.shape[1])
    quantizer.calibrate(y)
    return quantizer


def test_every_registered_scheme_is_tested():
    assert {s.scheme for s in ALL} == set(BITS) == set(quantizers)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 3), h=st.integers(1, 40), w=st.integers(1, 40))
@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize(("scheme", "bits"), [(s, b[-1]) for s, b in BITS.items()] + [("affine", 10), ("allocated", 3)])
def test_every_byte_is_counted_and_every_value_comes_back(scheme, bits, seed, n, h, w):
    quantizer = ready(scheme, bits, transformed(0), calibration="mse")
    y = torch.randn(n, 3, h, w, generator=torch.Generator().manual_seed(seed))
    data = quantizer.pack(y)
    assert 8 * len(data) == quantizer.bits(y.shape) >= n * h * w * sum(quantizer.widths) + 8 * quantizer.side_bytes
    assert quantizer.pack(quantizer.quantize(y)) == data
    restored = quantizer.unpack(data)
    assert torch.equal(restored, quantizer.rounded(y))
    assert restored.dtype == torch.float32


@pytest.mark.parametrize("spec", ALL, ids=IDS)
def test_saved_quantizer_is_the_same_quantizer(spec, tmp_path):
    quantizer = fitted(spec)
    y = latent(1, 6, 8, 8)
    if quantizer.state_dict():
        save_file(quantizer.state_dict(), tmp_path / "q.safetensors")
    again = quantizer_from_config(json.loads(json.dumps(quantizer.config())))
    if quantizer.state_dict():
        again.load_state_dict(load_file(tmp_path / "q.safetensors"))
    data = quantizer.pack(y)
    assert again.pack(y) == data
    assert torch.equal(again.unpack(data), quantizer.unpack(data))


@pytest.mark.parametrize("spec", ALL, ids=IDS)
def test_bad_latents_are_refused(spec):
    quantizer = fitted(spec)
    for value in (np.nan, np.inf, -np.inf):
        y = latent(1, 6, 4, 4)
        y[0, 2, 1, 1] = value
        for use in (quantizer.quantize, quantizer.pack, quantizer.calibrate, lambda y: quantizer.calibrate([y])):
            with pytest.raises(QuantizerError, match="NaN or infinite"):
                use(y)
    integers, nothing = torch.zeros(1, 6, 4, 4, dtype=torch.int64), torch.zeros(1, 6, 0, 4)
    for y, message in ((latent(1, 5, 4, 4), "6 channels"), (nothing, "non-empty"), (integers, "floating-point")):
        with pytest.raises(QuantizerError, match=message):
            quantizer.pack(y)
    with pytest.raises(QuantizerError, match="6 channels"):
        quantizer.bits((1, 5, 4, 4))
    for nothing in ([], torch.zeros(0, 6, 4, 4), [torch.zeros(0, 6, 4, 4)]):
        with pytest.raises(QuantizerError, match="no latents"):
            quantizer.calibrate(nothing)


@pytest.mark.parametrize("spec", [s for s in ALL if s.scheme != "guide"], ids=[i for i in IDS if "guide" not in i])
def test_a_latent_far_outside_saturates_and_is_counted(spec):
    quantizer = fitted(spec)
    inside = latent(1, 6, 8, 8, seed=1) * 0.5
    base = quantizer.quantize(inside)
    outside = inside.clone()
    outside[0, 0, 3, 3], outside[0, 0, 4, 4] = 3e38, -3e38
    quantized = quantizer.quantize(outside)
    expected = {"float32": 0, "bfloat16": 0}.get(spec.scheme, 2)
    assert quantized.saturated - base.saturated == expected
    restored = quantizer.dequantize(quantized)[0, 0]
    assert torch.isfinite(restored).all()
    assert restored[3, 3] == restored.max(), "a wrap-around"
    assert restored[4, 4] == restored.min(), "a wrap-around"


@pytest.mark.parametrize("spec", ALL, ids=IDS)
def test_damaged_bytes_never_crash(spec):
    quantizer = fitted(spec)
    data = quantizer.pack(latent(1, 6, 5, 7))
    for cut in (b"", data[:2], data[:-1], data + b"\0"):
        with pytest.raises(BitstreamError):
            quantizer.unpack(cut)
    generator = np.random.default_rng(0)
    for _ in range(50):
        damaged = bytearray(data)
        damaged[generator.integers(len(data))] = generator.integers(256)
        with contextlib.suppress(BitstreamError):
            assert torch.isfinite(quantizer.unpack(bytes(damaged))).all()


def test_impossible_specifications_say_what_is_possible():
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
    with pytest.raises(QuantizerError, match="damaged"):
        quantizer_from_config({"spec": {}})
    assert issubclass(QuantizerError, ModelError)


@pytest.mark.parametrize("scheme", ["affine", "allocated", "lsq", "fsq", "trellis"])
def test_ranges_are_needed_before_rounding(scheme):
    quantizer = build_quantizer(QuantizerSpec(scheme, 4), 3)
    y = latent(1, 3, 4, 4)
    with pytest.raises(QuantizerError, match="calibrate"):
        quantizer.pack(y)
    assert quantizer.eval()(y) is y


@given(seed=st.integers(0, 10_000), bits=st.integers(2, 10), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize(
    ("scheme", "granularity"),
    [("affine", "channel"), ("affine", "tensor"), ("allocated", "channel"), ("lsq", "channel"), ("guide", "tensor")],
)
def test_error_of_uniform_grids_is_at_most_half_a_step_inside_their_range(
    scheme, granularity, seed, bits, scale, shift
):
    y, bits = scale * (transformed(seed) + shift), min(bits, 8 if scheme == "guide" else 10)
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
@pytest.mark.parametrize("seed", [0, 1])
def test_more_bits_never_make_more_error(scheme, seed):
    y = transformed(seed)
    errors = [
        float((ready(scheme, bits, y, calibration="mse").rounded(y) - y).square().mean()) for bits in BITS[scheme]
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))


@pytest.mark.parametrize("scheme", ["affine", "allocated", "lsq", "trellis"])
def test_constant_channels_come_back_exactly(scheme):
    y = torch.full((1, 2, 4, 4), 3.25)
    y[:, 1] = -7.0
    quantizer = ready(scheme, 4, y)
    assert torch.equal(quantizer.unpack(quantizer.pack(y)), y)
    assert quantizer.quantize(y).saturated == 0
    assert quantizer.quantize(y + 1).saturated == 16 * sum(width > 0 for width in quantizer.widths)


@pytest.mark.parametrize("training", TRAINING_VIEWS)
@pytest.mark.parametrize(("scheme", "bits"), SCHEMES)
def test_every_view_is_finite_and_differentiable(scheme, bits, training):
    y = normal(2, 3, 8, 8).requires_grad_()
    quantizer = build_quantizer(QuantizerSpec(scheme, bits, training=training), 3)
    seen = quantizer.training_view(y, generator=seeded(), progress=0.3)
    assert seen.shape == y.shape
    (gradient,) = torch.autograd.grad(seen.sum(), y)
    assert torch.isfinite(seen).all()
    assert float(gradient.abs().sum()) > 0
    if training == "none":
        assert seen is y


@pytest.mark.parametrize(("scheme", "bits"), [case for case in SCHEMES if case[0] not in ("fsq", "trellis")])
def test_noise_is_as_wide_as_the_true_step(scheme, bits):
    y = (torch.rand((8, 2, 32, 32), generator=seeded(1)) - 0.5) * torch.tensor([1.0, 7.0]).view(1, 2, 1, 1)
    quantizer = ready(scheme, bits, y, training="noise")
    noise = (quantizer.training_view(y, generator=seeded(3)) - y).detach() / quantizer.step_of(y).detach()
    assert float(noise.abs().max()) <= 0.5 + 1e-3
    assert float(noise.std()) == pytest.approx(12**-0.5, rel=0.03)
    real = (quantizer.rounded(y) - y) / quantizer.step_of(y).detach()
    assert float(real.abs().max()) <= 0.5 + 1e-3
    assert float(noise.square().mean()) == pytest.approx(float(real.square().mean()), rel=0.1)


def test_guide_noise_is_of_the_unit_range_whatever_the_latent():
    for scheme, bits in (("affine", 6), ("guide", 6)):
        y = normal(4, 2, 32, 32) * 100
        quantizer = ready(scheme, bits, y, training="guide-noise")
        noise = (quantizer.training_view(y, generator=seeded()) - y).double()
        assert float(noise.abs().max()) <= 0.5 / 63 + 2e-5
        assert float(noise.std()) == pytest.approx(1 / 63 / 12**0.5, rel=0.05)
        assert float(quantizer.step_of(y).mean()) > 100 / 63


@pytest.mark.parametrize(("scheme", "bits"), [case for case in SCHEMES if case[0] != "trellis"])
def test_straight_through_shows_real_rounding(scheme, bits):
    y = normal(2, 3, 8, 8)
    quantizer = ready(scheme, bits, y, training="ste")
    expected = copy.deepcopy(quantizer.state_dict())
    seen = quantizer.training_view(y, progress=1.0)
    quantizer.load_state_dict(expected)
    assert torch.allclose(seen, quantizer.rounded(y), atol=1e-5)


def test_mixed_is_noise_first_and_rounding_later():
    y = normal(1, 2, 8, 8)
    for progress, rounded in ((0.0, False), (0.49, False), (0.5, True), (1.0, True)):
        quantizer = ready("affine", 3, y, training="mixed")
        seen = quantizer.training_view(y, generator=seeded(), progress=progress)
        assert torch.allclose(seen, quantizer.rounded(y), atol=1e-6) is rounded


def test_noise_needs_a_generator_and_repeats_with_it():
    y = normal(1, 2, 4, 4)
    quantizer = ready("affine", 8, y, training="noise")
    with pytest.raises(QuantizerError, match=r"torch\.Generator"):
        quantizer.training_view(y)
    first, second = (quantizer.training_view(y, generator=seeded(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_forward_is_the_training_view_in_training_and_rounding_in_evaluation():
    y = normal(2, 2, 8, 8)
    quantizer = build_quantizer(QuantizerSpec("affine", 4, training="noise"), 2, seed=5)
    twin = build_quantizer(QuantizerSpec("affine", 4, training="noise"), 2)
    seen = quantizer(y)
    assert torch.equal(seen, twin.training_view(y, generator=seeded(5)))
    assert torch.equal(quantizer.eval()(y), quantizer.rounded(y))


def test_ranges_follow_a_training():
    quantizer = build_quantizer(QuantizerSpec("affine", 8, training="noise"), 2)
    for step in range(60):
        scale = 1 + step / 6
        quantizer.training_view(normal(4, 2, 16, 16, seed=step) * scale, generator=seeded(step))
    y = normal(4, 2, 16, 16) * 11
    own = ready("affine", 8, y)
    ratio = (quantizer.high - quantizer.low) / (own.high - own.low)
    assert (ratio > 0.6).all()
    assert (ratio < 1.15).all()


@pytest.mark.parametrize("scheme", ["allocated", "trellis"])
def test_a_training_resumed_from_its_state_sees_the_same_views(scheme):
    spec = QuantizerSpec(scheme, 3, calibration="mse", training="ste")
    batches = [normal(2, 3, 8, 8, seed=s) * torch.tensor([1 + s, 1.0, 0.1]).view(1, 3, 1, 1) for s in range(60)]
    straight, first, second = (build_quantizer(spec, 3) for _ in range(3))
    expected = [straight.training_view(y) for y in batches]
    for y in batches[:31]:
        first.training_view(y)
    second.load_state_dict(first.state_dict())
    for y, seen in zip(batches[31:], expected[31:], strict=True):
        assert torch.equal(second.training_view(y), seen)
