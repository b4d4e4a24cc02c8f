"""Models of codecs: their safetensors files, and the codecs of this package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sarlab._version import __version__
from sarlab.codec.block_model import Tables
from sarlab.codec.entropy import checked_start
from sarlab.codec.lapped import LappedModel
from sarlab.codec.predictive import SIZE, PredictiveModel
from sarlab.codec.tiles import TileModel
from sarlab.errors import BitstreamError, CodecError, ModelError
from sarlab.specs import canonical_json

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "weights"
#: Key of the description in the header of a model's file.
_ENTRY = "sarlab"


@dataclass(frozen=True)
class BuiltIn:
    """A codec of this package: its current model, what it quantizes, and the meaning of its quality."""

    model: str
    domain: str
    meaning: str = "sets the step; within a few dB of the PSNR in dB with a peak of 30 dB"


#: Bits per pixel, and qualities that give about as many on Sentinel-1 VV.
RATES = tuple(0.05 * 80 ** (i / 11) for i in range(12))
QUALITIES = (14.0, 16.5, 19.0, 21.5, 24.0, 26.5, 29.0, 32.0, 35.5, 40.0, 46.0, 53.0)
BUILT_IN = {
    "lapped": BuiltIn("lapped-1", "dB through a lapped transform, with the spectrum of the scene and a trellis"),
    "factorized": BuiltIn("factorized-1", "dB through a learned transform, with a learned correction; scalar"),
    "predictive": BuiltIn("predictive-1", "dB on a grid, or whole numbers", "bound of 10^((64 − quality)/20) dB"),
    "klt8": BuiltIn("klt8-1", "dB through the KLT of 8×8 blocks; scalar"),
}


def load_model(path: Path) -> TileModel:
    """Load a model from its file, which is not trusted; a model that is loaded already is returned again."""
    path = Path(path).resolve()
    try:
        stamp = path.stat()
    except OSError as error:
        raise ModelError(f"{path}: no such model ({error.strerror})") from None
    return _load(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _load(path: Path, modified: int, size: int) -> TileModel:
    try:
        with safe_open(path, framework="np") as file:
            values = json.loads((file.metadata() or {})[_ENTRY])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a mapping)
        kind, about = values["kind"], {"name": values["name"], "content_hash": content_digest(arrays, values)}
        if not isinstance(values["name"], str) or not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("a name that is no text, or weights that are no numbers")
        if kind == "lapped":
            return LappedModel(Tables.of(arrays), **about)
        if kind == "predictive":
            return PredictiveModel(checked_start(arrays["probabilities"], SIZE), **about)
        if kind == "factorized":
            from sarlab.codec.factorized import FactorizedModel  # PyTorch takes a second

            return FactorizedModel.of(arrays, values, **about)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path} is not the model of a codec, or damaged ({error})") from None
    raise ModelError(f"{path}: unknown kind of model '{kind}'")


def content_digest(tensors: Mapping[str, Any], values: Mapping[str, Any]) -> bytes:
    """Hash a model: first 8 bytes of the SHA-256 of its tensors and of its description without ``provenance``."""
    essential = {key: value for key, value in values.items() if key != "provenance"}
    digest = hashlib.sha256(canonical_json(essential).encode())
    for key in sorted(tensors):
        array = np.asarray(tensors[key])
        digest.update(f"|{key}|{array.dtype}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:8]


def model_path(codec: str) -> Path:
    """Path of the model of a codec, by the name of the codec or by the path itself."""
    if codec in BUILT_IN:
        return ASSETS / f"{BUILT_IN[codec].model}.safetensors"
    if codec.endswith(".safetensors"):
        return Path(codec).expanduser()
    raise CodecError(f"unknown codec '{codec}'; known: {', '.join(BUILT_IN)}, or the path of a .safetensors file")


def find_model(name: str, model_hash: bytes, hint: str | Path | None = None) -> TileModel:
    """Load the model that a header names; `hint` is its path if it is not one of the package.

    Raises a `BitstreamError` with the remedy if there is none.
    """
    known = any(name == codec.model for codec in BUILT_IN.values())
    path = Path(hint or ASSETS / f"{name}.safetensors")
    if not hint and not (known and path.is_file()):
        raise BitstreamError(
            f"the file needs model '{name}', which sarlab {__version__} does not have: install a version that has it, or "
            "name the file of the model (--model)"
        )
    model = load_model(path)
    if not model.hash.startswith(model_hash):
        hashes = f"hash {model.hash.hex()} instead of {model_hash.hex()}"
        raise BitstreamError(f"the file needs model '{name}', but {path} has other weights ({hashes})")
    return model
