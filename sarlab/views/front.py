"""The front page: the answer in a few sentences and in five numbers.

The answer is the codec's, whose files are what a user gets; the networks of the laboratory come after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sarlab.metrics.intervals import interval
from sarlab.views import codec_rows
from sarlab.views.listing import tiles
from sarlab.views.summary import (
    bands,
    bends,
    best,
    curve,
    main_line,
    measured,
    per_doubling,
    reference_ratio,
    spread,
    steps,
)
from sarlab.views.text import Html, Prose, label, missing, number, ratio, series_name

#: PSNR in dB that the answer speaks of, where the table has it.
FAIR = 30.0


@dataclass(frozen=True)
class CodecAnswer:
    """The learned codec that needs the fewest bits, at a PSNR that many uses ask for.

    Parameters
    ----------
    codec, band : str
    target : float
        PSNR in dB.
    rows : DataFrame
        Its rows there, on the test scenes.
    more : float
        Share of bytes that JPEG 2000 needs more at the same PSNR; NaN where it was not measured.
    """

    codec: str
    band: str
    target: float
    rows: pd.DataFrame
    more: float

    def value(self, column: str) -> float:
        """Mean over the test scenes."""
        return float(pd.to_numeric(self.rows[column], errors="coerce").mean()) if column in self.rows else float("nan")


def codec_answer(codecs: pd.DataFrame | None) -> CodecAnswer | None:
    """What the table of codecs answers; None where it holds no learned codec."""
    if codecs is None or codecs.empty or not {"family", "target_value", "measured_cr"} <= set(codecs):
        return None
    rows = codec_rows.shown(codecs[np.isfinite(pd.to_numeric(codecs["bpp"], errors="coerce"))])
    names = codec_rows.order_by_rate(rows, list(rows.loc[rows["family"] == "learned", "codec"].unique()))
    mine = rows[rows["codec"] == names[0]] if names else rows.iloc[:0]
    if mine.empty:
        return None
    target = min(mine["target_value"].astype(float), key=lambda value: abs(value - FAIR))
    mine = mine[np.isclose(mine["target_value"].astype(float), target)]
    shares = codec_rows.relative_rate(rows[np.isclose(rows["target_value"].astype(float), target)])
    share = shares.loc[shares["codec"] == names[0], "share"]
    more = 1 / float(share.iloc[0]) - 1 if len(share) else float("nan")
    return CodecAnswer(names[0], str(mine["band"].iloc[0]), target, mine, more)


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
        return interval(rows[column], rows["acquisition"]).mean


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


def lead(runs: pd.DataFrame, codecs: pd.DataFrame | None = None) -> Prose:
    """The answer: a paragraph about the codec, where `codecs` were evaluated, and one about the best network."""
    found, coded = answer(runs), codec_answer(codecs)
    if found is None:
        return missing("finished runs")
    if coded is None:
        return Prose(_network_sentences(found))
    contrast = "An autoencoder with a latent of fixed size is limited by its number of values, not by bits: "
    return Prose(f"{_codec_sentences(coded)}\n\n{contrast}{_network_sentences(found, mark='')}")


def _codec_sentences(coded: CodecAnswer) -> str:
    cr, rmse, smooth = (coded.value(column) for column in ("measured_cr", "rmse_db", "rmse_k8_db"))
    bits = coded.value("native_bits")
    product = f"the recorded product of {bits:.0f} bits a sample" if np.isfinite(bits) else "the recorded product"
    sentences = [
        f"**A file {ratio(cr)} smaller than {product}, and pixels are off by {number(rmse, 2)} dB** (root mean square; "
        f"`sarlab compress` with its codec `{coded.codec}` at a PSNR of {number(coded.target, 0)} dB, band {coded.band} "
        f"of the test scenes)."
    ]
    if np.isfinite(smooth):
        sentences.append(f"Averages over 8×8 pixels are off by {number(smooth, 2)} dB.")
    if np.isfinite(coded.more):
        word = "more" if coded.more >= 0 else "fewer"
        sentences.append(f"JPEG 2000 needs {number(abs(coded.more) * 100, 0)} % {word} bytes for the same PSNR.")
    return " ".join(sentences)


def _network_sentences(found: Answer, mark: str = "**") -> str:
    smaller = found.value("measured_cr")
    size = f", in a file {ratio(smaller)} smaller than the recorded product" if np.isfinite(smaller) else ""
    sentences = [
        f"{mark}{ratio(found.at)} fewer values{size}, and pixels are off by {number(found.value('rmse_db'))} dB{mark} "
        f"(root mean square, band {found.band} of the test scenes, {series_name(found.architecture, found.init)}).",
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
        there, over = spread(other["psnr_db"], other["acquisition"], other["seed"])
        certain = f" ({over}: {number(there.low)} to {number(there.high)})" if over else ""
        sentences.append(
            f"On acquisitions that had no part in training it reaches {number(there.mean)} dB{certain} at {ratio(found.at)}."
        )
    return " ".join(sentences)


def numbers(runs: pd.DataFrame, codecs: pd.DataFrame | None = None, *, root: str = "chapters/") -> Html | Prose:
    """Five tiles: the codec's file and what it keeps, and a network's fidelity, its price, the gain of learning."""
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
        (found.value("epi_roa"), "{}", 2, False, f"of 1: edges kept at {at}", _edges(found.value("epi_roa_floor")),
         "examples.html"),
        (found.value("bias_db"), "{} dB", 2, True, f"radiometric bias at {at}", "mean intensity of the scene, after ÷ before",
         "examples.html"),
        (found.value("enl_ratio"), "{}", 2, False, f"looks after ÷ before at {at}", "above 1: speckle was smoothed away",
         "scenes.html"),
        (found.value("measured_cr"), "{}×", 1, False, f"smaller file at {at}", "against the recorded product",
         "reproduce.html"),
    ]  # fmt: skip
    coded = codec_answer(codecs)
    if coded is not None:
        candidates = _codec_tiles(coded) + candidates[:1]
    entries = [
        (form.format(number(value, digits, sign=sign)), text, note, root + link)
        for value, form, digits, sign, text, note, link in candidates
        if np.isfinite(value)
    ]
    return tiles(entries[:5])


def _edges(floor: float) -> str:
    """What the number is, and what another acquisition of the same ground would score."""
    about = "agreement of edge strength, ratio of averages"
    return f"{about}; another acquisition would score {number(floor, 2)}" if np.isfinite(floor) else about


def _codec_tiles(coded: CodecAnswer) -> list[tuple[float, str, int, bool, str, str, str]]:
    """Value, form, digits, sign, text, note and page of the codec's tiles."""
    at = f"at {number(coded.target, 0)} dB"
    saved = 100 * (1 / (1 + coded.more) - 1) if np.isfinite(coded.more) else float("nan")
    return [
        (coded.value("measured_cr"), "{}×", 1, False, f"smaller file {at} PSNR",
         f"{number(coded.value('bpp'), 2)} bit per pixel, codec {coded.codec}", "codecs.html"),
        (saved, "{} %", 0, True, "bytes against JPEG 2000", f"{at} PSNR", "codecs.html"),
        (coded.value("epi_roa"), "{}", 2, False, f"of 1: edges kept {at}", _edges(coded.value("epi_roa_floor")),
         "fidelity.html"),
        (coded.value("bias_db"), "{} dB", 2, True, f"radiometric bias {at}",
         "mean intensity, after ÷ before; --radiometric corrects it", "fidelity.html"),
    ]  # fmt: skip
