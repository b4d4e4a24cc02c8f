"""Applications on compressed scenes: maps, detections, changes, fields and texture at equal bytes, and natural differences.

Every codec makes files of the same rates, whose metrics are those of `sarlab.metrics.applications`. Rows without a file::

    original      the scene itself: no difference at all
    redraw        the despeckled scene (and second date) with new speckle of the same looks: unchanged ground again
    second date   another acquisition of the place, if there is one: what differs anyway

**Change detection** takes two dates, coded at the same quality. The second one is another acquisition of the place or else
a redraw, with squares that are 3 dB brighter or darker. The detector is the log-ratio of 9×9 means of intensity less its
median; at the threshold that finds 90 % of the changed samples, ``change_false_alarms`` is the share of unchanged samples
above it, and ``change_false_alarms_added`` what compression adds to that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.ndimage import maximum_filter, minimum_filter

from sarlab.codec.goals import Goal
from sarlab.lab.evaluate import Task, measure
from sarlab.lab.inputs import Input, measurable
from sarlab.lab.studies import Context, available, image_row, resumed, study
from sarlab.metrics import Reference, described
from sarlab.metrics.applications import to_db as to_finite_db
from sarlab.metrics.columns import to_intensity
from sarlab.metrics.speckle import redraw
from sarlab.peers import codecs
from sarlab.scenes.radiometry import local_mean, to_db
from sarlab.scenes.scene import Scene

CODECS = ("lapped", "jpeg2000", "hevc12")
RATES_BPP = (0.06, 0.125, 0.25, 0.5, 1.0, 2.0)
METRICS = (
    *(metric.name for metric in described() if metric.group == "applications"), "enl_ratio", "equivalent_looks_lost",
    "psnr_db", "rmse_db", "rmse_k8_db", "rmse_k32_db", "bias_db", "epi_roa", "targets", "targets_kept", "lost_power_band8",
)  # fmt: skip
#: Changes in dB, the side of the changed squares, and their distance in samples.
CHANGE_DB, SQUARE, SPACING = 3.0, 24, 64
#: Side of the means that are compared, and the share of changed samples that is found.
MEAN_SIDE, DETECTED = 9, 0.9
#: Least likeness of two dates of one ground: 0.4 to 0.99 on the scenes of this package, at most 0.23 on other ground.
SAME_GROUND = 0.3


class Job(NamedTuple):
    """Files of one codec of a band, or, without a codec, its rows that have no file; `other` is its second date."""

    codec: str
    item: Input
    other: Input | None


@study("applications", version=1)
def applications(context: Context) -> pd.DataFrame:
    """Rows of all codecs and rates on every test and independent scene, and natural differences on all scenes."""
    items, trained = measurable(context.split), measurable(context.split, ["train"])
    others = second_dates(items) | second_dates(trained)
    jobs = [Job(name, item, others.get(item)) for item in items for name in ("", *available(CODECS))]
    jobs += [Job("", item, others[item]) for item in trained if item in others]
    return resumed(context, jobs, job_rows)


def second_dates(items: Iterable[Input]) -> dict[Input, Input]:
    """The next acquisition of the same ground for every item that has one; after the last of a place comes the first."""
    groups: dict[Any, list[Input]] = {}
    for item in items:
        if item.scene.place:
            groups.setdefault((item.scene.place, item.name, item.scene.shape), []).append(item)
    found = {}
    for group in groups.values():
        for item, other in zip(group, [*group[1:], group[0]], strict=True):
            if item.scene.acquisition != other.scene.acquisition and likeness(item.db, other.db) >= SAME_GROUND:
                found[item] = other
    return found


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of 9×9 means of two images in dB. Patches of one place may show different ground: then it is near 0."""
    valid = ~np.isnan(first) & ~np.isnan(second)
    means = [local_mean(np.nan_to_num(db), ~np.isnan(db), MEAN_SIDE)[valid] for db in (first, second)]
    return float(np.corrcoef(means)[0, 1]) if valid.sum() > 1 else 0.0


def job_rows(job: Job) -> list[dict[str, Any]]:
    """Rows of one codec at every rate, or of the original, of a redraw of both dates, and of the second date."""
    item, dates, rows = job.item, Dates.of(job.item, job.other), list[dict[str, Any]]()
    if not job.codec:
        rows.append(image_row(item, "original", item.db, METRICS, **dates.columns(item.db, dates.second.data[0])))
        first, again = redrawn(item, item.db, seed=0), redrawn(item, (job.other or item).db, seed=2)
        changed = dates.columns(first, again + known_changes(again.shape))
        rows.append(image_row(item, "redraw", first, METRICS, **changed))
        if job.other is not None:
            valid = item.scene.valid & job.other.scene.valid
            common = replace(item.scene, valid=valid, data=np.where(valid, item.scene.data, np.nan))
            rows.append(image_row(replace(item, scene=common), "second date", job.other.db, METRICS))
        return rows
    codec = codecs[job.codec]

    def changes(decoded: np.ndarray, quality: float) -> dict[str, Any]:
        second = to_db(codec.decompress(codec.compress(dates.second, quality=quality))).data[0]
        return dates.columns(decoded, second)

    goals = {str(rate): Goal("bpp", rate) for rate in RATES_BPP}
    return [row for _, row in measure(Task(job.codec, item, goals, METRICS), changes)]


def redrawn(item: Input, db: np.ndarray, seed: int) -> np.ndarray:
    """The despeckled ground of an image in dB with new speckle of the item's looks."""
    return redraw(Reference(db, clip=item.clip, looks=item.scene.looks, seed=seed)).db


class Dates(NamedTuple):
    """Two dates of a place: the first uncompressed, the second with known changes; masks of changed and unchanged samples."""

    kind: str
    first: np.ndarray
    second: Scene
    changed: np.ndarray
    unchanged: np.ndarray

    @classmethod
    def of(cls, item: Input, other: Input | None) -> "Dates":
        """The dates of a band; without a second acquisition its speckle is drawn anew."""
        db = redrawn(item, item.db, seed=1) if other is None else other.db
        change = known_changes(item.db.shape)
        base = item.scene if other is None else to_db(other.scene)
        second = replace(base, quantity="db", data=(db + change).astype(np.float32)[None])
        valid = ~np.isnan(item.db) & ~np.isnan(db)
        inside, near = minimum_filter(change != 0, MEAN_SIDE), maximum_filter(change != 0, MEAN_SIDE)
        return cls("redraw" if other is None else "second date", item.db, second, valid & inside, valid & ~near)

    def columns(self, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
        """Columns of change detection between two images in dB of these dates."""
        found = false_alarms(first, second, self.changed, self.unchanged)
        before = false_alarms(self.first, self.second.data[0], self.changed, self.unchanged)
        return {"change_false_alarms": found, "change_false_alarms_added": found - before, "change_pair": self.kind}


def known_changes(shape: Sequence[int]) -> np.ndarray:
    """Change in dB of each sample: squares on a grid, brighter and darker in turn."""
    rows, columns = (np.arange(side) for side in shape)
    inside = [(at % SPACING >= SPACING // 4) & (at % SPACING < SPACING // 4 + SQUARE) for at in (rows, columns)]
    sign = 1 - 2 * ((rows // SPACING)[:, None] + (columns // SPACING) & 1)
    return np.where(inside[0][:, None] & inside[1], CHANGE_DB * sign, 0.0)


def false_alarms(
    first: np.ndarray, second: np.ndarray, changed: np.ndarray, unchanged: np.ndarray, *, side: int = MEAN_SIDE
) -> float:
    """Share of unchanged samples above the threshold of the log-ratio at which `DETECTED` of the changed ones are found.

    The dates are in dB; the masks hold samples with values at both; `side` is that of the means.
    """
    if not changed.any() or not unchanged.any():
        return np.nan
    means = [to_finite_db(local_mean(to_intensity(db), ~np.isnan(db), side)) for db in (first, second)]
    ratio = means[1] - means[0]
    ratio = np.abs(ratio - np.median(ratio[unchanged]))
    return float(np.mean(ratio[unchanged] >= np.quantile(ratio[changed], 1 - DETECTED)))
