"""Safetensors files with JSON next to the tensors, and the state and history of a training kept in them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sarlab.errors import ModelError, SarlabError, TrainingError
from sarlab.files import replacing
from sarlab.specs import CONVERGED_BELOW_DB

#: Key of the JSON text in the header.
ENTRY = "sarlab"
#: Standard deviation of the output relative to the input below which a network has collapsed to a constant.
COLLAPSED_BELOW = 0.02
#: Steps below which a training gains too little in any quarter to tell whether it has converged.
LEAST_STEPS = 100


def write_tensors(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write `tensors` and JSON-compatible `values` to `path` atomically."""
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    text = json.dumps(jsonable(values))
    with replacing(path) as temporary:
        save_file(plain, temporary, metadata={ENTRY: text})


def read_tensors(path: Path, error: type[SarlabError] = ModelError) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of `write_tensors`, which is not trusted; raise `error` if it is missing, damaged or foreign.

    The format allocates no more memory than the file is long, and executes nothing.
    """
    path = Path(path)
    if not path.is_file():
        raise error(f"no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})[ENTRY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except KeyError:
        raise error(f"{path} was not written by sarlab: its header has no '{ENTRY}' entry") from None
    except (SafetensorError, json.JSONDecodeError, RecursionError, OSError, ValueError) as problem:
        raise error(f"{path} is damaged or not a safetensors file ({problem})") from None
    if not isinstance(values, dict):
        raise error(f"{path} is damaged: its '{ENTRY}' entry is not a JSON object")
    return tensors, values


def copy_tensors(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str, error: type[SarlabError] = ModelError
) -> None:
    """Copy `found` into `wanted` in place, after checking names, shapes, types and finiteness."""
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or extra:
        what = f"lacks '{missing[0]}'" if missing else f"holds '{extra[0]}', which the model does not have"
        raise error(f"{source} does not fit the model: it {what}")
    for name, target in wanted.items():
        tensor = found[name]
        if tensor.shape != target.shape or tensor.dtype != target.dtype:
            kind = f"{tuple(tensor.shape)} {tensor.dtype}"
            raise error(f"{source}: '{name}' is {kind}, the model needs {tuple(target.shape)} {target.dtype}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise error(f"{source}: '{name}' holds NaN or infinite values")
    with torch.no_grad():
        for name, target in wanted.items():
            target.copy_(found[name])


def jsonable(values: Any) -> Any:
    """Convert to plain JSON values: NaN and infinities to null, tuples to lists, NumPy scalars to numbers."""
    if isinstance(values, Mapping):
        return {str(k): jsonable(v) for k, v in values.items()}
    if isinstance(values, (list, tuple)):
        return [jsonable(v) for v in values]
    if hasattr(values, "item") and not isinstance(values, (str, bytes)):
        values = values.item()
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values


# --- history and state of a training ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Validation:
    """Scores of the averaged weights, means over the validation scenes, and gradient norms of the layers.

    `psnr_db` is clipped to the normalized range; `spread` is the standard deviation of the reconstruction relative to
    that of the scene.
    """

    step: int
    loss: float
    psnr_db: float
    spread: float
    gradient_norms: Mapping[str, float] = field(default_factory=dict)


@dataclass
class History:
    """Course of a training.

    The first four lists have one entry per recorded step; gradient norms are those before clipping. `best_step` is the
    step whose averaged weights were kept, `seconds` the wall time of the steps without validation over all sessions,
    `pixels` those of all batches, and `stopped` "finished", "time budget", "interrupted", "diverged" or empty.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    steps_done: int = 0
    best_step: int = 0
    seconds: float = 0.0
    pixels: int = 0
    stopped: str = ""

    @property
    def best_loss(self) -> float:
        """Smallest finite validation loss so far; infinity if there is none."""
        return min((v.loss for v in self.validations if math.isfinite(v.loss)), default=math.inf)

    @property
    def pixels_per_second(self) -> float:
        """Training throughput; 0 before the first step."""
        return self.pixels / self.seconds if self.seconds > 0 else 0.0

    @property
    def collapsed(self) -> bool:
        """True if the network with the kept weights returns a constant."""
        kept = [v.spread for v in self.validations if v.step == self.best_step]
        return bool(kept) and kept[-1] < COLLAPSED_BELOW

    @property
    def last_quarter_gain_db(self) -> float:
        """Gain of the validation PSNR over the last quarter of the steps; NaN without validation or before the end."""
        found = {v.step: v.psnr_db for v in self.validations}
        if self.stopped != "finished":
            return math.nan
        return found.get(self.steps_done, math.nan) - found.get(three_quarters(self.steps_done), math.nan)

    @property
    def converged(self) -> bool | None:
        """True if the last quarter, in which the learning rate falls to 0, gained less than 0.05 dB; None if unknown."""
        gain = self.last_quarter_gain_db
        if self.collapsed:
            return False
        return None if math.isnan(gain) or 0 < self.steps_done < LEAST_STEPS else gain < CONVERGED_BELOW_DB

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """Invert `to_dict`."""
        values = dict(values)
        # JSON holds null for NaN.
        looks: list[dict[str, Any]] = [
            {k: math.nan if x is None else x for k, x in look.items()} for look in values["validations"]
        ]
        values["validations"] = [Validation(**look) for look in looks]
        return cls(**values)


def three_quarters(steps: int) -> int:
    """Return the step from which on the last quarter counts."""
    return 3 * steps // 4


@dataclass
class TrainingState:
    """State of a training between two steps: all it needs to continue as if it had never stopped.

    `average` holds averaged parameters, `best` weights and buffers of the best validation, `generators` every source of
    random numbers. A checkpoint with another `fingerprint` belongs to another training.
    """

    trained: nn.Module
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    generators: dict[str, torch.Generator]
    history: History
    fingerprint: str

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, sharing memory with the training where possible."""
        found = {f"weights.{name}": t for name, t in self.trained.state_dict().items()}
        found |= {f"average.{name}": t for name, t in self.average.items()}
        found |= {f"best.{name}": t for name, t in self.best.items()}
        for name, parameter in self.trained.named_parameters():
            found |= {f"optimizer.{key}.{name}": t for key, t in self.optimizer.state.get(parameter, {}).items()}
        return found | {f"generator.{name}": g.get_state() for name, g in self.generators.items()}


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Write `state` to `path` atomically."""
    write_tensors(path, state.tensors(), {"fingerprint": state.fingerprint, "history": state.history.to_dict()})


def load_checkpoint(path: Path, state: TrainingState) -> None:
    """Set `state` to the content of `path`; raise `TrainingError` if it is damaged or of another training."""
    tensors, values = read_tensors(path, TrainingError)
    if values.get("fingerprint") != state.fingerprint:
        raise TrainingError(
            f"{path} belongs to another training (other model, data, seed or settings); remove it or name another file"
        )
    for name, parameter in state.trained.named_parameters():
        for key in ("momentum", "exp_avg", "exp_avg_sq"):
            if f"optimizer.{key}.{name}" in tensors:
                state.optimizer.state[parameter][key] = torch.zeros_like(parameter, requires_grad=False)
        if f"optimizer.step.{name}" in tensors:
            state.optimizer.state[parameter]["step"] = torch.zeros((), device=parameter.device)
    wanted = state.tensors()
    copy_tensors(tensors, wanted, str(path), TrainingError)
    for name, generator in state.generators.items():
        generator.set_state(wanted[f"generator.{name}"])
    try:
        state.history = History.from_dict(values["history"])
    except (KeyError, TypeError, ValueError) as problem:
        raise TrainingError(f"{path} is damaged: its history cannot be read ({problem})") from None
