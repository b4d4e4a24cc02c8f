"""Training plans of learned codecs: what a model is trained on and how, from a TOML file to rasters in memory."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarlab.codec.hyper.spec import HyperSpec
from sarlab.errors import PlanError
from sarlab.specs import spec_from_dict

if TYPE_CHECKING:
    from sarlab.models.data import Raster


@dataclass(frozen=True)
class CodecTraining:
    """Settings of the training loop."""

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
    """Scenes: names of the catalog or paths, and (looks, correlation) of simulated training scenes."""

    train: tuple[str, ...] = ("bigearthnet",)
    validation: tuple[str, ...] = ()
    simulated: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class CodecPlan:
    """Training plan of a learned codec."""

    #: Name of the model, codec and revision: ``"factorized-1"``.
    name: str
    #: Fixed part of the transform: "wavelet" or "block".
    front: str = "wavelet"
    #: Width of the learned correction; 0 for a linear transform.
    width: int = 64
    seed: int = 0
    data: CodecData = field(default_factory=CodecData)
    training: CodecTraining = field(default_factory=CodecTraining)
    #: Settings of kind `hyper`; without them the model is of kind `factorized`.
    hyper: HyperSpec | None = None


@dataclass(frozen=True, eq=False)
class GatheredScenes:
    """Rasters of a plan."""

    training: tuple[Raster, ...]
    validation: tuple[Raster, ...]
    #: Scenes that were used, and those that are missing.
    note: str
    #: SHA-256 of all samples.
    digest: str
    #: First two bands of the training scenes that have two.
    pairs: tuple[tuple[Raster, Raster], ...] = ()


def load_codec_plan(path: Path) -> CodecPlan:
    """Read a plan. Raises `PlanError` for a missing file, broken TOML, and unknown or wrong keys."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} is not valid TOML ({error})") from None
    parts: dict[str, Any] = {"data": CodecData, "training": CodecTraining, "hyper": HyperSpec}
    built = {key: spec_from_dict(parts[key], _tuples(value)) for key, value in values.items() if key in parts}
    rest = {key: value for key, value in values.items() if key not in parts}
    known = {"name": str, "front": str, "width": int, "seed": int}
    for key, value in rest.items():
        if not isinstance(value, known.get(key, ())):
            raise PlanError(f"{path}: '{key}' is unknown or of the wrong type; known: {', '.join([*known, *parts])}")
    if "name" not in rest:
        raise PlanError(f"{path}: the plan of a codec needs a 'name'")
    return CodecPlan(**rest, **built)


def missing_scenes(plan: CodecPlan) -> list[str]:
    """Scenes of a plan that are neither in the catalog nor files."""
    from sarlab.scenes.catalog import catalog_entries

    wanted = dict.fromkeys([*plan.data.train, *plan.data.validation])
    return [source for source in wanted if source not in catalog_entries and not Path(source).is_file()]


def gather(plan: CodecPlan, allow_missing: bool = False) -> GatheredScenes:
    """Load the scenes of a plan as normalized rasters. Raises `PlanError` if scenes are missing."""
    from sarlab.models.data import normalized_bands
    from sarlab.scenes.catalog import catalog_entries, load_split
    from sarlab.scenes.embedded import reference_normalizers
    from sarlab.scenes.radiometry import fit_normalizers, to_db
    from sarlab.scenes.readers import read_scene
    from sarlab.scenes.simulate import SimulationSpec, simulate
    from sarlab.specs import SceneSpec

    missing = missing_scenes(plan)
    if missing and not allow_missing:
        raise PlanError(
            f"{len(missing)} scenes of plan '{plan.name}' are missing: {', '.join(missing)}; "
            "get them, or train without them with --allow-missing"
        )
    known, used = reference_normalizers(), []
    rasters: dict[str, list[Raster]] = {"train": [], "validation": []}
    pairs: list[tuple[Raster, Raster]] = []
    for role, found in rasters.items():
        for source in getattr(plan.data, role):
            if source in missing:
                continue
            entry = source in catalog_entries
            scenes = getattr(load_split(SceneSpec(source)), role) if entry else (to_db(read_scene(source)),)
            used.append(f"{role} {Path(source).name}")
            for scene in scenes:
                bands = normalized_bands(scene, known)
                found += bands
                if role == "train" and len(bands) > 1:
                    pairs.append((bands[0], bands[1]))
    for number, (looks, correlation) in enumerate(plan.data.simulated):
        scene = to_db(simulate(SimulationSpec(512, 512, looks, correlation, seed=plan.seed + number))[0])
        rasters["train"] += normalized_bands(scene, fit_normalizers([scene]))
        used.append(f"simulated {looks:g} looks, correlation {correlation:g}")
    if not rasters["train"]:
        raise PlanError(f"plan '{plan.name}' has no training scene; missing: {', '.join(missing) or 'none'}")
    digest = hashlib.sha256()
    for role, found in rasters.items():
        for raster in found:
            samples = raster.values.numpy().astype("<f4").tobytes()
            digest.update(f"|{role}|{tuple(raster.values.shape)}|".encode() + samples)
    note = "; ".join(used) + (f"; missing: {', '.join(missing)}" if missing else "")
    return GatheredScenes(tuple(rasters["train"]), tuple(rasters["validation"]), note, digest.hexdigest(), tuple(pairs))


def _tuples(value: Any) -> Any:
    """Lists of TOML as tuples, at every depth."""
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
