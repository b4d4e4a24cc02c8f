"""A learned peer of the codecs: the mean-scale hyperprior, trained on the same scenes, with estimated rates.

    SARLAB_DATA=FOLDER python benchmarks/learned_peer.py train --weights FOLDER       # resumes after each network
    SARLAB_DATA=FOLDER python benchmarks/learned_peer.py measure --weights FOLDER --out book/results

One network per Lagrange multiplier, as published (Minnen, Ballé, Toderici 2018): four convolutions of stride 2 with divisive
normalization, a hyperprior of three, a Gaussian with mean and scale for each latent value. The first network trains from scratch, each
other one from its neighbor. No file is written: rates are the cross entropies of the rounded latents, which real files exceed.
"""

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from codec_goals import Item, sentinel1
from torch import Tensor, nn
from torch.nn import functional

from sarlab.codec.levels import WIDTH
from sarlab.codec.train_codec import CodecPlan, gather
from sarlab.lab.results import write_table
from sarlab.metrics import Reference, score
from sarlab.models.training import Muon

#: Lagrange multipliers in bits per pixel per dB²; the first is trained from scratch, the others after the one named.
MULTIPLIERS = {1.5: None, 5.0: 1.5, 15.0: 5.0, 0.5: 1.5, 0.15: 0.5}
FIRST_STEPS, NEXT_STEPS, BATCH, SIDE = 3000, 800, 8, 96
#: Channels inside and of the latent; the latent has more than the 256 samples of its blocks, as published for high rates.
N, M = 64, 320
NAME = "mean-scale hyperprior"


class DivisiveNormalization(nn.Module):
    """x / (β + γ|x|), or x · (β + γ|x|): generalized divisive normalization in its simplified form."""

    def __init__(self, channels: int, inverse: bool = False):
        super().__init__()
        self.inverse = inverse
        self.beta, self.gamma = nn.Parameter(torch.ones(channels)), nn.Parameter(0.1 * torch.eye(channels))

    def forward(self, x: Tensor) -> Tensor:
        norm = functional.conv2d(x.abs(), self.gamma.clamp(min=0)[..., None, None], self.beta.clamp(min=1e-3))
        return x * norm if self.inverse else x / norm


def down(a: int, b: int) -> nn.Module:
    return nn.Conv2d(a, b, 5, 2, 2)


def up(a: int, b: int) -> nn.Module:
    return nn.ConvTranspose2d(a, b, 5, 2, 2, output_padding=1)


class Hyperprior(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        g = DivisiveNormalization
        self.g_a = nn.Sequential(down(1, N), g(N), down(N, N), g(N), down(N, N), g(N), down(N, M))
        self.g_s = nn.Sequential(up(M, N), g(N, True), up(N, N), g(N, True), up(N, N), g(N, True), up(N, 1))
        self.h_a = nn.Sequential(nn.Conv2d(M, N, 3, 1, 1), nn.LeakyReLU(), down(N, N), nn.LeakyReLU(), down(N, N))
        self.h_s = nn.Sequential(up(N, M), nn.LeakyReLU(), up(M, M), nn.LeakyReLU(), nn.Conv2d(M, 2 * M, 3, 1, 1))
        # Density of the hyper-latent: a mixture of three logistics for each channel.
        self.density = nn.Parameter(torch.randn(3, 3, N) * 0.1)

    def bits_z(self, z: Tensor) -> Tensor:
        weight, mean, scale = (
            self.density.softmax(1)[0],
            self.density[1],
            functional.softplus(self.density[2] + 1) + 0.05,
        )
        x = z.unsqueeze(1)
        shape = (1, 3, N, 1, 1)
        upper, lower = (torch.sigmoid((x + d - mean.view(shape)) / scale.view(shape)) for d in (0.5, -0.5))
        return -torch.log2(((upper - lower) * weight.view(shape)).sum(1).clamp(min=1e-9)).sum()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and bits, with noise for rounding in training."""
        y = self.g_a(x)
        z = self.h_a(y)
        z_hat = z + torch.rand_like(z) - 0.5 if self.training else z.round()
        mean, scale = self.h_s(z_hat)[..., : y.shape[2], : y.shape[3]].chunk(2, 1)
        scale = functional.softplus(scale) + 0.11
        if self.training:
            error = y - mean + torch.rand_like(y) - 0.5
            y_hat = y + ((y - mean).round() + mean - y).detach()
        else:
            error = (y - mean).round()
            y_hat = mean + error
        normal = lambda v: 0.5 * torch.erfc(v / math.sqrt(2))  # noqa: E731
        size = error.abs()
        bits = -torch.log2((normal((size - 0.5) / scale) - normal((size + 0.5) / scale)).clamp(min=1e-9)).sum()
        return self.g_s(y_hat), bits + self.bits_z(z_hat)


def train(folder: Path) -> None:
    data = gather(CodecPlan("peer", source="sentinel1-all"))
    bands = [band for samples, _ in data.training for band in samples if min(band.shape) >= SIDE]
    weights = np.array([band.size for band in bands], float)
    for multiplier, origin in MULTIPLIERS.items():
        path = folder / f"hyperprior-{multiplier:g}.pt"
        if path.is_file():
            continue
        torch.manual_seed(0)
        rng, model = np.random.default_rng(0), Hyperprior().to(memory_format=torch.channels_last)
        if origin is not None:
            model.load_state_dict(torch.load(folder / f"hyperprior-{origin:g}.pt", weights_only=True)["weights"])
        steps, start = FIRST_STEPS if origin is None else NEXT_STEPS, time.perf_counter()
        averaged, rate = copy.deepcopy(model), 1e-3
        optimizer = Muon(model.parameters(), lr=rate, weight_decay=0.0, betas=(0.9, 0.95))
        for step in range(steps):
            patches = []
            for number in rng.choice(len(bands), BATCH, p=weights / weights.sum()):
                band = bands[number]
                i, j = (rng.integers(0, n - SIDE + 1) for n in band.shape)
                patch = np.rot90(band[i : i + SIDE, j : j + SIDE], rng.integers(4))
                patches.append(np.ascontiguousarray(patch[:, ::-1] if rng.integers(2) else patch))
            x = torch.from_numpy(np.stack(patches))[:, None]
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
            x_hat, bits = model(x)
            distortion = functional.mse_loss(x_hat, x) * WIDTH**2
            loss = bits / x.numel() + multiplier * distortion
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            with torch.no_grad():
                for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
                    mean.lerp_(now, 1 - min(0.995, step / (step + 10)))
            if step % 100 == 0:
                print(f"{multiplier:g}: step {step} of {steps}, {bits / x.numel():.3f} bpp, {distortion:.3f} dB²,"
                      f" {time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip
        torch.save({"weights": averaged.state_dict(), "seconds": time.perf_counter() - start}, path)


@torch.no_grad()
def measure(folder: Path, items: list[Item]) -> pd.DataFrame:
    rows = []
    for multiplier in MULTIPLIERS:
        model = Hyperprior()
        model.load_state_dict(torch.load(folder / f"hyperprior-{multiplier:g}.pt", weights_only=True)["weights"])
        model.eval()
        for item in items:
            samples, valid = item.scene.data[0], item.scene.valid[0]
            center = samples[valid].mean()
            x = torch.from_numpy(np.where(valid, (samples - center) / WIDTH, 0).astype(np.float32))[None, None]
            height, width = x.shape[2:]
            padded = functional.pad(x, (0, -width % 64, 0, -height % 64), mode="replicate")
            x_hat, bits = model(padded)
            decoded = np.where(valid, x_hat[0, 0, :height, :width].numpy() * WIDTH + center, np.nan)
            scores = score(Reference(samples, clip=item.clip), decoded, columns=("psnr_db",))
            rows.append({**item.about, "codec": NAME, "target_value": multiplier, "quality": multiplier,
                         "bytes": round(bits.item() / 8), "bpp": bits.item() / (height * width), **scores,
                         "reason": "rate estimated"})  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "measure"))
    parser.add_argument("--weights", type=Path, required=True, metavar="FOLDER", help="folder of the trained networks")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the table codec_goal_rates.csv to extend")
    args = parser.parse_args()
    args.weights.mkdir(parents=True, exist_ok=True)
    if args.action == "train":
        return train(args.weights)
    frame = measure(args.weights, list(sentinel1()))
    if args.out is None:
        print(frame.to_string(float_format=lambda v: f"{v:.3f}"))
        return None
    path = args.out / "codec_goal_rates.csv"
    kept = pd.read_csv(path)
    write_table(pd.concat([kept[kept["codec"] != NAME], frame], ignore_index=True), path)
    return None


if __name__ == "__main__":
    main()
