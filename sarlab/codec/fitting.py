"""From a trained transform to a model file: frozen tables from the latents of training scenes, weights in 16 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarlab.codec.costs import best_indices, histograms, row_costs
from sarlab.codec.factorized import KIND, KNOTS, optimized
from sarlab.codec.tables import FAMILIES, INDICES
from sarlab.errors import TrainingError
from sarlab.scenes.radiometry import Normalizer

if TYPE_CHECKING:
    from sarlab.codec.transform import CodingTransform


def fit_tables(
    latents: Sequence[np.ndarray], gains: np.ndarray, knots: Sequence[int] = KNOTS
) -> tuple[np.ndarray, np.ndarray]:
    """Scale index and family of each channel at each knot of the quality.

    The index is the best one for all scenes together, which is what a file starts from; the family the best one when
    every scene may choose its index, which is what files do.

    Parameters
    ----------
    latents : sequence of ndarray, shape (channels, count)
        Of training scenes, before quantization.
    gains : ndarray of float, shape (channels,)
    knots : sequence of int

    Returns
    -------
    indices, families : ndarray of int64, shape (knots, channels)
    """
    if not latents:
        raise TrainingError("tables need at least one training latent")
    channels = len(latents[0])
    indices = np.zeros((len(knots), channels), np.int64)
    families = np.zeros((len(knots), channels), np.int64)
    for row, quality in enumerate(knots):
        steps = gains * np.sqrt(12) * 10 ** (-quality / 20)
        family = np.full(channels, FAMILIES.index("laplace"))
        index: np.ndarray | None = None
        for _ in range(3):
            counts = []
            for latent in latents:
                scaled = latent / steps[:, None]
                own = best_indices(histograms(np.rint(scaled).astype(np.int64)), family) if index is None else index
                counts.append(histograms(optimized(scaled, own, family)))
            family, index = _best(counts)
        assert index is not None
        indices[row], families[row] = index, family
    return indices, families


def _best(counts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    channels = len(counts[0])
    chosen = np.zeros(channels, np.int64)
    cheapest = np.full(channels, np.inf)
    for family in range(len(FAMILIES)):
        same = np.full(channels, family)
        total = sum(row_costs(part, best_indices(part, same), same) for part in counts)
        better = total < cheapest
        chosen[better], cheapest = family, np.minimum(cheapest, total)
    # Channels may have been halved differently in different scenes; candidates are judged by true cost.
    starts = np.stack([best_indices(part, chosen) for part in counts])
    candidates = np.arange(starts.min(), starts.max() + 1)
    totals = np.stack([sum(row_costs(part, np.full(channels, c), chosen) for part in counts) for c in candidates])
    return chosen, np.clip(candidates[totals.argmin(0)], 0, INDICES - 1)


def save_model(
    path: Path,
    network: CodingTransform,
    indices: np.ndarray,
    families: np.ndarray,
    gains: np.ndarray,
    *,
    name: str,
    normalizers: Mapping[str, Normalizer],
    provenance: Mapping[str, Any],
) -> None:
    """Write a model's file: weights in float16, tables in bytes, and where it comes from."""
    import torch

    from sarlab.models.storage import write_tensors

    tensors = {key: tensor.detach().cpu().half().contiguous() for key, tensor in network.state_dict().items()}
    tensors["tables.indices"] = torch.from_numpy(indices.astype(np.uint8))
    tensors["tables.families"] = torch.from_numpy(families.astype(np.uint8))
    tensors["tables.gains"] = torch.from_numpy(gains.astype(np.float16))
    values = {
        "kind": KIND, "name": name, "front": network.front, "width": network.width,
        "normalizers": {band: [n.low, n.high] for band, n in sorted(normalizers.items())},
        "provenance": dict(provenance),
    }  # fmt: skip
    write_tensors(path, tensors, values)
