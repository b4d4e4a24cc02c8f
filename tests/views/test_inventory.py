"""Tables about the tables."""

from sarlab.views import inventory


def test_column_table_covers_the_metrics_of_the_rows(filled):
    html = inventory.columns_table(filled).html
    for name in ("psnr_db", "ssim", "epi_roa", "bias_db"):
        assert f"<code>{name}</code>" in html
    assert "nan" not in html


def test_downloads_link_to_every_table(filled):
    names = {path.name for path in (filled.root / "results").glob("*.csv")}
    html = inventory.downloads(filled).html
    assert names
    assert all(f'href="../results/{name}"' in html for name in names)
