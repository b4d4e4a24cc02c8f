"""Files of codec models: arrays and a description in one safetensors file, and the hash by which compressed files name it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sarlab.errors import ModelError
from sarlab.files import replacing
from sarlab.specs import canonical_json

#: Key of the description in the header.
_ENTRY = "sarlab"


def read_kind(path: Path) -> str:
    """Kind of the model in a file."""
    return str(_opened(path, arrays=False)[1]["kind"])


def read_arrays(
    path: Path, kind: str, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, np.ndarray], dict[str, Any], bytes]:
    """Read a model's file: its arrays, its description and its hash. The file is not trusted.

    Raises `ModelError` if it is damaged, of another kind, or has arrays of other shapes than `shapes` or that are not finite.
    """
    arrays, values = _opened(path)
    if values["kind"] != kind:
        raise ModelError(f"{path} is no model of kind '{kind}', but of kind '{values['kind']}'")
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape:
            raise ModelError(f"{path}: '{name}' is missing or not of shape {shape}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ModelError(f"{path}: weights that are no numbers")
    return arrays, values, content_digest(arrays, values)


def _opened(path: Path, arrays: bool = True) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        with safe_open(path, framework="np") as file:
            values = json.loads((file.metadata() or {})[_ENTRY])
            if not (isinstance(values["name"], str) and isinstance(values["kind"], str)):
                raise ValueError("its name or kind is missing")
            return {key: file.get_tensor(key) for key in file.keys() if arrays}, values  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path} is not the model of a codec, or damaged ({error})") from None


def write_arrays(path: Path, kind: str, values: Mapping[str, Any], **arrays: np.ndarray) -> None:
    """Write a model's file."""
    from safetensors.numpy import save_file

    stored = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with replacing(path) as temporary:
        save_file(stored, temporary, metadata={_ENTRY: json.dumps({"kind": kind, **values})})


def content_digest(tensors: Mapping[str, Any], values: Mapping[str, Any]) -> bytes:
    """Hash a model: first 8 bytes of the SHA-256 of its tensors and of its description without ``provenance``."""
    essential = {key: value for key, value in values.items() if key != "provenance"}
    digest = hashlib.sha256(canonical_json(essential).encode())
    for key in sorted(tensors):
        array = np.asarray(tensors[key])
        digest.update(f"|{key}|{array.dtype}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:8]
