"""Codec: what turns a scene into bytes and back, whoever made it; and the registry of all of them.

    Scene ──compress(quality)──▶ bytes (a whole file) ──decompress──▶ Scene

The classical and the learned codecs stand behind the same protocol. A codec of your own is one object with these
members and one registration: ``codecs.register("mine")(MyCodec())``, here or in a package that names its module under
the entry point group ``sarlab.codecs``.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from sarlab.errors import CodecError
from sarlab.registry import Registry
from sarlab.scenes.scene import Scene


class Availability(NamedTuple):
    """Whether a codec can be used on this machine, and if not, why."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True)
class QualityScale:
    """The native knob of a codec, oriented so that **higher is better**: more bits, less error.

    Parameters
    ----------
    meaning : str
        What a value is, in words with its unit.
    low, high : float
        Smallest and largest value accepted.
    grid : tuple of float
        Default qualities, ascending: on Sentinel-1 they span 0.05 to 4 bit per pixel as far as the codec reaches.
        One value for a codec without a knob.
    step : float
        Values nearer than this give the same file; 0 for a continuous scale.
    """

    meaning: str
    low: float
    high: float
    grid: tuple[float, ...]
    step: float = 0.0

    def checked(self, quality: float, codec: str) -> float:
        """`quality` as float, or a `CodecError` that names the range."""
        value = float(quality)
        if not self.low <= value <= self.high:
            raise CodecError(
                f"codec '{codec}': quality {quality:g} is outside [{self.low:g}, {self.high:g}] ({self.meaning})"
            )
        return value


@dataclass(frozen=True)
class Capabilities:
    """What a codec supports.

    Parameters
    ----------
    quality : QualityScale
    bits : int
        Largest bit depth of the samples it codes; 32 for floats.
    lossless : bool
        The raster of `bits`-deep integers (or the floats) comes back exactly.
    error_bounded : bool
        Quality is a guaranteed largest error: ``quality = −20·log10(bound / dB)``.
    bands : int or None
        Most bands of a file; None for any number.
    deterministic : bool
        Same scene and quality, same bytes, on one machine with one version of its library.
    trained : bool
        Made from data: rows must say whether it has seen the scene.
    """

    quality: QualityScale
    bits: int
    lossless: bool = False
    error_bounded: bool = False
    bands: int | None = None
    deterministic: bool = True
    trained: bool = False


@runtime_checkable
class Codec(Protocol):
    """What the laboratory asks of a codec.

    Attributes
    ----------
    name : str
        In the registry, in tables, in files.
    family : str
        "wavelet", "transform", "video", "predictive", "error-bounded", "lossless", "learned" …
    domain : str
        What is quantized, in words: "dB as 16-bit integers over the scene's own range".
    capabilities : Capabilities
    """

    name: str
    family: str
    domain: str
    capabilities: Capabilities

    def available(self) -> Availability:
        """Whether it can be used here, and the reason if not. Imports its library, raises nothing."""
        ...

    def version(self) -> str:
        """Version of the library that does the work, for the rows."""
        ...

    def compress(self, scene: Scene, *, quality: float) -> bytes:
        """A whole file: header, side information and payload.

        Parameters
        ----------
        scene : Scene
            Of any real quantity; samples are coded in dB (lossless codecs: as they are where they are integers).
        quality : float
            On the codec's own scale, higher is better.
        """
        ...

    def decompress(self, data: bytes) -> Scene:
        """The scene of a file: float32, invalid samples NaN, nothing clipped.

        Raises
        ------
        BitstreamError
            The file is truncated, damaged or foreign.
        """
        ...


#: Modules that register the codecs of this package; imported when a codec is first looked up.
BUILT_IN = ("sarlab.peers", "sarlab.codec.learned_codecs")


class _Codecs(Registry[Codec]):
    def _load_plugins(self) -> None:
        for module in BUILT_IN:
            importlib.import_module(module)
        super()._load_plugins()


#: Every codec by name.
codecs: Registry[Codec] = _Codecs("codec", "sarlab.codecs", CodecError)


def usable(name: str) -> Codec:
    """The codec `name`, or a `CodecError` that says why it cannot be used here."""
    codec = codecs[name]
    ok, reason = codec.available()
    if not ok:
        raise CodecError(f"codec '{name}' is not available: {reason}")
    return codec


def bound_quality(bound_db: float) -> float:
    """Quality of an error-bounded codec for a largest error of `bound_db`."""
    if not bound_db > 0:
        raise CodecError(f"an error bound must be above zero dB, not {bound_db:g}")
    return -20 * math.log10(bound_db)


def quality_bound(quality: float) -> float:
    """Largest error in dB that an error-bounded codec guarantees at `quality`."""
    return 10 ** (-quality / 20)
