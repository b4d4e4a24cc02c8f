"""The book: built as a user builds it, read in a browser as a reader does, from ``file://``."""

import ast
import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("jupyter_book", reason="the book extra is not installed")

from sarlab.lab.publish import render, stage

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *["index", *re.findall(r"- file: (\S+)", (ROOT / "book" / "_toc.yml").read_text())],
    *["search", "genindex", "py-modindex"],
]


def test_every_page_is_built_and_nothing_else_is_missing(built):
    html, run = built
    for name in [*PAGES, run]:
        assert (html / f"{name}.html").is_file(), name
    links = set()
    for name in [*PAGES, run]:
        text = (html / f"{name}.html").read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|href)="(?:https?:)?//[^"]*"[^>]*(?:script|stylesheet)', text)
        for link in re.findall(r'<a[^>]*href="([^"#]+)', text):
            if not link.startswith(("http", "data:", "mailto:")):
                links.add(((html / name).parent / link.partition("?")[0]).resolve())
    missing = sorted(str(link) for link in links if not link.is_file())
    assert missing == []


def test_pages_are_light_and_quiet_ask_nothing_of_the_network_and_have_words_for_their_figures(built, visit):
    html, run = built
    one, wide = visit(), {}
    for name in [*PAGES, run]:
        one.page.set_viewport_size({"width": 1280, "height": 900})
        one.open(html, name)
        one.page.wait_for_load_state("load")
        assert one.complaints == [], name
        assert one.page.evaluate(WORDLESS) == 0, name
        one.page.set_viewport_size({"width": 390, "height": 800})
        width = one.page.evaluate("document.documentElement.scrollWidth")
        if not name.startswith(("api/", "gen", "py-")):
            assert (html / f"{name}.html").stat().st_size <= 1_000_000, name
            wide |= {name: width} if width > 391 else {}
    assert one.outside == []
    assert wide == {}


WORDLESS = """() => [...document.querySelectorAll("article img, article figure svg")].filter((e) =>
    !(e.getAttribute("alt") || e.getAttribute("aria-label") || e.closest("[aria-hidden=true]"))).length"""


def test_front_page_lists_every_chapter_with_its_question(built, visit):
    html, _ = built
    listed = visit().open(html, "index").locator(".sl-chapters")
    asking = [
        path
        for path in chapters()
        if path.stem != "index" and re.search(r"^\*\*[^*]+\?\*\*$", path.read_text(), re.MULTILINE)
    ]
    in_contents = [path for path in asking if f"chapters/{path.stem}" in PAGES]
    assert listed.locator("dt a").count() == len(in_contents) >= 6
    for path in in_contents:
        assert listed.locator(f'a[href="chapters/{path.stem}.html"]').count() == 1, path.stem


def test_run_pages_are_shown_as_they_were_executed(built, visit):
    html, run = built
    page = visit().open(html, run)
    assert page.locator("article h1").inner_text().startswith("residual from KLT")
    assert page.locator("figure.sl-figure").count() == 2
    assert "ZeroDivisionError" not in page.content()


def test_numbers_of_the_tables_are_on_the_pages(built, visit, synthetic):
    html, _ = built
    codecs = synthetic.codecs().query(
        "codec == 'lapped' and target_value == 30 and scene == 'mosaic-test' and band == 'VV'"
    )
    lead = visit().open(html, "index").locator("article h1 + p, article h1 + .admonition + p").first.inner_text()
    assert f"{codecs['measured_cr'].iloc[0]:.1f} times smaller" in lead
    assert f"off by {codecs['rmse_k8_db'].iloc[0]:.2f} dB" in lead


def test_slider_works_by_keyboard(built, visit):
    html, _ = built
    page = visit().open(html, "chapters/examples")
    slider = page.locator(".sl-compare").nth(1)
    bar = slider.locator("input[type=range]")
    stage_width = slider.locator(".sl-stage").bounding_box()["width"]

    def border():
        box, stage = slider.locator(".sl-divider").bounding_box(), slider.locator(".sl-stage").bounding_box()
        return box["x"] + box["width"] / 2 - stage["x"]

    assert border() == pytest.approx(stage_width / 2, abs=1.5)
    bar.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert border() == pytest.approx(0.6 * stage_width, abs=1.5)
    page.keyboard.press("End")
    assert border() == pytest.approx(stage_width, abs=1.5)
    assert "100 %" in bar.get_attribute("aria-valuetext")

    slider.locator("input[type=radio]").nth(1).focus()
    page.keyboard.press("ArrowRight")
    assert slider.locator("canvas:visible").count() == 2, "the original and one reconstruction"
    assert slider.locator(".sl-tag").nth(0).inner_text() == "original"
    assert "32×" in slider.locator(".sl-tag").nth(1).inner_text()
    assert slider.locator(".sl-facts:visible").count() == 1, "the original has no facts"
    assert "32×" in slider.locator(".sl-facts:visible").inner_text()


def test_slider_follows_the_pointer(built, visit):
    html, _ = built
    page = visit().open(html, "index")
    slider = page.locator(".sl-compare").first
    stage = slider.locator(".sl-stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 60)
    page.mouse.up()
    assert float(slider.locator("input[type=range]").input_value()) == pytest.approx(25, abs=1)


def test_the_recommender_answers_without_a_kernel(built, visit):
    html, _ = built
    page = visit().open(html, "chapters/operating_point")
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
    # Everything by keyboard: Tab leads through fields and buttons, Enter presses.
    psnr.focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    page.keyboard.press("Enter")
    assert psnr.input_value() == "35"
    page.locator('.sl-recommend input[type="checkbox"]').first.uncheck()
    assert answer.inner_text()


def test_without_scripts_pictures_stand_side_by_side_and_the_chart_names_its_curves(built, visit):
    html, _ = built
    page = visit(java_script_enabled=False).open(html, "chapters/examples")
    pictures = page.locator(".sl-compare").nth(1).locator(".sl-layer img")
    assert pictures.count() == 1 + 4 * 3, "the original, and four networks at three ratios"
    assert all(pictures.nth(i).is_visible() for i in range(4))
    assert not page.locator(".sl-compare input[type=range]").first.is_visible()
    page = visit(java_script_enabled=False).open(html, "chapters/codecs")
    chart = page.locator(".sl-chart").first
    assert "fixed figures of this page" in chart.locator(".sl-still").inner_text()
    assert not chart.locator("select").first.is_visible()


def test_search_finds_a_page_from_a_file(built, visit):
    html, _ = built
    one = visit()
    page = one.open(html, "search", "?q=speckle")
    hit = page.locator("#search-results a", has_text="Scenes and speckle")
    hit.first.wait_for(timeout=10_000)
    hit.first.click()
    assert page.locator("article h1").inner_text().startswith("Scenes and speckle")
    assert one.complaints == []
    assert one.outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_can_be_read_in_both_modes(built, visit, scheme):
    html, run = built
    one = visit(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    names = ("scenes", "rate_distortion", "examples", "runs", "reproduce", "codecs", "operating_point")
    for name in ("index", *(f"chapters/{name}" for name in names), run):
        page = one.open(html, name)
        for more in page.locator(".sl-chart details").all():
            more.evaluate("e => { e.open = true; }")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 361, f"{name} is {width} pixels wide"
        assert page.evaluate(CONTRAST) == [], name
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert one.complaints == []


# Text whose color stands out less than 3:1 from the nearest background that is painted.
CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0.5) return c; } return [255, 255, 255]; };
  const elements = document.querySelectorAll("article .cell_output *, article p, article h1, article h2, article svg text");
  return [...elements].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())
      && !e.closest(".sl-stage, script, style") && e.getClientRects().length).filter((e) => {
    const style = getComputedStyle(e), svg = e instanceof SVGElement;
    const [a, b] = [light(rgb(svg ? style.fill : style.color)), light(paper(svg ? e.closest("svg").parentElement : e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 3;
  }).map((e) => e.textContent.trim().slice(0, 40));
}"""


def test_tables_can_be_downloaded_beside_the_pages(built, visit):
    html, _ = built
    for name, selector, tables in (
        ("reproduce", 'a[href^="../results/"]', {"runs", "history", "examples", "codecs", "limits", "pictures"}),
        ("codecs", "p.sl-data a", {"codecs", "pictures"}), ("examples", "p.sl-data a", {"examples", "runs"}),
    ):  # fmt: skip
        links = visit().open(html, f"chapters/{name}").locator(selector).all()
        paths = [(html / "chapters" / link.get_attribute("href")).resolve() for link in links]
        assert all(path.is_file() for path in paths)
        assert tables <= {path.stem for path in paths}


def test_an_edited_table_changes_the_page_at_the_next_build(tmp_path, synthetic):
    book = stage(tmp_path)
    rows = synthetic.write(book, latents=((16, 16),))
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (book / "index.md").write_text(
        "---\nfile_format: mystnb\nkernelspec: {name: python3}\n---\n# A page\n\n```{code-cell} python3\n"
        "from sarlab.lab.results import tables\nfrom sarlab.views import page\n"
        "page.note(page.number(tables().runs['gain_over_klt_db'].max(), 2, sign=True) + ' dB')\n```\n"
    )
    before = render(book, tmp_path).read_text(encoding="utf-8")
    better = rows.assign(gain_over_klt_db=rows["gain_over_klt_db"].where(rows["architecture"] == "klt", 7.77))
    better.to_csv(book / "results" / "runs.csv", index=False)
    after = render(book, tmp_path).read_text(encoding="utf-8")
    assert "+7.77 dB" not in before
    assert "+7.77 dB" in after


def test_pages_of_the_same_results_are_not_made_twice(tmp_path, synthetic):
    book = stage(tmp_path)
    synthetic.write(book, latents=((16, 16),))
    manifest = book / "results" / "manifest.json"
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (book / "index.md").write_text("# A page\n")
    made = render(book, tmp_path).stat().st_mtime_ns
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "published": "2031-01-01T00:00:00Z"}))
    assert render(book, tmp_path).stat().st_mtime_ns == made
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "missing": 3}))
    assert render(book, tmp_path).stat().st_mtime_ns > made


def test_a_broken_page_fails_the_build_and_keeps_the_last_good_one(tmp_path):
    from sarlab.errors import ResultsError

    book = stage(tmp_path)
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (book / "index.md").write_text("# A page\n")
    good = render(book, tmp_path)
    (book / "index.md").write_text("# A page\n\n[nowhere](nowhere.md)\n")
    with pytest.raises(ResultsError, match="nowhere"):
        render(book, tmp_path)
    assert good.is_file()


def test_a_build_that_fails_names_its_cause_wherever_it_stands(tmp_path, monkeypatch):
    from sarlab.errors import ResultsError
    from sarlab.lab import publish as module

    said = [*["reading a page"] * 40, "RuntimeError: Kernel died", *["a line of the trace"] * 40]
    failed = subprocess.CompletedProcess([], 1, "", "\n".join(said))
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: failed)
    (tmp_path / "book").mkdir()
    with pytest.raises(ResultsError, match="RuntimeError: Kernel died"):
        render(tmp_path / "book", tmp_path / "out")


def chapters():
    return sorted((ROOT / "book").glob("*.md")) + sorted((ROOT / "book" / "chapters").glob("*.md"))


@pytest.fixture(scope="module")
def without_runs(tmp_path_factory):
    """Tables as a plan without networks has them: those of codecs and studies come from the published book."""
    root = tmp_path_factory.mktemp("without-runs")
    (root / "results").mkdir()
    (root / "_toc.yml").write_text("")
    for table in (ROOT / "book" / "results").glob("*.csv"):
        if table.stem not in ("runs", "history", "examples"):
            (root / "results" / table.name).symlink_to(table)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("chapter", chapters(), ids=lambda path: path.stem)
def test_chapters_make_sense_without_any_run(chapter, without_runs, monkeypatch):
    monkeypatch.setenv("SARLAB_BOOK", str(without_runs))
    names = {}
    for cell in re.findall(r"```\{code-cell\} python3\n(.*?)```", chapter.read_text(encoding="utf-8"), re.DOTALL):
        code = ast.parse("\n".join(line for line in cell.splitlines() if not line.startswith(":")))
        last = code.body.pop() if isinstance(code.body[-1], ast.Expr) else None
        exec(compile(code, chapter.name, "exec"), names)
        if last:
            shown = eval(compile(ast.Expression(last.value), chapter.name, "eval"), names)
            text = shown._repr_html_() if hasattr(shown, "_repr_html_") else str(shown)
            assert "nan" not in re.sub(r"<(script|style).*?</\1>|<[^>]*>", "", text, flags=re.DOTALL).lower().split()


@pytest.fixture(scope="module")
def api():
    spec = importlib.util.spec_from_file_location("sarlab_api", ROOT / "book" / "_ext" / "sarlab_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("the |x| of `side`² pixels", "the |x| of side² pixels"),
        ("Σ|x̂ₚ|/Σ|xₚ| in (`low`, `high`)", "Σ|x̂ₚ|/Σ|xₚ| in (low, high)"),
        ("``a | b`` and 3×`n`", "a | b and 3×n"),
        ("a ─▶ b\n  └─ c", "a ─▶ b\n  └─ c"),
        (
            "a file:\n\n    magic  |u8|\n    per band:  name\n               payload",
            "a file:\n\nmagic  |u8|\nper band:  name\n           payload",
        ),
        ("list:\n\n    - one\n      more\n    - two", "list:\n\none\nmore\n\ntwo"),
        ("as below::\n\na ─▶ b", "as below:\n\na ─▶ b"),
        ("code::\n\n    x | y `z`\n\nback |y|", "code:\n\nx | y `z`\n\nback |y|"),
    ],
)
def test_docstrings_mean_the_same_in_the_book_as_in_an_editor(api, written, meant):
    from docutils.core import publish_doctree
    from docutils.utils import DependencyList

    text = "\n".join(api.as_rst(written.splitlines()))
    settings = {"report_level": 2, "halt_level": 2, "warning_stream": False, "record_dependencies": DependencyList()}
    assert publish_doctree(text, settings_overrides=settings).astext().strip() == meant


def test_every_public_module_is_documented(api):
    documented = set()
    for page in (ROOT / "book" / "api").glob("*.md"):
        for arguments in re.findall(r"```\{api\} ([^\n]*)", page.read_text()):
            documented |= {name for wing in arguments.split() for name in api.module_names(wing)}
    package = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "sarlab").rglob("*.py")
        if not path.name.startswith("_")
    }
    undocumented = {name for name in package - documented if not name.startswith("sarlab.cli.")}
    assert sorted(undocumented) == []
