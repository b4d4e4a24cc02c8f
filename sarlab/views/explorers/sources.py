"""What explorers look at: a scene in dB with its range, and networks for it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.metrics.fidelity import psnr
from sarlab.scenes.catalog import load_split
from sarlab.scenes.scene import Scene
from sarlab.specs import ModelSpec, SceneSpec

#: Latents of the linear networks that are fitted on the spot: (spatial reduction, channels).
LATENTS = ((16, 64), (16, 32), (16, 16), (16, 8), (32, 16))


@dataclass(frozen=True, eq=False)
class Subject:
    """A band to explore.

    Parameters
    ----------
    name : str
    scene : Scene
        One band, dB.
    normalizer : Normalizer
    """

    name: str
    scene: Scene
    normalizer: Any

    @property
    def clip(self) -> tuple[float, float]:
        """Range in dB of pictures and of PSNR."""
        return self.normalizer.low, self.normalizer.high

    @property
    def db(self) -> np.ndarray:
        """Samples, (H, W) float32."""
        return self.scene.data[0]

    def psnr(self, other_db: np.ndarray) -> float:
        """PSNR in dB of clipped dB values."""
        return psnr(self.db, other_db, clip=self.clip)


@functools.lru_cache(maxsize=2)
def subjects(source: str = "bigearthnet", quantity: str = "auto") -> dict[str, Subject]:
    """Test bands of a source by name, those of its own test split first."""
    split = load_split(SceneSpec(source, quantity))
    found = {}
    for scene in (*split.test, *split.independent):
        for band in scene.bands:
            name = f"{scene.name} {band}"
            found[name] = Subject(name, scene.band(band), split.normalizers[band])
    return found


@functools.lru_cache(maxsize=1)
def _training() -> Any:
    from sarlab.models.data import TrainingData

    return TrainingData.from_split(load_split(SceneSpec("bigearthnet")))


@functools.lru_cache(maxsize=16)
def linear_network(reduction: int, channels: int) -> Any:
    """KLT of the embedded training scenes."""
    from sarlab.models.autoencoders import build_model

    spec = ModelSpec("klt", reduction, channels, "klt")
    return build_model(spec, seed=0, klt=_training().fit_klt(reduction, channels)).eval()


def networks(runs: str | Path = "runs") -> dict[str, Any]:
    """Names of networks → a function that makes them: linear ones, and those of finished runs in the folder `runs`."""
    from sarlab.lab.experiment import load_network
    from sarlab.lab.results import read_manifest

    found: dict[str, Any] = {
        f"KLT, stride {r}, {c} channels": functools.partial(linear_network, r, c) for r, c in LATENTS
    }
    for folder in sorted(Path(runs).glob("*/")) if Path(runs).is_dir() else ():
        manifest = read_manifest(folder)
        if manifest and not manifest["label"].startswith("klt-"):
            found[manifest["run_id"]] = functools.partial(load_network, folder)
    return found


def analyzed(network: Any, subject: Subject) -> Any:
    """Latent of a subject, (1, C, h, w); invalid samples enter as the mean of the others."""
    import torch

    x = subject.normalizer.normalize(subject.db)
    valid = subject.scene.valid[0]
    x = np.where(valid, x, x[valid].mean() if valid.any() else 0.5).astype(np.float32)
    with torch.inference_mode():
        return network.analysis(torch.from_numpy(x)[None, None])


def synthesized(network: Any, latent: Any, subject: Subject) -> np.ndarray:
    """Image in dB of a latent, NaN where the subject is not valid."""
    import torch

    with torch.inference_mode():
        x_hat = network.synthesis(latent, size=subject.db.shape)[0, 0].float().numpy()
    return np.where(subject.scene.valid[0], subject.normalizer.denormalize(x_hat), np.nan).astype(np.float32)
