"""Speckle explorer: one reflectivity at any number of looks."""

from __future__ import annotations

import functools

import ipywidgets as widgets
import numpy as np
from scipy.special import gammaln

from sarlab.metrics.bounds import speckle_floor, speckle_std
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.scenes.simulate import reflectivity, speckle
from sarlab.views.explorers.controls import Explorer, Picture, State, chart

CLIP = (-25.0, 5.0)


@functools.lru_cache(maxsize=4)
def _truth(side: int, seed: int, homogeneous: bool) -> np.ndarray:
    truth = np.full((side, side), 0.1) if homogeneous else np.add(*reflectivity((side, side), seed))
    return truth.astype(np.float32)


class SpeckleExplorer(Explorer):
    """Pictures with and without speckle, and the histogram of the speckle with the law it follows."""

    def __init__(self, side: int = 512):
        self.side = side
        controls = {
            "looks": widgets.FloatLogSlider(4.4, min=0, max=2, step=0.05, description="looks"),
            "correlation": widgets.FloatSlider(0.0, min=0, max=0.9, step=0.1, description="correlation"),
            "seed": widgets.IntSlider(0, min=0, max=20, description="scene"),
            "homogeneous": widgets.Checkbox(False, description="homogeneous"),
        }
        low, high = CLIP
        pictures = {"clean": Picture(f"reflectivity, {low:g} to {high:g} dB"), "noisy": Picture("recorded")}
        super().__init__(controls, pictures)
        self.update()

    def show(self) -> State:
        """Draw speckle with the number of looks and the correlation of the controls."""
        looks, correlation = self.controls["looks"].value, self.controls["correlation"].value
        truth = _truth(self.side, self.controls["seed"].value, self.controls["homogeneous"].value)
        field = speckle(truth.shape, looks, np.random.default_rng(self.controls["seed"].value), correlation)
        clean_db = DB_PER_NEPER * np.log(truth)
        field_db = DB_PER_NEPER * np.log(field)
        self.pictures["clean"].show(clean_db, CLIP)
        self.pictures["noisy"].show(clean_db + field_db, CLIP, f"recorded with {looks:.3g} looks")
        counts, edges = np.histogram(field_db, 80, (-20, 10), density=True)
        centers = (edges[1:] + edges[:-1]) / 2
        z = centers / DB_PER_NEPER
        law = np.exp(looks * np.log(looks) + looks * z - looks * np.exp(z) - gammaln(looks)) / DB_PER_NEPER
        series = {"drawn": (centers, counts), "log-gamma law": (centers, law)}
        self.chart.value = chart(series, x="speckle (dB)", y="density (per dB)")
        return {
            "spread of the speckle (dB)": float(field_db.std()),
            "spread by the law (dB)": float(speckle_std(looks)),
            "looks measured on the speckle": float(field.mean() ** 2 / field.var()),
            "correlation of neighbors": float(np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1]),
            "PSNR of perfect despeckling (dB)": float(speckle_floor(looks, CLIP)),
        }
