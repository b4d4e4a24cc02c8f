"""The quantizer contract: latent to integers to bytes and back; packing; floating-point formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sarlab.errors import BitstreamError, QuantizerError
from sarlab.registry import Registry
from sarlab.specs import QuantizerSpec

#: Stand-ins for rounding in training, the same names for every scheme.
TRAINING_VIEWS = ("none", "noise", "ste", "mixed", "guide-noise")
#: Share of a ``"mixed"`` training with noise; the rest uses straight-through rounding.
MIXED_SWITCH = 0.5
#: Ranges follow each of the first training batches, then one in `LATER`: latents change less by then.
FIRST, LATER = 50, 5
#: Weight of a batch in ranges that follow a training, at first and later.
FIRST_SHARE, LATER_SHARE = 0.1, 0.2

#: Largest N, h or w of a header: 4 bytes of 7 bits.
MAX_EXTENT = 2**28 - 1

Latents = Tensor | Iterable[Tensor]
Synthesis = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized latent: integers (N, C, h, w) from 0 to 2^width − 1 of their channel.

    `saturated` counts values outside the quantizer's range, which are set to its nearest end; `side` is information for
    the decoder, stored in every file.
    """

    integers: Tensor
    saturated: int = 0
    side: bytes = b""


class Quantizer(nn.Module):
    """Latent values → integers → bytes, and back::

        y ──quantize──▶ integers + side ──pack──▶ bytes ──unpack──▶ ŷ
        │                       └────────dequantize────────────────▶ ŷ
        └──training_view──▶ ỹ, differentiable

    A subclass sets `scheme_bits` and implements `_quantize`, `dequantize` and `step_of`. Ranges are buffers, or
    parameters if they are learned, so that they are saved and moved with the module.
    """

    #: Smallest and largest `spec.bits` of this scheme.
    scheme_bits: tuple[int, int] = (2, 16)
    #: Bytes of side information in every file.
    side_bytes: int = 0

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__()
        if channels < 1:
            raise QuantizerError(f"a latent has at least 1 channel, not {channels}")
        low, high = self.scheme_bits
        if not low <= spec.bits <= high:
            allowed = f"{low} bits per value" if low == high else f"{low} to {high} bits per value"
            raise QuantizerError(f"quantizer '{spec.scheme}' has {allowed}; bits={spec.bits} is impossible")
        for name, value, known in (
            ("granularity", spec.granularity, ("tensor", "channel")),
            ("calibration", spec.calibration, ("minmax", "percentile", "mse")),
            ("training", spec.training, TRAINING_VIEWS),
        ):
            if value not in known:
                raise QuantizerError(f"unknown {name} '{value}' of quantizer '{spec.scheme}'; use {', '.join(known)}")
        self.spec = spec
        self.channels = channels
        #: Source of the noise and share of completed steps, for `training_view`; set by the training loop.
        self.generator: torch.Generator = torch.Generator().manual_seed(0)
        self.progress = 0.0

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits per packed value in each channel."""
        return (self.spec.bits,) * self.channels

    def calibrate(self, latents: Latents, *, synthesis: Synthesis | None = None) -> None:
        """Fit the ranges to one or more latents (N, C, h, w) of training data and freeze them.

        Schemes that weigh channels against each other measure with `synthesis` (latent → image) how each channel's
        error affects the image; without it, all channels count the same.
        """
        gather(latents, self.channels)

    def _quantize(self, y: Tensor) -> Quantized:
        raise NotImplementedError

    def dequantize(self, quantized: Quantized) -> Tensor:
        """Return the latent ŷ of integers, shape (N, C, h, w), float32."""
        raise NotImplementedError

    def step_of(self, y: Tensor) -> Tensor:
        """Return the distance of neighboring levels at `y`, broadcastable to it."""
        raise NotImplementedError

    def observe(self, y: Tensor) -> None:
        """Update the ranges with a batch of training latents, shape (N, C, h, w), if they follow the training."""

    @property
    def ready(self) -> bool:
        """False before a required calibration, without which it cannot round."""
        return True

    def accepted(self, quantized: Quantized) -> Quantized:
        """Return `quantized` as read from a file; raise `BitstreamError` if no latent can produce it."""
        return quantized

    def quantize(self, y: Tensor) -> Quantized:
        """Quantize a latent (N, C, h, w); raise `QuantizerError` for NaN, infinity or other channels."""
        with torch.no_grad():
            return self._quantize(checked(y, self.channels))

    def rounded(self, y: Tensor) -> Tensor:
        """Return ŷ as the decoder reconstructs it: real rounding, no gradient."""
        return self.dequantize(self.quantize(y))

    def forward(self, y: Tensor) -> Tensor:
        """Return the training view in training mode, else real rounding (or `y` itself before the calibration)."""
        if self.training:
            return self.training_view(y)
        return self.rounded(y) if self.ready else y

    def training_view(self, y: Tensor) -> Tensor:
        """Apply the differentiable stand-in for rounding that `spec.training` names.

        References: Noise: Ballé, Laparra & Simoncelli 2017. Straight-through: Bengio, Léonard & Courville 2013.
        """
        mode = self.spec.training
        if mode == "none":
            return y
        if mode == "guide-noise":
            # The guide's `QuantizationNoise`: the step of a range of 1, usually several times too small for a latent.
            return y + centered_uniform(y, self.generator) / (2**self.spec.bits - 1)
        self.observe(checked(y, self.channels))
        if mode == "noise" or (mode == "mixed" and self.progress < MIXED_SWITCH):
            return self.noisy(y, self.generator)
        return self.straight_through(y)

    def noisy(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Add uniform noise as wide as the quantizer's step."""
        return y + centered_uniform(y, generator) * self.step_of(y)

    def straight_through(self, y: Tensor) -> Tensor:
        """Round with the gradient of the identity."""
        return y + (self.rounded(y) - y).detach()

    def pack(self, y: Tensor | Quantized) -> bytes:
        """Encode a latent (N, C, h, w): shape, side information, and each integer in the bits of its channel."""
        quantized = y if isinstance(y, Quantized) else self.quantize(y)
        n, _, h, w = quantized.integers.shape
        planes = quantized.integers.movedim(1, 0).reshape(self.channels, -1).cpu().numpy()
        return write_header(n, h, w) + quantized.side + pack_bits(planes, self.widths)

    def unpack(self, data: bytes) -> Tensor:
        """Decode the latent ŷ; raise `BitstreamError` if `pack` of this quantizer cannot have written the bytes."""
        (n, h, w), start = read_header(data)
        body = start + self.side_bytes
        if len(data) != body + packed_bytes(n * h * w, self.widths):
            raise BitstreamError(
                f"packed latent: {len(data)} bytes do not hold {n}×{self.channels}×{h}×{w} values of quantizer "
                f"'{self.spec.scheme}'; the data is damaged or of another model"
            )
        planes = unpack_bits(data[body:], n * h * w, self.widths)
        integers = torch.from_numpy(planes).reshape(self.channels, n, h, w).movedim(0, 1).contiguous()
        return self.dequantize(self.accepted(Quantized(integers.to(self.device), side=data[start:body])))

    def bits(self, shape: Sequence[int]) -> int:
        """Return the bits of a packed latent of `shape` (N, C, h, w) or (C, h, w), header and side included."""
        full = (1, *shape) if len(shape) == 3 else tuple(shape)
        if len(full) != 4 or full[1] != self.channels or min(full) < 1:
            raise QuantizerError(f"a latent of {self.channels} channels has shape (N, C, h, w), not {tuple(shape)}")
        n, _, h, w = full
        return 8 * (len(write_header(n, h, w)) + self.side_bytes + packed_bytes(n * h * w, self.widths))

    def config(self) -> dict[str, Any]:
        """Return JSON-compatible arguments of `build_quantizer`, which rebuilds it together with `state_dict`."""
        return {"spec": dataclasses.asdict(self.spec), "channels": self.channels}

    @property
    def device(self) -> torch.device:
        """Device of the ranges; the CPU if there are none."""
        return next((tensor.device for tensor in (*self.buffers(), *self.parameters())), torch.device("cpu"))


class CalibratedQuantizer(Quantizer):
    """A quantizer with ranges from data, calibrated once or following a training; a subclass implements `follow`."""

    calibrated: Tensor
    observed: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        self.register_buffer("calibrated", torch.zeros((), dtype=torch.bool))
        self.register_buffer("observed", torch.zeros((), dtype=torch.int64))

    def follow(self, values: Tensor, share: float) -> None:
        """Move the ranges by `share` of the way towards those of values by channel, shape (C, n)."""
        raise NotImplementedError

    def move(self, share: float, **targets: Tensor) -> None:
        """Move buffers by `share` of the way towards `targets`."""
        for name, target in targets.items():
            buffer = getattr(self, name)
            buffer.lerp_(target.to(buffer), share)

    @property
    def ready(self) -> bool:
        return bool(self.calibrated)

    def require_ready(self) -> None:
        """Raise `QuantizerError` before the first calibration."""
        if not self.ready:
            raise QuantizerError(f"quantizer '{self.spec.scheme}' has no ranges yet; calibrate it with training data")

    def calibrate(self, latents: Latents, *, synthesis: Synthesis | None = None) -> None:
        self.follow(gather(latents, self.channels), 1.0)
        self.calibrated.fill_(True)

    def observe(self, y: Tensor) -> None:
        seen = int(self.observed)
        self.observed += 1
        if not self.ready:
            self.calibrate(y)
        elif seen < FIRST or seen % LATER == 0:
            self.follow(gather(y, self.channels), FIRST_SHARE if seen < FIRST else LATER_SHARE)


quantizers: Registry[type[Quantizer]] = Registry("quantizer", "sarlab.quantizers", QuantizerError)


def build_quantizer(spec: QuantizerSpec, channels: int, *, seed: int = 0) -> Quantizer:
    """Build the quantizer of `spec` for a latent of `channels` channels; `seed` is that of its training noise."""
    quantizer = quantizers[spec.scheme](spec, channels)
    quantizer.generator.manual_seed(seed)
    return quantizer


def checked(y: Tensor, channels: int) -> Tensor:
    """Return `y` as float32, detached; raise `QuantizerError` unless it is a finite latent of `channels` channels."""
    if not isinstance(y, Tensor) or y.ndim != 4 or 0 in y.shape or not y.is_floating_point():
        found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise QuantizerError(f"a latent is a non-empty floating-point tensor (N, C, h, w), not {found}")
    if y.shape[1] != channels:
        raise QuantizerError(f"this quantizer was built for {channels} channels; the latent has {y.shape[1]}")
    y = y.detach().float()
    bad = int((~torch.isfinite(y)).sum())
    if bad:
        raise QuantizerError(f"the latent has {bad} NaN or infinite values of {y.numel()}; check its network and input")
    return y


def gather(latents: Latents, channels: int) -> Tensor:
    """Return all values of the latents by channel, shape (C, values), float32, on the CPU."""
    batches = [latents] if isinstance(latents, Tensor) else list(latents)
    batches = [b for b in batches if not (isinstance(b, Tensor) and b.numel() == 0)]
    if not batches:
        raise QuantizerError("no latents to calibrate with; give at least one batch of training data")
    return torch.cat([checked(b, channels).cpu().movedim(1, 0).reshape(channels, -1) for b in batches], dim=1)


def centered_uniform(y: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from −½ … ½ in the shape and on the device of `y`, float32."""
    return (torch.rand(y.shape, generator=generator, device=generator.device, dtype=torch.float32) - 0.5).to(y.device)


def nonzero(step: Tensor) -> Tensor:
    """Replace steps of zero by one, to divide by them."""
    return torch.where(step > 0, step, torch.ones_like(step))


# --- packing -----------------------------------------------------------------------------------------------------------


def write_header(n: int, h: int, w: int) -> bytes:
    """Encode the shape of a latent as three LEB128 integers: 3 bytes up to 127×127, at most 12."""
    parts = bytearray()
    for value in (n, h, w):
        if not 1 <= value <= MAX_EXTENT:
            raise BitstreamError(f"a latent has 1 to {MAX_EXTENT} values per axis, not {value}")
        while value > 127:
            parts.append(value & 127 | 128)
            value >>= 7
        parts.append(value)
    return bytes(parts)


def read_header(data: bytes) -> tuple[tuple[int, int, int], int]:
    """Return the shape (N, h, w) of `write_header` and the number of bytes it took."""
    position, shape = 0, []
    for _ in range(3):
        value = 0
        for shift in (0, 7, 14, 21):
            if position >= len(data):
                raise BitstreamError("packed latent: it ends within its shape; the data is truncated")
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
        else:
            raise BitstreamError("packed latent: it does not begin with a shape; the data is damaged")
        if value < 1:
            raise BitstreamError("packed latent: an axis of its shape is zero; the data is damaged")
        shape.append(value)
    return (shape[0], shape[1], shape[2]), position


def packed_bytes(count: int, widths: Sequence[int]) -> int:
    """Return the bytes of `count` values in each of the channels with `widths` bits."""
    return -(-count * sum(widths) // 8)


def pack_bits(planes: np.ndarray, widths: Sequence[int]) -> bytes:
    """Pack integers (C, count), most significant bit first, row after row in `widths` bits (0 to 32) per value."""
    parts = [np.empty(0, np.uint8)]
    for row, width in zip(planes, widths, strict=True):
        if len(row) and (int(row.min()) < 0 or int(row.max()) >> width):
            raise BitstreamError(f"values from {row.min()} to {row.max()} do not fit into {width} bits")
        octets = np.ascontiguousarray(row.astype(">u4")).view(np.uint8).reshape(-1, 4)
        parts.append(np.unpackbits(octets, axis=1)[:, 32 - width :].ravel())
    return np.packbits(np.concatenate(parts)).tobytes()


def unpack_bits(data: bytes, count: int, widths: Sequence[int]) -> np.ndarray:
    """Invert `pack_bits`: integers of shape (C, count), int64."""
    if len(data) != packed_bytes(count, widths):
        raise BitstreamError(f"{len(data)} packed bytes instead of {packed_bytes(count, widths)}; the data is damaged")
    planes, position = np.zeros((len(widths), count), np.int64), 0
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    for row, width in zip(planes, widths, strict=True):
        padded = np.zeros((count, 32), np.uint8)
        padded[:, 32 - width :] = bits[position : position + count * width].reshape(count, width)
        row[:] = np.packbits(padded, axis=1).view(">u4")[:, 0]
        position += count * width
    return planes


# --- floating-point formats --------------------------------------------------------------------------------------------


#: Type, type of its bit pattern, bits of the significand with the hidden one, and exponent of the smallest step: for the
#: longer exponents that of a normal number, since other devices' arithmetic does not keep subnormal ones.
FORMATS = {
    "float32": (torch.float32, torch.int32, 24, -126),
    "float16": (torch.float16, torch.int16, 11, -24),
    "bfloat16": (torch.bfloat16, torch.int16, 8, -126),
}


@quantizers.register("float32")
@quantizers.register("float16")
@quantizers.register("bfloat16")
class FloatQuantizer(Quantizer):
    """Rounding to a floating-point format, without calibration: float32, IEEE 754 binary16, or the upper half of a float32.

    The integers are the bit patterns. Values beyond the largest finite one are set to it and counted.
    """

    def __init__(self, spec: QuantizerSpec, channels: int):
        self.dtype, self.pattern, self.significand, self.smallest = FORMATS[spec.scheme]
        self.scheme_bits = 8 * self.dtype.itemsize, 8 * self.dtype.itemsize
        super().__init__(spec, channels)

    def _quantize(self, y: Tensor) -> Quantized:
        largest = torch.finfo(self.dtype).max
        patterns = y.clamp(-largest, largest).to(self.dtype).view(self.pattern).long() & (2**self.spec.bits - 1)
        return Quantized(patterns, saturated=int((y.abs() > largest).sum()))

    def accepted(self, quantized: Quantized) -> Quantized:
        if not torch.isfinite(self.dequantize(quantized)).all():
            raise BitstreamError("packed latent: it has NaN or infinite values; the data is damaged")
        return quantized

    def dequantize(self, quantized: Quantized) -> Tensor:
        span = 2**self.spec.bits
        signed = torch.where(quantized.integers >= span // 2, quantized.integers - span, quantized.integers)
        return signed.to(self.pattern).view(self.dtype).float()

    def step_of(self, y: Tensor) -> Tensor:
        exponent = torch.frexp(y.detach().float()).exponent - self.significand
        return torch.ldexp(torch.ones_like(y, dtype=torch.float32), exponent.clamp(min=self.smallest))
