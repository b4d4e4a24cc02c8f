"""KLT (PCA) of square patches: the basis of the linear autoencoder and of the networks' linear path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from sarlab.errors import ModelError
from sarlab.models.layers import mirror_pad

#: Most values gathered to estimate a basis (float64: 160 MB). For 32×32 patches that is 20 patches per dimension; five
#: times as many change PSNR by 0.005 dB.
MOST_VALUES = 20_000_000
#: Fewest patches, whatever their size.
LEAST_PATCHES = 256


@dataclass(frozen=True, eq=False)
class KLTBasis:
    """Leading principal components of r × r patches.

    `vectors` (C, r·r) are orthonormal rows in order of falling variance, `variances` (C,) those of the coefficients. The
    mean is a scalar: patches are taken at every position, so it does not depend on the position within a patch.
    """

    vectors: np.ndarray
    mean: float
    variances: np.ndarray


def fit_klt(
    images: Sequence[Tensor], reduction: int, channels: int, *, masks: Sequence[Tensor | None] | None = None,
    generator: torch.Generator | None = None,
) -> KLTBasis:  # fmt: skip
    """Fit the exact eigendecomposition of the patches' covariance.

    With fewer patches than samples per patch (r of 64 and more), the Gram matrix of the patches is decomposed instead,
    which gives the same leading vectors; missing directions are completed by random orthonormal ones of variance zero.

    Parameters
    ----------
    images : sequence of Tensor, shape (H, W)
        Training rasters; those smaller than a patch are mirrored up to its size.
    reduction, channels : int
        Side r of a patch; components to keep, at most r².
    masks : sequence of Tensor of bool, shape (H, W), optional
        True where a sample is valid; patches with an invalid sample are left out.
    generator : torch.Generator, optional
        Thins the patches if there are more than needed, and completes a basis. Default: seeded with 0.

    References: Karhunen 1947; Loève 1948; for the Gram form, Sirovich 1987 (method of snapshots).
    """
    size = reduction * reduction
    if channels > size:
        raise ModelError(f"a {reduction}×{reduction} patch has {size} components; latent_channels {channels} is more")
    generator = generator or torch.Generator().manual_seed(0)
    patches = _gather_patches(images, masks or [None] * len(images), reduction, generator)
    mean = float(patches.mean())
    patches = patches - mean
    count = len(patches)
    if count >= size:
        values, vectors = _leading(patches.T @ patches / count, channels)
        return KLTBasis(np.ascontiguousarray(vectors.T), mean, values)
    values, vectors = _leading(patches @ patches.T / count, min(channels, count))
    present = values > values[0] * 1e-12
    values, vectors = values[present], vectors[:, present]
    rows = (patches.T @ vectors / np.sqrt(values * count)).T
    missing = channels - len(rows)
    if missing:
        free = torch.randn(missing, size, generator=generator, dtype=torch.float64).numpy()
        free -= (free @ rows.T) @ rows
        rows = np.concatenate([rows, np.linalg.qr(free.T)[0].T])
    return KLTBasis(np.ascontiguousarray(rows), mean, np.concatenate([values, np.zeros(missing)]))


def _leading(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest `count` eigenvalues of a symmetric positive matrix, in falling order, and their vectors as columns."""
    size = len(matrix)
    values, vectors = eigh(matrix, subset_by_index=[size - count, size - 1], overwrite_a=True, check_finite=False)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1].copy()


def _gather_patches(
    images: Sequence[Tensor], masks: Sequence[Tensor | None], reduction: int, generator: torch.Generator
) -> np.ndarray:
    """Overlapping valid patches as rows of a float64 matrix, (patches, r·r), thinned at random to a useful number."""

    def windows(image: Tensor) -> Tensor:
        image = image.detach().cpu()
        image = mirror_pad(image, reduction) if min(image.shape) < reduction else image
        return image.unfold(0, reduction, 1).unfold(1, reduction, 1)

    size = reduction * reduction
    limit = max(LEAST_PATCHES, MOST_VALUES // size)
    found = []
    for image, mask in zip(images, masks, strict=True):
        views = windows(image)
        if mask is None:
            usable = torch.ones(views.shape[:2], dtype=torch.bool)
        else:
            usable = windows(mask.to(torch.uint8)).amin(dim=(2, 3)) > 0
        found.append((views, usable.nonzero()))
    total = sum(len(where) for _, where in found)
    if not total:
        raise ModelError(
            f"no training patch of {reduction}×{reduction} samples without nodata; use a smaller spatial_reduction"
        )
    rows = []
    for views, where in found:
        share = len(where) if total <= limit else max(1, round(limit * len(where) / total))
        if share < len(where):
            where = where[torch.randperm(len(where), generator=generator)[:share]]
        rows.append(views[where[:, 0], where[:, 1]].reshape(len(where), size).double().numpy())
    return np.concatenate(rows)
