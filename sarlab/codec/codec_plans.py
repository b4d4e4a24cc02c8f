"""Training plans of codec models: what a model is trained on and how, from a TOML file to normalized scenes."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.codec.levels import WIDTH
from sarlab.codec.tiles import fill_invalid
from sarlab.errors import PlanError
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec, spec_from_dict


@dataclass(frozen=True)
class CodecTraining:
    """Settings of the training loop of a network."""

    steps: int = 4000
    batch_size: int = 8
    patch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    #: Qualities are drawn uniformly from this range.
    quality: tuple[float, float] = (12.0, 46.0)
    #: Final share of the steps with real rounding and fixed quantization steps.
    hard_share: float = 0.2
    validate_every: int = 250
    threads: int = 2


@dataclass(frozen=True)
class CodecData:
    """Training and validation scenes of a source of the catalog, and (looks, correlation) of simulated training scenes."""

    source: str = "sentinel1"
    simulated: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class CodecPlan:
    """Training plan of a codec model."""

    #: Name of the model, codec and revision: ``"lapped-1"``.
    name: str
    #: Kind of model: "lapped" or "factorized".
    kind: str = "lapped"
    #: Fixed part of the transform of kind "factorized": "wavelet" or "block".
    front: str = "wavelet"
    #: Width of the learned correction of kind "factorized"; 0 for a linear transform.
    width: int = 64
    seed: int = 0
    data: CodecData = field(default_factory=CodecData)
    training: CodecTraining = field(default_factory=CodecTraining)


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
    parts: dict[str, Any] = {"data": CodecData, "training": CodecTraining}
    built = {key: spec_from_dict(parts[key], _tuples(value)) for key, value in values.items() if key in parts}
    rest = {key: value for key, value in values.items() if key not in parts}
    known = {"name": str, "kind": str, "front": str, "width": int, "seed": int}
    for key, value in rest.items():
        if not isinstance(value, known.get(key, ())):
            raise PlanError(f"{path}: '{key}' is unknown or of the wrong type; known: {', '.join([*known, *parts])}")
    if "name" not in rest:
        raise PlanError(f"{path}: the plan of a codec needs a 'name'")
    if rest.get("kind", "lapped") not in ("lapped", "factorized"):
        raise PlanError(f"{path}: kind '{rest['kind']}' is unknown; use 'lapped' or 'factorized'")
    return CodecPlan(**rest, **built)


def gather(plan: CodecPlan, allow_missing: bool = False) -> TrainingScenes:
    """Load the scenes of a plan. Raises `PlanError` or `SceneError` if scenes are missing."""
    from sarlab.scenes.catalog import load_split
    from sarlab.scenes.radiometry import to_db
    from sarlab.scenes.simulate import SimulationSpec, simulate

    split = load_split(SceneSpec(plan.data.source, allow_missing=allow_missing))
    made = [
        to_db(simulate(SimulationSpec(512, 512, looks, correlation, seed=plan.seed + number))[0])
        for number, (looks, correlation) in enumerate(plan.data.simulated)
    ]
    training = tuple(normalized(scene) for scene in (*split.train, *made))
    validation = tuple(normalized(scene) for scene in split.validation)
    if not training:
        raise PlanError(f"plan '{plan.name}' has no training scene")
    digest = hashlib.sha256()
    for samples, _ in (*training, *validation):
        digest.update(f"|{samples.shape}|".encode() + samples.astype("<f4").tobytes())
    simulated = [
        f"simulated {looks:g} looks, correlation {correlation:g}" for looks, correlation in plan.data.simulated
    ]
    note = "; ".join([*(f"train {scene.name}" for scene in split.train), *simulated, split.note])
    return TrainingScenes(training, validation, note, digest.hexdigest())


def normalized(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Normalize a scene in dB around the mean of each band, as files do; gaps are filled. Returns samples and mask."""
    centers = [
        float(band[valid].mean()) if valid.any() else 0.0 for band, valid in zip(scene.data, scene.valid, strict=True)
    ]
    x = (scene.data - np.array(centers, np.float32)[:, None, None]) / np.float32(WIDTH)
    return fill_invalid(np.where(scene.valid, x, np.float32(0)), scene.valid), scene.valid


def _tuples(value: Any) -> Any:
    """Lists of TOML as tuples, at every depth."""
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
