"""Training of the models of codecs, from a plan in a TOML file to the file of a model.

    sarlab train notebooks/plans/codecs/lapped.toml --out lapped-1.safetensors

A lapped or predictive model has tables only. A factorized model has a transform too, which is trained first: its loss is λD + R of
each patch at a random quality, divided by R + a small offset so that every rate counts. λ is the one at which a uniform quantizer
with the step of that quality is optimal. Bits are those of continuous densities. The analysis is a convolution with the basis
functions; the transform is orthonormal, so training needs no inverse: errors of coefficients are errors of samples.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, cat, nn
from torch.nn.functional import conv2d

from sarlab._version import __version__
from sarlab.codec.factorized import CHANNELS, FRONTS, STRIDE, Correction, FactorizedModel, step_of
from sarlab.codec.fit_tables import fit_tables
from sarlab.codec.lapped import LappedModel
from sarlab.codec.levels import WIDTH
from sarlab.codec.predictive import fit_start
from sarlab.codec.tiles import fill_invalid
from sarlab.errors import PlanError
from sarlab.models.data import Batch, Raster
from sarlab.models.storage import History, write_tensors
from sarlab.models.training import Objective, cpu_threads, fit
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec, content_hash, spec_from_dict

#: States of the trellis while the tables of a lapped model are fitted.
FITTING_STATES = 8
#: Bounds in dB at which the table of a predictive model is fitted.
BOUNDS = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
KINDS = ("lapped", "factorized", "predictive")
#: Weight of a bit against squared error in steps: 6.02 dB per bit at an error of step²/12.
LAMBDA = 2 * math.log(2) / 12
#: Smallest probability.
LEAST = 1e-9
#: Bits per sample that are added to the rate by which costs are divided.
RATE_OFFSET = 0.3
#: Qualities of the validation.
VALIDATED = (16.0, 24.0, 32.0, 40.0)
#: Called with the number of finished steps and the loss.
OnStep = Callable[[int, float], None]


@dataclass(frozen=True)
class CodecPlan:
    """Training plan of a codec model; the fields from `steps` on are settings of `sarlab.models.training.fit`."""

    #: Name of the model, codec and revision: ``"lapped-1"``. Kind of model, one of `KINDS`.
    name: str = ""
    kind: str = "lapped"
    #: Source of training and validation scenes in the catalog; (looks, correlation) of simulated training scenes of 512² pixels.
    source: str = "sentinel1"
    simulated: tuple[tuple[float, float], ...] = ()
    seed: int = 0
    #: Blocks of kind "factorized", "lapped" or "block"; width of its learned correction, 0 for a linear transform.
    front: str = "lapped"
    width: int = 64
    #: Qualities are drawn uniformly from this range.
    quality: tuple[float, float] = (12.0, 46.0)
    #: Final share of the steps with real rounding and a fixed analysis.
    hard_share: float = 0.2
    steps: int = 4000
    batch_size: int = 8
    patch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    validate_every: int = 250
    threads: int = 1


@dataclass(frozen=True, eq=False)
class TrainingScenes:
    """Normalized scenes of a plan: float32, (bands, H, W) each, without gaps, and the masks of their valid samples."""

    training: list[tuple[np.ndarray, np.ndarray]]
    validation: list[tuple[np.ndarray, np.ndarray]]
    #: Scenes that were used.
    note: str
    #: SHA-256 of all samples.
    digest: str


def load_codec_plan(path: Path) -> CodecPlan:
    """Read a plan. Raises `PlanError` for a missing file, broken TOML, and unknown or wrong keys."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} is not valid TOML ({error})") from None
    plan: CodecPlan = spec_from_dict(CodecPlan, {key: _tuples(value) for key, value in values.items()})
    if not plan.name:
        raise PlanError(f"{path}: the plan of a codec needs a 'name'")
    if plan.kind not in KINDS:
        raise PlanError(f"{path}: kind '{plan.kind}' is unknown; use one of {', '.join(KINDS)}")
    return plan


def _tuples(value: Any) -> Any:
    """Lists of TOML as tuples, at every depth."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def gather(plan: CodecPlan, allow_missing: bool = False) -> TrainingScenes:
    """Load the scenes of a plan. Raises `PlanError` or `SceneError` if scenes are missing."""
    from sarlab.scenes.catalog import load_split
    from sarlab.scenes.radiometry import to_db
    from sarlab.scenes.simulate import SimulationSpec, simulate

    split, made = load_split(SceneSpec(plan.source, allow_missing=allow_missing)), []
    note = [f"train {scene.name}" for scene in split.train]
    for number, (looks, correlation) in enumerate(plan.simulated):
        made.append(to_db(simulate(SimulationSpec(512, 512, looks, correlation, seed=plan.seed + number))[0]))
        note.append(f"simulated {looks:g} looks, correlation {correlation:g}")
    training, validation = ([normalized(scene) for scene in part] for part in ([*split.train, *made], split.validation))
    if not training:
        raise PlanError(f"plan '{plan.name}' has no training scene")
    digest = hashlib.sha256()
    for samples, _ in (*training, *validation):
        digest.update(f"|{samples.shape}|".encode() + samples.astype("<f4").tobytes())
    return TrainingScenes(training, validation, "; ".join([*note, split.note]), digest.hexdigest())


def normalized(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Normalize a scene in dB around the mean of each band, as files do; gaps are filled. Returns samples and mask."""
    bands = zip(scene.data, scene.valid, strict=True)
    centers = np.array([band[valid].mean() if valid.any() else 0 for band, valid in bands], np.float32)
    x = (scene.data - centers[:, None, None]) / np.float32(WIDTH)
    return fill_invalid(np.where(scene.valid, x, np.float32(0)), scene.valid), scene.valid


# --- networks ---------------------------------------------------------------------------------------------------------


class FactorizedPrior(nn.Module):
    """One learned density per channel: a mixture of zero-mean logistics of different widths."""

    def __init__(self, channels: int, components: int = 3):
        super().__init__()
        self.log_deviation = nn.Parameter(torch.linspace(-0.7, 0.7, components).repeat(channels, 1))
        self.logits = nn.Parameter(torch.zeros(channels, components))

    def bits(self, y: Tensor, step: Tensor | float = 1.0, spread: Tensor | float = 1.0) -> Tensor:
        """Bits of the intervals y ± step/2, shape (N, C, h, w); `spread` is a factor on all widths."""
        total = y.new_zeros(())
        weights = self.logits.softmax(1)
        distance, half = y.abs() / spread, step / 2 / spread
        for k in range(weights.shape[1]):
            rate = (math.pi / math.sqrt(3) * torch.exp(-self.log_deviation[:, k]))[:, None, None]
            inside = torch.sigmoid((half - distance) * rate) - torch.sigmoid((-half - distance) * rate)
            total = total + weights[:, k, None, None] * inside
        return -torch.log2(total.clamp_min(LEAST))


class FactorizedNetwork(nn.Module):
    """The learned parts: V, the correction, and the densities of the channels."""

    basis: Tensor
    start: Tensor
    deviation: Tensor

    def __init__(self, front: str, width: int):
        super().__init__()
        self.register_buffer("basis", torch.from_numpy(basis_functions(front)))
        #: V is `start` times a rotation that is learned.
        self.register_buffer("start", torch.eye(CHANNELS))
        self.register_buffer("deviation", torch.ones(CHANNELS))
        self.rotation = nn.Parameter(torch.zeros(CHANNELS, CHANNELS))
        self.correction = Correction(width) if width else None
        self.prior = FactorizedPrior(CHANNELS)

    def mixing(self) -> Tensor:
        """V: orthogonal, columns are the axes."""
        return self.start @ torch.linalg.matrix_exp(self.rotation - self.rotation.T)

    def analysis(self, x: Tensor) -> Tensor:
        """Transform the whole blocks of rasters, (N, 1, H, W), to (N, 64, h, w)."""
        return conv2d(x, (self.mixing().T @ self.basis.flatten(1)).reshape(self.basis.shape), stride=STRIDE)

    @torch.no_grad()
    def fit_linear(self, rasters: list[Tensor]) -> None:
        """Start from the principal axes of normalized training rasters, (H, W) each, without NaN."""
        self.start.copy_(torch.eye(CHANNELS))
        y = cat([self.analysis(raster[None, None])[0].flatten(1).double() for raster in rasters], 1)
        _, axes = torch.linalg.eigh(y @ y.T / y.shape[1])
        axes = axes.flip(1)
        axes = axes * torch.where(axes[axes.abs().argmax(0), torch.arange(CHANNELS)] < 0, -1.0, 1.0)
        self.start.copy_(axes)
        self.deviation.copy_((axes.T @ y).square().mean(1).sqrt().clamp_min(1e-6))
        self.prior.log_deviation.add_(self.deviation.log()[:, None])
        if self.correction is not None:
            self.correction.deviation.copy_(self.deviation)

    def costs(self, x: Tensor, quality: Tensor, noise: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Compute λD + R, R and D of patches, (N, 1, H, W): bits per sample and mean squared error.

        With `noise`, the rate is that of the latent with uniform noise, and the distortion that of the rounded latent with a
        straight-through gradient. Without, both are of the rounded latent, and V is fixed.
        """
        y, step = self.analysis(x), step_of(quality)[:, None, None, None]
        y = y.detach() if noise is None else y
        # The width of the densities adapts to the patch, as the contexts of a file adapt to its blocks.
        spread = (y.abs().mean((2, 3), keepdim=True) + 0.3 * step) / (0.75 * self.deviation[:, None, None] + 0.3 * step)
        with torch.no_grad():
            rounded = self._rounded(y, step, spread)
        shaken = rounded if noise is None else y + step * (torch.rand(y.shape, generator=noise) - 0.5)
        rate = self.prior.bits(shaken, step, spread).sum(1).mean((1, 2)) / CHANNELS
        y_hat = y + (rounded - y).detach()
        if self.correction is not None:
            y_hat = self.correction(y_hat, quality)
        distortion = torch.square(y_hat - y).mean((1, 2, 3))
        return distortion / (LAMBDA * step_of(quality) ** 2) + rate, rate, distortion

    def _rounded(self, y: Tensor, step: Tensor, spread: Tensor) -> Tensor:
        """Round to the nearest multiple of the step, or to the next one towards zero if that costs less."""
        sign, magnitude = torch.sign(y), y.abs() / step
        near = torch.round(magnitude)
        below = (near - 1).clamp_min(0)
        costs = [torch.square(magnitude - k) + LAMBDA * self.prior.bits(k * step, step, spread) for k in (near, below)]
        return sign * step * torch.where(costs[1] < costs[0], below, near)


def basis_functions(front: str) -> np.ndarray:
    """Basis functions of a transform away from the borders: float32, shape (64, 1, side, side)."""
    blocks, reach, _ = FRONTS[front]
    inner = slice(STRIDE - reach, 2 * STRIDE + reach)
    impulses = np.zeros((CHANNELS, CHANNELS, 3, 3), np.float32)
    impulses[np.arange(CHANNELS), np.arange(CHANNELS), 1, 1] = 1
    return np.stack([blocks.inverse(y, (True, True, True, True))[None, inner, inner] for y in impulses])


class CodecObjective(Objective):
    """Rate-distortion cost at random qualities, divided by the rate so that every rate counts."""

    def __init__(self, network: FactorizedNetwork, plan: CodecPlan, held: Sequence[Raster], on_step: OnStep):
        super().__init__()
        self.network, self.plan, self.held, self.on_step = network, plan, held, on_step
        self.generators = {"noise": torch.Generator().manual_seed(3 * plan.seed + 1)}
        self.hard_from = round(self.plan.steps * (1 - self.plan.hard_share))
        # Computed before a checkpoint is loaded, so every session divides costs by the same rates.
        self.reference = self._validation()[1]

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), lr=self.plan.learning_rate)

    def loss(self, batch: Batch, step: int) -> Tensor:
        (low, high), noise = self.plan.quality, self.generators["noise"]
        quality = low + (high - low) * torch.rand(len(batch.x), generator=noise)
        cost, rate, _ = self.network.costs(batch.x, quality, None if step >= self.hard_from else noise)
        loss = (cost / (rate.detach() + RATE_OFFSET)).mean()
        self.on_step(step + 1, loss.item())
        return loss

    def validate(self) -> tuple[float, float, float]:
        cost, _, distortion = self._validation()
        return float((cost / (self.reference + RATE_OFFSET)).mean()), -10 * math.log10(distortion.mean()), 1.0

    @torch.no_grad()
    def _validation(self) -> Tensor:
        """Cost, rate and distortion of each raster at each of the `VALIDATED` qualities, with real rounding."""
        pairs = [(raster.values[None, None], torch.tensor([q])) for raster in self.held for q in VALIDATED]
        found = [torch.stack(self.network.costs(x, quality, None)) for x, quality in pairs]
        return cat(found, 1).double() if found else torch.empty(3, 0)


# --- training ---------------------------------------------------------------------------------------------------------


def _train_network(
    plan: CodecPlan, data: TrainingScenes, on_step: OnStep, **options: Any
) -> tuple[dict[str, np.ndarray], History]:
    """Train the transform of a plan: its arrays in float16, as in a model's file. `options` are those of `fit`."""
    history = History(stopped="finished")
    with cpu_threads(plan.threads):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3 * plan.seed + 2)
            network = FactorizedNetwork(plan.front, plan.width)
        training, validation = (
            [
                Raster(torch.from_numpy(x), torch.from_numpy(m), WIDTH)
                for s in scenes
                for x, m in zip(*s, strict=True)
                if m.any()
            ]
            for scenes in (data.training, data.validation)
        )
        network.fit_linear([raster.values for raster in training])
        if plan.steps:
            objective = CodecObjective(network, plan, validation, on_step)
            fingerprint = content_hash(asdict(plan), data.digest)
            history = fit(objective, training, plan, seed=3 * plan.seed, fingerprint=fingerprint, **options)
    with torch.no_grad():
        arrays = {"mixing": network.mixing(), **(network.correction.state_dict() if network.correction else {})}
    return {key: tensor.half().numpy() for key, tensor in arrays.items()}, history


def train_codec(
    plan: CodecPlan,
    target: Path,
    *,
    allow_missing: bool = False,
    on_step: OnStep = lambda step, loss: None,
    say: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> History:
    """Train a model and write its file when the training is finished.

    `on_step` is called with the number of finished steps and the loss, `say` with a line about the scenes and about each round of
    fitting tables. `options` are ``checkpoint``, ``time_budget`` and ``progress`` of `sarlab.models.training.fit`; if the time ends
    first, ``history.stopped`` is ``"time budget"`` and no file is written. Raises `PlanError` or `SceneError` if scenes of the plan are
    missing, unless `allow_missing`.
    """
    data, history = gather(plan, allow_missing), History(stopped="finished")
    say(data.note)
    samples, about = [samples for samples, _ in data.training], {"name": plan.name, "content_hash": bytes(8)}
    provenance: dict[str, Any] = {"plan": asdict(plan), "data": data.note, "digest": data.digest, "sarlab": __version__}
    values: dict[str, Any] = {"kind": plan.kind, "name": plan.name, "provenance": provenance}
    if plan.kind == "predictive":
        arrays = {"probabilities": fit_start(samples, BOUNDS).astype(np.uint16)}
    elif plan.kind == "lapped":
        tables = fit_tables(lambda tables: LappedModel(tables, states=FITTING_STATES, **about), samples, say=say)
        arrays = tables.arrays()
    else:
        network, history = _train_network(plan, data, on_step, **options)
        if history.stopped != "finished":
            return history
        values |= {"front": plan.front, "width": plan.width}
        provenance |= {"steps": history.steps_done, "seconds": round(history.seconds, 1)}
        tables = fit_tables(lambda tables: FactorizedModel.of(network, values, tables, **about), samples, say=say)
        arrays = network | tables.arrays()
    write_tensors(target, {key: torch.from_numpy(array) for key, array in arrays.items()}, values)
    return history
