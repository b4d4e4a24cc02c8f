"""The roofline of training steps in words: shares of what the device can do, and nothing where nothing was measured."""

import pandas as pd
import pytest

from sarlab.lab.results import Tables
from sarlab.views import roofline


def row(**changes):
    return {
        "architecture": "plain", "init": "klt", "width": 32, "depth": 1, "precision": "bfloat16", "graphs": False,
        "batch_size": 64, "patch_size": 96, "flops": 3.5e10, "bytes": 4e8, "kernels": 155, "device": "a large GPU",
        "flops_per_s": 8e14, "bytes_per_s": 4e12, "launch_s": 5e-6, "seconds": 1e-3, "floor_s": 1e-4, "launches_s": 8e-4,
        "utilization": 0.04375, "of_roofline": 0.1, "bound": "launches", "threads": 2,
    } | changes  # fmt: skip


@pytest.fixture
def book(tmp_path):
    def of(*rows):
        (tmp_path / "results").mkdir(exist_ok=True)
        pd.DataFrame(rows).to_csv(tmp_path / "results" / "roofline.csv", index=False)
        return Tables(tmp_path, pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {})

    return of


def test_shares_and_ceilings_are_said(book):
    graphed = row(graphs=True, seconds=4e-4, utilization=0.109375, of_roofline=0.25, bound="memory")
    tables = book(row(), graphed, row(seconds=2e-3, utilization=0.02, of_roofline=0.05))
    said = roofline.text(tables).text
    assert "a large GPU" in said
    assert "800 TFLOP/s in bfloat16, copies at 4\u202f000 GB/s" in said
    assert "takes 5.0 µs" in said
    assert "is 10.9 %" in said
    assert said.endswith("bounds most of these networks is the start of its kernels.")
    lines = roofline.steps_table(tables).text.splitlines()
    assert len(lines[2:5]) == 3
    assert "as a CUDA graph" in lines[3]
    assert lines[3].endswith("| 0.400 | 35.0 | 0.400 | 10.9 | 25.0 | memory |")
    assert lines[-1].startswith("Steps of 64 patches of 96².")


def test_nothing_measured_is_nothing_said(tmp_path):
    empty = Tables(tmp_path, pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {})
    assert roofline.text(empty).text == ""
    assert roofline.steps_table(empty).text == ""
