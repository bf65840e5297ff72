"""What the house never does, read from its source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tenuto

ROOT = Path(tenuto.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 300
NEVER_IMPORTED = {"pickle", "cPickle", "shelve", "marshal", "dill", "cloudpickle", "sqlite3"}
NEVER_CALLED = {"eval", "exec", "breakpoint", "__import__"}


def faults(tree: ast.Module) -> list[str]:
    """Every line of a module that the house style forbids."""
    found = [] if ast.get_docstring(tree) else ["1: no module docstring"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [
                f"{node.lineno}: imports {a.name}" for a in node.names if _root(a.name) in NEVER_IMPORTED
            ]
        elif isinstance(node, ast.ImportFrom) and _root(node.module or "") in NEVER_IMPORTED:
            found.append(f"{node.lineno}: imports {node.module}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NEVER_CALLED:
            found.append(f"{node.lineno}: calls {node.func.id}")
        elif isinstance(node, ast.Assert):
            found.append(f"{node.lineno}: bare assert")
        elif isinstance(node, ast.Global):
            found.append(f"{node.lineno}: global {', '.join(node.names)}")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{node.lineno}: bare except")
        elif isinstance(node, ast.FunctionDef) and node.args.kwarg and not node.name.startswith("_"):
            found.append(f"{node.lineno}: {node.name} takes **{node.args.kwarg.arg}")
    return found


def _root(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_keeps_the_house_style(file: Path) -> None:
    source = file.read_text()
    assert len(source.splitlines()) <= LONGEST
    assert faults(ast.parse(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from sqlite3 import connect",
        "import marshal.loads as x",
        "eval('1')",
        "assert True",
        "def f():\n    global x",
        "try:\n    f()\nexcept:\n    g()",
        "def options(**kwargs): ...",
    ],
)
def test_a_fault_is_found(source: str) -> None:
    assert faults(ast.parse(f'"""What it is."""\n{source}\n'))


def test_a_missing_docstring_is_found() -> None:
    assert faults(ast.parse("x = 1")) == ["1: no module docstring"]
