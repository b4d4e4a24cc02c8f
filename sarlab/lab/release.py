"""The report that is kept in the repository: what it may hold, and how it stays small.

Every run of the plan must be complete. One seed of each architecture and ratio has a page, the others are rows. Pictures
come from the scenes that are in the package or simulated, because of no others is it known that they may be shown.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.lab.jobs import Job
from sarlab.lab.studies import StudyJob
from sarlab.scenes.catalog import catalog_entries

#: Largest page, and largest sum of pages, pictures and tables, in bytes.
PAGE_BYTES, ALL_BYTES = 300_000, 8_000_000
#: Room that a page is given at least; where less is left, the runs that remain are rows only.
LEAST_BYTES = 245_000
#: Digits of the numbers in tables.
DIGITS = 5
#: Gray levels of example pictures: as many as the comparison of the book shows.
LEVELS = 64
#: Qualities that pictures of a page are coded with again, one after the other, until the page fits; the first is lossless.
QUALITIES = (None, 80, 60, 40, 25)
_PICTURE = re.compile(r"data:image/(?:webp|png);base64,([A-Za-z0-9+/=]{4000,})")
_FOLDER = re.compile(r"(?<![\w.:/-])/(?:home|root|Users|tmp|work|var|mnt|data|scratch|opt)/[\w.-]+")
_DATA = re.compile(r"base64,[A-Za-z0-9+/=]+")


def check(plan: str, jobs: Sequence[Job], studies: Sequence[StudyJob]) -> None:
    """Refuse a report with gaps.

    Raises
    ------
    ResultsError
        Naming what is missing or failed.
    """
    gaps = [f"{job.run_id} ({job.state})" for job in jobs if job.state != "complete"]
    gaps += [f"study {study.name} (waiting)" for study in studies if not study.manifest]
    if gaps:
        more = f" and {len(gaps) - 3} more" if len(gaps) > 3 else ""
        raise ResultsError(
            f"plan '{plan}' is not complete: {', '.join(gaps[:3])}{more}; "
            f"'sarlab sweep {plan} --retry-failed' finishes it, 'sarlab status {plan}' says where it stands"
        )


def with_pages(jobs: Sequence[Job]) -> list[Job]:
    """Runs that get a page: of each architecture and ratio the first seed, with the least quantization.

    Networks that start from the KLT come before those from scratch: they are the ones to be used.
    """
    first: dict[tuple[Any, ...], Job] = {}
    order = sorted(jobs, key=lambda job: (-job.spec.quantizer.bits, job.spec.model.init == "scratch", job.spec.seed))
    for job in order:
        model = job.spec.model
        if may_be_shown(job):
            first.setdefault((model.architecture, model.dimension_ratio), job)
    chosen = {job.run_id for job in first.values()}
    return [job for job in jobs if job.run_id in chosen]


def may_be_shown(job: Job) -> bool:
    """Whether the scenes of a run are embedded or simulated."""
    source = job.spec.scenes.source
    return source in catalog_entries and catalog_entries[source].kind in ("embedded", "simulated")


def in_turn(jobs: Sequence[Job]) -> Iterator[Job]:
    """Jobs one of each architecture after the other, so that a budget that ends early leaves none without pages.

    Of each architecture the middle ratio comes first, and then always the one farthest from those before.
    """
    series: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        series.setdefault((job.spec.model.architecture, job.spec.model.init), []).append(job)
    for row in zip_longest(*(spread(found) for found in series.values())):
        yield from (job for job in row if job is not None)


def spread(jobs: Sequence[Job]) -> list[Job]:
    """Jobs in an order in which any number of the first ones covers their ratios well."""
    left = sorted(jobs, key=lambda job: job.spec.model.dimension_ratio)
    taken = [left.pop((len(left) - 1) // 2)] if left else []
    while left:

        def distance(job: Job) -> float:
            at = math.log(job.spec.model.dimension_ratio)
            return min(abs(at - math.log(other.spec.model.dimension_ratio)) for other in taken)

        farthest = max(left, key=distance)
        left.remove(farthest)
        taken.append(farthest)
    return taken


def shrink(page: dict[str, Any], limit: int) -> dict[str, Any]:
    """Code the pictures of a page again until its text is no longer than `limit` bytes.

    Raises
    ------
    ResultsError
        If it does not fit.
    """
    for quality in QUALITIES:
        smaller = json.loads(_PICTURE.sub(partial(_again, quality=quality), json.dumps(page)))
        if quality is not None:
            first = smaller["cells"][0]
            first["source"] += (
                f"\n\n*Pictures on this page were coded a second time (WebP, quality {quality}) to keep it small.*"
            )
        if size(smaller) <= limit:
            return smaller
    raise ResultsError(f"a page is {size(smaller) / 1000:.0f} kB, more than {limit / 1000:.0f} kB")


def _again(found: re.Match[str], quality: int | None) -> str:
    if quality is None:
        return found[0]
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB").save(buffer, "WEBP", quality=quality, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def text_of(page: dict[str, Any]) -> str:
    """A page as it is written."""
    return json.dumps(page, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def size(page: dict[str, Any]) -> int:
    """Bytes of a page."""
    return len(text_of(page).encode())


def check_page(name: str, page: dict[str, Any]) -> None:
    """Refuse a page that names a folder of a machine.

    Raises
    ------
    ResultsError
        Naming the folder.
    """
    found = _FOLDER.search(_DATA.sub("", text_of(page)))
    if found:
        raise ResultsError(f"page {name} names a folder of this machine: {found[0]}; it is not published")


def thin(history: pd.DataFrame) -> pd.DataFrame:
    """Rows of a training's history that were looked at on validation scenes; what lies between takes most of the room."""
    known = history["validation_db"].notna() if "validation_db" in history else pd.Series(False, index=history.index)
    return history[known] if known.any() else history


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """A table with `DIGITS` significant digits; columns of whole numbers stay as they are."""
    columns = {}
    for name in table.select_dtypes("float").columns:
        values = table[name].to_numpy(float)
        known = values[np.isfinite(values)]
        if np.all(known == np.round(known)):
            continue
        size = np.floor(
            np.log10(np.maximum(np.abs(values, where=np.isfinite(values), out=np.ones_like(values)), 1e-30))
        )
        scale = 10.0 ** (DIGITS - 1 - size)
        columns[name] = np.round(values * scale) / scale
    return table.assign(**columns)


def folder_bytes(*folders: Path) -> int:
    """Bytes of all files below some folders."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
