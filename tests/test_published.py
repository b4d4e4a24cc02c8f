"""The report that lies in the repository: whole, small, free of machines; and rendered, every link of every page resolves."""

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from sarlab.lab.publish import ALL_BYTES, folder_bytes, names_folder, owned
from sarlab.lab.results import tables

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
PAGES = sorted(path.stem for path in (BOOK / "runs").glob("*.ipynb"))


def test_it_owns_its_pages_and_pictures_and_tables_of_its_own():
    files = owned(BOOK)
    assert all((BOOK / name).is_file() for name in files)
    assert files >= {f"runs/{name}.ipynb" for name in PAGES}
    assert files >= {f"results/images/{path.name}" for path in (BOOK / "results" / "images").iterdir()}
    assert files >= {"results/runs.csv", "results/history.csv", "results/examples.csv"}
    assert len(PAGES) > 0


def test_it_is_small_and_names_no_machine():
    assert folder_bytes(BOOK / "results", BOOK / "runs") <= ALL_BYTES
    for name in PAGES:
        text = (BOOK / "runs" / f"{name}.ipynb").read_text(encoding="utf-8")
        assert names_folder(text) == "", name


def test_it_says_what_it_was_made_with_and_nothing_is_missing():
    found = tables(BOOK)
    assert found.manifest["missing"] == 0
    assert found.manifest["runs"] == found.runs["run_id"].nunique()
    assert found.manifest["pages"] == len(PAGES)
    assert found.manifest["devices"]
    assert all(one["versions"]["torch"] for one in found.manifest["environments"])
    assert set(PAGES) <= set(found.runs["run_id"])
    assert not found.runs.duplicated(["run_id", "scene", "band"]).any()
    pictures = pd.read_csv(BOOK / "results" / "examples.csv")
    assert set(pictures["file"]) == {path.name for path in (BOOK / "results" / "images").glob("*.png")}
    for name in found.manifest["studies"]:
        assert (BOOK / "results" / f"{name}.csv").is_file(), name


def test_its_pages_hold_no_error_and_stable_ids():
    for name in PAGES:
        page = json.loads((BOOK / "runs" / f"{name}.ipynb").read_text(encoding="utf-8"))
        assert page["cells"][0]["source"].startswith("# "), name
        assert [cell["id"] for cell in page["cells"]] == [f"cell-{i:02d}" for i in range(len(page["cells"]))], name
        kinds = {output["output_type"] for cell in page["cells"] for output in cell.get("outputs", ())}
        assert "error" not in kinds, name


def broken_links(html: Path) -> list[str]:
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
            if not target.is_file():
                broken.add(f"{page.relative_to(html)}: {link}")
            elif place and target in pages and unquote(place) not in places[target]:
                broken.add(f"{page.relative_to(html)}: {link} (no such place)")
    return sorted(broken)


def test_broken_links_would_be_found(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="runs/a.html#here">x</a><a href="runs/a.html#gone">x</a><img alt="" src="none.png"><a href="#top">x</a>'
        '<a href="https://example.org/x">x</a><a class="b" href="runs/a%62.html?x=1">x</a><p id="top"></p>'
    )
    (tmp_path / "runs" / "a.html").write_text('<h1 id="here"></h1><a href="../index.html">x</a><a href="b.html">x</a>')
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "template.html").write_text('<a href="{{ link }}">x</a>')
    assert broken_links(tmp_path.resolve()) == [
        "index.html: none.png",
        "index.html: runs/a%62.html?x=1",
        "index.html: runs/a.html#gone (no such place)",
        "runs/a.html: b.html",
    ]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    pytest.importorskip("jupyter_book", reason="the book extra is not installed")
    from sarlab.lab.publish import render, stage

    folder = tmp_path_factory.mktemp("published")
    return render(stage(folder), folder).parent


@pytest.mark.slow
def test_every_link_of_the_rendered_report_resolves(rendered):
    assert len(list((rendered / "runs").glob("*.html"))) == len(PAGES)
    assert broken_links(rendered.resolve()) == []


@pytest.mark.slow
def test_run_pages_of_the_rendered_report_open(rendered, visit):
    one = visit()
    for name in PAGES:
        page = one.open(rendered, f"runs/{name}")
        assert one.complaints == [], name
        assert page.locator("article h1").count() == 1, name
        assert page.locator("article figure svg, article figure img, article figure canvas").count(), name
        listed = page.locator(f'nav a[href*="{name}"], nav .current')
        assert listed.count(), name
    assert one.outside == []


def recomputed(html: Path) -> subprocess.CompletedProcess:
    """Outcome of the script that recomputes numbers without the package."""
    command = [sys.executable, str(ROOT / "tests" / "recompute.py"), str(html)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_numbers_of_the_rendered_report_are_those_of_its_tables(rendered):
    done = recomputed(rendered)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.splitlines()[-1].split()[0]) >= 40


def test_numbers_of_any_book_are_those_of_its_tables(built):
    done = recomputed(built[0])
    assert done.returncode == 0, done.stdout + done.stderr
