"""Publish finished runs: put their tables, pictures and pages into a book, and build its HTML::

    runs/<run_id>/, runs/studies/ ──publish──▶ book/results/*.csv, images/*.png ──render──▶ html/
                                               book/runs/<run_id>.ipynb

The table of contents lists the pages of runs by a glob. The manifest ``results/manifest.json`` names every file that a
publication wrote; the next one replaces only these.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.files import check_writable, temporary_prefix, write_json, write_text
from sarlab.lab import results
from sarlab.lab.results import MANIFEST, read_manifest, read_record, read_table, shared_folder, write_table
from sarlab.lab.runs import Job, Plan
from sarlab.lab.studies import StudyJob, study_jobs
from sarlab.lab.sweep import NOTEBOOK, Settings, execute
from sarlab.scenes.catalog import catalog_entries, sentinel1
from sarlab.scenes.radiometry import to_gray

#: Largest sum of pages, pictures and tables in the report that is kept in the repository, in bytes.
ALL_BYTES = 12_000_000
#: Significant digits of the numbers in published tables; side of an example image in pixels, and its gray levels.
DIGITS, IMAGE_SIDE, LEVELS = 5, 240, 64
#: File that marks the HTML of a book, so that the next rendering may replace it.
MARK = ".sarlab"
#: The builder; its module has no __main__ block, so "-m" would succeed without doing anything.
BUILDER = "from jupyter_book.cli.main import main; main()"
_FOLDER = re.compile(r"(?<![\w.:/-])/(?:home|root|Users|tmp|work|var|mnt|data|scratch|opt)/[\w.-]+")


def publish(plan: Plan, jobs: Sequence[Job], book: Path, *, tracked: bool = False) -> dict[str, Any]:
    """Write the results of complete runs into a book, which changes once all are prepared; return its manifest.

    Runs without a notebook execute it first. In the `tracked` report of the repository every run is complete, and the pages
    are those of `with_pages` that fit into `ALL_BYTES`. Otherwise incomplete runs are skipped and counted.
    """
    if not (book / "_toc.yml").is_file() or not (book / "chapters" / "runs.md").is_file():
        raise ResultsError(f"{book} is not a book of sarlab; give the folder 'book' of a checkout")
    check_writable(book, "--book")
    studies = study_jobs(plan.studies, plan.runs[0].scenes, jobs[0].folder.parent)
    if tracked:
        check_complete(plan.argument, jobs, studies)
    complete = [job for job in jobs if job.state == "complete"]
    if not complete:
        raise ResultsError(f"no complete run of plan '{plan.name}'; run 'sarlab sweep {plan.argument}' first")
    shown = with_pages(complete) if tracked else complete
    execute_missing(shown)
    with tempfile.TemporaryDirectory(prefix=temporary_prefix(book / "publish"), dir=book) as temporary:
        new = Path(temporary)
        runs, history = collect(plan, complete)
        tables = {"runs": runs, "history": history}
        tables |= {study.name: read_table(study.table_path) for study in studies if study.manifest}
        # A collection may hold scenes that are not part of the repository.
        limited = tracked and any(catalog_entries[job.spec.scenes.source].kind == "collection" for job in shown)
        embedded = {record.name for record in sentinel1().records} if limited else None
        tables["examples"] = write_images(shown, new / "results" / "images", embedded)
        for name, table in tables.items():
            write_table(table if name == "examples" else rounded(table), new / "results" / f"{name}.csv")
        replaced = sum((book / name).stat().st_size for name in owned(book) if (book / name).is_file())
        room = ALL_BYTES - folder_bytes(new, book / "results", book / "runs") + replaced
        pages = write_pages(shown, new / "runs", room if tracked else math.inf)
        found = [read_manifest(job.folder) for job in complete]
        origin = ("device", "versions", "platform", "processor", "commit")

        def distinct(values: Iterable[Any]) -> list[Any]:
            return [json.loads(text) for text in sorted({json.dumps(value, sort_keys=True) for value in values})]

        manifest = {
            "plan": plan.name, "title": plan.title, "published": results.now(), "runs": len(complete),
            "missing": len(jobs) - len(complete), "pages": pages,
            "devices": sorted({str(value) for value in runs["device"].dropna().unique()}),
            "environments": distinct({name: each.get(name) for name in origin} for each in found),
            "data": distinct(each.get("data") for each in found),
            "studies": {study.name: study.manifest for study in studies if study.manifest},
            "publisher": results.environment(),
        }  # fmt: skip
        return _install(new, book, manifest)


def check_complete(plan: str, jobs: Sequence[Job], studies: Sequence[StudyJob]) -> None:
    """Refuse a plan with runs or studies that are missing or failed, naming them."""
    gaps = [f"{job.run_id} ({job.state})" for job in jobs if job.state != "complete"]
    gaps += [f"study {study.name} (waiting)" for study in studies if not study.manifest]
    if gaps:
        listed = ", ".join(gaps[:3]) + (f" and {len(gaps) - 3} more" if len(gaps) > 3 else "")
        advice = f"'sarlab sweep {plan} --retry-failed' finishes it, 'sarlab status {plan}' shows every run"
        raise ResultsError(f"plan '{plan}' is not complete: {listed}; {advice}")


def with_pages(jobs: Sequence[Job]) -> list[Job]:
    """Select one run per architecture and ratio for the pages of the tracked report, ratios nearest to 16 first.

    Least quantized, from the KLT and of the first seed is preferred. Scenes of folders and downloads are not shown.
    """
    first: dict[tuple[Any, ...], Job] = {}
    for job in sorted(jobs, key=lambda j: (-j.spec.quantizer.bits, j.spec.model.init == "scratch", j.spec.seed)):
        source = job.spec.scenes.source
        if source in catalog_entries and catalog_entries[source].kind in ("embedded", "simulated", "collection"):
            first.setdefault((job.spec.model.architecture, job.spec.model.dimension_ratio), job)
    return sorted(first.values(), key=lambda job: abs(math.log2(job.spec.model.dimension_ratio / 16)))


def execute_missing(jobs: Sequence[Job]) -> None:
    """Execute the notebooks of complete runs that have none."""
    bare = [job for job in jobs if not (job.folder / NOTEBOOK).is_file()]
    settings = Settings("dask" if len(bare) > 1 else "inline", notebook=True)
    for item in execute(bare, settings, lambda item: None):
        if item.outcome != "complete":
            raise ResultsError(f"the notebook of {item.job.run_id} failed: {item.message}")


def owned(book: Path) -> set[str]:
    """Files that earlier publications wrote into a book, relative to it."""
    parts = {name: PurePosixPath(name).parts for name in read_manifest(book / "results").get("files", [])}
    return {name for name, of in parts.items() if of[:1] in (("results",), ("runs",)) and ".." not in of}


def folder_bytes(*folders: Path) -> int:
    """Bytes of all files below some folders."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def _install(new: Path, book: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Move finished files into the book, remove those of earlier publications, and write the manifest, last."""
    before = owned(book)
    files = {path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file()}
    foreign = sorted(name for name in files - before if (book / name).exists())
    if foreign:
        raise ResultsError(f"{book / foreign[0]} was not written by sarlab; move it away, or use another book")
    # If this process is killed halfway, the next publication still recognizes all of these files as replaceable.
    write_json(book / "results" / MANIFEST, {**manifest, "files": sorted(before | files)})
    for name in sorted(files):
        (book / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).replace(book / name)
    for name in before - files:
        (book / name).unlink(missing_ok=True)
    manifest = {**manifest, "files": sorted(files)}
    write_json(book / "results" / MANIFEST, manifest)
    return manifest


def collect(plan: Plan, jobs: Sequence[Job]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and validated histories of complete runs, in the order of the plan."""
    experiments, rows, histories = dict(zip(plan.runs, plan.experiments, strict=True)), [], []
    for job in jobs:
        about = {"plan": plan.name, "experiment": experiments[job.spec]}
        rows.append(read_table(job.folder / "rows.csv").assign(**about))
        histories.append(read_table(job.folder / "history.csv").assign(run_id=job.run_id))
    history = pd.concat(histories, ignore_index=True)
    if "validation_db" in history:  # what lies between validations takes most of the room
        history = history[history["validation_db"].notna()]
    return results.order_columns(pd.concat(rows, ignore_index=True), results.RUN_COLUMNS), history


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Round to `DIGITS` significant digits; columns of whole numbers stay as they are."""
    floats = table.select_dtypes("float")
    broken = [name for name in floats if (floats[name].replace([np.inf, -np.inf], np.nan).dropna() % 1 != 0).any()]
    return table.assign(**{name: [float(f"{value:.{DIGITS}g}") for value in floats[name]] for name in broken})


def write_images(jobs: Sequence[Job], folder: Path, scenes: Container[str] | None = None) -> pd.DataFrame:
    """Write the middle of every example (of `scenes`, if given) as 8-bit PNG over the clip range; return a table."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for job in jobs:
        rows = read_table(job.folder / "rows.csv")
        with np.load(job.folder / "examples.npz", allow_pickle=False) as arrays:
            for name in sorted({key.rpartition("/")[0] for key in arrays.files}):
                scene, _, band = name.rpartition("/")
                if scenes is not None and scene not in scenes:
                    continue
                row = rows[(rows["scene"] == scene) & (rows["band"] == band)].iloc[0]
                clip = (float(row["clip_low"]), float(row["clip_high"]))
                for kind, stem in (("original", scene), ("reconstruction", f"{job.run_id}-{scene}")):
                    file = re.sub(r"[^\w.-]|_", "-", f"{stem}-{band}") + ".png"
                    image = arrays[f"{name}/{kind}"].astype(np.float32)
                    top, left = (max(0, (side - IMAGE_SIDE) // 2) for side in image.shape)
                    shown = to_gray(image[top : top + IMAGE_SIDE, left : left + IMAGE_SIDE], clip, LEVELS)
                    Image.fromarray(shown).save(folder / file, optimize=True)
                    entries.append((job.run_id, scene, band, kind, file, *clip))
    return pd.DataFrame(entries, columns=["run_id", "scene", "band", "kind", "file", "clip_low", "clip_high"])


def write_pages(jobs: Sequence[Job], folder: Path, room: float = math.inf) -> int:
    """Write the cleaned notebook of each run, as long as they fit into `room` bytes; return their number."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for job in jobs:
        if not (notebook := read_record(job.folder / NOTEBOOK)):
            continue
        page = clean_notebook(notebook, title=page_title(job), root=job.folder.parent)
        text = json.dumps(page, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        if found := names_folder(text):
            raise ResultsError(f"page {job.run_id} contains a local path and is not published: {found}")
        room -= len(text.encode())
        if room < 0:
            break
        write_text(folder / f"{job.run_id}.ipynb", text)
        count += 1
    return count


def names_folder(text: str) -> str:
    """First path of a machine in a text, pictures aside; empty if there is none."""
    found = _FOLDER.search(re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    return found[0] if found else ""


def page_title(job: Job) -> str:
    """Heading of a run page: ``residual from KLT, 16× (16×16×16), seed 0``."""
    model, quantizer = job.spec.model, job.spec.quantizer
    start = "from KLT" if model.init == "klt" else "from scratch"
    name = "KLT" if model.architecture == "klt" else f"{model.architecture} {start}"
    side, bits = 256 // model.spatial_reduction, "" if quantizer.bits == 32 else f", {quantizer.label}"
    return f"{name}, {model.dimension_ratio:g}× ({side}×{side}×{model.latent_channels}){bits}, seed {job.spec.seed}"


def clean_notebook(notebook: dict[str, Any], *, title: str, root: Path) -> dict[str, Any]:
    """Return a copy of an executed notebook without standard error, timings, default parameters and local paths.

    `root`, the folder of all runs, becomes ``runs``, and `title` the first heading. Ids of cells are their positions, so
    that a second publication of the same results changes nothing.
    """
    text = json.dumps(notebook, ensure_ascii=False)
    for path, short in ((root, "runs"), (Path.home(), "~")):
        text = text.replace(str(path), short) if len(str(path)) > 1 else text
    cells: list[dict[str, Any]] = []
    for cell in json.loads(text)["cells"]:
        tags, source = cell.get("metadata", {}).get("tags", []), "".join(cell["source"])
        if "parameters" in tags:
            continue
        if not cells and cell["cell_type"] == "markdown":
            source = re.sub(r"\A# .*", lambda _: f"# {title}", source)
        if "injected-parameters" in tags:
            tags, private = ["hide-input"], re.compile(r"(folder|device|time_budget)\s*=")
            source = "\n".join(line for line in source.splitlines() if not private.match(line))
        cell |= {"source": source, "metadata": {"tags": tags} if tags else {}, "id": f"cell-{len(cells):02d}"}
        if cell["cell_type"] == "code":
            outputs = [output for output in cell["outputs"] if output.get("name") != "stderr"]
            cell |= {"execution_count": None, "outputs": outputs}
            for output in outputs:
                output |= {"execution_count": None} if "execution_count" in output else {}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {**notebook, "cells": cells, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}}}


def stage(out: Path) -> Path:
    """Copy the sources of the book to ``out/book``, replacing an earlier copy only, and return that folder."""
    source, target = shared_folder("book"), out / "book"
    if target.exists():
        # The configuration is next to the book of a checkout, and inside a copy.
        if not (target / "_config.yml").is_file():
            raise ResultsError(f"{target} exists and was not made by 'sarlab report'; choose another folder with --out")
        shutil.rmtree(target)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("_build", "__pycache__", "*.pyc", ".*"))
    shutil.copy(source.parent / "_config.yml", target / "_config.yml")
    shutil.copy(shared_folder("notebooks") / "tutorial.py", target)  # a page whose source is the notebook
    return target


def render(book: Path, out: Path) -> Path:
    """Build the HTML of a staged book with warnings as errors, replace ``out/html`` in one step, and return its index."""
    out.mkdir(parents=True, exist_ok=True)
    target = out / "html"
    if target.exists() and not (target / MARK).is_file():
        raise ResultsError(f"{target} exists and was not made by 'sarlab report'; choose another folder with --out")
    with tempfile.TemporaryDirectory(prefix=temporary_prefix(out / "render"), dir=out) as work:
        options = ["--config", str(book / "_config.yml"), "--path-output", work, "-W", "-n", "--keep-going", "--all"]
        command = [sys.executable, "-c", BUILDER, "build", str(book), *options]
        settings = {"SARLAB_BOOK": str(book.resolve()), "PYDEVD_DISABLE_FILE_VALIDATION": "1", "NO_COLOR": "1"}
        settings["OMP_NUM_THREADS"] = "1"  # pages are executed side by side
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})
        html, log = Path(work) / "_build" / "html", out / "build.log"
        traces = [path.read_text(encoding="utf-8") for path in html.glob("reports/**/*.err.log")]
        output = "\n".join([done.stdout, done.stderr, *traces])
        log.write_text(output, encoding="utf-8")
        if done.returncode or not (html / "index.html").is_file():
            lines = output.strip().splitlines()
            causes = "\n".join([line for line in lines if re.search("WARNING|ERROR|Error:", line)][:25] or lines[-25:])
            raise ResultsError(f"the book could not be built (all of the output is in {log}):\n{causes}")
        (html / MARK).touch()
        if target.exists():
            target.rename(Path(work) / "old")
        html.rename(target)
    return target / "index.html"
