"""The codecs of this package, and how a model is found by codec name, path or hash, and loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sarlab._version import __version__
from sarlab.codec.storage import read_kind
from sarlab.codec.tile_model import TileModel, model_kinds
from sarlab.errors import BitstreamError, CodecError, ModelError

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "weights"
#: Environment variable with folders of further models, separated like PATH.
FOLDERS = "SARLAB_MODELS"


@dataclass(frozen=True)
class BuiltIn:
    """A codec of this package: its current model, what it quantizes, and the meaning of its quality."""

    model: str
    domain: str
    meaning: str = "sets the step; within a few dB of the PSNR in dB with a peak of 30 dB"
    #: Qualities at `RATES` on Sentinel-1 VV.
    grid: tuple[float, ...] = (14.0, 16.5, 19.0, 21.5, 24.0, 26.5, 29.0, 32.0, 35.5, 40.0, 46.0, 53.0)


#: Bits per pixel at the qualities of `BuiltIn.grid`.
RATES = tuple(0.05 * 80 ** (i / 11) for i in range(12))
BUILT_IN = {
    "lapped": BuiltIn("lapped-1", "dB through a lapped transform, with the spectrum of the scene and a trellis"),
    "factorized": BuiltIn("factorized-1", "dB through a learned transform, with a learned correction; scalar"),
    "predictive": BuiltIn("predictive-1", "dB on a grid, or whole numbers; every error is bounded", "see its bound"),
    "klt8": BuiltIn("klt8-1", "dB through the KLT of 8×8 blocks; scalar"),
}


def load_model(path: Path) -> TileModel:
    """Load a model from its file; a model that is loaded already is returned again."""
    path = Path(path).resolve()
    try:
        stamp = path.stat()
    except OSError as error:
        raise ModelError(f"{path}: no such model ({error.strerror})") from None
    return _load(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _load(path: Path, modified: int, size: int) -> TileModel:
    kind = read_kind(path)
    # A kind registers when its module is imported; some need PyTorch, which takes a second.
    if kind == "factorized":
        import sarlab.codec.factorized
    elif kind == "lapped":
        import sarlab.codec.lapped
    elif kind == "predictive":
        import sarlab.codec.predictive  # noqa: F401
    return model_kinds[kind](path)


def model_path(codec: str) -> Path:
    """Find the file of a codec: by its name, by the name of a file in a folder of ``SARLAB_MODELS``, or by path."""
    if codec.endswith(".safetensors"):
        path = Path(codec).expanduser()
        if not path.is_file():
            raise CodecError(f"{codec}: no such file; give the weights of a codec")
        return path
    name = BUILT_IN[codec].model if codec in BUILT_IN else codec
    for path in (folder / f"{name}.safetensors" for folder in model_folders()):
        if path.is_file():
            return path
    raise CodecError(
        f"unknown codec '{codec}'; known: {', '.join(sorted(known_codecs()))}, or the path of a .safetensors file"
    )


def model_folders() -> list[Path]:
    """Folders with models: the package's own, then those of ``SARLAB_MODELS``."""
    return [ASSETS, *(Path(part).expanduser() for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part)]


def known_codecs() -> set[str]:
    """Names that `model_path` accepts."""
    files = {path.stem for folder in model_folders()[1:] for path in folder.glob("*.safetensors")}
    return {name for name, codec in BUILT_IN.items() if (ASSETS / f"{codec.model}.safetensors").is_file()} | files


def find_model(name: str, model_hash: bytes, hint: str | Path | None = None) -> Path:
    """Find the file of the model that a header names; `hint` is its path if it is in none of the known folders.

    Raises a `BitstreamError` with the remedy if there is none.
    """
    paths = [Path(hint)] if hint else [folder / f"{name}.safetensors" for folder in model_folders()]
    found = [path for path in paths if path.is_file()]
    others = [] if hint else [path for folder in model_folders()[1:] for path in sorted(folder.glob("*.safetensors"))]
    for path in [*found, *others]:
        try:
            if load_model(path).hash.startswith(model_hash):
                return path
        except ModelError:
            if path in found:
                raise
    if not found:
        raise BitstreamError(
            f"the file needs model '{name}', which sarlab {__version__} does not have: install a version that has it, or "
            f"put {name}.safetensors into a folder named in {FOLDERS}"
        )
    raise BitstreamError(
        f"the file needs model '{name}' with hash {model_hash.hex()}, but {found[0]} has other weights: its hash is "
        f"{load_model(found[0]).hash.hex()}"
    )
