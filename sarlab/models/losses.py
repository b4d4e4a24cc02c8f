"""Loss functions by name: (x_hat, batch) → scalar, ignoring samples that the mask excludes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sarlab.errors import ModelError
from sarlab.models.data import Batch
from sarlab.registry import Registry

#: (x_hat, batch) → scalar, in dB² if the name begins with "mse".
Loss = Callable[[Tensor, Batch], Tensor]

losses: Registry[Loss] = Registry("loss", "sarlab.losses", ModelError)

#: Weights of the terms added to the squared error.
BIAS_WEIGHT, SPECTRUM_WEIGHT = 1.0, 0.1


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


@losses.register("mse+spectrum")
def mse_and_spectrum(x_hat: Tensor, batch: Batch) -> Tensor:
    """Squared error plus the squared log-ratio of the power spectra, averaged over the patches of a batch.

    Squared error alone smooths speckle; the second term asks for the original power at each frequency.
    """
    ours, theirs = mean_spectrum(x_hat, batch), mean_spectrum(batch.x, batch)
    floor = 1e-3 * theirs.mean().detach() + 1e-12
    return mse(x_hat, batch) + SPECTRUM_WEIGHT * torch.log((ours + floor) / (theirs + floor)).square().mean()


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


def mean_spectrum(x: Tensor, batch: Batch) -> Tensor:
    """Return the power spectrum of the Hann-windowed patches about 0.5, averaged over the batch."""
    x = x.float() - 0.5
    if batch.mask is not None:
        x = torch.where(batch.mask, x, 0.0)
    window = torch.hann_window(x.shape[-1], periodic=False, device=x.device)
    return torch.fft.rfft2(x * window * window[:, None], norm="ortho").abs().square().mean(dim=(0, 1))
