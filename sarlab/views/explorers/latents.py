"""Latents: what each channel holds, and what is missing without it."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets
import numpy as np

from sarlab.views.explorers.base import Explorer
from sarlab.views.explorers.panes import Picture, chart, numbers
from sarlab.views.explorers.sources import analyzed, networks, subjects, synthesized

#: Error shown at full color, in dB.
LIMIT = 6.0


class LatentExplorer(Explorer):
    """Channel maps of a network; channels dropped or scaled, and the effect on the image.

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
            "network": widgets.Dropdown(options=list(self.networks), description="network"),
            "channel": widgets.IntSlider(0, min=0, max=1, description="channel"),
            "scale": widgets.FloatSlider(1.0, min=0, max=3, step=0.1, description="scale it by"),
            "kept": widgets.IntSlider(1, min=1, max=1, description="keep first"),
        }
        self.original, self.restored = Picture("recorded"), Picture("from the latent")
        self.error, self.map = Picture(f"error, ±{LIMIT:g} dB"), Picture("channel")
        self.report, self.spectrum = widgets.HTML(), widgets.HTML()
        self.wire(
            widgets.HBox([self.original, self.restored, self.error]),
            widgets.HBox([self.map, self.spectrum, self.report]),
            opening=("scene", "network"),
        )
        self.open()

    def open(self) -> None:
        """Another scene or network: its latent, channels in the order of their variance."""
        self.subject = self.subjects[self.controls["scene"].value]
        self.network = self.networks[self.controls["network"].value]()
        self.latent = analyzed(self.network, self.subject)
        deviation = self.latent[0].flatten(1).std(1).numpy()
        self.order = np.argsort(-deviation)
        self.deviation = deviation[self.order]
        last = len(deviation) - 1
        with self.unobserved():
            channel = self.controls["channel"]
            channel.max, channel.value = last, min(channel.value, last)
            self.controls["kept"].max = last + 1
            self.controls["kept"].value = last + 1
        self.original.show(self.subject.db, self.subject.clip)
        self.spectrum.value = chart(
            [("standard deviation", np.arange(last + 1), self.deviation)], x="channel, by spread", y="spread"
        )
        self.update()

    def update(self) -> None:
        """Change the latent as the controls say, and show what comes out."""
        place, scale = self.controls["channel"].value, self.controls["scale"].value
        kept = self.controls["kept"].value
        channel = int(self.order[place])
        changed = self.latent.clone()
        changed[:, channel] *= scale
        changed[:, self.order[kept:].copy()] = 0
        restored = synthesized(self.network, changed, self.subject)
        self.restored.show(restored, self.subject.clip)
        self.error.show_error(restored - self.subject.db, LIMIT)
        plane = self.latent[0, channel].numpy()
        spread = 3 * float(plane.std() or 1.0)
        self.map.show(
            np.kron(plane, np.ones((8, 8), np.float32)), (float(plane.mean()) - spread, float(plane.mean()) + spread)
        )
        self.map.title.value = f"<b>channel {place} of {len(self.order)} by spread</b>"
        whole = synthesized(self.network, self.latent, self.subject)
        self.state = {
            "PSNR in dB": self.subject.psnr(restored),
            "with all channels as they are": self.subject.psnr(whole),
            "share of the energy kept": float(np.square(self.deviation[:kept]).sum() / np.square(self.deviation).sum()),
            "values kept for each image sample": kept
            * self.latent.shape[2]
            * self.latent.shape[3]
            / self.subject.db.size,
        }
        self.report.value = numbers(self.state)
