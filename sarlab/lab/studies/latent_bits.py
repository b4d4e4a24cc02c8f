"""Value of a bit in the latent: every quantizer on the KLT, the one transform that needs no training.

At each ratio all quantizers share the KLT of the training scenes. A row states how much PSNR a quantizer loses against
float32, and the size of its file at a fixed length and range-coded. Ranges, allocations and frequencies are learned from
training scenes.
"""

from typing import Any

import pandas as pd
import torch

from sarlab.lab.experiment import frequencies, reconstruct
from sarlab.lab.inputs import measurable
from sarlab.lab.studies import Context, resumed, study
from sarlab.metrics.fidelity import psnr
from sarlab.metrics.rate import bits_per_pixel, measured_cr
from sarlab.models.autoencoders import build_model
from sarlab.models.data import TrainingData
from sarlab.models.quantizers import build_quantizer
from sarlab.models.training import cpu_threads
from sarlab.scenes.catalog import load_split
from sarlab.scenes.radiometry import Normalizer
from sarlab.specs import ModelSpec, QuantizerSpec, SceneSpec, content_hash

#: (spatial_reduction, latent_channels) of the ratios 4 to 128, as in the plans.
LATENTS = ((16, 64), (16, 32), (16, 16), (16, 8), (32, 16), (32, 8))
#: (scheme, granularity, calibration) → bits.
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


@study("latent_bits", version=1)
def latent_bits(context: Context) -> pd.DataFrame:
    """One row per ratio, quantizer, and band of each test scene."""
    jobs = {content_hash(context.split.digest, latent): (context.scenes, *latent) for latent in LATENTS}
    return resumed(context, "latent_bits", jobs, ratio_rows)


@torch.no_grad()
@cpu_threads(1)
def ratio_rows(job: tuple[SceneSpec, int, int]) -> list[dict[str, Any]]:
    """Rows of one ratio (spatial reduction, channels) on one thread, in a process that loads the scenes itself."""
    (scenes, reduction, channels), rows = job, []
    split = load_split(scenes)
    data, items = TrainingData.from_split(split), measurable(split, ["test"])
    spec = ModelSpec("klt", reduction, channels, "klt")
    model = build_model(spec, seed=0, klt=data.fit_klt).eval()
    latents = [model.analysis(raster.values[None, None]) for raster in data.training]
    best: dict[int, float] = {}
    for wanted in specs():
        quantizer = build_quantizer(wanted, channels)
        quantizer.calibrate(latents, synthesis=model.synthesis)
        tables = frequencies(quantizer, latents)
        for index, item in enumerate(items):
            done = reconstruct(model, item.scene, Normalizer(*item.clip), quantizer, torch.device("cpu"), tables=tables)
            pixels, size = done.original_db.size, done.payload_bytes
            found = float(psnr(done.original_db, done.reconstruction_db, clip=item.clip))
            rows.append({
                "spatial_reduction": reduction, "latent_channels": channels, "dimension_ratio": spec.dimension_ratio,
                "scheme": wanted.scheme, "bits": wanted.bits, "granularity": wanted.granularity,
                "calibration": wanted.calibration, "quantizer": wanted.label, **item.columns, "psnr_db": found,
                "loss_db": best.setdefault(index, found) - found,  # float32 comes first
                "values": done.latent.size, "latent_range": float(done.latent.max() - done.latent.min()),
                "side_bytes": quantizer.side_bytes, "bytes": size, "bpp": bits_per_pixel(size, pixels),
                "measured_cr": measured_cr(size, pixels, native_bits=item.scene.native_bits), **done.columns,
            })  # fmt: skip
    return rows


def specs() -> list[QuantizerSpec]:
    """Quantizers of the study, float32 first."""
    return [QuantizerSpec(scheme, bits, *how) for (scheme, *how), widths in GRIDS.items() for bits in widths]
