"""Execute the notebook of an experiment through papermill, and render it again from a saved run."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sarlab.errors import PlanError, SarlabError
from sarlab.files import replacing, write_json
from sarlab.lab.jobs import FAILURE
from sarlab.lab.share import shared_folder

NOTEBOOK = "notebook.ipynb"


class NotebookFailed(SarlabError):
    """A cell of an executed notebook raised.

    Attributes
    ----------
    record : dict
        cell (number among code cells), source (its first line), error, message, traceback.
    """

    def __init__(self, record: dict[str, Any]):
        self.record = record
        super().__init__(f"cell {record['cell']} ({record['source']}): {record['error']}: {record['message']}")


def read_template(name: str = "run_experiment") -> Any:
    """Notebook node of a text notebook in ``notebooks/``."""
    import jupytext

    return jupytext.read(shared_folder("notebooks") / f"{name}.py", fmt="py:percent")


def check_parameters(template: Any, parameters: Mapping[str, Any]) -> None:
    """Raise `PlanError` for parameters that the notebook's ``parameters`` cell does not define.

    papermill itself only warns.
    """
    import ast

    cells = [cell for cell in template.cells if "parameters" in cell.metadata.get("tags", [])]
    known = {
        target.id
        for cell in cells
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise PlanError(f"unknown notebook parameter '{unknown[0]}'; known: {', '.join(sorted(known))}")


def execute(parameters: Mapping[str, Any], folder: Path, *, name: str = "run_experiment") -> Path:
    """Execute a text notebook with `parameters` into ``folder/notebook.ipynb``.

    Raises
    ------
    NotebookFailed
        If a cell raised; ``failure.json`` and the partial notebook (``failed.ipynb``) say where.
    """
    import papermill
    from traitlets.config import Config

    template = read_template(name)
    check_parameters(template, parameters)
    template.metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"})
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / NOTEBOOK
    try:
        # Sockets in a folder of their own instead of TCP ports: nobody else can listen, no two kernels can collide.
        with replacing(target) as temporary, tempfile.TemporaryDirectory(prefix="sarlab-") as sockets:
            try:
                papermill.execute_notebook(
                    template,
                    str(temporary),
                    parameters=dict(parameters),
                    progress_bar=False,
                    # no cwd: papermill would change that of this whole process, in which other notebooks run too
                    extra_arguments=[
                        "--log-level=CRITICAL"
                    ],  # shutting down interrupts the kernel, which logs an error
                    # Everything is on disk by now; a polite farewell takes seconds.
                    shutdown_kernel="immediate",
                    config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
                )
            except papermill.PapermillExecutionError as error:
                temporary.replace(folder / "failed.ipynb")
                raise NotebookFailed(_record(error)) from None
            _clean(temporary)
    except NotebookFailed as failure:
        if failure.record["error"] not in ("KeyboardInterrupt", "OutOfTime", "Busy"):
            write_json(folder / FAILURE, failure.record)
        raise
    for stale in (FAILURE, "failed.ipynb"):
        (folder / stale).unlink(missing_ok=True)
    return target


def _record(error: Any) -> dict[str, Any]:
    return {
        "cell": error.exec_count,
        "source": next((line for line in error.source.splitlines() if line.strip()), ""),
        "error": error.ename,
        "message": _plain(error.evalue),
        "traceback": _plain("\n".join(error.traceback)),
    }


def _plain(text: str) -> str:
    """Text without terminal colors."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _clean(path: Path) -> None:
    """Drop what papermill stores of its input: the whole notebook, when the input is a node."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    record = notebook["metadata"].get("papermill", {})
    record["input_path"] = "notebooks/run_experiment.py"
    record["output_path"] = NOTEBOOK
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
