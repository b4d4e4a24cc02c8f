"""Training of an entropy-coded model: from a plan to the file of its weights, in one loop that reads top to bottom.

The loss is λD + R of each patch at a quality drawn for it, with λ where a uniform quantizer of the quality's step is at
its best, divided by R + 0.3 (or what the plan says) so that every rate counts. Which model is trained, its plan says:
`Trained` here for `factorized`, `sarlab.codec.hyper.objective.HyperTrained` for `hyper`.

    sarlab train notebooks/plans/codecs/factorized.toml --out factorized-1.safetensors
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from sarlab import __version__
from sarlab.codec.codec_plans import CodecPlan, Gathered, HyperPlan, gather
from sarlab.codec.factorized import LAMBDA
from sarlab.codec.fitting import fit_tables, save_model
from sarlab.codec.priors import FactorizedPrior, add_uniform_noise
from sarlab.codec.transform import CodingTransform
from sarlab.models.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from sarlab.models.data import PatchSampler, Raster
from sarlab.models.history import History, Validation
from sarlab.models.layers import mirror_pad
from sarlab.models.threads import cpu_threads
from sarlab.specs import content_hash

#: Qualities at which validation looks.
VALIDATED = (16.0, 24.0, 32.0, 40.0)
CHECKPOINT_SECONDS = 30.0
#: Costs are divided by the rate plus this many bits per pixel, so that every quality counts about the same.
RATE_OFFSET = 0.3


class Costs(NamedTuple):
    """Tensors of shape (N,): λD + R in bits per pixel, R, and the mean squared error D of normalized samples."""

    cost: Tensor
    rate: Tensor
    distortion: Tensor


class Trained(nn.Module):
    """What is learned: the transform, the densities, and a factor on each channel's step.

    The rate is that of a learned density whose width follows the patch, as the files' tables follow the tile.
    """

    rate_offset, keeps_last = RATE_OFFSET, False

    def __init__(self, network: CodingTransform):
        super().__init__()
        self.network, self.prior = network, FactorizedPrior(network.channels)
        self.log_gain = nn.Parameter(torch.zeros(network.channels))

    def fitted(self) -> None:
        """Take the densities' widths from the transform that was fitted to the training scenes."""
        self.prior.set_deviation(self.network.deviation)

    def gains(self) -> Tensor:
        """Factor on each channel's step; their geometric mean is 1, so that quality keeps its meaning."""
        return (self.log_gain - self.log_gain.mean()).exp()

    def costs(self, x: Tensor, mask: Tensor | None, quality: Tensor, noise: torch.Generator | None) -> Costs:
        """Cost, rate and distortion of every patch.

        Parameters
        ----------
        x : Tensor, shape (N, 1, H, W)
        mask : Tensor of bool, same shape, or None
        quality : Tensor, shape (N,)
        noise : torch.Generator or None
            The rate is that of the latent with uniform noise, which has a gradient, and the distortion that of the
            rounded latent, its gradient passed through; None: both are of the rounded latent, and the steps are fixed.
        """
        y = self.network.analysis(x)
        step = (math.sqrt(12) * 10 ** (-quality / 20))[:, None, None, None] * self.gains()[:, None, None]
        if noise is None:
            y, step = y.detach(), step.detach()
        typical = 0.75 * self.network.deviation[:, None, None] + 0.3 * step
        spread = (y.abs().mean((2, 3), keepdim=True) + 0.3 * step) / typical
        with torch.no_grad():
            rounded = self._rounded(y, step, spread)
        y_hat = y + step * ((rounded - y) / step).detach()
        rate = self.prior.bits(rounded if noise is None else add_uniform_noise(y, step, noise), step, spread)
        rate = rate.sum((1, 2, 3)) / x[0].numel()
        errors = torch.square(self.network.synthesis(y_hat, quality, step) - x)
        weight = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        distortion = (errors * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1)
        return Costs(distortion / (LAMBDA * 12 * 10 ** (-quality / 10)) + rate, rate, distortion)

    def _rounded(self, y: Tensor, step: Tensor, spread: Tensor) -> Tensor:
        """Multiples of the step: the nearest, or the one below in magnitude where that costs less."""
        sign, magnitude = torch.sign(y), y.abs() / step
        near = torch.round(magnitude)
        below = (near - 1).clamp_min(0)
        costs = [torch.square(magnitude - k) + LAMBDA * self.prior.bits(k * step, step, spread) for k in (near, below)]
        return sign * step * torch.where(costs[1] < costs[0], below, near)


def train_codec(
    plan: CodecPlan,
    target: Path,
    *,
    checkpoint: Path | None = None,
    time_budget: float | None = None,
    progress: Callable[[History], None] | None = None,
) -> History:
    """Train a model and write its file.

    Parameters
    ----------
    plan : CodecPlan
    target : Path
        The model's file; written when the training is finished.
    checkpoint : Path, optional
        Continued from where it exists; left behind when the time is over.
    time_budget : float, optional
        Seconds of this session; ``history.stopped`` is then ``"time budget"`` and `target` is not written.
    progress : callable, optional
        Called after each validation.

    Returns
    -------
    History
    """
    with cpu_threads(plan.training.threads):
        return _train(plan, target, checkpoint, time_budget, progress)


def _train(plan: CodecPlan, target: Path, checkpoint: Path | None, time_budget: float | None,
           progress: Callable[[History], None] | None) -> History:  # fmt: skip
    started, spec, data = perf_counter(), plan.training, gather(plan)
    generators = {
        name: torch.Generator().manual_seed(plan.seed * 3 + i) for i, name in enumerate(("patches", "noise", "start"))
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1 << 31, (), generator=generators["start"])))
        trained, write = build(plan)
    trained.network.fit_linear([raster.values for raster in data.training])
    trained.fitted()
    trained.train()
    parameters = dict(trained.named_parameters())
    average = {name: p.detach().clone() for name, p in parameters.items()}
    state = TrainingState(
        trained, average, {name: p.detach().clone() for name, p in parameters.items()},
        torch.optim.Adam(trained.parameters(), lr=spec.learning_rate), generators, History(),
        content_hash(asdict(plan), data.digest),
    )  # fmt: skip
    # Before any step, so that costs are divided by the same rates in every session.
    reference = look(trained, data.validation)[1]
    if checkpoint is not None and checkpoint.exists():
        load_checkpoint(checkpoint, state)
    history = state.history
    sampler = PatchSampler(data.training, spec.patch_size, torch.device("cpu")) if spec.steps else None
    hard_from, saved = round(spec.steps * (1 - spec.hard_share)), perf_counter()
    history.stopped = ""
    while history.steps_done < spec.steps:
        step = history.steps_done
        if step % spec.validate_every == 0 and not (history.validations and history.validations[-1].step == step):
            _validate(state, data.validation, reference, progress)
        if time_budget is not None and perf_counter() - started > time_budget:
            history.stopped = "time budget"
            break
        begun = perf_counter()
        assert sampler is not None
        batch = sampler.draw(spec.batch_size, generators["patches"])
        low, high = spec.quality
        quality = low + (high - low) * torch.rand(spec.batch_size, generator=generators["noise"])
        hard = step >= hard_from
        costs = trained.costs(batch.x, batch.mask, quality, None if hard else generators["noise"])
        loss = (costs.cost / (costs.rate.detach() + trained.rate_offset)).mean()
        for group in state.optimizer.param_groups:
            group["lr"] = spec.learning_rate * schedule(step, spec.steps, spec.warmup_steps)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_(trained.parameters(), spec.clip_norm)
        state.optimizer.step()
        decay = min(spec.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in parameters.items():
                average[name].lerp_(parameter, 1 - decay)
        history.steps_done, history.pixels = step + 1, history.pixels + batch.x.numel()
        history.seconds += perf_counter() - begun
        if checkpoint is not None and perf_counter() - saved > CHECKPOINT_SECONDS:
            save_checkpoint(checkpoint, state)
            saved = perf_counter()
    if history.stopped:
        if checkpoint is not None:
            save_checkpoint(checkpoint, state)
        return history
    if spec.steps:
        _validate(state, data.validation, reference, progress)
        _exchange(parameters, state.average if trained.keeps_last else state.best)
    history.stopped = "finished"
    write(plan, target, trained.eval(), data, {
        "steps": history.steps_done, "seconds": round(history.seconds, 1), "best_step": history.best_step,
        "validation_cost": best_cost(history), "data": data.note, "digest": data.digest,
    })  # fmt: skip
    return history


def build(plan: CodecPlan) -> tuple[Any, Callable[[Any, Path, Any, Gathered, dict], None]]:
    """What a plan trains, before it has seen any scene, and the function that writes its file."""
    if isinstance(plan, HyperPlan):
        from sarlab.codec.hyper import fitting

        return fitting.build(plan), fitting.finish
    return Trained(CodingTransform(plan.front, plan.width)), finish


@torch.no_grad()
def finish(plan: CodecPlan, target: Path, trained: Trained, data: Gathered, provenance: dict) -> None:
    """Freeze the tables on the training scenes and write the model's file."""
    network = trained.network
    network.half().float()
    network.orthogonalize()
    gains = trained.gains().half().double().numpy()
    latents = [
        network.analysis(mirror_pad(r.values[None, None], network.stride))[0].flatten(1).numpy() for r in data.training
    ]
    indices, families = fit_tables(latents, gains)
    from sarlab.scenes.embedded import reference_normalizers

    save_model(
        target, network, indices, families, gains, name=plan.name, normalizers=reference_normalizers(),
        provenance={**provenance, "plan": asdict(plan), "sarlab": __version__, "torch": torch.__version__.split("+")[0]},
    )  # fmt: skip


@torch.no_grad()
def look(trained: Any, rasters: tuple[Raster, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cost, rate and distortion of rasters at `VALIDATED` qualities with real rounding: three arrays of one length."""
    found = []
    for raster in rasters:
        x = mirror_pad(raster.values[None, None], trained.network.stride)
        mask = None if raster.mask is None else mirror_pad(raster.mask[None, None].float(), trained.network.stride) > 0
        found += [torch.stack(trained.costs(x, mask, torch.tensor([quality]), None))[:, 0] for quality in VALIDATED]
    return tuple(torch.stack(found, 1).double().numpy()) if found else (np.empty(0),) * 3  # type: ignore[return-value]


def _validate(
    state: TrainingState, rasters: tuple[Raster, ...], reference: np.ndarray, progress: Callable[[History], None] | None
) -> None:
    """Cost of the averaged weights, relative to the rates of the start; the best weights are kept."""
    trained, history = state.trained, state.history
    parameters = dict(trained.named_parameters())
    _exchange(parameters, state.average)
    costs, _, distortions = look(trained, rasters)  # type: ignore[arg-type]
    _exchange(parameters, state.average)
    loss = float(np.mean(costs / (reference + trained.rate_offset))) if costs.size else float("nan")
    best = best_cost(history)
    if best is None or loss <= best:
        history.best_step = history.steps_done
        for name, tensor in state.average.items():
            state.best[name].copy_(tensor)
    psnr = -10 * math.log10(np.mean(distortions)) if costs.size else float("nan")
    history.validations.append(Validation(history.steps_done, loss, psnr, 1.0))
    if progress is not None:
        progress(history)


def best_cost(history: History) -> float | None:
    """Least validation cost so far; None without validation scenes."""
    known = [v.loss for v in history.validations if v.loss is not None and not math.isnan(v.loss)]
    return min(known, default=None)


@torch.no_grad()
def _exchange(parameters: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        kept = parameter.clone()
        parameter.copy_(others[name])
        others[name].copy_(kept)


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))
