"""What all quantizers promise: real packing, exact counts, clear errors, and the float formats."""

import contextlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sarlab.errors import BitstreamError, ModelError, PlanError, QuantizerError
from sarlab.models.quantizers import build_quantizer, quantizer_from_config, quantizers
from sarlab.models.quantizers.bitpacking import (
    MAX_EXTENT,
    pack_bits,
    packed_bytes,
    read_header,
    unpack_bits,
    write_header,
)
from sarlab.specs import QuantizerSpec

ALL = [
    QuantizerSpec("float32", 32),
    QuantizerSpec("float16", 16),
    QuantizerSpec("bfloat16", 16),
    QuantizerSpec("affine", 8),
    QuantizerSpec("affine", 10, granularity="tensor", calibration="percentile"),
    QuantizerSpec("affine", 3, calibration="mse"),
    QuantizerSpec("allocated", 4, calibration="mse"),
    QuantizerSpec("companded", 4, calibration="mse"),
    QuantizerSpec("trellis", 4, calibration="mse"),
    QuantizerSpec("trellis", 1),
    QuantizerSpec("lsq", 5),
    QuantizerSpec("fsq", 4, calibration="mse"),
    QuantizerSpec("guide", 4),
    QuantizerSpec("guide", 12),
]
IDS = [f"{s.scheme}{s.bits}" for s in ALL]


def latent(*shape: int, seed: int = 0) -> torch.Tensor:
    """Gaussian latent whose channels differ in scale and mean."""
    y = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    scale = torch.logspace(1, -2, shape[1]).view(1, -1, 1, 1)
    return y * scale + scale.flip(1)


def ready(spec: QuantizerSpec, channels: int = 6):
    quantizer = build_quantizer(spec, channels)
    quantizer.calibrate(latent(2, channels, 16, 16, seed=1))
    return quantizer


def test_every_registered_scheme_is_tested():
    assert {s.scheme for s in ALL} == set(quantizers)


@pytest.mark.parametrize("spec", ALL, ids=IDS)
def test_unpacking_gives_what_rounding_gives(spec):
    quantizer = ready(spec)
    y = latent(2, 6, 5, 7)
    data = quantizer.pack(y)
    assert torch.equal(quantizer.unpack(data), quantizer.rounded(y))
    assert quantizer.unpack(data).dtype == torch.float32
    assert quantizer.pack(quantizer.quantize(y)) == data


@pytest.mark.parametrize("spec", ALL, ids=IDS)
@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (2, 6, 5, 7), (1, 6, 130, 3)])
def test_packed_size_is_exact(spec, shape):
    quantizer = ready(spec)
    n, c, h, w = shape
    data = quantizer.pack(latent(*shape))
    header = 3 if max(shape) < 128 else 4
    side = 8 if spec.scheme == "guide" else 0
    width = 8 if spec.scheme == "guide" else spec.bits
    assert len(data) == header + side + -(-n * c * h * w * width // 8)
    assert quantizer.bits(shape) == 8 * len(data)
    assert quantizer.bits(shape[1:]) == quantizer.bits((1, *shape[1:]))


@pytest.mark.parametrize("spec", ALL, ids=IDS)
def test_saved_quantizer_is_the_same_quantizer(spec, tmp_path):
    quantizer = ready(spec)
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
    quantizer = ready(spec)
    for value in (np.nan, np.inf, -np.inf):
        y = latent(1, 6, 4, 4)
        y[0, 2, 1, 1] = value
        for use in (quantizer.quantize, quantizer.pack, quantizer.calibrate, lambda y: quantizer.calibrate([y])):
            with pytest.raises(QuantizerError, match="NaN or infinite"):
                use(y)
    with pytest.raises(QuantizerError, match="6 channels"):
        quantizer.pack(latent(1, 5, 4, 4))
    with pytest.raises(QuantizerError, match="non-empty"):
        quantizer.pack(torch.zeros(1, 6, 0, 4))
    with pytest.raises(QuantizerError, match="floating-point"):
        quantizer.pack(torch.zeros(1, 6, 4, 4, dtype=torch.int64))
    with pytest.raises(QuantizerError, match="6 channels"):
        quantizer.bits((1, 5, 4, 4))
    for nothing in ([], torch.zeros(0, 6, 4, 4), [torch.zeros(0, 6, 4, 4)]):
        with pytest.raises(QuantizerError, match="no latents"):
            quantizer.calibrate(nothing)


@pytest.mark.parametrize("spec", [s for s in ALL if s.scheme != "guide"], ids=[i for i in IDS if "guide" not in i])
def test_a_latent_far_outside_saturates_and_is_counted(spec):
    quantizer = ready(spec)
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
    quantizer = ready(spec)
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
    for scheme, bits in (
        ("affine", 1),
        ("affine", 17),
        ("lsq", 1),
        ("fsq", 17),
        ("guide", 32),
        ("float16", 32),
        ("trellis", 9),
    ):
        with pytest.raises(QuantizerError, match=f"bits={bits}"):
            build_quantizer(QuantizerSpec(scheme, bits), 4)
    with pytest.raises(PlanError):
        QuantizerSpec("affine", 0)
    with pytest.raises(QuantizerError, match="unknown quantizer 'int8'; known: affine"):
        build_quantizer(QuantizerSpec("int8", 8), 4)
    with pytest.raises(QuantizerError, match="granularity 'row'"):
        build_quantizer(QuantizerSpec("affine", 8, granularity="row"), 4)
    with pytest.raises(QuantizerError, match="calibration 'best'"):
        build_quantizer(QuantizerSpec("affine", 8, calibration="best"), 4)
    with pytest.raises(QuantizerError, match="training 'hope'"):
        build_quantizer(QuantizerSpec("affine", 8, training="hope"), 4)
    with pytest.raises(QuantizerError, match="granularity 'channel'"):
        build_quantizer(QuantizerSpec("allocated", 4, granularity="tensor"), 4)
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


# --- packing ----------------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_packing_matches_one_big_integer(data):
    widths = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 7, 8, 10, 12, 16, 24, 32]), min_size=1, max_size=5))
    count = data.draw(st.integers(1, 9))
    rows = [data.draw(st.lists(st.integers(0, 2**w - 1), min_size=count, max_size=count)) for w in widths]
    packed = pack_bits(np.array(rows, np.int64), widths)
    total = count * sum(widths)
    number = 0
    for row, width in zip(rows, widths, strict=True):
        for value in row:
            number = number << width | value
    assert packed == (number << (-total % 8)).to_bytes(-(-total // 8), "big")
    assert len(packed) == packed_bytes(count, widths)
    assert unpack_bits(packed, count, widths).tolist() == rows


def test_packing_refuses_what_does_not_fit():
    for value in (-1, 16):
        with pytest.raises(BitstreamError, match="do not fit into 4 bits"):
            pack_bits(np.array([[3, value]]), [4])
    with pytest.raises(BitstreamError, match="damaged"):
        unpack_bits(b"\0\0", 1, [8])


@given(st.tuples(*[st.integers(1, MAX_EXTENT)] * 3))
@settings(max_examples=60, deadline=None)
def test_header_round_trip(shape):
    data = write_header(*shape)
    assert len(data) <= 12
    assert read_header(data + b"\x05tail") == (shape, len(data))


def test_damaged_headers_are_refused():
    for data in (b"", b"\x01\x01", b"\x01\x81", b"\xff" * 12, b"\x01\x00\x01"):
        with pytest.raises(BitstreamError):
            read_header(data)
    for shape in ((0, 1, 1), (1, 1, MAX_EXTENT + 1)):
        with pytest.raises(BitstreamError):
            write_header(*shape)


# --- floating point ---------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-6e4, 6e4, width=32), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_float16_is_numpys(values):
    y = torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)
    quantizer = build_quantizer(QuantizerSpec("float16", 16), 1)
    expected = np.asarray(values, np.float32).astype(np.float16)
    assert np.array_equal(quantizer.rounded(y).numpy().ravel(), expected.astype(np.float32))
    assert quantizer.pack(y)[-2 * len(values) :] == expected.astype(">f2").tobytes()
    assert (torch.abs(quantizer.rounded(y) - y) <= quantizer.step_of(y) / 2).all()


@given(st.lists(st.floats(-(2.0**120), 2.0**120, width=32), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_bfloat16_is_the_rounded_upper_half(values):
    y = torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(">u2")
    quantizer = build_quantizer(QuantizerSpec("bfloat16", 16), 1)
    assert quantizer.pack(y)[-2 * len(values) :] == upper.tobytes()


def test_float32_changes_nothing_and_float16_saturates():
    y = torch.tensor([1e-40, -0.0, 3.4e38, 7e4, -7e4, 1 / 3]).view(1, 1, 2, 3)
    exact = build_quantizer(QuantizerSpec(), 1)
    assert torch.equal(exact.unpack(exact.pack(y)), y)
    half = build_quantizer(QuantizerSpec("float16", 16), 1).quantize(y)
    assert half.saturated == 3
    restored = build_quantizer(QuantizerSpec("float16", 16), 1).dequantize(half).flatten()
    assert restored[2:5].tolist() == [65504.0, 65504.0, -65504.0]


def test_infinite_patterns_in_a_file_are_refused():
    quantizer = build_quantizer(QuantizerSpec("float16", 16), 1)
    with pytest.raises(BitstreamError, match="NaN or infinite"):
        quantizer.unpack(write_header(1, 1, 1) + np.array([np.nan], ">f2").tobytes())
