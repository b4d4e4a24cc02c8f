"""Training of the models of codecs, from a plan in a TOML file to the file of a model.

    sarlab train notebooks/plans/codecs/lapped.toml --out lapped-1.safetensors

A lapped or predictive model has tables only. A factorized model has a transform too, which is trained first: its loss is λD + R of
each patch at a random quality, divided by R + a small offset so that every rate counts. λ is the one at which a uniform quantizer
with the step of that quality is optimal.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sarlab._version import __version__
from sarlab.codec.block_model import BlockModel, Tables, write_tables
from sarlab.codec.fit_tables import fit_tables
from sarlab.codec.lapped import LappedModel
from sarlab.codec.levels import WIDTH
from sarlab.codec.predictive import fit_start
from sarlab.codec.storage import write_arrays
from sarlab.codec.tiles import fill_invalid
from sarlab.errors import PlanError
from sarlab.models.storage import History
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec, spec_from_dict

#: States of the trellis while the tables of a lapped model are fitted.
FITTING_STATES = 8
#: Bounds in dB at which the table of a predictive model is fitted.
BOUNDS = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
KINDS = ("lapped", "factorized", "predictive")


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

    training: tuple[tuple[np.ndarray, np.ndarray], ...]
    validation: tuple[tuple[np.ndarray, np.ndarray], ...]
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

    split = load_split(SceneSpec(plan.source, allow_missing=allow_missing))
    made = [
        to_db(simulate(SimulationSpec(512, 512, looks, correlation, seed=plan.seed + number))[0])
        for number, (looks, correlation) in enumerate(plan.simulated)
    ]
    training = tuple(normalized(scene) for scene in (*split.train, *made))
    validation = tuple(normalized(scene) for scene in split.validation)
    if not training:
        raise PlanError(f"plan '{plan.name}' has no training scene")
    digest = hashlib.sha256()
    for samples, _ in (*training, *validation):
        digest.update(f"|{samples.shape}|".encode() + samples.astype("<f4").tobytes())
    simulated = [f"simulated {looks:g} looks, correlation {correlation:g}" for looks, correlation in plan.simulated]
    note = "; ".join([*(f"train {scene.name}" for scene in split.train), *simulated, split.note])
    return TrainingScenes(training, validation, note, digest.hexdigest())


def normalized(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Normalize a scene in dB around the mean of each band, as files do; gaps are filled. Returns samples and mask."""
    centers = [
        float(band[valid].mean()) if valid.any() else 0.0 for band, valid in zip(scene.data, scene.valid, strict=True)
    ]
    x = (scene.data - np.array(centers, np.float32)[:, None, None]) / np.float32(WIDTH)
    return fill_invalid(np.where(scene.valid, x, np.float32(0)), scene.valid), scene.valid


def train_codec(
    plan: CodecPlan,
    target: Path,
    *,
    allow_missing: bool = False,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    say: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> History:
    """Train a model and write its file.

    Parameters
    ----------
    plan : CodecPlan
    target : Path
        The model's file, written when the training is finished.
    allow_missing : bool
        Train without the scenes of the plan that are missing.
    on_step : callable
        Called with the number of finished steps and the loss.
    say : callable
        Called with a line about the scenes, and about each round of fitting tables.
    options
        ``checkpoint``, ``time_budget`` and ``progress`` of `sarlab.models.training.fit`. If the time ends first,
        ``history.stopped`` is ``"time budget"`` and `target` is not written.

    Raises
    ------
    PlanError, SceneError
        Scenes of the plan are missing.
    """
    data, history = gather(plan, allow_missing), History(stopped="finished")
    arrays: dict[str, np.ndarray] = {}
    say(data.note)
    samples = [samples for samples, _ in data.training]
    provenance: dict[str, Any] = {"plan": asdict(plan), "data": data.note, "digest": data.digest, "sarlab": __version__}
    values: dict[str, Any] = {"name": plan.name, "provenance": provenance}
    if plan.kind == "predictive":
        write_arrays(target, plan.kind, values, probabilities=fit_start(samples, BOUNDS).astype(np.uint16))
        return history
    if plan.kind == "lapped":

        def make(tables: Tables) -> BlockModel:
            return LappedModel(tables, name=plan.name, content_hash=bytes(8), states=FITTING_STATES)
    else:
        from sarlab.codec.factorized import FactorizedModel
        from sarlab.codec.train_factorized import train_network

        arrays, history = train_network(plan, data, on_step, **options)
        if history.stopped != "finished":
            return history
        values |= {"front": plan.front, "width": plan.width}
        provenance |= {"steps": history.steps_done, "seconds": round(history.seconds, 1)}

        def make(tables: Tables) -> BlockModel:
            return FactorizedModel.from_arrays(tables, arrays, values, bytes(8))

    write_tables(target, plan.kind, fit_tables(make, samples, say=say), values, **arrays)
    return history
