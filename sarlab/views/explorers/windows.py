"""Windows drawn by hand on a picture, and the number of looks in them."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import numpy as np

from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.looks import enl
from sarlab.views.explorers.panes import numbers

#: A window of fewer pixels tells nothing about looks.
FEWEST = 25


class Windows:
    """Rectangles on an image, and its equivalent number of looks in each, before and after compression.

    With ``%matplotlib widget`` the rectangles are drawn with the mouse; `add` does the same by code.

    Parameters
    ----------
    clip : (low, high)
        Of the picture, in dB.
    """

    def __init__(self, clip: tuple[float, float]):
        self.clip = clip
        self.rectangles: list[tuple[int, int, int, int]] = []
        self.original: np.ndarray | None = None
        self.restored: np.ndarray | None = None
        self.report = widgets.HTML("Draw a rectangle over a homogeneous area.")
        self.clear_button = widgets.Button(description="clear windows")
        self.clear_button.on_click(lambda button: self.clear())
        self._axes: Any = None
        self._selector: Any = None
        self.widget = widgets.VBox([self.clear_button, self.report])

    def draw_on(self) -> Any:
        """Figure to draw on; shows the original."""
        import matplotlib.pyplot as plt
        from matplotlib.backend_bases import MouseButton
        from matplotlib.widgets import RectangleSelector

        with plt.ioff():
            figure, self._axes = plt.subplots(figsize=(4, 4), layout="constrained")
        self._axes.set_axis_off()
        self._selector = RectangleSelector(self._axes, self._drawn, useblit=True, button=MouseButton.LEFT)
        self._repaint()
        return figure.canvas

    def show(self, original: np.ndarray, restored: np.ndarray) -> None:
        """Other images in dB under the same windows."""
        moved = self.original is None or self.original.shape != original.shape
        self.original, self.restored = original, restored
        if moved:
            self.rectangles.clear()
        if self._axes is not None and (moved or not self._axes.images):
            self._repaint()
        self.update()

    def add(self, top: int, left: int, height: int, width: int) -> None:
        """One more window, cut to the image; too small ones are left out."""
        if self.original is None:
            return
        rows, columns = self.original.shape
        top, left = max(0, min(top, rows)), max(0, min(left, columns))
        height, width = min(height, rows - top), min(width, columns - left)
        if height * width >= FEWEST:
            self.rectangles.append((top, left, height, width))
        self.update()

    def clear(self) -> None:
        """No window."""
        self.rectangles.clear()
        self.update()
        self._repaint()

    def update(self) -> None:
        """Looks in every window."""
        self.state: dict[str, float | str] = {}
        if self.original is None or self.restored is None or not self.rectangles:
            self.report.value = "Draw a rectangle over a homogeneous area."
            return
        before, after = (np.exp(image / DB_PER_NEPER) for image in (self.original, self.restored))
        for number, window in enumerate(self.rectangles, start=1):
            looks = [looks_in(image, window) for image in (before, after)]
            self.state[f"window {number}: looks before → after"] = " → ".join(f"{value:.2f}" for value in looks)
        self.report.value = numbers(self.state)

    def _drawn(self, press: Any, release: Any) -> None:
        (x0, x1), (y0, y1) = (sorted((getattr(press, k), getattr(release, k))) for k in ("xdata", "ydata"))
        self.add(round(y0), round(x0), round(y1 - y0), round(x1 - x0))
        self._repaint()

    def _repaint(self) -> None:
        if self._axes is None or self.original is None:
            return
        from matplotlib.patches import Rectangle

        self._axes.clear()
        self._axes.set_axis_off()
        self._axes.imshow(self.original, cmap="gray", vmin=self.clip[0], vmax=self.clip[1])
        for top, left, height, width in self.rectangles:
            self._axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor="tab:orange"))
        self._axes.figure.canvas.draw_idle()


def looks_in(intensity: np.ndarray, window: tuple[int, int, int, int]) -> float:
    """Equivalent number of looks in one window; NaN where it has none."""
    top, left, height, width = window
    part = intensity[top : top + height, left : left + width]
    if not np.isfinite(part).any() or np.nanvar(part) == 0:
        return float("nan")
    return float(enl(part, windows=[(0, 0, *part.shape)]))
