"""Training of the models of codecs, from a plan in a TOML file to the file of a model.

    sarlab train notebooks/plans/codecs/lapped.toml --out lapped-1.safetensors

A lapped or predictive model has tables only. A factorized model has a transform too, which is trained first: its loss is λD + R of
each patch at a random quality, divided by R + a small offset so that every rate counts. λ is the one at which a uniform quantizer
with the step of that quality is optimal. Bits are those of continuous densities. The analysis is a convolution with the basis
functions; the transform is orthonormal, so training needs no inverse: errors of coefficients are errors of samples.

Tables are fitted by coding the scenes at many qualities: what the coder met becomes the constants of the next round, in which the
encoder also decides by the new costs. A few rounds suffice.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, cat

from sarlab._version import __version__
from sarlab.codec import entropy
from sarlab.codec.block_model import CLASSES, CONTEXTS, FLAGGED, BlockModel, Tables, fine_step, initial_tables
from sarlab.codec.factorized import FRONTS, FactorizedModel, FactorizedNetwork
from sarlab.codec.lapped import LappedModel
from sarlab.codec.levels import WIDTH
from sarlab.codec.predictive import fit_start
from sarlab.codec.tiles import fill_invalid
from sarlab.codec.trellis import OFFSETS
from sarlab.errors import PlanError
from sarlab.models.data import Batch, Raster
from sarlab.models.storage import History, write_tensors
from sarlab.models.training import Objective, cpu_threads, fit
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec, check_known, content_hash, spec_from_dict

#: States of the trellis while the tables of a lapped model are fitted.
FITTING_STATES = 8
#: Bounds in dB at which the table of a predictive model is fitted.
BOUNDS = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
#: Bits per sample that are added to the rate by which costs are divided.
RATE_OFFSET = 0.3
#: Qualities of the validation.
VALIDATED = (16.0, 24.0, 32.0, 40.0)
#: Rounds of fitting tables, and qualities at which scenes are coded: from far below to far above the useful ones.
ROUNDS = 4
QUALITIES: Sequence[float] = tuple(np.arange(14.0, 50.0, 2.5))
#: Decisions that the former value of a probability weighs, share of the decisions of neighboring classes and of all activities, and
#: fewest coefficients for a mean of their own.
_INERTIA, _FROM_NEIGHBORS, _FROM_ACTIVITIES, _FEWEST = 2.0, 0.1, 0.02, 30


@dataclass(frozen=True)
class CodecPlan:
    """Training plan of a codec model; the fields from `steps` on are settings of `sarlab.models.training.fit`."""

    #: Name of the model, codec and revision: ``"lapped-1"``. Kind: ``"lapped"``, ``"factorized"`` or ``"predictive"``.
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

    def __post_init__(self) -> None:
        check_known(self, kind=("lapped", "factorized", "predictive"), front=tuple(FRONTS))


class TrainingScenes(NamedTuple):
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
        plan: CodecPlan = spec_from_dict(CodecPlan, {key: _tuples(value) for key, value in values.items()})
    except OSError as error:
        raise PlanError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, PlanError) as error:  # a ValueError is no TOML, or no UTF-8
        raise PlanError(f"{path} is not a valid plan ({error})") from None
    if not plan.name:
        raise PlanError(f"{path}: the plan of a codec needs a 'name'")
    return plan


def _tuples(value: Any) -> Any:
    """Lists of TOML as tuples, at every depth."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def gather(plan: CodecPlan, allow_missing: bool = False) -> TrainingScenes:
    """Load the scenes of a plan. Raises `PlanError` or `SceneError` if scenes are missing."""
    from sarlab.scenes.catalog import load_split
    from sarlab.scenes.radiometry import to_db
    from sarlab.scenes.simulate import simulate

    split, made = load_split(SceneSpec(plan.source, allow_missing=allow_missing)), []
    note = [f"train {scene.name}" for scene in split.train]
    for number, (looks, correlation) in enumerate(plan.simulated):
        made.append(to_db(simulate((512, 512), looks, correlation, plan.seed + number)[0]))
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


# --- tables -------------------------------------------------------------------------------------------------------------


def fit_tables(
    make: Callable[[Tables], BlockModel], scenes: Sequence[np.ndarray], *, rounds: int = ROUNDS,
    qualities: Sequence[float] = QUALITIES, say: Callable[[str], None] = lambda text: None,
) -> Tables:  # fmt: skip
    """Learn the constants of the block models that `make` makes of tables: probabilities, expected magnitudes, reconstructions.

    Scenes are normalized samples without gaps, float32, (bands, H, W); their sides are cut to multiples of the block. `say`
    is called with a line after each round.
    """
    tables = initial_tables()
    model, latents = make(tables), []
    for scene in scenes:
        rows, columns = (length - length % model.stride for length in scene.shape[1:])
        latents.append(model.analyze(scene[:, :rows, :columns], (True, True, True, True)))
    for number in range(rounds):
        tables, size = _coding_round(make(tables), latents, qualities)
        say(f"round {number + 1} of {rounds}: {size} bytes")
    return tables


def _coding_round(model: BlockModel, latents: Sequence[np.ndarray], qualities: Sequence[float]) -> tuple[Tables, int]:
    """Code latents at all qualities; return tables that fit what occurred, and the bytes that it took."""
    size, tally = 0, np.zeros((Tables.SIZE, 2))
    magnitude, count = np.zeros((2, CLASSES))
    error, errors = np.zeros((2, CLASSES, 2, OFFSETS))
    for y, quality in product(latents, map(float, qualities)):
        active = np.ones((len(y), *y.shape[2:]), np.uint8)
        data = model.fit_side([(y, active)], quality)
        side = model.parse_side(data, len(y))
        latent, code = model.quantize(y, active, quality, side)
        size += len(data) + len(code)
        classes = np.stack([model.classes(quality, side, band) for band in range(len(y))])
        live = np.abs(latent).any((2, 3)) | (classes >= FLAGGED)
        for decisions in model.decisions(latent, live, active, quality, side):
            tally += entropy.tally(decisions, Tables.SIZE)
        fine, sign = np.abs(latent[live]), np.sign(latent[live])
        quantizer, of_class = fine & 1, np.broadcast_to(classes[live][:, None, None], fine.shape)
        k = (fine + quantizer) >> 1
        np.add.at(magnitude, classes[live], k.sum((1, 2)))
        np.add.at(count, classes[live], latent[0, 0].size)
        place = of_class, quantizer, np.clip(k, 1, OFFSETS) - 1
        # How far the values lie beyond the points without offsets, in the direction of their sign.
        beyond = (y - model.reconstruct(latent, quality, side))[live] * sign / fine_step(quality)
        beyond = beyond + model.tables.offsets[place]
        np.add.at(error, tuple(index[k > 0] for index in place), beyond[k > 0])
        np.add.at(errors, tuple(index[k > 0] for index in place), 1)

    own = tally[:CONTEXTS].reshape(CLASSES, -1, 2, entropy.SLOTS, 2)
    pooled = own.copy()
    pooled[1:] += _FROM_NEIGHBORS * own[:-1]
    pooled[:-1] += _FROM_NEIGHBORS * own[1:]
    pooled += _FROM_ACTIVITIES * own.sum(1, keepdims=True)
    every = np.concatenate([pooled.reshape(-1, 2), tally[CONTEXTS:]])
    one = (every[:, 1] + _INERTIA * model.tables.probabilities / 65536) / (every[:, 0] + _INERTIA)
    probabilities = np.clip(np.rint(65536 * one), 30, 65506).astype(np.int64)
    mean = np.maximum(256 * magnitude / np.maximum(count, 1), 1)
    expected = np.where(count > _FEWEST, mean, model.tables.expected).astype(np.int64)
    offsets = np.where(errors > _FEWEST, error / np.maximum(errors, 1), 0).astype(np.float32)
    return Tables(probabilities, expected, offsets), size


# --- networks -----------------------------------------------------------------------------------------------------------


class CodecObjective(Objective):
    """Rate-distortion cost at random qualities, divided by the rate so that every rate counts."""

    def __init__(self, network: FactorizedNetwork, plan: CodecPlan, held: Sequence[Raster]):
        super().__init__()
        self.network, self.plan, self.held = network, plan, held
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
        return (cost / (rate.detach() + RATE_OFFSET)).mean()

    def validate(self) -> tuple[float, float, float]:
        cost, _, distortion = self._validation()
        return float((cost / (self.reference + RATE_OFFSET)).mean()), -10 * math.log10(distortion.mean()), 1.0

    @torch.no_grad()
    def _validation(self) -> Tensor:
        """Cost, rate and distortion of each raster at each of the `VALIDATED` qualities, with real rounding."""
        pairs = [(raster.values[None, None], torch.tensor([q])) for raster in self.held for q in VALIDATED]
        found = [torch.stack(self.network.costs(x, quality, None)) for x, quality in pairs]
        return cat(found, 1).double() if found else torch.empty(3, 0)


def _train_network(plan: CodecPlan, data: TrainingScenes, **options: Any) -> tuple[dict[str, np.ndarray], History]:
    """Train the transform of a plan: its arrays in float16, as in a model's file. `options` are those of `fit`."""
    history = History(stopped="finished")
    with cpu_threads(plan.threads):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3 * plan.seed + 2)
            network = FactorizedNetwork(plan.front, plan.width)
        training, validation = (
            [Raster(torch.from_numpy(x), torch.from_numpy(mask), WIDTH) for x, mask in bands if mask.any()]
            for bands in ((band for scene in scenes for band in zip(*scene, strict=True)) for scenes in data[:2])
        )
        network.fit_linear([raster.values for raster in training])
        if plan.steps:
            objective = CodecObjective(network, plan, validation)
            fingerprint = content_hash(asdict(plan), data.digest)
            history = fit(objective, training, plan, seed=3 * plan.seed, fingerprint=fingerprint, **options)
    with torch.no_grad():
        arrays = {"mixing": network.mixing(), **(network.correction.state_dict() if network.correction else {})}
    return {key: tensor.half().numpy() for key, tensor in arrays.items()}, history


def train_codec(
    plan: CodecPlan, target: Path, *, allow_missing: bool = False, say: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> History:  # fmt: skip
    """Train a model and write its file when the training is finished.

    `say` is called with a line about the scenes and about each round of fitting tables. `options` are ``checkpoint``, ``time_budget`` and ``progress`` of `sarlab.models.training.fit`; if the time ends
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
        network, history = _train_network(plan, data, **options)
        if history.stopped != "finished":
            return history
        values |= {"front": plan.front, "width": plan.width}
        provenance |= {"steps": history.steps_done, "seconds": round(history.seconds, 1)}
        tables = fit_tables(lambda tables: FactorizedModel.of(network, values, tables, **about), samples, say=say)
        arrays = network | tables.arrays()
    write_tensors(target, {key: torch.from_numpy(array) for key, array in arrays.items()}, values)
    return history
