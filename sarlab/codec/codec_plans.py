"""Plans of codecs: what an entropy-coded model is trained on and how, from a TOML file to rasters in memory."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sarlab.errors import PlanError
from sarlab.specs import spec_from_dict

if TYPE_CHECKING:
    from sarlab.models.data import Raster


@dataclass(frozen=True)
class CodecTraining:
    """The loop's settings.

    Parameters
    ----------
    steps, batch_size, patch_size : int
    learning_rate, clip_norm, ema_decay : float
    warmup_steps, validate_every : int
    quality : (low, high)
        Qualities are drawn evenly from this range.
    hard_share : float
        Last share of the steps with real rounding and fixed quantization steps.
    threads : int
    """

    steps: int = 4000
    batch_size: int = 8
    patch_size: int = 128
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    quality: tuple[float, float] = (12.0, 46.0)
    hard_share: float = 0.2
    validate_every: int = 250
    threads: int = 2


@dataclass(frozen=True)
class CodecData:
    """Where the scenes are.

    Parameters
    ----------
    train, validation : tuple of str
        Names of the catalog, or paths; those that are not at hand are left out.
    simulated : tuple of (looks, correlation)
        Scenes drawn by the computer.
    """

    train: tuple[str, ...] = ("bigearthnet",)
    validation: tuple[str, ...] = ()
    simulated: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class CodecPlan:
    """An entropy-coded model to be trained.

    Parameters
    ----------
    name : str
        Of the model: codec and revision, ``"factorized-1"``.
    front : {"wavelet", "block"}
    width : int
        Of the learned correction; 0 for a linear transform.
    seed : int
    data : CodecData
    training : CodecTraining
    """

    name: str
    front: str = "wavelet"
    width: int = 64
    seed: int = 0
    data: CodecData = field(default_factory=CodecData)
    training: CodecTraining = field(default_factory=CodecTraining)


@dataclass(frozen=True)
class HyperSpec:
    """Entropy model and correction of a codec of kind `hyper`.

    Parameters
    ----------
    groups : tuple of (channels, phases, kernel)
        See `sarlab.codec.hyper.context.ContextModel`.
    features, hidden : int
        Width of the shared features and of the heads.
    depth : int
        Convolutions of the learned correction.
    turned : bool
        Whether training turns the axes.
    rate_offset : float
        Costs are divided by the rate plus this many bits per pixel.
    bias_weight : float
        Weight of the squared difference of mean intensities in dB, beside squared error.
    speckle_weight : float
        Share of the squared error that the deviance of Gamma speckle replaces; see `sarlab.codec.hyper.objective.gamma_deviance`.
    coarse_finer : float
        log₂ by which the steps of the four coarsest channels are finer, all of it from quality 26 on and nothing up to 20: means over
        areas, which hang on them, are better for it, and PSNR is the same.
    trellis : bool
        Quantize in a trellis; see `sarlab.codec.hyper.trellis`.
    last : bool
        Keep the averaged weights of the last step instead of those of the best validation.
    second_steps : int
        Steps that afterwards teach a context of its own what a second band gains from the first; 0 leaves that out.
    bias_steps : int
        Steps that afterwards teach the decoder the bias of its means; 0 leaves that out.
    despeckle_steps : int
        Steps that afterwards teach the decoder the reflectivity behind simulated speckle; 0 leaves that out.
    """

    groups: tuple[tuple[int, int, int], ...] = ((4, 4, 5), (12, 2, 3), (20, 2, 3), (28, 2, 3))
    features: int = 80
    hidden: int = 64
    depth: int = 3
    turned: bool = True
    rate_offset: float = 0.15
    bias_weight: float = 0.0
    speckle_weight: float = 0.0
    coarse_finer: float = 0.0
    trellis: bool = False
    last: bool = True
    second_steps: int = 0
    bias_steps: int = 0
    despeckle_steps: int = 0


@dataclass(frozen=True)
class HyperPlan(CodecPlan):
    """A codec of kind `hyper` to be trained.

    Parameters
    ----------
    hyper : HyperSpec
    """

    hyper: HyperSpec = field(default_factory=HyperSpec)


@dataclass(frozen=True, eq=False)
class Gathered:
    """Rasters of a plan.

    Attributes
    ----------
    training, validation : tuple of Raster
    pairs : tuple of (Raster, Raster)
        First two bands of those training scenes that have two.
    note : str
        What was found and what not.
    digest : str
        SHA-256 of all samples.
    """

    training: tuple[Raster, ...]
    validation: tuple[Raster, ...]
    note: str
    digest: str
    pairs: tuple[tuple[Raster, Raster], ...] = ()


def load_codec_plan(path: Path) -> CodecPlan:
    """Read a plan.

    Raises
    ------
    PlanError
        Missing file, broken TOML, unknown or wrong keys.
    """
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
        raise PlanError(f"{path}: a codec's plan needs a 'name'")
    return HyperPlan(**rest, **built) if "hyper" in built else CodecPlan(**rest, **built)


def gather(plan: CodecPlan) -> Gathered:
    """Load the scenes of a plan as normalized rasters.

    Raises
    ------
    PlanError
        Where no training scene is at hand.
    """
    from sarlab.models.data import normalized_bands
    from sarlab.scenes.catalog import catalog_entries, load_split
    from sarlab.scenes.embedded import reference_normalizers
    from sarlab.scenes.radiometry import fit_normalizers, to_db
    from sarlab.scenes.readers import read_scene
    from sarlab.scenes.simulate import SimulationSpec, simulate
    from sarlab.specs import SceneSpec

    known, used, missing = reference_normalizers(), [], []
    rasters: dict[str, list[Raster]] = {"train": [], "validation": []}
    pairs: list[tuple[Raster, Raster]] = []
    for role in rasters:
        for source in getattr(plan.data, role):
            if source in catalog_entries:
                scenes = getattr(load_split(SceneSpec(source)), role)
            elif Path(source).is_file():
                scenes = (to_db(read_scene(source)),)
            else:
                missing.append(source)
                continue
            used.append(f"{role} {Path(source).name}")
            for scene in scenes:
                bands = normalized_bands(scene, known)
                rasters[role] += bands
                if role == "train" and len(bands) > 1:
                    pairs.append((bands[0], bands[1]))
    for number, (looks, correlation) in enumerate(plan.data.simulated):
        scene, _ = simulate(SimulationSpec(512, 512, looks, correlation, seed=plan.seed + number))
        scene = to_db(scene)
        rasters["train"] += normalized_bands(scene, fit_normalizers([scene]))
        used.append(f"simulated {looks:g} looks, correlation {correlation:g}")
    if not rasters["train"]:
        raise PlanError(f"no training scene of '{plan.name}' is at hand: {', '.join(missing)}")
    digest = hashlib.sha256()
    for role, found in rasters.items():
        for raster in found:
            digest.update(
                f"|{role}|{tuple(raster.values.shape)}|".encode() + raster.values.numpy().astype("<f4").tobytes()
            )
    note = "; ".join(used) + (f"; not at hand: {', '.join(missing)}" if missing else "")
    return Gathered(tuple(rasters["train"]), tuple(rasters["validation"]), note, digest.hexdigest(), tuple(pairs))


def _tuples(value: Any) -> Any:
    """Lists of TOML as tuples, at every depth."""
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
