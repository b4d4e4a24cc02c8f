"""Machine code on disk."""

import subprocess
import sys
from pathlib import Path

from sarlab.models import compiled


def test_changes_of_other_modules_are_noticed(tmp_path):
    package = tmp_path / "package" / "models"
    package.mkdir(parents=True)
    (package / "compiled.py").write_text(Path(compiled.__file__).read_text())
    (package / "outer.py").write_text(
        "from package.models.compiled import compiled\nfrom package.models.inner import inner\n\n\n"
        "@compiled\ndef outer(x):\n    return 10 * inner(x)\n\n\nprint(outer(1))\n"
    )
    found = []
    for value in (1, 2, 2):
        (package / "inner.py").write_text(
            f"from package.models.compiled import compiled\n\n\n@compiled\ndef inner(x):\n    return x + {value}\n"
        )
        script = [sys.executable, "-c", "import package.models.outer"]
        found.append(subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert found == ["20\n", "30\n", "30\n"]
    assert len(list((package / "__pycache__").glob("outer*.nbi"))) == 1
