"""Identity of a run: spec, data and the code that matters, hashed.

Two runs with the same hash give the same rows. Device and executor are outside; comments, docstrings and formatting
are too, because the code is hashed as syntax tree.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
from pathlib import Path
from typing import Any

from sarlab.specs import RunSpec, content_hash

#: Where the closure of imports starts: the function that runs an experiment.
ENTRY_MODULE = "sarlab.lab.experiment"
#: Modules that move files and leave their content alone, and the package itself, which only offers the codecs by name.
WITHOUT_EFFECT = {
    "sarlab",
    *("sarlab.files", "sarlab.lab.locks", "sarlab.models.interrupts"),
    *("sarlab.scenes.fetch", "sarlab.scenes.downloads", "sarlab.scenes.checksums"),
}


def run_hash(spec: RunSpec, data_digest: str) -> str:
    """Content hash of a run, 64 hexadecimal digits.

    Parameters
    ----------
    spec : RunSpec
    data_digest : str
        Digest of the scenes (`Split.digest`); the path they came from does not count.
    """
    described = spec.to_dict()
    described["scenes"] = data_digest
    return content_hash(described, code_digest(), _plugin_digest(spec.model.architecture))


def run_id(spec: RunSpec, data_digest: str) -> str:
    """Name of a run: ``residual-r16-c16-f32-s0-1f3a9c``."""
    return f"{spec.label}-{run_hash(spec, data_digest)[:6]}"


@functools.cache
def code_digest(entry: str = ENTRY_MODULE) -> str:
    """Digest of all modules of the package that `entry` imports, directly or not, also inside functions."""
    seen: dict[str, str] = {}
    queue = [entry]
    while queue:
        module = queue.pop()
        if module in seen or module in WITHOUT_EFFECT:
            continue
        path = _source_of(module)
        if path is None:
            continue
        seen[module], imported = _digest_and_imports(module, path)
        queue.extend(imported)
    return content_hash(seen)


@functools.cache
def _digest_and_imports(module: str, path: Path) -> tuple[str, list[str]]:
    """Digest of a module's syntax tree and the package's modules that it imports; read once, whichever entry asks."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return hashlib.sha256(repr(canonical_tree(tree)).encode()).hexdigest(), _imports(tree, package)


def canonical_tree(node: Any) -> Any:
    """Syntax tree as nested tuples without docstrings, positions and empty fields.

    `ast.dump` is not used because its text differs between Python versions.
    """
    if isinstance(node, ast.AST):
        parts = []
        for name, value in ast.iter_fields(node):
            if name == "body" and _has_docstring(node):
                value = value[1:]
            if value is None or value == [] or name in ("type_comment", "kind", "type_ignores", "ctx"):
                continue
            parts.append((name, canonical_tree(value)))
        return (type(node).__name__, *parts)
    if isinstance(node, list):
        return tuple(canonical_tree(item) for item in node)
    return repr(node)


def _has_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return False
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _imports(tree: ast.AST, package: str) -> list[str]:
    """Names of the package's own modules that a module imports, with their parent packages."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{parent}.{base}".rstrip(".")
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    own = [name for name in found if name == "sarlab" or name.startswith("sarlab.")]
    parents = {name.rsplit(".", depth)[0] for name in own for depth in range(name.count(".") + 1)}
    return sorted(parents)


def _source_of(module: str) -> Path | None:
    """Source file of a module of the package; None for names that are attributes, not modules."""
    root = Path(__file__).resolve().parents[1]
    relative = Path(*module.split(".")[1:])
    for candidate in (root / relative / "__init__.py", (root / relative).with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _plugin_digest(architecture: str) -> str:
    """Digest of the file that defines an architecture outside this package; empty for those inside."""
    from sarlab.models.registry import find_architecture

    item = find_architecture(architecture)
    module = getattr(item, "__module__", "") or ""
    if module == "sarlab" or module.startswith("sarlab."):
        return ""
    try:
        if importlib.util.find_spec(module) is None:
            return ""
        source = inspect.getsource(inspect.getmodule(item) or item)
    except (OSError, TypeError, ValueError, ImportError):
        return f"{module}.{getattr(item, '__qualname__', architecture)}"
    return hashlib.sha256(repr(canonical_tree(ast.parse(source))).encode()).hexdigest()
