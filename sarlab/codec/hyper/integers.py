"""From trained float networks to the integer ones of `IntegerContext`: scales by powers of two, one for each output channel.

An activation is an integer n that stands for n·2^−a, a weight one that stands for w·2^−(f − a), a sum one that stands for
s·2^−f. For each output channel f is the largest at which no sum of absolute products reaches 2^24, and a the largest at
which what was seen on training scenes fits into 0 … 1023.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sarlab.codec.hyper.arithmetic import RESULT_UNIT, SEEN_LARGEST, SEEN_UNIT, magnitude_table
from sarlab.codec.hyper.context import ContextModel, Head
from sarlab.codec.hyper.network import EXACT, LARGEST_ACTIVATION

#: Weights are stored in 16 bits.
_LARGEST_WEIGHT = 32767
#: How much larger than seen activations may become before they are held.
_ROOM = 1.5
_SEEN_SHARE = 0.9998


class Ranges:
    """Largest activations by layer, gathered while a context model runs on training scenes.

    Parameters
    ----------
    context : ContextModel
    """

    def __init__(self, context: ContextModel):
        self.context = context
        self.largest: dict[str, Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Everything that runs within is looked at."""
        hooks = []
        for i, head in enumerate(self.context.heads):
            assert isinstance(head, Head)
            hooks.append(head.inner.register_forward_hook(self._hook(f"heads.{i}.seen", f"heads.{i}.inner")))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, before: str, after: str) -> Any:
        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._take(before, inputs[0])
            self._take(after, output)

        return look

    def _take(self, name: str, x: Tensor) -> None:
        flat = relu(x.detach()).transpose(0, 1).flatten(1)
        rank = max(1, round(_SEEN_SHARE * flat.shape[1]))
        seen = _ROOM * flat.kthvalue(rank, 1).values
        self.largest[name] = torch.maximum(self.largest.get(name, seen), seen)

    def exponents(self, name: str) -> Tensor:
        """a of every channel."""
        return torch.floor(torch.log2(LARGEST_ACTIVATION / self.largest[name].double().clamp_min(1e-3)))


def integer_context(context: ContextModel, ranges: Ranges) -> dict[str, Tensor]:
    """All tensors of an `IntegerContext`."""
    found: dict[str, Tensor] = {}
    f = _total(found, context)
    for i, head in enumerate(context.heads):
        assert isinstance(head, Head)
        a = torch.minimum(ranges.exponents(f"heads.{i}.seen"), f)
        found[f"heads.{i}.seen.shift"] = (f - a).to(torch.int16)
        a = _layer(found, f"heads.{i}.inner", head.inner, a, ranges.exponents(f"heads.{i}.inner"))
        wanted = torch.full((head.outer.out_channels,), float(RESULT_UNIT.bit_length() - 1), dtype=torch.float64)
        _layer(found, f"heads.{i}.outer", head.outer, a, wanted)
    return found


def _layer(found: dict[str, Tensor], name: str, layer: Any, a: Tensor, wanted: Tensor) -> Tensor:
    """Add a layer's integers; returns the exponents of its activations: as wanted, or less where sums do not allow it."""
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    inputs = a.view(1, -1, 1, 1)

    def sums(f: Tensor) -> Tensor:
        integers = (weight * torch.exp2(f.view(-1, 1, 1, 1) - inputs)).round().abs()
        total = (
            integers.sum((1, 2, 3)) * LARGEST_ACTIVATION
            + (bias * torch.exp2(f)).abs()
            + torch.exp2((f - wanted).clamp_min(0))
            + 1
        )
        return torch.where(integers.amax((1, 2, 3)) > _LARGEST_WEIGHT, float("inf"), total)

    f = _finest(sums, len(bias))
    if (f < wanted).any() and name.endswith("outer"):
        raise ValueError(f"{name}: weights too large for exact sums")
    out = torch.minimum(f, wanted)
    shift = f - out
    found[f"{name}.weight"] = (weight * torch.exp2(f.view(-1, 1, 1, 1) - inputs)).round().to(torch.int16)
    # Half of what is cut off, so that rounding down rounds to the nearest.
    found[f"{name}.bias"] = ((bias * torch.exp2(f)).round() + torch.floor(torch.exp2(shift - 1))).to(torch.int32)
    found[f"{name}.shift"] = shift.to(torch.int16)
    return out


def _total(found: dict[str, Tensor], context: ContextModel) -> Tensor:
    """Add everything that is summed into the features; returns their exponents f."""
    seen = SEEN_UNIT.bit_length() - 1
    # (name, weights, exponents of the inputs, largest inputs, positions that can be decoded in this step)
    parts: list[tuple[str, Tensor, Tensor, Tensor, Any]] = [
        ("edges", context.edges.weight.detach().double(), torch.zeros(1).double(), torch.ones(1).double(), None)
    ]
    layers: list[tuple[str, nn.Module, Any]] = [
        (f"gather.{i}", layer, context.steps[i].places) for i, layer in enumerate(context.gather)
    ]
    if context.cross is not None:
        layers.append(("cross", context.cross, None))
    for name, layer, places in layers:
        assert isinstance(layer, nn.Conv2d)
        half = layer.in_channels // 2
        largest = torch.tensor([float(SEEN_LARGEST)] * half + [float(magnitude_table()[-1])] * half).double()
        exponents = torch.full((2 * half,), float(seen)).double()
        parts.append((name, layer.weight.detach().double(), exponents, largest, places))
    embed = context.embed.detach().double()

    def sums(f: Tensor) -> Tensor:
        total = torch.zeros(len(f), 4, dtype=torch.float64) + ((embed.abs().amax(0) * torch.exp2(f)) + 1)[:, None]
        for _, weight, exponents, largest, places in parts:
            integers = _integers(weight, f, exponents).abs()
            total += _by_parity(integers * largest.view(1, -1, 1, 1), places)
            total[integers.amax((1, 2, 3)) > _LARGEST_WEIGHT] = float("inf")
        return total.amax(1)

    f = _finest(sums, context.width)
    for name, weight, exponents, _, _ in parts:
        found[name] = _integers(weight, f, exponents).to(torch.int16)
    found["embed"] = (embed * torch.exp2(f)).round().to(torch.int32)
    return f


def _integers(weight: Tensor, f: Tensor, exponents: Tensor) -> Tensor:
    return (weight * torch.exp2(f.view(-1, 1, 1, 1) - exponents.view(1, -1, 1, 1))).round()


def _by_parity(products: Tensor, places: Iterable[tuple[int, int]] | None) -> Tensor:
    """Sums over the taps that can be other than zero, for the four parities of an output position: (outputs, 4)."""
    by_tap = products.sum(1)
    if places is None:
        return by_tap.sum((1, 2))[:, None].expand(-1, 4)
    half = by_tap.shape[-1] // 2
    known, columns = set(places), []
    for row in (0, 1):
        for column in (0, 1):
            taps = [
                by_tap[:, i, j]
                for i in range(by_tap.shape[1])
                for j in range(by_tap.shape[2])
                if ((row + i - half) % 2, (column + j - half) % 2) in known
            ]
            columns.append(torch.stack(taps).sum(0) if taps else torch.zeros(len(by_tap)).double())
    return torch.stack(columns, 1)


def _finest(sums: Any, count: int) -> Tensor:
    """Largest f of each channel at which its sums stay below 2^24."""
    f = torch.full((count,), 24.0, dtype=torch.float64)
    while True:
        over = sums(f) >= EXACT
        if not over.any():
            return f
        f = torch.where(over, f - 1, f)
