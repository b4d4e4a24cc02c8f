"""The codec `hyper`, as it is trained: transform, gains, entropy model, and the cost of a patch at a quality.

    x ─ W ─ Vᵀ ── y ──[(y − μ)/Δ → k → μ + kΔ]── ŷ ──(+ learned correction)── V ── W⁻¹ ── x̂
                              ▲ μ, σ
                       ContextModel(decoded ŷ, quality)

The analysis is linear and orthogonal but for the wavelet: it starts as the principal axes of the wavelet channels and is
turned by training. Values are quantized around their predicted mean with the step Δ of quality and channel, to the
nearest integer or the one below it in magnitude, whichever costs less.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sarlab.codec.hyper.context import KNOT_COUNT, ContextModel, at_quality, features
from sarlab.codec.tables import LAMBDA, LEAST
from sarlab.codec.tile_model import Costs
from sarlab.codec.transform import CodingTransform

#: Deviations below this share of a step are no longer told apart (scale index 4 of the frozen tables).
LEAST_SCALE = -3.5
#: Deviation of the density's wide part, in those of the narrow one.
_WIDE = 3.0
#: How much the axes turn for a unit of the learned parameters.
_TURN = 0.1
#: Normalized unit in nepers of intensity: 28 dB, the range of Sentinel-1's normalizers.
_SPAN = 28 * math.log(10) / 10


class HyperTrained(nn.Module):
    """All that is learned.

    Parameters
    ----------
    network : CodingTransform
        Fitted to the training scenes.
    context : ContextModel
    turned : bool
        Whether training turns the axes.
    rate_offset : float
        Costs are to be divided by the rate plus this many bits per pixel.
    bias_weight : float
        Weight of the squared difference of mean intensities in dB, beside squared error.
    speckle_weight : float
        Share of the squared error that `gamma_deviance` replaces.
    keeps_last : bool
        Whether the weights of the last step are kept instead of the best of the validations.
    """

    log_gain: Tensor

    def __init__(
        self,
        network: CodingTransform,
        context: ContextModel,
        *,
        turned: bool = True,
        rate_offset: float = 0.15,
        bias_weight: float = 0.0,
        speckle_weight: float = 0.0,
        keeps_last: bool = True,
    ):
        super().__init__()
        self.network, self.context, self.turned = network, context, turned
        #: For a second band, which sees the first one; learned last, see `sarlab.codec.hyper.train_second`.
        self.second: ContextModel | None = None
        #: Factor on the price of a bit when integers are chosen.
        self.thrift = 1.0
        self.rate_offset, self.bias_weight, self.speckle_weight = rate_offset, bias_weight, speckle_weight
        self.keeps_last = keeps_last
        self.turn = nn.Parameter(torch.zeros(network.channels, network.channels))
        #: ln of the odds of the wide part of each channel's density at a scale of one step, and per octave of scale.
        self.tail = nn.Parameter(torch.tensor([[-1.7], [-0.5]]).repeat(1, network.channels))
        # Not learned by gradients: those see no error of values that a larger step would turn into zeros.
        self.register_buffer("log_gain", torch.zeros(KNOT_COUNT, network.channels))

    def fitted(self) -> None:
        """Nothing else depends on what the transform was fitted to."""

    def mixing(self) -> Tensor:
        """V: the fitted axes, turned."""
        if not self.turned:
            return self.network.mixing
        skew = _TURN * (self.turn - self.turn.T)
        return self.network.mixing @ torch.linalg.matrix_exp(skew)

    def step_sizes(self, quality: Tensor) -> Tensor:
        """Δ of each patch and channel, shape (N, C, 1, 1)."""
        base = math.sqrt(12) * 10 ** (-quality / 20)
        return (base[:, None] * torch.exp2(at_quality(self.log_gain, quality)))[:, :, None, None]

    @torch.no_grad()
    def decoded(self, x: Tensor, quality: Tensor) -> Tensor:
        """Decoded latents of patches, in deviations: (N, 1, H, W) → (N, C, H/8, W/8)."""
        deviation = self.network.deviation[:, None, None]
        scaled, relative = self.network.analysis(x, self.mixing()) / deviation, self.step_sizes(quality) / deviation
        mean, _, chosen = self._walk(scaled, relative, quality)
        return mean + chosen * relative

    def costs(
        self,
        x: Tensor,
        mask: Tensor | None,
        quality: Tensor,
        noise: torch.Generator | None,
        other: Tensor | None = None,
    ) -> Costs:
        """Cost, rate and distortion of every patch.

        Parameters
        ----------
        x : Tensor, shape (N, 1, H, W)
        mask : Tensor of bool, same shape, or None
        quality : Tensor, shape (N,)
        noise : torch.Generator or None
            With it, the rate is that of the latent with uniform noise, which has a gradient; without, that of the
            rounded latent, and transform and steps are fixed.
        other : Tensor, shape (N, C, h, w), optional
            Decoded latents of another band, in deviations: the patches are those of a second band.
        """
        mixing, steps = self.mixing(), self.step_sizes(quality)
        deviation = self.network.deviation[:, None, None]
        y = self.network.analysis(x, mixing)
        if noise is None:
            y, steps = y.detach(), steps.detach()
        relative = steps / deviation
        scaled = y / deviation
        mean, log_scale, chosen = self._walk(scaled, relative, quality, other)
        # Where the integer is zero the value is its mean; elsewhere it follows the latent at the distance seen.
        offset = ((mean + chosen * relative - scaled) / relative).detach()
        x_hat = torch.where(chosen == 0, mean, scaled + offset * relative)
        residual = scaled - mean
        if noise is None:
            residual = residual + (chosen * relative - residual).detach()
        else:
            residual = residual + (torch.rand(y.shape, generator=noise) - 0.5) * relative
        bits = tailed_bits(residual / relative, log_scale - relative.log2(), self.tail)
        rate = bits.sum((1, 2, 3)) / x[0].numel()
        decoded = self.network.synthesis(x_hat * deviation, quality, steps, mixing)
        weight = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        errors = torch.square(decoded - x)
        if self.speckle_weight:
            errors = errors + self.speckle_weight * (gamma_deviance(x - decoded) - errors)
        distortion = (errors * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1)
        if self.bias_weight:
            means = [(torch.exp(_SPAN * t.clamp(-0.5, 2)) * weight).sum((1, 2, 3)) for t in (decoded, x)]
            distortion = distortion + self.bias_weight * ((means[0] / means[1]).log() / _SPAN).square()
        return Costs(distortion / (LAMBDA * 12 * 10 ** (-quality / 10)) + rate, rate, distortion)

    def _walk(
        self, scaled: Tensor, relative: Tensor, quality: Tensor, other: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Means, log₂ scales and integers of all values, shape (N, C, h, w)."""
        size = (scaled.shape[2], scaled.shape[3])
        # Bits against squared error in the steps of each channel.
        price = LAMBDA * (math.sqrt(12) * 10 ** (-quality / 20))[:, None, None, None] ** 2
        price = price / (relative * self.network.deviation[:, None, None]).square()
        context = self.context if other is None or self.second is None else self.second
        total = context.begin(quality, size)
        if other is not None and context.cross is not None:
            total = total + context.cross(features(other))
        walk = context.walk(total)
        means: list[Tensor] = []
        scales: list[Tensor] = []
        chosen: list[Tensor] = []
        decoded: Tensor | None = None
        try:
            while True:
                step, mean, log_scale = walk.send(decoded)
                place = step.mask(*size, device=scaled.device)
                part = slice(step.first, step.last)
                with torch.no_grad():
                    k = cheaper(
                        (scaled[:, part] - mean) / relative[:, part], log_scale - relative[:, part].log2(),
                        self.thrift * price[:, part], self.tail[:, part],
                    )  # fmt: skip
                    decoded = (mean + k * relative[:, part]) * place
                if step.first == sum(t.shape[1] for t in means):
                    for kept, new in ((means, mean), (scales, log_scale), (chosen, k)):
                        kept.append(new)
                else:
                    for kept, new in ((means, mean), (scales, log_scale), (chosen, k)):
                        kept[-1] = torch.where(place, new, kept[-1])
        except StopIteration:
            pass
        return torch.cat(means, 1), torch.cat(scales, 1), torch.cat(chosen, 1)


def gamma_deviance(difference: Tensor) -> Tensor:
    """What Gamma speckle says of a decoded mean, in the unit of squared error, which it equals for small differences.

    With d = ln(I/R) for the recorded intensity I and the decoded one R it is 2(exp(d) − d − 1): twice what the negative
    log-likelihood ln R + I/R has above its least. Where speckle is averaged its minimum is the mean intensity, not that of dB.
    Above d = 3 the exponential goes on as a line, or one bright sample would own the gradient.

    Parameters
    ----------
    difference : Tensor
        Recorded minus decoded normalized samples.
    """
    d = difference * _SPAN
    near = d.clamp(max=3.0)
    return 2 * (torch.exp(near) * (1 + d - near) - d - 1) / _SPAN**2


def gaussian_bits(y: Tensor, mean: Tensor, deviation: Tensor, step: Tensor | float = 1.0) -> Tensor:
    """Bits of the intervals y ± step/2 under a normal density: the conditional prior of a hyperprior model.

    Parameters
    ----------
    y, mean, deviation : Tensor, broadcastable
        In the same unit; `deviation` is positive.
    step : Tensor or float
        Width of the interval.

    Returns
    -------
    Tensor
        −log2 of the probability, elementwise.
    """
    # By symmetry both ends are taken from the lower tail, where the difference of two cdfs keeps its digits.
    distance = (y - mean).abs()
    upper = torch.special.ndtr((step / 2 - distance) / deviation)
    lower = torch.special.ndtr((-step / 2 - distance) / deviation)
    return -torch.log2((upper - lower).clamp_min(LEAST))


def logistic_bits(y: Tensor, mean: Tensor, deviation: Tensor, step: Tensor | float = 1.0) -> Tensor:
    """Bits of the intervals y ± step/2 under a logistic density of the given standard deviation."""
    rate = math.pi / math.sqrt(3) / deviation
    distance = (y - mean).abs()
    upper = torch.sigmoid((step / 2 - distance) * rate)
    lower = torch.sigmoid((-step / 2 - distance) * rate)
    return -torch.log2((upper - lower).clamp_min(LEAST))


def floored(log_scale: Tensor) -> Tensor:
    """log₂ of scales in steps, with a soft floor below which coding cannot tell them apart."""
    return torch.logaddexp(4 * math.log(2) * log_scale, torch.tensor(4 * math.log(2) * LEAST_SCALE)) / (4 * math.log(2))


def tailed_bits(k: Tensor, log_scale: Tensor, tail: Tensor) -> Tensor:
    """Bits of intervals k ± ½ under a normal density and, for what was not foreseen, a logistic one three times as wide.

    Parameters
    ----------
    k : Tensor, shape (N, C, h, w)
        In steps.
    log_scale : Tensor, same shape
        log₂ of the normal density's deviation in steps; held above `LEAST_SCALE`.
    tail : Tensor, shape (2, C)
        ln of the odds of the wide part at a deviation of one step, and what an octave adds.
    """
    log_scale = floored(log_scale)
    share = torch.sigmoid(tail[0, :, None, None] + tail[1, :, None, None] * log_scale)
    scale, zero = torch.exp2(log_scale), torch.zeros((), device=k.device)
    narrow, wide = torch.exp2(-gaussian_bits(k, zero, scale)), torch.exp2(-logistic_bits(k, zero, _WIDE * scale))
    return -torch.log2((1 - share) * narrow + share * wide)


def cheaper(scaled: Tensor, log_scale: Tensor, price: Tensor, tail: Tensor) -> Tensor:
    """Integers near `scaled` (in steps): the nearest, or the one below in magnitude where that costs less.

    Parameters
    ----------
    scaled : Tensor, shape (N, C, h, w)
    log_scale, tail : Tensor
        See `tailed_bits`.
    price : Tensor
        Squared error in steps that a bit is worth.
    """
    magnitude = scaled.abs()
    near = magnitude.round()
    below = (near - 1).clamp_min(0)
    more = tailed_bits(near, log_scale, tail) - tailed_bits(below, log_scale, tail)
    saved = torch.square(magnitude - below) - torch.square(magnitude - near) < price * more
    return torch.sign(scaled) * torch.where(saved, below, near)
