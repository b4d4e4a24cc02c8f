"""Speckle for a number of looks: what it does to an image, and the law it follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sarlab.views import style
from sarlab.views.figure import Figure, Panel
from sarlab.views.scenes import show
from sarlab.views.style import GRAY, INK, SERIES
from sarlab.views.text import number


def speckle_deviation_db(looks: float) -> float:
    """Standard deviation of speckle in dB: 10/ln 10 · √ψ₁(L), gamma-distributed intensity of `looks` looks."""
    from scipy.special import polygamma

    return float(10 / np.log(10) * np.sqrt(polygamma(1, looks)))


def speckle_density_db(values_db: np.ndarray, looks: float) -> np.ndarray:
    """Probability density (1/dB) of the speckle of unit mean intensity, at values in dB."""
    from scipy.special import gammaln

    neper = np.log(10) / 10
    u = neper * np.asarray(values_db, float)
    return neper * np.exp(looks * np.log(looks) + looks * u - looks * np.exp(u) - gammaln(looks))


def speckle(looks: Sequence[float] = (1, 4.4, 16, 64), *, seed: int = 0) -> Figure:
    """The same two fields, 3 dB apart, through speckle of several numbers of looks, and the law it follows.

    Parameters
    ----------
    looks : sequence of float
    seed : int
        Of the draw that is shown.
    """
    from matplotlib.figure import Figure as Drawing

    rng = np.random.default_rng(seed)
    fields = np.where(np.arange(96) < 48, 0.0, 3.0) * np.ones((96, 1))
    with style.style():
        drawing = Drawing(figsize=(4.4, 4.55), layout="constrained")
        for ax, number_of_looks in zip(drawing.subplots(2, 2).flat, looks, strict=False):
            drawn = fields + 10 * np.log10(rng.gamma(number_of_looks, 1 / number_of_looks, fields.shape))
            show(ax, drawn, (-12, 10), GRAY)
            ax.set_title(f"L = {number_of_looks:g}", fontweight="normal")
        density, ax = style.axes(4.4, 4.2)
        x = np.linspace(-15, 8, 400)
        ends = []
        for color, number_of_looks in zip((INK, *SERIES), looks, strict=False):
            y = speckle_density_db(x, number_of_looks)
            ax.plot(x, y, color=color)
            ends.append((float(x[np.argmax(y)]), float(y.max()), number_of_looks, color))
        for peak, top, number_of_looks, color in ends:
            ax.plot([-15, peak], [top, top], color=color, linewidth=0.5)
            ax.annotate(
                f"L = {number_of_looks:g}: σ = {number(speckle_deviation_db(number_of_looks), 2)} dB", (-15, top), (0, 2),
                textcoords="offset points", va="bottom", color=color,
            )  # fmt: skip
        ax.set_title("probability density (1/dB)")
        ax.set_xlabel("speckle, relative to the mean intensity (dB)")
        ax.set_ylim(0, None)
    numbers = "; ".join(f"{number(speckle_deviation_db(v), 2)} dB for {v:g}" for v in looks)
    return Figure(
        [
            Panel(drawing, f"Two fields 3 dB apart under simulated speckle of {', '.join(f'{v:g}' for v in looks)} looks: hardly told apart at the first, plain at the last."),
            Panel(density, f"Density of speckle in dB by number of looks. Standard deviations: {numbers}."),
        ],
        title="The fewer looks, the more of an image is speckle",
        caption="Left: a bright and a dark field, 3 dB apart, simulated (gamma-distributed intensity, independent pixels). Right: "
        "the law that the speckle follows, in closed form.",
    )  # fmt: skip
