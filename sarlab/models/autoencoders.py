"""The guide's networks: plain, residual, and residual with attention at the bottleneck."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sarlab.errors import ModelError
from sarlab.models.base import Autoencoder
from sarlab.models.layers import (
    DepthToSpace,
    PlainBlock,
    ResidualBlock,
    SpaceToDepth,
    WindowAttention,
    activation,
    halvings,
    scale_channels,
)
from sarlab.models.registry import architectures
from sarlab.specs import ModelSpec

#: Side of the block that the folded stem moves into channels before the first layer.
FOLD = 8


@architectures.register("plain")
class Plain(Autoencoder):
    """Strided convolutions, with `depth` unstrided ones at each scale.

    From scratch it is the guide's pyramid (r = 16, w = `width`)::

        x ─ ↓2 w ─ [layer]×depth ─ ↓2 2w ─ [layer]×depth ─ ↓2 4w ─ [layer]×depth ─ ↓2 C ─ y
        x̂ ─ ↑2 1 ─ [layer]×depth ─ ↑2 w  ─ [layer]×depth ─ ↑2 2w ─ [layer]×depth ─ ↑2 4w ─ ŷ

    Beside a linear path (``init="klt"``) it corrects what that one leaves, and works at low resolution from the first
    layer on: 8×8 pixels are folded into 64 channels::

        x ─ fold 8 ─ conv 4w ─ [layer]×depth ─ ↓2 4w ─ [layer]×depth ─ conv C ─ (+ linear) ─ y
        x̂ ─ (+ linear) ─ unfold 8 ─ conv 64 ─ [layer]×depth ─ ↑2 4w ─ [layer]×depth ─ conv 4w ─ ŷ

    The option ``stem`` ("pyramid" or "fold") chooses between the two for either initialization.
    """

    block: Callable[[int], nn.Module] = PlainBlock
    attention = False

    def __init__(self, spec: ModelSpec):
        super().__init__(spec)
        stem = dict(spec.options).get("stem", "fold" if spec.init == "klt" else "pyramid")
        if stem not in ("pyramid", "fold"):
            raise ModelError(f"option stem of '{spec.architecture}' must be 'pyramid' or 'fold', not {stem!r}")
        unknown = set(dict(spec.options)) - {"stem"}
        if unknown:
            raise ModelError(f"unknown option '{min(unknown)}' of '{spec.architecture}'; known: stem")
        build = (
            (self.folded_analysis, self.folded_synthesis) if stem == "fold" else (self.pyramid_down, self.pyramid_up)
        )
        self.g_a, self.g_s = (nn.Sequential(*make()) for make in build)

    def blocks(self, channels: int) -> list[nn.Module]:
        """The unstrided part of one scale."""
        return [type(self).block(channels) for _ in range(self.spec.depth)]

    def bottleneck(self, channels: int) -> list[nn.Module]:
        """What an architecture adds at the size of the latent."""
        return [WindowAttention(channels)] if self.attention else []

    def pyramid_down(self) -> list[nn.Module]:
        """Layers of g_a, from 1 channel by stride 2 to C."""
        spec, layers, channels = self.spec, [], 1
        for scale in halvings(1, spec.spatial_reduction // 2):
            wider = scale_channels(spec.width, scale)
            layers += [nn.Conv2d(channels, wider, 5, 2, 2), activation(), *self.blocks(wider)]
            channels = wider
        if not self.attention:
            return [*layers, nn.Conv2d(channels, spec.latent_channels, 5, 2, 2)]
        wider = scale_channels(spec.width, spec.spatial_reduction)
        layers += [nn.Conv2d(channels, wider, 5, 2, 2), activation(), *self.bottleneck(wider)]
        return [*layers, nn.Conv2d(wider, spec.latent_channels, 1)]

    def pyramid_up(self) -> list[nn.Module]:
        """Layers of g_s, the mirror image of g_a."""
        spec = self.spec
        scales = halvings(1, spec.spatial_reduction // 2)[::-1]
        channels, layers = spec.latent_channels, []
        if self.attention:
            channels = scale_channels(spec.width, spec.spatial_reduction)
            layers += [nn.Conv2d(spec.latent_channels, channels, 1), activation(), *self.bottleneck(channels)]
        for scale in scales:
            wider = scale_channels(spec.width, scale)
            layers += [nn.ConvTranspose2d(channels, wider, 4, 2, 1), activation(), *self.blocks(wider)]
            channels = wider
        return [*layers, nn.ConvTranspose2d(channels, 1, 4, 2, 1)]

    def folded_analysis(self) -> list[nn.Module]:
        """Layers of g_a at low resolution from the start."""
        spec = self.spec
        fold = min(FOLD, spec.spatial_reduction)
        channels = scale_channels(spec.width, fold)
        layers = [
            SpaceToDepth(fold),
            nn.Conv2d(fold * fold, channels, 3, padding=1),
            activation(),
            *self.blocks(channels),
        ]
        for scale in halvings(fold, spec.spatial_reduction):
            wider = scale_channels(spec.width, scale)
            layers += [nn.Conv2d(channels, wider, 4, 2, 1), activation(), *self.blocks(wider)]
            channels = wider
        return [*layers, *self.bottleneck(channels), nn.Conv2d(channels, spec.latent_channels, 3, padding=1)]

    def folded_synthesis(self) -> list[nn.Module]:
        """Layers of g_s, the mirror image of g_a."""
        spec = self.spec
        fold = min(FOLD, spec.spatial_reduction)
        channels = scale_channels(spec.width, spec.spatial_reduction)
        layers = [nn.Conv2d(spec.latent_channels, channels, 3, padding=1), activation()]
        layers += [*self.bottleneck(channels), *self.blocks(channels)]
        for scale in (
            [fold, *halvings(fold, spec.spatial_reduction)[:-1]][::-1] if spec.spatial_reduction > fold else []
        ):
            wider = scale_channels(spec.width, scale)
            layers += [nn.ConvTranspose2d(channels, wider, 4, 2, 1), activation(), *self.blocks(wider)]
            channels = wider
        return [*layers, nn.Conv2d(channels, fold * fold, 3, padding=1), DepthToSpace(fold)]


@architectures.register("residual")
class Residual(Plain):
    """`Plain` with `depth` residual blocks at each scale in place of its unstrided layers.

    A block is two convolutions, so equal MACs to plain means a smaller width (`sarlab.models.complexity.match_width`)
    or twice the depth there.
    """

    block = ResidualBlock

    def __init__(self, spec: ModelSpec):
        if spec.depth < 1:
            raise ModelError(f"'{spec.architecture}' needs depth of at least 1: without a block it is 'plain'")
        super().__init__(spec)


@architectures.register("attention")
class Attention(Residual):
    """`Residual` with self-attention at the bottleneck, on both sides of the latent::

    … ─ ↓2 4w ─ [attention] ─ conv C ─ y      ŷ ─ conv 4w ─ [attention] ─ …
    """

    attention = True
