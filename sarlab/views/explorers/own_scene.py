"""A scene of one's own: open it, look at it, compress it, keep the file."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets

from sarlab.errors import SarlabError
from sarlab.views.explorers.base import Explorer
from sarlab.views.explorers.panes import numbers
from sarlab.views.explorers.rate_distortion import RateDistortionExplorer, subject_of

#: Largest window that is explored, in pixels a side; the whole scene goes through `sarlab compress`.
LARGEST = 1024


class OwnSceneExplorer(Explorer):
    """Path and quantity, then everything that `RateDistortionExplorer` offers on a window of the scene."""

    def __init__(self, path: str = "", quantity: str = "auto"):
        self.controls = {
            "path": widgets.Text(path, placeholder="scene.tif", description="file", continuous_update=False),
            "quantity": widgets.Dropdown(
                options=("auto", "complex", "amplitude", "intensity", "db"), value=quantity, description="quantity"
            ),
            "band": widgets.Dropdown(options=[], description="band"),
            "top": widgets.IntSlider(0, min=0, max=0, description="top", continuous_update=False),
            "left": widgets.IntSlider(0, min=0, max=0, description="left", continuous_update=False),
        }
        self.report, self.place = widgets.HTML("Name a GeoTIFF, a COG or an .npy file."), widgets.VBox()
        self.explorer: RateDistortionExplorer | None = None
        self.state: dict[str, float | str] = {}
        self.wire(self.report, self.place, opening=("path", "quantity"))
        if path:
            self.open()

    def open(self) -> None:
        """Another file: its bands, and the window in its middle."""
        from sarlab.scenes.readers import open_scene

        path = self.controls["path"].value.strip()
        if not path:
            return
        try:
            with open_scene(Path(path), quantity=self.controls["quantity"].value) as source:
                bands, (_, height, width) = source.bands, source.shape
        except SarlabError as error:
            self.state = {"error": str(error)}
            self.report.value = numbers(self.state)
            return
        with self.unobserved():
            self.controls["band"].options = list(bands)
            for name, length in (("top", height), ("left", width)):
                self.controls[name].max = max(0, length - min(length, LARGEST))
                self.controls[name].value = self.controls[name].max // 2
        self.update()

    def update(self) -> None:
        """Open the window that the controls name."""
        from sarlab.scenes.readers import open_scene

        path = Path(self.controls["path"].value.strip())
        try:
            with open_scene(path, quantity=self.controls["quantity"].value) as source:
                _, height, width = source.shape
                corner = self.controls["top"].value, self.controls["left"].value
                window = source.read((*corner, min(height, LARGEST), min(width, LARGEST)))
            subject = subject_of(window, self.controls["band"].value)
            self.explorer = RateDistortionExplorer(subject=subject)
        except SarlabError as error:
            self.state = {"error": str(error)}
            self.report.value = numbers(self.state)
            return
        self.state = {
            "scene": f"{path.name}, {height} × {width}", "quantity": window.quantity,
            "range of the picture in dB": "{:.1f} to {:.1f}".format(*subject.clip),
            "to compress all of it": f"sarlab compress {path} {path.stem}.sarl --quantity {window.quantity}",
        }  # fmt: skip
        self.report.value = numbers(self.state)
        self.place.children = (self.explorer.widget,)
