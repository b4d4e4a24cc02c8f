"""First steps in memory: train a network, quantize its latent, score a scene.

    scenes ──train──▶ TrainedNetwork ──quantize (with a scene)──▶ CodedScene ──score──▶ PSNR, SSIM, ENL, EPI …

`sarlab.train` and the others are these functions. `sarlab.lab.experiment` does the same for the runs of a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sarlab.errors import PlanError
from sarlab.lab.inputs import load_inputs
from sarlab.metrics import score as score_band
from sarlab.metrics.rate import bits_per_pixel
from sarlab.scenes.catalog import available, catalog_entries, load_split, reference_normalizers, sentinel1
from sarlab.scenes.radiometry import Normalizer, from_db, to_db
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split, choose_normalizers
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec

if TYPE_CHECKING:
    from torch import Tensor

    from sarlab.models.autoencoders import Autoencoder

#: Default columns of `score`.
COLUMNS = ("psnr_db", "ssim", "enl_reference", "enl", "epi_roa", "bias_db")


@dataclass(frozen=True, eq=False, repr=False)
class TrainedNetwork:
    """A network, the range of each band in dB, the latents (1, C, h, w) of its training scenes, and its training history."""

    network: Autoencoder
    spec: RunSpec
    normalizers: dict[str, Normalizer]
    latents: list[Tensor]
    history: pd.DataFrame

    def __repr__(self) -> str:
        model, count = self.spec.model, sum(p.numel() for p in self.network.parameters())
        block = f"{model.spatial_reduction}×{model.spatial_reduction}"
        return f"<{model.architecture} network: {block} pixels to {model.latent_channels} values, {count} parameters>"

    def save(self, path: str | Path) -> None:
        """Write the weights as safetensors; `sarlab.models.autoencoders.load_model` reads them."""
        from sarlab.models.autoencoders import save_model

        save_model(Path(path), self.network, normalizers=self.normalizers, provenance=self.spec.to_dict())


@dataclass(frozen=True, eq=False)
class CodedScene:
    """The reconstruction of a scene, its rate at a fixed length and range-coded, and the entropy of its latent values.

    The last two are NaN for values of more than 16 bits.
    """

    scene: Scene
    bits_per_pixel: float
    coded_bpp: float
    entropy: float


def scene_names() -> list[str]:
    """List the names that `sarlab.scene` accepts without a download.

    Examples
    --------
    >>> import sarlab
    >>> [name for name in sarlab.scene_names() if name.startswith("png")]
    ['png-20240123', 'png-20240522']
    """
    return [*(record.name for record in sentinel1().records), *filter(available, catalog_entries)]


def train(
    architecture: str = "residual", *, latent_channels: int = 16, steps: int = 300, seed: int = 0,
    scenes: str | Path | Scene | Iterable[Scene] = "bigearthnet", **settings: Any,
) -> TrainedNetwork:  # fmt: skip
    """Train a fixed-latent network, on the GPU if there is one.

    Parameters
    ----------
    architecture : {"klt", "plain", "residual", "attention"}
    latent_channels : int
        Values of the latent per block of 16×16 pixels.
    scenes : str, path, Scene or iterable of Scene
        A source is split, and its test scenes are not used. Scenes that are given are all trained on.
    **settings
        Other fields of `sarlab.specs.ModelSpec` and `sarlab.specs.TrainSpec`. The default of ``init`` is ``"klt"``.

    Examples
    --------
    >>> import sarlab
    >>> model = sarlab.train(latent_channels=8, steps=2, patch_size=64)
    >>> model
    <residual network: 16×16 pixels to 8 values, ... parameters>
    >>> model.save("residual.safetensors")
    """
    from sarlab.lab import experiment
    from sarlab.models.autoencoders import build_model
    from sarlab.models.data import TrainingData
    from sarlab.models.training import train as fit

    given = {"init": "klt", **settings, "architecture": architecture, "latent_channels": latent_channels}
    given["steps"] = 0 if architecture == "klt" else steps
    of_model = {field.name for field in fields(ModelSpec)} & set(given)
    tables = {"model": {k: given[k] for k in of_model}, "train": {k: given[k] for k in set(given) - of_model}}
    spec, device = RunSpec.from_dict({**tables, "seed": seed}), experiment.pick_device("auto")
    if spec.train.curve != "dedicated":
        raise PlanError(f"a {spec.train.curve} curve takes several trainings: run it as a plan with 'sarlab sweep'")
    if isinstance(scenes, (str, Path)):
        split = load_split(SceneSpec(str(scenes)))
    else:
        chosen = [to_db(scene) for scene in ([scenes] if isinstance(scenes, Scene) else scenes)]
        split = Split(tuple(chosen), (), (), normalizers=choose_normalizers(chosen, reference_normalizers())[0])
    data = TrainingData.from_split(split)
    network = build_model(spec.model, seed=seed, klt=data.fit_klt).to(device)
    history = experiment.history_frame(fit(network, data, spec.train, seed=seed, device=device))
    latents = experiment.training_latents(network.eval(), data, device)
    return TrainedNetwork(network, spec, dict(split.normalizers), latents, history)


def quantize(model: TrainedNetwork, scene: Scene, scheme: str = "affine", bits: int = 8, **settings: Any) -> CodedScene:
    """Pass a scene through a network and a quantizer of its latent, calibrated on the training scenes.

    Parameters
    ----------
    scheme : str
        Name of a quantizer: ``"float32"``, ``"affine"``, ``"companded"`` and others of `sarlab.models.quantizers`.
    bits : int
        Per latent value.
    **settings
        Other fields of `sarlab.specs.QuantizerSpec`.

    Examples
    --------
    >>> import sarlab
    >>> scene = sarlab.scene("ben-33UUP-37-88")
    >>> coded = sarlab.quantize(sarlab.train("klt"), scene, bits=4)
    >>> coded.scene
    Scene('ben-33UUP-37-88', VV+VH, 360×240, db)
    >>> print(f"{coded.bits_per_pixel:.2f} bits per pixel")
    0.26 bits per pixel
    """
    from sarlab.lab.experiment import frequencies, reconstruct
    from sarlab.models.quantizers import build_quantizer

    network, device, scene_db = model.network, model.latents[0].device, to_db(scene)
    quantizer = build_quantizer(QuantizerSpec(scheme, bits, **settings), model.spec.model.latent_channels).to(device)
    quantizer.calibrate(model.latents, synthesis=network.synthesis)
    tables, ranges = frequencies(quantizer, model.latents), choose_normalizers([scene_db], model.normalizers)[0]
    done = [reconstruct(network, scene_db.band(b), ranges[b], quantizer, device, tables=tables) for b in scene.bands]
    restored = scene_db.with_data(np.stack([band.reconstruction_db for band in done]))
    means = [float(np.mean([band.columns.get(c, np.nan) for band in done])) for c in ("coded_bpp", "latent_entropy")]
    rate = bits_per_pixel(sum(band.payload_bytes for band in done), scene.data.size)
    return CodedScene(restored if scene.quantity == "db" else from_db(restored), rate, *means)


def score(scene: Scene, reconstruction: Scene, columns: Sequence[str] = COLUMNS) -> pd.Series:
    """Compute metrics of a reconstruction: PSNR, SSIM, ENL, EPI, radiometric bias; means over the bands.

    `columns` are names of ``sarlab.metrics.metrics``. The result is NaN where one is undefined for a band.

    Examples
    --------
    >>> import sarlab
    >>> scene = sarlab.scene("ben-33UUP-37-88")
    >>> brighter = scene.with_data(scene.data + 1)
    >>> sarlab.score(scene, brighter, ["rmse_db", "bias_db", "epi_roa"])
    rmse_db    1.0
    bias_db    1.0
    epi_roa    1.0
    dtype: float64
    """
    decoded = to_db(reconstruction)
    bands = load_inputs([scene])
    scores = [score_band(band.reference, decoded.band(band.name).data[0], columns=columns) for band in bands]
    return pd.DataFrame(scores).mean(skipna=False)
