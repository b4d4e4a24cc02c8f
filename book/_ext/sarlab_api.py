"""The directive ``api``: documentation of every module of a package, found when the book is built.

Docstrings are written to be read in an editor: with `name`, |x|, `side`² and diagrams. `as_rst` turns that into what
reStructuredText means by it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Api(SphinxDirective):
    """A section for each public module of the packages or modules named as arguments."""

    required_arguments = 1
    optional_arguments = 20
    has_content = False

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for name in self.arguments:
            for module in module_names(name):
                lines += [module, "-" * len(module), "", f".. automodule:: {module}", ""]
        # A page in Markdown cannot parse reStructuredText sections below a directive, so they come as one block of it.
        content = StringList(["```{eval-rst}", *lines, "```"], source=self.env.doc2path(self.env.docname))
        container = nodes.Element()
        self.state.nested_parse(content, self.content_offset, container, match_titles=True)
        return container.children


def module_names(name: str) -> list[str]:
    """`name` itself if it defines something, and its public modules and those of its packages, in alphabetical order."""
    module = importlib.import_module(name)
    names = [name] if not hasattr(module, "__path__") or public(module) else []
    for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not info.name.startswith("_"):
            names += module_names(f"{name}.{info.name}") if info.ispkg else [f"{name}.{info.name}"]
    return names


def public(module: Any) -> bool:
    """True if a package defines something itself (not only re-exports)."""
    return any(getattr(item, "__module__", None) == module.__name__ for item in vars(module).values())


DRAWN = re.compile("[\u2500-\u257f\u25b6\u25bc]")


def as_rst(lines: list[str]) -> list[str]:
    """Docstring with its diagrams as literal blocks and its bars and backticks as they were meant."""
    result: list[str] = []
    opened: int | None = None  # indentation of the text that announced a literal block with "::"
    for paragraph in paragraphs(lines):
        indent = min(len(line) - len(line.lstrip()) for line in paragraph)
        if opened is not None and indent > opened:
            result += [*paragraph, ""]
            continue
        if any(DRAWN.search(line) for line in paragraph) or laid_out(paragraph):
            result += [] if opened is not None else [" " * indent + "::", ""]
            result += [*("    " + line for line in paragraph), ""]
            continue
        result += [*(inline_as_rst(line) for line in paragraph), ""]
        opened = indent if paragraph[-1].rstrip().endswith("::") else None
    return result


def laid_out(paragraph: list[str]) -> bool:
    """True for an indented paragraph whose lines stand at several columns: a layout or a table, not a quotation."""
    columns = {len(line) - len(line.lstrip()) for line in paragraph}
    listed = re.match(r"\s*([-*+]|\(?\w[.)])\s", paragraph[0])
    return min(columns) >= 4 and len(columns) > 1 and not listed


def paragraphs(lines: list[str]) -> list[list[str]]:
    """Runs of lines that are not blank."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [paragraph for paragraph in found if paragraph]


def inline_as_rst(line: str) -> str:
    """One line of text: bars stand for themselves, a role may touch what surrounds it."""
    parts = re.split(r"(``.+?``|`[^`]+`_?)", line)
    for index, part in enumerate(parts):
        if index % 2 == 0:
            parts[index] = part.replace("|", "\\|")
            continue
        before, after = parts[index - 1][-1:], parts[index + 1][:1]
        start = "" if not before or before.isspace() or before in "'\"([{<-/:" else "\\ "
        end = "" if not after or after.isspace() or after in "'\")]}>-/:.,;!?" else "\\ "
        parts[index] = f"{start}{part}{end}"
    return "".join(parts)


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring in place, before its sections are parsed."""
    if what in ("attribute", "data", "property") and lines:  # napoleon takes words before a colon for a type
        lines[0] = lines[0].replace(": ", " – ")
    lines[:] = as_rst(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("api", Api)
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
