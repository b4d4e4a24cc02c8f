"""The GPU of this machine: what it can do, what a training makes of it, how many runs fill it, whether the codec agrees.

    python benchmarks/gpu.py [--only utilization,agreement,codec,together] [--device cuda] [--json FILE]

utilization  share of the GPU's peak that a training step of each network of the plan `full` uses, in both precisions
agreement    the same network on the GPU and on the CPU: largest difference of latents and pictures, share of equal integers
codec        a file of the CPU decoded with the codec's networks on the GPU: latents must be the same bit for bit, which the
             checksum of every tile holds; the picture may differ by rounding
together     runs of a small plan, 1, 2, 4 … at a time on the GPU; and what the plan `full` would take at the best of them

Without a GPU nothing is measured. `--device cpu` goes through the same steps in small.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

PARTS = ("utilization", "agreement", "codec", "together")
#: Networks of the plans: architecture, start, width, depth.
CASES = (
    ("plain", "klt", 32, 1),
    ("residual", "klt", 32, 1),
    ("attention", "klt", 32, 1),
    ("residual", "scratch", 32, 1),
    ("residual", "scratch", 96, 1),
)
#: Runs at a time, and how many runs of how many steps there are.
COUNTS = {"cuda": (1, 2, 4, 8, 12), "cpu": (1, 2)}
RUNS, STEPS = {"cuda": 24, "cpu": 2}, {"cuda": 500, "cpu": 4}
#: Seconds in which the plan `full` is to be trained.
GOAL = 25 * 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help=f"which parts, comma-separated: {', '.join(PARTS)}")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu for a trial in small (default: cuda)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    import torch

    from sarlab.files import write_json

    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU on this machine: nothing is measured (--device cpu goes through the same steps in small)")
        return
    found = {"torch": torch.__version__}
    parts = {"utilization": utilization, "agreement": agreement, "codec": codec, "together": together}
    for name in arguments.only.split(","):
        print(f"== {name}", flush=True)
        found[name] = parts[name](device)
        if arguments.json:
            write_json(arguments.json, found)


def training_data():
    from sarlab.models.data import TrainingData
    from sarlab.scenes.catalog import load_split
    from sarlab.specs import SceneSpec

    return TrainingData.from_split(load_split(SceneSpec("bigearthnet")))


def utilization(device) -> list[dict]:
    """Share of the device's peak that a training step of each network uses: model FLOPs utilization."""
    import torch

    from sarlab.models.autoencoders import build_model, macs_per_pixel
    from sarlab.models.training import half_precision, train
    from sarlab.specs import ModelSpec, TrainSpec

    data, rows = training_data(), []
    steps, batch = (200, 64) if device.type == "cuda" else (3, 4)
    for precision in ("float32", "bfloat16"):
        settings = TrainSpec(steps=steps, batch_size=batch, patch_size=96, validate_every=10**9, precision=precision)
        peak = peak_flops(device, torch.bfloat16 if half_precision(settings, device) else torch.float32)
        print(f"{precision}: products of matrices at {peak / 1e12:.3g} TFLOP/s")
        for architecture, init, width, depth in CASES:
            spec = ModelSpec(architecture, 16, 16, init, width, depth)
            model = build_model(spec, seed=0, klt=data.fit_klt)
            train(model, data, replace(settings, steps=2), seed=0, device=device)
            seconds = train(model, data, settings, seed=0, device=device).seconds / steps
            # two operations for each multiply-accumulate, forwards and twice as many backwards
            flops = 6 * macs_per_pixel(spec) * batch * settings.patch_size**2
            row = {
                "network": f"{architecture} {init}", "width": width, "precision": precision, "peak_flops": peak,
                "seconds": seconds, "flops": flops, "utilization": flops / seconds / peak,
            }  # fmt: skip
            rows.append(row)
            print(
                f"  {row['network']:17} width {width:<3} {1e3 * seconds:8.3f} ms a step, "
                f"{100 * row['utilization']:5.1f} % of the peak",
                flush=True,
            )
    return rows


def peak_flops(device, dtype) -> float:
    """Operations per second of a large product of two matrices."""
    import torch

    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.rand((side, side), device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        c = a @ b
        float(c[0, 0])  # waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def agreement(device) -> list[dict]:
    """Fixed-latent networks, trained for some steps, on both devices."""
    import copy

    import torch

    from sarlab.models.autoencoders import build_model
    from sarlab.models.quantizers import build_quantizer
    from sarlab.models.training import train
    from sarlab.specs import ModelSpec, QuantizerSpec, TrainSpec

    data, rows = training_data(), []
    for architecture, init, width, depth in CASES[:4]:
        model = build_model(ModelSpec(architecture, 16, 16, init, width, depth), seed=0, klt=data.fit_klt)
        settings = TrainSpec(steps=STEPS[device.type], batch_size=4, patch_size=96, validate_every=10**9)
        train(model, data, settings, seed=0, device=device)
        x = data.validation[0].values[None, None]
        ours, theirs = copy.deepcopy(model).cpu(), model.to(device)
        with torch.no_grad():
            y, z = ours.analysis(x), theirs.analysis(x.to(device)).cpu()
            size = tuple(x.shape[-2:])
            x_hat, z_hat = ours.synthesis(y, size=size), theirs.synthesis(y.to(device), size=size).cpu()
        quantizer = build_quantizer(QuantizerSpec("affine", 8), 16)
        quantizer.calibrate([y])
        equal = float((quantizer.quantize(y).integers == quantizer.quantize(z).integers).double().mean())
        span = data.validation[0].span_db
        row = {
            "network": f"{architecture} {init}", "latent": float((y - z).abs().max() / y.std()),
            "picture_db": float((x_hat - z_hat).abs().max() * span), "equal_integers": equal,
        }  # fmt: skip
        rows.append(row)
        print(
            f"  {row['network']:17} latents differ by {row['latent']:.1e} of their deviation, pictures by "
            f"{row['picture_db']:.1e} dB, {100 * equal:.3f} % of 8-bit integers are equal",
            flush=True,
        )
    return rows


def elsewhere(device) -> AbstractContextManager:
    """Context in which convolutions and products of tensors of the CPU are computed on `device`; counts them."""
    import torch
    from torch.overrides import TorchFunctionMode

    moved = {torch.conv2d, torch.conv_transpose2d, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__}
    moved |= {torch.nn.functional.linear}

    class Elsewhere(TorchFunctionMode):
        count = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func not in moved:
                return func(*args, **(kwargs or {}))
            self.count += 1
            there = [one.to(device) if isinstance(one, torch.Tensor) else one for one in args]
            named = {k: one.to(device) if isinstance(one, torch.Tensor) else one for k, one in (kwargs or {}).items()}
            return func(*there, **named).cpu()

    return Elsewhere()


def codec(device) -> dict:
    """Decode a file of the CPU with all convolutions and products on the device."""
    import numpy as np
    import torch

    from sarlab.codec.api import compress, decompress
    from sarlab.errors import SarlabError
    from sarlab.scenes.catalog import load_split
    from sarlab.specs import SceneSpec

    # Integers up to 2^24 are exact in float32 and in nothing shorter.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    rows = {}
    scene = load_split(SceneSpec("bigearthnet")).test[0]
    for quality in (22.0, 28.0, 36.0):
        try:
            data = compress(scene, quality=quality, workers=1)
        except ImportError as error:
            print(f"  not measured: the codec needs a library that is missing here ({error})")
            return {}
        here = decompress(data, workers=1)
        mode = elsewhere(device)
        try:
            with mode:
                there = decompress(data, workers=1)
                again = compress(scene, quality=quality, workers=1)
        except SarlabError as error:
            print(f"  quality {quality:g}: NOT the same latents: {error}")
            rows[quality] = {"exact": False, "error": str(error)}
            continue
        assert mode.count, "nothing was computed on the device"
        off = float(np.nanmax(np.abs(here.data - there.data)))
        rows[quality] = {"exact": True, "picture_db": off, "same_bytes": again == data, "operations": mode.count}
        same = "the same bytes" if again == data else f"{len(again)} bytes instead of {len(data)}"
        print(
            f"  quality {quality:g}: the same latents, the picture within {off:.1e} dB; encoded there: {same}",
            flush=True,
        )
    return rows


def together(device) -> dict:
    """Throughput of several runs at a time, and the plan `full` at the best of them."""
    from sarlab.lab.cost import work
    from sarlab.lab.results import read_manifest, read_table
    from sarlab.lab.runs import build_plan, jobs_of, load_plan
    from sarlab.lab.sweep import Settings, execute

    full = load_plan("full")
    wanted = [spec for spec in full.runs if work(spec)]
    # Every tenth network of the plan, in a short training.
    picked = wanted[:: max(1, len(wanted) // RUNS[device.type])][: RUNS[device.type]]
    settings = {"steps": STEPS[device.type], "validate_every": max(1, STEPS[device.type] // 10)}
    if device.type == "cpu":
        settings |= {"batch_size": 2, "patch_size": 32}
    specs = [replace(spec, train=replace(spec.train, **settings)) for spec in picked]
    rows, frames = {}, {}
    for count in COUNTS[device.type]:
        with tempfile.TemporaryDirectory(prefix="sarlab-") as folder:
            plan = replace(build_plan("together", {}), runs=tuple(specs))
            jobs = jobs_of(plan, Path(folder))
            start = time.perf_counter()
            ended = execute(jobs, Settings("dask", device=str(device), workers=count), lambda item: None)
            seconds = time.perf_counter() - start
            assert {item.outcome for item in ended} == {"complete"}, ended
            training = sum(float(read_table(job.folder / "rows.csv")["train_seconds"].iloc[0]) for job in jobs)
            other = sum(read_manifest(job.folder)["seconds"] for job in jobs) - training
            frames[count] = {job.run_id: read_table(job.folder / "rows.csv")["psnr_db"].to_numpy(float) for job in jobs}
        rows[count] = {"seconds": seconds, "runs": len(jobs), "train_seconds": training, "other_seconds": other}
        print(
            f"  {count:2} at a time: {len(jobs)} runs in {seconds:6.1f} s; {1e3 * training / len(jobs) / settings['steps']:.2f} ms "
            f"a step, {other / len(jobs):.1f} s of each run beside its training",
            flush=True,
        )
    import numpy as np

    first = frames[COUNTS[device.type][0]]
    off = max(float(np.nanmax(np.abs(first[name] - frame[name]))) for frame in frames.values() for name in first)
    print(f"  the same rows within {off:.4f} dB")
    best = min(rows, key=lambda count: rows[count]["seconds"])
    ours = sum(work(spec) for spec in specs)
    share = sum(work(spec) for spec in wanted) / ours
    row = rows[best]
    # The work of the plan's own trainings over that of these, and the rest of a run as often as the plan has runs.
    if device.type != "cuda":
        return {"counts": rows, "rows_within_db": off, "best": best}
    estimate = (row["train_seconds"] * share + row["other_seconds"] / row["runs"] * len(full.runs)) / best
    print(
        f"  the plan full, {len(full.runs)} runs, {best} at a time: about {estimate / 60:.1f} min "
        f"(goal {GOAL / 60:.0f}): sarlab sweep full --workers {best} --no-notebook"
    )
    return {"counts": rows, "rows_within_db": off, "best": best, "full_seconds": estimate}


if __name__ == "__main__":
    main()
