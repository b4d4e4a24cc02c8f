"""Networks: seconds of coding and training, the value of a bit in the latent, and trainings that a grid of runs lacks.

``cost`` times networks while one thing varies: pixels, compression ratio (channels of the latent) or width.

``latent_bits`` applies every quantizer to the KLT, the one transform that needs no training. A row states how much PSNR a
quantizer loses against float32, and the size of its file at a fixed length and range-coded. Ranges, allocations and
frequencies are learned from training scenes.

``trainings`` trains small networks from scratch, a row per network, scene and band; each sweep varies one thing::

    width      channels of the first layer × amount of training data: all patches, or one of them
    steps      length of the training, at a mild and a strong ratio: are the networks of the plan fully trained?
    positions  latents of 16×16 down to a single position for 256×256 pixels, on simulated scenes of that size
    memory     images of 256×256 per step: peak of a separate process, compared with the estimate from shapes
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch

from sarlab.lab import experiment
from sarlab.lab.cost import training_mb
from sarlab.lab.inputs import Input, measurable
from sarlab.lab.studies import Context, alone, resumed, study
from sarlab.metrics.fidelity import psnr
from sarlab.metrics.rate import bits_per_pixel, measured_cr
from sarlab.models.autoencoders import Autoencoder, build_model, count_parameters, macs_per_pixel
from sarlab.models.data import TrainingData
from sarlab.models.quantizers import Quantizer, build_quantizer
from sarlab.models.training import cpu_threads, train
from sarlab.scenes.catalog import load_split
from sarlab.scenes.radiometry import Normalizer
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec

#: Sweeps of ``cost``: side of the image, latent channels at 16× per axis, channels of the first layer.
SIDES, CHANNELS, COST_WIDTHS = (128, 256, 512, 1024), (64, 32, 16, 8, 4), (8, 16, 32, 64)
ARCHITECTURES = ("plain", "residual", "attention")
#: Network and training of all its other sweeps, and repetitions of a measurement.
COST_MODEL = ModelSpec("plain", 16, 16, "klt", width=16, depth=1)
COST_TRAIN = TrainSpec(steps=3, batch_size=4, patch_size=128, validate_every=10**9)
REPEATS = 6
#: (spatial_reduction, latent_channels) of the ratios 4 to 128, as in the plans.
LATENTS = ((16, 64), (16, 32), (16, 16), (16, 8), (32, 16), (32, 8))
#: (scheme, granularity, calibration) → bits, float32 first.
GRIDS: dict[tuple[str, str, str], tuple[int, ...]] = {
    ("float32", "channel", "minmax"): (32,),
    ("float16", "channel", "minmax"): (16,),
    ("bfloat16", "channel", "minmax"): (16,),
    ("affine", "channel", "minmax"): (2, 3, 4, 5, 6, 8),
    ("affine", "channel", "mse"): (2, 3, 4, 5, 6, 8),
    ("affine", "tensor", "minmax"): (4, 5, 6, 7, 8, 10),
    ("allocated", "channel", "mse"): (2, 3, 4, 5, 6),
    ("companded", "channel", "mse"): (2, 3, 4, 5),
    ("trellis", "channel", "mse"): (2, 3, 4, 5),
    ("fsq", "channel", "mse"): (3, 4, 6, 8),
    ("guide", "tensor", "minmax"): (4, 8, 10),
}
#: A plain network at 16×16×16 for 256×256 pixels, and how ``trainings`` trains it.
MODEL = ModelSpec("plain", 16, 16, "scratch", width=32, depth=0)
TRAIN = TrainSpec(
    steps=300, batch_size=4, patch_size=96, learning_rate=2e-3, warmup_steps=50, validate_every=100, precision="bfloat16",
)  # fmt: skip
#: Widths, each with the seeds it is trained from; latent channels → lengths in steps.
WIDTHS, STEPS = {16: (0, 1, 2), 32: (0, 1, 2), 64: (0, 1, 2)}, {16: (800, 1600), 64: (1500, 3000)}
#: Widths are compared once they have learned what they can.
WIDTH_TRAIN = replace(TRAIN, steps=6000, validate_every=500)
#: Shapes of 1024 values for 256×256 pixels, with widths of equal multiplications, and the scenes they are trained on.
POSITIONS = ((16, 4, 32), (32, 16, 19), (256, 1024, 18))
POSITION_SCENES = SceneSpec("simulated-l4.4")
POSITION_TRAIN = replace(TRAIN, steps=200, batch_size=2, patch_size=256)
#: Batches that the guide states the memory of, and its network.
BATCHES, MEMORY_MODEL = (4, 8, 16), replace(MODEL, width=64, stem="pyramid")
CPU = torch.device("cpu")

Row = dict[str, Any]


@study("cost", version=1)
def cost(context: Context) -> pd.DataFrame:
    """One row per measurement: sweep, value, network, its size, and seconds of encoding, decoding and a training step."""
    device, data = experiment.pick_device("auto"), TrainingData(TrainingData.from_split(context.split).training)
    rows: list[Row] = []
    with cpu_threads(1):
        for kept in (replace(COST_MODEL, architecture=architecture) for architecture in ARCHITECTURES):
            for side in SIDES:
                rows.append({"sweep": "pixels", "value": side * side, **coding(kept, side, data, device)})
            shapes = [("ratio", replace(kept, latent_channels=channels)) for channels in CHANNELS]
            for sweep, spec in shapes + [("width", replace(kept, width=width)) for width in COST_WIDTHS]:
                value = spec.dimension_ratio if sweep == "ratio" else spec.width
                timed = {**coding(spec, SIDES[1], data, device), **training_step(spec, data, device)}
                rows.append({"sweep": sweep, "value": value, **timed})
    return pd.DataFrame(rows).assign(device=experiment.device_name(device), threads=1)


def coding(spec: ModelSpec, side: int, data: TrainingData, device: torch.device) -> Row:
    """Seconds of analysis and synthesis of a `side`² image, with the size of the network."""
    model = build_model(spec, seed=0, klt=data.fit_klt).to(device).eval()
    encode, decode = experiment.coding_seconds(model, device, side, REPEATS)
    return {
        "architecture": spec.architecture, "init": spec.init, "width": spec.width, "latent_channels": spec.latent_channels,
        "dimension_ratio": spec.dimension_ratio, "pixels": side * side, "parameters": count_parameters(model),
        "macs_per_pixel": macs_per_pixel(spec), "encode_s": encode, "decode_s": decode,
    }  # fmt: skip


def training_step(spec: ModelSpec, data: TrainingData, device: torch.device) -> Row:
    """Seconds of one training step of `COST_TRAIN`."""
    model = build_model(spec, seed=0, klt=data.fit_klt)
    train(model, data, replace(COST_TRAIN, steps=1), seed=0, device=device)
    seconds = [train(model, data, COST_TRAIN, seed=turn, device=device).seconds / COST_TRAIN.steps for turn in range(3)]
    return {"step_s": min(seconds), "step_pixels": COST_TRAIN.batch_size * COST_TRAIN.patch_size**2}


def reconstructed(
    model: Autoencoder, quantizer: Quantizer, items: Iterable[Input], tables: Any = None
) -> Iterator[tuple[Input, experiment.Reconstruction, float]]:
    """Reconstruction and PSNR of every band."""
    for item in items:
        done = experiment.reconstruct(model, item.scene, Normalizer(*item.clip), quantizer, CPU, tables=tables)
        yield item, done, float(psnr(done.original_db, done.reconstruction_db, clip=item.clip))


@study("latent_bits", version=1)
def latent_bits(context: Context) -> pd.DataFrame:
    """One row per ratio, quantizer, and band of each test scene."""
    return resumed(context, [(context.scenes, *latent) for latent in LATENTS], ratio_rows)


@torch.no_grad()
@cpu_threads(1)
def ratio_rows(job: tuple[SceneSpec, int, int]) -> list[Row]:
    """Rows of one ratio (spatial reduction, channels) on one thread, in a process that loads the scenes itself."""
    (scenes, reduction, channels), rows = job, []
    split = load_split(scenes)
    data, items = TrainingData.from_split(split), measurable(split, ["test"])
    spec = ModelSpec("klt", reduction, channels, "klt")
    model = build_model(spec, seed=0, klt=data.fit_klt).eval()
    latents, best = experiment.training_latents(model, data, CPU), dict[Input, float]()
    for wanted in (QuantizerSpec(scheme, bits, *how) for (scheme, *how), widths in GRIDS.items() for bits in widths):
        quantizer = build_quantizer(wanted, channels)
        quantizer.calibrate(latents, synthesis=model.synthesis)
        for item, done, found in reconstructed(model, quantizer, items, experiment.frequencies(quantizer, latents)):
            pixels, size = done.original_db.size, done.payload_bytes
            rows.append({
                "spatial_reduction": reduction, "latent_channels": channels, "dimension_ratio": spec.dimension_ratio,
                "scheme": wanted.scheme, "bits": wanted.bits, "granularity": wanted.granularity,
                "calibration": wanted.calibration, "quantizer": wanted.label, **item.columns, "psnr_db": found,
                "loss_db": best.setdefault(item, found) - found,  # float32 comes first
                "values": done.latent.size, "latent_range": float(done.latent.max() - done.latent.min()),
                "side_bytes": quantizer.side_bytes, "bytes": size, "bpp": bits_per_pixel(size, pixels),
                "measured_cr": measured_cr(size, pixels, native_bits=item.scene.native_bits), **done.columns,
            })  # fmt: skip
    return rows


class Training(NamedTuple):
    """One training: sweep, value of the property that varies, run, and training data ("all" or "one" scene)."""

    sweep: str
    value: float
    spec: RunSpec
    patches: str = "all"

    @property
    def columns(self) -> Row:
        """Columns that follow from the description alone."""
        return {
            "sweep": self.sweep, "value": self.value, **experiment.describe(self.spec), "patches": self.patches, "threads": 1,
            "macs_per_pixel": macs_per_pixel(self.spec.model), "device": experiment.device_name(CPU),
        }  # fmt: skip


@study("trainings", version=3)
def trainings(context: Context) -> pd.DataFrame:
    """All sweeps, one training after the other, cheap ones first in each."""
    base, planned = RunSpec(context.scenes, MODEL, train=TRAIN), list[Training]()
    for width, seeds in WIDTHS.items():
        model = replace(MODEL, width=width)
        for patches, seed in product(("all", "one"), seeds):
            spec = replace(base, model=model, train=WIDTH_TRAIN, seed=seed)
            planned.append(Training("width", width, spec, patches))
    for reduction, channels, width in POSITIONS:
        model = replace(MODEL, spatial_reduction=reduction, latent_channels=channels, width=width)
        planned.append(Training("positions", reduction, RunSpec(POSITION_SCENES, model, train=POSITION_TRAIN)))
    for channels, lengths in STEPS.items():
        model = replace(MODEL, latent_channels=channels)
        for steps in lengths:
            longer = replace(TRAIN, steps=steps, validate_every=max(1, steps // 8))
            planned.append(Training("steps", steps, replace(base, model=model, train=longer)))
    return resumed(replace(context, workers=1), [*planned, *BATCHES], job_rows)


def job_rows(job: Training | int) -> list[Row]:
    """Rows of a training, or of the memory that a batch takes."""
    if isinstance(job, int):
        return [alone(memory_row, job)]
    with cpu_threads(1):
        return training_rows(job)


def training_rows(item: Training) -> list[Row]:
    """Train, and measure every band of the training, test and independent scenes."""
    spec, learned = item.spec, load_split(item.spec.scenes)
    learned = learned if item.patches == "all" else replace(learned, train=learned.train[:1])
    data = TrainingData.from_split(learned)
    model = build_model(spec.model, seed=spec.seed, klt=data.fit_klt)
    history = train(model, data, spec.train, seed=spec.seed)
    about = {
        **item.columns, "training_pixels": sum(raster.values.numel() for raster in data.training),
        "best_step": history.best_step, "collapsed": history.collapsed, "train_seconds": history.seconds,
        "train_pixels_per_s": history.pixels_per_second, "converged": history.converged,
        "last_quarter_gain_db": history.last_quarter_gain_db,
    }  # fmt: skip
    quantizer = build_quantizer(QuantizerSpec(), spec.model.latent_channels)
    bands = measurable(learned, ("train", "test", "independent"))
    measured = reconstructed(model.eval(), quantizer, bands)
    return [{**about, **band.columns, "psnr_db": found} for band, _, found in measured]


def memory_row(batch: int) -> Row:
    """Peak of two steps with random images of 256×256, in a fresh process, and its estimate from shapes."""
    settings = replace(TRAIN, steps=2, batch_size=batch, patch_size=256, validate_every=10**9, precision="float32")
    spec = RunSpec(model=MEMORY_MODEL, train=settings)
    data = TrainingData.from_arrays([torch.rand((256, 256), generator=torch.Generator().manual_seed(0)).numpy()])
    with cpu_threads(1):
        model = build_model(spec.model, seed=0, klt=data.fit_klt)
        before = experiment.process_peak_mb()
        train(model, data, settings, seed=0)
    return {
        **Training("memory", batch, spec).columns, "parameters": count_parameters(model), "process_mb": before,
        "peak_mb": experiment.process_peak_mb(), "estimated_mb": training_mb(spec, CPU),
    }  # fmt: skip
