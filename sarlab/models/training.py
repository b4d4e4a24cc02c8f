"""Training: one loop, from the first patch to the kept weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sarlab.errors import TrainingError
from sarlab.models.base import Autoencoder, LatentHook
from sarlab.models.checkpoint import TrainingState, every, load_checkpoint, save_checkpoint
from sarlab.models.data import Batch, PatchSampler, TrainingData
from sarlab.models.distributed import Pass, averaged, team
from sarlab.models.graphs import graphed, wanted
from sarlab.models.history import History, Validation
from sarlab.models.interrupts import interrupts_deferred
from sarlab.models.losses import losses
from sarlab.models.threads import cpu_threads
from sarlab.specs import TrainSpec, content_hash

#: Memory of Adam. That of squared gradients is short: trainings are a few hundred steps, and spikes must fade in some.
BETAS = (0.9, 0.95)
#: Steps between recorded losses, and records that are read together: reading waits for the device, if it is not the CPU.
RECORD_EVERY, READ_TOGETHER = 10, 10
#: Why a training stops before its end, as the processes say it to each other.
STOPS = ("", "interrupted", "time budget")
#: Seconds between the checkpoints of a running training.
CHECKPOINT_SECONDS = 30.0

#: Called with the history and the number of steps, after each record and validation.
Progress = Callable[[History, int], None]


def train(
    model: Autoencoder,
    data: TrainingData,
    spec: TrainSpec,
    *,
    seed: int,
    device: str | torch.device = "cpu",
    quantizer: LatentHook | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    time_budget: float | None = None,
) -> History:
    """Train `model` in place; it ends with the averaged weights that were best on validation.

    The start is validated too: a network that begins as the KLT does not end below it on the validation scenes.
    Where torchrun has started several processes, each takes its share of the batches; see `sarlab.models.distributed`.

    Parameters
    ----------
    model : Autoencoder
        At its starting point; it is moved to `device`.
    data : TrainingData
    spec : TrainSpec
    seed : int
        Of the patches and their orientation.
    device : str or torch.device
    quantizer : callable, optional
        y → ŷ between analysis and synthesis. A module's parameters are trained along, and ``train()`` and ``eval()``
        tell it whether to return its training view or real rounding. Where it has them, its attribute ``generator`` is
        checkpointed and its attribute ``progress`` set to the share of the steps that are done.
    checkpoint : Path, optional
        File to continue from where it exists, and to leave behind. A training that was interrupted and continued ends
        with the same bits as one that was not (on a CPU, at equal threads).
    progress : callable, optional
    time_budget : float, optional
        Seconds after which to stop cleanly: ``history.stopped`` is then ``"time budget"``.

    Returns
    -------
    History

    Raises
    ------
    TrainingError
        If no patch can be cut, or the checkpoint belongs to another training.
    KeyboardInterrupt
        On Ctrl-C, when the step at hand is done and the checkpoint written.
    """
    began, device, loss_of = perf_counter(), torch.device(device), losses[spec.loss]
    sampler = PatchSampler(data.training, spec.patch_size, device)
    held = [raster.batch(device) for raster in data.validation]
    generator = torch.Generator().manual_seed(seed)

    trained = nn.ModuleDict({"model": model})
    if isinstance(quantizer, nn.Module):
        trained["quantizer"] = quantizer
    trained.to(device)
    named = {name: p for name, p in trained.named_parameters() if p.requires_grad}
    parameters = list(named.values())
    optimizer = torch.optim.AdamW(
        parameter_groups(trained), lr=0.0, betas=BETAS, weight_decay=spec.weight_decay, fused=True
    )

    state = TrainingState(
        trained,
        average={name: p.detach().clone() for name, p in named.items()},
        best={name: t.clone() for name, t in trained.state_dict().items()},
        optimizer=optimizer,
        generators={"patches": generator},
        history=History(),
        fingerprint=content_hash(dataclasses.asdict(model.spec), dataclasses.asdict(spec), seed, data.digest),
    )
    if isinstance(own := getattr(quantizer, "generator", None), torch.Generator):
        state.generators["quantizer"] = own
    if checkpoint is not None and Path(checkpoint).exists():
        load_checkpoint(checkpoint, state)
    history, average = state.history, list(state.average.values())
    if not history.complete:
        history.stopped = ""
    layer_norms: dict[str, float] = {}
    checkpoint_due = every(CHECKPOINT_SECONDS, perf_counter)
    crew = team()
    if crew.size > spec.batch_size:
        raise TrainingError(f"{crew.size} processes for {spec.batch_size} patches a step; raise batch_size")
    crew.begin(history.steps_done)
    half = half_precision(spec, device)
    plain = Pass(model, quantizer)
    forward: nn.Module = plain
    if crew.size > 1:
        forward = averaged(plain, device)
    elif quantizer is None and wanted(device, spec.steps - history.steps_done):
        example = sampler.draw(spec.batch_size, torch.Generator().manual_seed(seed))
        forward = graphed(plain, example.x, half=half)
    unread: list[tuple[int, float, Tensor]] = []

    def read() -> None:
        """Move what was recorded on the device into the history."""
        while unread and history.stopped != "diverged":
            step, rate, values = unread.pop(0)
            loss, norm = values.tolist()
            history.steps.append(step)
            history.losses.append(loss)
            history.learning_rates.append(rate)
            history.gradient_norms.append(norm)
            if not math.isfinite(loss):
                history.stopped = "diverged"

    def validate() -> None:
        with exchanged(parameters, average):
            found = look(model, quantizer, held, loss_of, history.steps_done, layer_norms)
            if not held or found.loss < min(
                (v.loss for v in history.validations if v.loss == v.loss), default=math.inf
            ):
                history.best_step = found.step
                for name, tensor in trained.state_dict().items():
                    state.best[name].copy_(tensor)
        history.validations.append(found)
        if progress and crew.leads:
            progress(history, spec.steps)

    with cpu_threads(spec.threads), interrupts_deferred() as interrupted:
        if not history.validations:
            validate()
        trained.train()
        since = perf_counter()
        while history.steps_done < spec.steps and not history.stopped:
            step = history.steps_done
            rate = spec.learning_rate * schedule(step, spec)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["rate"]

            batch, factor = sampler.draw(spec.batch_size, generator), None
            history.pixels += batch.x.numel()
            if crew.size > 1:
                batch, factor = crew.share(batch)
            if quantizer is not None and hasattr(quantizer, "progress"):
                quantizer.progress = step / spec.steps
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                x_hat = forward(batch.x)
            loss = loss_of(x_hat.float(), batch)
            if factor is not None:
                loss = factor * loss

            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            last_before_validation = (step + 1) % spec.validate_every == 0 or step + 1 == spec.steps
            if last_before_validation:
                layer_norms = gradient_norms(named)
            norm = clip_grad_norm_(parameters, spec.clip_norm or math.inf)
            optimizer.step()
            # The average begins short and grows to `ema_decay`, or the first weights would stay in it for long.
            decay = min(spec.ema_decay, (1 + step) / (10 + step))
            get_ema_multi_avg_fn(decay)(average, [p.detach() for p in parameters], step)
            history.steps_done += 1

            if step % RECORD_EVERY == 0:
                unread.append((step, rate, torch.stack([crew.mean(loss.detach()), norm])))
            if device.type == "cpu" or last_before_validation or len(unread) >= READ_TOGETHER:
                read()
                if history.stopped:
                    break
            history.seconds += perf_counter() - since
            if last_before_validation:
                validate()
                trained.train()
            since = perf_counter()
            if crew.size > 1 and step % RECORD_EVERY:
                continue  # the processes talk about stopping at every tenth step
            over = time_budget is not None and since - began > time_budget and history.steps_done < spec.steps
            history.stopped = STOPS[crew.say(1 if interrupted() else 2 if over else 0)]
            if not history.stopped and crew.leads and checkpoint is not None and checkpoint_due():
                read()
                save_checkpoint(checkpoint, state)
        read()
        if not history.stopped:
            history.stopped = "finished"
        # Weights that diverged are no state to go on from.
        if checkpoint is not None and crew.leads and history.stopped != "diverged":
            save_checkpoint(checkpoint, state)

    trained.load_state_dict(state.best)
    trained.eval()
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return history


def schedule(step: int, spec: TrainSpec) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine down to 0 at the last step."""
    if step < spec.warmup_steps:
        return (step + 1) / spec.warmup_steps
    done = (step - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def half_precision(spec: TrainSpec, device: torch.device) -> bool:
    """Whether to multiply in bfloat16: where asked for, and where the hardware does (elsewhere it would be emulated)."""
    if spec.precision != "bfloat16":
        return False
    return device.type == "cuda" or bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def parameter_groups(trained: nn.ModuleDict) -> list[dict]:
    """Groups of the optimizer with their factor ``rate`` on the learning rate."""
    model = trained["model"]
    assert isinstance(model, Autoencoder)
    groups = list(model.parameter_groups())
    if "quantizer" in trained and (extra := list(trained["quantizer"].parameters())):
        groups.append({"params": extra, "rate": 1.0})
    return groups


def gradient_norms(named: Mapping[str, Tensor]) -> dict[str, float]:
    """Gradient norm of each layer, before clipping."""
    layers: dict[str, list[Tensor]] = {}
    for name, parameter in named.items():
        if parameter.grad is not None:
            layers.setdefault(name.rpartition(".")[0], []).append(parameter.grad.norm())
    if not layers:
        return {}
    norms = torch.stack([torch.stack(parts).norm() for parts in layers.values()]).tolist()
    return dict(zip(layers, norms, strict=True))


@torch.no_grad()
def look(
    model: Autoencoder,
    quantizer: LatentHook | None,
    held: Sequence[Batch],
    loss_of: Callable[[Tensor, Batch], Tensor],
    step: int,
    layer_norms: dict[str, float],
) -> Validation:
    """Validate: mean loss, PSNR and spread over the held-out scenes; NaN where there are none."""
    for module in (model, quantizer):
        if isinstance(module, nn.Module):
            module.eval()
    scores = []
    for batch in held:
        x_hat = model(batch.x, quantizer).x_hat.float()
        inside = slice(None) if batch.mask is None else batch.mask
        ours, theirs = x_hat[inside], batch.x[inside]
        error = (ours.clamp(0, 1) - theirs.clamp(0, 1)).square().mean()
        spread = ours.std(correction=0) / theirs.std(correction=0).clamp(min=1e-9)
        scores.append(torch.stack([loss_of(x_hat, batch), -10 * torch.log10(error.clamp(min=1e-12)), spread]))
    loss, psnr, spread = torch.stack(scores).double().mean(dim=0).tolist() if scores else [math.nan] * 3
    return Validation(step, loss, psnr, spread, layer_norms)


@contextmanager
def exchanged(parameters: Sequence[Tensor], others: Sequence[Tensor]) -> Iterator[None]:
    """Let `parameters` hold the values of `others` for a while, without copying."""

    def exchange() -> None:
        for mine, theirs in zip(parameters, others, strict=True):
            mine.data, theirs.data = theirs.data, mine.data

    exchange()
    try:
        yield
    finally:
        exchange()
