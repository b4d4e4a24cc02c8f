"""Publish finished runs into a copy of the book: tables, example images, one page a run, the table of contents."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.files import replacing, write_json, write_text
from sarlab.lab import release
from sarlab.lab.contents import list_pages
from sarlab.lab.jobs import Job
from sarlab.lab.notebooks import NOTEBOOK
from sarlab.lab.plans import Plan
from sarlab.lab.results import MANIFEST, environment, now, order_columns, read_manifest, read_table, write_table
from sarlab.lab.runnotebook import clean_notebook
from sarlab.lab.studies import StudyJob, study_jobs
from sarlab.lab.swap import rewritten

#: Side of an example image, in pixels.
IMAGE_SIDE = 240


def publish(plan: Plan, jobs: Sequence[Job], book: Path, *, tracked: bool = False) -> dict[str, Any]:
    """Write the results of complete runs into the folder of a book: all of them, or after an error none.

    Parameters
    ----------
    plan : Plan
    jobs : sequence of Job
        Those that are not complete are left out and counted.
    book : Path
        A staged copy of ``book/``, or ``book/`` itself.
    tracked : bool
        Follow the rules of the report that is kept in the repository: `sarlab.lab.release`.

    Returns
    -------
    dict
        What went into ``results/manifest.json``.

    Raises
    ------
    ResultsError
        If no run is complete, or `book` is no book; for a tracked report, if any run is not complete, or its pages cannot
        be made small enough.
    """
    complete = [job for job in jobs if job.state == "complete"]
    if not complete:
        raise ResultsError(f"no complete run of plan '{plan.name}'; run 'sarlab sweep {plan.name}' first")
    tables = study_jobs(plan.studies, plan.runs[0].scenes, complete[0].folder.parent)
    shown = complete
    if tracked:
        release.check(plan.name, jobs, tables)
        shown = release.with_pages(complete)
    if not (book / "_toc.yml").is_file():
        raise ResultsError(f"{book} is no copy of the book, it has no _toc.yml; give the folder 'book' of a checkout")
    with rewritten(book, ("results", "runs", "_toc.yml")) as copy:
        return write_book(plan, jobs, tables, shown, copy, tracked=tracked)


def write_book(
    plan: Plan, jobs: Sequence[Job], tables: Sequence[StudyJob], shown: Sequence[Job], book: Path, *, tracked: bool
) -> dict[str, Any]:
    """Write tables, images, pages, the table of contents and, last, the manifest, which is returned.

    Parameters
    ----------
    plan, jobs, book, tracked
        As for `publish`.
    tables : sequence of StudyJob
    shown : sequence of Job
        Those with images and a page.
    """
    complete = [job for job in jobs if job.state == "complete"]
    results = book / "results"
    clear_studies(results)
    runs, history = collect(plan, complete)
    small = release.rounded if tracked else (lambda table: table)
    write_table(small(runs), results / "runs.csv")
    write_table(small(release.thin(history) if tracked else history), results / "history.csv")
    images = write_images(shown, results / "images", levels=release.LEVELS if tracked else 256)
    write_table(images, results / "examples.csv")
    for study in tables:
        if study.manifest:
            write_table(small(study.table()), results / f"{study.name}.csv")
    room = release.ALL_BYTES - release.folder_bytes(results) if tracked else None
    pages = write_pages(shown, book / "runs", room=room)
    list_pages(book / "_toc.yml", pages)
    manifest = {
        "plan": plan.name,
        "title": plan.title,
        "published": now(),
        "runs": len(complete),
        "missing": len(jobs) - len(complete),
        "pages": len(pages),
        "devices": sorted({str(value) for value in runs["device"].dropna().unique()}),
        "environments": _distinct(_environment_of(job) for job in complete),
        "data": _distinct((read_manifest(job.folder) or {}).get("data") for job in complete),
        "studies": {study.name: study.manifest for study in tables if study.manifest},
        "publisher": environment(),
    }
    write_json(results / MANIFEST, manifest)
    return manifest


def clear_studies(results: Path) -> None:
    """Remove the tables of studies that an earlier publication left: its plan may have had others."""
    try:
        before = json.loads((results / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for name in before.get("studies") or {}:
        (results / f"{Path(name).name}.csv").unlink(missing_ok=True)


def _environment_of(job: Job) -> dict[str, Any]:
    manifest = read_manifest(job.folder) or {}
    return {name: manifest.get(name) for name in ("device", "versions", "platform", "processor", "commit")}


def _distinct(values: Any) -> list[Any]:
    seen = {json.dumps(value, sort_keys=True): value for value in values}
    return [seen[key] for key in sorted(seen)]


def collect(plan: Plan, jobs: Sequence[Job]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and histories of complete runs, in the order of the plan."""
    experiment_of = {plan.runs[i]: label for label, positions in reversed(list(plan.labels.items())) for i in positions}
    label_of = {job.run_id: experiment_of.get(job.spec, "") for job in jobs}
    rows = read_together({job.run_id: job.folder / "rows.csv" for job in jobs})
    labels = rows.pop(_OF).map(label_of)
    origin = pd.DataFrame({"plan": plan.name, "experiment": labels}, index=rows.index)
    history = read_together({job.run_id: job.folder / "history.csv" for job in jobs})
    if history.empty:
        history = pd.DataFrame(columns=[_OF, "step"])
    history = history.rename(columns={_OF: "run_id"})
    return order_columns(pd.concat([rows, origin], axis=1)), history[[*history.columns.drop("run_id"), "run_id"]]


#: Column that says whose table a row was in.
_OF = "__run__"


def read_together(paths: Mapping[str, Path]) -> pd.DataFrame:
    """Tables of many runs as one, with a first column of their names; tables of one header are parsed at once."""
    groups: dict[str, list[str]] = {}
    order: dict[str, int] = {}
    alone = []
    for position, (name, path) in enumerate(paths.items()):
        order[name] = position
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        if any(line.count('"') % 2 for line in lines):  # a value that goes on in the next line
            alone.append(read_table(path).assign(**{_OF: name}))
        elif lines:
            groups.setdefault(header, []).extend(f"{name},{line}" for line in lines)
    frames = alone
    for header, lines in groups.items():
        text = io.StringIO("\n".join([f"{_OF},{header}", *lines]))
        frames.append(pd.read_csv(text, na_values=["nan", "NaN"], low_memory=False))
    if not frames:
        return pd.DataFrame(columns=[_OF])
    whole = pd.concat(frames, ignore_index=True)
    return whole.iloc[whole[_OF].map(order).argsort(kind="stable")].reset_index(drop=True)


# --- images -----------------------------------------------------------------------------------------------------------


def write_images(jobs: Sequence[Job], folder: Path, *, levels: int = 256) -> pd.DataFrame:
    """Example images as 8-bit PNG of so many gray levels over the clip range; returns their index. Others are removed.

    The index has run_id, scene, band, kind ("original", "reconstruction"), file, clip_low, clip_high.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    for job in jobs:
        rows = read_table(job.folder / "rows.csv")
        with np.load(job.folder / "examples.npz", allow_pickle=False) as arrays:
            names = sorted({key.rpartition("/")[0] for key in arrays.files})
            for name in names:
                scene, _, band = name.rpartition("/")
                row = rows[(rows["scene"] == scene) & (rows["band"] == band)].iloc[0]
                clip = (float(row["clip_low"]), float(row["clip_high"]))
                for kind in ("original", "reconstruction"):
                    stem = scene if kind == "original" else f"{job.run_id}-{scene}"
                    file = f"{_slug(stem)}-{_slug(band)}.png"
                    with replacing(folder / file) as temporary:
                        gray = coarse(to_gray(_middle(arrays[f"{name}/{kind}"]), clip), levels)
                        Image.fromarray(gray).save(temporary, optimize=True)
                    entries.append(
                        {
                            "run_id": job.run_id,
                            "scene": scene,
                            "band": band,
                            "kind": kind,
                            "file": file,
                            "clip_low": clip[0],
                            "clip_high": clip[1],
                        }
                    )
    kept = {entry["file"] for entry in entries}
    for stale in folder.glob("*.png"):
        if stale.name not in kept:
            stale.unlink()
    return pd.DataFrame(entries, columns=["run_id", "scene", "band", "kind", "file", "clip_low", "clip_high"])


def to_gray(values_db: np.ndarray, clip: tuple[float, float]) -> np.ndarray:
    """Map dB to 0…255 over `clip`; NaN becomes 0. For display only."""
    low, high = clip
    scaled = (values_db.astype(np.float32) - low) / (high - low)
    return (np.nan_to_num(np.clip(scaled, 0, 1), nan=0.0) * 255).round().astype(np.uint8)


def coarse(gray: np.ndarray, levels: int) -> np.ndarray:
    """Round 0…255 to `levels` grays."""
    return np.round(np.round(gray * ((levels - 1) / 255)) * (255 / (levels - 1))).astype(np.uint8)


def _middle(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    top, left = max(0, (height - IMAGE_SIDE) // 2), max(0, (width - IMAGE_SIDE) // 2)
    return image[top : top + IMAGE_SIDE, left : left + IMAGE_SIDE]


def _slug(text: str) -> str:
    return "".join(char if char.isalnum() or char in "-." else "-" for char in text)


# --- pages ------------------------------------------------------------------------------------------------------------


def write_pages(jobs: Sequence[Job], folder: Path, *, room: int | None = None) -> list[str]:
    """One page a run, cleaned for print; pages of other runs are removed. Returns the names without suffix.

    Parameters
    ----------
    jobs : sequence of Job
    folder : Path
    room : int, optional
        Bytes that all pages may take; their pictures are coded again where they must be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [job for job in jobs if (job.folder / NOTEBOOK).is_file()]
    left, names = room or 0, set()
    for position, job in enumerate(release.in_turn(written)):
        notebook = json.loads((job.folder / NOTEBOOK).read_text(encoding="utf-8"))
        page = clean_notebook(notebook, title=page_title(job), root=job.folder.parent)
        if room is not None:
            if left < release.LEAST_BYTES:
                break
            share = max(release.LEAST_BYTES, left // (len(written) - position))
            page = release.shrink(page, min(release.PAGE_BYTES, share))
            release.check_page(job.run_id, page)
            left -= release.size(page)
        write_text(folder / f"{job.run_id}.ipynb", release.text_of(page))
        names.add(job.run_id)
    for stale in folder.glob("*.ipynb"):
        if stale.stem not in names:
            stale.unlink()
    return [job.run_id for job in written if job.run_id in names]


def page_title(job: Job) -> str:
    """Heading of a run page: ``residual from KLT, 16× (16×16×16), seed 0``."""
    model = job.spec.model
    start = "" if model.architecture == "klt" else (" from KLT" if model.init == "klt" else " from scratch")
    side = 256 // model.spatial_reduction
    name = "KLT" if model.architecture == "klt" else model.architecture
    bits = "" if job.spec.quantizer.bits == 32 else f", {job.spec.quantizer.label}"
    return (
        f"{name}{start}, {model.dimension_ratio:g}× ({side}×{side}×{model.latent_channels}){bits}, seed {job.spec.seed}"
    )
