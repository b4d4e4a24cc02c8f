"""What the classical codecs share: one band after the other through an image coder, inside the small container.

Scene ─to_db─▶ band ─fill nodata─▶ Grid.codes ─▶ library ─▶ payload ┐
                 └──────────────── mask ──────────────────────────┴─▶ file
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

import numpy as np

from sarlab.codec.codec import Availability, Capabilities, quality_bound
from sarlab.errors import BitstreamError, CodecError, SarlabError
from sarlab.peers import container
from sarlab.peers.raster import Grid, fill_invalid
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

#: Samples of the finest integer grid: 16 bit.
TOP_16 = 2**16 - 1


def imagecodecs() -> Any:
    """The library most of these codecs come from, imported when it is first needed."""
    import imagecodecs as library

    return library


def library_version(function: str) -> str:
    """Version of a library inside imagecodecs, and of the wheel: ``openjpeg 2.5.4, imagecodecs 2026.3.6``."""
    inner = getattr(imagecodecs(), f"{function}_version")()
    return f"{inner.replace('-', ' ', 1)}, imagecodecs {imagecodecs().__version__}"


class PlaneCodec:
    """A codec that codes every band by itself, and knows nothing of nodata.

    A subclass sets the attributes and offers `encode_plane` and `decode_plane`.

    Attributes
    ----------
    name, family, domain, capabilities
        See `Codec`.
    package : str
        What must be importable, and installed where it is missing.
    coder : str
        Attribute of imagecodecs that says whether this build has the coder (``"JPEG2K"``); empty where another library
        does the work.
    """

    name: str
    family: str
    domain: str
    capabilities: Capabilities
    package: str = "imagecodecs"
    coder: str = ""

    def available(self) -> Availability:
        """Whether it can be used here, and the reason if not."""
        try:
            library = importlib.import_module(self.package)
        except Exception as error:
            return Availability(False, f"{self.package} cannot be imported ({error}); pip install {self.package}")
        if self.coder and not getattr(getattr(library, self.coder, None), "available", False):
            return Availability(False, f"this build of {self.package} {library.__version__} has no {self.coder}")
        return Availability(True)

    def version(self) -> str:
        """Version of the library that does the work."""
        return library_version(self.coder.lower())

    def compress(self, scene: Scene, *, quality: float) -> bytes:
        """A whole file of `scene` in dB; see `Codec.compress`."""
        quality = self.capabilities.quality.checked(quality, self.name)
        scene = to_db(scene)
        bands = tuple(
            self._band(name, plane, valid, quality)
            for name, plane, valid in zip(scene.bands, scene.data, scene.valid, strict=True)
        )
        return container.pack(container.Contents(self.name, "db", scene.shape[1:], bands))

    def decompress(self, data: bytes) -> Scene:
        """The scene of a file, in dB; see `Codec.decompress`."""
        contents = container.unpack(data, self.name)
        planes = []
        for band in contents.bands:
            try:
                plane = self._plane(band, contents.shape)
            except SarlabError:
                raise
            except Exception as error:
                raise BitstreamError(f"band '{band.name}' does not decode with {self.name}: {error}") from error
            if plane.shape != contents.shape:
                raise BitstreamError(f"band '{band.name}' decodes to {plane.shape}, the header says {contents.shape}")
            planes.append(np.where(band.valid, plane, np.float32(np.nan)))
        return Scene(
            data=np.stack(planes).astype(np.float32, copy=False),
            quantity=contents.quantity,
            bands=tuple(band.name for band in contents.bands),
            valid=np.stack([band.valid for band in contents.bands]),
            dtype=contents.dtype,
        )

    def _band(self, name: str, plane: np.ndarray, valid: np.ndarray, quality: float) -> container.Band:
        if not valid.any():
            return container.Band(name, valid, container.EMPTY)
        samples = plane[valid]
        low, high = float(samples.min()), float(samples.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise CodecError(f"band '{name}' has infinite samples; only NaN can mark what is no measurement")
        if low == high:
            return container.Band(name, valid, container.CONSTANT, offset=low)
        grid, payload = self.encode_plane(fill_invalid(plane, valid), quality)
        return container.Band(name, valid, container.CODED, grid.offset, grid.step, payload)

    def _plane(self, band: container.Band, shape: tuple[int, int]) -> np.ndarray:
        if band.kind == container.EMPTY:
            return np.full(shape, np.nan, np.float32)
        if band.kind == container.CONSTANT:
            return np.full(shape, band.offset, np.float32)
        if band.kind != container.CODED:
            raise BitstreamError(f"band '{band.name}': kind {band.kind} is not one of {self.name}")
        return self.decode_plane(band.payload, shape, Grid(band.offset, band.step))

    def encode_plane(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        """Payload of a (height, width) float32 band in dB without NaN and not constant, and its grid."""
        raise NotImplementedError

    def decode_plane(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        """float32 dB of a payload."""
        raise NotImplementedError


class IntegerCodec(PlaneCodec):
    """A codec of unsigned integers: the band's own range in dB is spread over the `bits`-deep codes.

    A knob that has whole numbers only becomes finer by the width of that spread: with `gain` below 1 fewer codes are
    used, so one step of the library's quantizer is more dB.
    """

    bits: int = 16

    def setting(self, quality: float) -> tuple[float, float]:
        """(level of the library's knob, gain in (0, 1])."""
        return quality, 1.0

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        """Codestream of (height, width) codes, uint8 or uint16."""
        raise NotImplementedError

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        """Codes of a codestream."""
        raise NotImplementedError

    def encode_plane(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        level, gain = self.setting(quality)
        grid = Grid.spanning(plane, max(1, round((2**self.bits - 1) * gain)))
        codes = grid.codes(plane).astype(np.uint8 if self.bits == 8 else np.uint16)
        return grid, bytes(self.encode(np.ascontiguousarray(codes), level))

    def decode_plane(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        return grid.values(np.asarray(self.decode(payload, shape)).reshape(shape))


class BoundedCodec(PlaneCodec):
    """A codec of floats with a guaranteed largest error in dB."""

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        """Codestream of (height, width) float32 dB whose error is at most `bound`."""
        raise NotImplementedError

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        """float32 dB of a codestream."""
        raise NotImplementedError

    def encode_plane(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        return Grid(0.0, 1.0), bytes(self.encode(np.ascontiguousarray(plane), quality_bound(quality)))

    def decode_plane(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        return np.asarray(self.decode(payload, shape), np.float32).reshape(shape)


def unit_steps(quality: float) -> int:
    """The whole-number level at or above `quality`."""
    return int(np.ceil(quality - 1e-9))
