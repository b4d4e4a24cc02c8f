"""Learning the decoder's estimate of the reflectivity: after everything else, which stays as it is, from simulated pairs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sarlab.codec.codec_plans import CodecPlan
from sarlab.codec.hyper.despeckling import Despeckling
from sarlab.codec.hyper.model import HyperModel
from sarlab.codec.hyper.train_heads import coded_latents, fit_head

#: Scenes that are simulated, their side, and the first of their seeds (those of the catalog are smaller).
SCENES, SIDE, FIRST_SEED = 40, 256, 5000
#: Looks are drawn evenly in their logarithm between these, the correlation of neighbors evenly below that, and the level of the
#: whole scene within this many dB of the simulator's.
LOOKS, CORRELATION, SHIFT_DB = (0.9, 20.0), 0.75, 5.0


def simulated_pairs(seed: int, count: int = SCENES, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Scenes with speckle and their reflectivity in normalized dB: two tensors of shape (count, side, side).

    Parameters
    ----------
    seed : int
    count, side : int
    """
    from sarlab.scenes.embedded import reference_normalizers
    from sarlab.scenes.simulate import SimulationSpec, simulate

    rng = np.random.default_rng([seed, FIRST_SEED])
    normalizer = reference_normalizers()["VV"]
    pairs = []
    for number in range(count):
        looks = float(np.exp(rng.uniform(*np.log(LOOKS))))
        # A quarter is white: single-look products at full resolution are.
        correlation = 0.0 if number % 4 == 0 else float(rng.uniform(0, CORRELATION))
        scene, clean = simulate(SimulationSpec(side, side, looks, correlation, seed=FIRST_SEED + number))
        shift = rng.uniform(-SHIFT_DB, SHIFT_DB)
        low, width = normalizer.low, normalizer.high - normalizer.low
        pairs.append([(np.maximum(part.data[0], -60.0) + shift - low) / width for part in (scene, clean)])
    noisy, truth = (torch.from_numpy(np.stack(parts).astype(np.float32)) for parts in zip(*pairs, strict=True))
    return noisy, truth


def train_despeckling(plan: CodecPlan, model: HyperModel) -> Despeckling:
    """An estimate for the decoded latents of a model, averaged over the second half of the steps."""
    assert plan.hyper is not None
    spec, network = plan.training, model.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed + 4)
        head = Despeckling(network.channels)
    noisy, truth = simulated_pairs(plan.seed)
    generator = torch.Generator().manual_seed(plan.seed + 5)
    low, high = spec.quality

    def loss() -> Tensor:
        x, clean = drawn(noisy, truth, spec.batch_size, spec.patch_size, generator)
        quality = low + (high - low) * torch.rand(spec.batch_size, generator=generator)
        deviation = network.deviation[:, None, None]
        latents, _ = coded_latents(model, x, quality)
        with torch.no_grad():
            # Errors are those of samples, so what is compared may be latents: the transform keeps energies but for a few percent.
            target = network.analysis(clean)
        errors = head(latents / deviation, quality) * deviation - target
        return 100 * errors.square().mean()

    fit_head(
        head, loss, steps=plan.hyper.despeckle_steps, clip_norm=spec.clip_norm,
        schedule=lambda done: min(1.0, 2 * (1 - done)),
    )  # fmt: skip
    return head


def drawn(noisy: Tensor, truth: Tensor, count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Patches of pairs at random places and in random orientations, each of shape (count, 1, side, side)."""
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    side = min(side, noisy.shape[1])
    for _ in range(count):
        scene = int(torch.randint(len(noisy), (), generator=generator))
        top, left = torch.randint(noisy.shape[1] - side + 1, (2,), generator=generator).tolist()
        turns, flip = int(torch.randint(4, (), generator=generator)), int(torch.randint(2, (), generator=generator))
        for part, source in zip(parts, (noisy, truth), strict=True):
            patch = source[scene, top : top + side, left : left + side].rot90(turns)
            part.append(patch.flip(0) if flip else patch)
    return torch.stack(parts[0])[:, None], torch.stack(parts[1])[:, None]
