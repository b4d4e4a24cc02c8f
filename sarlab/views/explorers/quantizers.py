"""Quantizers: bits, scheme and calibration of a latent, with rate and error at once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np

from sarlab.errors import SarlabError
from sarlab.specs import QuantizerSpec
from sarlab.views.explorers.base import Explorer
from sarlab.views.explorers.panes import Picture, chart, numbers
from sarlab.views.explorers.sources import _training, analyzed, networks, subjects, synthesized

SCHEMES = ("affine", "allocated", "companded", "trellis", "fsq", "guide", "float16", "bfloat16")
#: Error of quantization shown at full color, in dB.
LIMIT = 3.0


class QuantizerExplorer(Explorer):
    """A latent, quantized: picture, error that the quantizer adds, levels in use, rates.

    Parameters
    ----------
    source, quantity : str
        Scenes, as for ``sarlab sweep``.
    runs : path
        Finished runs whose networks are offered beside the linear ones.
    """

    def __init__(self, source: str = "bigearthnet", quantity: str = "auto", runs: str | Path = "runs"):
        self.subjects, self.networks = subjects(source, quantity), networks(runs)
        self.controls = {
            "scene": widgets.Dropdown(options=list(self.subjects), description="scene"),
            "network": widgets.Dropdown(options=list(self.networks), description="network", index=2),
            "scheme": widgets.Dropdown(options=SCHEMES, description="scheme"),
            "bits": widgets.IntSlider(8, min=2, max=16, description="bits"),
            "granularity": widgets.Dropdown(options=("channel", "tensor"), description="range for each"),
            "calibration": widgets.Dropdown(options=("minmax", "percentile", "mse"), description="calibration"),
        }
        self.restored, self.added = Picture("after quantization"), Picture(f"what it adds, ±{LIMIT:g} dB")
        self.report, self.levels = widgets.HTML(), widgets.HTML()
        self.wire(
            widgets.HBox([self.restored, self.added, widgets.VBox([self.levels, self.report])]),
            opening=("scene", "network"),
        )
        self.open()

    def open(self) -> None:
        """Another scene or network: its latent, and what it gives without quantization."""
        self.subject = self.subjects[self.controls["scene"].value]
        self.network = self.networks[self.controls["network"].value]()
        self.latent = analyzed(self.network, self.subject)
        self.whole = synthesized(self.network, self.latent, self.subject)
        self.training = training_latents(self.network)
        self._built: dict[QuantizerSpec, tuple[Any, Any]] = {}
        self.update()

    def quantizer(self, spec: QuantizerSpec) -> tuple[Any, Any]:
        """(quantizer, tables of its range coder), calibrated on the training scenes."""
        from sarlab.lab.measure import frequencies
        from sarlab.models.quantizers import build_quantizer

        if spec not in self._built:
            made = build_quantizer(spec, self.latent.shape[1])
            made.calibrate(self.training, synthesis=self.network.synthesis)
            self._built[spec] = (made, frequencies(made, self.training))
        return self._built[spec]

    def update(self) -> None:
        """Quantize as the controls say."""
        from sarlab.lab.measure import latent_columns

        choice = {name: self.controls[name].value for name in ("scheme", "bits", "granularity", "calibration")}
        if choice["scheme"] in ("float16", "bfloat16"):
            choice["bits"] = 16
        try:
            made, tables = self.quantizer(QuantizerSpec(**choice))
            quantized = made.quantize(self.latent)
        except SarlabError as error:
            self.state: dict[str, float | str] = {"error": str(error)}
            self.report.value = numbers(self.state)
            return
        restored = synthesized(self.network, made.dequantize(quantized), self.subject)
        self.restored.show(restored, self.subject.clip)
        self.added.show_error(restored - self.whole, LIMIT)
        pixels = self.subject.db.size
        row = latent_columns(
            made, quantized, self.latent, tables, pixels=pixels, native_bits=self.subject.scene.native_bits
        )
        symbols = quantized.integers[0].flatten(1).numpy()
        first = int(np.argmax(self.latent[0].flatten(1).std(1).numpy()))
        used, counts = np.unique(symbols[first], return_counts=True)
        self.levels.value = chart([("widest channel", used, counts)], x="level", y="how often")
        self.state = {
            "fixed length, bit per pixel": made.bits(self.latent.shape) / pixels,
            "range coded, bit per pixel": row.get("coded_bpp", float("nan")),
            "entropy, bit per value": row.get("latent_entropy", float("nan")),
            "PSNR in dB": self.subject.psnr(restored),
            "lost to quantization in dB": self.subject.psnr(self.whole) - self.subject.psnr(restored),
            "levels in use": f"{100 * row.get('level_usage', float('nan')):.0f} %",
            "values out of range": f"{100 * row['saturated_share']:.2f} %",
        }
        self.report.value = numbers(self.state)


@functools.lru_cache(maxsize=8)
def training_latents(network: Any) -> list[Any]:
    """Latents of the embedded training scenes."""
    import torch

    with torch.inference_mode():
        return [network.analysis(raster.values[None, None]) for raster in _training().training]
