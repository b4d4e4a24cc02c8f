"""Notebooks that run at the same time in threads of one process do not disturb each other."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sarlab.lab import notebooks

pytest.importorskip("papermill")


def test_two_notebooks_at_once_leave_the_working_directory_alone(tmp_path, monkeypatch):
    import papermill.execute

    monkeypatch.chdir(tmp_path)
    entered = {"first": threading.Event(), "second": threading.Event()}
    first_done = threading.Event()
    seen = []

    def engine(name, notebook, *args, **kwargs):
        # the first begins before the second, and ends before it
        which = "first" if not entered["first"].is_set() else "second"
        entered[which].set()
        seen.append(os.getcwd())
        (entered["second"] if which == "first" else first_done).wait(20)
        return notebook

    monkeypatch.setattr(papermill.execute.papermill_engines, "execute_notebook_with_engine", engine)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(notebooks.execute, {}, tmp_path / "a")
        assert entered["first"].wait(20)
        second = pool.submit(notebooks.execute, {}, tmp_path / "b")
        first.result(20)
        first_done.set()
        second.result(20)
    assert os.getcwd() == str(tmp_path)
    assert seen == [str(tmp_path)] * 2
    for name in ("a", "b"):
        assert json.loads((tmp_path / name / notebooks.NOTEBOOK).read_text())["cells"]
