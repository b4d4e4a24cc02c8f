"""Small trainings from scratch for questions that a grid of runs cannot answer: a row per network, scene and band.

Each sweep varies one thing::

    width      channels of the first layer × amount of training data: all patches, or one of them
    steps      length of the training, at a mild and a strong ratio: are the networks of the plan fully trained?
    positions  latents of 16×16 down to a single position for 256×256 pixels, on simulated scenes of that size
    memory     images of 256×256 per step: peak of a separate process, compared with the estimate from shapes
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch

from sarlab.lab.cost import training_mb
from sarlab.lab.experiment import describe as columns_of
from sarlab.lab.experiment import reconstruct
from sarlab.lab.inputs import measurable
from sarlab.lab.machine import device_name, process_peak_mb
from sarlab.lab.studies import Context, alone, resumed, study
from sarlab.metrics.fidelity import psnr
from sarlab.models.autoencoders import build_model, count_parameters, macs_per_pixel
from sarlab.models.data import TrainingData
from sarlab.models.quantizers import build_quantizer
from sarlab.models.training import cpu_threads, train
from sarlab.scenes.catalog import Split, load_split
from sarlab.scenes.radiometry import Normalizer
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec, content_hash

#: A plain network at 16×16×16 for 256×256 pixels, and how it is trained.
MODEL = ModelSpec("plain", 16, 16, "scratch", width=32, depth=0)
TRAIN = TrainSpec(
    steps=300, batch_size=4, patch_size=96, learning_rate=2e-3, warmup_steps=50, validate_every=100, precision="bfloat16",
)  # fmt: skip
#: Widths, each with the seeds it is trained from; latent channels → lengths in steps.
WIDTHS, STEPS = {16: (0, 1), 32: (0, 1), 64: (0, 1)}, {16: (800, 1600), 64: (1500, 3000)}
#: Shapes of 1024 values for 256×256 pixels, with widths of equal multiplications, and the scenes they are trained on.
POSITIONS = ((16, 4, 32), (32, 16, 19), (256, 1024, 18))
POSITION_SCENES = SceneSpec("simulated-l4.4")
POSITION_TRAIN = replace(TRAIN, steps=200, batch_size=2, patch_size=256)
#: Batches that the guide states the memory of, and its network.
BATCHES, MEMORY_MODEL = (4, 8, 16), replace(MODEL, width=64, stem="pyramid")


class Training(NamedTuple):
    """One training of the study: sweep, value of the property that varies, run, and training data ("all" or "one")."""

    sweep: str
    value: float
    spec: RunSpec
    patches: str = "all"


@study("trainings", version=2)
def trainings(context: Context) -> pd.DataFrame:
    """All sweeps, one training after the other."""
    items = list(plan(context.scenes))
    jobs: dict[str, Any] = {content_hash(repr(item), load_split(item.spec.scenes).digest): item for item in items}
    jobs |= {content_hash("memory", batch): batch for batch in BATCHES}
    return resumed(replace(context, workers=1), "trainings", jobs, job_rows)


def job_rows(job: "Training | int") -> list[dict[str, Any]]:
    """Rows of a training, or of the memory that a batch takes."""
    if isinstance(job, int):
        return [alone(memory_row, job)]
    with cpu_threads(1):
        return list(rows_of(job, load_split(job.spec.scenes)))


def plan(scenes: SceneSpec) -> Iterator[Training]:
    """Trainings of the study, cheap ones first in each sweep."""
    base = RunSpec(scenes, MODEL, train=TRAIN)
    for width, seeds in WIDTHS.items():
        for patches, seed in product(("all", "one"), seeds):
            yield Training("width", width, replace(base, model=replace(MODEL, width=width), seed=seed), patches)
    for reduction, channels, width in POSITIONS:
        model = replace(MODEL, spatial_reduction=reduction, latent_channels=channels, width=width)
        yield Training("positions", reduction, RunSpec(POSITION_SCENES, model, train=POSITION_TRAIN))
    for channels, lengths in STEPS.items():
        for steps in lengths:
            longer = replace(TRAIN, steps=steps, validate_every=max(1, steps // 8))
            yield Training("steps", steps, RunSpec(scenes, replace(MODEL, latent_channels=channels), train=longer))


def rows_of(item: Training, split: Split) -> Iterator[dict[str, Any]]:
    """Train, and measure every band of the training, test and independent scenes."""
    spec, learned = item.spec, split if item.patches == "all" else replace(split, train=split.train[:1])
    data = TrainingData.from_split(learned)
    model = build_model(spec.model, seed=spec.seed, klt=data.fit_klt)
    history = train(model, data, spec.train, seed=spec.seed)
    about = {
        **describe(item), "training_pixels": sum(raster.values.numel() for raster in data.training),
        "best_step": history.best_step, "collapsed": history.collapsed, "train_seconds": history.seconds,
        "train_pixels_per_s": history.pixels_per_second,
    }  # fmt: skip
    quantizer = build_quantizer(QuantizerSpec(), spec.model.latent_channels)
    for band in measurable(learned, ("train", "test", "independent")):
        done = reconstruct(model.eval(), band.scene, Normalizer(*band.clip), quantizer, torch.device("cpu"))
        found = float(psnr(done.original_db, done.reconstruction_db, clip=band.clip))
        yield {**about, **band.columns, "psnr_db": found}


def describe(item: Training) -> dict[str, Any]:
    """Columns that follow from the description of the training."""
    return {
        "sweep": item.sweep, "value": item.value, **columns_of(item.spec), "patches": item.patches, "threads": 1,
        "macs_per_pixel": macs_per_pixel(item.spec.model), "device": device_name(torch.device("cpu")),
    }  # fmt: skip


def memory_row(batch: int) -> dict[str, Any]:
    """Peak of two steps with random images of 256×256, in a fresh process, and its estimate from shapes."""
    settings = replace(TRAIN, steps=2, batch_size=batch, patch_size=256, validate_every=10**9, precision="float32")
    spec = RunSpec(model=MEMORY_MODEL, train=settings)
    data = TrainingData.from_arrays([torch.rand((256, 256), generator=torch.Generator().manual_seed(0)).numpy()])
    with cpu_threads(1):
        model = build_model(spec.model, seed=0, klt=data.fit_klt)
        before = process_peak_mb()
        train(model, data, settings, seed=0)
    return {
        **describe(Training("memory", batch, spec)), "parameters": count_parameters(model), "process_mb": before,
        "peak_mb": process_peak_mb(), "estimated_mb": training_mb(spec, torch.device("cpu")),
    }  # fmt: skip
