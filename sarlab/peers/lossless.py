"""Lossless references: what the native integers of a product cost without any loss, and what its float32 dB cost.

Where the samples of a product are integers (detected amplitude or intensity) those are coded. Files that carry dB as
floats have lost them: their dB are put on a grid of as many levels as the product's native bit depth, and that integer
raster is coded without loss.
"""

from __future__ import annotations

import zlib

import numpy as np

from sarlab.codec.codec import Availability, Capabilities, QualityScale, codecs
from sarlab.errors import BitstreamError
from sarlab.peers import container
from sarlab.peers.base import PlaneCodec, imagecodecs
from sarlab.peers.bounded import jpegls_encode
from sarlab.peers.raster import Grid, fill_invalid
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

_NO_KNOB = QualityScale("no knob: always the same file", 0, 0, (0.0,))


def native_integers(scene: Scene) -> bool:
    """Whether the samples are a detected product's own integers of at most 16 bit."""
    if scene.quantity not in ("amplitude", "intensity"):
        return False
    samples = scene.data[scene.valid]
    return bool(samples.size) and bool(((samples >= 0) & (samples <= 65535) & (samples == np.rint(samples))).all())


class LosslessCodec(PlaneCodec):
    """Integers of the product's native depth, exactly."""

    family = "lossless"
    domain = "native integers; of products in dB a grid of as many levels over the scene's own range"
    capabilities = Capabilities(_NO_KNOB, bits=16, lossless=True)

    def encode(self, codes: np.ndarray) -> bytes:
        """Codestream of (height, width) codes, uint8 or uint16."""
        raise NotImplementedError

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        """Codes of a codestream."""
        raise NotImplementedError

    def compress(self, scene: Scene, *, quality: float = 0.0) -> bytes:
        """A whole file of `scene`; quality has one value, 0."""
        self.capabilities.quality.checked(quality, self.name)
        native = native_integers(scene)
        scene = scene if native else to_db(scene)
        top = 0 if native else 2 ** min(scene.native_bits, 16) - 1
        bands = tuple(
            self._band(name, plane, valid, top)
            for name, plane, valid in zip(scene.bands, scene.data, scene.valid, strict=True)
        )
        dtype = scene.dtype if native else "float32"
        return container.pack(container.Contents(self.name, scene.quantity, scene.shape[1:], bands, dtype))

    def encode_plane(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        """Payload of a band; `quality` carries the number of the last level, 0 for native integers."""
        grid = Grid.spanning(plane, quality) if quality else Grid(0.0, 1.0)
        codes = grid.codes(plane)
        codes = np.ascontiguousarray(codes.astype(np.uint8 if codes.max() < 256 else np.uint16))
        return grid, bytes(self.encode(codes))

    def decode_plane(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        return grid.values(np.asarray(self.decode(payload, shape)).reshape(shape))

    def _band(self, name: str, plane: np.ndarray, valid: np.ndarray, quality: float) -> container.Band:
        band = super()._band(name, plane, valid, quality)
        if band.kind != container.CODED:
            return band
        # A reference that is called lossless proves it: libraries have failed on full-entropy data.
        grid = Grid(band.offset, band.step)
        codes = grid.codes(fill_invalid(plane, valid))
        try:
            exact = np.array_equal(np.asarray(self.decode(band.payload, plane.shape)).reshape(plane.shape), codes)
        except Exception:
            exact = False
        if exact:
            return band
        payload = deflate_integers(codes)
        return container.Band(name, valid, container.DEFLATED, band.offset, band.step, payload)

    def _plane(self, band: container.Band, shape: tuple[int, int]) -> np.ndarray:
        if band.kind == container.DEFLATED:
            return Grid(band.offset, band.step).values(inflate_integers(band.payload, shape))
        return super()._plane(band, shape)


def deflate_integers(codes: np.ndarray) -> bytes:
    """Deflated low and high bytes of codes below 2^16, as two planes of row differences."""
    differences: np.ndarray = np.diff(codes.astype(np.uint16), axis=1, prepend=np.uint16(0))
    return zlib.compress(
        (differences & 255).astype(np.uint8).tobytes() + (differences >> 8).astype(np.uint8).tobytes(), 9
    )


def inflate_integers(payload: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Inverse of `deflate_integers`."""
    size = shape[0] * shape[1]
    raw = np.frombuffer(container.inflate(payload, 2 * size), np.uint8).astype(np.uint16)
    return np.cumsum((raw[:size] + 256 * raw[size:]).reshape(shape), axis=1, dtype=np.uint16)


class LosslessJpegLs(LosslessCodec):
    """JPEG-LS (LOCO-I), lossless."""

    name, coder = "lossless-jpegls", "JPEGLS"

    def encode(self, codes: np.ndarray) -> bytes:
        return jpegls_encode(codes, 0)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().jpegls_decode(payload)


class LosslessJpeg2000(LosslessCodec):
    """JPEG 2000, reversible 5/3 wavelet."""

    name, coder = "lossless-jpeg2000", "JPEG2K"

    def encode(self, codes: np.ndarray) -> bytes:
        return imagecodecs().jpeg2k_encode(codes, codecformat="J2K", reversible=True, numthreads=1)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().jpeg2k_decode(payload, numthreads=1)


class LosslessJpegXl(LosslessCodec):
    """JPEG XL, modular, lossless, effort 7."""

    name, coder = "lossless-jpegxl", "JPEGXL"

    def encode(self, codes: np.ndarray) -> bytes:
        return imagecodecs().jpegxl_encode(codes, lossless=True, effort=7, numthreads=1)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().jpegxl_decode(payload, numthreads=1)


class LosslessPng(LosslessCodec):
    """PNG: byte prediction and deflate."""

    name, coder = "lossless-png", "PNG"

    def encode(self, codes: np.ndarray) -> bytes:
        return imagecodecs().png_encode(codes, 9)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().png_decode(payload)


class LosslessZlib(LosslessCodec):
    """Deflate of row differences, from the standard library: always at hand, as in a GeoTIFF with a predictor."""

    name = "lossless-zlib"

    def available(self) -> Availability:
        return Availability(True)

    def version(self) -> str:
        return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"

    def encode(self, codes: np.ndarray) -> bytes:
        return deflate_integers(codes)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return inflate_integers(payload, shape)


class LosslessFloat(PlaneCodec):
    """The float32 samples of a file, bit for bit (pcodec): mostly the cost of meaningless digits."""

    name, family, coder = "lossless-float32", "lossless", "PCODEC"
    domain = "float32 samples as they are"
    capabilities = Capabilities(_NO_KNOB, bits=32, lossless=True)

    def compress(self, scene: Scene, *, quality: float = 0.0) -> bytes:
        """A whole file of `scene`; quality has one value, 0. The quantity stays (complex scenes: dB of intensity)."""
        self.capabilities.quality.checked(quality, self.name)
        scene = to_db(scene) if scene.quantity == "complex" else scene
        bands = []
        for name, plane, valid in zip(scene.bands, scene.data, scene.valid, strict=True):
            if not valid.any():
                bands.append(container.Band(name, valid, container.EMPTY))
                continue
            filled = np.ascontiguousarray(np.where(valid, plane, plane[valid][0]))
            payload = bytes(imagecodecs().pcodec_encode(filled))
            bands.append(container.Band(name, valid, container.CODED, payload=payload))
        contents = container.Contents(self.name, scene.quantity, scene.shape[1:], tuple(bands), scene.dtype)
        return container.pack(contents)

    def decode_plane(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        plane = np.asarray(imagecodecs().pcodec_decode(payload, shape=shape, dtype=np.float32))
        if plane.shape != shape:
            raise BitstreamError(f"{plane.size} samples instead of {shape[0]}×{shape[1]}")
        return plane


for _codec in (
    LosslessJpegLs(), LosslessJpeg2000(), LosslessJpegXl(), LosslessPng(), LosslessZlib(), LosslessFloat(),
):  # fmt: skip
    codecs.register(_codec.name)(_codec)
