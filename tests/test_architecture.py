"""The shape of the package: data flows one way, modules stay short, importing stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sarlab"
WINGS = ["scenes", "metrics", "models", "codec", "peers", "lab", "views", "cli"]
#: What a wing may import besides the ground and itself. Metrics measure scenes, not models.
ALLOWED = {wing: set(WINGS[:i]) for i, wing in enumerate(WINGS)} | {"metrics": {"scenes"}}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "assets" not in path.parts)


def imported(path):
    package = ["sarlab", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            yield base + (node.module or "")
            yield from (f"{base}{node.module or ''}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_wing_imports_only_from_wings_before_it(path):
    parts = path.relative_to(PACKAGE).parts
    if len(parts) == 1:
        if parts[0] in ("__init__.py", "__main__.py"):
            return
        wrong = [name for name in imported(path) if re.match(rf"sarlab\.({'|'.join(WINGS)})\b", name)]
        assert not wrong, f"the ground imports {wrong}"
        return
    wing = parts[0]
    for name in imported(path):
        match = re.match(r"sarlab\.(\w+)", name)
        if match and match[1] in WINGS and match[1] != wing:
            assert match[1] in ALLOWED[wing], f"{wing} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 330


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda path: path.name)
def test_notebooks_only_call(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.ClassDef), f"{path.name} defines a class"
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 10, f"{path.name}: {node.name} is longer than ten lines"
    assert "kernelspec" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("sarlab", ["torch", "numpy", "pandas"]),
        ("sarlab.cli", ["torch", "numpy", "pandas", "matplotlib"]),
        ("sarlab.scenes.catalog", ["torch", "rasterio"]),
        ("sarlab.scenes.readers", ["torch", "rasterio"]),
        ("sarlab.metrics", ["torch", "torchmetrics", "rasterio"]),
        ("sarlab.views.plots", ["torch"]),
    ],
)
def test_importing_is_light(module, unwanted):
    script = f"import sys, {module}; print([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_nothing_unpickles_or_evaluates():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads", "torch.load"), f"{path}: {called}"
                if called == "np.load":
                    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                    assert keywords.get("allow_pickle") == "False", f"{path}: np.load without allow_pickle=False"


def test_no_addresses_in_constraints():
    assert not re.search(r"https?://|index-url|@ file", (ROOT / "constraints.txt").read_text())


def test_tracked_files_stay_small():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("not a checkout")
    files = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    total = sum(path.stat().st_size for path in files if path.is_file())
    assert total <= 24e6, f"{total / 1e6:.1f} MB are tracked"
