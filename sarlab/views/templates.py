"""HTML of figures, tables and widgets, from the Jinja templates, styles and scripts of ``assets/views``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

ASSETS = Path(__file__).resolve().parents[1] / "assets" / "views"
#: Colors of the page around a figure: JupyterLab and the book name theirs differently, and a page that names none is light.
THEME = (
    "--sl-ink:var(--pst-color-text-base,var(--jp-content-font-color1,#1f2630));"
    "--sl-muted:var(--pst-color-text-muted,var(--jp-content-font-color2,#5d6875));"
    "--sl-paper:var(--pst-color-background,var(--jp-layout-color0,#fefefe));"
)


def render(name: str, **values: Any) -> str:
    """Fill the template ``<name>.html``: values are escaped unless the template marks them ``safe``."""
    return _environment().get_template(f"{name}.html").render(theme=THEME, **values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader

    found = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    return found
