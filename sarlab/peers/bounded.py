"""Codecs with a guarantee: error-bounded ones in the log domain, and lossless references.

Error-bounded: JPEG-LS near-lossless, SZ3, ZFP, SPERR and LERC. A bound of ε dB on each sample bounds the relative error
of its intensity by 10^(ε/10) − 1.

Lossless: what the native integers of a product, or its float32 dB, cost. Integers of detected amplitude or intensity
are coded as they are. Files with dB as floats have lost them, so their dB are put on a grid with as many levels as the
native bit depth of the product, and that integer raster is coded losslessly.
"""

from __future__ import annotations

import zlib

import numpy as np

from sarlab.codec.protocol import Availability, Capabilities, QualityScale, quality_bound
from sarlab.errors import BitstreamError, CodecError
from sarlab.peers import srlc
from sarlab.peers.band_codec import GRIDS, TOP_16, BandCodec, BoundedCodec, Grid, filled, imagecodecs
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

MEANING = "−20·log10 of the largest error in dB: 0 is 1 dB, 20 is 0.1 dB"


#: One octave of the bound.
OCTAVE = 20 * np.log10(2)


def _capabilities(name: str, bits: int = 32, step: float = 0.0) -> Capabilities:
    # Bounds from 64 dB to 1/1024 dB.
    return Capabilities(
        QualityScale(MEANING, -6 * OCTAVE, 10 * OCTAVE, GRIDS[name], step), bits=bits, error_bounded=True
    )


class NearLossless(BandCodec):
    """JPEG-LS near-lossless on dB integers up to 16 bit: predictive, every sample within the bound.

    The bound is 3.5 steps of the integer grid: 3 for JPEG-LS, half of one for rounding to the grid. (NEAR = 1 to 10
    cost the same bits within 1 % at bounds up to 2 dB.)
    """

    name, family, coder = "jpegls", "predictive", "JPEGLS"
    domain = "dB as integers of up to 16 bit, grid step = bound / 3.5"
    capabilities = _capabilities("jpegls", bits=16)
    near = 3

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        bound = quality_bound(quality)
        low, high = float(plane.min()), float(plane.max())
        for near in (self.near, 0):
            # Slightly below the bound, for the rounding of the stored step and of the float32 samples.
            ulp = float(np.spacing(np.float32(max(abs(low), abs(high)))))
            grid = Grid.with_step(low, max((bound - 2 * ulp) * (1 - 1e-6), 0) / (near + 0.5))
            if grid.step > 0 and (high - low) / grid.step <= TOP_16 - 1:
                break
        else:
            raise CodecError(
                f"codec 'jpegls': a bound of {bound:g} dB over a range of {high - low:.4g} dB needs more than 16 bit"
            )
        codes = grid.codes(plane)
        codes = np.ascontiguousarray(codes.astype(np.uint8 if codes.max() < 256 else np.uint16))
        return grid, jpegls_encode(codes, near)

    def decode_band(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        return grid.values(np.asarray(imagecodecs().jpegls_decode(payload)).reshape(shape))


def jpegls_encode(codes: np.ndarray, near: int) -> bytes:
    """Code with JPEG-LS. Full-entropy data exceeds the buffer that the library would allocate."""
    return bytes(imagecodecs().jpegls_encode(codes, near, out=2 * codes.nbytes + 4096))


class Sz3(BoundedCodec):
    """SZ3: interpolation or Lorenzo prediction, quantization, Huffman, Zstandard."""

    name, family, coder = "sz3", "predictive", "SZ3"
    domain = "float32 dB"
    capabilities = _capabilities("sz3")

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        return imagecodecs().sz3_encode(plane, mode="abs", abs=bound)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().sz3_decode(payload, shape, np.float32)


class Zfp(BoundedCodec):
    """ZFP in fixed-accuracy mode: 4×4 blocks, near-orthogonal transform, bit planes.

    The bound is rounded down to a power of two, and the error stays well inside it.
    """

    name, family, coder = "zfp", "transform", "ZFP"
    domain = "float32 dB"
    capabilities = _capabilities("zfp", step=OCTAVE)

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        return imagecodecs().zfp_encode(plane, bound, mode="a", numthreads=1)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().zfp_decode(payload, numthreads=1)


class Sperr(BoundedCodec):
    """SPERR: CDF 9/7 wavelet, SPECK coding, and a list of the outliers beyond the bound."""

    name, family, coder = "sperr", "wavelet", "SPERR"
    domain = "float32 dB"
    capabilities = _capabilities("sperr")

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        return imagecodecs().sperr_encode(plane, bound, "pwe", numthreads=1)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().sperr_decode(payload, numthreads=1)


class Lerc(BoundedCodec):
    """LERC (limited error raster compression): bit-stuffed blocks; bounded compression of cloud-optimized GeoTIFF."""

    name, family, coder = "lerc", "predictive", "LERC"
    domain = "float32 dB"
    capabilities = _capabilities("lerc")

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        return imagecodecs().lerc_encode(plane, bound)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().lerc_decode(payload)


# --- lossless
# ----------------------------------------------------------------------------------------------------------

_ONE_QUALITY = QualityScale("no choice: always the same file", 0, 0, (0.0,))


def native_integers(scene: Scene) -> bool:
    """Check if the samples are the native integers, of at most 16 bits, of a detected product."""
    if scene.quantity not in ("amplitude", "intensity"):
        return False
    samples = scene.data[scene.valid]
    return bool(samples.size) and bool(((samples >= 0) & (samples <= 65535) & (samples == np.rint(samples))).all())


class LosslessCodec(BandCodec):
    """Integers of the product's native depth, exactly."""

    family = "lossless"
    domain = "native integers; of products in dB a grid of as many levels over the scene's own range"
    capabilities = Capabilities(_ONE_QUALITY, bits=16, lossless=True)

    def encode(self, codes: np.ndarray) -> bytes:
        """Codestream of (height, width) codes, uint8 or uint16."""
        raise NotImplementedError

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        """Codes of a codestream."""
        raise NotImplementedError

    def compress(self, scene: Scene, *, quality: float = 0.0) -> bytes:
        """Make a file; quality has one value, 0."""
        self.capabilities.quality.checked(quality, self.name)
        native = native_integers(scene)
        scene = scene if native else to_db(scene)
        top = 0 if native else 2 ** min(scene.native_bits, 16) - 1
        bands = tuple(
            self._band(name, plane, valid, top)
            for name, plane, valid in zip(scene.bands, scene.data, scene.valid, strict=True)
        )
        dtype = scene.dtype if native else "float32"
        return srlc.pack(srlc.Contents(self.name, scene.quantity, scene.shape[1:], bands, dtype))

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        """Code a band; `quality` is the number of the last level, 0 for native integers."""
        grid = Grid.spanning(plane, quality) if quality else Grid(0.0, 1.0)
        codes = grid.codes(plane)
        codes = np.ascontiguousarray(codes.astype(np.uint8 if codes.max() < 256 else np.uint16))
        return grid, bytes(self.encode(codes))

    def decode_band(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        return grid.values(np.asarray(self.decode(payload, shape)).reshape(shape))

    def _band(self, name: str, plane: np.ndarray, valid: np.ndarray, quality: float) -> srlc.Band:
        band = super()._band(name, plane, valid, quality)
        if band.kind != srlc.CODED:
            return band
        # Verified, because libraries have failed on full-entropy data.
        grid = Grid(band.offset, band.step)
        codes = grid.codes(filled(plane, valid))
        try:
            exact = np.array_equal(np.asarray(self.decode(band.payload, plane.shape)).reshape(plane.shape), codes)
        except Exception:
            exact = False
        if exact:
            return band
        payload = deflate_integers(codes)
        return srlc.Band(name, valid, srlc.DEFLATED, band.offset, band.step, payload)

    def _plane(self, band: srlc.Band, shape: tuple[int, int]) -> np.ndarray:
        if band.kind == srlc.DEFLATED:
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
    raw = np.frombuffer(srlc.inflate(payload, 2 * size), np.uint8).astype(np.uint16)
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
    """Deflate of row differences, from the standard library, as in a GeoTIFF with a predictor."""

    name = "lossless-zlib"

    def available(self) -> Availability:
        return Availability(True)

    def version(self) -> str:
        return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"

    def encode(self, codes: np.ndarray) -> bytes:
        return deflate_integers(codes)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return inflate_integers(payload, shape)


class LosslessFloat(BandCodec):
    """The float32 samples of a file, bit for bit (pcodec): mostly the cost of insignificant digits."""

    name, family, coder = "lossless-float32", "lossless", "PCODEC"
    domain = "float32 samples as they are"
    capabilities = Capabilities(_ONE_QUALITY, bits=32, lossless=True)

    def compress(self, scene: Scene, *, quality: float = 0.0) -> bytes:
        """Make a file in the quantity of the scene (complex scenes: dB of intensity); quality has one value, 0."""
        self.capabilities.quality.checked(quality, self.name)
        scene = to_db(scene) if scene.quantity == "complex" else scene
        bands = []
        for name, plane, valid in zip(scene.bands, scene.data, scene.valid, strict=True):
            if not valid.any():
                bands.append(srlc.Band(name, valid, srlc.EMPTY))
                continue
            filled = np.ascontiguousarray(np.where(valid, plane, plane[valid][0]))
            payload = bytes(imagecodecs().pcodec_encode(filled))
            bands.append(srlc.Band(name, valid, srlc.CODED, payload=payload))
        contents = srlc.Contents(self.name, scene.quantity, scene.shape[1:], tuple(bands), scene.dtype)
        return srlc.pack(contents)

    def decode_band(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        plane = np.asarray(imagecodecs().pcodec_decode(payload, shape=shape, dtype=np.float32))
        if plane.shape != shape:
            raise BitstreamError(f"{plane.size} samples instead of {shape[0]}×{shape[1]}")
        return plane


CODECS = (
    NearLossless(), Sz3(), Zfp(), Sperr(), Lerc(),
    LosslessJpegLs(), LosslessJpeg2000(), LosslessJpegXl(), LosslessPng(), LosslessZlib(), LosslessFloat(),
)  # fmt: skip
