"""What a learned model must offer to be carried by a ``.sarl`` file, and where models are found.

A model works on tiles of any size that is a multiple of its stride. It is told which latent columns are *active*: those
near a valid sample; the others are zero and cost nothing.

    x ──analyze──▶ y ──encode(quality)──▶ bytes ──decode──▶ latent (integers) ──synthesize──▶ x̂

The latent is what both sides must agree on to the last bit, so `decode` may use integer arithmetic only; a checksum of it
is in the file. The synthesis may use floats.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sarlab._version import __version__
from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.errors import BitstreamError, CodecError, ModelError
from sarlab.registry import Registry
from sarlab.scenes.radiometry import Normalizer

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "weights"
#: Folders of further models, separated like PATH.
FOLDERS = "SARLAB_MODELS"
#: Current model of each codec that comes with the package.
CURRENT = {"factorized": "factorized-1", "hyper": "hyper-3", "klt8": "klt8-1"}


class Quantized(NamedTuple):
    """What `TileModel.quantize` returns.

    Attributes
    ----------
    latent : ndarray of int32, shape (bands, channels, h, w)
    bits : float
        Estimated size of its code.
    code
        What else `TileModel.encode` needs, where that is more than the latent.
    """

    latent: np.ndarray
    bits: float
    code: Any = None


class TileModel(ABC):
    """A model that codes tiles.

    Attributes
    ----------
    name : str
        As in the header of a file.
    hash : bytes
        8 bytes; a file decodes only with the very model that wrote it.
    stride : int
        Samples per latent position and axis.
    analysis_reach : int
        Samples around a latent position's own that its value depends on.
    synthesis_reach : int
        Latent positions around a sample's own that its value depends on.
    neutral : float
        Normalized level whose latent is all zero.
    normalizers : dict of str to Normalizer
        By band: those that files need not store.
    lowest, highest : float
        Range of quality.
    """

    name: str
    hash: bytes
    stride: int
    analysis_reach: int
    synthesis_reach: int
    neutral: float
    normalizers: dict[str, Normalizer]
    lowest: float
    highest: float

    @abstractmethod
    def analyze(self, x: np.ndarray) -> np.ndarray:
        """Latent of normalized samples, before quantization and whatever the quality: float32.

        (bands, H, W) → (bands, channels, H/stride, W/stride)
        """

    @abstractmethod
    def fit_side(self, sample: Sequence[tuple[np.ndarray, np.ndarray]], quality: float) -> bytes:
        """Side information for the whole file, from pairs (y, active) of a sample of it."""

    @abstractmethod
    def parse_side(self, side: bytes, bands: int) -> Any:
        """What `quantize`, `encode` and `decode` take as `side`. Raises `BitstreamError`."""

    @abstractmethod
    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: Any) -> Quantized:
        """Integers for a latent, and what their code takes."""

    @abstractmethod
    def encode(
        self, encoder: RangeEncoder, quantized: Quantized, active: np.ndarray, quality: float, side: Any
    ) -> None:
        """Append the code of what `quantize` returned for a tile."""

    @abstractmethod
    def decode(self, decoder: RangeDecoder, active: np.ndarray, quality: float, side: Any) -> np.ndarray:
        """The latent that was encoded: int32, zero where not active (bands, h, w)."""

    @abstractmethod
    def synthesize(self, latent: np.ndarray, quality: float) -> np.ndarray:
        """Normalized samples of a latent: (bands, channels, h, w) → (bands, h·stride, w·stride), float32."""

    def correction(self, latent: np.ndarray, quality: float, side: Any) -> np.ndarray:
        """dB to add to decoded samples for their mean intensity to be right: (bands, h·stride, w·stride), float32.

        Raises
        ------
        CodecError
            The model has not learned any.
        """
        raise CodecError(f"model '{self.name}' has no bias correction; decode without --radiometric")

    def despeckled(self, latent: np.ndarray, quality: float) -> np.ndarray:
        """Normalized estimate of the reflectivity, in the place of `synthesize`.

        Raises
        ------
        CodecError
            The model has not learned any.
        """
        raise CodecError(f"model '{self.name}' has no estimate of the reflectivity; decode without --despeckled")

    def radiometry_size(self, bands: int) -> int:
        """Bytes of what `fit_radiometry` returns.

        Raises
        ------
        CodecError
            The model's files hold nothing of that kind.
        """
        raise CodecError(f"model '{self.name}' stores no radiometry; compress without --radiometric")

    def fit_radiometry(
        self, sample: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, Any]], widths: np.ndarray, quality: float
    ) -> bytes:
        """Side information for the whole file that makes `correction` exact.

        Parameters
        ----------
        sample : sequence of (latent, x, valid, place)
            Latent as coded; normalized original samples and their mask, (bands, H, W), which are those at `place`, two slices
            of what the latent decodes to.
        widths : ndarray, shape (bands,)
            dB of a normalized unit.
        quality : float
        """
        raise NotImplementedError


#: Builders by kind, as stated in a model's file: path → TileModel.
model_kinds: Registry[Callable[[Path], TileModel]] = Registry("kind of model", "sarlab.models", ModelError)


def load_model(path: Path) -> TileModel:
    """A model from its file; one that is loaded already is not loaded again."""
    path = Path(path).resolve()
    try:
        stamp = path.stat()
    except OSError as error:
        raise ModelError(f"{path}: no such model ({error.strerror})") from None
    return _load(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _load(path: Path, modified: int, size: int) -> TileModel:
    from sarlab.models.storage import read_tensors

    _, values = read_tensors(path)
    kind = values.get("kind")
    if not isinstance(kind, str):
        raise ModelError(f"{path} is no model of a codec: it states no kind")
    import_kinds()
    return model_kinds[kind](path)


def import_kinds() -> None:
    """Import the modules that register the kinds of this package."""
    import sarlab.codec.factorized
    import sarlab.codec.hyper.storage  # noqa: F401


def model_path(codec: str) -> Path:
    """File of a codec's model: a name of this package, the name of a file in a folder of ``SARLAB_MODELS``, or a path.

    Raises
    ------
    CodecError
        Unknown name.
    """
    if codec.endswith(".safetensors"):
        path = Path(codec).expanduser()
        if not path.is_file():
            raise CodecError(f"{codec}: no such file; give the weights of a codec")
        return path
    name = CURRENT.get(codec, codec)
    for folder in model_folders():
        path = folder / f"{name}.safetensors"
        if path.is_file():
            return path
    raise CodecError(
        f"unknown codec '{codec}'; known: {', '.join(sorted(known_codecs()))}, or the path of a .safetensors file"
    )


def model_folders() -> list[Path]:
    """Where models are looked for: the package's own folder, then those of ``SARLAB_MODELS``."""
    return [ASSETS, *(Path(part).expanduser() for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part)]


def known_codecs() -> set[str]:
    """Names that `model_path` understands."""
    files = {path.stem for folder in model_folders()[1:] for path in folder.glob("*.safetensors")}
    return {name for name, model in CURRENT.items() if (ASSETS / f"{model}.safetensors").is_file()} | files


def find_model(name: str, model_hash: bytes, writer: tuple[int, int, int], hint: str | Path | None = None) -> Path:
    """File of the model that a header names.

    Parameters
    ----------
    name, model_hash, writer
        From the header.
    hint : path, optional
        The model's file where it lies in none of the known folders.

    Raises
    ------
    BitstreamError
        Where there is none, with what to do.
    """
    paths = [Path(hint)] if hint else [folder / f"{name}.safetensors" for folder in model_folders()]
    found = [path for path in paths if path.is_file()]
    others = [] if hint else [path for folder in model_folders()[1:] for path in sorted(folder.glob("*.safetensors"))]
    for path in [*found, *others]:
        try:
            if load_model(path).hash == model_hash:
                return path
        except ModelError:
            if path in found:
                raise
    if not found:
        wrote = ".".join(map(str, writer))
        raise BitstreamError(
            f"the file needs model '{name}', which this sarlab {__version__} does not have; it was written by sarlab {wrote}: "
            f"install that version or a later one, or put {name}.safetensors into a folder named in {FOLDERS}"
        )
    raise BitstreamError(
        f"the file needs model '{name}' with hash {model_hash.hex()}, but {found[0]} has {load_model(found[0]).hash.hex()}: "
        "it holds other weights"
    )
