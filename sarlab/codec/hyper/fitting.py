"""From a plan to the networks of the codec `hyper`, and from trained networks to its file.

The integer networks come first. Then training scenes are coded with them, to see which table serves each scale index best:
the densities of training are Gaussian, real residuals a little less so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sarlab._version import __version__
from sarlab.codec.codec_plans import CodecPlan, GatheredScenes
from sarlab.codec.hyper.arithmetic import OCTAVE
from sarlab.codec.hyper.context import FIRST_KNOT, KNOT_COUNT, KNOT_SPACING, ContextModel
from sarlab.codec.hyper.integers import Ranges, integer_context
from sarlab.codec.hyper.model import Frozen, HyperModel
from sarlab.codec.hyper.network import IntegerContext
from sarlab.codec.hyper.objective import HyperTrained
from sarlab.codec.hyper.storage import save_model
from sarlab.codec.hyper.train_bias import train_bias
from sarlab.codec.hyper.train_despeckling import train_despeckling
from sarlab.codec.hyper.train_second import train_second
from sarlab.codec.hyper.trellis_tables import LARGEST_COUNTED, TrellisTables, fitted_tables, histogram
from sarlab.codec.tables import FAMILIES, INDICES, TABLES, code_costs
from sarlab.codec.transform import CodingTransform
from sarlab.models.data import Raster
from sarlab.models.layers import mirror_pad

#: Qualities at which ranges and tables are looked at, and the side of the piece of a scene that is looked at.
LOOKED_AT, SIDE = (12.0, 18.0, 24.0, 30.0, 38.0, 46.0), 256
#: How often tables are fitted to what was coded with those before.
FITTINGS = 4
#: Channels of coarse structure, and the qualities between which their steps become finer.
COARSE, COARSE_FROM = 4, (20.0, 26.0)
#: Largest magnitude that is counted, and counts below which an index takes the offset of all.
_COUNTED, _ENOUGH = 63, 3000


def build(plan: CodecPlan) -> HyperTrained:
    """Untrained networks of a plan; draws from PyTorch's default generator."""
    assert plan.hyper is not None
    spec = plan.hyper
    network = CodingTransform(plan.front, plan.width, spec.depth)
    context = ContextModel(network.channels, spec.groups, spec.features, spec.hidden)
    return HyperTrained(
        network, context, turned=spec.turned, rate_offset=spec.rate_offset, bias_weight=spec.bias_weight,
        speckle_weight=spec.speckle_weight, keeps_last=spec.last,
    )  # fmt: skip


def finish(plan: CodecPlan, target: Path, trained: HyperTrained, data: GatheredScenes, provenance: dict) -> None:
    """From trained networks to a model's file.

    What a second band gains is learned first, with steps as they will be, then the networks become integers and tables are fitted; the decoder's own
    networks come last, on latents as files hold them.
    """
    from sarlab.scenes.embedded import reference_normalizers

    assert plan.hyper is not None
    trained.log_gain[:, :COARSE] -= plan.hyper.coarse_finer * coarse_shares()[:, None]
    if plan.hyper.second_steps and data.pairs:
        provenance = {**provenance, "second_band_rate": round(train_second(plan, trained, data.pairs), 4)}
    entropy, model = frozen_model(plan, trained, data)
    second = integer_second(trained, data.pairs) if trained.second is not None else None
    bias = train_bias(plan, model, data) if plan.hyper.bias_steps else None
    despeckling = train_despeckling(plan, model) if plan.hyper.despeckle_steps else None
    context = trained.context
    save_model(
        target, model.network, entropy, second, model.frozen, groups=context.groups,
        name=plan.name, normalizers=reference_normalizers(), trellis=model.trellis, bias=bias, despeckling=despeckling,
        provenance={**provenance, "plan": asdict(plan), "sarlab": __version__, "torch": torch.__version__.split("+")[0]},
    )  # fmt: skip


def coarse_shares() -> Tensor:
    """Share of `HyperSpec.coarse_finer` that holds at each knot of quality."""
    low, high = COARSE_FROM
    return ((FIRST_KNOT + KNOT_SPACING * torch.arange(KNOT_COUNT) - low) / (high - low)).clamp(0, 1)


@torch.no_grad()
def frozen_model(plan: CodecPlan, trained: HyperTrained, data: GatheredScenes) -> tuple[dict[str, Tensor], HyperModel]:
    """Integer networks, and the model in memory with tables fitted to the training scenes."""
    assert plan.hyper is not None
    pieces = pieces_of(data.training)
    network, context = trained.network, trained.context
    network.mixing.copy_(trained.mixing())
    trained.turned = False
    network.half().float()
    network.orthogonalize()
    ranges = Ranges(context)
    with ranges.watching():
        for x in pieces:
            for quality in LOOKED_AT:
                trained.costs(x, None, torch.tensor([quality]), None)
    entropy = integer_context(context, ranges)
    frozen = frozen_of(trained)
    for _ in range(FITTINGS):
        frozen = with_tables(trained, entropy, frozen, pieces)
    model = model_of(trained, entropy, frozen, plan.name)
    if plan.hyper.trellis:
        model.set_trellis(trellis_tables(model, pieces))
    return entropy, model


@torch.no_grad()
def integer_second(trained: HyperTrained, pairs: Sequence[tuple[Raster, Raster]]) -> dict[str, Tensor]:
    """Integer networks of the context for second bands."""
    assert trained.second is not None
    ranges, seen = Ranges(trained.second), set()
    with ranges.watching():
        for pair in pairs:
            bands = [piece_of(band) for band in pair]
            key = bands[0].numpy().tobytes()
            if key in seen:
                continue
            seen.add(key)
            for quality in (torch.tensor([q]) for q in LOOKED_AT):
                for first, second in (bands, bands[::-1]):
                    trained.costs(second, None, quality, None, trained.decoded(first, quality))
    return integer_context(trained.second, ranges)


def pieces_of(rasters: Sequence[Raster]) -> list[Tensor]:
    """The middle of every raster, each once: (1, 1, H, W)."""
    pieces = (piece_of(raster) for raster in rasters)
    return list({piece.numpy().tobytes(): piece for piece in pieces}.values())


def piece_of(raster: Raster) -> Tensor:
    """The middle of a raster: (1, 1, H, W)."""
    height, width = raster.values.shape
    top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    return mirror_pad(raster.values[None, None, top : top + SIDE, left : left + SIDE], CodingTransform.stride)


def frozen_of(trained: HyperTrained) -> Frozen:
    """Numbers of a trained model, with heavy-tailed tables at the predicted scales: they keep what is rare."""
    logs = [trained.network.deviation.log2(), trained.log_gain]
    steps = len(trained.context.steps)
    deviations, gains = (np.rint(OCTAVE * log.detach().double().numpy()).astype(np.int64) for log in logs)
    return Frozen(
        deviations,
        gains,
        families=np.full((steps, INDICES), FAMILIES.index("heavy")),
        maps=np.tile(np.arange(INDICES), (steps, 1)),
    )


def model_of(trained: HyperTrained, entropy: dict[str, Tensor], frozen: Frozen, name: str = "unnamed") -> HyperModel:
    """Model in memory, as its file would make it."""
    context = trained.context
    integers = IntegerContext(entropy, context.groups, context.channels)
    return HyperModel(trained.network, integers, frozen, name=name, normalizers={}, content_hash=b"")


def coded_steps(model: HyperModel, pieces: Sequence[Tensor]) -> Iterator[list[Any]]:
    """Codes of the steps of every piece at every quality that is looked at."""
    for x in pieces:
        y = model.analyze(x[:, 0].numpy())
        active = np.ones((1, *y.shape[2:]), bool)
        for quality in LOOKED_AT:
            yield model.quantize(y, active, quality, None).code[0].steps


def with_tables(trained: HyperTrained, entropy: dict[str, Tensor], frozen: Frozen, pieces: Sequence[Tensor]) -> Frozen:
    """Best table for each step and scale index, from coding all pieces at all qualities with the tables of `frozen`."""
    steps = len(frozen.families)
    counts = np.zeros((steps, INDICES, _COUNTED + 1))
    model = model_of(trained, entropy, frozen)
    for steps_of_piece in coded_steps(model, pieces):
        for step, (values, indices) in enumerate(steps_of_piece):
            small = np.abs(values) <= _COUNTED
            np.add.at(counts[step], (indices[small], np.abs(values[small])), 1)
    families, maps = zip(*(best_tables(each) for each in counts), strict=True)
    return frozen._replace(families=np.stack(families), maps=np.stack(maps))


def trellis_tables(model: HyperModel, pieces: Sequence[Tensor]) -> TrellisTables:
    """Tables of a trellis for a model, from coding all pieces at all qualities with ever better ones."""
    tables = fitted_tables()
    for _ in range(FITTINGS):
        model.set_trellis(tables)
        seen = np.zeros((TABLES, 2, LARGEST_COUNTED + 1))
        for steps in coded_steps(model, pieces):
            for step in steps:
                seen += histogram(step.integers, step.quantizers, step.indices)
        tables = fitted_tables(seen)
    return tables


def best_tables(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Family and table for each scale index that code counted magnitudes best.

    Parameters
    ----------
    counts : ndarray, shape (indices, magnitudes)

    Returns
    -------
    families, tables : ndarray of int64, shape (indices,)
        Indices that were rarely seen take the family of the nearest one that was not, and are moved by as much.
    """
    index = np.arange(INDICES)
    # Bits of every index under every family and offset: (families, offsets, indices).
    offsets = np.arange(-16, 17)
    costs = np.stack([counts @ table[:, : counts.shape[1]].T.astype(np.float64) for table in code_costs()])
    moved = np.stack([costs[:, index, np.clip(index + offset, 0, INDICES - 1)] for offset in offsets], 1)
    family, offset = np.unravel_index(moved.reshape(-1, INDICES).argmin(0), moved.shape[:2])
    often = np.flatnonzero(counts.sum(1) >= _ENOUGH)
    if not len(often):
        return np.zeros(INDICES, np.int64), index
    nearest = often[np.abs(index[:, None] - often).argmin(1)]
    return family[nearest], np.clip(index + offsets[offset[nearest]], 0, INDICES - 1)
