"""Cost of runs before they run: peak memory from shapes alone, time from the measured speed of the machine::

CPU   process ── + data ── + max(KLT fit, training step, validation, test scene) ──▶ peak of the process
CUDA             data ── + max(          training step, validation, test scene) ──▶ peak of the device's allocator

time  overhead of any run (scenes, KLT, measuring) + multiplications of its training / speed of such networks
"""

import functools
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from sarlab.errors import SarlabError
from sarlab.lab import experiment
from sarlab.lab.runs import base_of, steps_of, trains
from sarlab.models import memory
from sarlab.models.autoencoders import build_model, construct, count_parameters, macs_per_pixel
from sarlab.models.data import TrainingData
from sarlab.models.training import cpu_threads, train
from sarlab.scenes.catalog import Split, load_split
from sarlab.specs import ModelSpec, RunSpec

#: On a CPU, bytes that libraries take when the KLT or the first step runs (code, threads, scratch), per pixel of a batch
#: (indices, copies in another order), and when attention is trained. Measured on networks of 0.4 to 3 million weights with
#: malloc's own settings; with those of workers that `dask worker` starts, peaks are up to 20 % lower.
LIBRARY_BYTES, PIXEL_BYTES, ATTENTION_BYTES = 95e6, {"cpu": 40, "cuda": 12}, 150e6
#: Copies of a training scene: the scene, its band normalized, and the flat copy that patches are cut from.
COPIES = 3
#: Seconds that a calibration may take, and the steps of each network that it times after one that warms up.
CALIBRATION_SECONDS, TIMED_STEPS = 20.0, 3


@functools.cache
def process_mb() -> float:
    """Memory in MB of a process that has imported what a run needs, measured by starting one."""
    probe = "from sarlab.lab.experiment import process_peak_mb; print(process_peak_mb())"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SarlabError(f"the process that measures memory did not start: {done.stderr.strip()[-300:]}")
    return float(done.stdout)


def training_mb(spec: RunSpec, device: torch.device) -> float:
    """Peak of a training step in MB, without process and data."""
    if spec.model.architecture == "klt":
        return 0.0
    fixed = LIBRARY_BYTES + ATTENTION_BYTES * (spec.model.architecture == "attention")
    pixels = spec.train.batch_size * spec.train.patch_size**2
    libraries = PIXEL_BYTES[device.type] * pixels + (fixed if device.type == "cpu" else 0.0)
    return (memory.training_bytes(spec.model, spec.train) + libraries) / 1e6


def inference_mb(model: ModelSpec, height: int, width: int, device: torch.device) -> float:
    """Peak of analysis and synthesis of one band in MB, without process and data."""
    libraries = LIBRARY_BYTES if device.type == "cpu" and model.architecture != "klt" else 0.0
    return (memory.inference_bytes(model, height, width) + libraries) / 1e6


def run_mb(spec: RunSpec, split: Split, device: torch.device) -> float:
    """Peak of a whole run on the scenes `split` in MB: of the process on a CPU, of the device's allocator on CUDA."""
    # every run times its throughput on 512 × 512 pixels
    height, width = (max(side, 512) for side in largest_scene(split))
    phases = [inference_mb(spec.model, height, width, device)]
    if trains(spec):
        phases += [training_mb(spec, device), memory.validation_bytes(spec.model) / 1e6]
    training_pixels = sum(scene.data.size for scene in split.train)
    everything = sum(scene.data.size for _, scene in split.roles())
    if device.type != "cpu":
        return 4e-6 * training_pixels * 2 + max(phases)
    phases.append((memory.klt_bytes(spec.model, training_pixels) + LIBRARY_BYTES) / 1e6)
    return process_mb() + 4e-6 * (everything + COPIES * training_pixels) + max(phases)


def largest_scene(split: Split) -> tuple[int, int]:
    """Height and width of the test scene with most pixels."""
    return max((s.data.shape[1:] for s in (*split.test, *split.independent)), key=math.prod, default=(512, 512))


def kind(spec: RunSpec) -> tuple[str, ...]:
    """Runs of one kind train at one speed."""
    return spec.model.architecture, spec.model.init, spec.train.precision, str(spec.train.threads)


@functools.lru_cache(maxsize=4096)
def work(spec: RunSpec) -> float:
    """Multiplications of a training, forward passes only; 0 if the run does not train, or cannot."""
    try:
        pixels = steps_of(spec) * spec.train.batch_size * spec.train.patch_size**2
        return pixels * macs_per_pixel(spec.model) if trains(spec) else 0.0
    except SarlabError:
        return 0.0


def run_seconds(runs: Sequence[RunSpec], device: str = "auto") -> list[float]:
    """Seconds of each run, by timing one without training and a few steps of each kind of network; takes about 20 s.

    Networks of a kind for which no time was left train at the median speed of the others.
    """
    start, rates = time.monotonic(), dict[tuple[str, ...], float]()
    linear = replace(runs[0], model=replace(runs[0].model, architecture="klt", init="klt"))
    with tempfile.TemporaryDirectory(prefix="sarlab-") as folder:
        experiment.run(linear, Path(folder) / "run", device=device)
    overhead = time.monotonic() - start
    data = TrainingData.from_split(load_split(runs[0].scenes))
    alone = TrainingData(data.training)
    for spec in {kind(spec): spec for spec in runs if work(spec)}.values():
        if rates and time.monotonic() - start > CALIBRATION_SECONDS:
            break
        few = replace(spec.train, steps=TIMED_STEPS, validate_every=10**9, curve="dedicated", first_channels=0)
        with cpu_threads(spec.train.threads):
            model = build_model(spec.model, seed=0, klt=data.fit_klt)
            train(model, alone, replace(few, steps=1), seed=0, device=experiment.pick_device(device))
            seconds = train(model, alone, few, seed=0, device=experiment.pick_device(device)).seconds
        rates[kind(spec)] = work(replace(spec, train=few)) / seconds
    usual = statistics.median(rates.values() or [math.inf])
    return [overhead + work(spec) / rates.get(kind(spec), usual) for spec in runs]


def memory_mb(runs: Sequence[RunSpec], device: str) -> list[float]:
    """Peak memory of each run in MB."""
    splits = {scenes: load_split(scenes) for scenes in {spec.scenes for spec in runs}}
    return [run_mb(spec, splits[spec.scenes], experiment.pick_device(device)) for spec in runs]


def costs(
    runs: Sequence[RunSpec], device: str = "auto", *, budget_mb: float | None = None, seconds: Sequence[float] = ()
) -> list[dict[str, Any]]:
    """Cost of every network among `runs`, those that need most memory first.

    Peaks of memory are those of a training step, of analysis and synthesis of the largest test scene, and of a whole run;
    ``largest_batch`` is -1 without `budget_mb` and for the KLT, which is not trained; ``seconds`` are those of all its runs,
    from the `seconds` of each run, None without.
    """
    where = experiment.pick_device(device)
    splits = {scenes: load_split(scenes) for scenes in {spec.scenes for spec in runs}}
    found = []
    for model in dict.fromkeys(spec.model for spec in runs):
        group = [spec for spec in runs if spec.model == model]
        spec = max(group, key=lambda s: training_mb(s, where) if base_of(s) is None else 0.0)
        split, largest = splits[spec.scenes], -1
        if budget_mb is not None and model.architecture != "klt":
            fixed = process_mb() + LIBRARY_BYTES / 1e6 if where.type == "cpu" else 0.0
            data = 4e-6 * COPIES * sum(scene.data.size for scene in split.train)
            left, pixel_bytes = 1e6 * (budget_mb - fixed - data), PIXEL_BYTES[where.type]
            largest = memory.largest_batch(model, spec.train, left, bytes_a_pixel=pixel_bytes)
        found.append({
            "network": spec.label.rsplit("-", 2)[0], **asdict(model), "runs": len(group),
            "parameters": count_parameters(construct(model, 0)), "training_mb": training_mb(spec, where),
            "inference_mb": inference_mb(model, *largest_scene(split), where), "run_mb": run_mb(spec, split, where),
            "largest_batch": largest, "batch_size": spec.train.batch_size, "patch_size": spec.train.patch_size,
            "seconds": sum(s for s, run in zip(seconds, runs, strict=True) if run.model == model) if seconds else None,
        })  # fmt: skip
    return sorted(found, key=lambda cost: -cost["run_mb"])
