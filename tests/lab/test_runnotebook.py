"""Published pages carry results, not traces of the machine."""

from pathlib import Path

from sarlab.lab.runnotebook import clean_notebook

ROOT = Path("/home/somebody/work/runs")
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# One experiment\n", "\n", "Text"], "id": "q1"},
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]},
            "source": "seed = 0",
            "outputs": [],
            "execution_count": 1,
        },
        {
            "cell_type": "code",
            "metadata": {"tags": ["injected-parameters"], "papermill": {"duration": 1.0}},
            "source": f'# Parameters\nseed = 3\nfolder = "{ROOT}/a"\ndevice = "auto"\ntime_budget = 3.0',
            "outputs": [],
            "execution_count": 2,
        },
        {
            "cell_type": "code",
            "metadata": {"tags": ["hide-input"], "execution": {"iopub": "2026"}},
            "source": "show()",
            "outputs": [
                {"output_type": "stream", "name": "stderr", "text": "step 1"},
                {"output_type": "stream", "name": "stdout", "text": [f"in {ROOT}/a\n"]},
                {
                    "output_type": "execute_result",
                    "execution_count": 9,
                    "data": {"text/html": f"<p>{ROOT}</p>"},
                    "metadata": {},
                },
            ],
            "execution_count": 9,
        },
    ],
    "metadata": {"papermill": {"output_path": str(ROOT)}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def test_page_is_titled_and_free_of_traces():
    page = clean_notebook(NOTEBOOK, title="plain, 16×", root=ROOT)
    assert page["cells"][0]["source"].startswith("# plain, 16×\n\nText")
    text = repr(page)
    assert "somebody" not in text
    assert "papermill" not in text
    assert "step 1" not in text
    assert "seed = 3" in text
    assert "seed = 0" not in text
    assert "time_budget" not in text
    assert [cell["id"] for cell in page["cells"]] == ["cell-00", "cell-01", "cell-02"]


def test_cleaning_twice_changes_nothing_and_the_input_stays():
    before = repr(NOTEBOOK)
    once = clean_notebook(NOTEBOOK, title="t", root=ROOT)
    assert clean_notebook(once, title="t", root=ROOT) == once
    assert repr(NOTEBOOK) == before
