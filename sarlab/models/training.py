"""Training: the loop with averaged weights, validation and checkpoints; losses by name; Muon; nested channels.

`fit` minimizes any `Objective`: `train` runs it on a fixed-latent network, the codec on a model of its own.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sarlab.errors import ModelError
from sarlab.models.autoencoders import Autoencoder, LatentHook
from sarlab.models.data import Batch, PatchSampler, Raster, TrainingData
from sarlab.models.storage import History, TrainingState, Validation, load_checkpoint, save_checkpoint, three_quarters
from sarlab.registry import Registry
from sarlab.specs import TrainSpec, content_hash

#: Decay rates of Adam. Trainings take a few hundred steps, so spikes of the squared gradients must fade within twenty.
BETAS = (0.9, 0.95)
#: Steps between recorded losses.
RECORD_EVERY = 10
#: Seconds between the checkpoints of a running training.
CHECKPOINT_SECONDS = 30.0
#: Number of latent sizes, each half the one before, that a nested training serves.
NESTED_SIZES = 6
#: Called with the history and the number of steps, after each validation.
Progress = Callable[[History, int], None]


class Objective(nn.Module):
    """Training objective: the module that `fit` minimizes, with everything learned in it."""

    #: Random generators, saved with checkpoints; that of the patches belongs to `fit`.
    generators: dict[str, torch.Generator]
    #: Keep the averaged weights of the last step instead of those of the best validation.
    keeps_last = False

    def optimizer(self) -> torch.optim.Optimizer:
        """Return the optimizer. Groups may have a key ``rate``, a factor on the learning rate."""
        raise NotImplementedError

    def loss(self, batch: Batch, step: int) -> Tensor:
        """Return the loss of a batch, a scalar."""
        raise NotImplementedError

    def validate(self) -> tuple[float, float, float]:
        """Return loss, PSNR in dB and relative spread on the validation scenes; NaN if there are none."""
        raise NotImplementedError


def fit(
    objective: Objective, rasters: Sequence[Raster], spec: Any, *, seed: int, fingerprint: str,
    device: str | torch.device = "cpu", checkpoint: Path | None = None, progress: Progress | None = None,
    time_budget: float | None = None,
) -> History:  # fmt: skip
    """Minimize `objective` in place; it ends with the averaged weights that were best on validation.

    The start is validated too, so a network that starts from the KLT never ends below it on the validation scenes.

    Parameters
    ----------
    rasters : sequence of Raster
        Source of the training patches.
    spec : TrainSpec
        Or another object with its fields ``steps`` to ``ema_decay``, ``validate_every`` and ``threads``.
    seed : int
        Seed of the patches and their orientations.
    fingerprint : str
        Hash of everything that determines the result; a checkpoint with another one is refused.
    checkpoint : Path, optional
        File to resume from if it exists, and to write. An interrupted and resumed training ends with the same bits as
        an uninterrupted one (on a CPU, with the same number of threads).
    time_budget : float, optional
        Seconds after which to stop; ``history.stopped`` is then ``"time budget"``.

    Raises
    ------
    TrainingError
        If no patch can be cut, or the checkpoint belongs to another training.
    KeyboardInterrupt
        On Ctrl-C, after the current step is done and the checkpoint written.
    """
    began, device = perf_counter(), torch.device(device)
    objective.to(device)
    sampler, patches = PatchSampler(rasters, spec.patch_size, device), torch.Generator().manual_seed(seed)
    optimizer = objective.optimizer()
    named = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    parameters, average = list(named.values()), [p.detach().clone() for p in named.values()]
    best = {name: t.clone() for name, t in objective.state_dict().items()}
    averages, generators = dict(zip(named, average, strict=True)), {"patches": patches, **objective.generators}
    state = TrainingState(objective, averages, best, optimizer, generators, History(), fingerprint)
    if checkpoint is not None and Path(checkpoint).exists():
        load_checkpoint(checkpoint, state)
    history = state.history
    history.stopped = ""
    layer_norms: dict[str, float] = {}
    judged = (three_quarters(spec.steps), spec.steps)

    def validate() -> None:
        objective.eval()
        with exchanged(parameters, average):
            loss, psnr_db, spread = objective.validate()
            if objective.keeps_last or loss < history.best_loss or history.best_loss == math.inf:
                history.best_step = history.steps_done
                for name, tensor in objective.state_dict().items():
                    best[name].copy_(tensor)
        objective.train()
        history.validations.append(Validation(history.steps_done, loss, psnr_db, spread, layer_norms))
        if progress:
            progress(history, spec.steps)

    with cpu_threads(spec.threads), interrupts_deferred() as interrupted:
        if not history.validations:
            validate()
        objective.train()
        since = saved = perf_counter()
        while history.steps_done < spec.steps and not history.stopped:
            step = history.steps_done
            rate = spec.learning_rate * schedule(step, spec)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("rate", 1.0)

            batch = sampler.draw(spec.batch_size, patches)
            loss = objective.loss(batch, step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            validating = (step + 1) % spec.validate_every == 0 or step + 1 in judged
            if validating:
                layer_norms = gradient_norms(named)
            norm = clip_grad_norm_(parameters, spec.clip_norm or math.inf)
            optimizer.step()
            # The average begins short and grows to `ema_decay`; otherwise the first weights would dominate it for long.
            decay = min(spec.ema_decay, (1 + step) / (10 + step))
            get_ema_multi_avg_fn(decay)(average, [p.detach() for p in parameters], step)

            history.steps_done += 1
            history.pixels += batch.x.numel()
            if step % RECORD_EVERY == 0:
                history.steps.append(step)
                history.losses.append(loss.item())
                history.learning_rates.append(rate)
                history.gradient_norms.append(norm.item())
                if not math.isfinite(history.losses[-1]):
                    history.stopped = "diverged"
                    break
            history.seconds += perf_counter() - since
            if validating:
                validate()
            since = perf_counter()
            if interrupted():
                history.stopped = "interrupted"
            elif time_budget is not None and since - began > time_budget and history.steps_done < spec.steps:
                history.stopped = "time budget"
            elif checkpoint is not None and since - saved > CHECKPOINT_SECONDS:
                save_checkpoint(checkpoint, state)
                saved = since
        history.stopped = history.stopped or "finished"
        if checkpoint is not None and history.stopped != "diverged":
            save_checkpoint(checkpoint, state)

    objective.load_state_dict(best)
    objective.eval()
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return history


def schedule(step: int, spec: Any) -> float:
    """Return the factor on the learning rate: linear warm-up, then half a cosine down to 0 at the last step."""
    if step < spec.warmup_steps:
        return (step + 1) / spec.warmup_steps
    done = (step - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def gradient_norms(named: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the gradient norm of each layer."""
    layers: dict[str, list[Tensor]] = {}
    for name, parameter in named.items():
        if parameter.grad is not None:
            layers.setdefault(name.rpartition(".")[0], []).append(parameter.grad.norm())
    return {name: float(torch.stack(parts).norm()) for name, parts in layers.items()}


@contextmanager
def exchanged(parameters: Sequence[Tensor], others: Sequence[Tensor]) -> Iterator[None]:
    """Swap the values of `parameters` and `others` within the block, without copying."""

    def exchange() -> None:
        for mine, theirs in zip(parameters, others, strict=True):
            mine.data, theirs.data = theirs.data, mine.data

    exchange()
    try:
        yield
    finally:
        exchange()


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Use `count` CPU threads in PyTorch within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


#: One event per running training of this process.
_running: set[threading.Event] = set()


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C into a flag, so that no step is cut in half; a second Ctrl-C interrupts at once.

    Threads other than the main one receive no signals: `interrupt_all` sets their flag.
    """
    asked = threading.Event()

    def handler(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, handler) if main else None
    _running.add(asked)
    try:
        yield asked.is_set
    finally:
        _running.discard(asked)
        if main:
            signal.signal(signal.SIGINT, before)


def interrupt_all() -> int:
    """Stop all trainings of this process after their current step; return their number."""
    for asked in list(_running):
        asked.set()
    return len(_running)


# --- fixed-latent networks --------------------------------------------------------------------------------------------


def train(
    model: Autoencoder, data: TrainingData, spec: TrainSpec, *, seed: int, device: str | torch.device = "cpu",
    quantizer: LatentHook | None = None, **options: Any,
) -> History:  # fmt: skip
    """Train a fixed-latent network in place, and move it to `device`; `options` are those of `fit`.

    The `quantizer` maps y → y_hat between analysis and synthesis. If it is a module, its parameters are trained along, and
    ``train()`` and ``eval()`` select its training view or real rounding. Its attribute ``generator``, if any, is
    checkpointed, and its attribute ``progress`` is set to the share of completed steps.
    """
    objective = Reconstruction(model, data.validation, spec, quantizer, device)
    fingerprint = content_hash(dataclasses.asdict(model.spec), dataclasses.asdict(spec), seed, data.digest)
    return fit(objective, data.training, spec, seed=seed, fingerprint=fingerprint, device=device, **options)


class Reconstruction(Objective):
    """A fixed-latent network, and its quantizer if that is trained along, under one of the `losses`."""

    def __init__(
        self, model: Autoencoder, validation: Sequence[Raster], spec: TrainSpec, quantizer: LatentHook | None = None,
        device: torch.device | str = "cpu",
    ):  # fmt: skip
        super().__init__()
        self.model, self.quantizer, self.spec, self.device = model, quantizer, spec, torch.device(device)
        self.loss_of, self.mixed = losses[spec.loss], half_precision(spec, self.device)
        self.held = [raster.batch(self.device) for raster in validation]
        own = getattr(quantizer, "generator", None)
        self.generators = {"quantizer": own} if isinstance(own, torch.Generator) else {}

    def optimizer(self) -> torch.optim.Optimizer:
        groups = list(self.model.parameter_groups())
        if isinstance(self.quantizer, nn.Module) and (extra := list(self.quantizer.parameters())):
            groups.append({"params": extra, "rate": 1.0})
        kind = OPTIMIZERS[self.spec.optimizer]
        return kind(groups, lr=0.0, betas=BETAS, weight_decay=self.spec.weight_decay, fused=True)

    def loss(self, batch: Batch, step: int) -> Tensor:
        if self.quantizer is not None and hasattr(self.quantizer, "progress"):
            self.quantizer.progress = step / self.spec.steps
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            x_hat = self.model(batch.x, self.quantizer).x_hat
        return self.loss_of(x_hat.float(), batch)

    @torch.no_grad()
    def validate(self) -> tuple[float, float, float]:
        scores = []
        for batch in self.held:
            x_hat = self.model(batch.x, self.quantizer).x_hat.float()
            inside = slice(None) if batch.mask is None else batch.mask
            ours, theirs = x_hat[inside], batch.x[inside]
            error = (ours.clamp(0, 1) - theirs.clamp(0, 1)).square().mean()
            spread = ours.std(correction=0) / theirs.std(correction=0).clamp(min=1e-9)
            scores.append(torch.stack([self.loss_of(x_hat, batch), -10 * torch.log10(error.clamp(min=1e-12)), spread]))
        loss, psnr_db, spread = torch.stack(scores).double().mean(dim=0).tolist() if scores else [math.nan] * 3
        return loss, psnr_db, spread


def half_precision(spec: TrainSpec, device: torch.device) -> bool:
    """Return whether to multiply in bfloat16: if the spec asks for it and the hardware supports it natively."""
    if spec.precision != "bfloat16":
        return False
    return device.type == "cuda" or bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


# --- nested latents ---------------------------------------------------------------------------------------------------


def nested_counts(channels: int) -> tuple[int, ...]:
    """Return the numbers of leading channels that a nested training of `channels` serves, largest first."""
    return tuple(dict.fromkeys(max(1, channels >> k) for k in range(NESTED_SIZES)))


class NestedChannels(nn.Module):
    """Latent hook of nested training: sets all but the leading channels to zero.

    ::

        y ── g_a ──▶ [0 … c) kept, [c … C) zero ──▶ g_s ──▶ x̂        slicing the weights to c channels gives the same

    In training each patch draws its own number of channels, so that the channels order themselves by importance as the
    components of a KLT do, and one training serves every ratio. In evaluation the latent is divided into one vertical
    stripe per number of channels, so that one pass covers every ratio.

    References: Rippel, Gelbart & Adams 2014 (nested dropout); for linear networks the channels become principal components.
    """

    def __init__(self, channels: int, *, seed: int):
        super().__init__()
        self.channels = channels
        self.counts = nested_counts(channels)
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, y: Tensor) -> Tensor:
        if y.shape[1] != self.channels:
            raise ModelError(f"a nested latent of {self.channels} channels is expected, not one of {y.shape[1]}")
        counts = torch.tensor(self.counts)
        if self.training:
            # c channels with a probability proportional to c: errors grow about as c falls, so small sizes need fewer
            # patches for the same gradient. One draw per batch, spread over the distribution: every batch has all sizes.
            share = counts.double().cumsum(0)
            places = (torch.arange(len(y)) + torch.rand((), generator=self.generator)) / len(y)
            drawn = torch.searchsorted(share / share[-1], places.double()).clamp(max=len(counts) - 1)
            kept = counts[drawn].view(-1, 1, 1, 1)
        else:
            width = y.shape[-1]
            kept = counts[torch.arange(width) * len(counts) // width].view(1, 1, 1, -1)
        channel = torch.arange(self.channels).view(1, -1, 1, 1)
        return y * (channel < kept).to(y.device, y.dtype)


def leading_weights(state: Mapping[str, Tensor], smaller: nn.Module) -> dict[str, Tensor]:
    """Cut the weights of `smaller`, the same network with fewer latent channels, out of `state`."""
    wanted = smaller.state_dict()
    if set(wanted) != set(state):
        raise ModelError("leading channels can only be taken from a network of the same architecture")
    cut = {}
    for name, tensor in wanted.items():
        found = state[name]
        if found.ndim != tensor.ndim or any(a < b for a, b in zip(found.shape, tensor.shape, strict=True)):
            raise ModelError(f"'{name}' has shape {tuple(found.shape)}, which does not hold {tuple(tensor.shape)}")
        cut[name] = found[tuple(slice(size) for size in tensor.shape)].clone()
    return cut


# --- losses: (x_hat, batch) → scalar, ignoring samples that the mask excludes ------------------------------------------

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
    """Squared error with half of its weight proportional to the strength of edges in the original.

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


# --- optimizers --------------------------------------------------------------------------------------------------------

#: Coefficients of the quintic Newton–Schulz iteration, and its number of iterations.
QUINTIC, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
#: Decay of the momentum.
MOMENTUM = 0.95
#: Root mean square of an update relative to the learning rate, about that of AdamW.
UPDATE_RMS = 0.2


class Muon(torch.optim.AdamW):
    """Replace the momentum of each matrix by its nearest orthogonal matrix; update other parameters by AdamW.

    All directions of a layer learn at the same speed, however the gradient weights them. Convolution kernels are
    flattened to first axis × rest. `torch.optim.Muon` accepts matrices only, and multiplies in bfloat16, which most
    processors emulate.

    References: Jordan et al. 2024, *Muon: an optimizer for hidden layers in neural networks*; for the size of the
    updates, Liu et al. 2025, *Muon is scalable for LLM training*.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None or not is_matrix(parameter):
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                gradient, momentum = parameter.grad, state["momentum"]
                momentum.lerp_(gradient, 1 - MOMENTUM)
                update = orthogonalized(gradient.lerp(momentum, MOMENTUM).flatten(1))
                scale = UPDATE_RMS * math.sqrt(max(update.shape))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * scale)
                parameter.grad = None  # AdamW skips it
        super().step()
        return loss


def is_matrix(parameter: Tensor) -> bool:
    """Return whether Muon updates a parameter: matrices and convolution kernels, but no vectors among them."""
    return parameter.ndim in (2, 4) and parameter.numel() > max(parameter.shape)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Bring the singular values of a matrix close to 1, to about 0.7 to 1.2, by Newton–Schulz iterations.

    They run on the Gram matrix G: x ← (a + b·G + c·G²)·x multiplies G by the square of the polynomial. Only the first
    and the last product then involve the longer side, a third of the time for wide matrices.
    """
    a, b, c = QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    gram, total = x @ x.T, torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(ITERATIONS):
        factor = torch.addmm(b * gram, gram, gram, alpha=c)
        factor.diagonal().add_(a)
        total, gram = factor @ total, factor @ gram @ factor
    x = total @ x
    return (x.T if matrix.shape[0] > matrix.shape[1] else x).contiguous()


#: Optimizers by name.
OPTIMIZERS: dict[str, type[torch.optim.AdamW]] = {"muon": Muon, "adam": torch.optim.AdamW}
