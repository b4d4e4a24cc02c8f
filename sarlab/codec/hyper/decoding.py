"""What the codec `hyper` makes of a decoded latent: samples, the correction of their means, the reflectivity. All in floats.

The latent is what encoder and decoder agree on; from here on nothing is coded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sarlab.codec.hyper.arithmetic import FRACTION, AtQuality
from sarlab.codec.hyper.levelcurve import SIZE, LevelCurve, fit_curve, unpack_curves
from sarlab.codec.tile_model import TileModel
from sarlab.scenes.radiometry import local_mean

#: Ground is dark, dim, light or bright by these quantiles of its mean intensity.
QUARTERS = (0.25, 0.5, 0.75)
#: Side in samples of the mean that the brightness of the ground is judged by.
SMOOTHING = 25
#: Side of the window of latent positions whose mean is the level of a place: 24 samples.
LEVEL_WINDOW = 3


class HyperDecoding(TileModel):
    """The decoder's own part of `sarlab.codec.hyper.model.HyperModel`.

    Attributes
    ----------
    network : CodingTransform
    bias : sarlab.codec.hyper.bias.BiasCorrection or None
    despeckling : Despeckling or None
    """

    network: Any
    bias: Any
    despeckling: Any

    def at(self, quality: float) -> AtQuality:
        """Steps, ratios and prices at a quality."""
        raise NotImplementedError

    def synthesize(self, latent: np.ndarray, quality: float) -> np.ndarray:
        import torch

        with torch.inference_mode():
            steps = torch.from_numpy(self.at(quality).nominal)[:, None, None]
            return self.network.synthesis(self.values(latent, quality), quality, steps)[:, 0].numpy()

    def despeckled(self, latent: np.ndarray, quality: float) -> np.ndarray:
        import torch

        if self.despeckling is None:
            return super().despeckled(latent, quality)
        with torch.inference_mode():
            deviation = self.network.deviation[:, None, None]
            estimate = self.despeckling(self.values(latent, quality) / deviation, quality) * deviation
            return self.network.linear_synthesis(estimate)[:, 0].numpy()

    def correction(self, latent: np.ndarray, quality: float, side: tuple[LevelCurve, ...]) -> np.ndarray:
        import torch

        if self.bias is None and not side:
            return super().correction(latent, quality, side)
        with torch.inference_mode():
            values = self.values(latent, quality)
            if self.bias is None:
                found = np.zeros((len(latent), *(self.stride * n for n in latent.shape[2:])), np.float32)
            else:
                found = self.bias.in_db(values / self.network.deviation[:, None, None], quality, self.stride)[
                    :, 0
                ].numpy()
            if side:
                levels = self._levels(values)
                found = found + np.stack([curve(level) for curve, level in zip(side, levels, strict=True)])
        return found

    def parse_side(self, side: bytes, bands: int) -> tuple[LevelCurve, ...]:
        return unpack_curves(side, bands) if side else ()

    def fit_side(self, sample: Sequence[tuple[np.ndarray, np.ndarray]], quality: float) -> bytes:
        return b""

    def radiometry_size(self, bands: int) -> int:
        return bands * SIZE

    def fit_radiometry(
        self, sample: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, Any]], widths: np.ndarray, quality: float
    ) -> bytes:
        import torch

        looked: list[list[list[np.ndarray]]] = [[[], [], [], []] for _ in widths]
        for latent, x, valid, place in sample:
            at = (slice(None), *place)
            decoded = self.synthesize(latent, quality)[at] * widths[:, None, None]
            if self.bias is not None:
                decoded = decoded + self.correction(latent, quality, ())[at]
            with torch.inference_mode():
                levels = self._levels(self.values(latent, quality))[at]
            for band, parts in enumerate(looked):
                original = x[band] * widths[band]
                mean = local_mean(10 ** (original.astype(np.float64) / 10), valid[band], SMOOTHING)
                for part, values in zip(parts, (original, decoded[band], levels[band], mean), strict=True):
                    part.append(values[valid[band]])
        curves = []
        for original, decoded, levels, means in ([np.concatenate(part) for part in parts] for parts in looked):
            classes = np.searchsorted(np.quantile(means, QUARTERS), means) if means.size else means.astype(int)
            curves.append(fit_curve(original, decoded, levels, classes))
        return b"".join(curve.pack() for curve in curves)

    def values(self, latent: np.ndarray, quality: float) -> Any:
        """Latents in normalized units: Tensor of float32."""
        import torch

        return (
            torch.from_numpy(latent.astype(np.float32))
            * torch.from_numpy(self.at(quality).steps / FRACTION)[:, None, None]
        )

    @cached_property
    def _constant(self) -> Any:
        """Latent of a raster one above the neutral level, over its own square: its product with a latent is the level."""
        import torch

        side = 8 * self.stride
        direction = self.network.analysis(torch.ones(1, 1, side, side) + self.network.neutral)[0, :, 4, 4]
        return direction / direction.square().sum()

    def _levels(self, values: Any) -> np.ndarray:
        """Normalized level of every sample's place: (bands, channels, h, w) → (bands, h·stride, w·stride), float32."""
        import torch
        from torch.nn.functional import avg_pool2d, interpolate

        level = torch.einsum("c,bchw->bhw", self._constant, values)[:, None] + self.neutral
        level = avg_pool2d(level, LEVEL_WINDOW, 1, LEVEL_WINDOW // 2, count_include_pad=False)
        return interpolate(level, scale_factor=self.stride, mode="bilinear", align_corners=False)[:, 0].numpy()
