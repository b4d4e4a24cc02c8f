"""Make the picture of the report that the README shows, from pages that were built.

    make report
    .venv/bin/python book/picture.py _build/html

writes ``book/_static/report.png``: the front page, and the chart and the pictures of the chapter on codecs. It needs
Playwright and Chromium. Use it on a report of the embedded scenes, which may be shown anywhere.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent / "_static" / "report.png"
#: Largest file in bytes, and numbers of grays that are tried until it is that small, beside so many colors.
MOST, GRAYS, COLORS = 200_000, (64, 48, 32, 24, 16, 12), 64
WIDTH, GAP = 1280, 16
#: Zoomed once, and without what is too small to be read in the README.
PREPARE = """() => {
  document.querySelector(".sl-compare .sl-in").click();
  const style = document.createElement("style");
  style.textContent = `:is(.sl-chart, .sl-compare) :is(figcaption, .sl-about, details, .sl-absent) { display: none !important; }
    :is(.sl-chart, .sl-compare) { padding: 0.8rem !important; }
    .sl-compare .sl-row { grid-template-columns: 1fr !important; }`;
  document.head.append(style);
}"""


def shots(browser: Any, html: Path) -> tuple[Any, Any, Any]:
    """Front page, chart and pictures, as images."""
    from PIL import Image

    def image(data: bytes) -> Any:
        return Image.open(io.BytesIO(data)).convert("RGB")

    page = browser.new_page(viewport={"width": 1180, "height": 1180}, color_scheme="light", device_scale_factor=1)
    page.goto((html / "index.html").resolve().as_uri())
    page.wait_for_timeout(300)
    front = image(page.screenshot())
    dark = browser.new_page(viewport={"width": 1180, "height": 2400}, color_scheme="dark", device_scale_factor=1)
    dark.goto((html / "chapters" / "codecs.html").resolve().as_uri())
    dark.wait_for_timeout(300)
    dark.evaluate(PREPARE)
    parts = []
    for name in (".sl-chart", ".sl-compare"):
        element = dark.locator(name).first
        element.scroll_into_view_if_needed()
        parts.append(image(element.screenshot()))
    return front, parts[0], parts[1]


def compose(front: Any, chart: Any, pictures: Any) -> Any:
    """Front page on the left, the other two below each other on the right, all of one height."""
    from PIL import Image

    right = int(WIDTH * 0.4)
    left = WIDTH - right - GAP

    def fit(image: Any, width: int) -> Any:
        return image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)

    front, chart, pictures = fit(front, left), fit(chart, right), fit(pictures, right)
    height = min(front.height, chart.height + GAP + pictures.height)
    sheet = Image.new("RGB", (WIDTH, height), "#8a939e")
    sheet.paste(front, (0, 0))
    sheet.paste(chart, (left + GAP, 0))
    sheet.paste(pictures, (left + GAP, chart.height + GAP))
    return sheet


def small(sheet: Any) -> bytes:
    """PNG with as many grays as fit, and the colors that are most frequent among those that are none."""
    import numpy as np
    from PIL import Image

    samples = np.asarray(sheet).reshape(-1, 3)
    colored = samples[np.ptp(samples, axis=1) > 48]
    bright = Image.fromarray(colored[None]).quantize(COLORS).getpalette()[: 3 * COLORS]
    for grays in GRAYS:
        levels = np.linspace(0, 255, grays).round().astype(int).repeat(3).tolist()
        palette = Image.new("P", (1, 1))
        palette.putpalette((levels + bright + [0] * 768)[:768])
        buffer = io.BytesIO()
        sheet.quantize(palette=palette, dither=0).save(buffer, "PNG", optimize=True)
        if len(buffer.getvalue()) <= MOST:
            return buffer.getvalue()
    raise SystemExit(f"no {GRAYS[-1]} grays fit into {MOST} bytes")


def main() -> int:
    """Take the shots, put them on one sheet, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("html", type=Path, help="folder of the built pages, such as _build/html")
    parser.add_argument("--out", type=Path, default=OUT, help=f"default: {OUT}")
    args = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("no Chromium on this machine (Debian: apt-get install chromium; or set CHROMIUM to its path)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        data = small(compose(*shots(browser, args.html)))
        browser.close()
    args.out.write_bytes(data)
    print(f"{args.out}: {len(data) / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
