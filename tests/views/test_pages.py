"""Tables of runs and columns."""

import re

from sarlab.views import inventory


def html_of(thing):
    return thing._repr_html_() if hasattr(thing, "_repr_html_") else thing._repr_markdown_()


def test_runs_table_links_only_to_pages_that_exist(filled):
    folder = filled.root / "runs"
    folder.mkdir(exist_ok=True)
    run = filled.runs["run_id"].iloc[0]
    (folder / f"{run}.ipynb").write_text("{}")
    html = html_of(inventory.runs_table(filled))
    assert html.count("<tr>") == 1 + filled.runs["run_id"].nunique()
    assert re.findall(r'href="([^"]*)"', html) == [f"../runs/{run}.html"]
    assert html_of(inventory.costs_table(filled)).count("<tr>") == html.count("<tr>")


def test_column_table_covers_the_metrics_of_the_rows(filled):
    html = html_of(inventory.columns_table(filled))
    for name in ("psnr_db", "ssim", "epi_roa", "bias_db"):
        assert f"<code>{name}</code>" in html
