"""The protocol that learned and classical codecs share: a scene becomes a file, and a file a scene.

    Scene ──compress(quality)──▶ bytes (a whole file) ──decompress──▶ Scene

`sarlab.peers.codecs` is the registry of all codecs. A codec of your own is one object with these members and one
registration: ``sarlab.peers.codecs.register("mine")(MyCodec())``, in a module that your package names under the entry
point group ``sarlab.codecs``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from sarlab.errors import CodecError
from sarlab.scenes.scene import Scene


class Availability(NamedTuple):
    """Availability of a codec on this machine, with the reason if it does not work."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class QualityScale:
    """The native scale of a codec, oriented so that **higher is better**: more bits, less error."""

    #: In words, with the unit.
    meaning: str
    low: float
    high: float
    #: Default qualities, ascending: 0.05 to 4 bits per pixel on Sentinel-1 as far as the codec reaches. One value for a
    #: codec with a single quality.
    grid: tuple[float, ...]
    #: Values closer than this give the same file; 0 for a continuous scale.
    step: float = 0.0

    def checked(self, quality: float, codec: str) -> float:
        """Return `quality` as float, or raise a `CodecError` that states the range."""
        if not self.low <= float(quality) <= self.high:
            raise CodecError(
                f"codec '{codec}': quality {quality:g} is outside [{self.low:g}, {self.high:g}] ({self.meaning})"
            )
        return float(quality)


@dataclass(frozen=True)
class Capabilities:
    """Capabilities of a codec."""

    quality: QualityScale
    #: Largest bit depth of the samples; 32 for floats.
    bits: int
    #: Integers of `bits` bits (or floats) are restored exactly.
    lossless: bool = False
    #: Quality is a guaranteed largest error: ``quality = −20·log10(bound / dB)``.
    error_bounded: bool = False
    #: Most bands of a file; None for any number.
    bands: int | None = None
    #: The same scene and quality give the same bytes on one machine with one version of the library.
    deterministic: bool = True
    #: Trained on data: results must state if it has seen the scene.
    trained: bool = False


@runtime_checkable
class Codec(Protocol):
    """A codec."""

    #: In the registry, in tables, in files.
    name: str
    #: "wavelet", "transform", "video", "predictive", "error-bounded", "lossless", "learned" …
    family: str
    #: What is quantized: "dB as 16-bit integers over the scene's own range".
    domain: str
    capabilities: Capabilities

    def available(self) -> Availability:
        """Check if the codec works here; imports its library, never raises."""

    def version(self) -> str:
        """Version of the library that does the work."""

    def compress(self, scene: Scene, *, quality: float) -> bytes:
        """Make a whole file of a scene of any real quantity, in dB (lossless codecs: of native integers)."""

    def decompress(self, data: bytes) -> Scene:
        """Decode a file: float32, invalid samples NaN, nothing clipped. Raises `BitstreamError`."""


def bound_quality(bound_db: float) -> float:
    """Quality of an error-bounded codec for a largest error of `bound_db`."""
    if not bound_db > 0:
        raise CodecError(f"an error bound must be above zero dB, not {bound_db:g}")
    return -20 * math.log10(bound_db)


def quality_bound(quality: float) -> float:
    """Largest error in dB that an error-bounded codec guarantees at `quality`."""
    return 10 ** (-quality / 20)
