"""Training data: normalized single-band rasters, random patches cut from them on the device, and their KLT (PCA)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from sarlab.errors import ModelError, TrainingError
from sarlab.models.layers import mirror_pad

#: Largest side of the window cut from a validation scene, and most validation pixels in total.
VALIDATION_SIDE, VALIDATION_PIXELS = 512, 1 << 20
#: Smallest share of valid samples in a training patch.
LEAST_VALID = 0.5
#: Most patch origins per raster; larger rasters use a coarser grid of origins.
MOST_ORIGINS = 1 << 18
#: Most values gathered to estimate a basis (float64: 160 MB). For 32×32 patches that is 20 patches per dimension; five
#: times as many change PSNR by 0.005 dB.
MOST_VALUES = 20_000_000
#: Fewest patches, whatever their size.
LEAST_PATCHES = 256


class Batch(NamedTuple):
    """Patches of a training step, (N, 1, side, side)."""

    #: Normalized samples.
    x: Tensor
    #: True where a sample is valid; None if all are.
    mask: Tensor | None
    #: dB per normalized unit, (N, 1, 1, 1).
    span_db: Tensor


@dataclass(frozen=True, eq=False)
class Raster:
    """One normalized band (H, W) without NaN: invalid samples, False in `mask`, hold the mean of the valid ones.

    `span_db` is the dB per normalized unit, which losses on intensity need.
    """

    values: Tensor
    mask: Tensor | None = None
    span_db: float = 30.0

    @classmethod
    def from_array(cls, array: np.ndarray, span_db: float = 30.0, name: str = "a raster") -> Raster | None:
        """Wrap a normalized (H, W) array with NaN as nodata; return None if nothing is valid."""
        array = np.asarray(array, np.float32)
        if array.ndim != 2:
            raise TrainingError(f"{name}: training takes single bands (H, W), not {array.shape}")
        valid = ~np.isnan(array)
        if not valid.any():
            return None
        if np.isinf(array).any():
            raise TrainingError(f"{name} holds infinite samples; set exact zeros to their floor in dB before training")
        if valid.all():
            return cls(torch.from_numpy(array.copy()), None, span_db)
        filled = np.where(valid, array, array[valid].mean(dtype=np.float64)).astype(np.float32)
        return cls(torch.from_numpy(filled), torch.from_numpy(valid), span_db)

    def batch(self, device: torch.device) -> Batch:
        """Return the whole raster as a batch of one."""
        mask = None if self.mask is None else self.mask.to(device)[None, None]
        return Batch(self.values.to(device)[None, None], mask, torch.full((1, 1, 1, 1), self.span_db, device=device))


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Rasters that a network is trained and validated on; without validation a training keeps its last weights."""

    training: tuple[Raster, ...]
    validation: tuple[Raster, ...] = ()

    def __post_init__(self) -> None:
        if not self.training:
            raise TrainingError("no valid training sample: every scene of the training split is nodata")

    @classmethod
    def from_arrays(
        cls, training: Sequence[np.ndarray], validation: Sequence[np.ndarray] = (), *, span_db: float = 30.0
    ) -> TrainingData:
        """Wrap normalized (H, W) arrays with NaN as nodata; those without a valid sample are left out."""
        taken = [Raster.from_array(a, span_db, f"training raster {i}") for i, a in enumerate(training)]
        held = [Raster.from_array(a, span_db, f"validation raster {i}") for i, a in enumerate(validation)]
        return cls(tuple(r for r in taken if r), tuple(r for r in held if r))

    @classmethod
    def from_split(cls, split: Any) -> TrainingData:
        """Normalize each band of a `sarlab.scenes.catalog.Split` in dB by the split's own normalizer."""
        taken = [r for scene in split.train for r in normalized_bands(scene, split.normalizers)]
        bands = sum(len(scene.bands) for scene in split.validation)
        side = min(VALIDATION_SIDE, max(64, int((VALIDATION_PIXELS / max(bands, 1)) ** 0.5)))
        held = [r for scene in split.validation for r in normalized_bands(scene, split.normalizers, side)]
        return cls(tuple(taken), tuple(held))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all samples, in hexadecimal."""
        digest = hashlib.sha256(repr((len(self.training), len(self.validation))).encode())
        for raster in (*self.training, *self.validation):
            digest.update(repr((tuple(raster.values.shape), raster.span_db)).encode())
            digest.update(raster.values.numpy().tobytes())
            digest.update(b"" if raster.mask is None else raster.mask.numpy().tobytes())
        return digest.hexdigest()

    def fit_klt(self, reduction: int, channels: int) -> KLTBasis:
        """Fit a KLT basis to the training rasters."""
        return fit_klt(self.training, reduction, channels)


def normalized_bands(scene: Any, normalizers: Mapping[str, Any], side: int | None = None) -> list[Raster]:
    """Map the valid bands of a scene in dB by [low, high] → [0, 1] without clipping; `side` crops them to the middle."""
    rasters = []
    for name, band in zip(scene.bands, scene.data, strict=True):
        if side is not None:
            top, left = (max(0, (n - side) // 2) for n in band.shape)
            band = band[top : top + side, left : left + side]
        low, span = normalizers[name].low, normalizers[name].high - normalizers[name].low
        raster = Raster.from_array((band - np.float32(low)) / np.float32(span), float(span), f"{scene.name} {name}")
        if raster is not None:
            rasters.append(raster)
    return rasters


class PatchSampler:
    """Draw random patches of `side` × `side` pixels in one of eight orientations, gathered on the device.

    All rasters, mirrored up to the size of a patch if they are smaller, are stored in one flat tensor, in which a patch
    is an origin and two strides. Flips and rotations by 90° only change these, so augmentation is free.
    """

    def __init__(self, rasters: Sequence[Raster], side: int, device: torch.device):
        self.side = side
        values, masks, origins, widths, spans, start = [], [], [], [], [], 0
        for raster in rasters:
            image = at_least(raster.values, side)
            mask = None if raster.mask is None else at_least(raster.mask, side)
            at = patch_origins(image.shape, mask, side)
            if len(at):
                values.append(image.flatten())
                masks.append(torch.ones(image.numel(), dtype=torch.bool) if mask is None else mask.flatten())
                origins.append(start + at)
                widths.append(torch.full_like(at, image.shape[1]))
                spans.append(torch.full(at.shape, raster.span_db))
                start += image.numel()
        if not values:
            raise TrainingError(
                f"no training patch of {side}×{side} pixels has half of its samples valid; use a smaller patch_size"
            )
        self.origins, self.widths, self.spans = torch.cat(origins), torch.cat(widths), torch.cat(spans)
        self.values = torch.cat(values).to(device)
        mask = torch.cat(masks)
        self.mask = None if bool(mask.all()) else mask.to(device)
        self.ramp = torch.arange(side, device=device)
        self.device = device

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Draw `count` patches; `generator` is a CPU generator, so that every device gets the same patches."""
        chosen = torch.randint(len(self.origins), (count,), generator=generator)
        turn = torch.randint(2, (3, count), generator=generator)
        origin, width, last = self.origins[chosen], self.widths[chosen], self.side - 1
        down, right = width * (1 - 2 * turn[0]), 1 - 2 * turn[1]
        origin = origin + turn[0] * width * last + turn[1] * last
        swap = turn[2] > 0
        plan = torch.stack([origin, torch.where(swap, right, down), torch.where(swap, down, right)])
        origin, by_row, by_column = plan.to(self.device)[:, :, None, None]
        index = origin + by_row * self.ramp[:, None] + by_column * self.ramp
        span = self.spans[chosen].to(self.device)[:, None, None, None]
        return Batch(self.values[index][:, None], None if self.mask is None else self.mask[index][:, None], span)


def at_least(image: Tensor, side: int) -> Tensor:
    """Mirror an (H, W) tensor up to `side` along the axes where it is smaller."""
    padded = mirror_pad(image, side) if min(image.shape) < side else image
    return padded[: max(side, image.shape[0]), : max(side, image.shape[1])]


def patch_origins(shape: torch.Size, mask: Tensor | None, side: int) -> Tensor:
    """Return the flat indices of the first samples of all patches with enough valid samples."""
    rows, columns = shape[0] - side + 1, shape[1] - side + 1
    step = max(1, int(np.ceil((rows * columns / MOST_ORIGINS) ** 0.5)))
    top, left = torch.arange(0, rows, step), torch.arange(0, columns, step)
    index = top[:, None] * shape[1] + left
    if mask is None:
        return index.flatten()
    total = torch.nn.functional.pad(mask.to(torch.int64).cumsum(0).cumsum(1), (1, 0, 1, 0))
    top = top[:, None]
    valid = total[top + side, left + side] - total[top, left + side] - total[top + side, left] + total[top, left]
    return index[valid >= LEAST_VALID * side * side]


# --- KLT: basis of the linear autoencoder and of the linear path of the networks ----------------------------------------


@dataclass(frozen=True, eq=False)
class KLTBasis:
    """Leading principal components of r × r patches.

    `vectors` (C, r·r) are orthonormal rows in order of falling variance, `variances` (C,) those of the coefficients. The
    mean is a scalar: patches are taken at every position, so it does not depend on the position within a patch.
    """

    vectors: np.ndarray
    mean: float
    variances: np.ndarray


def fit_klt(rasters: Sequence[Raster], reduction: int, channels: int) -> KLTBasis:
    """Fit the exact eigendecomposition of the patches' covariance.

    With fewer patches than samples per patch (r of 64 and more), the Gram matrix of the patches is decomposed instead,
    which gives the same leading vectors; missing directions are completed by random orthonormal ones of variance zero.

    Parameters
    ----------
    rasters : sequence of Raster
        Those smaller than a patch are mirrored up to its size; patches with an invalid sample are left out.
    reduction, channels : int
        Side r of a patch; components to keep, at most r².

    References: Karhunen 1947; Loève 1948; for the Gram form, Sirovich 1987 (method of snapshots).
    """
    size = reduction * reduction
    if channels > size:
        raise ModelError(f"a {reduction}×{reduction} patch has {size} components; latent_channels {channels} is more")
    generator = torch.Generator().manual_seed(0)
    patches = _gather_patches(rasters, reduction, generator)
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


def _gather_patches(rasters: Sequence[Raster], reduction: int, generator: torch.Generator) -> np.ndarray:
    """Overlapping valid patches as rows of a float64 matrix, (patches, r·r), thinned at random to a useful number."""

    def windows(image: Tensor) -> Tensor:
        image = mirror_pad(image, reduction) if min(image.shape) < reduction else image
        return image.unfold(0, reduction, 1).unfold(1, reduction, 1)

    size = reduction * reduction
    limit = max(LEAST_PATCHES, MOST_VALUES // size)
    found = []
    for raster in rasters:
        views = windows(raster.values)
        usable = torch.ones(views.shape[:2], dtype=torch.bool)
        if raster.mask is not None:
            usable = windows(raster.mask.to(torch.uint8)).amin(dim=(2, 3)) > 0
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
