"""Exponents of cost: power laws that are known come back, and what was not measured is said."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.results import Tables
from sarlab.views import cost


def table(exponents=(1.0, 1.7, 0.0)):
    """Measurements that follow given power laws."""
    rows = []
    for architecture, factor in (("plain", 1e-3), ("residual", 4e-3)):
        for (sweep, (column, *_)), exponent in zip(cost.SWEEPS.items(), exponents, strict=True):
            for value in (8, 16, 32, 64):
                seconds = factor * value**exponent
                rows.append(
                    {"sweep": sweep, "value": value, "architecture": architecture, "init": "klt", column: seconds}
                    | {"device": "a processor", "threads": 1}
                )
    return pd.DataFrame(rows)


def book(tmp_path, frame):
    (tmp_path / "results").mkdir(exist_ok=True)
    frame.to_csv(tmp_path / "results" / "cost.csv", index=False)
    return Tables(tmp_path, pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {})


def test_known_exponents_come_back():
    for (sweep, _), power in cost.fits(table()).items():
        assert power.exponent == pytest.approx({"pixels": 1.0, "width": 1.7, "ratio": 0.0}[sweep], abs=1e-9)
        assert power.within == pytest.approx(0.0, abs=1e-6)
    assert cost.fits(table())["pixels", "residual"].factor == pytest.approx(4e-3)


def test_the_interval_is_that_of_a_line_through_four_points():
    rng, values, off = np.random.default_rng(0), np.array([8.0, 16.0, 32.0, 64.0]), []
    for _ in range(400):
        power = cost.fit(values, 1e-3 * values**1.7 * np.exp(0.1 * rng.standard_normal(4)))
        off.append(abs(power.exponent - 1.7) / power.within)
    assert np.mean(np.array(off) < 1) == pytest.approx(0.95, abs=0.03)
    # Student's t with two degrees of freedom: 95 % lie within 4.303 standard errors, half within 0.816
    assert np.mean(np.array(off) < 0.816 / 4.303) == pytest.approx(0.5, abs=0.07)


def test_two_points_have_no_interval_and_one_no_exponent():
    two = cost.fit(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    assert two.exponent == pytest.approx(2.0)
    assert np.isnan(two.within)
    assert str(two) == "2.00"
    assert cost.fit(np.array([3.0]), np.array([1.0])) is None
    assert cost.fit(np.array([3.0, 3.0]), np.array([1.0, 2.0])) is None


def test_the_figure_says_its_numbers(tmp_path):
    figure = cost.growth(book(tmp_path, table()))
    assert len(figure.panels) == 3
    assert "exponent 1.70 ± 0.00" in figure.panels[1].alt
    assert figure.title == "Cost grows with pixels to the power 1.0, with width to the power 1.7"
    assert "a processor" in figure.caption
    assert "^1.70" in figure._repr_html_()
    said = cost.text(book(tmp_path, table())).text
    assert "the pixels of an image 2.00 times" in said
    assert "the width of a network 3.25 times" in said
    assert "the compression ratio 1.00 times" in said
    assert "| 1.70 ± 0.00 | 1.70 ± 0.00 |" in cost.exponents_table(book(tmp_path, table())).text
    assert "95 % intervals" in cost.exponents_table(book(tmp_path, table())).text


def test_every_panel_has_room_for_its_labels_and_numbers_on_its_axis(tmp_path):
    with warnings.catch_warnings():
        # what is drawn far outside leaves no room for the axes
        warnings.simplefilter("error")
        drawn = [panel.drawing for panel in cost.growth(book(tmp_path, table())).panels]
    for drawing in drawn:
        drawing.draw_without_rendering()
        (ax,) = drawing.axes
        assert all(0 < text.get_position()[0] < 1.3 for text in ax.texts if text.get_text())
        low, high = ax.get_ylim()
        shown = [tick for tick in ax.get_yticklabels() if low <= tick.get_position()[1] <= high and tick.get_text()]
        assert len(shown) >= 2


def test_without_measurements_the_command_is_named(tmp_path):
    empty = Tables(tmp_path, pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {})
    assert "sarlab sweep cost" in cost.growth(empty).caption
    assert "sarlab sweep cost" in cost.text(empty).text
    assert cost.exponents_table(empty).text == ""
