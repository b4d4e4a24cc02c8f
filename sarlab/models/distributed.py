"""Training of one network by several processes, each of which takes its share of every batch.

``torchrun`` starts the processes; the loop is the same. All draw the same batch, keep their own patches of it, and
average their gradients, so that the result is that of one process with the whole batch, up to the order of sums. The
first process leads: it alone decides when to stop, and writes.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sarlab.errors import TrainingError
from sarlab.models.base import Autoencoder, LatentHook
from sarlab.models.data import Batch

#: What the leader tells: a training begins; the job has ended; the sweep is over. Numbers from 0 name jobs.
TRAIN, ENDED, OVER = -1, -2, -3
#: How long followers wait for a word: the leader may be measuring, and when it dies torchrun ends them.
_PATIENCE = datetime.timedelta(hours=24)


class Dismissed(Exception):
    """The leader ended the job without training: no error."""


@dataclass(frozen=True)
class Team:
    """The processes of a training.

    Parameters
    ----------
    rank, size : int
    control : process group, optional
        For words between processes, also where gradients go between GPUs.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process decides and writes."""
        return self.rank == 0

    def say(self, word: int) -> int:
        """Send a word of the leader to all; returns it. Followers' own words do not count."""
        if self.size == 1:
            return word
        sent = torch.tensor([word])
        torch.distributed.broadcast(sent, 0, group=self.control)
        return int(sent)

    def hear(self) -> int:
        """Wait for a word of the leader."""
        return self.say(0)

    def begin(self, step: int) -> None:
        """Meet at the start of a training, all at the same step.

        Raises
        ------
        Dismissed
            In followers, if the leader has no training to do.
        TrainingError
            If a checkpoint is not seen by all.
        """
        if self.size == 1:
            return
        if self.say(TRAIN) != TRAIN:
            raise Dismissed
        steps = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        torch.distributed.all_gather(steps, torch.tensor([step]), group=self.control)
        if len({int(one) for one in steps}) > 1:
            raise TrainingError(
                "the processes found different checkpoints; put the runs on a file system that all share"
            )

    def share(self, batch: Batch) -> tuple[Batch, float | Tensor]:
        """Patches of this process, and the factor that makes the mean over processes that of the whole batch."""
        mine = slice(self.rank, None, self.size)
        x, mask, span = batch
        if mask is None:
            return Batch(x[mine], None, span[mine]), len(x[mine]) * self.size / len(x)
        return Batch(x[mine], mask[mine], span[mine]), mask[mine].sum() * self.size / mask.sum()

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        torch.distributed.all_reduce(total)
        return total / self.size


class Pass(nn.Module):
    """A network with its quantizer as one module: x → x̂."""

    def __init__(self, model: Autoencoder, quantizer: LatentHook | None):
        super().__init__()
        self.model, self.quantizer = model, quantizer

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction of normalized patches."""
        return self.model(x, self.quantizer).x_hat


def averaged(step: Pass, device: torch.device) -> nn.Module:
    """The same module with gradients averaged over the processes."""
    from torch.nn.parallel import DistributedDataParallel

    with torch.no_grad():
        for buffer in step.buffers():
            sent = buffer.clone(memory_format=torch.contiguous_format)
            torch.distributed.broadcast(sent, 0)
            buffer.copy_(sent)
    ids = [device.index or 0] if device.type == "cuda" else None
    # Parameters of a quantizer may rest in some phases of a training; buffers stay what they were at the start.
    return DistributedDataParallel(step, device_ids=ids, find_unused_parameters=True, broadcast_buffers=False)


_control: Any = None


def join(device: str = "auto") -> Team:
    """Meet the other processes that torchrun started; call it once.

    Parameters
    ----------
    device : str
        Gradients go through NCCL on CUDA and through Gloo elsewhere.
    """
    global _control
    cuda = device != "cpu" and torch.cuda.is_available()
    torch.distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    _control = torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)
    if cuda:
        torch.cuda.set_device(local_device())
    return team()


def leave() -> None:
    """End what `join` began."""
    global _control
    torch.distributed.destroy_process_group()
    _control = None


def local_device() -> str:
    """GPU of this process."""
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % max(1, torch.cuda.device_count())}"


def team() -> Team:
    """The processes that this one has joined; itself alone without any."""
    if _control is None:
        return Team()
    return Team(torch.distributed.get_rank(), torch.distributed.get_world_size(), _control)
