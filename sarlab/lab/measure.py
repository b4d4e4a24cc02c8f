"""Measure a fixed-latent network on scenes: one tidy row per scene and band."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sarlab.metrics import Reference, metrics, score
from sarlab.models.base import Autoencoder
from sarlab.models.quantizers import Quantizer
from sarlab.scenes.radiometry import Normalizer
from sarlab.scenes.scene import Scene


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
    """

    original_db: np.ndarray
    reconstruction_db: np.ndarray
    latent: np.ndarray
    payload_bytes: int


@torch.no_grad()
def reconstruct(
    model: Autoencoder, scene: Scene, normalizer: Normalizer, quantizer: Quantizer, device: torch.device
) -> Reconstruction:
    """Pass a single-band scene in dB through network and quantizer.

    Invalid samples enter as the mean of the valid ones and come back as NaN.
    """
    original = scene.data[0]
    valid = scene.valid[0]
    normalized = normalizer.normalize(original)
    normalized = np.where(valid, normalized, normalized[valid].mean() if valid.any() else 0.5).astype(np.float32)
    x = torch.from_numpy(normalized)[None, None].to(device)
    y = model.analysis(x)
    packed = quantizer.pack(y)
    y_hat = quantizer.unpack(packed).to(device)
    x_hat = model.synthesis(y_hat, size=original.shape)
    restored = normalizer.denormalize(x_hat[0, 0].float().cpu().numpy()).astype(np.float32)
    return Reconstruction(
        original_db=original,
        reconstruction_db=np.where(valid, restored, np.nan).astype(np.float32),
        latent=y_hat[0].float().cpu().numpy(),
        payload_bytes=len(packed),
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
        "bpp": 8 * done.payload_bytes / done.original_db.size,
        "measured_cr": scene.native_bits * done.original_db.size / (8 * done.payload_bytes),
        "clip_low": clip[0],
        "clip_high": clip[1],
        **scores,
    }
    if klt is not None:
        row["gain_over_klt_db"] = row["psnr_db"] - score(reference, klt.reconstruction_db, columns=["psnr_db"])["psnr_db"]
    if clean_db is None:
        scores.reasons = {name: why for name, why in scores.reasons.items() if not metrics[name].needs_clean}
    row["reason"] = scores.reason
    return row


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
