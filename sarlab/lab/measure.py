"""Measure a fixed-latent network on scenes: one tidy row per scene and band.

At a fixed length, each value of the latent costs its bits. Range coded under one frozen table per channel, learned from
training scenes, it costs about its entropy. For the first a full histogram is good; the second wants low entropy.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sarlab.codec.latent_coding import LatentTables, encode_latent, fit_latent_tables, ideal_bits
from sarlab.lab.inputs import Input, split_inputs
from sarlab.lab.runs import steps_of
from sarlab.metrics import entropy, metrics, score
from sarlab.metrics.columns import scalar
from sarlab.metrics.rate import bits_per_pixel, measured_cr
from sarlab.models.autoencoders import Autoencoder
from sarlab.models.quantizers import Quantized, Quantizer
from sarlab.scenes.catalog import Split
from sarlab.scenes.radiometry import Normalizer
from sarlab.scenes.scene import Scene
from sarlab.specs import RunSpec

#: Side of the largest window of a scene that is kept for figures, in pixels.
EXAMPLE_SIDE = 512
#: Values of more bits than this are stored as they are: their low bits are noise to any table.
MOST_CODED_BITS = 16

#: "<scene>/<band>" → {"original", "reconstruction", "latent"}.
Examples = dict[str, dict[str, np.ndarray]]


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
        "ideal_bpp": (ideal_bits(quantizer, quantized, tables) + 8 * quantizer.side_bytes) / pixels,
        "latent_entropy": float(entropy.channel_entropies(symbols).mean()),
        "latent_pooled_entropy": float(scalar(entropy.pooled_entropy)(symbols)),
        "latent_joint_entropy": float(scalar(entropy.joint_entropy)(symbols)) / quantizer.channels,
        "latent_spatial_entropy": float(scalar(entropy.spatial_entropy_rate)(symbols)),
        "level_usage": float(np.mean(used)) if used else float("nan"),
    }
    size = len(encode_latent(quantizer, quantized, tables))
    rates = {"coded_bpp": bits_per_pixel(size, pixels), "coded_cr": measured_cr(size, pixels, native_bits=native_bits)}
    return {**row, "coded_bytes": size, **rates}


def measure(
    spec: RunSpec, split: Split, model: Autoencoder, quantizer: Quantizer, tables: LatentTables | None, klt: Autoencoder,
    plain: Quantizer, device: torch.device,
) -> tuple[pd.DataFrame, Examples]:  # fmt: skip
    """Rows and examples of all test scenes; scenes that cannot be measured give a row with the reason.

    The KLT with the same latent and `plain`, a quantizer that changes nothing, are the reference of ``gain_over_klt_db``.
    """
    rows, examples = [], {}
    for item in split_inputs(split):
        normalizer = Normalizer(*item.clip)
        done = reconstruct(model, item.scene, normalizer, quantizer, device, tables=tables)
        reference = reconstruct(klt, item.scene, normalizer, plain, device)
        rows.append(measure_band(item, done, reference))
        if item.split == "test":
            examples[f"{item.scene.name}/{item.name}"] = done.example()
    measured = {row["scene"] for row in rows}
    rows += [{"split": "test", "scene": name, "reason": why} for name, why in split.excluded if name not in measured]
    return pd.DataFrame([{**describe(spec), **row} for row in rows]), examples


def measure_band(item: Input, done: Reconstruction, klt: Reconstruction) -> dict[str, Any]:
    """Tidy row of one band in dB: origin, rate, all metrics, gain over the KLT."""
    size, reference = done.original_db.size, item.reference
    scores = score(reference, done.reconstruction_db)
    row: dict[str, Any] = {
        **item.columns, "bytes": done.payload_bytes, "bpp": bits_per_pixel(done.payload_bytes, size),
        "measured_cr": measured_cr(done.payload_bytes, size, native_bits=item.scene.native_bits), **done.columns, **scores,
    }  # fmt: skip
    linear = score(reference, klt.reconstruction_db, columns=["psnr_db"])
    row["gain_over_klt_db"] = row["psnr_db"] - linear["psnr_db"]
    if item.clean_db is None:
        scores.reasons = {name: why for name, why in scores.reasons.items() if not metrics[name].needs_clean}
    return {**row, "reason": scores.reason}


def describe(spec: RunSpec) -> dict[str, Any]:
    """Columns of a row that follow from the specification alone."""
    model, quantizer, settings = spec.model, spec.quantizer, spec.train
    return {
        "architecture": model.architecture, "init": "klt" if model.architecture == "klt" else model.init,
        "spatial_reduction": model.spatial_reduction, "latent_channels": model.latent_channels, "width": model.width,
        "depth": model.depth, "stem": model.stem, "quantizer": quantizer.label, "bits": quantizer.bits,
        "granularity": quantizer.granularity, "calibration": quantizer.calibration,
        "quantizer_training": quantizer.training, "curve": settings.curve, "steps": steps_of(spec),
        "batch_size": settings.batch_size, "patch_size": settings.patch_size, "optimizer": settings.optimizer,
        "loss_name": settings.loss, "seed": spec.seed,
        "dimension_ratio": model.dimension_ratio, "nominal_cr": model.dimension_ratio * 32 / quantizer.bits,
    }  # fmt: skip


@torch.no_grad()
def throughput(model: Autoencoder, device: torch.device, *, side: int = 512, repeats: int = 3) -> dict[str, float]:
    """Median speed of analysis and synthesis on a `side`² image, in Mpixel/s."""
    x = torch.rand((1, 1, side, side), generator=torch.Generator().manual_seed(0)).to(device)
    y = model.analysis(x)
    calls = {"encode": lambda: model.analysis(x), "decode": lambda: model.synthesis(y, size=(side, side))}
    seconds = {name: np.median([seconds_of(call, device) for _ in range(repeats)]) for name, call in calls.items()}
    return {f"{name}_mpx_per_s": side * side / 1e6 / float(value) for name, value in seconds.items()}


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a call, until the device has finished."""
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start
