"""Base classes of the classical codecs: one band after the other through an image coder, in an ``.srlc`` container.

    Scene ─to_db─▶ band ─fill nodata─▶ Grid.codes ─▶ library ─▶ payload ┐
                     └──────────────── mask ──────────────────────────┴─▶ file

The grid of integer codes spans the range of the band, so no bright target and no dark pixel is clipped. Its offset and
step are side information of the file, and count.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from sarlab.codec.protocol import Availability, Capabilities, quality_bound
from sarlab.codec.tiles import fill_invalid
from sarlab.errors import BitstreamError, CodecError, SarlabError
from sarlab.peers import srlc
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

#: Default qualities of each codec: Sentinel-1 VV from 0.05 to 4 bits per pixel, or as low as the codec goes. Made by
#: ``python benchmarks/codecs.py calibrate``: medians over three scenes of the qualities at twelve rates. The lowest
#: rate of JPEG is 0.06 bpp there, of WebP 0.10, of LERC 0.16; ZFP, whose bound is a power of two, starts at 1.4.
GRIDS: dict[str, tuple[float, ...]] = {
    "jpeg2000": (23.1, 23.7, 24.3, 25, 25.9, 27.6, 28.9, 30.8, 33, 36.8, 41.8, 49.2),
    "htj2k": (7.5, 9.2, 10.8, 12.5, 14.4, 16.6, 19.1, 21.8, 24.8, 28.3, 32.9, 39.2),
    "jpegxl": (4.4, 6.1, 13, 19.7, 28, 50.7, 66.7, 78.2, 85.8, 91.5, 96.3, 99),
    "jpeg": (2.4, 3.7, 4.6, 5.9, 8, 11.2, 16.6, 26.9, 49, 74.5, 87.6, 94.7),
    "jpeg12": (0.13, 0.21, 0.27, 0.34, 0.46, 0.65, 0.97, 1.6, 2.95, 5.9, 12.6, 31),
    "webp": (0, 1, 2, 5, 11, 21, 39, 65, 81, 90, 97),
    "avif": (6, 10, 16, 21, 27, 35, 42, 51, 60, 75, 87, 96),
    "avif10": (2, 9, 15, 21, 28, 36, 44, 53, 63, 76, 86, 94),
    "avif12": (6, 10, 13, 20, 27, 31, 39, 49, 59, 71, 84, 91),
    "hevc12": (1.2, 4, 6.8, 10.1, 13.6, 18.2, 23.3, 29.5, 36.9, 45.2, 55, 68.6),
    "vvc10": (14.2, 16.5, 18.5, 20.3, 22.4, 24.9, 27.5, 30.5, 34, 38.2, 43.5, 51.2),
    "jpegls": (-20.6, -17.7, -17.4, -16.2, -14.9, -13.6, -12.1, -10, -6.1, 1.8, 8.1, 16.5),
    "sz3": (-21.1, -17.7, -16.5, -14.7, -12.1, -9.9, -6.9, -3.1, 1.4, 7.2, 15.3),
    "zfp": tuple(20 * np.log10(2.0) * octave for octave in range(-6, 5)),
    "sperr": (-22.1, -20.7, -19.3, -17.7, -15.7, -13.3, -10.8, -8.1, -5.2, -1.2, 4.1, 12),
    "lerc": (-25.8, -23.6, -22.7, -22.1, -21.5, -20.9, -19.6, -18.1, -16.6, -9.5, -3.6, 3.2),
}
#: Samples of the finest integer grid: 16 bit.
TOP_16 = 2**16 - 1


@dataclass(frozen=True)
class Grid:
    """Equidistant dB values, ``value = offset + step · code``; offset and step are exact in float32, as stored."""

    offset: float
    step: float

    @classmethod
    def spanning(cls, plane: np.ndarray, top: float) -> Grid:
        """Make the grid on which the smallest sample of `plane` is code 0 and the largest at most `top`."""
        low, high = float(plane.min()), float(plane.max())
        return cls.with_step(low, (high - low) / top)

    @classmethod
    def with_step(cls, offset: float, step: float) -> Grid:
        """Make a grid with at least this step: rounding to float32 must not push the largest sample off the last code."""
        with np.errstate(over="ignore", under="ignore"):
            stored = np.float32(step)
        if stored < step:
            stored = np.nextafter(stored, np.float32(np.inf))
        return cls(float(np.float32(offset)), float(stored))

    def codes(self, plane: np.ndarray) -> np.ndarray:
        """Nearest codes of samples in dB, int64."""
        return np.rint((plane.astype(np.float64) - self.offset) / self.step).astype(np.int64)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """Samples in dB of codes: float32, not clipped."""
        return (self.offset + self.step * codes.astype(np.float64)).astype(np.float32)


def filled(plane: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Replace the invalid samples of a (height, width) band by a smooth continuation, which costs few bits.

    The blocky means of `fill_invalid` alone would cost JPEG 2000 up to 7 % more along the border of a swath.
    """
    if valid.all():
        return np.asarray(plane, np.float32)
    from scipy.ndimage import gaussian_filter

    out = fill_invalid(plane[None], valid[None], float(plane[valid].mean(dtype=np.float64)))[0]
    for sigma in (8, 4, 2):
        out = np.where(valid, plane, gaussian_filter(out, sigma, mode="nearest"))
    return out


def imagecodecs() -> Any:
    """Import the library of most of these codecs when it is first needed."""
    import imagecodecs as library

    return library


def library_version(function: str) -> str:
    """Versions of a library inside imagecodecs and of the wheel: ``openjpeg 2.5.4, imagecodecs 2026.3.6``."""
    inner = getattr(imagecodecs(), f"{function}_version")()
    return f"{inner.replace('-', ' ', 1)}, imagecodecs {imagecodecs().__version__}"


class BandCodec:
    """A codec that codes each band on its own; a subclass sets the attributes, `encode_band` and `decode_band`."""

    name: str
    family: str
    domain: str
    capabilities: Capabilities
    #: Package to import, and to install if it is missing.
    package: str = "imagecodecs"
    #: Attribute of imagecodecs that states if its build has the coder (``"JPEG2K"``); empty for another library.
    coder: str = ""

    def available(self) -> Availability:
        """Check if the codec works here."""
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
        """Make a file of a scene in dB; see `Codec.compress`."""
        quality = self.capabilities.quality.checked(quality, self.name)
        scene = to_db(scene)
        bands = tuple(
            self._band(name, plane, valid, quality)
            for name, plane, valid in zip(scene.bands, scene.data, scene.valid, strict=True)
        )
        return srlc.pack(srlc.Contents(self.name, "db", scene.shape[1:], bands))

    def decompress(self, data: bytes) -> Scene:
        """Decode a file to dB; see `Codec.decompress`."""
        contents = srlc.unpack(data, self.name)
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

    def _band(self, name: str, plane: np.ndarray, valid: np.ndarray, quality: float) -> srlc.Band:
        if not valid.any():
            return srlc.Band(name, valid, srlc.EMPTY)
        samples = plane[valid]
        low, high = float(samples.min()), float(samples.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise CodecError(f"band '{name}' has infinite samples; mark missing measurements with NaN")
        if low == high:
            return srlc.Band(name, valid, srlc.CONSTANT, offset=low)
        grid, payload = self.encode_band(filled(plane, valid), quality)
        return srlc.Band(name, valid, srlc.CODED, grid.offset, grid.step, payload)

    def _plane(self, band: srlc.Band, shape: tuple[int, int]) -> np.ndarray:
        if band.kind == srlc.EMPTY:
            return np.full(shape, np.nan, np.float32)
        if band.kind == srlc.CONSTANT:
            return np.full(shape, band.offset, np.float32)
        if band.kind != srlc.CODED:
            raise BitstreamError(f"band '{band.name}': {self.name} has no kind {band.kind}")
        return self.decode_band(band.payload, shape, Grid(band.offset, band.step))

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        """Code a (height, width) float32 band in dB, without NaN and not constant: its grid and payload."""
        raise NotImplementedError

    def decode_band(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        """Decode a payload to float32 dB."""
        raise NotImplementedError


class IntegerCodec(BandCodec):
    """A codec of unsigned integers of `bits` bits, over which the range of the band in dB is spread.

    A library whose quality has whole numbers only becomes continuous by a gain below 1: with fewer codes, one step of
    its quantizer is more dB.
    """

    bits: int = 16

    def setting(self, quality: float) -> tuple[float, float]:
        """Split a quality into (level of the library, gain in (0, 1])."""
        return quality, 1.0

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        """Code (height, width) codes, uint8 or uint16, to a codestream."""
        raise NotImplementedError

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        """Decode a codestream to codes."""
        raise NotImplementedError

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        level, gain = self.setting(quality)
        grid = Grid.spanning(plane, max(1, round((2**self.bits - 1) * gain)))
        codes = grid.codes(plane).astype(np.uint8 if self.bits == 8 else np.uint16)
        return grid, bytes(self.encode(np.ascontiguousarray(codes), level))

    def decode_band(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        return grid.values(np.asarray(self.decode(payload, shape)).reshape(shape))


class BoundedCodec(BandCodec):
    """A codec of floats with a guaranteed largest error in dB."""

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        """Code (height, width) float32 dB with an error of at most `bound`."""
        raise NotImplementedError

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        """Decode a codestream to float32 dB."""
        raise NotImplementedError

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        return Grid(0.0, 1.0), bytes(self.encode(np.ascontiguousarray(plane), quality_bound(quality)))

    def decode_band(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        return np.asarray(self.decode(payload, shape), np.float32).reshape(shape)


def unit_steps(quality: float) -> int:
    """Round `quality` up to a whole level."""
    return int(np.ceil(quality - 1e-9))
