"""Numbers and sentences."""

import numpy as np
import pytest

from sarlab.views import text


@pytest.mark.parametrize(
    ("value", "digits", "sign", "expected"),
    [
        (24.35, 1, False, "24.4"), (-0.04, 1, True, "0.0"), (-0.06, 1, False, "−0.1"), (0.5, 2, True, "+0.50"),
        (float("nan"), 1, False, "–"), (float("inf"), 1, True, "–"), (0.0, 1, True, "0.0"),
    ],
)  # fmt: skip
def test_number(value, digits, sign, expected):
    assert text.number(value, digits, sign=sign) == expected


def test_ratio_shows_a_decimal_only_where_there_is_one():
    assert [text.ratio(v) for v in (16.0, 3.5, 15.98)] == ["16×", "3.5×", "16×"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1234567, "1\u202f230\u202f000"),
        (0.012345, "0.0123"),
        (41.02, "41.0"),
        (-9.996, "−10.0"),
        (0, "0"),
        (np.nan, "–"),
    ],
)
def test_significant(value, expected):
    assert text.significant(value) == expected


def test_compact():
    assert [text.compact(v) for v in (0, 420_000, 1_234_567, 999_700)] == [
        "0",
        "420\u202fk",
        "1.23\u202fM",
        "1.00\u202fM",
    ]


def test_span_of_one_value_is_that_value():
    assert text.span([3.0, 3.0]) == "3.00"
    assert text.span([5.0, np.nan, 3.0]) == "3.00 to 5.00"


def test_listing():
    assert [text.listing(v) for v in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_provenance_leaves_out_what_the_manifest_does_not_tell():
    manifest = {
        "plan": "quick", "runs": 16, "missing": 2, "devices": ["a CPU"], "published": "2026-01-01",
        "environments": [{"versions": {"python": "3.11", "torch": "2.13"}, "commit": "abc"}],
    }  # fmt: skip
    shown = text.provenance(manifest).text
    for part in ("plan *quick*", "16 runs, 2 not finished", "a CPU", "torch 2.13", "commit abc", "2026-01-01"):
        assert part in shown
    assert "None" not in text.provenance({"plan": "quick"}).text
    assert text.provenance({}).text == ""
