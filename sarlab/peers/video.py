"""HEVC intra (12 bit) and VVC intra (10 bit): the strongest classical intra coders, on a dB grid."""

from __future__ import annotations

import functools
import io
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sarlab.codec.protocol import Availability, Capabilities, QualityScale
from sarlab.errors import BitstreamError, CodecError
from sarlab.peers.band_codec import GRIDS, IntegerCodec, unit_steps

#: Six steps of the quantization parameter double the quantizer's step (HEVC and VVC alike).
QP_PER_OCTAVE = 6
#: Seconds after which an encoder or decoder program is considered hung.
PROGRAM_TIMEOUT = 600


class Hevc(IntegerCodec):
    """HEVC intra, 12 bit, monochrome, x265 through pillow-heif, in the HEIF file it writes.

    Tuned for PSNR, with psycho-visual rate-distortion off. One thread, because the bitstream depends on how x265
    divides the picture among threads.
    """

    name, family, bits, package = "hevc12", "video", 12, "pillow_heif"
    domain = "dB as 12-bit integers over the scene's own range"
    capabilities = Capabilities(
        QualityScale("libheif quality: x265 runs at CRF (100 − quality)/2", 0, 100, GRIDS["hevc12"]), bits=12
    )
    settings: ClassVar = {"tune": "psnr", "x265:psy-rdoq": "0", "x265:pools": "none", "x265:frame-threads": "1"}

    def available(self) -> Availability:
        found = super().available()
        if not found.ok:
            return Availability(False, "pillow-heif cannot be imported; pip install pillow-heif")
        import pillow_heif

        if not pillow_heif.libheif_info().get("HEIF"):
            return Availability(False, "this build of pillow-heif has no HEVC encoder")
        return found

    def version(self) -> str:
        import pillow_heif

        encoder = pillow_heif.libheif_info()["HEIF"].partition("(")[2].partition("+")[0]
        return f"x265 {encoder}, libheif {pillow_heif.libheif_version()}, pillow-heif {pillow_heif.__version__}"

    def setting(self, quality: float) -> tuple[float, float]:
        wanted = (100 - quality) / 2
        crf = int(np.floor(wanted + 1e-9))
        return crf, 2.0 ** (-(wanted - crf) / QP_PER_OCTAVE)

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        import pillow_heif

        height, width = codes.shape
        stream = io.BytesIO()
        before = pillow_heif.options.SAVE_HDR_TO_12_BIT
        pillow_heif.options.SAVE_HDR_TO_12_BIT = True
        try:
            # The encoder takes the upper 12 of 16 bits.
            pillow_heif.encode(
                "I;16", (width, height), (codes << 4).tobytes(), stream,
                quality=100 - 2 * int(level), save_nclx_profile=False, enc_params=self.settings,
            )  # fmt: skip
        finally:
            pillow_heif.options.SAVE_HDR_TO_12_BIT = before
        return stream.getvalue()

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        import pillow_heif

        image = pillow_heif.open_heif(io.BytesIO(payload), convert_hdr_to_8bit=False)[0]
        return np.asarray(image) >> 4


class Vvc(IntegerCodec):
    """VVC intra, 10 bit, VVenC in the ffmpeg program of imageio-ffmpeg; the bare bitstream.

    Perceptual quantization is off. Chroma planes are constant and cost a few bytes.
    """

    name, family, bits, package = "vvc10", "video", 10, "imageio_ffmpeg"
    domain = "dB as 10-bit integers over the scene's own range"
    capabilities = Capabilities(QualityScale("63 − quantization parameter", 0, 63, GRIDS["vvc10"]), bits=10)
    preset = "fast"

    def available(self) -> Availability:
        found = super().available()
        if not found.ok:
            return Availability(False, "imageio-ffmpeg cannot be imported; pip install imageio-ffmpeg")
        try:
            listed = _ffmpeg("-encoders").decode()
        except (CodecError, OSError, RuntimeError) as error:
            return Availability(False, f"no ffmpeg program: {error}")
        return found if "libvvenc" in listed else Availability(False, "this ffmpeg was built without VVenC")

    def version(self) -> str:
        import imageio_ffmpeg

        return f"libvvenc in ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}, imageio-ffmpeg {imageio_ffmpeg.__version__}"

    def setting(self, quality: float) -> tuple[float, float]:
        level = unit_steps(quality)
        return 63 - level, 2.0 ** (-(level - quality) / QP_PER_OCTAVE)

    def encode(self, codes: np.ndarray, level: float) -> bytes:
        rows, columns = _coded_shape(codes.shape)
        height, width = codes.shape
        luma = np.pad(codes, ((0, rows - height), (0, columns - width)), mode="edge").astype("<u2")
        chroma = np.full(rows * columns // 2, 2 ** (self.bits - 1), "<u2")
        return _ffmpeg(
            "-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", f"{columns}x{rows}", "-r", "1", "-i", "-", "-frames:v", "1",
            "-c:v", "libvvenc", "-preset", self.preset, "-qp", str(int(level)), "-qpa", "0", "-threads", "1", "-f", "vvc", "-",
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


def _coded_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Sides of the coded picture: multiples of the smallest coding unit, and not below the minimum of the encoder.

    The repeated edge costs next to nothing.
    """
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


CODECS = (Hevc(), Vvc())
