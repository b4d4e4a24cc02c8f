"""An experiment is a function: one run specification → a trained network, tidy rows, a folder of files.

::

    RunSpec ─▶ scenes ─▶ KLT reference ─▶ network ─▶ train (checkpoint, resume) ─▶ measure ─▶ rows
                                                                                      │
    runs/<run_id>/  weights.safetensors  rows.csv  history.csv  examples.npz  spec.json  manifest.json (last)

The notebook `run_experiment` calls the same function and shows what comes back. This module and all it imports need
nothing but torch, NumPy, SciPy, pandas, scikit-image and safetensors, so that it runs on a bare GPU machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sarlab.errors import SarlabError, TrainingError
from sarlab.files import write_json
from sarlab.lab import locks
from sarlab.lab.identity import run_hash
from sarlab.lab.machine import cpu_threads, device_name, peak_memory_mb, pick_device
from sarlab.lab.measure import measure, throughput
from sarlab.lab.results import HISTORY_COLUMNS, is_complete, now, order_columns
from sarlab.lab.runfolder import PROGRESS, Outcome, load, save
from sarlab.models.base import Autoencoder
from sarlab.models.complexity import count_parameters, macs_per_pixel
from sarlab.models.data import TrainingData
from sarlab.models.history import History
from sarlab.models.quantizers import Quantizer, build_quantizer
from sarlab.models.registry import build_model
from sarlab.models.training import train
from sarlab.scenes.catalog import Split, load_split
from sarlab.specs import RunSpec

#: Called with (step, steps, loss) at each validation.
Progress = Callable[[int, int, float], None]


def run(
    spec: RunSpec,
    folder: str | Path,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    time_budget: float | None = None,
) -> Outcome:
    """Run an experiment, or load it if `folder` holds its complete result.

    Parameters
    ----------
    spec : RunSpec
    folder : path
        Folder of this run. A checkpoint found there is resumed.
    device : str
        ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    progress : callable, optional
        Called with (step, steps, loss).
    time_budget : float, optional
        Seconds after which training stops with a checkpoint and `OutOfTime` is raised.

    Raises
    ------
    SarlabError
        For impossible specifications and scenes; `locks.Busy` if another process runs the same experiment.
    """
    folder = Path(folder)
    split = load_split(spec.scenes)
    digest = run_hash(spec, split.digest)
    if is_complete(folder, digest):
        return load(folder)
    with locks.hold(folder / ".lock"), cpu_threads(spec.train.threads):
        if is_complete(folder, digest):
            return load(folder)
        return _run(spec, split, digest, folder, pick_device(device), progress, time_budget)


class OutOfTime(SarlabError):
    """The time budget ended; the run goes on from its checkpoint next time."""


def _run(
    spec: RunSpec,
    split: Split,
    digest: str,
    folder: Path,
    device: torch.device,
    progress: Progress | None,
    time_budget: float | None,
) -> Outcome:
    started, start = now(), time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    data = TrainingData.from_split(split)
    basis = data.fit_klt(spec.model.spatial_reduction, spec.model.latent_channels)
    klt = build_model(replace(spec.model, architecture="klt", init="klt"), seed=spec.seed, klt=basis).to(device)
    model = build_model(spec.model, seed=spec.seed, klt=basis).to(device)
    quantizer = build_quantizer(spec.quantizer, spec.model.latent_channels).to(device)
    linear = spec.model.architecture == "klt"
    history = train(
        model,
        data,
        replace(spec.train, steps=0) if linear else spec.train,
        seed=spec.seed,
        device=device,
        checkpoint=None if linear else folder / "checkpoint.safetensors",
        progress=follow(folder, progress),
        time_budget=time_budget,
    )
    if history.stopped == "time budget":
        raise OutOfTime(
            f"{folder.name}: stopped at step {history.steps_done} of {spec.train.steps}; run again to go on"
        )
    if history.stopped == "diverged":
        raise TrainingError(f"{spec.label}: the loss became infinite at step {history.steps_done}; lower learning_rate")
    model.eval()
    calibrate(quantizer, model, data, device)
    plain = build_quantizer(type(spec.quantizer)(), spec.model.latent_channels).to(device)
    rows, examples = measure(spec, split, model, quantizer, klt, plain, device)
    costs = {
        "parameters": count_parameters(model),
        "macs_per_pixel": macs_per_pixel(model),
        "train_seconds": history.seconds,
        "train_pixels_per_s": history.pixels_per_second or np.nan,
        "collapsed": history.collapsed,
        "best_step": history.best_step,
        "peak_memory_mb": peak_memory_mb(device),
        **throughput(model, device),
    }
    run_id = f"{spec.label}-{digest[:6]}"
    common = {"run_id": run_id, "hash": digest, **costs, "threads": spec.train.threads, "device": device_name(device)}
    rows = pd.concat([rows, pd.DataFrame(common, index=rows.index)], axis=1)
    outcome = Outcome(spec, run_id, digest, order_columns(rows), history_frame(history), examples, folder)
    save(outcome, model, quantizer, split, device=device, started=started, seconds=time.perf_counter() - start)
    return outcome


def calibrate(quantizer: Quantizer, model: Autoencoder, data: TrainingData, device: torch.device) -> None:
    """Set the quantizer's ranges from latents of training data."""
    with torch.no_grad():
        quantizer.calibrate(model.analysis(raster.values[None, None].to(device)) for raster in data.training)


def history_frame(history: History) -> pd.DataFrame:
    """Course of a training as a table: recorded steps and validations, outer-joined by step."""
    recorded = pd.DataFrame(
        {
            "step": history.steps,
            "loss": history.losses,
            "gradient_norm": history.gradient_norms,
            "learning_rate": history.learning_rates,
        }
    )
    looks = pd.DataFrame(
        [
            {
                "step": look.step,
                "validation_db": look.psnr_db,
                "spread": look.spread,
                **{f"gradient_norm/{layer}": norm for layer, norm in look.gradient_norms.items()},
            }
            for look in history.validations
        ]
    )
    if recorded.empty:
        return pd.DataFrame(columns=HISTORY_COLUMNS[1:])
    return recorded.merge(looks, on="step", how="outer").sort_values("step", ignore_index=True)


def follow(folder: Path, progress: Progress | None) -> Callable[[History, int], None]:
    """Progress of a training that also leaves ``progress.json`` in the folder of the run, for ``sarlab status``."""

    def report(history: History, steps: int) -> None:
        loss = history.losses[-1] if history.losses else float("nan")
        state = {"step": history.steps_done, "steps": steps, "loss": loss, "seconds": round(history.seconds, 2)}
        write_json(folder / PROGRESS, state)
        if progress is not None:
            progress(history.steps_done, steps, loss)

    return report
