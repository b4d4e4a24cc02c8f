"""PSNR lost to each latent quantizer on the KLT compared to float32, over dimension ratios.

    python benchmarks/quantizers.py [--scenes NAME_OR_PATH ...] [--seeds 0 1 2] [--runs DIR] [--json FILE]

Quantizers are calibrated on training scenes only; losses are means over the bands of all test scenes. Bits per value
include header and side information of the packed latent. A second table has the bits per value of the same latents after
range coding, with the frequencies of the training scenes and adapted to each file. Every coded latent is decoded with one
and two threads, alone and in a batch, and must be identical. *one step, range-coded* is one uniform grid for all channels
whose step gives files of 4 bits per value.

With ``--seeds``, residual networks from the KLT with 4 bits on average at 8× and 16×, quantized after or during training,
are compared to the same trainings in float32 (``sarlab sweep quantization`` runs all ratios). The goal is for files of a
fixed length, and the trellis is measured against it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.stats import entropy

from sarlab.codec.latent_coding import decode_latent, encode_latent, fit_latent_tables, ideal_bits
from sarlab.files import write_json
from sarlab.metrics.fidelity import psnr
from sarlab.models.autoencoders import build_model
from sarlab.models.data import TrainingData
from sarlab.models.quantizers import build_quantizer
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec

REDUCTION = 16
CHANNELS = (64, 32, 16, 8, 4, 2)
CHIPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "sentinel1_grd_chips"
#: name → (specification, goal as largest loss in dB, channels from which on it holds)
VARIANTS = {
    "float16": (QuantizerSpec("float16", 16), 0.05, 64),
    "bfloat16": (QuantizerSpec("bfloat16", 16), None, 0),
    "int8 channel minmax": (QuantizerSpec("affine", 8), 0.05, 64),
    "int8 channel mse": (QuantizerSpec("affine", 8, calibration="mse"), 0.05, 64),
    "int8 tensor minmax": (QuantizerSpec("affine", 8, granularity="tensor"), None, 0),
    "int6 channel mse": (QuantizerSpec("affine", 6, calibration="mse"), None, 0),
    "int4 channel minmax": (QuantizerSpec("affine", 4), None, 0),
    "int4 channel percentile": (QuantizerSpec("affine", 4, calibration="percentile"), None, 0),
    "int4 channel mse": (QuantizerSpec("affine", 4, calibration="mse"), None, 0),
    "int4 tensor minmax": (QuantizerSpec("affine", 4, granularity="tensor"), None, 0),
    "allocated 4 minmax": (QuantizerSpec("allocated", 4, calibration="minmax"), None, 0),
    "allocated 4 mse": (QuantizerSpec("allocated", 4, calibration="mse"), 0.3, 32),
    "allocated 3 mse": (QuantizerSpec("allocated", 3, calibration="mse"), None, 0),
    "allocated 2 mse": (QuantizerSpec("allocated", 2, calibration="mse"), None, 0),
    "companded 4 mse": (QuantizerSpec("companded", 4, calibration="mse"), 0.3, 32),
    "companded 3 mse": (QuantizerSpec("companded", 3, calibration="mse"), None, 0),
    "companded 2 mse": (QuantizerSpec("companded", 2, calibration="mse"), None, 0),
    "trellis 4 mse": (QuantizerSpec("trellis", 4, calibration="mse"), 0.3, 32),
    "trellis 3 mse": (QuantizerSpec("trellis", 3, calibration="mse"), None, 0),
    "trellis 2 mse": (QuantizerSpec("trellis", 2, calibration="mse"), None, 0),
    "fsq 8 mse": (QuantizerSpec("fsq", 8, calibration="mse"), None, 0),
    "fsq 4 mse": (QuantizerSpec("fsq", 4, calibration="mse"), None, 0),
    "guide 8": (QuantizerSpec("guide", 8), None, 0),
    "guide 4": (QuantizerSpec("guide", 4), None, 0),
    "guide 10": (QuantizerSpec("guide", 10), None, 0),
}  # fmt: skip
#: Variants that are range-coded too.
CODED = ("int8 channel minmax", "int8 tensor minmax", "allocated 4 mse", "companded 4 mse", "trellis 4 mse")
#: Bits of the one grid for all channels that is coded to `BUDGET` bits per value, and the goal at that budget from 8× up.
ONE_STEP, BUDGET, ONE_STEP_GOAL = (5, 6, 7, 8, 9, 10), 4.0, 0.15
#: Networks of the trained part: latent channels, steps, quantizers, and the goal for those in training.
TRAINED_CHANNELS, STEPS, TRAINED_GOAL = (32, 16), 400, 0.15
TRAINED = {
    "float32": QuantizerSpec(),
    "companded 4": QuantizerSpec("companded", 4, calibration="mse"),
    "companded 4, noise in training": QuantizerSpec("companded", 4, calibration="mse", training="noise"),
    "companded 4, rounding in training": QuantizerSpec("companded", 4, calibration="mse", training="ste"),
    "trellis 4": QuantizerSpec("trellis", 4, calibration="mse"),
    "trellis 4, noise in training": QuantizerSpec("trellis", 4, calibration="mse", training="noise"),
    "trellis 4, rounding in training": QuantizerSpec("trellis", 4, calibration="mse", training="ste"),
    "one step 7, range-coded": QuantizerSpec("affine", 7, granularity="tensor"),
    "one step 8, range-coded": QuantizerSpec("affine", 8, granularity="tensor"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = ["bigearthnet"] + ([str(CHIPS)] if CHIPS.is_dir() else [])
    parser.add_argument(
        "--scenes", nargs="+", default=default, help="names or paths (default: embedded and real chips)"
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="also train networks, with these seeds")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of those runs")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = {source: losses(source) for source in arguments.scenes}
    speeds = throughput()
    networks = trained(arguments.scenes[0], arguments.seeds, arguments.runs) if arguments.seeds else []
    if arguments.json:
        write_json(arguments.json, {"losses": figures, "values_per_s": speeds, "networks": networks})


@torch.no_grad()
def losses(source: str) -> dict[str, dict[str, dict[str, float]]]:
    """Loss in dB, bits per value and saturated share of each variant at each number of channels."""
    split = load_split(SceneSpec(source))
    data = TrainingData.from_split(split)
    skipped = dict(split.excluded)
    scenes = [s for s in (*split.test, *split.independent) if s.name not in skipped]
    print(f"\n{source}: {len(data.training)} training bands, test {', '.join(s.name for s in scenes)}")
    basis = data.fit_klt(REDUCTION, max(CHANNELS))
    table: dict[str, dict[str, dict[str, float]]] = {name: {} for name in VARIANTS}
    plain = {}
    for channels in CHANNELS:
        spec = ModelSpec("klt", REDUCTION, channels, init="klt")
        model = build_model(
            spec, seed=0, klt=type(basis)(basis.vectors[:channels], basis.mean, basis.variances[:channels])
        )
        model.eval()
        calibration = [model.analysis(r.values[None, None]) for r in data.training]
        cases = []
        for scene in scenes:
            for name in scene.bands:
                band, normalizer = scene.band(name), split.normalizers[name]
                x = np.nan_to_num(normalizer.normalize(band.data[0]), nan=0.5)
                y = model.analysis(torch.from_numpy(x)[None, None])
                cases.append((band.data[0], normalizer, y))

        def mean_psnr(restore, model=model, cases=cases) -> float:
            scores = []
            for original, normalizer, y in cases:
                x_hat = model.synthesis(restore(y), size=original.shape)[0, 0].numpy()
                clip = (normalizer.low, normalizer.high)
                scores.append(psnr(original, normalizer.denormalize(x_hat), clip=clip))
            return float(np.mean(scores))

        plain[channels] = mean_psnr(lambda y: y)
        for name, (quantizer_spec, _, _) in VARIANTS.items():
            quantizer = build_quantizer(quantizer_spec, channels)
            quantizer.calibrate(calibration, synthesis=model.synthesis)
            loss = plain[channels] - mean_psnr(lambda y, q=quantizer: q.unpack(q.pack(y)))
            values = sum(y.numel() for *_, y in cases)
            table[name][str(channels)] = {
                "loss_db": loss,
                "bits_per_value": sum(quantizer.bits(y.shape) for *_, y in cases) / values,
                "saturated": sum(quantizer.quantize(y).saturated for *_, y in cases) / values,
            }
        table.setdefault("one step, range-coded", {})[str(channels)] = {
            "loss_db": one_step(
                channels, calibration, [y for *_, y in cases], lambda r, p=plain[channels]: p - mean_psnr(r)
            )
        }
        rate = coded_bits(channels, calibration, [y for *_, y in cases])
        for name, row in rate.items():
            table.setdefault(f"coded: {name}", {})[str(channels)] = row
    report(table, plain)
    return table


def coded_bits(
    channels: int, calibration: list[torch.Tensor], latents: list[torch.Tensor]
) -> dict[str, dict[str, float]]:
    """Bits per value: packed, plug-in entropy, range-coded; and the coder's loss."""
    values = sum(y.numel() for y in latents)
    rows = {}
    for name in CODED:
        quantizer = build_quantizer(VARIANTS[name][0], channels)
        quantizer.calibrate(calibration)
        model = fit_latent_tables(quantizer, calibration)
        coded = [encode_latent(quantizer.quantize(y), model) for y in latents]
        for y, data in zip(latents, coded, strict=True):
            expected = quantizer.rounded(y)
            for threads in (1, 2):
                torch.set_num_threads(threads)
                if not torch.equal(decode_latent(quantizer, data, model), expected):
                    raise SystemExit(f"{name}: a range-coded latent did not decode to itself with {threads} threads")
            torch.set_num_threads(1)
            pair = torch.cat([y, y.flip(-1)])
            apart = torch.cat([quantizer.rounded(y), quantizer.rounded(y.flip(-1))])
            if not torch.equal(decode_latent(quantizer, encode_latent(quantizer.quantize(pair), model), model), apart):
                raise SystemExit(f"{name}: a batch of latents did not decode to what each of them does alone")
        ideal = sum(ideal_bits(quantizer.quantize(y), model) for y in latents)
        rows[name] = {
            "packed": sum(quantizer.bits(y.shape) for y in latents) / values,
            "plug_in": sum(plug_in_bits(quantizer.quantize(y).integers[0]) for y in latents) / values,
            "coded": 8 * sum(map(len, coded)) / values,
            "loss_bytes_a_file": (sum(map(len, coded)) - ideal / 8) / len(latents),
        }
    return rows


def one_step(
    channels: int, calibration: list[torch.Tensor], latents: list[torch.Tensor], loss_of: Callable[..., float]
) -> float:
    """Loss of one grid for all channels at `BUDGET` coded bits per value, interpolated in its logarithm between grids."""
    values = sum(y.numel() for y in latents)
    points = []
    for bits in ONE_STEP:
        quantizer = build_quantizer(QuantizerSpec("affine", bits, granularity="tensor"), channels)
        quantizer.calibrate(calibration)
        model = fit_latent_tables(quantizer, calibration)
        coded = 8 * sum(len(encode_latent(quantizer.quantize(y), model)) for y in latents) / values
        points.append((coded, max(loss_of(quantizer.rounded), 1e-6)))
    x, loss = np.array(points).T
    if not x[0] <= BUDGET <= x[-1]:
        raise SystemExit(
            f"one step: {BUDGET} bits per value are not between the {x[0]:.2f} and {x[-1]:.2f} of its grids"
        )
    return float(np.exp(np.interp(BUDGET, x, np.log(loss))))


def trained(source: str, seeds: list[int], runs: Path) -> list[dict[str, float | str]]:
    """Loss and bits per value of quantized networks, by quantizer, ratio and seed."""
    from sarlab.lab.experiment import run
    from sarlab.lab.runs import run_id

    scenes = SceneSpec(source)
    digest = load_split(scenes).digest
    rows: list[dict[str, float | str]] = []
    for seed in seeds:
        for channels in TRAINED_CHANNELS:
            plain = values = float("nan")
            for name, quantizer in TRAINED.items():
                spec = RunSpec(
                    scenes=scenes, model=ModelSpec("residual", REDUCTION, channels, "klt", width=16, depth=1),
                    quantizer=quantizer, train=TrainSpec(steps=STEPS, patch_size=112, learning_rate=2e-3), seed=seed,
                )  # fmt: skip
                found = run(spec, runs / run_id(spec, digest)).rows
                found = found[found["psnr_db"].notna()]
                psnr_db = float(found["psnr_db"].mean())
                if name == "float32":
                    # 4 bytes a value; pixels over the ratio would miss the values of mirrored edges.
                    plain, values = psnr_db, float(found["bytes"].sum()) / 4
                coded = found["coded_bytes"] if "coded_bytes" in found else found["bytes"] * np.nan
                rows.append(
                    {
                        "quantizer": name, "ratio": spec.model.dimension_ratio, "seed": seed, "loss_db": plain - psnr_db,
                        "packed_bits": float(8 * found["bytes"].sum() / values),
                        "coded_bits": float(8 * coded.sum() / values),
                    }
                )  # fmt: skip
    print(
        f"\n{source}: residual networks from the KLT, {STEPS} steps, seeds {seeds}; loss in dB, mean (largest) over seeds"
    )
    for name in list(TRAINED)[1:]:
        cells, worst = [], 0.0
        for channels in TRAINED_CHANNELS:
            part = [r for r in rows if r["quantizer"] == name and r["ratio"] == REDUCTION**2 / channels]
            losses_db = [float(r["loss_db"]) for r in part]
            worst = max(worst, float(np.mean(losses_db)))
            bits = [float(np.mean([float(r[key]) for r in part])) for key in ("packed_bits", "coded_bits")]
            cells.append(
                f"{REDUCTION**2 // channels:4}x {np.mean(losses_db):6.3f} ({max(losses_db):.3f}) at {bits[0]:.2f} packed, {bits[1]:.2f} coded"
            )
        goal = f"  goal <= {TRAINED_GOAL} from 8x: {'reached' if worst <= TRAINED_GOAL else 'MISSED'}"
        print(f"{name:36}" + "".join(cells) + (goal if name.startswith("trellis") and "training" in name else ""))
    return rows


def plug_in_bits(integers: torch.Tensor) -> float:
    """Plug-in entropy of a latent (C, h, w) in bits, channel by channel: too low where values are few."""
    return sum(entropy(np.bincount(plane.flatten().numpy()), base=2) * plane.numel() for plane in integers)


def report(table: dict[str, dict[str, dict[str, float]]], plain: dict[int, float]) -> None:
    print(f"{'ratio':26}" + "".join(f"{REDUCTION**2 // c:>8}x" for c in CHANNELS))
    print(f"{'float32 PSNR, dB':26}" + "".join(f"{plain[c]:9.2f}" for c in CHANNELS))
    for name, row in table.items():
        if name.startswith("coded: "):
            for what in ("packed", "plug_in", "coded", "loss_bytes_a_file"):
                print(f"{name[7:] + ', ' + what:42}" + "".join(f"{row[str(c)][what]:8.2f} " for c in CHANNELS))
            continue
        _, goal, most = VARIANTS.get(name, (None, ONE_STEP_GOAL, 32))
        reached = ""
        if goal is not None:
            worst = max(row[str(c)]["loss_db"] for c in CHANNELS if c <= most)
            reached = f"  goal <= {goal} from {REDUCTION**2 // most}x: {'reached' if worst <= goal else 'MISSED'} ({worst:.3f})"
        print(f"{name:26}" + "".join(f"{row[str(c)]['loss_db']:9.3f}" for c in CHANNELS) + reached)


def throughput(side: int = 64, channels: int = 16) -> dict[str, float]:
    """Median speed of packing and unpacking in million values per second."""
    y = torch.randn((1, channels, side, side), generator=torch.Generator().manual_seed(0))
    speeds = {}
    print(f"\n{'packing, Mvalues/s':26}{'pack':>9}{'unpack':>9}")
    for name in ("float16", "int8 channel minmax", "int4 channel minmax", "allocated 4 mse"):
        quantizer = build_quantizer(VARIANTS[name][0], channels)
        quantizer.calibrate(y)
        packed = quantizer.pack(y)
        speeds[f"{name} pack"] = median_speed(lambda q=quantizer: q.pack(y), y.numel())
        speeds[f"{name} unpack"] = median_speed(lambda q=quantizer, p=packed: q.unpack(p), y.numel())
        print(f"{name:26}{speeds[f'{name} pack']:9.1f}{speeds[f'{name} unpack']:9.1f}")
    return speeds


def median_speed(call, values: int, repeats: int = 7) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return values / 1e6 / float(np.median(seconds))


if __name__ == "__main__":
    main()
