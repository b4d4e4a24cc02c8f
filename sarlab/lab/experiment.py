"""An experiment is a function: one run specification → a trained network, tidy rows, a folder of files.

::

    RunSpec ─▶ scenes ─▶ KLT reference ─▶ network ─▶ train (checkpoint, resume) ─▶ measure ─▶ rows
                                                                                      │
    runs/<run_id>/  weights.safetensors  rows.csv  history.csv  examples.npz  spec.json  manifest.json (last)

The notebook `run_experiment` calls the same function and shows what comes back. This module and all it imports need
nothing but torch, NumPy, SciPy, pandas, scikit-image and safetensors, so that it runs on a bare GPU machine.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sarlab.errors import SarlabError, TrainingError
from sarlab.files import replacing, write_json
from sarlab.lab import locks
from sarlab.lab.identity import run_hash
from sarlab.lab.measure import Reconstruction, measure_band, reconstruct, throughput
from sarlab.lab.results import (
    HISTORY_COLUMNS,
    MANIFEST,
    environment,
    file_digest,
    is_complete,
    now,
    order_columns,
    read_manifest,
    read_table,
    write_table,
)
from sarlab.models.base import Autoencoder
from sarlab.models.complexity import count_parameters, macs_per_pixel
from sarlab.models.data import TrainingData
from sarlab.models.history import History
from sarlab.models.quantizers import Quantizer, build_quantizer
from sarlab.models.registry import build_model
from sarlab.models.storage import write_tensors
from sarlab.models.training import train
from sarlab.models.weights import load_model, save_model
from sarlab.scenes.catalog import Split, load_split
from sarlab.specs import RunSpec

#: Called with (step, steps, loss) at each validation.
Progress = Callable[[int, int, float], None]

#: Files of a complete run.
RESULT_FILES = (
    *("spec.json", "rows.csv", "history.csv", "weights.safetensors", "quantizer.safetensors", "examples.npz"),
)
PROGRESS = "progress.json"
#: Side of the largest window of a scene that is kept for figures, in pixels.
EXAMPLE_SIDE = 512


@dataclass
class Outcome:
    """What an experiment leaves.

    Parameters
    ----------
    spec : RunSpec
    run_id, hash : str
    rows : DataFrame
        One row per scene and band.
    history : DataFrame
    examples : dict
        ``"<scene>/<band>"`` → {"original", "reconstruction", "latent"} as arrays.
    folder : Path
        Where it is kept.
    manifest : dict
    """

    spec: RunSpec
    run_id: str
    hash: str
    rows: pd.DataFrame
    history: pd.DataFrame
    examples: dict[str, dict[str, np.ndarray]]
    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)


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
    with locks.hold(folder / ".lock"), _threads(spec.train.threads):
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
        raise OutOfTime(f"{folder.name}: stopped at step {history.steps_done} of {spec.train.steps}; run again to go on")
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


def measure(
    spec: RunSpec,
    split: Split,
    model: Autoencoder,
    quantizer: Quantizer,
    klt: Autoencoder,
    plain: Quantizer,
    device: torch.device,
) -> tuple[pd.DataFrame, dict[str, dict[str, np.ndarray]]]:
    """Rows and examples of all test scenes; scenes that cannot be measured give a row with the reason."""
    rows: list[dict[str, Any]] = []
    examples: dict[str, dict[str, np.ndarray]] = {}
    for role, scenes in (("test", split.test), ("independent", split.independent)):
        for scene in scenes:
            for name in scene.bands:
                band = scene.band(name)
                normalizer = split.normalizers[name]
                done = reconstruct(model, band, normalizer, quantizer, device)
                reference = reconstruct(klt, band, normalizer, plain, device)
                clean = split.clean.get(scene.name)
                clean_db = clean.band(name).data[0] if clean is not None else None
                rows.append({"split": role, **measure_band(band, done, normalizer, reference, clean_db)})
                if role == "test":
                    examples[f"{scene.name}/{name}"] = example(done)
    for name, reason in split.excluded:
        rows.append({"split": "test", "scene": name, "reason": reason})
    described = describe(spec)
    return pd.DataFrame([{**described, **row} for row in rows]), examples


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


def describe(spec: RunSpec) -> dict[str, Any]:
    """Columns of a row that follow from the specification alone."""
    model, quantizer, settings = spec.model, spec.quantizer, spec.train
    return {
        "architecture": model.architecture,
        "init": "klt" if model.architecture == "klt" else model.init,
        "spatial_reduction": model.spatial_reduction,
        "latent_channels": model.latent_channels,
        "width": model.width,
        "depth": model.depth,
        "quantizer": quantizer.label,
        "bits": quantizer.bits,
        "granularity": quantizer.granularity,
        "calibration": quantizer.calibration,
        "quantizer_training": quantizer.training,
        "steps": 0 if model.architecture == "klt" else settings.steps,
        "batch_size": settings.batch_size,
        "patch_size": settings.patch_size,
        "seed": spec.seed,
        "dimension_ratio": model.dimension_ratio,
        "nominal_cr": model.dimension_ratio * 32 / quantizer.bits,
    }


def example(done: Reconstruction) -> dict[str, np.ndarray]:
    """A window for figures, at most `EXAMPLE_SIDE` pixels a side, from the middle of the scene."""
    height, width = done.original_db.shape
    top, left = max(0, (height - EXAMPLE_SIDE) // 2), max(0, (width - EXAMPLE_SIDE) // 2)
    window = (slice(top, top + EXAMPLE_SIDE), slice(left, left + EXAMPLE_SIDE))
    return {
        "original": done.original_db[window].astype(np.float16),
        "reconstruction": done.reconstruction_db[window].astype(np.float16),
        "latent": done.latent.astype(np.float16),
    }


# --- the folder of a run ----------------------------------------------------------------------------------------------


def save(
    outcome: Outcome,
    model: Autoencoder,
    quantizer: Quantizer,
    split: Split,
    *,
    device: torch.device,
    started: str,
    seconds: float,
) -> None:
    """Write everything, the manifest last: a folder with a manifest is complete."""
    spec, folder = outcome.spec, outcome.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    write_json(folder / "spec.json", spec.to_dict())
    write_table(outcome.rows, folder / "rows.csv")
    write_table(outcome.history, folder / "history.csv")
    save_model(
        folder / "weights.safetensors",
        model,
        normalizers=split.normalizers,
        provenance={"run_id": outcome.run_id, "hash": outcome.hash, "data": split.digest},
    )
    if quantizer.state_dict():
        write_tensors(folder / "quantizer.safetensors", quantizer.state_dict(), quantizer.config())
    with replacing(folder / "examples.npz") as temporary:
        arrays = {f"{key}/{part}": array for key, parts in outcome.examples.items() for part, array in parts.items()}
        np.savez_compressed(temporary, **arrays)
    names = [path.name for path in sorted(folder.iterdir()) if path.name in RESULT_FILES]
    outcome.manifest = {
        "run_id": outcome.run_id,
        "hash": outcome.hash,
        "label": spec.label,
        "spec": spec.to_dict(),
        "data": {"digest": split.digest, "note": split.note},
        "device": device_name(device),
        "seed": spec.seed,
        "threads": spec.train.threads,
        "started": started,
        "finished": now(),
        "seconds": round(seconds, 2),
        **environment(),
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)} for name in names
        },
    }
    write_json(folder / MANIFEST, outcome.manifest)
    for leftover in (*folder.glob("checkpoint*"), folder / PROGRESS):
        leftover.unlink(missing_ok=True)


def load(folder: str | Path) -> Outcome:
    """Read a complete run back.

    Raises
    ------
    SarlabError
        If the folder holds no complete run.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise SarlabError(f"{folder}: no complete run here; run 'sarlab sweep' first")
    examples: dict[str, dict[str, np.ndarray]] = {}
    with np.load(folder / "examples.npz", allow_pickle=False) as stored:
        for key in stored.files:
            name, _, part = key.rpartition("/")
            examples.setdefault(name, {})[part] = stored[key]
    return Outcome(
        spec=RunSpec.from_dict(json.loads((folder / "spec.json").read_text(encoding="utf-8"))),
        run_id=manifest["run_id"],
        hash=manifest["hash"],
        rows=read_table(folder / "rows.csv"),
        history=read_table(folder / "history.csv"),
        examples=examples,
        folder=folder,
        manifest=manifest,
    )


def load_network(folder: str | Path) -> Autoencoder:
    """Trained network of a complete run."""
    return load_model(Path(folder) / "weights.safetensors").model


# --- the machine ------------------------------------------------------------------------------------------------------


def pick_device(name: str) -> torch.device:
    """Device by name; ``"auto"`` is CUDA where there is one.

    Raises
    ------
    SarlabError
        If CUDA is asked for and missing.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SarlabError(f"unknown device '{name}'; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SarlabError("no CUDA device on this machine; use --device cpu or auto")
    return device


def device_name(device: torch.device) -> str:
    """Name for tables: the GPU's, or the processor's."""
    from sarlab.lab.results import processor

    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MB: of the device's allocator on CUDA, of the process otherwise."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
