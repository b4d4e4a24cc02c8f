"""Training throughput compared to a plain PyTorch loop with the same network. Goal: 1.5 times as fast on a CPU.

    python benchmarks/training.py [--threads 1] [--steps 15] [--rounds 5] [--device cpu] [--json FILE]

Both precisions of `TrainSpec` are timed. With ``bfloat16``, as in the quick plan, convolutions are multiplied in bfloat16 if
the processor supports it (AVX-512 BF16), and the weights stay float32; otherwise it equals ``float32``. In float32 both loops
call the same convolutions, which take most of the time and bound the ratio.

The plain loop has a Dataset that cuts, flips and rotates patches of NumPy arrays, a DataLoader, the network in PyTorch's
default memory order with its linear path as a strided convolution and its folding as PixelUnshuffle, default Adam, and
``loss.item()`` after each step. The outputs of both networks are compared before timing. The loop of sarlab additionally
averages weights, clips gradients and follows a schedule.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

GOAL = 1.5
#: architecture, initialization, width, depth
CASES = (("plain", "klt", 16, 1), ("residual", "klt", 16, 1), ("attention", "klt", 16, 1), ("plain", "scratch", 32, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1, as in the quick plan)")
    parser.add_argument("--steps", type=int, default=15, help="steps of each round (default: 15)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each loop, in turn (default: 5)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    # Read by the libraries when they are loaded, which is below.
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import torch

    from sarlab.files import write_json
    from sarlab.models.autoencoders import build_model
    from sarlab.models.data import TrainingData
    from sarlab.scenes.catalog import load_split
    from sarlab.specs import ModelSpec, SceneSpec, TrainSpec

    torch.set_num_threads(arguments.threads)
    data = TrainingData.from_split(load_split(SceneSpec("bigearthnet")))
    spec = TrainSpec(steps=arguments.steps, patch_size=112, validate_every=10**6, threads=arguments.threads)
    half = replace(spec, precision="bfloat16")
    rows = []
    print(
        f"{arguments.threads} thread(s), {spec.batch_size} patches of {spec.patch_size}² a step; million pixels per second"
    )
    print(f"{'network':18} {'obvious':>8} {'ours, float32':>14} {'ratio':>6} {'ours, bfloat16':>15} {'ratio':>6}")
    for architecture, init, width, depth in CASES:
        model = build_model(ModelSpec(architecture, 16, 16, init, width, depth), seed=0, klt=data.fit_klt)
        peer = obvious_network(model)
        x = torch.rand(2, 1, 112, 112, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(model(x).x_hat, peer(x), atol=1e-5, rtol=1e-4)
        rates: dict[str, list[float]] = {"obvious": [], "float32": [], "bfloat16": []}
        for turn in range(arguments.rounds):
            rates["obvious"].append(obvious_loop(copy.deepcopy(peer), data, spec, turn, arguments.device))
            rates["float32"].append(our_loop(copy.deepcopy(model), data, spec, turn, arguments.device))
            rates["bfloat16"].append(our_loop(copy.deepcopy(model), data, half, turn, arguments.device))
        row = {"network": f"{architecture} {init}", **{name: statistics.median(r) for name, r in rates.items()}}
        for name in ("float32", "bfloat16"):
            pairs = zip(rates[name], rates["obvious"], strict=True)
            row[f"ratio_{name}"] = statistics.median(ours / theirs for ours, theirs in pairs)
        rows.append(row)
        verdict = "" if row["ratio_bfloat16"] >= GOAL else f"  below {GOAL}"
        print(
            f"{row['network']:18} {row['obvious'] / 1e6:8.2f} {row['float32'] / 1e6:14.2f} {row['ratio_float32']:6.2f}"
            f" {row['bfloat16'] / 1e6:15.2f} {row['ratio_bfloat16']:6.2f}{verdict}"
        )
    if arguments.json:
        write_json(arguments.json, {"goal": GOAL, "threads": arguments.threads, "rows": rows})


def our_loop(model, data, spec, seed: int, device: str) -> float:
    """Pixels per second of `sarlab.models.training.train`."""
    from sarlab.models.data import TrainingData
    from sarlab.models.training import train

    return train(model, TrainingData(data.training), spec, seed=seed, device=device).pixels_per_second


def obvious_loop(model, data, spec, seed: int, device: str) -> float:
    """Pixels per second of the plain loop."""
    import numpy as np
    import torch

    images = [raster.values.numpy() for raster in data.training]
    rng = np.random.default_rng(seed)
    side = spec.patch_size

    class Patches(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return spec.steps * spec.batch_size

        def __getitem__(self, index: int) -> torch.Tensor:
            image = images[rng.integers(len(images))]
            top, left = (rng.integers(n - side + 1) for n in image.shape)
            patch = np.rot90(image[top : top + side, left : left + side], rng.integers(4))
            if rng.integers(2):
                patch = np.fliplr(patch)
            return torch.from_numpy(patch.copy())[None]

    loader = torch.utils.data.DataLoader(Patches(), batch_size=spec.batch_size, shuffle=True)
    model.to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.learning_rate)
    losses = []
    start = time.perf_counter()
    for x in loader:
        x = x.to(device)
        loss = torch.nn.functional.mse_loss(model(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return spec.steps * spec.batch_size * side * side / (time.perf_counter() - start)


def obvious_network(model):
    """Build the same network with the same weights from PyTorch's own layers in their default memory order."""
    import torch
    from torch import nn

    def plain(branch):
        return copy.deepcopy(branch).to(memory_format=torch.contiguous_format)

    class Obvious(nn.Module):
        def __init__(self):
            super().__init__()
            self.g_a, self.g_s = plain(model.g_a), plain(model.g_s)
            if model.linear is not None:
                r, c = model.spec.spatial_reduction, model.spec.latent_channels
                self.down, self.up = nn.Conv2d(1, c, r, r, bias=False), nn.ConvTranspose2d(c, 1, r, r, bias=False)
                self.mean = nn.Parameter(model.linear.mean.detach().clone())
                self.register_buffer("scale", model.linear.scale.clone())
                with torch.no_grad():
                    self.down.weight.copy_(model.linear.down.view(c, 1, r, r))
                    self.up.weight.copy_(model.linear.up.view(c, 1, r, r))

        def forward(self, x):
            if model.linear is None:
                return self.g_s(self.g_a(x - 0.5)) + 0.5
            y = self.down(x - self.mean) + self.scale * self.g_a(x - 0.5)
            return self.up(y) + self.mean + self.g_s(y / self.scale)

    return Obvious()


if __name__ == "__main__":
    main()
