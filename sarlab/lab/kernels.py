"""Kernels that start warm: one process imports what every notebook needs, and each kernel is a fork of it.

::

    sweep, or the builder of the book
      ├─▶ kernel_server: imports once, computes nothing, waits
      │     └─fork─▶ kernel, kernel, …
      └─▶ kernel_client (what Jupyter starts and watches) ──asks──▶ kernel_server

Importing PyTorch and its company takes a notebook longer than a short training. Jupyter finds the fork by a kernel
specification of its own, so papermill and the book need no other change; where there is no server, the client becomes an
ordinary kernel.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

#: What the notebook of a run imports, and what the pages of the book do.
RUN_MODULES = (
    *("sarlab.lab.experiment", "sarlab.views.runpage", "sarlab.views.plots", "pandas.io.formats.style"),
    *("matplotlib.figure", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg", "PIL.WebPImagePlugin"),
)
PAGE_MODULES = (
    *("sarlab.lab.results", "sarlab.views.plots", "sarlab.views.chart_data", "pandas.io.formats.style"),
    *("matplotlib.figure", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg"),
)
#: Seconds that the server gets to end.
PATIENCE = 5.0


@contextlib.contextmanager
def warm_kernels(modules: Sequence[str]) -> Iterator[dict[str, str]]:
    """Serve kernels that have imported `modules` while the block runs.

    Parameters
    ----------
    modules : sequence of str
        Their import must not touch a GPU, which does not survive a fork.

    Yields
    ------
    dict
        Environment variables under which Jupyter starts those kernels as ``python3``; empty where kernels are ordinary
        ones: without Jupyter, and on other systems than Linux, where libraries do not promise to survive a fork.
    """
    if sys.platform != "linux" or importlib.util.find_spec("ipykernel") is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="sarlab-") as folder:
        path = Path(folder) / "server"
        # Bound here: whoever asks early waits until the server has imported everything.
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(path))
            listener.listen(64)
            server = subprocess.Popen(
                [sys.executable, "-m", "sarlab.lab.kernel_server", str(listener.fileno()), *modules],
                pass_fds=(listener.fileno(),), stdin=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        write_specification(Path(folder) / "kernels" / "python3", path)
        others = os.environ.get("JUPYTER_PATH")
        try:
            yield {"JUPYTER_PATH": os.pathsep.join([folder, others] if others else [folder])}
        finally:
            # The end of its input is the end of the server, also when this process is killed.
            try:
                server.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def write_specification(folder: Path, server: Path) -> None:
    """Write the kernel specification whose kernels come from the socket `server`."""
    client = Path(__file__).with_name("kernel_client.py")
    # no data base of what was typed: nobody types
    arguments = ["-f", "{connection_file}", "--HistoryManager.enabled=False"]
    specification: dict[str, object] = {
        # -I and -S: a process that only passes messages needs no packages
        "argv": [sys.executable, "-I", "-S", str(client), str(server), *arguments],
        "display_name": "Python 3",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {"debugger": False},
    }
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")
