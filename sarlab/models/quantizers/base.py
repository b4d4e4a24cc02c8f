"""Quantizer: the contract between a latent and the bits it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sarlab.errors import BitstreamError, QuantizerError
from sarlab.models.quantizers.latents import Latents, checked, gather
from sarlab.models.quantizers.noise import centered_uniform, unit_range_noise
from sarlab.models.quantizers.packing import pack_bits, packed_bytes, read_header, unpack_bits, write_header
from sarlab.registry import Registry
from sarlab.specs import QuantizerSpec, spec_from_dict

#: What training may see; the same names for every scheme.
TRAINING_VIEWS = ("none", "noise", "ste", "mixed", "guide-noise")
#: Share of a ``"mixed"`` training that sees noise; the rest sees straight-through rounding.
MIXED_SWITCH = 0.5

Synthesis = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized latent.

    Parameters
    ----------
    integers : Tensor of int64, shape (N, C, h, w)
        Non-negative; in channel c below 2^width, where the width is that of `Quantizer.widths`.
    saturated : int
        Values outside the range that the quantizer represents, set to its nearest end.
    side : bytes
        What the decoder needs beside the integers and the calibrated quantizer; stored in every file.
    """

    integers: Tensor
    saturated: int = 0
    side: bytes = b""


class Quantizer(nn.Module):
    """Latent values → integers → bytes, and back::

        y ──quantize──▶ integers + side ──pack──▶ bytes ──unpack──▶ ŷ
        │                       └────────dequantize────────────────▶ ŷ
        └──training_view──▶ ỹ, differentiable

    A subclass sets `bits_per_value` and `scheme_bits`, and implements `_quantize`, `dequantize` and, where it has
    ranges to learn from data, `calibrate`. Ranges are buffers (or parameters, where they are learned), so that they
    are saved and moved with the module.

    Parameters
    ----------
    spec : QuantizerSpec
    channels : int
        Channels C of the latent.

    Raises
    ------
    QuantizerError
        If the specification is impossible for this scheme.
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
            allowed = f"{low} bits a value" if low == high else f"{low} to {high} bits a value"
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
        #: Source of the noise and share of the training that is done, for `forward`; a training loop sets both.
        self.generator: torch.Generator = torch.Generator().manual_seed(0)
        self.progress = 0.0

    # --- what a scheme implements ---------------------------------------------------------------------------------

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits of a value in each channel, as packed."""
        return (self.spec.bits,) * self.channels

    def calibrate(self, latents: Latents, *, synthesis: Synthesis | None = None) -> None:
        """Set the ranges from latents of training data and freeze them.

        Parameters
        ----------
        latents : Tensor, shape (N, C, h, w), or iterable of such
        synthesis : callable, optional
            Decoder, latent → image. Schemes that weigh channels against each other use it to measure what an error
            in each channel does to the image; without it, all channels count the same.

        Raises
        ------
        QuantizerError
            If there are no latents, or one has NaN, infinity or another number of channels.
        """
        gather(latents, self.channels)

    def _quantize(self, y: Tensor) -> Quantized:
        raise NotImplementedError

    def dequantize(self, quantized: Quantized) -> Tensor:
        """Latent ŷ of integers, shape (N, C, h, w), float32."""
        raise NotImplementedError

    def step_of(self, y: Tensor) -> Tensor:
        """Distance of neighboring levels at `y`; broadcasts against it."""
        raise NotImplementedError

    def observe(self, y: Tensor, progress: float) -> None:
        """Let the ranges follow a batch of training latents, shape (N, C, h, w); nothing where they are fixed."""

    @property
    def ready(self) -> bool:
        """Whether it can round: False before a calibration that it needs."""
        return True

    # --- the same for all -----------------------------------------------------------------------------------------

    def quantize(self, y: Tensor) -> Quantized:
        """Integers, saturation and side information of a latent.

        Parameters
        ----------
        y : Tensor, shape (N, C, h, w)

        Raises
        ------
        QuantizerError
            If `y` has NaN, infinity or another number of channels, or the quantizer is not calibrated.
        """
        with torch.no_grad():
            return self._quantize(checked(y, self.channels))

    def rounded(self, y: Tensor) -> Tensor:
        """ŷ as a decoder gets it: real rounding, no gradient."""
        return self.dequantize(self.quantize(y))

    def forward(self, y: Tensor) -> Tensor:
        """What a network in training puts between analysis and synthesis.

        In training mode the training view, with the attributes `generator` and `progress`. In evaluation mode real
        rounding; before the first calibration, when there is nothing to round with yet, `y` itself.
        """
        if self.training:
            return self.training_view(y, generator=self.generator, progress=self.progress)
        return self.rounded(y) if self.ready else y

    def training_view(self, y: Tensor, *, generator: torch.Generator | None = None, progress: float = 0.0) -> Tensor:
        """Differentiable stand-in for rounding, as `spec.training` says.

        Parameters
        ----------
        y : Tensor, shape (N, C, h, w)
        generator : torch.Generator, optional
            Draws the noise; needed by ``"noise"``, ``"mixed"`` and ``"guide-noise"``.
        progress : float
            Share of the training that is done, 0 to 1.

        Returns
        -------
        Tensor, shape (N, C, h, w)

        References
        ----------
        Noise: Ballé, Laparra & Simoncelli 2017. Straight-through: Bengio, Léonard & Courville 2013.
        """
        mode = self.spec.training
        if mode == "none":
            return y
        if mode == "guide-noise":
            return y + unit_range_noise(y, self.spec.bits, _needed(generator, mode))
        self.observe(checked(y, self.channels), progress)
        if mode == "noise" or (mode == "mixed" and progress < MIXED_SWITCH):
            return self.noisy(y, _needed(generator, mode))
        return self.straight_through(y)

    def noisy(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """`y` with uniform noise as wide as the quantizer's step."""
        return y + centered_uniform(y, generator) * self.step_of(y)

    def straight_through(self, y: Tensor) -> Tensor:
        """Rounded values with the gradient of the identity."""
        return y + (self.rounded(y) - y).detach()

    def pack(self, y: Tensor | Quantized) -> bytes:
        """Bytes of a latent: shape, side information, and each integer in exactly the bits it costs.

        Parameters
        ----------
        y : Tensor, shape (N, C, h, w), or Quantized
        """
        quantized = y if isinstance(y, Quantized) else self.quantize(y)
        n, _, h, w = quantized.integers.shape
        planes = quantized.integers.movedim(1, 0).reshape(self.channels, -1).cpu().numpy()
        return write_header(n, h, w) + quantized.side + pack_bits(planes, self.widths)

    def unpack(self, data: bytes) -> Tensor:
        """Latent ŷ out of `pack`'s bytes, shape (N, C, h, w), float32.

        Raises
        ------
        BitstreamError
            If the bytes are not what `pack` of this quantizer writes.
        """
        return self.dequantize(self.unpack_integers(data))

    def unpack_integers(self, data: bytes) -> Quantized:
        """Integers and side information out of `pack`'s bytes."""
        (n, h, w), start = read_header(data)
        body = start + self.side_bytes
        if len(data) != body + packed_bytes(n * h * w, self.widths):
            raise BitstreamError(
                f"packed latent: {len(data)} bytes do not hold {n}×{self.channels}×{h}×{w} values of quantizer "
                f"'{self.spec.scheme}'; the data is damaged or of another model"
            )
        planes = unpack_bits(data[body:], n * h * w, self.widths)
        integers = torch.from_numpy(planes).reshape(self.channels, n, h, w).movedim(0, 1).contiguous()
        return self.accepted(Quantized(integers.to(self.device), side=data[start:body]))

    def accepted(self, quantized: Quantized) -> Quantized:
        """`quantized` as it came out of a file, or `BitstreamError` if no latent can have given it."""
        return quantized

    def bits(self, shape: Sequence[int]) -> int:
        """Bits of a packed latent of `shape` (N, C, h, w) or (C, h, w): header, side information and values."""
        n, h, w = self._checked_shape(shape)
        return 8 * (len(write_header(n, h, w)) + self.side_bytes + packed_bytes(n * h * w, self.widths))

    def nominal_bits(self, shape: Sequence[int]) -> int:
        """Values times bits a value: the accounting of the ``nominal_cr`` column."""
        n, h, w = self._checked_shape(shape)
        return n * h * w * self.channels * self.spec.bits

    def config(self) -> dict[str, Any]:
        """What `quantizer_from_config` needs, beside the state_dict, to build this quantizer again; JSON-able."""
        return {"spec": dataclasses.asdict(self.spec), "channels": self.channels}

    @property
    def device(self) -> torch.device:
        """Where the ranges lie (the CPU, where there are none)."""
        for tensor in (*self.buffers(), *self.parameters()):
            return tensor.device
        return torch.device("cpu")

    def _checked_shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        full = (1, *shape) if len(shape) == 3 else tuple(shape)
        if len(full) != 4 or full[1] != self.channels or min(full) < 1:
            raise QuantizerError(f"a latent of {self.channels} channels has shape (N, C, h, w), not {tuple(shape)}")
        return full[0], full[2], full[3]


quantizers: Registry[type[Quantizer]] = Registry("quantizer", "sarlab.quantizers", QuantizerError)


def build_quantizer(spec: QuantizerSpec, channels: int, *, seed: int = 0) -> Quantizer:
    """Quantizer of `spec` for a latent of `channels` channels.

    Parameters
    ----------
    spec : QuantizerSpec
    channels : int
    seed : int
        Of the noise of a training.

    Raises
    ------
    QuantizerError
        If the scheme is unknown or the specification impossible.
    """
    quantizer = quantizers[spec.scheme](spec, channels)
    quantizer.generator.manual_seed(seed)
    return quantizer


def quantizer_from_config(config: Mapping[str, Any]) -> Quantizer:
    """Quantizer of a saved `config`; load its state_dict afterwards."""
    if set(config) != {"spec", "channels"} or not isinstance(config["channels"], int):
        raise QuantizerError(
            "a saved quantizer is {'spec': …, 'channels': …}; this one is damaged or of another version"
        )
    return build_quantizer(spec_from_dict(QuantizerSpec, config["spec"]), config["channels"])


def _needed(generator: torch.Generator | None, mode: str) -> torch.Generator:
    if generator is None:
        raise QuantizerError(f"training with '{mode}' draws noise: give a torch.Generator")
    return generator
