"""The shape of the package: data flows one way, wings keep their budgets, importing stays light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sarlab"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "assets" not in path.parts)
WINGS = ["scenes", "metrics", "models", "codec", "peers", "lab", "views", "cli"]
GROUND = ["_version", "errors", "files", "registry", "specs"]
#: What a wing may import besides the ground and itself. Metrics measure scenes, not models.
ALLOWED = {wing: set(WINGS[:i]) for i, wing in enumerate(WINGS)} | {"metrics": {"scenes"}}
#: Lines of each wing, docstrings included; a wing may exceed its budget by a tenth. A budget goes down with its wing, never up.
BUDGETS = dict(
    ground=450, scenes=3200, metrics=3200, models=3000, codec=4500, peers=1300, lab=4200, views=3500, cli=1000
)  # fmt: skip
#: Modules of the whole package.
MOST_MODULES = 120


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def module_of(name):
    """The module of the package that a dotted name means: itself, or the one that defines it."""
    while name and name not in NAMES:
        name = name.rpartition(".")[0]
    return name


def imported(path):
    """Modules of the package that a module imports: at its top, inside functions and by name in a string."""
    tree = TREES[path]
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and node.value in set(NAMES) - {"sarlab"} and id(node) not in docstrings:
            found.add(node.value)
    found = {module_of(name) for name in found if name == "sarlab" or name.startswith("sarlab.")}
    return found - {name_of(path)}


GRAPH = {name: imported(path) for name, path in NAMES.items()}


def wing_of(name):
    part = [*name.split("."), ""][1]
    return part if part in WINGS else "ground"


def test_data_flows_one_way():
    wrong = []
    for name, imports in GRAPH.items():
        if name in ("sarlab", "sarlab.__main__"):
            continue
        wing = wing_of(name)
        allowed = {"ground"} if wing == "ground" else ALLOWED[wing] | {wing, "ground"}
        wrong += [f"{name} imports {other}" for other in imports if wing_of(other) not in allowed or other == "sarlab"]
    assert not wrong, "\n".join(wrong)


def test_no_circles():
    """Also none that an import inside a function hides; a package may import its own modules."""

    def inside(name, other):
        return f"{other}.".startswith(f"{name}.") or name.startswith(f"{other}.")

    graph = {name: {other for other in imports if not inside(name, other)} for name, imports in GRAPH.items()}
    assert set(TopologicalSorter(graph).static_order()) >= set(GRAPH)  # raises an error that shows a circle


def test_wings_keep_their_budgets():
    lines = dict.fromkeys(BUDGETS, 0)
    for name, path in NAMES.items():
        lines[wing_of(name)] += len(path.read_text(encoding="utf-8").splitlines())
    table = "\n".join(f"{wing:11} {lines[wing]:6} of {BUDGETS[wing]:6}" for wing in lines)
    inside = sum(
        isinstance(n, ast.Import | ast.ImportFrom) and n.col_offset > 0 for t in TREES.values() for n in ast.walk(t)
    )
    print(f"\n{table}\n{'all':11} {sum(lines.values()):6} in {len(MODULES)} modules, {inside} imports inside functions")
    over = [wing for wing in BUDGETS if lines[wing] > 1.1 * BUDGETS[wing]]
    assert not over, f"over budget: {', '.join(over)}\n{table}"
    assert len(MODULES) <= MOST_MODULES


def test_nothing_that_windows_lacks_is_imported_at_the_top():
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                assert not names & {"fcntl", "resource", "pwd", "grp", "termios"}, path


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda path: path.name)
def test_notebooks_only_call(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.ClassDef), f"{path.name} defines a class"
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 10, f"{path.name}: {node.name} is longer than ten lines"
    assert "kernelspec" in path.read_text(encoding="utf-8")


#: All modules of the views but the page of a run, which is written where it was trained, and the explorers.
VIEWS = ", ".join(
    name for name in NAMES if name.startswith("sarlab.views.") and name.count(".") == 2 and "runpage" not in name
)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("sarlab", ["torch", "numpy", "pandas"]),
        ("sarlab.cli", ["torch", "numpy", "pandas", "matplotlib"]),
        ("sarlab.scenes.catalog", ["torch", "rasterio"]),
        ("sarlab.scenes.readers", ["torch", "rasterio"]),
        ("sarlab.metrics", ["torch", "torchmetrics", "rasterio"]),
        ("sarlab.peers", ["torch", "imagecodecs", "PIL", "pillow_heif", "rasterio"]),
        (VIEWS, ["torch", "matplotlib", "seaborn", "PIL"]),
    ],
)
def test_importing_is_light(module, unwanted):
    script = f"import sys, {module}; print([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_nothing_unpickles_or_evaluates():
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads", "torch.load"), f"{path}: {called}"
                if called == "np.load":
                    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                    assert keywords.get("allow_pickle") == "False", f"{path}: np.load without allow_pickle=False"


def test_tracked_files_stay_small():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("not a checkout")
    files = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    total = sum(path.stat().st_size for path in files if path.is_file())
    assert total <= 24e6, f"{total / 1e6:.1f} MB are tracked"
