"""Execute the notebook of an experiment with papermill, in a kernel of its own."""

import json
import os
import re
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from sarlab.errors import SarlabError
from sarlab.files import replacing
from sarlab.lab.results import shared_folder
from sarlab.lab.runs import is_held, owner_of

#: The executed notebook in the folder of a run, and what a failed execution leaves.
NOTEBOOK, FAILED = "notebook.ipynb", "failed.ipynb"
#: Kernels of this process that were interrupted; a second interrupt would cut a training's last step in half.
_interrupted: set[int] = set()


class NotebookFailed(SarlabError):
    """A cell of an executed notebook raised, or its kernel died.

    ``record`` has: cell (number among code cells), source (its first line), error, message, traceback.
    """

    def __init__(self, record: dict[str, Any]):
        self.record = record
        super().__init__(f"cell {record['cell']} ({record['source']}): {record['error']}: {record['message']}")


def execute(parameters: Mapping[str, Any], folder: Path) -> Path:
    """Execute ``notebooks/run_experiment.py`` with `parameters` into ``folder/notebook.ipynb``.

    If a cell raises, `NotebookFailed` leaves the partial notebook as ``failed.ipynb``. On Ctrl-C the kernel ends first.
    """
    # In the main thread nbclient would answer Ctrl-C itself, by killing the kernel.
    with ThreadPoolExecutor(1) as pool, replacing(folder / NOTEBOOK) as temporary:
        execution = pool.submit(_execute, dict(parameters), temporary)
        try:
            execution.result()
        except NotebookFailed as failure:
            if failure.record["cell"] is not None:
                temporary.replace(folder / FAILED)
            raise
        except KeyboardInterrupt:
            while not execution.done():
                interrupt(folder)
                time.sleep(0.2)
            raise
    return folder / NOTEBOOK


def _execute(parameters: dict[str, Any], target: Path) -> None:
    import jupytext
    import papermill

    template = jupytext.read(shared_folder("notebooks") / "run_experiment.py", fmt="py:percent")
    template.metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"})
    try:
        # A kernel that is shut down is interrupted, and would log that as an error. Everything is on disk by then.
        papermill.execute_notebook(
            template, str(target), parameters=parameters, progress_bar=False, shutdown_kernel="immediate",
            extra_arguments=["--log-level=CRITICAL"],
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        source = next((line for line in error.source.splitlines() if line.strip()), "")
        texts = {"message": error.evalue, "traceback": "\n".join(error.traceback)}
        plain = {name: re.sub(r"\x1b\[[0-9;]*m", "", text) for name, text in texts.items()}  # without colors
        raise NotebookFailed({"cell": error.exec_count, "source": source, "error": error.ename, **plain}) from None
    except RuntimeError as error:
        # jupyter_client has no class of its own for kernels that die or hang while they start
        if "ernel" not in str(error):
            raise
        record = {"cell": None, "source": "", "error": "DeadKernelError", "message": str(error)}
        raise NotebookFailed(record) from None
    # papermill stores its input, which is the whole notebook.
    notebook = json.loads(target.read_text(encoding="utf-8"))
    notebook["metadata"]["papermill"] |= {"input_path": "notebooks/run_experiment.py", "output_path": NOTEBOOK}
    target.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def interrupt(folder: Path) -> None:
    """Interrupt the kernel that carries out the run in `folder`, once; kill kernels that have not begun or have ended it."""
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if not any("ipykernel" in part for part in process.cmdline()):
                continue
            owner = owner_of(folder)
            if os.name != "posix" or owner is None or owner[0] != process.pid or not is_held(folder):
                process.kill()
            elif process.pid not in _interrupted:
                _interrupted.add(process.pid)
                process.send_signal(signal.SIGINT)
