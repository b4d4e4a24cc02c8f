"""The codecs of this package, and how a model is found by codec name, path or hash, and loaded."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sarlab._version import __version__
from sarlab.codec.tile_model import TileModel, model_kinds
from sarlab.errors import BitstreamError, CodecError, ModelError

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "weights"
#: Environment variable with folders of further models, separated like PATH.
FOLDERS = "SARLAB_MODELS"

_QUALITY = "PSNR of the quantizer alone in dB, within the range of the normalizers"
_LINEAR_GRID = (11.0, 14.1, 16.8, 19.2, 21.6, 23.9, 26.4, 29.1, 32.2, 35.9, 40.8, 47.4)


@dataclass(frozen=True)
class BuiltIn:
    """A codec of this package."""

    #: Its current model.
    model: str
    #: What it quantizes.
    domain: str
    #: Qualities at `RATES` on Sentinel-1 VV.
    grid: tuple[float, ...]
    #: Of its quality.
    meaning: str = _QUALITY


#: Bits per pixel at the qualities of `BuiltIn.grid`.
RATES = tuple(0.05 * 80 ** (i / 11) for i in range(12))
BUILT_IN = {
    "factorized": BuiltIn(
        "factorized-1",
        "dB through a wavelet, a KLT and learned corrections, one step for all channels",
        _LINEAR_GRID,
    ),
    "hyper": BuiltIn(
        "hyper-3",
        "dB through a wavelet and turned KLT; parallel context predicts mean and scale of every value; trellis",
        (18.2, 19.6, 21.1, 22.6, 24.5, 26.6, 29.3, 32.4, 35.9, 40.0, 45.3, 53.0),
        "PSNR in dB of the quantizer whose price per bit the encoder uses; files have 0.3 to 1.5 dB less",
    ),
    "klt8": BuiltIn("klt8-1", "dB through the KLT of 8×8 blocks, one step for all channels", _LINEAR_GRID),
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
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            kind = json.loads((file.metadata() or {})["sarlab"])["kind"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not the model of a codec, or damaged ({error})") from None
    # A kind registers when its module is imported; some need PyTorch, which takes a second.
    if kind == "factorized":
        import sarlab.codec.factorized.coder
    elif kind == "hyper":
        import sarlab.codec.hyper.storage  # noqa: F401
    return model_kinds[str(kind)](path)


def model_path(codec: str) -> Path:
    """Find the file of a codec: by its name, by the name of a file in a folder of ``SARLAB_MODELS``, or by path."""
    if codec.endswith(".safetensors"):
        path = Path(codec).expanduser()
        if not path.is_file():
            raise CodecError(f"{codec}: no such file; give the weights of a codec")
        return path
    name = BUILT_IN[codec].model if codec in BUILT_IN else codec
    for folder in model_folders():
        path = folder / f"{name}.safetensors"
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


def find_model(name: str, model_hash: bytes, writer: tuple[int, int, int], hint: str | Path | None = None) -> Path:
    """Find the file of the model that a header names; `hint` is its path if it is in none of the known folders.

    Raises
    ------
    BitstreamError
        There is none; the message states the remedy.
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
            f"the file needs model '{name}', which sarlab {__version__} does not have; it was written by "
            f"sarlab {wrote}: install that version or a later one, or put {name}.safetensors into a folder named "
            f"in {FOLDERS}"
        )
    raise BitstreamError(
        f"the file needs model '{name}' with hash {model_hash.hex()}, but {found[0]} has other weights: its hash is "
        f"{load_model(found[0]).hash.hex()}"
    )
