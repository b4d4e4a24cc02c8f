"""Lossy image and video coders on a dB grid: JPEG 2000, HTJ2K, JPEG XL, JPEG, WebP, AVIF, HEVC intra and VVC intra.

Encoders run on one thread, so the same scene gives the same bytes on any number of cores. Psycho-visual tuning is off
if a codec has it, because error is measured here, not appearance.
"""

from __future__ import annotations

import functools
import io
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sarlab.errors import BitstreamError, CodecError
from sarlab.peers.band_codec import BandCodec, Grid
from sarlab.peers.protocol import Capabilities, QualityScale

#: Default qualities of each codec: Sentinel-1 VV from 0.05 to 4 bits per pixel, or as low as the codec goes. Made by
#: ``python benchmarks/codecs.py calibrate``: medians over three scenes of the qualities at twelve rates. The lowest
#: rate of JPEG is 0.06 bpp there, of WebP 0.10.
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
}
#: Six steps of the quantization parameter double the quantizer's step (HEVC and VVC alike).
QP_PER_OCTAVE = 6
#: Seconds after which an encoder or decoder program is considered hung.
PROGRAM_TIMEOUT = 600


class ImageCodec(BandCodec):
    """A codec of unsigned integers of `bits` bits, over which the range of the band in dB is spread.

    `setting` splits a quality into (level of the library, gain in (0, 1]). A library whose quality has whole numbers only
    becomes continuous by a gain below 1: with fewer codes, one step of its quantizer is more dB.
    """

    def __init__(
        self, name: str, family: str, coder: str, bits: int, scale: tuple[str, float, float, float], about: str,
        encode: Callable[..., Any] | None = None, decode: Callable[..., Any] | None = None,
        setting: Callable[[float], tuple[float, float]] = lambda quality: (quality, 1.0),
    ):  # fmt: skip
        meaning, low, high, step = scale
        self.bits, self.setting = bits, setting
        domain = f"dB as {bits}-bit integers over the scene's own range"
        capabilities = Capabilities(QualityScale(meaning, low, high, GRIDS[name], step), bits)
        super().__init__(name, family, coder, domain, capabilities, about, encode, decode)

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        level, gain = self.setting(quality)
        grid = Grid.spanning(plane, max(1, round((2**self.bits - 1) * gain)))
        return grid, self.encode(grid.codes(plane).astype(np.uint8 if self.bits == 8 else np.uint16), level)


# --- qualities --------------------------------------------------------------------------------------------------------


def unit_steps(quality: float) -> int:
    """Round `quality` up to a whole level."""
    return int(np.ceil(quality - 1e-9))


def whole(quality: float) -> tuple[float, float]:
    """Setting of a library with whole qualities."""
    return unit_steps(quality), 1.0


def jpeg_setting(quality: float, lowest: int = 1) -> tuple[float, float]:
    """IJG quality and gain; below `lowest` the quantization table is kept, and fewer codes are used.

    The quantizer's step is proportional to 1/q below 50 and to 100 − q above.
    """
    level = max(unit_steps(quality), lowest)
    if level <= 50:
        return level, quality / level
    return level, (100 - level) / (100 - quality) if level < 100 else 2.0 ** (quality - level)


def jpegxl_distance(quality: float) -> float:
    """Butteraugli distance of libjxl's quality scale (0 to 100), as its own tools map it."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def gray(codes: np.ndarray) -> np.ndarray:
    """A color picture of equal channels, of which encoders keep the luma."""
    return np.ascontiguousarray(np.repeat(codes[..., None], 3, 2))


# --- coders with conditions of their own ------------------------------------------------------------------------------


class Jpeg12(ImageCodec):
    """JPEG of 12 bits, which some builds lack."""

    def lacking(self, library: Any) -> str:
        return super().lacking(library) or (
            "" if getattr(library.JPEG8, "all_precisions", False) else "this build of imagecodecs has an 8-bit libjpeg"
        )


class WebP(ImageCodec):
    """WebP, which has a largest picture."""

    def encode(self, samples: np.ndarray, setting: Any) -> bytes:
        if max(samples.shape) > 16383:
            height, width = samples.shape
            raise ValueError(f"WebP takes up to 16383 samples a side, the band has {height}×{width}")
        return super().encode(samples, setting)


class Avif(ImageCodec):
    """AVIF of 8 bits through Pillow."""

    package, distribution = "PIL", "pillow"

    def lacking(self, library: Any) -> str:
        from PIL import features

        return "" if features.check("avif") else "this build of Pillow has no AVIF"

    def version(self) -> str:
        import PIL
        from PIL import features

        return f"libavif {features.version('avif')}, pillow {PIL.__version__}"

    def encode(self, samples: np.ndarray, setting: Any) -> bytes:
        from PIL import Image

        options: dict[str, Any] = {"subsampling": "4:0:0", "range": "full", "speed": 4, "max_threads": 1}
        stream = io.BytesIO()
        Image.fromarray(samples).save(stream, "AVIF", quality=int(setting), advanced={"tune": "psnr"}, **options)
        return stream.getvalue()

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        from PIL import Image

        with Image.open(io.BytesIO(payload)) as image:
            return np.asarray(image.convert("RGB"))[..., 1].reshape(shape)


class Hevc(ImageCodec):
    """HEVC through pillow-heif.

    One thread, because the bitstream depends on how x265 divides the picture among threads.
    """

    package, distribution = "pillow_heif", "pillow-heif"
    settings: ClassVar = {"tune": "psnr", "x265:psy-rdoq": "0", "x265:pools": "none", "x265:frame-threads": "1"}

    def lacking(self, library: Any) -> str:
        return "" if library.libheif_info().get("HEIF") else "this build of pillow-heif has no HEVC encoder"

    def version(self) -> str:
        import pillow_heif

        encoder = pillow_heif.libheif_info()["HEIF"].partition("(")[2].partition("+")[0]
        return f"x265 {encoder}, libheif {pillow_heif.libheif_version()}, pillow-heif {pillow_heif.__version__}"

    def encode(self, samples: np.ndarray, setting: Any) -> bytes:
        import pillow_heif

        height, width = samples.shape
        stream = io.BytesIO()
        before = pillow_heif.options.SAVE_HDR_TO_12_BIT
        pillow_heif.options.SAVE_HDR_TO_12_BIT = True
        try:
            # The encoder takes the upper 12 of 16 bits.
            pillow_heif.encode(
                "I;16", (width, height), (samples << 4).tobytes(), stream,
                quality=100 - 2 * int(setting), save_nclx_profile=False, enc_params=self.settings,
            )  # fmt: skip
        finally:
            pillow_heif.options.SAVE_HDR_TO_12_BIT = before
        return stream.getvalue()

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        import pillow_heif

        image = pillow_heif.open_heif(io.BytesIO(payload), convert_hdr_to_8bit=False)[0]
        return (np.asarray(image) >> 4).reshape(shape)


def hevc_setting(quality: float) -> tuple[float, float]:
    """CRF of x265, and gain."""
    wanted = (100 - quality) / 2
    crf = int(np.floor(wanted + 1e-9))
    return crf, 2.0 ** (-(wanted - crf) / QP_PER_OCTAVE)


class Vvc(ImageCodec):
    """VVC in the ffmpeg program of imageio-ffmpeg. Chroma planes are constant and cost a few bytes."""

    package, distribution = "imageio_ffmpeg", "imageio-ffmpeg"

    def lacking(self, library: Any) -> str:
        try:
            listed = _ffmpeg("-encoders").decode()
        except (CodecError, OSError, RuntimeError) as error:
            return f"no ffmpeg program: {error}"
        return "" if "libvvenc" in listed else "this ffmpeg was built without VVenC"

    def version(self) -> str:
        import imageio_ffmpeg

        return f"libvvenc in ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}, imageio-ffmpeg {imageio_ffmpeg.__version__}"

    def encode(self, samples: np.ndarray, setting: Any) -> bytes:
        rows, columns = _coded_shape(samples.shape)
        height, width = samples.shape
        luma = np.pad(samples, ((0, rows - height), (0, columns - width)), mode="edge").astype("<u2")
        chroma = np.full(rows * columns // 2, 2 ** (self.bits - 1), "<u2")
        return _ffmpeg(
            "-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", f"{columns}x{rows}", "-r", "1", "-i", "-", "-frames:v", "1",
            "-c:v", "libvvenc", "-preset", "fast", "-qp", str(int(setting)), "-qpa", "0", "-threads", "1", "-f", "vvc", "-",
            data=luma.tobytes() + chroma.tobytes(),
        )  # fmt: skip

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        rows, columns = _coded_shape(shape)
        raw = _ffmpeg("-f", "vvc", "-i", "-", "-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-", data=payload)
        if len(raw) != rows * columns * 3:
            raise BitstreamError(
                f"the picture has {len(raw)} bytes, not the {rows * columns * 3} of {rows}×{columns} samples"
            )
        return np.frombuffer(raw, "<u2", rows * columns).reshape(rows, columns)[: shape[0], : shape[1]]


def vvc_setting(quality: float) -> tuple[float, float]:
    """Quantization parameter, and gain."""
    level = unit_steps(quality)
    return 63 - level, 2.0 ** (-(level - quality) / QP_PER_OCTAVE)


def _coded_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Sides of the coded picture: multiples of the smallest coding unit, and not below the minimum of the encoder."""
    return max(16, shape[0] + -shape[0] % 8), max(16, shape[1] + -shape[1] % 8)


@functools.cache
def _program() -> str:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def _ffmpeg(*arguments: str, data: bytes = b"") -> bytes:
    """Run ffmpeg, and return its standard output. Raises `CodecError` with its last message if it fails or hangs."""
    command = [_program(), "-hide_banner", "-loglevel", "error", *arguments]
    with tempfile.TemporaryFile() as complaints:
        try:
            done: Any = subprocess.run(
                command, input=data, stdout=subprocess.PIPE, stderr=complaints, timeout=PROGRAM_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise CodecError(f"{Path(command[0]).name} did not end within {PROGRAM_TIMEOUT} s") from None
        complaints.seek(0)
        lines = complaints.read().decode(errors="replace").strip().splitlines()
    if done.returncode:
        raise CodecError(f"ffmpeg failed: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout


# --- the codecs -------------------------------------------------------------------------------------------------------


def _avif(bits: int, speed: int) -> ImageCodec:
    """AVIF of 10 or 12 bits through imagecodecs, which would code a two-dimensional array losslessly at any level."""
    return ImageCodec(
        f"avif{bits}", "video", "AVIF", bits, ("libavif quality, whole numbers", 0, 99, 1),
        "AVIF (AV1 intra), 10 or 12 bit, monochrome, libaom through imagecodecs.",
        lambda lib, codes, level: lib.avif_encode(
            gray(codes), int(level), speed=speed, bitspersample=bits, pixelformat="400", codec="aom", numthreads=1
        ),
        lambda lib, payload, shape: lib.avif_decode(payload, numthreads=1), whole,
    )  # fmt: skip


CODECS = (
    ImageCodec(
        "jpeg2000", "wavelet", "JPEG2K", 16,
        # Files of OpenJPEG lie 0.02 to 0.09 dB apart.
        ("target PSNR of the encoder in dB, relative to the range of the scene", 12, 100, 0.02),
        "JPEG 2000 Part 1, irreversible 9/7 wavelet, 16 bit; the bare codestream.",
        lambda lib, codes, level: lib.jpeg2k_encode(codes, level, codecformat="J2K", reversible=False, numthreads=1),
        lambda lib, payload, shape: lib.jpeg2k_decode(payload, numthreads=1),
    ),
    ImageCodec(
        "htj2k", "wavelet", "HTJ2K", 16,
        ("−20·log10 of the base quantizer step as a fraction of the scene's range", 0, 100, 0.0),
        "JPEG 2000 Part 15 (HTJ2K), irreversible 9/7 wavelet, 16 bit: faster entropy coding for more bits.",
        lambda lib, codes, level: lib.htj2k_encode(codes, 10 ** (-level / 20), reversible=False),
        lambda lib, payload, shape: lib.htj2k_decode(payload),
    ),
    ImageCodec(
        "jpegxl", "transform", "JPEGXL", 16, ("libjxl quality; Butteraugli distance 25 at 0, 0.1 at 100", 0, 100, 0.0),
        "JPEG XL, VarDCT, 16 bit, effort 7. Its psycho-visual tuning cannot be switched off.",
        lambda lib, codes, level: lib.jpegxl_encode(codes, distance=jpegxl_distance(level), effort=7, numthreads=1),
        lambda lib, payload, shape: lib.jpegxl_decode(payload, numthreads=1),
    ),
    ImageCodec(
        "jpeg", "transform", "JPEG8", 8, ("IJG quality; between whole numbers the dB per code vary", 1, 100, 0.0),
        "JPEG (ISO/IEC 10918-1), 8 bit, optimized Huffman tables.",
        lambda lib, codes, level: lib.jpeg8_encode(codes, int(level), bitspersample=8, optimize=True),
        lambda lib, payload, shape: lib.jpeg8_decode(payload), jpeg_setting,
    ),
    # Entries of the quantization table saturate at 255 below IJG quality 25, so the table is kept from there on down.
    Jpeg12(
        "jpeg12", "transform", "JPEG8", 12,
        ("IJG quality; below 25 the table is kept and the dB per code grow", 0.1, 100, 0.0),
        "JPEG (ISO/IEC 10918-1, extended sequential), 12 bit, optimized Huffman tables.",
        lambda lib, codes, level: lib.jpeg8_encode(codes, int(level), bitspersample=12, optimize=True),
        lambda lib, payload, shape: lib.jpeg8_decode(payload), functools.partial(jpeg_setting, lowest=25),
    ),
    WebP(
        "webp", "video", "WEBP", 8, ("libwebp quality, whole numbers", 0, 100, 1),
        "WebP, lossy (VP8 intra), 8 bit, method 6. Luma has the narrow range: 220 codes.",
        lambda lib, codes, level: lib.webp_encode(gray(codes), level, lossless=False, method=6, numthreads=1),
        lambda lib, payload, shape: lib.webp_decode(payload)[..., 1], whole,
    ),
    Avif(
        "avif", "video", "", 8, ("libavif quality, whole numbers", 0, 100, 1),
        "AVIF (AV1 intra), 8 bit, monochrome, libaom tuned for PSNR, through Pillow.", setting=whole,
    ),
    _avif(10, speed=4), _avif(12, speed=6),
    Hevc(
        "hevc12", "video", "", 12, ("libheif quality: x265 runs at CRF (100 − quality)/2", 0, 100, 0.0),
        "HEVC intra, 12 bit, monochrome, x265 through pillow-heif, in the HEIF file it writes.", setting=hevc_setting,
    ),
    Vvc(
        "vvc10", "video", "", 10, ("63 − quantization parameter", 0, 63, 0.0),
        "VVC intra, 10 bit, VVenC in the ffmpeg program of imageio-ffmpeg; the bare bitstream.", setting=vvc_setting,
    ),
)  # fmt: skip
