"""Codec explorers: one codec at any quality, two at one rate, and a scene of one's own; windows drawn by hand."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np

from sarlab.codec.api import DEFAULT_CODEC
from sarlab.codec.goals import Goal
from sarlab.errors import SarlabError
from sarlab.metrics import Reference, score
from sarlab.metrics.columns import DB_PER_NEPER, Window
from sarlab.metrics.looks import window_looks
from sarlab.peers import codecs
from sarlab.peers.search import Search, Trial
from sarlab.views import select
from sarlab.views.explorers import controls as ui
from sarlab.views.explorers.controls import Ahead, Explorer, Picture, State, Subject, menu
from sarlab.views.style import VERMILION, name_of

#: Columns of the report: quick ones.
COLUMNS = ("psnr_db", "rmse_db", "bias_db", "epi_roa", "enl_ratio", "ratio_mean", "rmse_k8_db")
#: Errors shown at full color, in dB.
LIMIT = 6.0
#: Bits per pixel at which two codecs are compared.
RATES = (0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5, 2.0)
SIDES = ("left", "right")
#: Fewest pixels of a window whose looks are measured.
FEWEST = 25
#: Largest window of one's own scene, in pixels a side; the whole scene goes through `sarlab compress`.
LARGEST = 1024
PLACE = ("path", "quantity", "band", "top", "left")


def available() -> list[str]:
    """Lossy codecs of this machine, learned ones first."""
    names = [name for name in codecs if codecs[name].available().ok and not codecs[name].capabilities.lossless]
    return sorted(names, key=lambda name: (name != DEFAULT_CODEC, codecs[name].family != "learned", name))


class CodecExplorer(Explorer):
    """Base of explorers of codecs on one scene: the reference of metrics, and the results of each codec.

    `source` and `quantity` are as for ``sarlab sweep``; a `subject` replaces the scenes of the source.
    """

    subject: Any = None
    caches: Mapping[str, Ahead] = {}

    def __init__(self, source: str = "bigearthnet", quantity: str = "auto", subject: Subject | None = None):
        self.subjects = {subject.name: subject} if subject is not None else ui.subjects(source, quantity)
        super().__init__(*self.parts({"scene": menu(self.subjects, "scene")}))
        self.open()

    def parts(self, scene: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Collection[str]]:
        """Controls, those of the scene first; pictures; names of the controls that call `load`."""
        raise NotImplementedError

    def choose(self) -> Subject:
        """Scene of the controls."""
        return self.subjects[self.controls["scene"].value]

    def trial(self, files: Search, value: float) -> Trial:
        """File at a value of the slider."""
        return files.trial(value)

    def load(self) -> None:
        """Reference of the metrics; the results of another scene are dropped."""
        if (subject := self.choose()) is not self.subject:
            for cache in self.caches.values():
                cache.stop()
            self.subject, self.caches = subject, {}
            self.reference = Reference(subject.db, clip=subject.clip, looks=subject.scene.looks)

    def cache(self, codec: str) -> Ahead:
        """Results of a codec on the current scene, by value of the slider."""
        if codec not in self.caches:
            subject, reference = self.subject, self.reference
            files = Search(codecs[codec], subject.scene, {subject.scene.bands[0]: subject.clip})

            def code(value: float) -> tuple[np.ndarray, State]:
                trial = self.trial(files, value)
                db, bpp = files.decode(trial).data[0], files.bpp(trial)
                rate = {"bits per pixel": bpp, "compression ratio": subject.scene.native_bits / bpp}
                seconds = {"encoding (s)": trial.encode_seconds, "decoding (s)": trial.decode_seconds}
                return db, {**rate, **score(reference, db, columns=COLUMNS), **seconds}

            self.caches = {**self.caches, codec: Ahead(code)}
        return self.caches[codec]

    def coded(self, codec: str, value: float) -> tuple[np.ndarray, State]:
        """Decompressed image in dB, and its numbers; with a line of progress if they have to be computed."""
        if value not in self.cache(codec).done:
            self.say(f"compressing with {name_of(codec)}")
        return self.cache(codec).get(value)


class RateDistortionExplorer(CodecExplorer):
    """One codec at any quality: decompressed image, residual, ratio image, numbers, and looks in windows drawn by hand."""

    def parts(self, scene: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Collection[str]]:
        controls = {
            **scene, "codec": menu(available(), "codec"),
            "quality": widgets.SelectionSlider(options=[("0", 0.0)], description="quality"),
        }  # fmt: skip
        self.windows = Windows()
        pictures = {
            "original": self.windows, "restored": Picture("decompressed"),
            "residual": Picture(f"residual, ±{LIMIT:g} dB"), "ratio": Picture("ratio image, ±3 dB"),
        }  # fmt: skip
        return controls, pictures, (*scene, "codec")

    def load(self) -> None:
        """Qualities of the codec; their files are made ahead of the slider."""
        super().load()
        codec, quality = self.controls["codec"].value, self.controls["quality"]
        grid = [float(q) for q in codecs[codec].capabilities.quality.grid]
        with self.unobserved():
            if [value for _, value in quality.options] != grid:
                quality.options = [(f"{q:g}", q) for q in grid]
                quality.value = grid[len(grid) // 2]
        self.coded(codec, quality.value)
        self.below.children = (self.windows.report, self.cache(codec).progress)
        self.cache(codec).start(sorted(grid, key=lambda q: abs(q - quality.value)))

    def show(self) -> State:
        """Show the result of the codec at the quality of the slider."""
        codec, quality = self.controls["codec"].value, self.controls["quality"].value
        (db, found), subject = self.coded(codec, quality), self.subject
        title = f"{name_of(codec)}, {found['bits per pixel']:.3g} bits per pixel"
        self.pictures["restored"].show(db, subject.clip, title)
        self.pictures["residual"].show_error(db - subject.db, LIMIT)
        self.pictures["ratio"].show(subject.db - db, (-3.0, 3.0))
        self.windows.show((subject.db, db), subject.clip)
        done = {name: [found for _, found in list(cache.done.values())] for name, cache in self.caches.items()}
        rate, psnr = "bits per pixel", "psnr_db"
        series = {name: ([s[rate] for s in states], [s[psnr] for s in states]) for name, states in done.items()}
        self.chart.value = ui.chart(series, x=rate, y=select.label(psnr))
        return found


class SideBySideExplorer(CodecExplorer):
    """Reconstruction, residual and metrics of two codecs at one rate.

    Files of all rates are searched for ahead, because a search compresses several times.
    """

    def parts(self, scene: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Collection[str]]:
        names = available()
        controls = {
            **scene, "left": menu(names, "left"),
            "right": menu(names, "right", value="jpeg2000" if "jpeg2000" in names else names[-1]),
            "bpp": widgets.SelectionSlider(options=RATES, value=0.45, description="bits/pixel"),
        }  # fmt: skip
        titles = {"restored": "{}", "residual": f"residual of the {{}}, ±{LIMIT:g} dB"}
        pictures = {f"{kind} {side}": Picture(title.format(side)) for kind, title in titles.items() for side in SIDES}
        return controls, pictures, (*scene, *SIDES)

    def trial(self, files: Search, value: float) -> Trial:
        """File at about `value` bits per pixel."""
        return files.find(Goal("bpp", value))

    def open(self) -> None:
        """Show both codecs, then search for the files of the other rates."""
        super().open()
        caches = list(dict.fromkeys(self.cache(self.controls[side].value) for side in SIDES))
        self.below.children = [cache.progress for cache in caches]
        for cache in caches:
            cache.start(sorted(RATES, key=lambda rate: abs(rate - self.controls["bpp"].value)))

    def show(self) -> State:
        """Show both codecs at the rate of the slider; a codec that cannot reach it leaves its side blank."""
        found = State()
        for side in SIDES:
            codec = self.controls[side].value
            restored, residual = (self.pictures[f"{kind} {side}"] for kind in ("restored", "residual"))
            try:
                db, found[side] = self.coded(codec, self.controls["bpp"].value)
            except SarlabError as error:
                found[side] = {"error": str(error)}
                residual.blank()
                restored.blank(f"{name_of(codec)}: {error}")
                continue
            title = f"{name_of(codec)}, {found[side]['bits per pixel']:.3g} bits per pixel"
            restored.show(db, self.subject.clip, title)
            residual.show_error(db - self.subject.db, LIMIT)
        return found


class OwnSceneExplorer(RateDistortionExplorer):
    """`RateDistortionExplorer` on a window of a file; codec and quality stay when the window moves."""

    def __init__(self, path: str = "", quantity: str = "auto"):
        quantities = ("auto", "complex", "amplitude", "intensity", "db")
        place = {"min": 0, "max": 0, "continuous_update": False}
        controls = {
            "path": widgets.Text(path, placeholder="scene.tif", description="file", continuous_update=False),
            "quantity": widgets.Dropdown(options=quantities, value=quantity, description="quantity"),
            "band": widgets.Dropdown(options=["–"], description="band"),
            "top": widgets.IntSlider(0, description="top", **place),
            "left": widgets.IntSlider(0, description="left", **place),
        }
        self._place: list[Any] = []
        Explorer.__init__(self, *self.parts(controls))
        if path:
            self.open()
        else:
            self.message.value = "Enter the path of a GeoTIFF, COG or .npy file, and press Enter."

    def choose(self) -> Subject:
        """Window of the file: in the middle of a new file, else where the controls are."""
        from sarlab.scenes.readers import open_scene

        place = path, quantity, *_ = [self.controls[name].value for name in PLACE]
        if place == self._place:
            return self.subject
        self.say(f"reading {path}")
        with open_scene(Path(path), quantity=quantity) as source:
            _, height, width = source.shape
            size = min(height, LARGEST), min(width, LARGEST)
            if place[:2] != self._place[:2]:
                with self.unobserved():
                    self.controls["band"].options = list(source.bands)
                    for name, room in (("top", height - size[0]), ("left", width - size[1])):
                        self.controls[name].max, self.controls[name].value = room, room // 2
            place = [self.controls[name].value for name in PLACE]
            scene = source.read((*place[-2:], *size))
        subject, self._place = ui.subject_of(scene, self.controls["band"].value), place
        low, high, name = *subject.clip, html.escape(Path(path).name)
        self.about = (
            f"{name}: {height} × {width} pixels, {scene.quantity}; black to white {low:.1f} to {high:.1f} dB. All of it:<br>"
            f"<code>sarlab compress {name} {Path(name).stem}.sarl --quantity {scene.quantity}</code>"
        )
        return subject


class Windows(widgets.VBox):
    """Picture to draw windows on with the mouse or with `add`, and the equivalent number of looks in each of them."""

    def __init__(self) -> None:
        from ipympl.backend_nbagg import Canvas, FigureManager
        from matplotlib.backend_bases import MouseButton
        from matplotlib.figure import Figure
        from matplotlib.widgets import RectangleSelector

        figure = Figure(figsize=(ui.SIDE / 100, ui.SIDE / 100), dpi=100)
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.canvas = Canvas(figure)
        FigureManager(self.canvas, 0)
        for part in ("header_visible", "footer_visible", "toolbar_visible", "resizable"):
            setattr(self.canvas, part, False)
        self._selector = RectangleSelector(self.axes, self._drawn, useblit=True, button=MouseButton.LEFT)
        self.rectangles: list[tuple[int, int, int, int]] = []
        self._artists: list[Any] = []
        self.images: tuple[np.ndarray, ...] = ()
        self.clip, self.state = (0.0, 1.0), State()
        self.report = widgets.HTML()
        clear = widgets.Button(description="clear windows")
        clear.on_click(self.clear)
        title = widgets.HTML("<b>recorded</b>: draw windows here")
        super().__init__([title, self.canvas, clear], layout=widgets.Layout(width=f"{ui.SIDE + 8}px", **ui.WHOLE))

    def show(self, images: tuple[np.ndarray, ...], clip: tuple[float, float]) -> None:
        """Show the first of `images` in dB, and measure looks in all; windows stay if the size does."""
        if self.images and images and self.images[0].shape != images[0].shape:
            self.rectangles.clear()
        self.images, self.clip = images, clip
        self._refresh()

    def blank(self) -> None:
        """Show no scene and no numbers."""
        self.show((), self.clip)

    def add(self, top: int, left: int, height: int, width: int) -> None:
        """Add a window, cut to the image; one of fewer than 25 pixels is left out."""
        rows, columns = self.images[0].shape if self.images else (0, 0)
        top, left = max(0, min(top, rows)), max(0, min(left, columns))
        height, width = min(height, rows - top), min(width, columns - left)
        if height * width >= FEWEST:
            self.rectangles.append((top, left, height, width))
        self._refresh()

    def clear(self, button: object = None) -> None:
        """Remove all windows."""
        self.rectangles.clear()
        self._refresh()

    def _drawn(self, press: Any, release: Any) -> None:
        (x0, x1), (y0, y1) = (sorted((getattr(press, k), getattr(release, k))) for k in ("xdata", "ydata"))
        self.add(round(y0), round(x0), round(y1 - y0), round(x1 - x0))

    def _refresh(self) -> None:
        """Draw the image and the windows; measure looks."""
        from matplotlib.patches import Rectangle

        for artist in self._artists:
            artist.remove()
        low, high = self.clip
        self._artists = [self.axes.imshow(i, cmap="gray", vmin=low, vmax=high) for i in self.images[:1]]
        self.axes.set_axis_off()
        intensities, self.state = [np.exp(image / DB_PER_NEPER) for image in self.images], State()
        for number, (top, left, height, width) in enumerate(self.rectangles if self.images else (), start=1):
            frame = Rectangle((left, top), width, height, fill=False, edgecolor=VERMILION)
            text = self.axes.text(left + 2, top + 2, str(number), color="white", fontsize=7, va="top")
            text.set_backgroundcolor(VERMILION)
            self._artists += [self.axes.add_patch(frame), text]
            looks = (window_looks(image, [Window(top, left, height, width)]).moments[0] for image in intensities)
            self.state[f"looks in window {number}"] = " → ".join(f"{value:.2f}" for value in looks)
        self.report.value = ui.numbers(self.state) if self.state else ""
        self.canvas.draw_idle()
