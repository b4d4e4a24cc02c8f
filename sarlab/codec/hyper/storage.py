"""The file of a model of the codec `hyper`: float16 where only the encoder or the picture is concerned, integers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sarlab.codec.hyper.arithmetic import OCTAVE
from sarlab.codec.hyper.bias import BiasCorrection
from sarlab.codec.hyper.despeckling import Despeckling
from sarlab.codec.hyper.model import Frozen, HyperModel
from sarlab.codec.hyper.network import IntegerContext
from sarlab.codec.hyper.trellis_tables import TrellisTables
from sarlab.codec.tile_model import content_digest, model_kinds
from sarlab.codec.transform import CodingTransform
from sarlab.errors import ModelError
from sarlab.models.layers import channels_last
from sarlab.models.storage import copy_tensors, read_tensors, write_tensors
from sarlab.scenes.radiometry import Normalizer

KIND = "hyper"
#: Prefixes of tensors: of the integer networks, those for second bands, the frozen numbers, the trellis's tables, the bias correction, the estimate of the
#: reflectivity; the rest is the transform's.
ENTROPY, SECOND, TABLES, TRELLIS = "entropy.", "second.", "tables.", "trellis."
BIAS, DESPECKLING = "bias.", "despeckling."


def save_model(
    path: Path,
    network: CodingTransform,
    entropy: Mapping[str, Tensor],
    second: Mapping[str, Tensor] | None,
    frozen: Frozen,
    *,
    groups: tuple[tuple[int, int, int], ...],
    name: str,
    normalizers: Mapping[str, Normalizer],
    provenance: Mapping[str, Any],
    trellis: TrellisTables | None = None,
    bias: BiasCorrection | None = None,
    despeckling: Despeckling | None = None,
) -> None:
    """Write a model's file.

    Parameters
    ----------
    path : Path
    network : CodingTransform
        Its `deviation` is not stored: it follows from `frozen`.
    entropy : mapping of str to Tensor
        Integers, as `IntegerContext` takes them.
    second : mapping of str to Tensor, or None
        The same for second bands.
    frozen : Frozen
    groups
        See `IntegerContext`.
    name, normalizers, provenance
        As stated in the file.
    trellis : TrellisTables, optional
    bias : BiasCorrection, optional
    despeckling : Despeckling, optional
    """
    tensors = {key: t.detach().half() for key, t in network.state_dict().items() if key != "deviation"}
    if bias is not None:
        tensors |= {BIAS + key: t.detach().half() for key, t in bias.state_dict().items()}
    if despeckling is not None:
        tensors |= {DESPECKLING + key: t.detach().half() for key, t in despeckling.state_dict().items()}
    tensors |= {ENTROPY + key: t for key, t in entropy.items()}
    tensors |= {SECOND + key: t for key, t in (second or {}).items()}
    for field, array in zip(Frozen._fields, frozen, strict=True):
        tensors[TABLES + field] = torch.from_numpy(
            array.astype(np.uint8 if field in ("families", "maps") else np.int16)
        )
    if trellis is not None:
        tensors |= {
            TRELLIS + key: torch.from_numpy(getattr(trellis, key).astype(np.uint16)) for key in ("odd", "counts")
        }
    values = {
        "kind": KIND, "name": name, "front": network.front, "width": network.width, "depth": network.depth,
        "groups": groups,
        "normalizers": {band: [n.low, n.high] for band, n in sorted(normalizers.items())},
        "provenance": dict(provenance),
    }  # fmt: skip
    write_tensors(path, {key: t.cpu().contiguous() for key, t in tensors.items()}, values)


def with_despeckling(source: Path, target: Path, head: Despeckling, provenance: Mapping[str, Any]) -> None:
    """Write a finished model again with an estimate of the reflectivity, and nothing else changed but `provenance`."""
    tensors, values = read_tensors(source)
    tensors = {key: t for key, t in tensors.items() if not key.startswith(DESPECKLING)}
    tensors |= {DESPECKLING + key: t.detach().half().contiguous() for key, t in head.state_dict().items()}
    write_tensors(target, tensors, {**values, "provenance": {**values["provenance"], **provenance}})


@model_kinds.register(KIND)
def load_hyper(path: Path) -> HyperModel:
    """Read a model's file; it is not trusted."""
    tensors, values = read_tensors(path)
    digest = content_digest(tensors, values)
    try:
        network = CodingTransform(str(values["front"]), int(values["width"]), int(values["depth"]))
        groups = tuple((int(a), int(b), int(c)) for a, b, c in values["groups"])
        name = str(values["name"])
        normalizers = {str(k): Normalizer(float(v[0]), float(v[1])) for k, v in values["normalizers"].items()}
        frozen = Frozen(*(tensors.pop(TABLES + field).numpy().astype(np.int64) for field in Frozen._fields))
        deviation = torch.exp2(torch.from_numpy(frozen.deviations).float() / OCTAVE)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(f"{path} is damaged: its description cannot be read ({error})") from None
    tensors.pop(TABLES + "spreads", None)  # empty, in files of a version with a hyperprior
    contexts = []
    for prefix in (ENTROPY, SECOND):
        entropy = _taken(tensors, prefix)
        if any(t.is_floating_point() for t in entropy.values()):
            raise ModelError(f"{path} is damaged: its entropy model is not of integers")
        if entropy or prefix == ENTROPY:
            contexts.append(IntegerContext(entropy, groups, network.channels))
    trellis = None
    if found := _taken(tensors, TRELLIS):
        if set(found) != {"odd", "counts"}:
            raise ModelError(f"{path} is damaged: its trellis has tensors {sorted(found)}")
        trellis = TrellisTables(*(found[key].numpy().astype(np.int64) for key in ("odd", "counts")))
    heads: dict[str, Any] = {}
    for prefix, kind in ((BIAS, BiasCorrection), (DESPECKLING, Despeckling)):
        if found := _taken(tensors, prefix):
            head = kind(network.channels)
            copy_tensors({k: t.float() for k, t in found.items()}, head.state_dict(), str(path))
            heads[prefix.removesuffix(".")] = head.eval()
    tensors["deviation"] = deviation
    copy_tensors({key: tensor.float() for key, tensor in tensors.items()}, network.state_dict(), str(path))
    network.orthogonalize()
    channels_last(network)
    return HyperModel(
        network, contexts[0], frozen, second=contexts[1] if contexts[1:] else None, trellis=trellis, **heads, name=name, normalizers=normalizers, content_hash=digest
    )  # fmt: skip


def _taken(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix, taken out and named without it."""
    return {key.removeprefix(prefix): tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}
