"""Figure: its words, its HTML, its files."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from sarlab.errors import ResultsError
from sarlab.views import style
from sarlab.views.figure import Figure, Panel


def panel(alt="one panel", width=3.0):
    with style.style():
        drawing, ax = style.axes(width, 2.0)
        ax.plot([0, 1], [0, 1], color=style.VERMILION)
    return Panel(drawing, alt)


@pytest.fixture
def figure():
    looks = [style.look("klt"), style.look("plain, KLT start")]
    return Figure([panel(), panel("second <panel>")], title="A & B", caption="Where from.", key=looks)


def test_says_in_words_what_it_shows(figure):
    assert figure.alt == "A & B one panel second <panel>"
    assert repr(figure) == "<Figure: A & B one panel second <panel>>"


def test_html_names_group_and_panels_and_escapes(figure):
    html = figure._repr_html_()
    assert 'role="group" aria-label="A &amp; B"' in html
    assert html.count('role="img"') == 2
    assert 'aria-label="second &lt;panel&gt;"' in html
    assert "<figcaption" in html
    assert "Where from." in html
    assert "plain, KLT start" in html
    assert "<script" not in html


def test_colors_come_from_the_page_around(figure):
    html = figure._repr_html_()
    assert "--sl-ink:var(--pst-color-text-base,var(--jp-content-font-color1" in html
    hollow = re.search(r"<svg width=\"28\"[^>]*fill:var\(--sl-paper", html)
    assert hollow, "a series from scratch has hollow markers in the key"


def test_png_holds_all_panels_in_a_row_on_white(figure, tmp_path):
    image = np.asarray(Image.open(figure.save(tmp_path / "figure.png")))
    single = np.asarray(Image.open(io.BytesIO(Figure([panel()]).png())))
    assert image.shape == (single.shape[0], 2 * single.shape[1], 3)
    assert (image[0, 0] >= 250).all()
    assert image.min() < 200


def test_html_file_stands_alone(figure, tmp_path):
    text = figure.save(tmp_path / "figure.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "<title>A &amp; B</title>" in text
    assert not re.findall(r'(?:src|href)="(?!#)(?!data:)', text)


def test_svg_file_of_one_panel(tmp_path):
    assert Figure([panel()]).save(tmp_path / "figure.svg").read_text().startswith("<svg")


def test_impossible_files_are_refused_and_nothing_is_written(figure, tmp_path):
    for name in ("figure.svg", "figure.pdf"):
        with pytest.raises(ResultsError, match=name):
            figure.save(tmp_path / name)
    with pytest.raises(ResultsError, match="0 panels"):
        Figure([]).save(tmp_path / "nothing.png")
    assert list(tmp_path.iterdir()) == []
