"""The contract of a learned model: what it must provide so that a ``.sarl`` file can carry its tiles.

    x ──analyze──▶ y ──quantize──▶ latent (integers) ──encode──▶ bytes ──decode──▶ latent ──synthesize──▶ x_hat

A model works on tiles of any size that is a multiple of its stride. It is given the *active* latent columns, those near
a coded sample, as flags: uint8, (bands, h, w), see `sarlab.codec.tiles.active_flags`. All other columns are zero and cost
nothing. Encoder and decoder must agree on every bit of the latent, so `decode` may use integer arithmetic only; the file
holds a checksum of the latent. The synthesis may use floats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

#: (top, left, bottom, right): sides of a window that are borders of the scene.
Borders = tuple[bool, bool, bool, bool]


class QuantizedTile(NamedTuple):
    """A quantized latent, int32 (bands, channels, h, w), the size of its code in bits, and what `encode` needs besides."""

    latent: np.ndarray
    bits: float
    code: Any = None


class TileModel(ABC):
    """A model that codes tiles."""

    #: A file decodes with a model of the same name and hash only.
    name: str
    hash: bytes
    #: Channels of the latent; samples per latent position and axis.
    channels: int
    stride: int
    #: Samples around its own block that a latent position depends on; latent positions around its own that a sample needs.
    analysis_reach: int
    synthesis_reach: int
    #: Range of quality.
    lowest: float
    highest: float

    def for_scene(self, height: int, width: int) -> TileModel:
        """Adapt the model to the size of a scene."""
        return self

    def with_effort(self, effort: str) -> TileModel:
        """Adapt the model to the time that encoding may take: "fast", "default" or "best"."""
        return self

    def with_weight(self, factor: float) -> TileModel:
        """Adapt the weight of a bit against errors when quantizing."""
        return self

    @abstractmethod
    def analyze(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        """Transform normalized samples, (bands, H, W), to a latent: float32, (bands, channels, H/stride, W/stride)."""

    @abstractmethod
    def fit_side(self, sample: Sequence[tuple[np.ndarray, np.ndarray]], quality: float) -> bytes:
        """Choose the side information of a file, given pairs (y, active) of a sample of the scene."""

    @abstractmethod
    def parse_side(self, side: bytes, bands: int) -> Any:
        """Parse side information into the argument `side` of the methods below. Raises `BitstreamError`."""

    @abstractmethod
    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: Any) -> QuantizedTile:
        """Quantize a latent, (bands, channels, h, w)."""

    @abstractmethod
    def encode(self, quantized: QuantizedTile, active: np.ndarray, quality: float, side: Any) -> bytes:
        """Code a quantized tile."""

    @abstractmethod
    def decode(self, data: bytes, active: np.ndarray, quality: float, side: Any) -> np.ndarray:
        """Decode a latent: int32, (bands, channels, h, w), zero at columns that are not active."""

    @abstractmethod
    def synthesize(self, latent: np.ndarray, quality: float, side: Any, borders: Borders) -> np.ndarray:
        """Reconstruct normalized samples: (bands, channels, h, w) → float32, (bands, h·stride, w·stride)."""

    def no_latent(self, bands: int, height: int, width: int) -> np.ndarray:
        """The latent of a tile without active columns."""
        return np.zeros((bands, self.channels, height, width), np.int32)
