"""The views are light: no torch, and no drawing library before something is drawn."""

import pkgutil
import subprocess
import sys

import pytest

import sarlab.views

#: All modules but the page of a run, which is written where it was trained.
MODULES = " ".join(
    name for _, name, is_package in pkgutil.iter_modules(sarlab.views.__path__) if not is_package and name != "runpage"
)


@pytest.mark.parametrize("blocked", ["torch", "matplotlib", "seaborn", "PIL"])
def test_views_import_without(blocked):
    code = (
        f"import sys; sys.modules['{blocked}'] = None\n"
        f"for name in '{MODULES}'.split(): __import__('sarlab.views.' + name)\n"
        "import sarlab.lab.results\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
