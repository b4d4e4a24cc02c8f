"""Safetensors files with JSON beside the tensors: written atomically, read without trust."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sarlab.errors import ModelError, SarlabError

#: Key of the JSON text in the header.
ENTRY = "sarlab"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write `tensors` and JSON-able `values` to `path`, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    try:
        save_file(plain, temporary, metadata={ENTRY: json.dumps(jsonable(values))})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Path, error: type[SarlabError] = ModelError) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    The format allocates no more than the file is long, and runs nothing.

    Raises
    ------
    SarlabError
        (of type `error`) If the file is missing, truncated, of another format, or lacks this package's entry.
    """
    path = Path(path)
    if not path.is_file():
        raise error(f"no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})[ENTRY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except KeyError:
        raise error(f"{path} was not written by sarlab: its header has no '{ENTRY}' entry") from None
    except (SafetensorError, json.JSONDecodeError, RecursionError, OSError, ValueError) as problem:
        raise error(f"{path} is damaged or not a safetensors file ({problem})") from None
    if not isinstance(values, dict):
        raise error(f"{path} is damaged: its '{ENTRY}' entry is not a JSON object")
    return tensors, values


def copy_tensors(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str, error: type[SarlabError] = ModelError
) -> None:
    """Copy `found` into `wanted` in place, after names, shapes, types and finiteness have been checked."""
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or extra:
        what = f"lacks '{missing[0]}'" if missing else f"holds '{extra[0]}', which the model has not"
        raise error(f"{source} does not fit the model: it {what}")
    for name, target in wanted.items():
        tensor = found[name]
        if tensor.shape != target.shape or tensor.dtype != target.dtype:
            kind = f"{tuple(tensor.shape)} {tensor.dtype}"
            raise error(f"{source}: '{name}' is {kind}, the model needs {tuple(target.shape)} {target.dtype}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise error(f"{source}: '{name}' holds NaN or infinite values")
    with torch.no_grad():
        for name, target in wanted.items():
            target.copy_(found[name])


def jsonable(values: Any) -> Any:
    """Plain JSON values: NaN and infinities become null, tuples lists, NumPy scalars numbers."""
    if isinstance(values, Mapping):
        return {str(k): jsonable(v) for k, v in values.items()}
    if isinstance(values, (list, tuple)):
        return [jsonable(v) for v in values]
    if hasattr(values, "item") and not isinstance(values, (str, bytes)):
        values = values.item()
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values
