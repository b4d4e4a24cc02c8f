"""The notebook of a run: parameters that exist, failures with their cell, Ctrl-C that reaches the kernel."""

import re

import jupytext
import pytest

from sarlab.lab.results import read_record
from sarlab.lab.runs import FAILURE
from sarlab.lab.sweep import Settings, notebook, parameters_of, run_job

pytest.importorskip("papermill", reason="the lab extra is not installed")


def test_parameters_of_a_job_are_those_of_the_notebook(tiny, tmp_path):
    """Papermill only warns of others."""
    template = jupytext.read(notebook.shared_folder("notebooks") / "run_experiment.py", fmt="py:percent")
    (cell,) = (cell.source for cell in template.cells if "parameters" in cell.metadata.get("tags", []))
    known = set(re.findall(r"^(\w+) = ", cell, re.MULTILINE))
    assert set(parameters_of(tiny(tmp_path)[0], Settings(deadline=0.0))) <= known


def test_a_failing_cell_is_recorded_and_leaves_the_partial_notebook(tiny, tmp_path):
    job = tiny(tmp_path, train={"loss": "nonsense", "steps": 2})[1]
    item = run_job(job, Settings(notebook=True, device="cpu"))
    assert item.outcome == "failed"
    assert item.message.startswith("cell 3: ModelError: ")
    record = read_record(job.folder / FAILURE)
    assert (record["cell"], record["error"]) == (3, "ModelError")
    assert "nonsense" in record["message"]
    assert "\x1b" not in record["traceback"]
    assert (job.folder / notebook.FAILED).is_file()
    assert not (job.folder / notebook.NOTEBOOK).exists()
