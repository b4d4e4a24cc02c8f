"""The front page: the answer in a sentence and in five numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sarlab.views.listing import tiles
from sarlab.views.summary import (
    bands,
    bends,
    best,
    curve,
    interval,
    main_line,
    measured,
    per_doubling,
    reference_ratio,
    steps,
)
from sarlab.views.text import Html, Prose, label, missing, number, ratio, series_name


@dataclass(frozen=True)
class Answer:
    """The best network at the ratio that the front page speaks of.

    Parameters
    ----------
    band : str
    at : float
        Ratio.
    architecture, init : str
    rows : DataFrame
        Its rows on the test scenes, at every ratio.
    elsewhere : DataFrame
        Its rows on other acquisitions.
    everyone : DataFrame
        Rows of all series on the test scenes.
    """

    band: str
    at: float
    architecture: str
    init: str
    rows: pd.DataFrame
    elsewhere: pd.DataFrame
    everyone: pd.DataFrame

    def value(self, column: str) -> float:
        """Mean of a column over the test scenes at the ratio `at`."""
        rows = self.rows[self.rows["dimension_ratio"] == self.at]
        if column not in rows:
            return float("nan")
        return interval(rows[column], rows["acquisition"], rows["seed"]).mean


def answer(runs: pd.DataFrame) -> Answer | None:
    """What the tables answer; None where they hold no measured run."""
    rows = main_line(measured(runs))
    if rows.empty:
        return None
    band = bands(rows)[0]
    rows = rows[rows["band"] == band]
    test = rows[rows["split"] == "test"] if (rows["split"] == "test").any() else rows
    at = reference_ratio(test)
    point = best(curve(test, "psnr_db"), at)
    if point is None:
        return None

    def mine(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame["architecture"] == point["architecture"]) & (frame["init"] == point["init"])]

    elsewhere = mine(rows[rows["split"] == "independent"])
    return Answer(band, at, point["architecture"], point["init"], mine(test), elsewhere, test)


def lead(runs: pd.DataFrame) -> Prose:
    """The answer in two or three sentences."""
    found = answer(runs)
    if found is None:
        return missing("finished runs")
    name = series_name(found.architecture, found.init)
    smaller = found.value("measured_cr")
    size = f", in a file {ratio(smaller)} smaller than the recorded product" if np.isfinite(smaller) else ""
    sentences = [
        f"**{ratio(found.at)} fewer values{size}, and pixels are off by {number(found.value('rmse_db'))} dB** "
        f"(root mean square, band {found.band} of the test scenes, {name}).",
    ]
    ratios = np.sort(found.rows["dimension_ratio"].unique())
    if len(ratios) > 1:
        points = curve(found.rows, "psnr_db").set_index("dimension_ratio")["mean"]
        sentences.append(
            f"Between {ratio(ratios[0])} and {ratio(ratios[-1])} the PSNR of this network goes from "
            f"{number(points[ratios[0]])} to {number(points[ratios[-1]])} dB."
        )
    other = found.elsewhere[found.elsewhere["dimension_ratio"] == found.at]
    if len(other):
        there = interval(other["psnr_db"], other["acquisition"], other["seed"])
        spread = f" (95 % interval {number(there.low)} to {number(there.high)})" if there.over else ""
        sentences.append(
            f"On acquisitions that had no part in training it reaches {number(there.mean)} dB{spread} at {ratio(found.at)}."
        )
    return Prose(" ".join(sentences))


def numbers(runs: pd.DataFrame, *, root: str = "chapters/") -> Html | Prose:
    """Five tiles: fidelity, its price, the gain of learning, edges, radiometry."""
    found = answer(runs)
    if found is None:
        return Prose()
    at, rows = ratio(found.at), found.rows
    points = curve(rows, "psnr_db")
    slope = per_doubling(points["dimension_ratio"], points["mean"])
    everyone = curve(found.everyone, "gain_over_klt_db")
    scratch = best(everyone[everyone["init"] == "scratch"], found.at)
    found_steps = steps(points["dimension_ratio"], points["mean"])
    price = f"PSNR, from {ratio(points['dimension_ratio'].min())} to {ratio(points['dimension_ratio'].max())}"
    if bends(found_steps):
        first, last = found_steps[0], found_steps[-1]
        price = (
            f"PSNR on average: {number(first.change)} dB from {ratio(first.start)} to {ratio(first.end)}, "
            f"{number(last.change)} dB from {ratio(last.start)} to {ratio(last.end)}"
        )
    candidates = [
        (found.value("psnr_db"), "{} dB", 1, False, f"PSNR at {at}",
         f"{label(found.architecture, found.init)}; SSIM {number(found.value('ssim'), 2)}", "rate_distortion.html"),
        (slope, "{} dB", 1, True, "for each doubling of the ratio", price, "rate_distortion.html"),
        (found.value("gain_over_klt_db"), "{} dB", 2, True, f"over the KLT at {at}",
         "best linear transform of the same size"
         + (f"; best network from scratch {number(scratch['mean'], 2, sign=True)} dB" if scratch is not None else ""),
         "rate_distortion.html"),
        (found.value("epi_roa"), "{}", 2, False, f"of 1: edges kept at {at}", "agreement of edge strength, ratio of averages",
         "examples.html"),
        (found.value("bias_db"), "{} dB", 2, True, f"radiometric bias at {at}", "mean intensity of the scene, after ÷ before",
         "examples.html"),
        (found.value("enl_ratio"), "{}", 2, False, f"looks after ÷ before at {at}", "above 1: speckle was smoothed away",
         "scenes.html"),
        (found.value("measured_cr"), "{}×", 1, False, f"smaller file at {at}", "against the recorded product",
         "reproduce.html"),
    ]  # fmt: skip
    entries = [
        (form.format(number(value, digits, sign=sign)), text, note, root + link)
        for value, form, digits, sign, text, note, link in candidates
        if np.isfinite(value)
    ]
    return tiles(entries[:5])
