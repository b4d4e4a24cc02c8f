"""Measures of looks (ENL) and edges (EPI) on a scene without speckle, with it, despeckled, and compressed.

One row per scene, state and variant. On simulated scenes the truth is known: the looks of the recorded scene, and 1 for the
edges of a scene compared with itself. ``low`` and ``high`` are the least and largest value over four positions of the
grid of windows, or over all windows that somebody could have drawn by hand.

Windows of each variant of ENL::

    by hand            one of the largest squares in which the reflectivity is constant (simulated scenes)
    known              all squares of 16 samples in which it is constant
    automatic          `homogeneous_windows` of the recorded scene: of 8 to 64 samples, or the side that fits
    own windows        those found in the image itself
    mode               the mode over the automatic windows instead of the median
    log-cumulants      by log-cumulants over the automatic windows
    local statistics   the mode over all disjoint blocks of 9 samples, homogeneous or not
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sarlab.codec.goals import Goal
from sarlab.errors import CodecError
from sarlab.lab.inputs import Input, measurable
from sarlab.lab.studies import Context, available, correlation_of, despeckled, resumed, simulated_splits, study
from sarlab.metrics import Reference, UndefinedMetric, Window, metrics, score
from sarlab.metrics.columns import once, scalar, to_intensity
from sarlab.metrics.looks import enl, homogeneous_windows, local_looks, mode, window_looks
from sarlab.peers import codecs
from sarlab.peers.search import Search

CODECS, RATE_BPP = ("lapped", "jpeg2000"), 0.5
#: Sides of the automatic windows and of those by hand, and offsets of the grid, in samples.
SIDES, BY_HAND, OFFSETS = (8, 16, 32, 64), (96, 64, 48, 32, 16), (0, 4, 8, 12)
#: Variants of EPI that have a noise floor.
EDGES = [name for name in metrics if f"{name}_floor" in metrics]

Row = dict[str, Any]


@study("looks_edges", version=1)
def looks_edges(context: Context) -> pd.DataFrame:
    """Rows of the first simulated test scene of every number of looks, and of all test and independent scenes."""
    simulated = [measurable(split, ["test"])[0] for *_, split in simulated_splits()]
    return resumed(context, [*simulated, *measurable(context.split)], band_rows)


@once
def shifted_windows(reference: Reference, side: int | None, offset: int) -> list[Window]:
    """Homogeneous windows of a scene without its first rows and columns: their grid lies elsewhere."""
    return homogeneous_windows(reference.intensity[offset:, offset:], side)


def band_rows(item: Input) -> list[Row]:
    """Rows of one band."""
    about, rows = {**item.columns, "correlation": correlation_of(item)}, []
    for state, image in images(item):
        if isinstance(image, CodecError):
            rows.append({**about, "state": state, "reason": str(image)})
            continue
        for row in (*looks_rows(item, state, to_intensity(image)), *edge_rows(item, state, image)):
            rows.append({**about, "state": state, **row})
    return rows


def images(item: Input) -> Iterator[tuple[str, Any]]:
    """State and image in dB, or the error of a codec that cannot make it."""
    reference = item.reference
    if item.clean_db is not None:
        yield "clean", np.asarray(item.clean_db, np.float64)
    yield "recorded", reference.db
    yield "lee", despeckled(item)
    for name in available(CODECS):
        search = Search(codecs[name], item.scene)
        try:
            yield name, search.decode(search.find(Goal("bpp", RATE_BPP))).data[0].astype(np.float64)
        except CodecError as error:
            yield name, error


def looks_rows(item: Input, state: str, image: np.ndarray) -> Iterator[Row]:
    """Variants of ENL of one image of linear intensity."""
    image = np.where(item.reference.valid, image, np.nan)
    truth = {"recorded": item.scene.looks, "clean": np.inf}.get(state) if item.scene.simulated else None

    def row(variant: str, value: Callable[[int], float], side: int | None = None, count: float = np.nan) -> Row:
        """Row of a variant; `value` takes the offset of the grid."""
        found = [scalar(value)(offset) for offset in OFFSETS]
        reason = getattr(found[0], "reason", "")
        return {
            "measure": "enl", "variant": variant, "side": side, "windows": count, "truth": truth, "value": float(found[0]),
            "low": least(found), "high": -least([-looks for looks in found]), "reason": reason,
        }  # fmt: skip

    def median(side: int | None) -> Callable[[int], float]:
        return lambda offset: enl(image[offset:, offset:], windows=shifted_windows(item.reference, side, offset))

    def own(offset: int) -> float:
        return enl(image[offset:, offset:], windows=homogeneous_windows(image[offset:, offset:]))

    def over_windows(statistic: Callable[[Any], float]) -> Callable[[int], float]:
        found = partial(shifted_windows, item.reference, None)
        return lambda offset: statistic(window_looks(image[offset:, offset:], found(offset)))

    if item.clean_db is not None:
        if hand := next((found for side in BY_HAND if (found := constant_windows(item.clean_db, side))), []):
            looks = window_looks(image, hand).moments
            by_hand = row("by hand", lambda _: defined(looks[len(looks) // 2]), hand[0].height, len(hand))
            yield {**by_hand, "low": least(looks), "high": -least(-looks)}
        known = constant_windows(item.clean_db, 16)
        yield row("known", lambda _: enl(image, windows=known), 16, len(known))
    for side in (None, *SIDES):
        count = len(shifted_windows(item.reference, side, 0))
        yield row("automatic" if side is None else f"automatic {side}", median(side), side, count)
    yield row("own windows", own)
    yield row("mode", over_windows(lambda looks: mode(looks.moments)))
    yield row("log-cumulants", over_windows(lambda looks: defined(np.nanmedian(looks.log_cumulants))))
    yield row("local statistics", lambda offset: mode(local_looks(image[offset:, offset:])))


def least(values: Any) -> float:
    """Least finite value; NaN without any."""
    return min((float(value) for value in values if np.isfinite(value)), default=np.nan)


def defined(value: float) -> float:
    """The value, if it is finite."""
    if not np.isfinite(value):
        raise UndefinedMetric("ENL is infinite: the window is constant" if value > 0 else "no window has an ENL")
    return value


def constant_windows(clean_db: np.ndarray, side: int) -> list[Window]:
    """Half-overlapping windows in which the reflectivity is constant."""
    rows, columns = (range(0, length - side + 1, side // 2) for length in clean_db.shape)
    found = [Window(row, column, side, side) for row in rows for column in columns]
    return [window for window in found if np.ptp(clean_db[window.slices]) == 0]


def edge_rows(item: Input, state: str, image: np.ndarray) -> Iterator[Row]:
    """Variants of EPI of one image in dB, against the recorded scene or (``…_clean``) the scene without speckle."""
    scores = score(item.reference, image, columns=[*EDGES, *(f"{name}_floor" for name in EDGES)])
    for name in EDGES:
        against = "clean" if name.endswith("_clean") else "recorded"
        if against == "recorded" or item.clean_db is not None:
            yield {
                "measure": "epi", "variant": name, "truth": 1.0 if state == against else np.nan, "value": scores[name],
                "floor": scores[f"{name}_floor"], "reason": scores.reasons.get(name, ""),
            }  # fmt: skip
