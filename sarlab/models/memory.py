"""Peak memory of training and inference from shapes alone.

The real network runs on tensors of PyTorch's ``meta`` device, which have shapes and no data. Memory is the peak of all
live tensors over the operations of a step; the libraries' code and the scratch space of convolutions are not included.
"""

from __future__ import annotations

import dataclasses
import weakref
from functools import lru_cache
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sarlab.models.autoencoders import construct
from sarlab.models.data import LEAST_PATCHES, MOST_VALUES, VALIDATION_PIXELS, VALIDATION_SIDE, Batch
from sarlab.models.training import OPTIMIZERS, losses
from sarlab.specs import ModelSpec, TrainSpec

#: Largest batch that `largest_batch` considers.
MOST_BATCH = 1 << 16


class LiveBytes(TorchDispatchMode):
    """Count the bytes of all tensors created within the block that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakKeyDictionary[torch.UntypedStorage, None] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return result

    def add(self, tensor: torch.Tensor) -> None:
        """Count the storage of a tensor until it is freed; views of counted storage are free."""
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known[storage] = None
        weakref.finalize(storage, self._freed, size)
        self.live += size
        self.peak = max(self.peak, self.live)

    def _freed(self, size: int) -> None:
        self.live -= size


def training_bytes(model: ModelSpec, train: TrainSpec) -> int:
    """Return the peak of a training step in bytes: weights, gradients, optimizer, averages, activations.

    Process and training data are not included. For bfloat16 it is an upper bound: activations are counted in float32.
    """
    return _training_bytes(model, train.batch_size, train.patch_size, train.loss, train.optimizer)


@lru_cache(maxsize=512)
def _training_bytes(spec: ModelSpec, batch_size: int, side: int, loss: str, optimizer_name: str) -> int:
    with torch.device("meta"), LiveBytes() as bytes_:
        network = construct(spec, 0).train()
        for tensor in network.state_dict().values():
            bytes_.add(tensor)
        parameters = [p for p in network.parameters() if p.requires_grad]
        kept = [p.detach().clone() for p in parameters], [t.clone() for t in network.state_dict().values()]
        optimizer = OPTIMIZERS[optimizer_name](list(network.parameter_groups()), lr=1e-3)
        for _ in range(2):  # the optimizer's own tensors exist from the end of the first step on
            batch = Batch(torch.rand(batch_size, 1, side, side), None, torch.ones(batch_size, 1, 1, 1))
            x_hat = network(batch.x).x_hat
            value = losses[loss](x_hat.float(), batch)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=False)
            optimizer.step()
            get_ema_multi_avg_fn(0.9)(kept[0], [p.detach() for p in parameters], 1)
            del x_hat, value
        return bytes_.peak


@lru_cache(maxsize=512)
def inference_bytes(spec: ModelSpec, height: int, width: int) -> int:
    """Return the peak of analysis and synthesis of a `height` × `width` band in bytes, network included."""
    with torch.device("meta"), torch.no_grad(), LiveBytes() as bytes_:
        network = construct(spec, 0).eval()
        for tensor in network.state_dict().values():
            bytes_.add(tensor)
        x = torch.rand(1, 1, height, width)
        network.synthesis(network.analysis(x), (height, width))
        return bytes_.peak


def validation_bytes(spec: ModelSpec) -> int:
    """Return the peak of a validation on the largest window in bytes."""
    side = min(VALIDATION_SIDE, int(VALIDATION_PIXELS**0.5))
    return inference_bytes(spec, side, side)


def klt_bytes(spec: ModelSpec, pixels: int) -> int:
    """Return the peak of fitting a KLT to `pixels` training pixels in bytes: the patches, twice while gathered."""
    size = spec.spatial_reduction**2
    patches = min(max(LEAST_PATCHES, MOST_VALUES // size), pixels)
    return 2 * 8 * patches * size + 3 * 8 * min(size, patches) ** 2


def largest_batch(model: ModelSpec, train: TrainSpec, budget: float, *, bytes_a_pixel: float = 0.0) -> int:
    """Return the largest batch size whose training fits into `budget` bytes; 0 if not even one patch does.

    The budget excludes process and data; `bytes_a_pixel` is the memory of the libraries per pixel of a batch.
    """

    def needed(count: int) -> float:
        pixels = count * train.patch_size**2
        return training_bytes(model, dataclasses.replace(train, batch_size=count)) + bytes_a_pixel * pixels

    if needed(1) > budget:
        return 0
    low, high = 1, MOST_BATCH + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle) <= budget else (low, middle)
    return low
