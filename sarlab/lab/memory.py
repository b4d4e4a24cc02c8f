"""Memory of training and inference, found by letting shapes alone pass through the real network.

Tensors on PyTorch's ``meta`` device have shapes and no data. Every operation of a step (forward, backward, optimizer) is
carried out on such, and what is alive is added up as it comes and goes: the highest sum is the peak. What is left out
is what libraries take for themselves: their code, and scratch space of convolutions.
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

from sarlab.models.data import VALIDATION_PIXELS, VALIDATION_SIDE, Batch
from sarlab.models.klt import LEAST_PATCHES, MOST_VALUES
from sarlab.models.losses import losses
from sarlab.models.registry import construct
from sarlab.models.training import parameter_groups
from sarlab.specs import ModelSpec, TrainSpec

#: Largest batch that `largest_batch` looks for.
MOST_BATCH = 1 << 16
#: Guesses along a straight line before `largest_batch` counts down.
MOST_LOOKS = 4


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are made within it and still alive.

    Attributes
    ----------
    live, peak : int
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakKeyDictionary[torch.UntypedStorage, None] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.see(leaf)
        return result

    def see(self, tensor: torch.Tensor) -> None:
        """Count a tensor's storage until it is freed; views of what is counted cost nothing."""
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known[storage] = None
        weakref.finalize(storage, self._gone, size)
        self.live += size
        self.peak = max(self.peak, self.live)

    def _gone(self, size: int) -> None:
        self.live -= size


def training_bytes(model: ModelSpec, train: TrainSpec) -> int:
    """Peak of a training step: weights, gradients, optimizer, averages, activations.

    Parameters
    ----------
    model : ModelSpec
    train : TrainSpec

    Returns
    -------
    int
        Bytes, beside those of the process and of the training data. Of bfloat16 trainings an upper bound: activations are
        counted in float32.
    """
    return _training_bytes(model, train.batch_size, train.patch_size, train.loss)


@lru_cache(maxsize=512)
def _training_bytes(spec: ModelSpec, batch_size: int, side: int, loss: str) -> int:
    with torch.device("meta"), LiveBytes() as bytes_:
        network = construct(spec, 0).train()
        for tensor in network.state_dict().values():
            bytes_.see(tensor)
        parameters = [p for p in network.parameters() if p.requires_grad]
        kept = [p.detach().clone() for p in parameters], [t.clone() for t in network.state_dict().values()]
        trained = torch.nn.ModuleDict({"model": network})
        optimizer = torch.optim.AdamW(parameter_groups(trained), lr=1e-3)
        for _ in range(2):  # the optimizer's own tensors are there from the first step's end on
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
    """Peak of analysis and synthesis of one band of `height` × `width` pixels, the network included.

    Parameters
    ----------
    spec : ModelSpec
    height, width : int
    """
    with torch.device("meta"), torch.no_grad(), LiveBytes() as bytes_:
        network = construct(spec, 0).eval()
        for tensor in network.state_dict().values():
            bytes_.see(tensor)
        x = torch.rand(1, 1, height, width)
        network.synthesis(network.analysis(x), (height, width))
        return bytes_.peak


def validation_bytes(spec: ModelSpec) -> int:
    """Peak of a look at the largest validation window."""
    side = min(VALIDATION_SIDE, int(VALIDATION_PIXELS**0.5))
    return inference_bytes(spec, side, side)


def klt_bytes(spec: ModelSpec, pixels: int) -> int:
    """Peak of the fit of a KLT on training rasters of `pixels` pixels in all: patches, twice as they are gathered.

    Parameters
    ----------
    spec : ModelSpec
    pixels : int
    """
    size = spec.spatial_reduction**2
    patches = min(max(LEAST_PATCHES, MOST_VALUES // size), pixels)
    return 2 * 8 * patches * size + 3 * 8 * min(size, patches) ** 2


def largest_batch(model: ModelSpec, train: TrainSpec, budget: float, *, bytes_a_pixel: float = 0.0) -> int:
    """Largest number of patches a step that stays within `budget` bytes; 0 if one patch does not.

    Parameters
    ----------
    model : ModelSpec
    train : TrainSpec
    budget : float
        Bytes for the training alone: take off what the process and the data need.
    bytes_a_pixel : float
        What libraries take for each pixel of a batch beside the tensors.
    """

    def needed(count: int) -> float:
        pixels = count * train.patch_size**2
        return training_bytes(model, dataclasses.replace(train, batch_size=count)) + bytes_a_pixel * pixels

    if needed(1) > budget:
        return 0
    # Beyond a few patches the peak grows by the same bytes with each: follow the line, then make sure.
    low, high = 1, 16
    for _ in range(MOST_LOOKS):
        slope = (needed(high) - needed(low)) / (high - low)
        guess = int(high + (budget - needed(high)) / slope)
        guess = min(max(guess, 1), MOST_BATCH)
        if needed(guess) <= budget and (guess == MOST_BATCH or needed(guess + 1) > budget):
            return guess
        low, high = (low, guess) if guess > low else (guess, low)
    while needed(guess) > budget:
        guess -= 1
    return guess
