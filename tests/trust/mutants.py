"""Small faults that the tests must notice: python tests/trust/mutants.py [--each N] [--seed N] [MODULE ...]

Operators, constants, conditions, keywords, slices and results of metrics and container are changed, one at a time in a copy of
the package, in a seeded sample. Text, annotations, decorators, error messages and compiled kernels are left alone.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Modules, and the tests that follow those of the module itself.
TESTS = {f"metrics/{path.stem}": "metrics/test_columns.py" for path in sorted(ROOT.glob("sarlab/metrics/[a-z]*.py"))}
TESTS |= {"metrics/columns": "metrics/test_fidelity.py", "codec/entropy": "codec/test_container.py"}
TESTS |= dict.fromkeys(("codec/container", "codec/metadata"), "codec/test_file_format.py")
PAIRS = (
    "Lt", "LtE", "Gt", "GtE", "Eq", "NotEq", "Is", "IsNot", "In", "NotIn", "Add", "Sub", "Mult", "Div", "FloorDiv", "Mod",
    "LShift", "RShift", "BitAnd", "BitOr", "And", "Or", "min", "max", "minimum", "maximum", "any", "all",
)  # fmt: skip
SWAPS = {name: PAIRS[place ^ 1] for place, name in enumerate(PAIRS)} | {"Pow": "Mult"}
#: Fields of the syntax tree, and keywords of calls, that change no result.
IDLE = {"annotation", "returns", "decorator_list", "strict", "all", "divide", "invalid", "valid_range"}


def variants(node, rng):
    """Nodes that may stand in the place of a node."""
    changed = lambda **fields: type(node)(**dict(ast.iter_fields(node)) | fields)  # noqa: E731
    other = lambda op: getattr(ast, SWAPS.get(type(op).__name__, type(op).__name__))()  # noqa: E731
    match node:
        case ast.Compare(ops=[op, *rest]):
            yield changed(ops=[other(op), *rest])
            yield changed(ops=[op, *map(other, rest)])
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.BoolOp(op=op):
            yield changed(op=other(op))
        case ast.Constant(value=bool(value)):
            yield changed(value=not value)
        case ast.Constant(value=int(value) | float(value)):
            yield changed(value=value + rng.choice((-1, 1)))
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Return(value=ast.expr()):
            yield ast.Return(ast.Constant(None))
        case ast.Slice():
            yield from (changed(lower=None), changed(upper=None))
        case ast.Call(keywords=keywords):
            for one in (keyword for keyword in keywords if keyword.arg not in IDLE):
                yield changed(keywords=[keyword for keyword in keywords if keyword is not one])
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in SWAPS:
            yield changed(**{"id" if isinstance(node, ast.Name) else "attr": SWAPS[name]})
        case ast.If(test=test) | ast.IfExp(test=test) if not isinstance(test, ast.UnaryOp):
            yield changed(test=ast.UnaryOp(ast.Not(), test))


def places(node):
    """Yield each node below a node that may change, with the list or dictionary that holds it and its place there."""
    for field, value in ast.iter_fields(node):
        holder, children = (value, enumerate(value)) if isinstance(value, list) else (vars(node), [(field, value)])
        for place, child in children if field not in IDLE else ():
            kernel = "kernel" in map(ast.unparse, getattr(child, "decorator_list", ()))
            message = isinstance(child, ast.Raise | ast.JoinedStr) or getattr(child, "arg", None) in IDLE
            if isinstance(child, ast.AST) and not kernel and not message:
                yield child, holder, place
                yield from places(child)


def mutants(text, count, rng):
    """Line, change and text of a random sample of the mutants of a module."""
    tree = ast.parse(text)
    found = [(new, *where) for where in places(tree) for new in variants(where[0], rng)]
    found = [one for one in found if ast.dump(one[0]) != ast.dump(one[1])]
    for new, old, holder, place in rng.sample(found, min(count, len(found))):
        holder[place] = new
        yield old.lineno, " → ".join(ast.unparse(node).partition("\n")[0] for node in (old, new)), ast.unparse(tree)
        holder[place] = old


def survives(scratch, files):
    """The tests pass, and in a time that only an endless loop exceeds."""
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *(f"tests/{name}" for name in files)]
    try:
        return not subprocess.run(command, cwd=scratch, capture_output=True, timeout=150).returncode
    except subprocess.TimeoutExpired:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=4, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("modules", nargs="*", default=TESTS, metavar="MODULE", help=", ".join(TESTS))
    args, killed = parser.parse_args(), []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": f"{scratch}/numba"}
        for part in ("sarlab", "tests", "book"):
            shutil.copytree(ROOT / part, Path(scratch, part))
        shutil.copy(ROOT / "pyproject.toml", scratch)
        for module in args.modules:
            path, files = Path(scratch, f"sarlab/{module}.py"), (f"{module.replace('/', '/test_')}.py", TESTS[module])
            text = path.read_text(encoding="utf-8")
            assert survives(scratch, files), f"the tests of {module} fail without a fault"
            for line, change, mutant in mutants(text, args.each, random.Random(f"{module} {args.seed}")):
                path.write_text(mutant, encoding="utf-8")
                killed.append(not survives(scratch, files))
                print(f"{'killed  ' if killed[-1] else 'SURVIVED'} {module}:{line}  {change}", flush=True)
            path.write_text(text, encoding="utf-8")
    print(f"{sum(killed)} of {len(killed)} ({sum(killed) / len(killed):.0%})")
    return sum(killed) < 0.8 * len(killed)


if __name__ == "__main__":
    sys.exit(main())
