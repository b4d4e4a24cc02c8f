"""Loss functions by name: (x_hat, batch) → scalar, ignoring samples that the mask excludes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sarlab.errors import ModelError
from sarlab.models.data import Batch
from sarlab.registry import Registry

#: (x_hat, batch) → scalar, in dB² if the name begins with "mse".
Loss = Callable[[Tensor, Batch], Tensor]

losses: Registry[Loss] = Registry("loss", "sarlab.losses", ModelError)

#: Weights in dB² of the terms added to the squared error. At 16×, 1 − SSIM is about a quarter to a third, so its term is
#: about as large as the squared error.
BIAS_WEIGHT, SSIM_WEIGHT = 1.0, 10.0
#: Standard deviation and radius in samples of the Gaussian window of SSIM.
SIGMA, RADIUS = 1.5, 5
#: Side in samples of the two adjacent windows whose means differ at an edge.
EDGE_SIDE = 5


@losses.register("mse")
def mse(x_hat: Tensor, batch: Batch) -> Tensor:
    """Mean squared error in dB², which is what PSNR measures. In this unit gradient norms are about 1."""
    return masked_mean(((x_hat - batch.x) * batch.span_db).square(), batch.mask)


@losses.register("mse+bias")
def mse_and_bias(x_hat: Tensor, batch: Batch) -> Tensor:
    """Squared error plus the squared error of each patch's mean *intensity*, both in dB².

    With speckle the mean in dB lies below the mean in intensity, so a network that smooths is right in dB and dark in
    intensity. The second term preserves the radiometry of averages.
    """
    ratio = mean_intensity(x_hat, batch) / mean_intensity(batch.x, batch)
    return mse(x_hat, batch) + BIAS_WEIGHT * (10 * torch.log10(ratio)).square().mean()


@losses.register("gamma")
def gamma(x_hat: Tensor, batch: Batch) -> Tensor:
    """Negative log-likelihood of the recorded intensity I under gamma speckle of mean R, up to a constant.

    It is ln R + I/R minus its value at R = I: with d = ln(R/I), d + exp(−d) − 1, whose minimum over a speckled field is
    the mean intensity. Below d = −8 the exponential continues as a line; otherwise single bright samples would dominate
    the gradient.

    References: Goodman, *Speckle phenomena in optics*, 2007 (multi-look intensity is gamma distributed).
    """
    d = (x_hat - batch.x) * batch.span_db * (math.log(10) / 10)
    near = d.clamp(min=-8.0)
    return masked_mean(d + torch.exp(-near) * (1 + near - d) - 1, batch.mask)


@losses.register("mse+ssim")
def mse_and_ssim(x_hat: Tensor, batch: Batch) -> Tensor:
    """Squared error plus 1 − SSIM of the normalized samples; invalid samples count as equal."""
    if batch.mask is not None:
        x_hat = torch.where(batch.mask, x_hat, batch.x)
    return mse(x_hat, batch) + SSIM_WEIGHT * (1 - ssim(x_hat, batch.x))


@losses.register("mse-edge")
def edge_weighted_mse(x_hat: Tensor, batch: Batch) -> Tensor:
    """Squared error of which half of the weight is proportional to the strength of edges in the original.

    The strength is the difference in dB between the means of adjacent windows, so that homogeneous speckle has the same
    strength everywhere, whatever its brightness. The weights of a batch have a mean of 1.
    """
    strength = edge_strength(batch.x, batch.mask)
    weight = 0.5 + 0.5 * strength / masked_mean(strength, batch.mask).clamp(min=1e-6)
    return masked_mean(weight * ((x_hat - batch.x) * batch.span_db).square(), batch.mask)


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean over the valid samples, or 0 if there are none."""
    if mask is None:
        return values.mean()
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def mean_intensity(x: Tensor, batch: Batch) -> Tensor:
    """Return the mean linear intensity of each patch, (N,), relative to the middle of the normalized range."""
    intensity = torch.exp((x.float() - 0.5).clamp(max=4.0) * batch.span_db * (math.log(10) / 10))
    if batch.mask is None:
        return intensity.mean(dim=(1, 2, 3))
    total = torch.where(batch.mask, intensity, 0.0).sum(dim=(1, 2, 3))
    # A patch without valid samples counts as equal on both sides.
    return (total + 1e-12) / (batch.mask.sum(dim=(1, 2, 3)) + 1e-12)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean structural similarity of images (N, 1, H, W) of data range 1, as `sarlab.metrics` defines it.

    References: Wang, Bovik, Sheikh & Simoncelli, IEEE Trans. Image Process. 13(4), 2004.
    """

    def window(size: int) -> Tensor:
        """Weights (size − 2·RADIUS, size) of all windows inside; a product, because GPUs round convolutions to TF32."""
        place = torch.arange(size, device=x.device, dtype=x.dtype)
        offset = place - place[RADIUS : size - RADIUS, None]
        weights = torch.exp(-0.5 * (offset / SIGMA).square()) * (offset.abs() <= RADIUS)
        return weights / weights.sum(1, keepdim=True)

    moments = torch.cat([x, y, x * x, y * y, x * y])
    moments = window(x.shape[-2]) @ moments @ window(x.shape[-1]).T
    mean_x, mean_y, xx, yy, xy = moments.chunk(5)
    c1, c2 = 0.01**2, 0.03**2
    same = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    alike = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x.square() + yy - mean_y.square() + c2)
    return (same * alike).mean()


def edge_strength(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the gradient (N, 1, H, W) of box means, 0 where a window holds invalid samples."""

    def means(image: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(image, (EDGE_SIDE,) * 4, mode="replicate"), EDGE_SIDE, 1)

    def sides(image: Tensor) -> list[Tensor]:
        """Values left, right, above and below of each sample."""
        near, far = slice(EDGE_SIDE // 2 + 1, -(EDGE_SIDE // 2 + 1)), 2 * (EDGE_SIDE // 2 + 1)
        return [image[..., near, :-far], image[..., near, far:], image[..., :-far, near], image[..., far:, near]]

    left, right, above, below = sides(means(x))
    strength = torch.hypot(right - left, below - above)
    if mask is None:
        return strength
    return torch.where(torch.stack(sides(means(mask.to(x.dtype)))).amin(0) > 0.999, strength, 0.0)
