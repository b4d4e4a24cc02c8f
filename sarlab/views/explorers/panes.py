"""What explorers are made of: pictures, numbers, small charts, and results that are computed ahead."""

from __future__ import annotations

import html
import io
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np

from sarlab.scenes.radiometry import to_gray
from sarlab.views.style import BLUE, MUTED, VERMILION

#: Side of a picture on the screen, in pixels.
SIDE = 320


def png(gray: np.ndarray) -> bytes:
    """Picture of a (H, W) or (H, W, 3) array of uint8, quickly."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(gray).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def signed(error: np.ndarray, limit: float) -> np.ndarray:
    """Picture of a signed error: blue below, orange above, white at zero; (H, W) → (H, W, 3) uint8."""
    share = np.clip(np.nan_to_num(np.asarray(error, np.float32)) / limit, -1, 1)[..., None]
    white, low, high = (np.array(color, np.float32) for color in ((247, 247, 247), (45, 80, 160), (196, 80, 10)))
    return np.round(white + np.abs(share) * (np.where(share < 0, low, high) - white)).astype(np.uint8)


class Picture(widgets.VBox):
    """A picture with its title; `show` replaces what it shows."""

    def __init__(self, title: str, side: int = SIDE):
        self.image = widgets.Image(format="png", layout=widgets.Layout(width=f"{side}px", object_fit="contain"))
        self.title = widgets.HTML(f"<b>{html.escape(title)}</b>")
        super().__init__([self.title, self.image])
        self.array: np.ndarray | None = None

    def show(self, db: np.ndarray, clip: tuple[float, float]) -> None:
        """Show an image in dB between the ends of `clip`."""
        self.array = db
        self.image.value = png(to_gray(db, clip))

    def show_error(self, error: np.ndarray, limit: float) -> None:
        """Show a signed error in dB, saturated at ±`limit`."""
        self.array = error
        self.image.value = png(signed(error, limit))


def numbers(entries: Mapping[str, float | str]) -> str:
    """A small table as HTML."""
    rows = "".join(
        f"<tr><td style='padding-right:1.5em'>{html.escape(name)}</td><td style='text-align:right'>"
        f"{html.escape(value if isinstance(value, str) else '–' if value != value else f'{value:.4g}')}</td></tr>"
        for name, value in entries.items()
    )
    return f"<table style='font-variant-numeric:tabular-nums;line-height:1.5'>{rows}</table>"


def chart(
    series: Sequence[tuple[str, Any, Any]],
    *,
    x: str,
    y: str,
    points: bool = False,
    width: int = 330,
    height: int = 190,
) -> str:
    """Lines or points as inline SVG with labeled ends; drawn in a millisecond, unlike a figure.

    Parameters
    ----------
    series : sequence of (label, x values, y values)
        Values are array_like.
    x, y : str
        Names and units of the axes.
    points : bool
        Markers instead of lines.
    """
    finite = [(n, np.asarray(a, float), np.asarray(b, float)) for n, a, b in series]
    finite = [(n, a[np.isfinite(a) & np.isfinite(b)], b[np.isfinite(a) & np.isfinite(b)]) for n, a, b in finite]
    finite = [(n, a, b) for n, a, b in finite if len(a)]
    if not finite:
        return "<i>nothing to draw</i>"
    low_x, high_x = (f(f(a) for _, a, _ in finite) for f in (min, max))
    low_y, high_y = (f(f(b) for _, _, b in finite) for f in (min, max))
    left, bottom, top, right = 46, 34, 10, 8
    span_x, span_y = (high_x - low_x) or 1.0, (high_y - low_y) or 1.0

    def place(a: np.ndarray, b: np.ndarray) -> str:
        u = left + (a - low_x) / span_x * (width - left - right)
        v = height - bottom - (b - low_y) / span_y * (height - bottom - top)
        return " ".join(f"{p:.1f},{q:.1f}" for p, q in zip(u, v, strict=True))

    parts = []
    for (name, a, b), color in zip(finite, (BLUE, VERMILION, MUTED) * 9, strict=False):
        if points:
            parts += [
                f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3.5" fill="{color}"/>'
                for p in place(a, b).split()
            ]
        else:
            parts.append(f'<polyline points="{place(a, b)}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        parts.append(
            f'<text x="{width - right}" y="{top + 12 * len([p for p in parts if p.startswith("<text")]) + 10}" text-anchor="end" fill="{color}">{html.escape(name)}</text>'
        )
    axes = (
        f'<path d="M{left},{top}V{height - bottom}H{width - right}" fill="none" stroke="{MUTED}"/>'
        f'<text x="{left}" y="{height - bottom + 13}">{low_x:.3g}</text><text x="{width - right}" y="{height - bottom + 13}" text-anchor="end">{high_x:.3g}</text>'
        f'<text x="{left - 4}" y="{height - bottom}" text-anchor="end">{low_y:.3g}</text><text x="{left - 4}" y="{top + 9}" text-anchor="end">{high_y:.3g}</text>'
        f'<text x="{(left + width) / 2}" y="{height - 5}" text-anchor="middle">{html.escape(x)}</text>'
        f'<text transform="translate(11 {height / 2}) rotate(-90)" text-anchor="middle">{html.escape(y)}</text>'
    )
    return f'<svg width="{width}" height="{height}" font-size="10" fill="{MUTED}" role="img" aria-label="{html.escape(y)} over {html.escape(x)}">{axes}{"".join(parts)}</svg>'


class Ahead:
    """Results computed ahead in a thread, with a progress bar; what is asked for first is computed first.

    Parameters
    ----------
    compute : callable
        Key → result.
    """

    def __init__(self, compute: Callable[[Any], Any]):
        self._compute, self._done = compute, dict[Hashable, Any]()
        self._lock, self._generation = threading.Lock(), 0
        self._thread: threading.Thread | None = None
        self.progress = widgets.IntProgress(description="ahead", layout=widgets.Layout(width="260px"))

    def __contains__(self, key: Hashable) -> bool:
        return key in self._done

    def get(self, key: Hashable) -> Any:
        """Result of a key, computed now where it is not there yet."""
        if key not in self._done:
            result = self._compute(key)
            with self._lock:
                self._done[key] = result
        return self._done[key]

    def start(self, keys: Iterable[Hashable]) -> None:
        """Compute the results of `keys` in the background; an earlier batch stops after the one at hand."""
        wanted = [key for key in keys if key not in self._done]
        self._generation += 1
        self.progress.max, self.progress.value = max(len(wanted), 1), 0
        self._thread = threading.Thread(target=self._run, args=(wanted, self._generation), daemon=True)
        self._thread.start()

    def _run(self, wanted: list[Hashable], generation: int) -> None:
        for count, key in enumerate(wanted, start=1):
            if generation != self._generation:
                return
            try:
                self.get(key)
            except Exception:  # what is wrong is said when the result is asked for
                continue
            finally:
                self.progress.value = count

    def wait(self, seconds: float | None = None) -> None:
        """Until the batch is done; for tests and scripts."""
        if self._thread is not None:
            self._thread.join(seconds)
