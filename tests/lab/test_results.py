"""Tables come back with the types that they had, whatever their format."""

import numpy as np
import pandas as pd
import pytest

from sarlab.errors import ResultsError
from sarlab.lab.results import read_table, write_table

FRAME = pd.DataFrame(
    {
        "codec": ["a", "b"], "codec_version": ["1", "2"], "seen_in_training": ["true", "false"], "reason": [np.nan, np.nan],
        "simulated": [True, False], "bytes": pd.array([3, None], "Int64"), "looks": [np.nan, np.nan], "psnr_db": [30.5, np.nan],
        "converged": [True, None],
    }
)  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_types_are_those_of_the_columns(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"rows{suffix}"
    write_table(FRAME, path)
    found = read_table(path, ["codec", "target", "bpp"])
    assert list(found["codec_version"]) == ["1", "2"]
    assert list(found["seen_in_training"]) == ["true", "false"]
    assert found["simulated"].dtype == bool
    assert list(found["simulated"]) == [True, False]
    assert found["converged"].dtype == "boolean"
    assert list(found["converged"]) == [True, pd.NA]
    for name in ("bytes", "looks", "psnr_db", "bpp"):
        assert found[name].dtype == float, name
    for name in ("reason", "target"):
        assert found[name].isna().all()
        assert list(found[name].dropna().str.lower()) == []


def test_a_missing_file_is_an_empty_table(tmp_path):
    found = read_table(tmp_path / "none.csv", ["simulated", "psnr_db", "scene"])
    assert found.empty
    assert (found["simulated"].dtype, found["psnr_db"].dtype) == (bool, float)


@pytest.mark.parametrize(
    ("name", "text"), [("x.csv", 'a,b\n1,"2\n'), ("x.csv", ""), ("x.json", "{"), ("README.md", "# A")]
)
def test_other_files_are_no_tables(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ResultsError, match="is not a table of results"):
        read_table(tmp_path / name)
