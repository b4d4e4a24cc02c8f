"""JPEG 2000, HTJ2K, JPEG XL, JPEG (8 and 12 bit), WebP and AVIF (8, 10, 12 bit): still-image codecs on a dB grid.

Encoders run on one thread, so the same scene gives the same bytes on any number of cores. Psycho-visual tuning is off
if a codec has it, because error is measured here, not appearance.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from sarlab.codec.protocol import Availability, Capabilities, QualityScale
from sarlab.peers.band_codec import GRIDS, IntegerCodec, imagecodecs, unit_steps


def _capabilities(name: str, meaning: str, low: float, high: float, bits: int, step: float = 0.0) -> Capabilities:
    return Capabilities(QualityScale(meaning, low, high, GRIDS[name], step), bits=bits)


class Jpeg2000(IntegerCodec):
    """JPEG 2000 Part 1, irreversible 9/7 wavelet, 16 bit; the bare codestream."""

    name, family, coder = "jpeg2000", "wavelet", "JPEG2K"
    domain = "dB as 16-bit integers over the scene's own range"
    capabilities = _capabilities(
        # Files of OpenJPEG lie 0.02 to 0.09 dB apart.
        "jpeg2000",
        "target PSNR of the encoder in dB, relative to the range of the scene",
        12,
        100,
        16,
        step=0.02,
    )

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        return imagecodecs().jpeg2k_encode(codes, level, codecformat="J2K", reversible=False, numthreads=1)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().jpeg2k_decode(payload, numthreads=1)


class HighThroughputJpeg2000(IntegerCodec):
    """JPEG 2000 Part 15 (HTJ2K), irreversible 9/7 wavelet, 16 bit: faster entropy coding for more bits."""

    name, family, coder = "htj2k", "wavelet", "HTJ2K"
    domain = "dB as 16-bit integers over the scene's own range"
    capabilities = _capabilities(
        "htj2k", "−20·log10 of the base quantizer step as a fraction of the scene's range", 0, 100, 16
    )

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        return imagecodecs().htj2k_encode(codes, 10 ** (-level / 20), reversible=False)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().htj2k_decode(payload)


def jpegxl_distance(quality: float) -> float:
    """Butteraugli distance of libjxl's quality scale (0 to 100), as its own tools map it."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


class JpegXl(IntegerCodec):
    """JPEG XL, VarDCT, 16 bit, effort 7. Its psycho-visual tuning cannot be switched off."""

    name, family, coder = "jpegxl", "transform", "JPEGXL"
    domain = "dB as 16-bit integers over the scene's own range"
    capabilities = _capabilities("jpegxl", "libjxl quality; Butteraugli distance 25 at 0, 0.1 at 100", 0, 100, 16)

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        return imagecodecs().jpegxl_encode(codes, distance=jpegxl_distance(level), effort=7, numthreads=1)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().jpegxl_decode(payload, numthreads=1)


class Jpeg(IntegerCodec):
    """JPEG (ISO/IEC 10918-1), 8 bit, optimized Huffman tables."""

    name, family, coder, bits = "jpeg", "transform", "JPEG8", 8
    domain = "dB as 8-bit integers over the scene's own range"
    capabilities = _capabilities("jpeg", "IJG quality; between whole numbers the dB per code vary", 1, 100, 8)
    #: Below it the quantization table is kept, and fewer codes are used.
    lowest_level = 1

    def setting(self, quality: float) -> tuple[float, float]:
        # The quantizer's step is proportional to 1/q below 50 and to 100 − q above.
        level = max(unit_steps(quality), self.lowest_level)
        if level <= 50:
            return level, quality / level
        if level < 100:
            return level, (100 - level) / (100 - quality)
        return level, 2.0 ** (quality - level)

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        return imagecodecs().jpeg8_encode(codes, int(level), bitspersample=self.bits, optimize=True)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().jpeg8_decode(payload)


class Jpeg12(Jpeg):
    """JPEG (ISO/IEC 10918-1, extended sequential), 12 bit, optimized Huffman tables.

    Entries of the quantization table saturate at 255 below IJG quality 25, so the table is kept from there on down.
    """

    name, bits, lowest_level = "jpeg12", 12, 25
    domain = "dB as 12-bit integers over the scene's own range"
    capabilities = _capabilities(
        "jpeg12", "IJG quality; below 25 the table is kept and the dB per code grow", 0.1, 100, 12
    )

    def available(self) -> Availability:
        found = super().available()
        if found.ok and not getattr(imagecodecs().JPEG8, "all_precisions", False):
            return Availability(False, "this build of imagecodecs has an 8-bit libjpeg")
        return found


class WebP(IntegerCodec):
    """WebP, lossy (VP8 intra), 8 bit, method 6. Luma has the narrow range: 220 codes."""

    name, family, coder, bits = "webp", "video", "WEBP", 8
    domain = "dB as 8-bit integers over the scene's own range"
    capabilities = _capabilities("webp", "libwebp quality, whole numbers", 0, 100, 8, step=1)

    def setting(self, quality: float) -> tuple[float, float]:
        return unit_steps(quality), 1.0

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        height, width = codes.shape
        if max(height, width) > 16383:
            raise ValueError(f"WebP takes up to 16383 samples a side, the band has {height}×{width}")
        color = np.ascontiguousarray(np.repeat(codes[..., None], 3, 2))
        return imagecodecs().webp_encode(color, level, lossless=False, method=6, numthreads=1)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().webp_decode(payload)[..., 1]


class Avif(IntegerCodec):
    """AVIF (AV1 intra), 8 bit, monochrome, libaom tuned for PSNR, through Pillow."""

    name, family, bits, package = "avif", "video", 8, "PIL"
    domain = "dB as 8-bit integers over the scene's own range"
    capabilities = _capabilities("avif", "libavif quality, whole numbers", 0, 100, 8, step=1)
    speed = 4

    def available(self) -> Availability:
        found = super().available()
        if not found.ok:
            return Availability(False, "Pillow cannot be imported; pip install pillow")
        from PIL import features

        return found if features.check("avif") else Availability(False, "this build of Pillow has no AVIF")

    def version(self) -> str:
        import PIL
        from PIL import features

        return f"libavif {features.version('avif')}, pillow {PIL.__version__}"

    def setting(self, quality: float) -> tuple[float, float]:
        return unit_steps(quality), 1.0

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        from PIL import Image

        options: dict[str, Any] = {"subsampling": "4:0:0", "range": "full", "speed": self.speed, "max_threads": 1}
        stream = io.BytesIO()
        Image.fromarray(codes).save(stream, "AVIF", quality=int(level), advanced={"tune": "psnr"}, **options)
        return stream.getvalue()

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        from PIL import Image

        with Image.open(io.BytesIO(payload)) as image:
            return np.asarray(image.convert("RGB"))[..., 1]


class DeepAvif(IntegerCodec):
    """AVIF (AV1 intra), 10 or 12 bit, monochrome, libaom through imagecodecs.

    A two-dimensional array would be coded losslessly at any level, so the plane is passed three times, and the encoder
    keeps luma only.
    """

    family, coder = "video", "AVIF"

    def __init__(self, bits: int, speed: int):
        self.name, self.bits, self.speed = f"avif{bits}", bits, speed
        self.domain = f"dB as {bits}-bit integers over the scene's own range"
        self.capabilities = _capabilities(self.name, "libavif quality, whole numbers", 0, 99, bits, step=1)

    def setting(self, quality: float) -> tuple[float, float]:
        return unit_steps(quality), 1.0

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        color = np.ascontiguousarray(np.repeat(codes[..., None], 3, 2))
        return imagecodecs().avif_encode(
            color, int(level), speed=self.speed, bitspersample=self.bits, pixelformat="400", codec="aom", numthreads=1
        )

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().avif_decode(payload, numthreads=1)


CODECS = (
    Jpeg2000(), HighThroughputJpeg2000(), JpegXl(), Jpeg(), Jpeg12(), WebP(), Avif(), DeepAvif(10, speed=4),
    DeepAvif(12, speed=6),
)  # fmt: skip
