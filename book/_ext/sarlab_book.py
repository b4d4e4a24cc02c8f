"""Extension of the book: it works without a network, with math as MathML, no remote scripts, and search from ``file://``.

The directive ``chapters`` lists the chapters of the table of contents with the question that each of them asks. A chapter
whose front matter names tables (``tables: codecs limits``) ends with links to their CSV files. Tables that a plan did not
measure are taken from the published book, and a note at the head of the page says so.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.math import get_node_equation_number

# Excerpts of search results are fetched, which browsers refuse below file://; the hits themselves need no request.
# The theme reads the mode from the page, and an empty value from a fresh visitor is not one that it knows.
HEAD_SCRIPT = """
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
"""


def to_mathml(latex: str, display: str) -> str:
    """LaTeX as MathML, which browsers draw themselves."""
    from latex2mathml.converter import convert

    return convert(latex, display=display)


def visit_inline(writer: Any, node: nodes.math) -> None:
    """Formula inside a line."""
    writer.body.append(to_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(writer: Any, node: nodes.math_block) -> None:
    """Formula in a line of its own, with its number if it has one."""
    identifier = f' id="{node["ids"][0]}"' if node["ids"] else ""
    writer.body.append(f'<div class="math-block"{identifier}>{to_mathml(node.astext(), "block")}')
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})</span>')
    writer.body.append("</div>")
    raise nodes.SkipNode


class Chapters(SphinxDirective):
    """Every chapter that opens with a question (its first bold paragraph), by part."""

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / "_toc.yml"))
        lines: list[str] = []
        for part in yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")).get("parts", []):
            entries = [entry for chapter in part["chapters"] if (entry := opening(root, chapter["file"]))]
            if entries:
                lines += [f"**{part['caption']}**", "", *(line for entry in entries for line in (*entry, ""))]
        container = nodes.container(classes=["sl-chapters"])
        self.state.nested_parse(StringList(lines, source="_toc.yml"), self.content_offset, container)
        return [container]


def opening(root: Path, name: str) -> tuple[str, str] | None:
    """Link to a chapter and its question, as an entry of a definition list; None where it asks none."""
    path = root / f"{name}.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    question = re.search(r"^\*\*([^*]+\?)\*\*$", text, re.MULTILINE)
    return (f"[{title[1]}]({name}.md)", f": {question[1]}") if title and question else None


def add_repository(app: Sphinx, config: Any) -> None:
    """Link to the repository that the package names, and to none if it names none."""
    try:
        entries = importlib.metadata.metadata("sarlab").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        entries = []
    urls = {name.strip().lower(): url.strip() for name, _, url in (entry.partition(",") for entry in entries)}
    url = next((urls[name] for name in ("repository", "source", "source code", "homepage") if name in urls), "")
    if url:
        config.html_theme_options.update(repository_url=url, use_repository_button=True)


def name_front_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The front page is called by what it is in the side bar: its own title is a question too long for it."""
    context["root_title"] = "The answer"


def read_in_parallel(app: Sphinx) -> None:
    """Execute, read and write the pages in several processes; forks are safe on Linux only.

    Each takes a run of pages in alphabetical order. Those of the chapters and of the package take longest, so more
    processes than cores keep all cores busy.
    """
    if sys.platform == "linux":
        # what the pages about the package document, imported once for all processes
        for name in ("sarlab.lab.experiment", "sarlab.views.figures"):
            importlib.import_module(name)
        app.parallel = max(app.parallel, min(4 * len(os.sched_getaffinity(0)), 8))
    # jupyter-book always loads this one; it numbers sections across parts, which `_config.yml` turns off
    app.extensions["sphinx_multitoc_numbering"].parallel_read_safe = True


def start_kernels(app: Sphinx) -> None:
    """Let kernels be forks of a process that has imported the libraries; forks are safe on Linux only."""
    if sys.platform != "linux":
        return
    folder = Path(tempfile.mkdtemp(prefix="sarlab-kernels-"))
    script, path = str(Path(__file__).with_name("sarlab_kernels.py")), str(folder / "socket")
    spec = {
        "argv": [sys.executable, "-I", "-S", script, "ask", path, "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
    }
    (folder / "kernels" / "python3").mkdir(parents=True)
    (folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("JUPYTER_PATH")]))
    # Kernels communicate through sockets in this folder: a port is chosen before a kernel opens it, and another program
    # may open it first. On a busy machine a kernel takes minutes to start.
    create_kernel_manager = NotebookClient.create_kernel_manager

    def create_local(client: NotebookClient) -> KernelManager:
        client.startup_timeout = 600
        manager = create_kernel_manager(client)
        manager.transport = "ipc"
        manager.connection_file = str(folder / f"{uuid.uuid4().hex}.json")
        return manager

    NotebookClient.create_kernel_manager = create_local  # type: ignore[method-assign]
    server = subprocess.Popen([sys.executable, script, "serve", path], start_new_session=True, stdin=subprocess.DEVNULL)
    while not Path(path).exists() and server.poll() is None:
        time.sleep(0.01)
    app.sarlab_kernels = server, folder, os.getpid()  # type: ignore[attr-defined]


def stop_kernels(app: Sphinx, error: Exception | None) -> None:
    """End the server and all kernels that are left."""
    server, folder, owner = getattr(app, "sarlab_kernels", (None, None, None))
    if server and owner == os.getpid():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def fill_tables(app: Sphinx) -> None:
    """Copy the published tables that this book lacks beside its own."""
    from sarlab.lab.results import shared_folder

    own, published = Path(app.srcdir) / "results", shared_folder("book") / "results"
    app.sarlab_published = set()  # type: ignore[attr-defined]
    for table in sorted(published.glob("*.csv")):
        # examples and histories belong to the runs of a plan
        if not (own / table.name).exists() and table.stem not in ("runs", "history", "examples"):
            own.mkdir(exist_ok=True)
            shutil.copy(table, own / table.name)
            app.sarlab_published.add(table.stem)  # type: ignore[attr-defined]


def link_tables(app: Sphinx, page: str, source: list[str]) -> None:
    """Append links to the tables that the front matter of a chapter names, and state which are not of this plan."""
    named = re.match(r"---\n(?:.*\n)*?tables: (.+)\n(?:.*\n)*?---\n", source[0])
    names = named[1].split() if named else []
    folder = Path(app.srcdir) / "results"
    files = [path for name in names if (path := folder / f"{name}.csv").is_file()]
    if foreign := [name for name in names if name in app.sarlab_published]:  # type: ignore[attr-defined]
        which = (
            f"the tables {', '.join(foreign[:-1])} and {foreign[-1]}" if len(foreign) > 1 else f"the table {foreign[0]}"
        )
        note = f":::{{note}}\nThis plan did not measure {which}. The published values are shown: those of sarlab's own scenes.\n:::\n\n"
        head = re.search(r"^# .+\n\n(?:\*\*[^*]+\*\*\n\n)?", source[0], re.MULTILINE)
        if head:
            source[0] = source[0][: head.end()] + note + source[0][head.end() :]
    if files:
        up = "../" * page.count("/")
        links = ", ".join(
            f'<a href="{up}results/{path.name}" download>{path.name}</a> ({path.stat().st_size / 1000:.0f} kB)'
            for path in files
        )
        source[0] += f'\n\n<p class="sl-data">Tables of this chapter: {links}</p>\n'


def copy_tables(app: Sphinx, error: Exception | None) -> None:
    """Put the tables beside the pages, for download, and take back those that this book lacked."""
    source = Path(app.srcdir) / "results"
    if error is None and app.builder.format == "html" and source.is_dir():
        target = Path(app.outdir) / "results"
        target.mkdir(exist_ok=True)
        for table in sorted(source.glob("*.csv")):
            shutil.copy(table, target / table.name)
    for name in app.sarlab_published:  # type: ignore[attr-defined]
        (source / f"{name}.csv").unlink(missing_ok=True)  # so that the next build does not take them for its own


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it."""
    # jupyter-book sets this for an extension that is not loaded here
    app.add_config_value("comments_config", {}, "html")
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.add_js_file(None, body=HEAD_SCRIPT, priority=900)
    app.add_js_file("recommend.js", loading_method="defer")
    app.add_directive("chapters", Chapters)
    app.connect("config-inited", add_repository, priority=100)
    app.connect("builder-inited", fill_tables)
    app.connect("builder-inited", start_kernels)
    app.connect("builder-inited", read_in_parallel)
    app.connect("source-read", link_tables)
    app.connect("html-page-context", name_front_page, priority=900)
    app.connect("build-finished", copy_tables)
    app.connect("build-finished", stop_kernels)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
