"""Measure a fixed-latent network on scenes: one tidy row per scene and band."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from sarlab.codec.latent_coding import LatentModel
from sarlab.lab.latents import latent_columns
from sarlab.lab.lineage import steps_of
from sarlab.metrics import Reference, metrics, score
from sarlab.metrics.rate import bits_per_pixel, measured_cr
from sarlab.models.base import Autoencoder
from sarlab.models.quantizers import Quantizer
from sarlab.scenes.catalog import Split
from sarlab.scenes.radiometry import Normalizer
from sarlab.scenes.scene import Scene
from sarlab.specs import RunSpec

#: Side of the largest window of a scene that is kept for figures, in pixels.
EXAMPLE_SIDE = 512


@dataclass(frozen=True)
class Reconstruction:
    """What comes back of one band.

    Parameters
    ----------
    original_db, reconstruction_db : ndarray, shape (height, width), float32
        NaN where the original is not valid.
    latent : ndarray, shape (latent_channels, h, w), float32
        After quantization.
    payload_bytes : int
        Bytes of the packed latent with its side information.
    columns : dict
        What `latent_columns` says about the latent.
    """

    original_db: np.ndarray
    reconstruction_db: np.ndarray
    latent: np.ndarray
    payload_bytes: int
    columns: Mapping[str, float] = field(default_factory=dict)


@torch.no_grad()
def reconstruct(
    model: Autoencoder,
    scene: Scene,
    normalizer: Normalizer,
    quantizer: Quantizer,
    device: torch.device,
    *,
    tables: LatentModel | None = None,
) -> Reconstruction:
    """Pass a single-band scene in dB through network and quantizer.

    Invalid samples enter as the mean of the valid ones and come back as NaN. The reconstruction is that of the stored
    bytes, unpacked.
    """
    original = scene.data[0]
    valid = scene.valid[0]
    normalized = normalizer.normalize(original)
    normalized = np.where(valid, normalized, normalized[valid].mean() if valid.any() else 0.5).astype(np.float32)
    x = torch.from_numpy(normalized)[None, None].to(device)
    y = model.analysis(x)
    quantized = quantizer.quantize(y)
    packed = quantizer.pack(quantized)
    y_hat = quantizer.unpack(packed).to(device)
    x_hat = model.synthesis(y_hat, size=original.shape)
    restored = normalizer.denormalize(x_hat[0, 0].float().cpu().numpy()).astype(np.float32)
    return Reconstruction(
        original_db=original,
        reconstruction_db=np.where(valid, restored, np.nan).astype(np.float32),
        latent=y_hat[0].float().cpu().numpy(),
        payload_bytes=len(packed),
        columns=latent_columns(quantizer, quantized, y, tables, pixels=original.size, native_bits=scene.native_bits),
    )


def measure_band(
    scene: Scene,
    done: Reconstruction,
    normalizer: Normalizer,
    klt: Reconstruction | None,
    clean_db: np.ndarray | None = None,
) -> dict[str, Any]:
    """Tidy row of one band: where it comes from, rate, all metrics, gain over KLT.

    Parameters
    ----------
    scene : Scene
        Single band, dB.
    done, klt : Reconstruction
        By the network, and by the KLT with the same latent.
    normalizer : Normalizer
        Its range is the clip range of PSNR.
    clean_db : ndarray, optional
        Reflectivity of a simulated scene.
    """
    clip = (normalizer.low, normalizer.high)
    reference = Reference(done.original_db, clip=clip, looks=scene.looks, clean_db=clean_db)
    scores = score(reference, done.reconstruction_db)
    row: dict[str, Any] = {
        "scene": scene.name,
        "band": scene.bands[0],
        "acquisition": scene.acquisition,
        "simulated": scene.simulated,
        "looks": np.nan if scene.looks is None else scene.looks,
        "seen_in_training": scene.seen_in_training,
        "pixels": int(np.prod(done.original_db.shape)),
        "native_bits": scene.native_bits,
        "bytes": done.payload_bytes,
        "bpp": bits_per_pixel(done.payload_bytes, done.original_db.size),
        "measured_cr": measured_cr(done.payload_bytes, done.original_db.size, native_bits=scene.native_bits),
        "clip_low": clip[0],
        "clip_high": clip[1],
        **done.columns,
        **scores,
    }
    if klt is not None:
        row["gain_over_klt_db"] = (
            row["psnr_db"] - score(reference, klt.reconstruction_db, columns=["psnr_db"])["psnr_db"]
        )
    if clean_db is None:
        scores.reasons = {name: why for name, why in scores.reasons.items() if not metrics[name].needs_clean}
    row["reason"] = scores.reason
    return row


def measure(
    spec: RunSpec,
    split: Split,
    model: Autoencoder,
    quantizer: Quantizer,
    tables: LatentModel | None,
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
                done = reconstruct(model, band, normalizer, quantizer, device, tables=tables)
                reference = reconstruct(klt, band, normalizer, plain, device)
                clean = split.clean.get(scene.name)
                clean_db = clean.band(name).data[0] if clean is not None else None
                rows.append({"split": role, **measure_band(band, done, normalizer, reference, clean_db)})
                if role == "test":
                    examples[f"{scene.name}/{name}"] = example(done)
    measured = {row["scene"] for row in rows}
    rows += [{"split": "test", "scene": name, "reason": why} for name, why in split.excluded if name not in measured]
    described = describe(spec)
    return pd.DataFrame([{**described, **row} for row in rows]), examples


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
        "curve": settings.curve,
        "steps": steps_of(spec),
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


@torch.no_grad()
def throughput(model: Autoencoder, device: torch.device, *, side: int = 512, repeats: int = 3) -> Mapping[str, float]:
    """Median speed of analysis and synthesis on a `side`² image, in Mpixel/s."""
    x = torch.rand((1, 1, side, side), generator=torch.Generator().manual_seed(0)).to(device)
    y = model.analysis(x)
    speeds = {}
    for name, call in (
        ("encode_mpx_per_s", lambda: model.analysis(x)),
        ("decode_mpx_per_s", lambda: model.synthesis(y, size=(side, side))),
    ):
        seconds = []
        for _ in range(repeats):
            _wait(device)
            start = time.perf_counter()
            call()
            _wait(device)
            seconds.append(time.perf_counter() - start)
        speeds[name] = side * side / 1e6 / float(np.median(seconds))
    return speeds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
