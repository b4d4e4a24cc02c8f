"""Latent explorers: the channels of a latent, and its quantization."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np

from sarlab.errors import SarlabError
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec
from sarlab.views.explorers.controls import Explorer, Picture, State, chart, menu, subjects

#: Latents of the linear networks that are fitted when chosen: (spatial reduction, channels).
LATENTS = ((16, 64), (16, 32), (16, 16), (16, 8), (32, 16))
SCHEMES = ("affine", "allocated", "companded", "trellis", "fsq", "guide", "float16", "bfloat16")
#: Errors shown at full color, in dB: of the reconstruction, and of quantization alone.
LIMIT, QUANTIZED = 6.0, 3.0


class NetworkExplorer(Explorer):
    """Base of explorers of one network on one scene: the latent, and the image that it gives as it is.

    `source` and `quantity` are as for ``sarlab sweep``; `runs` is a folder of finished runs, by default `run_folders`.
    """

    def __init__(
        self, controls: dict[str, Any], pictures: dict[str, Picture], source: str, quantity: str, runs: str | Path
    ):
        self.subjects, self.networks = subjects(source, quantity), networks(runs)
        first = {"scene": menu(self.subjects, "scene"), "network": menu(self.networks, "network", index=2)}
        super().__init__({**first, **controls}, pictures, opening=("scene", "network"))
        self.open()

    def load(self) -> None:
        """Latent of the scene, and its reconstruction; invalid samples enter as the mean of the others."""
        import torch

        self.say(f"analyzing with {self.controls['network'].value}")
        self.subject = self.subjects[self.controls["scene"].value]
        self.network = self.networks[self.controls["network"].value]()
        x, valid = self.subject.normalizer.normalize(self.subject.db), self.subject.scene.valid[0]
        x = np.where(valid, x, x[valid].mean() if valid.any() else 0.5).astype(np.float32)  # (H, W)
        with torch.inference_mode():
            self.latent = self.network.analysis(torch.from_numpy(x)[None, None])  # (1, C, h, w)
        self.whole = self.synthesized(self.latent)

    def synthesized(self, latent: Any) -> np.ndarray:
        """Image in dB of a latent, NaN where the subject is not valid."""
        import torch

        with torch.inference_mode():
            x_hat = self.network.synthesis(latent, size=self.subject.db.shape)[0, 0].float().numpy()
        image = self.subject.normalizer.denormalize(x_hat)
        return np.where(self.subject.scene.valid[0], image, np.nan).astype(np.float32)


class LatentExplorer(NetworkExplorer):
    """Channel maps of a network; channels dropped or scaled, and the effect on the image."""

    def __init__(self, source: str = "bigearthnet", quantity: str = "auto", runs: str | Path = ""):
        controls = {
            "kept": widgets.IntSlider(1, min=1, max=1, description="keep first"),
            "channel": widgets.IntSlider(0, min=0, max=1, description="channel"),
            "scale": widgets.FloatSlider(1.0, min=0, max=3, step=0.1, description="scale it by"),
        }
        pictures = {
            "original": Picture("recorded"), "restored": Picture("from the latent"),
            "error": Picture(f"error, ±{LIMIT:g} dB"), "map": Picture("channel"),
        }  # fmt: skip
        super().__init__(controls, pictures, source, quantity, runs)

    def load(self) -> None:
        """Sort the channels by their standard deviation."""
        super().load()
        deviation = self.latent[0].flatten(1).std(1).numpy()
        self.order = np.argsort(-deviation)
        self.deviation = deviation[self.order]
        count = len(deviation)
        with self.unobserved():
            channel, kept = self.controls["channel"], self.controls["kept"]
            channel.max, channel.value = count - 1, min(channel.value, count - 1)
            kept.max, kept.value = count, count

    def show(self) -> State:
        """Change the latent, and show the image that it gives."""
        place, scale, kept = (self.controls[name].value for name in ("channel", "scale", "kept"))
        channel, clip = int(self.order[place]), self.subject.clip
        changed = self.latent.clone()
        changed[:, channel] *= scale
        changed[:, self.order[kept:].copy()] = 0
        restored = self.synthesized(changed)
        self.pictures["original"].show(self.subject.db, clip)
        self.pictures["restored"].show(restored, clip)
        self.pictures["error"].show_error(restored - self.subject.db, LIMIT)
        plane = self.latent[0, channel].numpy()
        middle, spread = float(plane.mean()), 3 * float(plane.std() or 1.0)
        self.pictures["map"].show(
            np.kron(plane, np.ones((8, 8), np.float32)), (middle - spread, middle + spread),
            f"channel {place}, the last is {len(self.order) - 1}",
        )  # fmt: skip
        deviations = {"spread": (np.arange(len(self.order)), self.deviation)}
        self.chart.value = chart(deviations, x="channel, by spread", y="standard deviation")
        share = float(np.square(self.deviation[:kept]).sum() / np.square(self.deviation).sum())
        return {
            "psnr_db": self.subject.psnr(restored),
            "PSNR with all channels (dB)": self.subject.psnr(self.whole),
            "share of the variance kept (%)": 100 * share,
            "values kept per pixel": kept * self.latent.shape[2] * self.latent.shape[3] / self.subject.db.size,
        }


class QuantizerExplorer(NetworkExplorer):
    """Quantized latent: picture, error that the quantizer adds, levels in use, rates."""

    def __init__(self, source: str = "bigearthnet", quantity: str = "auto", runs: str | Path = ""):
        controls = {
            "scheme": widgets.Dropdown(options=SCHEMES, description="scheme"),
            "bits": widgets.IntSlider(8, min=2, max=16, description="bits"),
            "granularity": widgets.Dropdown(options=("channel", "tensor"), description="range per"),
            "calibration": widgets.Dropdown(options=("minmax", "percentile", "mse"), description="calibration"),
        }
        pictures = {
            "restored": Picture("after quantization"),
            "added": Picture(f"error of quantization, ±{QUANTIZED:g} dB"),
        }
        super().__init__(controls, pictures, source, quantity, runs)

    def load(self) -> None:
        """Latents of the training scenes, on which quantizers are calibrated."""
        super().load()
        self.training = training_latents(self.network)
        self._built: dict[QuantizerSpec, tuple[Any, Any]] = {}

    def quantizer(self, spec: QuantizerSpec) -> tuple[Any, Any]:
        """(quantizer, tables of its range coder)."""
        from sarlab.lab.experiment import frequencies
        from sarlab.models.quantizers import build_quantizer

        if spec not in self._built:
            self.say("calibrating the quantizer")
            made = build_quantizer(spec, self.latent.shape[1])
            made.calibrate(self.training, synthesis=self.network.synthesis)
            self._built[spec] = (made, frequencies(made, self.training))
        return self._built[spec]

    def show(self) -> State:
        """Quantize the latent."""
        from sarlab.lab.experiment import latent_columns

        choice = {name: self.controls[name].value for name in ("scheme", "bits", "granularity", "calibration")}
        if choice["scheme"] in ("float16", "bfloat16"):
            choice["bits"] = 16
        made, tables = self.quantizer(QuantizerSpec(**choice))
        quantized = made.quantize(self.latent)
        restored, pixels = self.synthesized(made.dequantize(quantized)), self.subject.db.size
        self.pictures["restored"].show(restored, self.subject.clip)
        self.pictures["added"].show_error(restored - self.whole, QUANTIZED)
        native = self.subject.scene.native_bits
        row = latent_columns(made, quantized, self.latent, tables, pixels=pixels, native_bits=native)
        widest = int(np.argmax(self.latent[0].flatten(1).std(1).numpy()))
        used, counts = np.unique(quantized.integers[0].flatten(1).numpy()[widest], return_counts=True)
        self.chart.value = chart({"widest channel": (used, counts)}, x="level, widest channel", y="values at the level")
        psnr, nan = self.subject.psnr(restored), float("nan")
        return {
            "fixed length (bits per pixel)": made.bits(self.latent.shape) / pixels,
            "range coded (bits per pixel)": row.get("coded_bpp", nan),
            "entropy (bits per value)": row.get("latent_entropy", nan),
            "psnr_db": psnr,
            "lost to quantization (dB)": self.subject.psnr(self.whole) - psnr,
            "levels in use (%)": 100 * row.get("level_usage", nan),
            "values out of range (%)": 100 * row["saturated_share"],
        }


def run_folders() -> list[Path]:
    """Folders that may hold finished runs: ``SARLAB_RUNS``, or ``runs`` here, in each folder above and in the checkout."""
    if named := os.environ.get("SARLAB_RUNS"):
        return [Path(named)]
    here = Path.cwd()
    return list(dict.fromkeys(root / "runs" for root in (here, *here.parents, Path(__file__).resolve().parents[3])))


def networks(runs: str | Path = "") -> dict[str, Any]:
    """Names of networks → functions that make them: linear ones, and one for each training among the finished runs."""
    from sarlab.lab.experiment import load_network
    from sarlab.lab.results import read_manifest
    from sarlab.lab.runs import base_of

    found: dict[str, Any] = {
        f"KLT, stride {r}, {c} channels": functools.partial(linear_network, r, c) for r, c in LATENTS
    }
    folders = [Path(runs)] if runs else run_folders()
    for folder in sorted(path.parent for root in folders for path in root.glob("*/weights.safetensors")):
        try:
            manifest = read_manifest(folder)
            spec = RunSpec.from_dict(manifest["spec"])
        except (SarlabError, KeyError):  # not finished, or of an older version
            continue
        if spec.model.architecture != "klt" and base_of(spec) is None:
            found.setdefault(manifest["run_id"], functools.partial(load_network, folder))
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


@functools.lru_cache(maxsize=8)
def training_latents(network: Any) -> list[Any]:
    """Latents of the embedded training scenes."""
    import torch

    with torch.inference_mode():
        return [network.analysis(raster.values[None, None]) for raster in _training().training]
