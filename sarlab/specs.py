"""Specifications of experiments as frozen dataclasses, and content hashes.

A `RunSpec` has everything that decides a result: scenes, model, quantizer, training and seed. It excludes device and
engine, which must not change the result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any

from sarlab.errors import PlanError

#: A training has converged if its last quarter gains less than this.
CONVERGED_BELOW_DB = 0.05


@dataclass(frozen=True)
class SceneSpec:
    """Scenes to train and test on."""

    #: Name in the catalog (``sarlab scenes``), ``NAME:FOLDER`` for a collection, or the path of a file, folder or collection.
    source: str = "bigearthnet"
    #: Quantity of the samples of a file: complex, amplitude, intensity, db; ``"auto"`` is that of the catalog or of the file.
    quantity: str = "auto"
    #: Skip scenes of a collection whose files are missing.
    allow_missing: bool = False
    #: Side in pixels of the middle to which larger test and independent scenes are cut; 0 keeps them whole.
    side: int = 0

    def __post_init__(self) -> None:
        check_known(self, quantity=("auto", "complex", "amplitude", "intensity", "db"))


@dataclass(frozen=True)
class ModelSpec:
    """A fixed-latent network."""

    #: Name in the registry: ``"klt"``, ``"plain"``, ``"residual"``, ``"attention"`` or a user's own.
    architecture: str = "plain"
    #: Per axis: 16 turns 256×256 into 16×16. A power of two from 2 to 256.
    spatial_reduction: int = 16
    #: Channels of the latent.
    latent_channels: int = 16
    #: Random start (scratch), or a linear path set from the data with the nonlinear branch starting at zero (klt).
    init: str = "scratch"
    #: Channels of the first layer; later layers are multiples of it.
    width: int = 32
    #: Unstrided layers (or blocks) added at each scale.
    depth: int = 1
    #: First layers: fold blocks of pixels into channels (fold), or halve the size step by step (pyramid).
    stem: str = "fold"

    def __post_init__(self) -> None:
        r = self.spatial_reduction
        if r < 2 or r > 256 or r & (r - 1):
            raise PlanError(f"spatial_reduction must be a power of two from 2 to 256, not {r}")
        check_least(self, latent_channels=1, width=1, depth=0)
        check_known(self, init=("scratch", "klt"), stem=("fold", "pyramid"))

    @property
    def dimension_ratio(self) -> float:
        """Input values per latent value."""
        return self.spatial_reduction**2 / self.latent_channels


@dataclass(frozen=True)
class QuantizerSpec:
    """Quantization of latent values."""

    #: Name in the registry of quantizers: ``"float32"``, ``"float16"``, ``"affine"`` …
    scheme: str = "float32"
    #: Per latent value, on average if they are allocated over channels; 16 for float16 and bfloat16, 32 for float32.
    bits: int = 32
    #: One range for the tensor, or one for each channel.
    granularity: str = "channel"
    #: Choice of the range: minmax, percentile or mse.
    calibration: str = "minmax"
    #: Quantization during training: ``"none"``, ``"noise"``, ``"ste"``, ``"mixed"`` …
    training: str = "none"

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 32:
            raise PlanError(f"bits must lie between 1 and 32, not {self.bits}")

    @property
    def label(self) -> str:
        """Short form for run ids: f32, f16, u8 (affine), a4 (allocated), c4-ste (companded, seen in training) …"""
        names = {"float32": "f", "float16": "f", "bfloat16": "bf", "affine": "u", "allocated": "a", "companded": "c"}
        whole = "t" if self.scheme == "affine" and self.granularity == "tensor" else ""
        seen = "" if self.training == "none" else f"-{self.training}"
        return f"{names.get(self.scheme, self.scheme)}{self.bits}{whole}{seen}"


@dataclass(frozen=True)
class TrainSpec:
    """Training of a network. Its length is in steps: the same spec gives the same weights on the same device."""

    steps: int = 300
    #: Patches per step, and their side in pixels.
    batch_size: int = 8
    patch_size: int = 128
    #: `sarlab.models.training.Muon`, or AdamW (adam).
    optimizer: str = "muon"
    #: Peak of the cosine schedule, after a linear warm-up.
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    #: Largest gradient norm; 0 switches clipping off.
    clip_norm: float = 0.0
    #: Decay of the averaged weights; 0 switches averaging off.
    ema_decay: float = 0.99
    weight_decay: float = 0.0
    #: Name in `sarlab.models.training.losses`.
    loss: str = "mse"
    #: float32 or bfloat16.
    precision: str = "float32"
    #: Steps between validations; the best weights are kept.
    validate_every: int = 50
    #: CPU threads of the run. Float sums depend on it, so it belongs to the spec.
    threads: int = 1
    #: Number of training scenes, evenly spaced in their order; 0 for all.
    scenes: int = 0
    #: Sharing of trainings by the ratios of a curve: none (dedicated), one whose leading channels serve all (nested), or
    #: each starts from the one with twice its channels (progressive); the first of these has `first_channels`.
    curve: str = "dedicated"
    first_channels: int = 0

    def __post_init__(self) -> None:
        check_known(self, optimizer=("muon", "adam"), precision=("float32", "bfloat16"))
        check_known(self, curve=("dedicated", "nested", "progressive"))
        if (self.curve != "dedicated") != (self.first_channels > 0):
            raise PlanError(f"curve '{self.curve}' does not go with first_channels {self.first_channels}")
        check_least(self, batch_size=1, patch_size=1, validate_every=1, threads=1)
        check_least(self, steps=0, warmup_steps=0, learning_rate=0, clip_norm=0, weight_decay=0, scenes=0)
        if not 0 <= self.ema_decay < 1:
            raise PlanError(f"ema_decay must lie in [0, 1), not {self.ema_decay}")


@dataclass(frozen=True)
class RunSpec:
    """One experiment: everything that decides its rows."""

    scenes: SceneSpec = field(default_factory=SceneSpec)
    model: ModelSpec = field(default_factory=ModelSpec)
    quantizer: QuantizerSpec = field(default_factory=QuantizerSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, seed=0)
        r = self.model.spatial_reduction
        if self.train.patch_size % r:
            raise PlanError(f"patch_size {self.train.patch_size} is not a multiple of spatial_reduction {r}")
        first, channels, curve = self.train.first_channels, self.model.latent_channels, self.train.curve
        if first and (first % channels or (first // channels).bit_count() != 1):
            raise PlanError(f"latent_channels must be {first} divided by a power of two, not {channels}")
        if first and self.quantizer.training != "none":
            raise PlanError(f"a {curve} curve is trained without quantizer; use training = 'none'")

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dictionary, as in JSON or TOML."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """Build from a nested dictionary; unknown keys are a `PlanError` that names the known ones."""
        return spec_from_dict(cls, values)

    @property
    def label(self) -> str:
        """Readable part of the run id."""
        m = self.model
        init = "" if m.init == "scratch" or m.architecture == "klt" else f"-{m.init}"
        shared = "" if self.train.curve == "dedicated" else f"-{self.train.curve[0]}{self.train.first_channels}"
        shape = f"r{m.spatial_reduction}-c{m.latent_channels}{shared}"
        return f"{m.architecture}{init}-{shape}-{self.quantizer.label}-s{self.seed}"


def check_known(spec: Any, **known: tuple[str, ...]) -> None:
    """Raise `PlanError` for the first field with a value that is not among the known ones."""
    for name, values in known.items():
        if getattr(spec, name) not in values:
            raise PlanError(f"unknown {name} '{getattr(spec, name)}'; use {', '.join(values)}")


def check_least(spec: Any, **least: float) -> None:
    """Raise `PlanError` for the first field with a value below its least."""
    for name, value in least.items():
        if getattr(spec, name) < value:
            raise PlanError(f"{name} must be at least {value}, not {getattr(spec, name)}")


def spec_from_dict(cls: type, values: Any) -> Any:
    """Build a spec dataclass, and those within it, from a mapping; int → float and integral float → int are allowed."""
    if isinstance(values, cls):
        return values
    if not isinstance(values, Mapping):
        raise PlanError(f"{cls.__name__} needs a table of values, not {values!r}")
    known = {f.name: type(f.default) if f.default is not MISSING else f.default_factory for f in fields(cls)}
    built: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise PlanError(f"unknown key '{key}' in {cls.__name__}; known: {', '.join(known)}")
        wanted: Any = known[key]
        if isinstance(wanted, type) and is_dataclass(wanted):
            value = spec_from_dict(wanted, value)
        elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        elif wanted is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise PlanError(f"{cls.__name__}.{key} must be {wanted.__name__}, not {value!r}")
        built[key] = value
    return cls(**built)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def content_hash(*parts: Any) -> str:
    """SHA-256 over the canonical JSON of `parts`, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()
