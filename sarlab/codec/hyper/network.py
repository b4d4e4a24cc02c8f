"""The entropy model of the codec `hyper` in integers, which are the same on every machine, thread count and batch size.

Weights and activations are integers carried in float32 tensors. No sum of absolute products reaches 2^24, below which
float32 holds every integer, so that the order of additions does not matter. After a layer, sums are divided by a power of
two, rounded down and held within 0 … 1023: all of it exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from sarlab.codec.hyper.arithmetic import SEEN_LARGEST, interpolated, magnitude_table
from sarlab.codec.hyper.context import Step, steps_of
from sarlab.errors import ModelError

#: Largest activation, and the bound on sums of absolute products.
LARGEST_ACTIVATION = 1023
EXACT = 1 << 24


class IntegerContext:
    """Context networks of one model.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Integers: ``embed``, ``edges``, ``heads.0.inner.weight`` …; see `sarlab.codec.hyper.fitting`.
    groups : tuple of (channels, phases, kernel)
    channels : int
        Of the latent.
    """

    def __init__(self, tensors: Mapping[str, Tensor], groups: tuple[tuple[int, int, int], ...], channels: int):
        self.steps: list[Step] = steps_of(groups, channels)
        check_exact()
        try:
            self.embed = tensors["embed"].numpy().astype(np.int64)
            self.edges = _weights(tensors["edges"])
            self.gather = [_weights(tensors[f"gather.{i}"]) for i in range(len(self.steps) - 1)]
            self.cross = _weights(tensors["cross"]) if "cross" in tensors else None
            self.heads = [
                (_shift(tensors[f"heads.{i}.seen.shift"]), _Layer(tensors, f"heads.{i}.inner"), _Layer(tensors, f"heads.{i}.outer"))
                for i in range(len(self.steps))
            ]  # fmt: skip
        except KeyError as error:
            raise ModelError(f"a model of the codec 'hyper' lacks {error}") from None
        self.magnitude = torch.from_numpy(magnitude_table().astype(np.float32))

    def begin(self, quality: int, active: np.ndarray) -> Tensor:
        """Features before the first step.

        Parameters
        ----------
        quality : int
            As stored.
        active : ndarray of bool, shape (h, w)

        Returns
        -------
        Tensor, shape (1, width, h, w)
            Integers below 2^24.
        """
        start = torch.from_numpy(interpolated(self.embed, quality).astype(np.float32))
        total = conv2d(torch.from_numpy(active[None, None].astype(np.float32)), self.edges, padding=1)
        total += start[:, None, None]
        return _last(total)

    def results(self, number: int, total: Tensor, rows: Tensor) -> np.ndarray:
        """Means and log₂ scales of a step's values.

        Parameters
        ----------
        number : int
            Of the step.
        total : Tensor, shape (1, width, h, w)
        rows : Tensor of int64, shape (P,)
            Positions, row · w + column.

        Returns
        -------
        ndarray of int64, shape (P, 2·channels of the step)
            In units of 1/256 deviation and 1/256 octave.
        """
        seen, inner, outer = self.heads[number]
        assert outer.matrix is not None
        flat = total.permute(0, 2, 3, 1).reshape(-1, total.shape[1])
        at = _held(torch.floor(flat.index_select(0, rows) * seen))
        out = torch.floor((inner.rows(at) @ outer.matrix + outer.bias) * outer.shift)
        return out.numpy().astype(np.int64)

    def add(self, number: int, total: Tensor, rows: Tensor, seen: np.ndarray) -> None:
        """Add to the features what a step has decoded.

        Parameters
        ----------
        number, total, rows
            As for `results`; `total` is changed.
        seen : ndarray of int, shape (P, channels of the step)
            In units of 1/32 deviation, within ±255.
        """
        if number == len(self.gather):
            return
        weight = self.gather[number]
        _, _, h, w = total.shape
        plane = torch.zeros(h * w, weight.shape[1])
        plane[rows] = self._features(seen)
        plane = plane.view(1, h, w, -1).permute(0, 3, 1, 2)
        total += conv2d(plane, weight, padding=weight.shape[-1] // 2)

    def add_band(self, total: Tensor, seen: np.ndarray) -> None:
        """Add to the features what is known of another band: int, shape (h·w, channels)."""
        assert self.cross is not None
        _, _, h, w = total.shape
        plane = self._features(seen).view(1, h, w, -1).permute(0, 3, 1, 2)
        total += conv2d(plane, self.cross, padding=self.cross.shape[-1] // 2)

    def _features(self, seen: np.ndarray) -> Tensor:
        values = torch.from_numpy(seen.astype(np.float32))
        return torch.cat([values, self.magnitude[values.abs().int()]], 1)


class _Layer:
    """A convolution, bias, division and rectifier."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str):
        self.weight = _weights(tensors[f"{name}.weight"])
        self.bias = tensors[f"{name}.bias"].float()
        self.shift = _shift(tensors[f"{name}.shift"])
        self.matrix = self.weight.flatten(1).T.contiguous() if self.weight.shape[-1] == 1 else None

    def __call__(self, x: Tensor) -> Tensor:
        out = conv2d(_last(x), self.weight, self.bias, padding=self.weight.shape[-1] // 2)
        return _held(torch.floor(out * self.shift[:, None, None]))

    def rows(self, x: Tensor) -> Tensor:
        """The same for a 1×1 convolution on (P, channels)."""
        assert self.matrix is not None
        return _held(torch.floor(torch.addmm(self.bias, x, self.matrix) * self.shift))


@lru_cache(maxsize=1)
def check_exact() -> None:
    """Refuse a machine that rounds float32 products: settings of PyTorch or of its libraries can ask for that.

    Raises
    ------
    ModelError
    """
    x = _last(torch.arange(64 * 49, dtype=torch.float32).view(1, 64, 7, 7) % 1021)
    weight = _last(torch.arange(16 * 64 * 9, dtype=torch.float32).view(16, 64, 3, 3) % 23 - 11)
    wide = conv2d(x.double(), weight.double(), padding=1)
    rows, matrix = x.flatten(2)[0].T.contiguous(), weight[:, :, 1, 1].T.contiguous()
    exact = (conv2d(x, weight, padding=1).double() == wide).all()
    if not exact or not ((rows @ matrix).double() == rows.double() @ matrix.double()).all():
        raise ModelError(
            "float32 products are rounded here, so files of the codec 'hyper' cannot be read: "
            "set torch.set_float32_matmul_precision('highest') and unset ONEDNN_DEFAULT_FPMATH_MODE"
        )


def clipped_seen(values: np.ndarray) -> np.ndarray:
    """Latents in units of 1/32 deviation, held within what the networks see."""
    return np.clip(values, -SEEN_LARGEST, SEEN_LARGEST)


def _held(x: Tensor) -> Tensor:
    return x.clamp_(0, LARGEST_ACTIVATION)


def _weights(tensor: Tensor) -> Tensor:
    return _last(tensor.float())


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _shift(tensor: Tensor) -> Tensor:
    """2^−s of stored shifts s."""
    return torch.exp2(-tensor.float())
