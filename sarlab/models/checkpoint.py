"""Everything a training needs to go on as if it had never stopped, as tensors and JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sarlab.errors import TrainingError
from sarlab.models.history import History
from sarlab.models.storage import copy_tensors, read_tensors, write_tensors

ADAM = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class TrainingState:
    """State of a training between two steps.

    Parameters
    ----------
    trained : Module
        Network, and quantizer where it learns.
    average : dict of str to Tensor
        Averaged weights, by parameter name.
    best : dict of str to Tensor
        Weights and buffers of the best validation.
    optimizer : torch.optim.AdamW
    generators : dict of str to torch.Generator
        Every source of random numbers in the loop.
    history : History
    fingerprint : str
        Hash of all that decides the result; a checkpoint with another one belongs to another training.
    """

    trained: nn.Module
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    generators: dict[str, torch.Generator]
    history: History
    fingerprint: str

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, sharing memory with the training where they can."""
        found = {f"weights.{name}": t for name, t in self.trained.state_dict().items()}
        found |= {f"average.{name}": t for name, t in self.average.items()}
        found |= {f"best.{name}": t for name, t in self.best.items()}
        for name, parameter in self.trained.named_parameters():
            for key in ADAM:
                if parameter in self.optimizer.state:
                    found[f"adam.{key}.{name}"] = self.optimizer.state[parameter][key]
        return found | {f"generator.{name}": g.get_state() for name, g in self.generators.items()}


def save_checkpoint(path: Path, state: TrainingState) -> None:
    """Write `state` to `path`, whole or not at all."""
    write_tensors(path, state.tensors(), {"fingerprint": state.fingerprint, "history": state.history.to_dict()})


def load_checkpoint(path: Path, state: TrainingState) -> None:
    """Set `state` to what `path` holds.

    Raises
    ------
    TrainingError
        If the file is damaged or belongs to another training.
    """
    tensors, values = read_tensors(path, TrainingError)
    if values.get("fingerprint") != state.fingerprint:
        raise TrainingError(
            f"{path} belongs to another training (other model, data, seed or settings); remove it or name another file"
        )
    for name, parameter in state.trained.named_parameters():
        if f"adam.exp_avg.{name}" in tensors:
            device = parameter.device
            state.optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=device),
                "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
            }
    wanted = state.tensors()
    copy_tensors(tensors, wanted, str(path), TrainingError)
    for name, generator in state.generators.items():
        generator.set_state(wanted[f"generator.{name}"])
    try:
        state.history = History.from_dict(values["history"])
    except (KeyError, TypeError, ValueError) as problem:
        raise TrainingError(f"{path} is damaged: its history cannot be read ({problem})") from None


def every(seconds: float, clock: Callable[[], float]) -> Callable[[], bool]:
    """Function that is true when `seconds` have passed since it last was."""
    last = clock()

    def due() -> bool:
        nonlocal last
        if clock() - last < seconds:
            return False
        last = clock()
        return True

    return due
