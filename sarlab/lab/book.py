"""Stage, fill and render the book."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sarlab.errors import ResultsError
from sarlab.files import write_text
from sarlab.lab.kernels import PAGE_MODULES, warm_kernels
from sarlab.lab.results import MANIFEST
from sarlab.lab.share import PACKAGE, shared_folder
from sarlab.lab.variables import inherited

#: Starts the builder; its module has no __main__ block, so "-m" would do nothing and succeed.
START = "from sarlab.lab.startup import build_book; build_book()"
#: What the kernel of a page says where one of its ports is not free.
PORT_TAKEN = "Address already in use"


def stage(out: Path) -> Path:
    """Copy the sources of the book to ``out/book`` and return that folder; the original stays untouched."""
    target = out / "book"
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        shared_folder("book"), target, ignore=shutil.ignore_patterns("_build", "__pycache__", "*.pyc", ".*")
    )
    shutil.copy(config_file(), target / "_config.yml")
    return target


def config_file() -> Path:
    """``_config.yml`` of the checkout, or of the wheel."""
    for candidate in (PACKAGE.parent / "_config.yml", PACKAGE / "_share" / "_config.yml"):
        if candidate.is_file():
            return candidate
    raise ResultsError("_config.yml is missing from this installation; install sarlab again")


def render(book: Path, out: Path) -> Path:
    """Build the HTML of a book with warnings as errors; the finished pages replace ``out/html`` in one step.

    Pages that were built from the very same book, package and libraries stay as they are.

    Returns
    -------
    Path
        ``out/html/index.html``.

    Raises
    ------
    ResultsError
        With the end of the builder's output.
    """
    out.mkdir(parents=True, exist_ok=True)
    target, record, digest = out / "html", out / "html.sha256", inputs_digest(book)
    if (target / "index.html").is_file() and record.is_file() and record.read_text(encoding="utf-8") == digest:
        return target / "index.html"
    with tempfile.TemporaryDirectory(prefix=".render-", dir=out) as work:
        command = [
            *(sys.executable, "-c", START),
            *("build", str(book), "--config", str(book / "_config.yml")),
            *("--path-output", work, "-W", "-n", "--keep-going", "--all"),
        ]
        settings = {"SARLAB_BOOK": str(book.resolve()), "PYDEVD_DISABLE_FILE_VALIDATION": "1", "NO_COLOR": "1"}
        settings["OMP_NUM_THREADS"] = "1"  # pages are executed side by side
        for _ in range(2):
            with inherited(settings), warm_kernels(PAGE_MODULES) as kernels, inherited(kernels):
                done = subprocess.run(command, capture_output=True, text=True)
            # The ports of a kernel are chosen before it opens them: now and then another program is faster.
            if not (done.returncode and PORT_TAKEN in done.stdout + done.stderr):
                break
        html = Path(work) / "_build" / "html"
        log = out / "build.log"
        traces = [path.read_text(encoding="utf-8") for path in html.glob("reports/**/*.err.log")]
        said = "\n".join([done.stdout, done.stderr, *traces])
        log.write_text(said, encoding="utf-8")
        if done.returncode or not (html / "index.html").is_file():
            tail = "\n".join(said.strip().splitlines()[-25:])
            raise ResultsError(f"the book could not be built (all of the output is in {log}):\n{tail}")
        record.unlink(missing_ok=True)
        if target.exists():
            target.rename(Path(work) / "old")
        html.rename(target)
        write_text(record, digest)
    return target / "index.html"


def inputs_digest(book: Path) -> str:
    """Digest of all that the pages are made of: the staged book, the package, the notebooks, and the libraries' versions.

    The time of publication is left out: the same results published again make the same pages.
    """
    digest = hashlib.sha256()
    for root in (book, PACKAGE, shared_folder("notebooks")):
        for path in sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            content = path.read_bytes()
            if path == book / "results" / MANIFEST:
                content = json.dumps({**json.loads(content), "published": None}, sort_keys=True).encode()
            for part in (path.relative_to(root).as_posix().encode(), content):
                digest.update(len(part).to_bytes(8, "little") + part)
    versions = sorted(f"{item.name} {item.version}" for item in importlib.metadata.distributions())
    digest.update("\n".join([sys.version, *versions]).encode())
    return digest.hexdigest()
