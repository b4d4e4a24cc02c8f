"""The views are light: no torch, and no drawing library before something is drawn."""

import subprocess
import sys

import pytest

MODULES = "compare curves examples figure findings front inventory listing plots scenes speckle style summary svg text training"


@pytest.mark.parametrize("blocked", ["torch", "matplotlib", "seaborn", "PIL"])
def test_views_import_without(blocked):
    code = (
        f"import sys; sys.modules['{blocked}'] = None\n"
        f"for name in '{MODULES}'.split(): __import__('sarlab.views.' + name)\n"
        "import sarlab.lab.results\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
