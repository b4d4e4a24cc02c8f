"""The book: built as a user builds it and read in a browser from ``file://``; the published report is whole and small."""

import json
import re
import runpy
import subprocess
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pandas as pd
import pytest
from recompute import compare

pytest.importorskip("jupyter_book", reason="the book extra is not installed")

from sarlab.errors import ResultsError
from sarlab.lab import publish
from sarlab.lab.publish import ALL_BYTES, folder_bytes, names_folder, owned, render, stage
from sarlab.lab.results import tables

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
PAGES = [
    *["index", *re.findall(r"- file: (\S+)", (BOOK / "_toc.yml").read_text())],
    *["search", "genindex", "py-modindex"],
]
RUNS = sorted(path.stem for path in (BOOK / "runs").glob("*.ipynb"))


# --- the built pages ----------------------------------------------------------------------------------------------------


def broken_links(html):
    """Links and sources of all pages below a folder whose file, or place in it, is not there."""
    # the theme leaves its own templates there
    found = [path for path in html.rglob("*.html") if "_static" not in path.parts]
    pages = {path.resolve(): path.read_text(encoding="utf-8") for path in found}
    places = {path: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for path, text in pages.items()}
    broken = set()
    for page, text in pages.items():
        for link in re.findall(r'<(?:a|img|script|link|source|iframe)\b[^>]*?\b(?:href|src)="([^"]*)"', text):
            file, _, place = unescape(link).partition("#")
            if re.match(r"[a-z]+:|//", file):
                continue
            target = (page.parent / unquote(file.partition("?")[0])).resolve() if file else page
            if not target.is_file() or (place and target in pages and unquote(place) not in places[target]):
                broken.add(f"{page.relative_to(html)}: {link}")
    return sorted(broken)


def test_every_page_is_built_and_every_link_resolves(built):
    html, run = built
    for name in [*PAGES, run]:
        text = (html / f"{name}.html").read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|href)="(?:https?:)?//[^"]*"[^>]*(?:script|stylesheet)', text)
    assert broken_links(html.resolve()) == []


WORDLESS = """() => [...document.querySelectorAll("article img, article figure svg")].filter((e) =>
    !(e.getAttribute("alt") || e.getAttribute("aria-label") || e.closest("[aria-hidden=true]"))).length"""

# Pages of the theme, and those with figures that write on colored shapes, whose background no script finds.
UNREADABLE = ("api/", "gen", "py-", "search", *(
    f"chapters/{path.stem}" for path in BOOK.glob("chapters/*.md") if re.search(r"figures\.heat|diagrams\.|windows=", path.read_text())
))  # fmt: skip

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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_light_and_quiet_fit_a_phone_and_have_words_for_their_figures(built, visit, scheme):
    html, run = built
    one, wrong = visit(color_scheme=scheme), {}
    for name in [*PAGES, run]:
        one.page.set_viewport_size({"width": 1280, "height": 900})
        page = one.open(html, name)
        page.wait_for_load_state("load")
        assert page.evaluate(WORDLESS) == 0, name
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        one.page.set_viewport_size({"width": 360, "height": 740})
        for more in page.locator(".sl-chart details").all():
            more.evaluate("e => { e.open = true; }")
        width, size = page.evaluate("document.documentElement.scrollWidth"), (html / f"{name}.html").stat().st_size
        if not name.startswith(("api/", "gen", "py-")) and (width > 361 or size > 1_000_000):
            wrong[name] = width, size
        if not name.startswith(UNREADABLE) and (faint := page.evaluate(CONTRAST)):
            wrong[name] = faint
    assert (wrong, one.complaints, one.outside) == ({}, [], [])


def test_front_page_lists_every_chapter_with_its_question(built, visit):
    html, _ = built
    listed = visit().open(html, "index").locator(".sl-chapters")
    asking = [
        path.stem
        for path in BOOK.glob("chapters/*.md")
        if f"chapters/{path.stem}" in PAGES and re.search(r"^\*\*[^*]+\?\*\*$", path.read_text(), re.MULTILINE)
    ]
    assert listed.locator("dt a").count() == len(asking) >= 6
    for name in asking:
        assert listed.locator(f'a[href="chapters/{name}.html"]').count() == 1, name


def test_run_pages_are_shown_as_they_were_executed(built, visit):
    html, run = built
    page = visit().open(html, run)
    assert page.locator("article h1").inner_text().startswith("residual from KLT")
    assert page.locator("figure.sl-figure").count() >= 2
    assert "ZeroDivisionError" not in page.content()


def test_tables_can_be_downloaded_beside_the_pages(built, visit):
    html, _ = built
    for name, selector, names in (
        ("reproduce", 'a[href^="../results/"]', {"runs", "history", "examples", "codecs", "limits", "pictures"}),
        ("codecs", "p.sl-data a", {"codecs", "pictures"}), ("examples", "p.sl-data a", {"examples", "runs"}),
    ):  # fmt: skip
        links = visit().open(html, f"chapters/{name}").locator(selector).all()
        paths = [(html / "chapters" / link.get_attribute("href")).resolve() for link in links]
        assert all(path.is_file() for path in paths)
        assert names <= {path.stem for path in paths}


def test_numbers_of_the_pages_are_those_of_the_tables(built):
    _, lost = compare(built[0])
    assert not lost


def test_chapters_name_tables_that_there_are():
    plans = "".join(plan.read_text(encoding="utf-8") for plan in (ROOT / "notebooks" / "plans").glob("*.toml"))
    for chapter in (BOOK / "chapters").glob("*.md"):
        text = chapter.read_text(encoding="utf-8")
        names = re.search(r"^tables: (.+)$", text, re.MULTILINE)
        assert (names is not None) == ("tables()" in text and 'href="../results' not in text), chapter.name
        for name in names[1].split() if names else ():
            known = (BOOK / "results" / f"{name}.csv").is_file() or f'"{name}"' in plans  # a study
            assert known, (chapter.name, name)
        for name in re.findall(r"""\.table\(["'](\w+)["']""", text):
            assert names is None or name in names[1].split(), (chapter.name, name)


# --- building -----------------------------------------------------------------------------------------------------------


def test_an_edited_table_changes_the_page_and_a_broken_page_keeps_the_last_good_one(tmp_path, synthetic):
    book = stage(tmp_path)
    rows = synthetic.write(book, latents=((16, 16),))
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (book / "index.md").write_text(
        "---\nfile_format: mystnb\nkernelspec: {name: python3}\n---\n# A page\n\n```{code-cell} python3\n"
        "from sarlab.lab.results import tables\nfrom sarlab.views import page\n"
        "page.note(page.number(tables().runs['gain_over_klt_db'].max(), 2, sign=True) + ' dB')\n```\n"
    )
    page = render(book, tmp_path)
    assert "+7.77 dB" not in page.read_text(encoding="utf-8")

    better = rows.assign(gain_over_klt_db=rows["gain_over_klt_db"].where(rows["architecture"] == "klt", 7.77))
    better.to_csv(book / "results" / "runs.csv", index=False)
    good = render(book, tmp_path).read_text(encoding="utf-8")
    assert "+7.77 dB" in good

    (book / "index.md").write_text("# A page\n\n[nowhere](nowhere.md)\n")
    with pytest.raises(ResultsError, match="nowhere"):
        render(book, tmp_path)
    assert page.read_text(encoding="utf-8") == good


def test_a_build_that_fails_names_its_cause_wherever_it_stands(tmp_path, monkeypatch):
    said = [*["reading a page"] * 40, "RuntimeError: Kernel died", *["a line of the trace"] * 40]
    failed = subprocess.CompletedProcess([], 1, "", "\n".join(said))
    monkeypatch.setattr(publish.subprocess, "run", lambda *_, **__: failed)
    (tmp_path / "book").mkdir()
    with pytest.raises(ResultsError, match="RuntimeError: Kernel died"):
        render(tmp_path / "book", tmp_path / "out")


# --- the published report -----------------------------------------------------------------------------------------------


def test_the_published_report_is_whole_small_and_names_no_machine():
    files, found = owned(BOOK), tables(BOOK)
    images = {path.name for path in (BOOK / "results" / "images").iterdir()}
    assert all((BOOK / name).is_file() for name in files)
    assert files >= {f"runs/{name}.ipynb" for name in RUNS} | {f"results/images/{name}" for name in images}
    assert files >= {f"results/{name}.csv" for name in ("runs", "history", "examples")}
    assert folder_bytes(BOOK / "results", BOOK / "runs") <= ALL_BYTES
    assert set(pd.read_csv(BOOK / "results" / "examples.csv")["file"]) == images
    about = found.manifest
    assert (about["missing"], about["runs"], about["pages"]) == (0, found.runs["run_id"].nunique(), len(RUNS))
    assert about["devices"]
    assert all(one["versions"]["torch"] for one in about["environments"])
    assert all((BOOK / "results" / f"{name}.csv").is_file() for name in about["studies"])
    assert not found.runs.duplicated(["run_id", "scene", "band"]).any()
    assert RUNS
    assert set(RUNS) <= set(found.runs["run_id"])
    for name in RUNS:
        text = (BOOK / "runs" / f"{name}.ipynb").read_text(encoding="utf-8")
        assert names_folder(text) == "", name
        cells = json.loads(text)["cells"]
        assert cells[0]["source"].startswith("# "), name
        assert [cell["id"] for cell in cells] == [f"cell-{i:02d}" for i in range(len(cells))], name
        assert all(output["output_type"] != "error" for cell in cells for output in cell.get("outputs", ())), name


@pytest.mark.slow
def test_the_published_report_renders_with_its_run_pages_links_and_numbers(tmp_path, visit):
    html, one = render(stage(tmp_path), tmp_path).parent, visit()
    assert broken_links(html.resolve()) == []
    numbers, lost = compare(html)
    assert not lost
    assert sum(len(re.findall(r"\d[\d.]*", text)) for _, text in numbers) >= 40
    for name in RUNS:
        page = one.open(html, f"runs/{name}")
        assert page.locator("article h1").count() == 1, name
        assert page.locator("article figure svg, article figure img, article figure canvas").count(), name
        assert page.locator(f'nav a[href*="{name}"], nav .current').count(), name
    assert (one.complaints, one.outside) == ([], [])


# --- documentation of the package ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api():
    return SimpleNamespace(**runpy.run_path(str(BOOK / "_ext" / "sarlab_api.py")))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("the |x| of `side`² pixels", "the |x| of side² pixels"),
        ("Σ|x̂ₚ|/Σ|xₚ| in (`low`, `high`)", "Σ|x̂ₚ|/Σ|xₚ| in (low, high)"),
        ("``a | b`` and 3×`n`", "a | b and 3×n"),
        ("a ─▶ b\n  └─ c", "a ─▶ b\n  └─ c"),
        ("a file:\n\n    magic  |u8|\n    per band:  name\n               payload",
         "a file:\n\nmagic  |u8|\nper band:  name\n           payload"),
        ("list:\n\n    - one\n      more\n    - two", "list:\n\none\nmore\n\ntwo"),
        ("as below::\n\na ─▶ b", "as below:\n\na ─▶ b"),
        ("code::\n\n    x | y `z`\n\nback |y|", "code:\n\nx | y `z`\n\nback |y|"),
    ],
)  # fmt: skip
def test_docstrings_mean_the_same_in_the_book_as_in_an_editor(api, written, meant):
    from docutils.core import publish_doctree
    from docutils.utils import DependencyList

    text = "\n".join(api.as_rst(written.splitlines()))
    settings = {"report_level": 2, "halt_level": 2, "warning_stream": False, "record_dependencies": DependencyList()}
    assert publish_doctree(text, settings_overrides=settings).astext().strip() == meant


def test_every_public_module_is_documented(api):
    documented = set()
    for page in (BOOK / "api").glob("*.md"):
        for arguments in re.findall(r"```\{api\} ([^\n]*)", page.read_text()):
            documented |= {name for wing in arguments.split() for name in api.module_names(wing)}
    public = [path for path in (ROOT / "sarlab").rglob("*.py") if not path.name.startswith("_")]
    package = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in public}
    assert sorted(name for name in package - documented if not name.startswith("sarlab.cli.")) == []
