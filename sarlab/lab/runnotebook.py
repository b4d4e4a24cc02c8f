"""Clean an executed notebook for print: a title, no noise, no folders of this machine, stable cell ids."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any


def clean_notebook(notebook: dict[str, Any], *, title: str, root: Path) -> dict[str, Any]:
    """Return a copy that is fit to be published.

    Parameters
    ----------
    notebook : dict
        Parsed JSON of an executed notebook.
    title : str
        Becomes the first heading.
    root : Path
        Folder of all runs; wherever its path stands in a cell or output, it becomes ``runs``.

    Notes
    -----
    Standard error, progress, timings, kernel metadata and the ``parameters`` cell's defaults are dropped. The cell with
    the injected parameters stays: it says what was run. Ids depend on the position alone, so that a second publication
    of the same results changes nothing.
    """
    page = copy.deepcopy(notebook)
    cells: list[dict[str, Any]] = []
    for cell in page["cells"]:
        tags = cell.get("metadata", {}).get("tags", [])
        if "parameters" in tags:
            continue
        cell["source"] = _without(_text(cell["source"]), root)
        if not cells and cell["cell_type"] == "markdown":
            cell["source"] = re.sub(r"\A# .*", lambda _: f"# {title}", cell["source"])
        if "injected-parameters" in tags:
            cell["source"] = _published_parameters(cell["source"])
            tags = ["hide-input"]
        cell["metadata"] = {"tags": [tag for tag in tags if tag != "injected-parameters"]} if tags else {}
        cell["id"] = f"cell-{len(cells):02d}"
        if cell["cell_type"] == "code":
            cell["execution_count"] = None
            cell["outputs"] = [_clean_output(output, root) for output in cell["outputs"] if _is_content(output)]
        cells.append(cell)
    page["cells"] = cells
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    page["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return page


def _published_parameters(source: str) -> str:
    """The injected parameters without those that only this machine needs."""
    lines = [line for line in source.splitlines() if not re.match(r"(folder|device|time_budget)\s*=", line)]
    return "\n".join(lines)


def _is_content(output: dict[str, Any]) -> bool:
    return not (output.get("output_type") == "stream" and output.get("name") == "stderr")


def _clean_output(output: dict[str, Any], root: Path) -> dict[str, Any]:
    if output.get("output_type") == "execute_result":
        output["execution_count"] = None
    if "text" in output:
        output["text"] = _without(_text(output["text"]), root)
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/"):
            output["data"][kind] = _without(_text(value), root)
    return output


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


def _without(text: str, root: Path) -> str:
    for path, short in ((root, "runs"), (Path.home(), "~")):
        if len(str(path)) > 1:
            text = text.replace(str(path), short)
    return text
