"""Parts of explorers: the base class, pictures, tables of numbers, charts, results computed ahead, scenes."""

from __future__ import annotations

import functools
import html
import io
import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from sarlab.errors import SarlabError
from sarlab.metrics.fidelity import psnr
from sarlab.scenes.catalog import load_split
from sarlab.scenes.radiometry import Normalizer, fit_normalizers, to_db, to_gray
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec
from sarlab.views import select
from sarlab.views.figures import curves
from sarlab.views.style import SIGNED, name_of

#: Widths on the screen in pixels: a picture, and the column of controls and numbers. Two pictures beside the column fit
#: into a notebook that shares 1280 pixels with the file browser.
SIDE, COLUMN = 264, 300
#: A box of ipywidgets scrolls by itself by default.
WHOLE = {"overflow": "visible"}

State = dict[str, Any]


class Picture(widgets.VBox):
    """Picture with its title."""

    def __init__(self, title: str):
        layout = widgets.Layout(width=f"{SIDE}px", height=f"{SIDE}px", object_fit="contain")
        self.image, self.title = widgets.Image(format="png", layout=layout), widgets.HTML()
        super().__init__([self.title, self.image], layout=widgets.Layout(width=f"{SIDE + 8}px", **WHOLE))
        self.usual = title
        self.blank()

    def show(self, db: np.ndarray, clip: tuple[float, float], title: str = "") -> None:
        """Show an image in dB between the ends of `clip`; without a title, under the usual one."""
        self._set(to_gray(db, clip), title)

    def show_error(self, error: np.ndarray, limit: float) -> None:
        """Show a signed error in dB in the colors of the book: neutral at zero, full at ±`limit`."""
        from matplotlib import colormaps

        self._set(colormaps[SIGNED](0.5 + 0.5 * np.nan_to_num(np.asarray(error) / limit), bytes=True), "")

    def blank(self, title: str = "") -> None:
        """Show an empty area."""
        self._set(np.full((1, 1), 235, np.uint8), title)

    def _set(self, gray: np.ndarray, title: str) -> None:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(gray).save(buffer, "PNG", compress_level=1)
        self.gray, self.image.value = gray, buffer.getvalue()
        self.title.value = f"<b>{html.escape(title or self.usual)}</b>"


def numbers(state: State) -> str:
    """Table of a state as HTML; a state of states has a column for each. Columns of metrics get their label and unit."""
    nested = bool(state) and all(isinstance(part, Mapping) for part in state.values())
    frame = pd.DataFrame(state if nested else {"": state}, dtype=object).rename(index=select.label)
    style = f"width:{COLUMN - 12}px;font-variant-numeric:tabular-nums;line-height:1.4"
    texts = frame.map(lambda v: v if isinstance(v, str) else "–" if v != v else f"{v:.4g}".replace("-", "−"))
    return texts.to_html(header=nested, border=0, justify="right").replace("<table", f"<table style='{style}'", 1)


def chart(series: Mapping[str, tuple[Any, Any]], *, x: str, y: str) -> str:
    """Draw each series of (x values, y values) as inline SVG; `x` and `y` are names of the axes with their units."""
    rows = [pd.DataFrame({"series": name, x: a, "mean": b}) for name, (a, b) in series.items()]
    drawn = curves(pd.concat(rows), x, y, "series", log=False)
    return f"<div style='width:{COLUMN - 12}px'>{drawn._repr_html_()}</div>"


class Ahead:
    """Results of `compute` by key, when asked for or ahead of that in a thread with a progress bar."""

    def __init__(self, compute: Callable[[Any], Any]):
        self._compute, self.done = compute, dict[Hashable, Any]()
        self._thread: threading.Thread | None = None
        self.progress = widgets.IntProgress(description="computed", layout=widgets.Layout(width=f"{COLUMN - 12}px"))

    def get(self, key: Hashable) -> Any:
        """Result of a key, computed now if it is not there yet."""
        if key not in self.done:
            self.done[key] = self._compute(key)
        return self.done[key]

    def start(self, keys: Iterable[Hashable]) -> None:
        """Compute the results of `keys` in the background; an earlier batch stops after its current key."""
        wanted = [key for key in keys if key not in self.done]
        self.progress.max, self.progress.value = max(len(wanted), 1), 0

        def fill() -> None:
            for count, key in enumerate(wanted, start=1):
                if self._thread is threading.current_thread():
                    with suppress(Exception):  # raised again when the result is asked for
                        self.get(key)
                    self.progress.value = count

        self._thread = threading.Thread(target=fill, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the batch after its current key."""
        self._thread = None

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the batch to end; for tests and scripts."""
        if self._thread is not None:
            self._thread.join(seconds)


class Explorer:
    """Controls and numbers in a column, pictures beside it, and one line above them for progress and errors.

    A subclass has `show`, which computes everything that is shown from the controls, and `load` if some of the controls,
    named in `opening`, choose what is explored. Each of `pictures` is a `Picture`, or has its method `blank`.
    """

    #: HTML above the pictures when there is neither progress nor an error.
    about = "&nbsp;"

    def __init__(self, controls: dict[str, Any], pictures: dict[str, Any], opening: Collection[str] = ()):
        self.controls, self.pictures, self.state = controls, pictures, State()
        self.message, self.report, self.chart = widgets.HTML(self.about), widgets.HTML(), widgets.HTML()
        self.below = widgets.VBox(layout=widgets.Layout(**WHOLE))
        self._quiet = False
        for name, control in controls.items():
            call = self.open if name in opening else self.update
            control.observe(functools.partial(self._changed, call), "value")
            control.layout.width = f"{COLUMN - 12}px"
        parts = [*controls.values(), self.below, self.report, self.chart]
        column = widgets.VBox(parts, layout=widgets.Layout(width=f"{COLUMN}px", flex="0 0 auto", **WHOLE))
        grid = widgets.HBox([*pictures.values()], layout=widgets.Layout(flex_flow="row wrap", **WHOLE))
        right = widgets.VBox([self.message, grid], layout=widgets.Layout(flex="1 1 0", **WHOLE))
        self.widget = widgets.HBox([column, right], layout=widgets.Layout(**WHOLE))

    def load(self) -> None:
        """Take in what the opening controls choose."""

    def show(self) -> State:
        """Show what the controls choose, and return the numbers."""
        raise NotImplementedError

    def open(self) -> None:
        """Load, then show."""
        self._guarded(self.load, self.show)

    def update(self) -> None:
        """Show what the controls choose; after an error, nothing but the error is shown."""
        self._guarded(self.show)

    def say(self, progress: str) -> None:
        """Write above the pictures what takes a while."""
        self.message.value = f"<i>{html.escape(progress)} …</i>"

    @contextmanager
    def unobserved(self) -> Iterator[None]:
        """Within the block controls can be changed without a call for each."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _guarded(self, *steps: Callable[[], State | None]) -> None:
        try:
            for step in steps:
                found = step()
        except Exception as error:  # of any kind: what stays on the screen would belong to other controls
            text = str(error) if isinstance(error, SarlabError) else f"{type(error).__name__}: {error}"
            self.state, self.report.value, self.chart.value = {"error": text}, "", ""
            self.message.value = f"<b style='color:#b3283a;line-height:1.4'>{html.escape(text)}</b>"
            for picture in self.pictures.values():
                picture.blank()
        else:
            self.state = found or {}
            self.message.value, self.report.value = self.about, numbers(self.state)

    def _changed(self, call: Callable[[], None], change: object) -> None:
        if not self._quiet:
            call()


def menu(options: Iterable[str], description: str, **more: Any) -> widgets.Dropdown:
    """Menu of keys under their names for people."""
    return widgets.Dropdown(options=[(name_of(key), key) for key in options], description=description, **more)


@dataclass(frozen=True, eq=False)
class Subject:
    """One band in dB to explore, with the range of its pictures and of PSNR."""

    name: str
    scene: Scene
    normalizer: Normalizer

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


def subject_of(scene: Scene, band: str = "") -> Subject:
    """Subject of a scene of any real quantity: one band in dB, its own 0.1 to 99.9 percentiles as range."""
    one = to_db(scene).band(band or scene.bands[0])
    return Subject(f"{scene.name} {one.bands[0]}", one, fit_normalizers([one])[one.bands[0]])


@functools.lru_cache(maxsize=2)
def subjects(source: str = "bigearthnet", quantity: str = "auto") -> dict[str, Subject]:
    """Test bands of a source by name, those of its own test split first."""
    split = load_split(SceneSpec(source, quantity))
    bands = ((scene, band) for scene in (*split.test, *split.independent) for band in scene.bands)
    found = (Subject(f"{scene.name} {band}", scene.band(band), split.normalizers[band]) for scene, band in bands)
    return {subject.name: subject for subject in found}
