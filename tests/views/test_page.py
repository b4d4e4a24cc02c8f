"""Numbers with intervals, tables, notes, and what a page tells about its tables."""

import re

import numpy as np
import pandas as pd

from sarlab.views import page


def test_intervals_say_what_they_are_over_and_missing_values_are_dashes():
    point = pd.DataFrame([{"mean": -0.2, "low": -0.3, "high": -0.1, "n": 4, "kind": "range", "over": "passes"}])
    assert page.interval(point, 1, unit="dB") == "−0.2\u00a0dB (−0.3 to −0.1, range of 4 passes)"
    rows = (point.iloc[0], next(point.itertuples()), dict(point.iloc[0]))
    assert {page.interval(row, over=False) for row in rows} == {"−0.2 (−0.3 to −0.1)"}
    assert page.interval(point.iloc[:0]) == page.interval(None) == "–"
    assert page.interval(point.assign(kind="", n=1, low=np.nan, high=np.nan)) == "−0.2 (one pass)"
    assert page.note("Missing.", unless=[1]) is None
    assert "Missing." in page.note("Missing.", unless=[]).data
    html = page.table(pd.DataFrame({"codec": ["a"], "PSNR (dB)": [np.nan]}), caption="One")._repr_html_()
    assert re.search(r'<td style="text-align:right">–</td>', html)


def test_provenance_leaves_out_what_the_manifest_does_not_tell():
    manifest = {
        "plan": "quick", "runs": 16, "missing": 2, "devices": ["a CPU"], "published": "2026-01-01",
        "environments": [{"versions": {"python": "3.11", "torch": "2.13"}, "commit": "abc"}],
    }  # fmt: skip
    shown = page.provenance(manifest).data
    for part in ("plan *quick*", "16 runs, 2 not finished", "a CPU", "torch 2.13", "commit abc", "2026-01-01"):
        assert part in shown
    assert "None" not in page.provenance({"plan": "quick"}).data
    assert page.provenance({}).data == ""
