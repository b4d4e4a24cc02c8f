"""An experiment is a function: run specification → trained network, tidy rows, folder of files::

    RunSpec ─▶ scenes ─▶ KLT reference ─▶ network ─▶ train (checkpoint, resume) ─▶ measure ─▶ rows
                                                                                      │
    runs/<run_id>/  weights.safetensors  rows.csv  history.csv  examples.npz  spec.json  manifest.json (last)

The notebook `run_experiment` calls the same function and shows its outcome. There is a row per scene and band. At a fixed
length, each value of the latent costs its bits; range coded under one table per channel, about its entropy.
"""

import contextlib
import hashlib
import math
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psutil
import torch
from torch import Tensor

from sarlab.codec.latent_coding import LatentTables, encode_latent, fit_latent_tables, ideal_bits
from sarlab.errors import ResultsError, SarlabError, TrainingError
from sarlab.files import replacing, write_json
from sarlab.lab import results, runs
from sarlab.lab.inputs import split_inputs
from sarlab.metrics import entropy, metrics, score
from sarlab.metrics.columns import scalar
from sarlab.metrics.rate import bits_per_pixel, measured_cr
from sarlab.models.autoencoders import (
    Autoencoder,
    LatentHook,
    build_model,
    count_layers,
    count_parameters,
    load_model,
    macs_per_pixel,
    save_model,
)  # fmt: skip
from sarlab.models.data import TrainingData
from sarlab.models.quantizers import Quantized, Quantizer, build_quantizer
from sarlab.models.storage import History, write_tensors
from sarlab.models.training import NestedChannels, cpu_threads, leading_weights, train
from sarlab.scenes.catalog import Split, load_split
from sarlab.scenes.radiometry import Normalizer
from sarlab.scenes.scene import Scene
from sarlab.specs import QuantizerSpec, RunSpec

#: Called with (step, steps, loss) at each validation.
Progress = Callable[[int, int, float], None]
#: Columns of the cost of a training, which runs that share weights have in common.
TRAINING_COSTS = (
    "train_seconds", "train_pixels_per_s", "pixels_seen", "collapsed", "best_step", "converged", "last_quarter_gain_db",
)  # fmt: skip
#: Files of a complete run, without its manifest.
FILES = ("spec.json", "rows.csv", "history.csv", "weights.safetensors", "quantizer.safetensors", "examples.npz")
#: Side of the largest window of a scene that is kept for figures, in pixels.
EXAMPLE_SIDE = 512
#: Side of the image that speed is measured on, and seconds after which a measurement is not repeated.
SPEED_SIDE, LONG_SECONDS = 512, 1.0
#: Values of more bits than this are stored as they are: their low bits are noise to any table.
MOST_CODED_BITS = 16
#: Arrays by ``"<scene>/<band>/<part>"``; the parts are original, reconstruction and latent.
Examples = dict[str, np.ndarray]


@dataclass
class Outcome:
    """Result of an experiment, with one row per scene and band."""

    spec: RunSpec
    run_id: str
    hash: str
    rows: pd.DataFrame
    history: pd.DataFrame
    examples: Examples
    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)


class OutOfTime(SarlabError):
    """The time budget ended; the run resumes from its checkpoint next time."""


def run(
    spec: RunSpec, folder: str | Path, *, device: str = "auto", progress: Progress | None = None,
    time_budget: float | None = None, overwrite: bool = False, wait: bool = False,
) -> Outcome:  # fmt: skip
    """Run an experiment, or load it if `folder` holds its complete result.

    A checkpoint in the folder is resumed. After `time_budget` seconds the training stops with a checkpoint and `OutOfTime`.
    The result of another experiment is a `ResultsError` unless `overwrite`. While another process runs the experiment, it
    is `Busy`, or this one will `wait`.
    """
    folder, split = Path(folder), load_split(spec.scenes)
    digest = runs.run_hash(spec, split.digest)
    if runs.is_complete(folder, digest):
        return load(folder)
    if runs.is_complete(folder) and not overwrite:
        other = load(folder)
        own, theirs = (f" ({text})" if text else "" for text in runs.distinctions([spec, other.spec]))
        message = f"{folder} holds the finished run {other.run_id}{theirs}, not {runs.run_id(spec, split.digest)}{own}"
        raise ResultsError(f"{message}; choose another folder, or pass overwrite=True to replace it")
    with runs.hold(folder, wait=wait), cpu_threads(spec.train.threads):
        if runs.is_complete(folder, digest):  # by another process, just now
            return load(folder)
        return _run(spec, split, folder, pick_device(device), progress=progress, time_budget=time_budget)


def _run(spec: RunSpec, split: Split, folder: Path, device: torch.device, **limits: Any) -> Outcome:
    """Train or take over weights, measure, and write the folder; `limits` are progress and time budget."""
    started, start = results.now(), time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    learned = training_part(split, spec.train.scenes)
    data, channels = TrainingData.from_split(learned), spec.model.latent_channels
    basis = data.fit_klt(spec.model.spatial_reduction, channels)
    klt = build_model(replace(spec.model, architecture="klt", init="klt"), seed=spec.seed, klt=basis).to(device)
    model = build_model(spec.model, seed=spec.seed, klt=basis).to(device)
    quantizer = build_quantizer(spec.quantizer, channels, seed=spec.seed).to(device)
    # A run takes over the weights of another, or its training starts from them instead of its seed.
    base = runs.base_of(spec)
    other = base or runs.start_of(spec)
    if other is not None:
        place = folder.parent / runs.run_id(other, split.digest)
        run(other, place, device=str(device), wait=True, **limits)
        model.load_state_dict(leading_weights(load_network(place).state_dict(), model))
    if base is None:
        history, costs = fit(spec, model, quantizer, data, folder, device, **limits)
    else:
        trained = load(place)
        history, costs = trained.history, {name: trained.rows[name].iloc[0] for name in TRAINING_COSTS}
    model.eval()
    latents = training_latents(model, data, device)
    quantizer.calibrate(latents, synthesis=model.synthesis)
    plain = build_quantizer(QuantizerSpec(), channels).to(device)
    rows, examples = measure(spec, split, model, quantizer, frequencies(quantizer, latents), klt, plain, device)
    name, digest = runs.run_id(spec, split.digest), runs.run_hash(spec, split.digest)
    peak = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else process_peak_mb()
    encode, decode = coding_seconds(model, device, SPEED_SIDE)
    common = {
        "run_id": name, "hash": digest, **costs, "training_scenes": len(learned.train), "layers": count_layers(model), "parameters": count_parameters(model),
        "macs_per_pixel": macs_per_pixel(model.spec), "peak_memory_mb": peak,
        "encode_mpx_per_s": SPEED_SIDE**2 / 1e6 / encode, "decode_mpx_per_s": SPEED_SIDE**2 / 1e6 / decode,
        "threads": spec.train.threads, "device": device_name(device),
    }  # fmt: skip
    rows = pd.concat([rows, pd.DataFrame(common, index=rows.index)], axis=1)
    rows = results.order_columns(rows, results.RUN_COLUMNS)
    outcome = Outcome(spec, name, digest, rows, history, examples, folder)
    about = {"device": device_name(device), "started": started, "seconds": round(time.perf_counter() - start, 2)}
    save(outcome, model, quantizer, split, about)
    return outcome


def pick_device(name: str) -> torch.device:
    """Device by name; ``"auto"`` is CUDA if there is a GPU."""
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
    return torch.cuda.get_device_name(device) if device.type == "cuda" else results.processor()


def process_peak_mb() -> float:
    """Peak memory of this process in MB."""
    # psutil has it on Windows only, and on Linux `resource` includes the peak of the parent process.
    with contextlib.suppress(OSError):
        if found := re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="ascii")):
            return int(found[1]) * 1024 / 1e6
    if hasattr(memory := psutil.Process().memory_info(), "peak_wset"):
        return memory.peak_wset / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024) / 1e6


def training_part(split: Split, count: int) -> Split:
    """Keep `count` training scenes, evenly spaced in their order; those of half a count are among them. 0 keeps all."""
    scenes = split.train
    if not 0 < count < len(scenes):
        return split
    return replace(split, train=tuple(scenes[i * len(scenes) // count] for i in range(count)))


def fit(
    spec: RunSpec, model: Autoencoder, quantizer: Quantizer, data: TrainingData, folder: Path, device: torch.device,
    *, progress: Progress | None, time_budget: float | None,
) -> tuple[pd.DataFrame, dict[str, Any]]:  # fmt: skip
    """Train in place, with quantizer or random tails if the specification asks for them: history and `TRAINING_COSTS`."""
    linear, seen = spec.model.architecture == "klt", spec.quantizer.training
    hook: LatentHook | None = None if linear or seen == "none" else quantizer
    if spec.train.curve == "nested" and not linear:
        hook = NestedChannels(spec.model.latent_channels, seed=spec.seed)
    if seen in ("noise", "ste", "mixed"):  # the step follows the latents, so it needs a range to begin with
        quantizer.calibrate(training_latents(model, data, device), synthesis=model.synthesis)
    steps = runs.steps_of(spec)

    def report(history: History, steps: int) -> None:
        # Before the first step, the loss is that of the validation, if there is one.
        loss = history.losses[-1] if history.losses else history.validations[-1].loss
        if math.isnan(loss):
            return
        state = {"step": history.steps_done, "steps": steps, "loss": loss, "seconds": round(history.seconds, 2)}
        write_json(folder / runs.PROGRESS, state)
        if progress is not None:
            progress(history.steps_done, steps, loss)

    history = train(
        model, data, replace(spec.train, steps=steps), seed=spec.seed, device=device, quantizer=hook, progress=report,
        checkpoint=None if linear else folder / "checkpoint.safetensors", time_budget=time_budget,
    )  # fmt: skip
    if history.stopped == "time budget":
        raise OutOfTime(f"{folder.name}: stopped at step {history.steps_done} of {steps}; run again to continue")
    if history.stopped == "diverged":
        raise TrainingError(f"{spec.label}: the loss became infinite at step {history.steps_done}; lower learning_rate")
    costs = (
        history.seconds, history.pixels_per_second or np.nan, history.pixels, history.collapsed, history.best_step,
        history.converged, history.last_quarter_gain_db,
    )  # fmt: skip
    return history_frame(history), dict(zip(TRAINING_COSTS, costs, strict=True))


@torch.no_grad()
def training_latents(model: Autoencoder, data: TrainingData, device: torch.device) -> list[torch.Tensor]:
    """Latents of the training scenes, (1, C, h, w) each, to calibrate quantizers and fit frequencies."""
    return [model.analysis(raster.values[None, None].to(device)) for raster in data.training]


def history_frame(history: History) -> pd.DataFrame:
    """Recorded steps and validations of a training as a table, outer-joined by step."""
    if not history.steps:
        return pd.DataFrame(columns=results.HISTORY_COLUMNS[1:])
    recorded = {"step": history.steps, "loss": history.losses, "gradient_norm": history.gradient_norms}
    validations = [
        {"step": look.step, "validation_db": look.psnr_db, "spread": look.spread}
        | {f"gradient_norm/{layer}": norm for layer, norm in look.gradient_norms.items()}
        for look in history.validations
    ]
    steps = pd.DataFrame({**recorded, "learning_rate": history.learning_rates})
    joined = steps.merge(pd.DataFrame(validations), on="step", how="outer")
    joined["pixels_seen"] = joined["step"] * (history.pixels // history.steps_done)
    return joined.sort_values("step", ignore_index=True)


def save(outcome: Outcome, model: Autoencoder, quantizer: Quantizer, split: Split, about: Mapping[str, Any]) -> None:
    """Write everything, the manifest last: a folder with a manifest is complete; `about` are further keys of it."""
    spec, folder = outcome.spec, outcome.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in (results.MANIFEST, *FILES):  # of another experiment
        (folder / name).unlink(missing_ok=True)
    write_json(folder / "spec.json", spec.to_dict())
    results.write_table(outcome.rows, folder / "rows.csv")
    results.write_table(outcome.history, folder / "history.csv")
    origin = {"run_id": outcome.run_id, "hash": outcome.hash, "data": split.digest}
    save_model(folder / "weights.safetensors", model, normalizers=split.normalizers, provenance=origin)
    if quantizer.state_dict():
        write_tensors(folder / "quantizer.safetensors", quantizer.state_dict(), quantizer.config())
    with replacing(folder / "examples.npz") as temporary:
        np.savez_compressed(temporary, **outcome.examples)  # type: ignore[arg-type]
    files = {name: (folder / name).read_bytes() for name in sorted(FILES) if (folder / name).is_file()}
    outcome.manifest = {
        "run_id": outcome.run_id, "hash": outcome.hash, "label": spec.label, "spec": spec.to_dict(),
        "data": {"digest": split.digest, "note": split.note}, "seed": spec.seed, "threads": spec.train.threads, **about,
        "finished": results.now(), **results.environment(),
        "files": {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()},
    }  # fmt: skip
    write_json(folder / results.MANIFEST, outcome.manifest)
    # Files that killed processes left half-written go too; that of the notebook may belong to a process at work.
    halves = (path for path in folder.glob(".*.tmp*") if path.suffix != ".ipynb")
    for leftover in (*folder.glob("checkpoint*"), *halves, folder / runs.PROGRESS):
        leftover.unlink(missing_ok=True)


def load(folder: str | Path) -> Outcome:
    """Read a complete run back."""
    folder = Path(folder)
    if not (manifest := results.read_manifest(folder)):
        raise SarlabError(f"{folder}: no complete run here; run 'sarlab sweep PLAN' first")
    with np.load(folder / "examples.npz", allow_pickle=False) as stored:
        examples = dict(stored)
    rows, history = results.read_table(folder / "rows.csv"), results.read_table(folder / "history.csv")
    spec = RunSpec.from_dict(manifest["spec"])
    return Outcome(spec, manifest["run_id"], manifest["hash"], rows, history, examples, folder, manifest)


def load_network(folder: str | Path) -> Autoencoder:
    """Load the trained network of a complete run."""
    return load_model(Path(folder) / "weights.safetensors").model


def specification(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> RunSpec:
    """Lay the parameters that a notebook was given over its defaults, key by key within each table."""
    laid = {
        name: {**default, **given[name]} if isinstance(given[name], Mapping) else given[name]
        for name, default in defaults.items()
        if isinstance(default, Mapping)
    }
    return RunSpec.from_dict({**given, **laid})


def default_folder(spec: RunSpec) -> Path:
    """Folder of a run started by hand: ``runs/<run_id>`` below the nearest folder that has ``runs``, or here."""
    folders = (Path.cwd(), *Path.cwd().parents)
    root = next((folder for folder in folders if (folder / "runs").is_dir()), folders[0])
    return root / "runs" / runs.run_id(spec, load_split(spec.scenes).digest)


def print_progress(step: int, steps: int, loss: float) -> None:
    """Print a line to standard error, which publishing drops."""
    print(f"step {step} of {steps}, loss {loss:.4g}", file=sys.stderr)


# --- measuring ------------------------------------------------------------------------------------------------------------


class Reconstruction(NamedTuple):
    """One band after network and quantizer: images in dB, quantized latent (C, h, w), and its packed bytes and columns."""

    original_db: np.ndarray
    reconstruction_db: np.ndarray
    latent: np.ndarray
    payload_bytes: int
    columns: dict[str, float]

    def example(self) -> dict[str, np.ndarray]:
        """A window for figures, at most `EXAMPLE_SIDE` pixels a side, from the middle of the scene."""
        top, left = (max(0, (side - EXAMPLE_SIDE) // 2) for side in self.original_db.shape)
        window = (slice(top, top + EXAMPLE_SIDE), slice(left, left + EXAMPLE_SIDE))
        arrays = {"original": self.original_db[window], "reconstruction": self.reconstruction_db[window]}
        return {name: array.astype(np.float16) for name, array in {**arrays, "latent": self.latent}.items()}


@torch.no_grad()
def reconstruct(
    model: Autoencoder, scene: Scene, normalizer: Normalizer, quantizer: Quantizer, device: torch.device,
    *, tables: LatentTables | None = None,
) -> Reconstruction:  # fmt: skip
    """Pass a band in dB through network, quantizer and back from the stored bytes; invalid samples come back as NaN."""
    original, valid = scene.data[0], scene.valid[0]
    normalized = normalizer.normalize(original)
    normalized = np.where(valid, normalized, normalized[valid].mean() if valid.any() else 0.5).astype(np.float32)
    y = model.analysis(torch.from_numpy(normalized)[None, None].to(device))
    quantized = quantizer.quantize(y)
    packed = quantizer.pack(quantized)
    y_hat = quantizer.unpack(packed).to(device)
    x_hat = model.synthesis(y_hat, size=original.shape)
    restored = normalizer.denormalize(x_hat[0, 0].float().cpu().numpy()).astype(np.float32)
    restored = np.where(valid, restored, np.nan).astype(np.float32)
    columns = latent_columns(quantizer, quantized, y, tables, pixels=original.size, native_bits=scene.native_bits)
    return Reconstruction(original, restored, y_hat[0].float().cpu().numpy(), len(packed), columns)


def frequencies(quantizer: Quantizer, latents: Iterable[Tensor]) -> LatentTables | None:
    """Fit the tables of the range coder to latents of training scenes, (1, C, h, w) each; None for 32-bit values."""
    return None if max(quantizer.widths) > MOST_CODED_BITS else fit_latent_tables(quantizer, latents)


def latent_columns(
    quantizer: Quantizer, quantized: Quantized, y: Tensor, tables: LatentTables | None, *, pixels: int, native_bits: int
) -> dict[str, float]:
    """Columns ``coded_*``, ``ideal_bpp``, ``latent_*`` of a latent `y`, (1, C, h, w); without `tables` most are missing."""
    latent = y.float().cpu().numpy()
    row = {
        "saturated_share": quantized.saturated / quantized.integers.numel(),
        "dead_channels": float(entropy.dead_channels(latent).sum()),
        "effective_rank": float(scalar(entropy.effective_rank)(latent)),
    }
    if tables is None:
        return row
    symbols = quantized.integers.cpu().numpy()
    widths = ((channel, width) for channel, width in enumerate(quantizer.widths) if width)
    used = [entropy.level_usage(symbols[:, channel : channel + 1], 1 << width).item() for channel, width in widths]
    row |= {
        "ideal_bpp": (ideal_bits(quantized, tables) + 8 * quantizer.side_bytes) / pixels,
        "latent_entropy": float(entropy.channel_entropies(symbols).mean()),
        "latent_pooled_entropy": float(scalar(entropy.pooled_entropy)(symbols)),
        "latent_joint_entropy": float(scalar(entropy.joint_entropy)(symbols)) / quantizer.channels,
        "latent_spatial_entropy": float(scalar(entropy.spatial_entropy_rate)(symbols)),
        "level_usage": float(np.mean(used)) if used else float("nan"),
    }
    size = len(encode_latent(quantized, tables))
    rates = {"coded_bpp": bits_per_pixel(size, pixels), "coded_cr": measured_cr(size, pixels, native_bits=native_bits)}
    return {**row, "coded_bytes": size, **rates}


def measure(
    spec: RunSpec, split: Split, model: Autoencoder, quantizer: Quantizer, tables: LatentTables | None, klt: Autoencoder,
    plain: Quantizer, device: torch.device,
) -> tuple[pd.DataFrame, Examples]:  # fmt: skip
    """Rows and examples of all test scenes; scenes that cannot be measured give a row with the reason.

    The KLT with the same latent and `plain`, a quantizer that changes nothing, are the reference of ``gain_over_klt_db``.
    """
    rows, examples = [], Examples()
    for item in split_inputs(split):
        normalizer = Normalizer(*item.clip)
        done = reconstruct(model, item.scene, normalizer, quantizer, device, tables=tables)
        linear = reconstruct(klt, item.scene, normalizer, plain, device)
        scores, size = score(item.reference, done.reconstruction_db), done.original_db.size
        gain = scores["psnr_db"] - score(item.reference, linear.reconstruction_db, columns=["psnr_db"])["psnr_db"]
        if item.clean_db is None:
            scores.reasons = {name: why for name, why in scores.reasons.items() if not metrics[name].needs_clean}
        rows.append({
            **item.columns, "bytes": done.payload_bytes, "bpp": bits_per_pixel(done.payload_bytes, size),
            "measured_cr": measured_cr(done.payload_bytes, size, native_bits=item.scene.native_bits), **done.columns,
            **scores, "gain_over_klt_db": gain, "reason": scores.reason,
        })  # fmt: skip
        if item.split == "test":
            examples |= {f"{item.scene.name}/{item.name}/{part}": array for part, array in done.example().items()}
    measured = {row["scene"] for row in rows}
    rows += [{"split": "test", "scene": name, "reason": why} for name, why in split.excluded if name not in measured]
    return pd.DataFrame([{**describe(spec), **row} for row in rows]), examples


def describe(spec: RunSpec) -> dict[str, Any]:
    """Columns of a row that follow from the specification alone."""
    model, quantizer, settings = spec.model, spec.quantizer, spec.train
    return {
        "architecture": model.architecture, "init": "klt" if model.architecture == "klt" else model.init,
        "spatial_reduction": model.spatial_reduction, "latent_channels": model.latent_channels, "width": model.width,
        "depth": model.depth, "stem": model.stem, "quantizer": quantizer.label, "bits": quantizer.bits,
        "granularity": quantizer.granularity, "calibration": quantizer.calibration,
        "quantizer_training": quantizer.training, "curve": settings.curve, "steps": runs.steps_of(spec),
        "batch_size": settings.batch_size, "patch_size": settings.patch_size, "optimizer": settings.optimizer,
        "loss_name": settings.loss, "seed": spec.seed,
        "dimension_ratio": model.dimension_ratio, "nominal_cr": model.dimension_ratio * 32 / quantizer.bits,
    }  # fmt: skip


@torch.no_grad()
def coding_seconds(model: Autoencoder, device: torch.device, side: int, repeats: int = 3) -> tuple[float, float]:
    """Seconds of analysis and synthesis of a `side`² image: the least of some repetitions, as disturbances only add."""
    x = torch.rand((1, 1, side, side), generator=torch.Generator().manual_seed(0)).to(device)
    y = model.analysis(x)
    best = []
    for call in (lambda: model.analysis(x), lambda: model.synthesis(y, size=(side, side))):
        found: list[float] = []
        while not found or (len(found) < repeats and found[-1] < LONG_SECONDS):
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            found.append(time.perf_counter() - start)
        best.append(min(found))
    return best[0], best[1]


def reproduce(folder: str | Path, *, device: str = "auto", progress: Progress | None = None) -> pd.DataFrame:
    """Repeat a finished run from its manifest, with the runs that it depends on, and compare.

    Returns
    -------
    DataFrame
        A row per metric: ``recorded`` and ``repeated`` mean over scenes and bands, largest ``difference`` of a scene and
        band, and ``spread``: standard deviation of the mean over the seeds of this run in the same folder of runs.

    Raises
    ------
    ResultsError
        The scenes are not those of the run.
    """
    old = load(folder)
    digest = load_split(old.spec.scenes).digest
    if digest != old.manifest["data"]["digest"]:
        raise ResultsError(f"{folder}: the scenes of this run are not those of '{old.spec.scenes.source}' here and now")
    with tempfile.TemporaryDirectory(prefix="sarlab-") as name:
        new = run(old.spec, Path(name) / old.run_id, device=device, progress=progress)
    key = ["scene", "band"]
    first, second = (rows.set_index(key).select_dtypes("number") for rows in (old.rows, new.rows))
    columns = [column for column in first if column in second and column in metrics]
    complete = [path for path in sorted(Path(folder).resolve().parent.iterdir()) if runs.is_complete(path)]
    twins = [path for path in complete if (s := runs.spec_of(path)) and replace(s, seed=old.spec.seed) == old.spec]
    seeds = pd.DataFrame([load(path).rows[columns].mean() for path in twins], columns=columns)
    difference = (first[columns] - second[columns]).abs().max()
    means = {"recorded": first[columns].mean(), "repeated": second[columns].mean()}
    table = pd.DataFrame({**means, "difference": difference, "spread": seeds.std()})
    return table.dropna(subset="difference").rename_axis("metric").reset_index()
