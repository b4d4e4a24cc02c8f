"""Small trainings from scratch for questions that a grid of runs cannot answer: a row per network, scene and band.

=========  ==================================================================================================
sweep      what varies, everything else being equal
=========  ==================================================================================================
width      channels of the first layer × amount of training data: all patches, or one of them
steps      length of the training, at a mild and a strong ratio: are the networks of the plan fully trained?
positions  latents of 16×16 down to a single position for 256×256 pixels, on simulated scenes of that size
memory     images of 256×256 per step: peak of a separate process, compared with the estimate from shapes
=========  ==================================================================================================
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch

from sarlab.lab.cost import training_mb
from sarlab.lab.evaluate import Journal
from sarlab.lab.inputs import measurable
from sarlab.lab.machine import device_name, process_peak_mb
from sarlab.lab.measure import reconstruct
from sarlab.lab.studies import Context, alone, study
from sarlab.metrics.fidelity import psnr
from sarlab.models.autoencoders import build_model
from sarlab.models.complexity import count_parameters, macs_per_pixel
from sarlab.models.data import TrainingData
from sarlab.models.quantizers import build_quantizer
from sarlab.models.training import cpu_threads, train
from sarlab.scenes.catalog import Split, load_split
from sarlab.scenes.radiometry import Normalizer
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec, content_hash

#: The guide's pyramid at 16×16×16 for 256×256 pixels, and how it is trained.
MODEL = ModelSpec("plain", 16, 16, "scratch", width=32, depth=0)
TRAIN = TrainSpec(
    steps=300, batch_size=4, patch_size=96, learning_rate=2e-3, warmup_steps=50, validate_every=100, precision="bfloat16",
)  # fmt: skip
#: Widths, each with the seeds it is trained from.
WIDTHS = {16: (0, 1), 32: (0, 1), 64: (0, 1)}
#: Latent channels → lengths in steps.
STEPS = {16: (800, 1600), 64: (800, 1600)}
#: Shapes of 1024 values for 256×256 pixels, with widths of equal multiplications, and the scenes they are trained on.
POSITIONS = ((16, 4, 32), (32, 16, 29), (256, 1024, 28))
POSITION_SCENES = SceneSpec("simulated-l4.4")
POSITION_TRAIN = replace(TRAIN, steps=200, batch_size=2, patch_size=256)
#: Batches that the guide states the memory of, and its network.
BATCHES, MEMORY_MODEL = (4, 8, 16), replace(MODEL, width=64)


@dataclass(frozen=True)
class Training:
    """One training of the study."""

    sweep: str
    #: Of the property that varies.
    value: float
    scenes: SceneSpec
    model: ModelSpec
    train: TrainSpec
    seed: int = 0
    #: Training data: "all" or "one".
    patches: str = "all"


@study("trainings", version=1)
def trainings(context: Context) -> pd.DataFrame:
    """All sweeps; finished trainings are kept in a journal, so that an interrupted study resumes."""
    journal = Journal(context.folder / "trainings.jsonl")
    with cpu_threads(1):
        for item in plan(context.scenes):
            split = context.split if item.scenes == context.scenes else load_split(item.scenes)
            key = content_hash(repr(item), split.digest)
            if key not in journal.rows:
                journal.add(key, {"rows": list(rows_of(item, split))})
        for batch in BATCHES:
            key = content_hash("memory", batch)
            if key not in journal.rows:
                journal.add(key, {"rows": [alone(memory_row, batch)]})
    return pd.DataFrame([row for entry in journal.rows.values() for row in entry["rows"]])


def plan(scenes: SceneSpec) -> Iterator[Training]:
    """Trainings of the study, cheap ones first in each sweep."""
    for width, seeds in WIDTHS.items():
        for patches in ("all", "one"):
            for seed in seeds:
                yield Training("width", width, scenes, replace(MODEL, width=width), TRAIN, seed, patches)
    for reduction, channels, width in POSITIONS:
        model = replace(MODEL, spatial_reduction=reduction, latent_channels=channels, width=width)
        yield Training("positions", reduction, POSITION_SCENES, model, POSITION_TRAIN)
    for channels, lengths in STEPS.items():
        for steps in lengths:
            model = replace(MODEL, latent_channels=channels)
            longer = replace(TRAIN, steps=steps, validate_every=max(1, steps // 8))
            yield Training("steps", steps, scenes, model, longer)


def rows_of(item: Training, split: Split) -> Iterator[dict[str, Any]]:
    """Train, and measure every band of the training, test and independent scenes."""
    learned = split if item.patches == "all" else replace(split, train=split.train[:1])
    data = TrainingData.from_split(learned)
    model = build_model(item.model, seed=item.seed, klt=data.fit_klt)
    history = train(model, data, item.train, seed=item.seed)
    about = {
        **describe(item), "training_pixels": sum(raster.values.numel() for raster in data.training),
        "best_step": history.best_step, "collapsed": history.collapsed, "train_seconds": history.seconds,
        "train_pixels_per_s": history.pixels_per_second,
    }  # fmt: skip
    quantizer = build_quantizer(QuantizerSpec(), item.model.latent_channels)
    for band in measurable(learned, ("train", "test", "independent")):
        done = reconstruct(model.eval(), band.scene, Normalizer(*band.clip), quantizer, torch.device("cpu"))
        yield {
            **about, **band.columns, "psnr_db": float(psnr(done.original_db, done.reconstruction_db, clip=band.clip)),
        }  # fmt: skip


def describe(item: Training) -> dict[str, Any]:
    """Columns that follow from the description of the training."""
    model, settings = item.model, item.train
    return {
        "sweep": item.sweep, "value": item.value, "architecture": model.architecture, "init": model.init,
        "spatial_reduction": model.spatial_reduction, "latent_channels": model.latent_channels,
        "dimension_ratio": model.dimension_ratio, "width": model.width, "depth": model.depth, "seed": item.seed,
        "patches": item.patches, "steps": settings.steps, "batch_size": settings.batch_size,
        "patch_size": settings.patch_size, "macs_per_pixel": macs_per_pixel(model), "threads": settings.threads,
        "device": device_name(torch.device("cpu")),
    }  # fmt: skip


def memory_row(batch: int) -> dict[str, Any]:
    """Peak of two steps with random images of 256×256, and its estimate from shapes.

    It runs in a process that has done nothing before that could stand in its peak.
    """
    settings = replace(TRAIN, steps=2, batch_size=batch, patch_size=256, validate_every=10**9, precision="float32")
    image = torch.rand((256, 256), generator=torch.Generator().manual_seed(0)).numpy()
    data = TrainingData.from_arrays([image])
    with cpu_threads(1):
        model = build_model(MEMORY_MODEL, seed=0, klt=data.fit_klt)
        before = process_peak_mb()
        train(model, data, settings, seed=0)
    return {
        **describe(Training("memory", batch, SceneSpec(), MEMORY_MODEL, settings)), "parameters": count_parameters(model),
        "process_mb": before, "peak_mb": process_peak_mb(),
        "estimated_mb": training_mb(RunSpec(model=MEMORY_MODEL, train=settings), torch.device("cpu")),
    }  # fmt: skip
