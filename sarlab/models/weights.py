"""Weights on disk: one safetensors file that knows its network, its normalizers and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sarlab.errors import ModelError, PlanError
from sarlab.models.base import Autoencoder
from sarlab.models.registry import construct
from sarlab.models.storage import copy_tensors, read_tensors, write_tensors
from sarlab.specs import ModelSpec, spec_from_dict

FORMAT = 1
#: Limits on what a file may ask to be built: far above every network here, far below a machine's memory.
MOST_CHANNELS, MOST_DEPTH, MOST_PARAMETERS = 4096, 64, 500_000_000


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network from a file.

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode, on the CPU.
    normalizers : dict of str to (low, high)
        dB of each band that the network takes as 0 and 1.
    provenance : dict
        What the writer noted: run, data, versions.
    """

    model: Autoencoder
    normalizers: dict[str, tuple[float, float]]
    provenance: dict[str, Any]


def save_model(
    path: Path,
    model: Autoencoder,
    *,
    normalizers: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a network's weights.

    Parameters
    ----------
    path : Path
        Usually ``….safetensors``.
    model : Autoencoder
    normalizers : mapping of str to Normalizer or (low, high), optional
        By band.
    provenance : mapping, optional
        JSON-able notes.
    """
    ranges = {
        band: [float(n.low), float(n.high)] if hasattr(n, "low") else [float(v) for v in n]
        for band, n in (normalizers or {}).items()
    }
    values = {
        "format": FORMAT,
        "model": asdict(model.spec),
        "normalizers": ranges,
        "provenance": dict(provenance or {}),
    }
    write_tensors(path, model.state_dict(), values)


def load_model(path: Path) -> LoadedModel:
    """Read a network; the file is not trusted.

    Raises
    ------
    ModelError
        If the file is missing, damaged or foreign, of a newer format, describes an impossible network, or its weights
        do not fit that network.
    """
    tensors, values = read_tensors(path)
    if values.get("format") != FORMAT:
        raise ModelError(f"{path} has format {values.get('format')!r}; this version reads {FORMAT}")
    try:
        spec = spec_from_dict(ModelSpec, values["model"])
        normalizers = {str(band): (float(low), float(high)) for band, (low, high) in values["normalizers"].items()}
        provenance = dict(values["provenance"])
    except (KeyError, TypeError, ValueError, AttributeError, PlanError) as problem:
        raise ModelError(f"{path} is damaged: its description cannot be read ({problem})") from None
    check_size(spec, path)
    model = construct(spec, 0)
    copy_tensors(tensors, model.state_dict(), str(path))
    return LoadedModel(model.eval(), normalizers, provenance)


def check_size(spec: ModelSpec, path: Path) -> None:
    """Refuse a network that would not fit in memory, before anything is allocated."""
    if max(spec.width, spec.latent_channels) > MOST_CHANNELS or spec.depth > MOST_DEPTH:
        raise ModelError(
            f"{path} describes a network of width {spec.width} and depth {spec.depth}: too large to be one of ours"
        )
    with torch.device("meta"):
        count = sum(p.numel() for p in construct(spec, 0).parameters())
    if count > MOST_PARAMETERS:
        raise ModelError(f"{path} describes a network of {count} parameters: too large to be one of ours")
