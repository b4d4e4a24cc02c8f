"""Fixed-latent autoencoders: interface, four architectures, building, saving and loading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sarlab.errors import ModelError, PlanError
from sarlab.models.data import KLTBasis
from sarlab.models.layers import (
    LinearShortcut,
    PlainBlock,
    ResidualBlock,
    WindowAttention,
    activation,
    mirror_pad,
    zero_last_layer,
)
from sarlab.models.storage import copy_tensors, read_tensors, write_tensors
from sarlab.registry import Registry
from sarlab.specs import ModelSpec, spec_from_dict

#: Applied to the latent between analysis and synthesis: y → y_hat, differentiable if trained through.
LatentHook = Callable[[Tensor], Tensor]
#: Largest side of the block that the stem "fold" moves into channels.
FOLD = 8
#: Version of the file format for weights.
FORMAT = 1
#: Limits on the network that a file may describe: far above every network here, far below a machine's memory.
MOST_CHANNELS, MOST_DEPTH, MOST_PARAMETERS = 4096, 64, 500_000_000


class Output(NamedTuple):
    """Output of a network: normalized reconstruction (N, 1, H, W), latent (N, C, h, w) before and after quantization."""

    x_hat: Tensor
    y: Tensor
    y_hat: Tensor


class Autoencoder(nn.Module):
    """A fixed-latent network: analysis g_a to C channels at 1/r of the size, synthesis g_s back.

    A subclass sets `g_a`, (N, 1, H, W) → (N, C, H/r, W/r), and `g_s`, which maps back; sizes are multiples of r. With ``init="klt"`` a linear path runs in parallel to both::

             ┌────── B ──────┐                      ┌────── Bᵀ ─────┐
        x ───┤               (+)── y ──[Q]── ŷ ─────┤               (+)── x̂
             └── g_a ── ·σ ──┘                      └── /σ ── g_s ──┘

    B is the KLT basis of the training patches and σ the standard deviation of each of its coefficients, so that g_a and
    g_s work with unit variances. The last layers of g_a and g_s start at zero: before the first step the network *is*
    the KLT.
    """

    g_a: nn.Module | None
    g_s: nn.Module | None
    #: Whether every network has the linear path, whatever its ``init``.
    always_linear = False
    #: Factor on the learning rate of the linear path: its weights are small and start at an optimum.
    linear_rate = 0.1

    def __init__(self, spec: ModelSpec):
        super().__init__()
        self.spec = spec
        self.g_a = self.g_s = None
        has_linear = self.always_linear or spec.init == "klt"
        self.linear = LinearShortcut(spec.spatial_reduction, spec.latent_channels) if has_linear else None

    def analysis(self, x: Tensor) -> Tensor:
        """Compute the latent (N, C, ceil(H/r), ceil(W/r)) of a normalized raster (N, 1, H, W) without NaN."""
        if x.ndim != 4 or x.shape[1] != 1 or 0 in x.shape:
            raise ModelError(
                f"a network takes single bands (N, 1, H, W), not {tuple(x.shape)}; pass the bands one by one"
            )
        x = mirror_pad(x, self.spec.spatial_reduction)
        if self.linear is None:
            assert self.g_a is not None
            return self.g_a(x - 0.5)
        y = self.linear.analysis(x)
        return y if self.g_a is None else y + self.linear.scale * self.g_a(x - 0.5)

    def synthesis(self, y_hat: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Compute the raster (N, 1, H, W) of a latent (N, C, h, w); default of `size` (H, W): (h·r, w·r)."""
        if y_hat.ndim != 4 or y_hat.shape[1] != self.spec.latent_channels:
            raise ModelError(f"a latent here is (N, {self.spec.latent_channels}, h, w), not {tuple(y_hat.shape)}")
        if self.linear is None:
            assert self.g_s is not None
            x_hat = self.g_s(y_hat) + 0.5
        else:
            x_hat = self.linear.synthesis(y_hat)
            if self.g_s is not None:
                x_hat = x_hat + self.g_s(y_hat / self.linear.scale)
        return x_hat if size is None else x_hat[..., : size[0], : size[1]]

    def forward(self, x: Tensor, quantizer: LatentHook | None = None) -> Output:
        """Apply analysis, `quantizer` (default: none) and synthesis."""
        y = self.analysis(x)
        y_hat = y if quantizer is None else quantizer(y)
        return Output(self.synthesis(y_hat, (x.shape[-2], x.shape[-1])), y, y_hat)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape (C, h, w) of the latent of a `height` × `width` raster."""
        r = self.spec.spatial_reduction
        return self.spec.latent_channels, -(-height // r), -(-width // r)

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        """Yield groups for an optimizer: ``params``, and ``rate``, a factor on the learning rate."""
        linear = [] if self.linear is None else list(self.linear.parameters())
        known = {id(p) for p in linear}
        network = [p for p in self.parameters() if id(p) not in known]
        if network:
            yield {"params": network, "rate": 1.0}
        if linear:
            yield {"params": linear, "rate": self.linear_rate}


#: Subclasses of `Autoencoder` by name. To add one: a class, ``@architectures.register("name")``, and, for the command
#: line to find it, an entry point of the group ``sarlab.architectures`` that names its module.
architectures: Registry[type[Autoencoder]] = Registry("architecture", "sarlab.architectures", ModelError)


@architectures.register("klt")
class KLT(Autoencoder):
    """The linear autoencoder::

        x ── conv r×r, stride r ── y ──[Q]── ŷ ── transposed conv r×r, stride r ── x̂

    Of all linear codes with C values per patch, it has the smallest mean squared error on the training patches.
    """

    always_linear = True


@architectures.register("plain")
class Plain(Autoencoder):
    """Convolutions that halve the size, with `depth` unstrided layers at each scale (here r = 16, w = `width`).

    The stem ``"fold"`` moves blocks of 8×8 pixels into channels, so that all layers work at low resolution::

        x ─ fold 8 ─ conv 4w ─ [layer]×depth ─ ↓2 C ─ y      ŷ ─ ↑2 4w ─ [layer]×depth ─ conv 64 ─ unfold 8 ─ x̂

    The side of a block is at most r/2; beyond 8 the size is halved by further layers. The stem ``"pyramid"`` is the
    guide's network::

        x ─ ↓2 w ─ [layer]×depth ─ ↓2 2w ─ [layer]×depth ─ ↓2 4w ─ [layer]×depth ─ ↓2 C ─ y
        x̂ ─ ↑2 1 ─ [layer]×depth ─ ↑2 w  ─ [layer]×depth ─ ↑2 2w ─ [layer]×depth ─ ↑2 4w ─ ŷ

    The last step to the latent is linear: nonlinear layers at its size cost 2 to 3 dB in short trainings.
    """

    block: Callable[[int], nn.Module] = PlainBlock
    attention = False

    def __init__(self, spec: ModelSpec):
        super().__init__(spec)
        coarsest, folded = spec.spatial_reduction // 2, spec.stem == "fold"
        side = min(FOLD, coarsest) if folded else 1
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        channels = 1
        first = side if folded else 2
        for scale in (2**k for k in range(coarsest.bit_length()) if 2**k >= first):
            wider = spec.width * min(max(scale // 2, 1), 4)
            if folded and scale == side:
                down += [nn.PixelUnshuffle(side), nn.Conv2d(side * side, wider, 3, padding=1)]
                last = [nn.Conv2d(wider, side * side, 3, padding=1), nn.PixelShuffle(side)]
            else:
                down += [nn.Conv2d(channels, wider, 5, 2, 2)]
                last = [nn.ConvTranspose2d(wider, channels, 4, 2, 1)]
            attend = self.attention and scale == coarsest
            down += [activation(), *self.blocks(wider), *[WindowAttention(wider)] * attend]
            up = [activation(), *[WindowAttention(wider)] * attend, *self.blocks(wider), *last, *up]
            channels = wider
        self.g_a = nn.Sequential(*down, nn.Conv2d(channels, spec.latent_channels, 5, 2, 2))
        self.g_s = nn.Sequential(nn.ConvTranspose2d(spec.latent_channels, channels, 4, 2, 1), *up)

    def blocks(self, channels: int) -> list[nn.Module]:
        """Return the unstrided layers of one scale."""
        return [type(self).block(channels) for _ in range(self.spec.depth)]


@architectures.register("residual")
class Residual(Plain):
    """`Plain` with `depth` residual blocks at each scale instead of plain layers.

    A block has two convolutions, so a plain network of equal cost is wider or twice as deep.
    """

    block = ResidualBlock

    def __init__(self, spec: ModelSpec):
        if spec.depth < 1:
            raise ModelError(f"'{spec.architecture}' needs depth of at least 1: without a block it is 'plain'")
        super().__init__(spec)


@architectures.register("attention")
class Attention(Residual):
    """`Residual` with self-attention at the coarsest scale, on both sides of the latent::

        … ─ [block]×depth ─ [attention] ─ ↓2 C ─ y      ŷ ─ ↑2 4w ─ [attention] ─ [block]×depth ─ …

    The attention starts as the identity.
    """

    attention = True


def build_model(
    spec: ModelSpec, *, seed: int, klt: KLTBasis | Callable[[int, int], KLTBasis] | None = None
) -> Autoencoder:
    """Build a network with random weights of `seed`, on the CPU, in channels_last memory.

    `klt`, the start of the linear path if the spec has one, is a basis or a function (r, C) → basis: ``data.fit_klt``.
    """
    # One draw between the two seeds, so that related seeds give unrelated weights.
    generator = torch.Generator().manual_seed(seed)
    model = construct(spec, int(torch.randint(2**62, (), generator=generator)))
    if model.linear is not None:
        if klt is None:
            raise ModelError(f"'{spec.architecture}' starts from a KLT of training data; pass klt=data.fit_klt")
        basis = klt(spec.spatial_reduction, spec.latent_channels) if callable(klt) else klt
        model.linear.load_basis(basis.vectors, basis.mean, basis.variances)
        for branch in (model.g_a, model.g_s):
            if branch is not None:
                zero_last_layer(branch)
    return model


def construct(spec: ModelSpec, seed: int) -> Autoencoder:
    """Build a network with random weights; its linear path, if any, is still unset."""
    if spec.latent_channels > spec.spatial_reduction**2:
        r = spec.spatial_reduction
        raise ModelError(f"latent_channels {spec.latent_channels} exceeds the {r}×{r} = {r * r} samples of a patch")
    # PyTorch's layers draw their weights from the global generator, so its state is saved and restored around them.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = architectures[spec.architecture](spec)
    # The fastest order for convolutions on CPUs; PyTorch's overloads lack it.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network from a file, in evaluation mode, on the CPU.

    `normalizers` maps each band to the dB that the network takes as 0 and 1; `provenance` holds the writer's notes.
    """

    model: Autoencoder
    normalizers: dict[str, tuple[float, float]]
    provenance: dict[str, Any]


def save_model(
    path: Path, model: Autoencoder, *, normalizers: Mapping[str, Any] | None = None, provenance: Mapping[str, Any] | None = None
) -> None:  # fmt: skip
    """Write a network's weights, with a Normalizer per band and JSON-compatible notes."""
    ranges = {band: [float(n.low), float(n.high)] for band, n in (normalizers or {}).items()}
    values = {"model": asdict(model.spec), "normalizers": ranges, "provenance": dict(provenance or {})}
    write_tensors(path, model.state_dict(), {"format": FORMAT} | values)


def load_model(path: Path) -> LoadedModel:
    """Read a network from an untrusted file; raise `ModelError` if anything is wrong with it."""
    tensors, values = read_tensors(path)
    if values.get("format") != FORMAT:
        raise ModelError(f"{path} has format {values.get('format')!r}; this version reads {FORMAT}")
    try:
        spec = spec_from_dict(ModelSpec, values["model"])
        normalizers = {str(band): (float(low), float(high)) for band, (low, high) in values["normalizers"].items()}
        provenance = dict(values["provenance"])
    except (KeyError, TypeError, ValueError, AttributeError, PlanError) as problem:
        raise ModelError(f"{path} is damaged: its description cannot be read ({problem})") from None
    if max(spec.width, spec.latent_channels) > MOST_CHANNELS or spec.depth > MOST_DEPTH:
        raise ModelError(f"{path} describes a network of width {spec.width} and depth {spec.depth}: too large")
    with torch.device("meta"):  # counts without allocating
        count = sum(p.numel() for p in construct(spec, 0).parameters())
    if count > MOST_PARAMETERS:
        raise ModelError(f"{path} describes a network of {count} parameters: too large")
    model = construct(spec, 0)
    copy_tensors(tensors, model.state_dict(), str(path))
    return LoadedModel(model.eval(), normalizers, provenance)


# --- size and cost -----------------------------------------------------------------------------------------------------


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_layers(model: Autoencoder) -> int:
    """Return the number of convolutions from the pixels to the latent; that of a linear network is 1."""
    return 1 if model.g_a is None else sum(isinstance(layer, nn.Conv2d) for layer in model.g_a.modules())


@lru_cache(maxsize=1024)
def macs_per_pixel(spec: ModelSpec) -> float:
    """Count multiply-accumulates per pixel of analysis and synthesis together.

    Convolutions, matrix products and attention count; activations and sums do not, as is usual.
    """
    # Eight latent positions per side fill the attention's windows, as a scene does.
    side = 8 * spec.spatial_reduction
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        construct(spec, 0).eval()(torch.zeros(1, 1, side, side))
    return counter.get_total_flops() / 2 / side**2
