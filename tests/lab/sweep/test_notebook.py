"""The notebook of a run: parameters that exist, failures with their cell, Ctrl-C that reaches the kernel."""

import jupytext
import pytest

from sarlab.errors import PlanError
from sarlab.lab.results import read_record
from sarlab.lab.runs import FAILURE
from sarlab.lab.sweep import Settings, notebook, parameters_of, run_job

pytest.importorskip("papermill", reason="the lab extra is not installed")


def test_parameters_of_a_job_are_those_of_the_notebook_and_others_are_refused(tiny, tmp_path):
    template = jupytext.read(notebook.shared_folder("notebooks") / "run_experiment.py", fmt="py:percent")
    parameters = parameters_of(tiny(tmp_path)[0], Settings(deadline=0.0))
    notebook.check_parameters(template, parameters)
    with pytest.raises(PlanError, match="unknown notebook parameter 'stepz'"):
        notebook.check_parameters(template, {**parameters, "stepz": 3})


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
