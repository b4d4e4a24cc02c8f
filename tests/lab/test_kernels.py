"""Kernels from a warm server: what is imported is there, signals and deaths pass through, and nothing is left behind."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest

from sarlab.lab.kernels import warm_kernels
from sarlab.lab.variables import inherited

jupyter_client = pytest.importorskip("jupyter_client", reason="the lab extra is not installed")
pytest.importorskip("ipykernel", reason="the lab extra is not installed")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")


@contextlib.contextmanager
def kernel():
    """(manager, function that executes code and returns what it printed or the name of its error)."""
    manager, client = jupyter_client.manager.start_new_kernel(kernel_name="python3", extra_arguments=["--log-level=50"])

    def execute(code, timeout=30):
        said = []

        def hook(message):
            content = message["content"]
            said.append(content.get("text", "") + content.get("ename", ""))

        client.execute_interactive(code, timeout=timeout, output_hook=hook)
        return "".join(said).strip()

    try:
        yield manager, execute
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def served():
    with warm_kernels(["colorsys", "pandas"]) as variables, inherited(variables):
        yield variables


def alive(process):
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{process}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_modules_are_there_and_kernels_share_nothing_else(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SARLAB_TEST", "first")
    with kernel() as (_, one):
        facts = one("import os, sys; x = 1; print('colorsys' in sys.modules, os.environ['SARLAB_TEST'], os.getcwd())")
        assert facts == f"True first {tmp_path}"
        # arithmetic in threads and in Arrow, whose own threads a fork has lost
        code = "import numpy as np, pandas as pd; a = np.eye(300); print((a @ a).trace(), pd.Series(['a', 'b']).str.upper().sum())"
        assert one(code) == "300.0 AB"
        monkeypatch.setenv("SARLAB_TEST", "second")
        with kernel() as (_, other):
            assert other("print(os.environ['SARLAB_TEST'])") == "NameError"
            assert other("import os; print(os.environ['SARLAB_TEST'], 'x' in globals())") == "second False"
            parents = {execute("import os; print(os.getppid())") for execute in (one, other)}
            assert len(parents) == 1


def test_an_interrupt_reaches_the_cell_and_the_kernel_lives(served):
    with kernel() as (manager, execute):
        threading.Timer(1.0, manager.interrupt_kernel).start()
        start = time.monotonic()
        assert execute("import time; time.sleep(25)") == "KeyboardInterrupt"
        assert time.monotonic() - start < 20
        assert execute("print(2)") == "2"


def test_a_killed_kernel_is_seen_as_dead_and_others_live(served):
    with kernel() as (manager, execute), kernel() as (_, other):
        process = int(execute("import os; print(os.getpid())"))
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: not manager.is_alive())
        assert other("print(1)") == "1"


def test_a_kernel_ends_with_its_client(served):
    with kernel() as (manager, execute):
        process = int(execute("import os; print(os.getpid())"))
        assert alive(process)
        manager.shutdown_kernel(now=True)
        wait_until(lambda: not alive(process))


def test_server_and_kernels_end_with_the_block():
    with warm_kernels([]) as variables, inherited(variables), kernel() as (_, execute):
        process, server = map(int, execute("import os; print(os.getpid(), os.getppid())").split())
        left = os.path.dirname(variables["JUPYTER_PATH"].split(os.pathsep)[0])
        assert alive(server)
    wait_until(lambda: not alive(process) and not alive(server))
    assert os.path.isdir(left)
    assert not os.path.exists(variables["JUPYTER_PATH"].split(os.pathsep)[0])


def test_without_a_server_kernels_are_ordinary_ones():
    with warm_kernels(["colorsys"]) as variables, inherited(variables):
        with kernel() as (_, execute):
            server = int(execute("import os; print(os.getppid())"))
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: not alive(server))
        with kernel() as (manager, execute):
            assert execute("import sys; print('colorsys' in sys.modules, 1 + 1)") == "False 2"
            assert manager.is_alive()


def test_what_cannot_be_imported_is_left_to_the_notebook():
    with warm_kernels(["no_such_module_anywhere"]) as variables, inherited(variables), kernel() as (_, execute):
        assert execute("import no_such_module_anywhere") == "ModuleNotFoundError"


def test_other_systems_get_ordinary_kernels(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with warm_kernels(["colorsys"]) as variables:
        assert variables == {}
