"""Pictures of scenes: original, reconstruction and error; histograms; a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sarlab.views import style
from sarlab.views.figure import Figure, Panel
from sarlab.views.style import BLUE, GRAY, GRID, INK, MUTED, SIGNED, VERMILION
from sarlab.views.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Longest side of an overview in pixels; larger scenes are averaged down to it.
OVERVIEW = 400


def scene_triptych(
    original_db: np.ndarray,
    reconstruction_db: np.ndarray,
    clip: tuple[float, float],
    *,
    zoom: tuple[int, int, int] | None = None,
    title: str = "",
) -> Figure:
    """Original, reconstruction and signed error, each with the same detail enlarged below it.

    Parameters
    ----------
    original_db, reconstruction_db : ndarray, shape (height, width), float
        In dB; NaN where there is no measurement.
    clip : (low, high)
        Range of gray values in dB. Display only: nothing is clipped in the data.
    zoom : (row, column, side), optional
        Detail in pixels. Default: the 64×64 window with the strongest structure.
    title : str

    Returns
    -------
    Figure
    """
    original, reconstruction = (np.asarray(a, np.float64) for a in (original_db, reconstruction_db))
    error = np.where(np.isfinite(original) & np.isfinite(reconstruction), 0.0, np.nan)
    np.subtract(reconstruction, original, out=error, where=~np.isnan(error))
    row, column, side = zoom or busiest_window(original)
    finite = np.abs(error[np.isfinite(error)])
    limit = max(0.5, np.ceil(2 * np.quantile(finite, 0.99)) / 2) if finite.size else 1.0
    rmse = float(np.sqrt(np.mean(finite**2))) if finite.size else float("nan")
    step = _step(original.shape)
    panels = []
    with style.style():
        for name, image, limits, cmap in (
            ("original", original, clip, GRAY),
            ("reconstruction", reconstruction, clip, GRAY),
            ("error (reconstruction − original)", error, (-limit, limit), SIGNED),
        ):
            signed = cmap == SIGNED
            detail = image[row : row + side, column : column + side]
            overview = average(image, step, linear=not signed)
            panels.append(
                Panel(
                    _with_detail(name, overview, detail, limits, cmap, (row, column, side), step),
                    _words(name, image, signed),
                )
            )
    return Figure(
        panels, title=title, narrowest=190,
        caption=f"Gray from {number(clip[0])} to {number(clip[1])} dB, values beyond drawn as black or white. The frame marks the "
        f"detail of {side}×{side} pixels below. Error: root mean square {number(rmse, 2)} dB."
        + (f" Overviews are averaged {step}×{step} to fit the page." if step > 1 else ""),
    )  # fmt: skip


def busiest_window(image_db: np.ndarray, side: int = 64) -> tuple[int, int, int]:
    """(row, column, side) of the window in which a smoothed image varies most: structure, not speckle."""
    from scipy.ndimage import uniform_filter

    height, width = image_db.shape
    side = min(side, height, width)
    filled = np.where(
        np.isfinite(image_db),
        image_db,
        np.nanmean(np.where(np.isfinite(image_db), image_db, np.nan)) if np.isfinite(image_db).any() else 0.0,
    )
    smooth = uniform_filter(filled, 7, mode="nearest")
    best, where = -1.0, (0, 0)
    for row in range(0, height - side + 1, max(1, side // 4)):
        for column in range(0, width - side + 1, max(1, side // 4)):
            spread = float(smooth[row : row + side, column : column + side].std())
            if spread > best:
                best, where = spread, (row, column)
    return (*where, side)


def average(image: np.ndarray, step: int, *, linear: bool = True) -> np.ndarray:
    """Block means for display: of intensity where the image is in dB (`linear`), of the values otherwise."""
    if step <= 1:
        return image
    height, width = (n // step * step for n in image.shape)
    values = 10 ** (image[:height, :width] / 10) if linear else image[:height, :width]
    with np.errstate(divide="ignore", invalid="ignore"):
        means = values.reshape(height // step, step, width // step, step).mean(axis=(1, 3))
        return 10 * np.log10(means) if linear else means


def _step(shape: tuple[int, ...]) -> int:
    return max(1, int(np.ceil(max(shape) / OVERVIEW)))


def _with_detail(
    name: str, overview: np.ndarray, detail: np.ndarray, limits: tuple[float, float], cmap: str,
    frame: tuple[int, int, int], step: int,
) -> Any:  # fmt: skip
    """Overview, detail and color bar below each other."""
    from matplotlib.figure import Figure as Drawing
    from matplotlib.patches import Rectangle

    # Fixed positions in inches, so that the three drawings line up: title, overview, gap, detail, color bar, its label.
    wide, title, gap, bar = 2.6, 0.28, 0.1, 0.46
    aspect = float(np.clip(overview.shape[0] / overview.shape[1], 0.25, 2.0))
    high = title + wide * aspect + gap + wide + bar
    drawing = Drawing(figsize=(wide, high))
    top = drawing.add_axes((0, (bar + wide + gap) / high, 1, wide * aspect / high))
    bottom = drawing.add_axes((0.005, bar / high, 0.99, wide / high))
    below = drawing.add_axes((0.005, (bar - 0.14) / high, 0.99, 0.07 / high))
    top.set_title(name)
    show(top, overview, limits, cmap)
    row, column, side = (value / step for value in frame)
    top.add_patch(Rectangle((column - 0.5, row - 0.5), side, side, fill=False, edgecolor=VERMILION, linewidth=1.6))
    shown = show(bottom, detail, limits, cmap)
    for spine in bottom.spines.values():
        spine.set(visible=True, color=VERMILION, linewidth=1.6)
    scale = drawing.colorbar(shown, cax=below, orientation="horizontal")
    scale.outline.set_visible(False)
    low, high_end = limits
    ticks = np.linspace(low, high_end, 5)[1:-1]
    digits = 0 if cmap != SIGNED else 1
    below.set_xticks(
        ticks, [f"{number(t, digits, sign=cmap == SIGNED)}{' dB' if i == 1 else ''}" for i, t in enumerate(ticks)]
    )
    return drawing


def show(ax: Axes, image: np.ndarray, limits: tuple[float, float], cmap: str) -> Any:
    """Raster with square pixels; samples without a measurement in the color of the grid."""
    import matplotlib

    colors = matplotlib.colormaps[cmap].with_extremes(bad=GRID)
    values = np.where(np.isnan(image), np.nan, np.clip(image, *limits))
    shown = ax.imshow(np.ma.masked_invalid(values), cmap=colors, vmin=limits[0], vmax=limits[1])
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return shown


def _words(name: str, image: np.ndarray, signed: bool) -> str:
    values = image[np.isfinite(image)]
    if not values.size:
        return f"{name}: no valid sample."
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    size = f"{image.shape[0]}×{image.shape[1]} pixels"
    if signed:
        return f"Error in dB, {size}: median {number(middle, 2)}, nine in ten between {number(low, 2)} and {number(high, 2)}."
    return f"{name.capitalize()} in dB, {size}: median {number(middle)}, nine in ten between {number(low)} and {number(high)}."


def db_histograms(original_db: np.ndarray, reconstruction_db: np.ndarray, clip: tuple[float, float]) -> Figure:
    """Distribution of dB values before and after: what compression narrows, and what lies beyond the clip range.

    Parameters
    ----------
    original_db, reconstruction_db : ndarray, float
        In dB, any shape; NaN and infinities are left out.
    clip : (low, high)
        In dB.
    """
    before, after = (np.asarray(a, float).ravel() for a in (original_db, reconstruction_db))
    before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    both = np.concatenate([before, after]) if before.size + after.size else np.zeros(1)
    low, high = np.quantile(both, (0.0005, 0.9995))
    edges = np.arange(np.floor(4 * min(low, clip[0])) / 4 - 0.5, np.ceil(4 * max(high, clip[1])) / 4 + 0.75, 0.25)
    beyond = [float(np.mean((v < clip[0]) | (v > clip[1]))) if v.size else float("nan") for v in (before, after)]
    spread = [float(v.std()) if v.size else float("nan") for v in (before, after)]
    with style.style():
        drawing, ax = style.axes(4.8, 2.8)
        densities = [
            np.histogram(v, edges, density=True)[0] if v.size else np.zeros(len(edges) - 1) for v in (before, after)
        ]
        ax.stairs(densities[0], edges, fill=True, color=GRID)
        ax.stairs(densities[0], edges, color=INK, linewidth=1.2)
        ax.stairs(densities[1], edges, color=BLUE, linewidth=1.7)
        peaks = [int(np.argmax(d)) for d in densities]
        top = max(float(d.max()) for d in densities) or 1.0
        ax.set_ylim(0, 1.22 * top)
        for value in clip:
            ax.axvline(value, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
        ax.text(clip[0], 1.2 * top, " clip range", color=MUTED, fontsize=8, va="top")
        ax.annotate(
            f"original, σ = {number(spread[0])} dB", (0.99, 0.84), xycoords="axes fraction", ha="right", color=INK
        )
        ax.annotate(
            f"reconstruction, σ = {number(spread[1])} dB",
            (0.99, 0.75),
            xycoords="axes fraction",
            ha="right",
            color=BLUE,
        )
        ax.set_title("probability density (1/dB)")
        ax.set_xlabel("intensity (dB)")
    alt = (
        f"Histograms in dB. Original: standard deviation {number(spread[0], 2)} dB, most frequent value "
        f"{number(edges[peaks[0]] + 0.125)} dB, {number(100 * beyond[0], 2)} % beyond the clip range. Reconstruction: "
        f"standard deviation {number(spread[1], 2)} dB, most frequent value {number(edges[peaks[1]] + 0.125)} dB, "
        f"{number(100 * beyond[1], 2)} % beyond."
    )
    return Figure([Panel(drawing, alt)], caption="Both over all pixels of the scene, in bins of 0.25 dB.")


def gallery(
    pictures: Sequence[tuple[str, np.ndarray, tuple[float, float]]], *, title: str = "", caption: str = ""
) -> Figure:
    """Scenes side by side.

    Parameters
    ----------
    pictures : sequence of (name, ndarray of shape (height, width) in dB, (low, high) in dB)
    """
    from matplotlib.figure import Figure as Drawing

    panels = []
    with style.style():
        for name, image, clip in pictures:
            image = average(np.asarray(image, float), _step(image.shape))
            aspect = float(np.clip(image.shape[0] / image.shape[1], 0.3, 1.6))
            drawing = Drawing(figsize=(2.6, 2.6 * aspect + 0.35), layout="constrained")
            ax = drawing.subplots()
            ax.set_title(name)
            show(ax, image, clip, GRAY)
            panels.append(Panel(drawing, _words(name, image, False)))
    return Figure(panels, title=title, caption=caption, narrowest=170)
