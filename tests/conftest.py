"""Fixtures that several wings share: scenes beside the checkout, made-up tables, the built book and a browser to read it."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Wall-clock deadlines fail on a busy machine. `make trust` tries other examples each time, `make test` always the same ones.
settings.register_profile("sarlab", deadline=None, derandomize="SARLAB_NEW_EXAMPLES" not in os.environ)
settings.load_profile("sarlab")

# In the background of a shell without job control Ctrl-C is ignored, here and in every process that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Workers side by side share the cores: with as many threads as cores each, they would spend half of the time waiting.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    """Let one worker build the book first, while others test other things, and read it last: nobody waits for it."""
    readers = [item for item in items if "built" in getattr(item, "fixturenames", ())]
    others = [item for item in items if item not in set(readers)]
    items[:] = readers[:1] + others + readers[1:]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of raw SAR scenes beside the checkout; tests that need them skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no development scenes at {SHARED}")
    return SHARED


# --- the book, and a browser ------------------------------------------------------------------------------------------

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
]  # fmt: skip


@pytest.fixture(scope="session")
def synthetic():
    """The module that makes up tables."""
    import synthetic_tables

    return synthetic_tables


def run_page(book, run_id):
    """A published page of a run under another id, whose code would fail if it were executed again."""
    from sarlab.lab.results import shared_folder

    published = next((shared_folder("book") / "runs").glob("residual-klt-*.ipynb"))
    page = json.loads(published.read_text(encoding="utf-8"))
    for cell in page["cells"]:
        cell["source"] = "1 / 0" if cell["cell_type"] == "code" else cell["source"]
    (book / "runs").mkdir(exist_ok=True)
    (book / "runs" / f"{run_id}.ipynb").write_text(json.dumps(page), encoding="utf-8")
    return f"runs/{run_id}"


@pytest.fixture(scope="session")
def built(tmp_path_factory, synthetic):
    """(folder of the HTML, name of the run page), built once for all workers."""
    pytest.importorskip("jupyter_book", reason="the book extra is not installed")
    from filelock import FileLock

    from sarlab.lab.publish import render, stage

    shared = tmp_path_factory.getbasetemp()
    shared = (shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared) / "sarlab-book"
    shared.mkdir(exist_ok=True)
    with FileLock(str(shared / "lock")):
        done = shared / "done"
        if not done.is_file():
            book = stage(shared)
            rows = synthetic.write(book, latents=((16, 64), (16, 16), (16, 8)), codecs=True)
            page = run_page(book, rows["run_id"].iloc[-1])
            assert render(book, shared).is_file()
            done.write_text(page)
        return shared / "html", done.read_text()


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium; or set CHROMIUM to its path)")
    with playwright.sync_playwright() as driver:
        program = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield program
        program.close()


class Visit:
    """A page with everything it complained about and asked for."""

    def __init__(self, browser, **context):
        context.setdefault("viewport", {"width": 1280, "height": 900})
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.complaints, self.outside = [], []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        local = ("file://", "data:", "blob:")
        self.page.on("request", lambda sent: None if sent.url.startswith(local) else self.outside.append(sent.url))

    def open(self, folder, name):
        self.page.goto((folder / f"{name}.html").as_uri())
        return self.page


@pytest.fixture
def visit(browser):
    """Factory of visits, closed at the end of the test."""
    visits = []

    def start(**context):
        visits.append(Visit(browser, **context))
        return visits[-1]

    yield start
    for one in visits:
        one.context.close()
