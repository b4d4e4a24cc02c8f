"""What a reader can do in the built book: every control by pointer, touch and keyboard, offline and without a complaint."""

import io
import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BOOK = Path(__file__).resolve().parents[1] / "book"
GRAY_STEP = 30 / 255  # dB between neighboring grays of the made-up pictures


@pytest.fixture
def page(built, visit):
    """The chapter that has a chart and a comparison."""
    one = visit()
    yield one.open(built[0], "chapters/codecs")
    assert (one.complaints, one.outside) == ([], [])


@pytest.fixture
def chart(page):
    return page.locator(".sl-chart").first


@pytest.fixture
def shown(page):
    """The comparison, with its stage in view."""
    comparison = page.locator(".sl-compare").first
    comparison.locator(".sl-stage").scroll_into_view_if_needed()
    return comparison


COPIED = """c => {
  const context = Object.assign(document.createElement("canvas"), { width: c.width, height: c.height }).getContext("2d");
  context.drawImage(c, 0, 0);
  return [c.height, c.width, [...context.getImageData(0, 0, c.width, c.height).data]];
}"""


def pixels(comparison, side):
    """Samples of the left (0) or right (1) canvas, shape (height, width, 3)."""
    data = comparison.locator("canvas").nth(side).evaluate(COPIED)
    return np.array(data[2], np.uint8).reshape(data[0], data[1], 4)[..., :3]


def corner(comparison):
    """(zoom, left, top) of the view that both canvases share."""
    views = comparison.locator("canvas").evaluate_all(
        "all => all.map((c) => { const m = new DOMMatrix(getComputedStyle(c).transform); return [m.a, m.e, m.f]; })"
    )
    assert views[0] == pytest.approx(views[1], abs=0.1), "left and right move together"
    return tuple(views[0])


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_any_two_pictures_and_their_errors_can_be_put_side_by_side(shown):
    left, right = shown.locator(".sl-what").nth(0), shown.locator(".sl-what").nth(1)
    tags = shown.locator(".sl-tag")
    left.select_option(label="original")
    right.select_option(label="lapped (sarlab)")
    assert tags.nth(0).inner_text() == "original"
    assert "lapped" in tags.nth(1).inner_text()
    assert re.search(r"[\d.]+× · [\d.]+ bpp · [\d.]+ dB", tags.nth(1).inner_text()), "ratio, measured rate and PSNR"
    original, brighter = pixels(shown, 0), pixels(shown, 1)
    inside = original[..., 0] < 220
    assert np.median((brighter - original.astype(float))[inside]) * GRAY_STEP == pytest.approx(3, abs=0.15)

    shown.locator(".sl-error").nth(1).check()
    error = pixels(shown, 1)[inside].astype(float)
    assert "error of" in tags.nth(1).inner_text()
    share = (247 - np.median(error[:, 2])) / (247 - 1)
    span = json.loads(shown.locator("script").text_content())["span"]
    assert share * span == pytest.approx(3, abs=0.15), "3 dB too bright, half of the way to orange"
    assert np.median(error[:, 0]) > np.median(error[:, 2]), "orange where it is too bright"
    left.select_option(label="JPEG 2000")
    shown.locator(".sl-error").nth(0).check()
    darker = pixels(shown, 0).astype(float)
    assert np.median(darker[..., 2]) > np.median(darker[..., 0]), "violet where it is too dark"


def test_one_button_sets_the_rate_of_both_sides_and_gaps_are_not_offered(page, shown):
    tags = shown.locator(".sl-tag")
    shown.locator(".sl-choice", has_text="16×").click()
    assert all("1.01 bpp" in tags.nth(side).inner_text() for side in (0, 1))
    shown.locator(".sl-choice input").first.focus()
    page.keyboard.press("ArrowRight")
    assert all("0.51 bpp" in tags.nth(side).inner_text() for side in (0, 1))
    shown.locator(".sl-choice", has_text="64×").click()
    assert "JPEG 2000 · 32×" in tags.nth(0).inner_text(), "the nearest ratio that the codec reaches"
    assert "0.25 bpp" in tags.nth(1).inner_text()
    assert shown.locator(".sl-step").nth(0).locator("option").last.is_disabled()
    facts = shown.locator(".sl-facts:visible")
    assert facts.count() == 2
    assert "31.7×" in facts.first.inner_text()
    shown.locator(".sl-what").nth(0).select_option(label="original")
    assert facts.count() == 1, "the original has no facts"

    bar = shown.locator(".sl-border")
    bar.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    border, stage = (shown.locator(name).bounding_box() for name in (".sl-divider", ".sl-stage"))
    assert border["x"] + border["width"] / 2 - stage["x"] == pytest.approx(0.6 * stage["width"], abs=1.5)
    page.keyboard.press("End")
    assert "100 %" in bar.get_attribute("aria-valuetext")


def test_both_pictures_are_zoomed_and_moved_as_one(page, shown):
    stage = shown.locator(".sl-stage")
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.wheel(0, 40)
    assert corner(shown) == (1, 0, 0), "the wheel scrolls the page until the picture was chosen"
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    shown.locator(".sl-in").click()
    zoom, x, y = corner(shown)
    assert zoom == 1.5
    assert x == pytest.approx(-0.25 * box["width"], abs=1), "about the middle"
    stage.focus()
    for _ in range(20):
        page.keyboard.press("+")
    before = corner(shown)
    assert before[0] == 16, "no further than sixteen times"
    page.keyboard.press("ArrowLeft")
    assert corner(shown)[1] > before[1], "the part to the left comes into view"
    page.keyboard.press("0")
    assert (corner(shown), shown.locator(".sl-zoomed").inner_text()) == ((1, 0, 0), "1×")

    # The wheel keeps the point below the pointer where it is, and a drag moves it. Positions are whole pixels, and the
    # zoom multiplies the rounding.
    at = [round(box["x"] + 0.2 * box["width"]), round(box["y"] + 0.7 * box["height"])]
    page.mouse.move(*at)
    page.mouse.wheel(0, -600)
    zoom, x, y = corner(shown)
    assert zoom > 2
    assert x == pytest.approx(-(at[0] - box["x"]) * (zoom - 1), abs=1.5)
    assert y == pytest.approx(-(at[1] - box["y"]) * (zoom - 1), abs=1.5)
    page.mouse.down()
    page.mouse.move(at[0] + 30, at[1] - 20, steps=3)
    page.mouse.up()
    assert corner(shown)[1] == pytest.approx(x + 30, abs=1.5)
    assert corner(shown)[2] == pytest.approx(y - 20, abs=1.5)

    shown.locator(".sl-pair").check()
    panes = [shown.locator(".sl-pane").nth(i).bounding_box() for i in (0, 1)]
    assert panes[1]["x"] >= panes[0]["x"] + panes[0]["width"] - 1
    corner(shown)


def test_two_fingers_zoom_and_one_moves_the_border(built, visit):
    one = visit(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = one.open(built[0], "chapters/codecs")
    shown = page.locator(".sl-compare").first
    stage = shown.locator(".sl-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    touch = one.context.new_cdp_session(page)

    def fingers(kind, *places):
        points = [
            {"x": box["x"] + u * box["width"], "y": box["y"] + v * box["height"], "id": i} for i, (u, v) in enumerate(places)
        ]  # fmt: skip
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (0.5, 0.5))
    for u in (0.45, 0.4, 0.3, 0.25):
        fingers("touchMove", (u, 0.5))
    fingers("touchEnd")
    assert float(shown.locator(".sl-border").input_value()) == pytest.approx(25, abs=2)

    fingers("touchStart", (0.5, 0.5))
    fingers("touchStart", (0.5, 0.5), (0.7, 0.5))
    for v in (0.75, 0.8, 0.85, 0.9):
        fingers("touchMove", (0.5, 0.5), (v, 0.5))
    fingers("touchEnd")
    assert corner(shown)[0] == pytest.approx(2, rel=0.15)
    assert one.complaints == []


# --- chart ------------------------------------------------------------------------------------------------------------


def ticks(chart):
    """Numbers along the axes, as they are written."""
    return chart.locator(".sl-plot svg > text[text-anchor=middle]").all_text_contents()


def test_series_are_switched_on_and_off(page, chart):
    drawn = chart.locator(".sl-series")
    assert drawn.count() == 4 + 1, "all codecs and the Gaussian reference at first"
    assert chart.locator(".sl-end").first.text_content() == "lapped (sarlab)", "labels at the lines, the best first"
    button = chart.locator("button", has_text="JPEG 2000")
    button.click()
    assert (button.get_attribute("aria-pressed"), drawn.count()) == ("false", 3 + 1)
    button.focus()
    page.keyboard.press("Enter")
    assert drawn.count() == 4 + 1
    chart.locator("summary", has_text="more:").click()
    everything = chart.locator("fieldset", has_text="networks").locator("button[data-all]").first
    everything.click()
    assert drawn.count() == 4 + 1 + 7
    everything.click()
    assert drawn.count() == 4 + 1


def test_axes_scenes_and_bands_are_chosen(chart, built, visit):
    by_bits = ticks(chart)
    chart.locator("select[name=x]").select_option("cr")
    assert ticks(chart) != by_bits
    assert "compression ratio" in chart.locator(".sl-plot svg").get_attribute("aria-label")
    logarithmic = ticks(chart)
    chart.locator("input[name=log]").uncheck()
    assert ticks(chart) != logarithmic
    chart.locator("select[name=y]").select_option("bias_db")
    assert "0 is perfect" in chart.locator(".sl-name").text_content()
    chart.locator("select[name=where]").select_option(index=1)
    assert chart.locator(".sl-bars").count() == 4, "several passes give intervals"
    chart.locator("select[name=band]").select_option(label="VH")
    assert "Nothing to draw" in chart.locator(".sl-plot svg").text_content(), "other passes have one band only"
    chart.locator("select[name=where]").select_option(index=0)
    assert chart.locator(".sl-series").count() == 4
    chart.locator("select[name=x]").select_option("ratio")
    assert "JPEG 2000" in chart.locator(".sl-absent").inner_text(), "codecs have no ratio of values"
    chart = visit().open(built[0], "chapters/rate_distortion").locator(".sl-chart").first
    assert chart.locator(".sl-series").count() == 7 + 3 + 1, "networks, codecs, limit"
    chart.locator("select[name=x]").select_option("ratio")
    assert chart.locator(".sl-series").count() == 7


def test_values_are_told_to_pointer_and_keyboard(page, chart, synthetic):
    plot, tip, said = chart.locator(".sl-plot"), chart.locator(".sl-tip"), chart.locator(".sl-said")
    plot.focus()
    page.keyboard.press("ArrowRight")
    first = said.inner_text()
    assert first.startswith("lapped (sarlab): ")
    assert "PSNR (dB): 20" in first
    assert said.get_attribute("aria-live") == "polite"
    page.keyboard.press("ArrowRight")
    assert "PSNR (dB): 22" in said.inner_text()
    page.keyboard.press("End")
    row = synthetic.codecs().query("codec == 'lapped' and target_value == 42").iloc[0]
    assert f"{float(f'{row.bpp:.3g}'):g} bpp" in said.inner_text()
    page.keyboard.press("ArrowDown")
    assert "lapped" not in said.inner_text()
    page.keyboard.press("Escape")
    assert said.inner_text() == ""
    assert not tip.is_visible()

    chart.locator("select[name=where]").select_option(index=1)
    chart.locator("select[name=y]").select_option("rmse_k8_db")
    box = chart.locator(".sl-series circle, .sl-series rect, .sl-series path[d$=z]").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert tip.is_visible()
    assert re.search(r"range over 3 passes: [\d.]+ to [\d.]+", tip.inner_text())
    page.mouse.move(1, 1)
    assert not tip.is_visible()


# --- around them ------------------------------------------------------------------------------------------------------


def test_the_picture_for_the_readme_is_small_and_shows_three_things(built, browser):
    from PIL import Image

    script = SimpleNamespace(**runpy.run_path(str(BOOK / "picture.py")))
    shots = script.shots(browser, built[0])
    data = script.small(script.compose(*shots))
    assert len(data) <= script.MOST
    assert Image.open(io.BytesIO(data)).width == script.WIDTH
    tracked = BOOK / "_static" / "report.png"
    assert tracked.stat().st_size <= script.MOST


def test_the_recommender_answers_without_a_kernel(built, visit):
    page = visit().open(built[0], "chapters/operating_point")
    answer, psnr = page.locator(".sl-recommend output"), page.locator('.sl-recommend input[data-metric="psnr_db"]')
    for name in ("epi_roa", "bias_db", "rmse_k8_db"):
        page.locator(f'.sl-recommend input[data-metric="{name}"]').fill("")

    def reached(limit):
        psnr.fill(str(limit))
        found = page.locator(".sl-recommend .sl-answer")
        return float(found.inner_text().rstrip("×")) if found.count() else 0.0

    reachable = [reached(limit) for limit in (5, 20, 24, 28, 99)]
    assert reachable[0] > 0
    assert reachable == sorted(reachable, reverse=True)
    assert "meets these thresholds" in answer.inner_text(), "nothing keeps 99 dB"
    psnr.focus()
    for _ in range(12):  # through the fields to the first button
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    page.keyboard.press("Enter")
    assert psnr.input_value() == "35"
    page.locator('.sl-recommend input[type="checkbox"]').first.uncheck()
    assert answer.inner_text()


def test_without_scripts_pictures_stand_side_by_side_and_the_chart_names_its_curves(built, visit):
    one = visit(java_script_enabled=False)
    page = one.open(built[0], "chapters/examples")
    pictures = page.locator(".sl-compare").nth(1).locator(".sl-layer img")
    assert pictures.count() == 1 + 4 * 3, "the original, and four networks at three ratios"
    assert all(pictures.nth(i).is_visible() for i in range(4))
    assert not page.locator(".sl-compare input[type=range]").first.is_visible()
    chart = one.open(built[0], "chapters/codecs").locator(".sl-chart").first
    assert "fixed figures of this page" in chart.locator(".sl-still").inner_text()
    assert not chart.locator("select").first.is_visible()


def test_search_is_reached_by_keyboard_and_finds_a_page_from_a_file(built, visit):
    one = visit()
    page = one.open(built[0], "index")
    page.keyboard.press("Control+k")
    page.keyboard.type("speckle")
    page.keyboard.press("Enter")
    hit = page.locator("#search-results a", has_text="Scenes and speckle").first
    hit.wait_for(timeout=10_000)
    hit.click()
    assert page.locator("article h1").inner_text().startswith("Scenes and speckle")
    assert (one.complaints, one.outside) == ([], [])
