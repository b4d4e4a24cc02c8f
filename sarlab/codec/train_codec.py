"""Training of the models of codecs, from a plan to the file of a model.

A lapped model has tables only. A factorized model has a network too, which is trained first. Its loss is λD + R of each patch at a random quality, divided by R + a small offset so that every rate counts. λ is the
one at which a uniform quantizer with the step of that quality is optimal. The plan decides which model is trained.

    sarlab train notebooks/plans/codecs/factorized.toml --out factorized-1.safetensors
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sarlab._version import __version__
from sarlab.codec.block_model import write_tables
from sarlab.codec.codec_plans import CodecPlan, TrainingScenes, gather
from sarlab.codec.factorized import FactorizedModel, FactorizedObjective
from sarlab.codec.fit_tables import fit_tables
from sarlab.codec.lapped import LappedModel
from sarlab.codec.levels import WIDTH
from sarlab.codec.transform import CodingTransform
from sarlab.models.data import Batch, Raster
from sarlab.models.layers import mirror_pad
from sarlab.models.storage import History
from sarlab.models.training import Objective, Progress, cpu_threads, fit
from sarlab.specs import content_hash

#: States of the trellis while the tables of a lapped model are fitted.
FITTING_STATES = 8
#: Qualities of the validation.
VALIDATED = (16.0, 24.0, 32.0, 40.0)


class CodecObjective(Objective):
    """Rate-distortion cost of a model at random qualities, divided by its rate so that every rate counts.

    Parameters
    ----------
    trained : Module
        With ``costs(x, mask, quality, noise)``, ``network``, ``rate_offset`` and ``keeps_last``, as
        `sarlab.codec.factorized.FactorizedObjective`.
    plan : CodecPlan
    validation : tuple of Raster
    on_step : callable, optional
        Called with the number of finished steps and the loss.
    """

    def __init__(
        self,
        trained: Any,
        plan: CodecPlan,
        validation: tuple[Raster, ...],
        on_step: Callable[[int, float], None] | None = None,
    ):
        super().__init__()
        self.trained, self.spec, self.held, self.keeps_last = trained, plan.training, validation, trained.keeps_last
        self.generators = {"noise": torch.Generator().manual_seed(3 * plan.seed + 1)}
        self.hard_from = round(self.spec.steps * (1 - self.spec.hard_share))
        self.on_step = on_step
        # Computed before a checkpoint is loaded, so every session divides costs by the same rates.
        self.reference = validation_costs(trained, validation)[1]

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.trained.parameters(), lr=self.spec.learning_rate)

    def loss(self, batch: Batch, step: int) -> Tensor:
        (low, high), noise = self.spec.quality, self.generators["noise"]
        quality = low + (high - low) * torch.rand(len(batch.x), generator=noise)
        costs = self.trained.costs(batch.x, batch.mask, quality, None if step >= self.hard_from else noise)
        loss = (costs.cost / (costs.rate.detach() + self.trained.rate_offset)).mean()
        if self.on_step is not None:
            self.on_step(step + 1, loss.item())
        return loss

    def validate(self) -> tuple[float, float, float]:
        costs, _, distortions = validation_costs(self.trained, self.held)
        if not costs.size:
            return math.nan, math.nan, math.nan
        loss = float(np.mean(costs / (self.reference + self.trained.rate_offset)))
        return loss, -10 * math.log10(np.mean(distortions)), 1.0


def train_codec(
    plan: CodecPlan,
    target: Path,
    *,
    allow_missing: bool = False,
    checkpoint: Path | None = None,
    time_budget: float | None = None,
    progress: Progress | None = None,
    on_step: Callable[[int, float], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> History:
    """Train a model and write its file.

    Parameters
    ----------
    plan : CodecPlan
    target : Path
        The model's file, written when the training is finished.
    allow_missing : bool
        Train without the scenes of the plan that are missing.
    checkpoint : Path, optional
        File to resume from if it exists, and to write.
    time_budget : float, optional
        Seconds of this session; if it ends first, ``history.stopped`` is ``"time budget"`` and `target` is not written.
    progress : callable, optional
        Called with the history and the number of steps after each validation.
    on_step : callable, optional
        Called with the number of finished steps and the loss after each step.
    say : callable
        Called with a line about the scenes, and about each round of fitting tables.

    Raises
    ------
    PlanError, SceneError
        Scenes of the plan are missing.
    """
    data, history = gather(plan, allow_missing), History(stopped="finished")
    say(data.note)
    values: dict[str, Any] = {"name": plan.name}
    provenance = {"plan": asdict(plan), "data": data.note, "digest": data.digest, "sarlab": __version__}
    if plan.kind == "lapped":
        tables = fit_tables(
            lambda tables: LappedModel(tables, name=plan.name, content_hash=bytes(8), states=FITTING_STATES),
            [samples for samples, _ in data.training],
            say=say,
        )
        write_tables(target, plan.kind, tables, {**values, "provenance": provenance})
        return history
    spec = plan.training
    with cpu_threads(spec.threads):
        start = torch.Generator().manual_seed(3 * plan.seed + 2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(1 << 31, (), generator=start)))
            trained = FactorizedObjective(CodingTransform(plan.front, plan.width))
        training, validation = (_rasters(scenes) for scenes in (data.training, data.validation))
        trained.network.fit_linear([raster.values for raster in training])
        trained.fitted()
        if spec.steps:
            history = fit(
                CodecObjective(trained, plan, validation, on_step),
                training,
                spec,
                seed=3 * plan.seed,
                fingerprint=content_hash(asdict(plan), data.digest),
                checkpoint=checkpoint,
                progress=progress,
                time_budget=time_budget,
            )
        if history.stopped == "finished":
            known = {
                "steps": history.steps_done,
                "seconds": round(history.seconds, 1),
                "torch": torch.__version__.split("+")[0],
            }
            _finish(plan, target, trained.eval(), data, {**values, "provenance": {**provenance, **known}}, say)
    return history


@torch.no_grad()
def _finish(
    plan: CodecPlan,
    target: Path,
    trained: Any,
    data: TrainingScenes,
    values: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    """Fit the tables of a trained transform, and write the model's file: weights in float16."""
    network = trained.network.half().float()
    network.orthogonalize()
    gains = trained.gains().half().float().numpy()
    tables = fit_tables(
        lambda tables: FactorizedModel(network, gains, tables, name=plan.name, content_hash=bytes(8)),
        [samples for samples, _ in data.training],
        say=say,
    )
    arrays = {key: tensor.half().numpy() for key, tensor in network.state_dict().items()}
    values |= {"front": network.front, "width": network.width}
    write_tables(target, plan.kind, tables, values, gains=gains.astype(np.float16), **arrays)


def _rasters(scenes: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[Raster, ...]:
    """Bands of normalized scenes."""
    return tuple(
        Raster(torch.from_numpy(band), None if mask.all() else torch.from_numpy(mask), WIDTH)
        for samples, valid in scenes
        for band, mask in zip(samples, valid, strict=True)
        if mask.any()
    )


@torch.no_grad()
def validation_costs(trained: Any, rasters: tuple[Raster, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute cost, rate and distortion of each raster at each of the `VALIDATED` qualities, with real rounding."""
    found = []
    for raster in rasters:
        x = mirror_pad(raster.values[None, None], trained.network.stride)
        mask = None if raster.mask is None else mirror_pad(raster.mask[None, None].float(), trained.network.stride) > 0
        found += [torch.stack(trained.costs(x, mask, torch.tensor([quality]), None))[:, 0] for quality in VALIDATED]
    return tuple(torch.stack(found, 1).double().numpy()) if found else (np.empty(0),) * 3  # type: ignore[return-value]
