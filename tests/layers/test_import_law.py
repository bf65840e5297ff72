"""Rooms import downwards, siblings never meet, and what is heavy is imported late."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tenuto

ROOT = Path(tenuto.__file__).parent.parent
LINT = Path(sys.executable).parent / "lint-imports"


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_import_law_is_kept() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("memory/table.py", "from tenuto import methods"),
        ("methods/er.py", "import tenuto.memory"),
        ("types.py", "from tenuto import protocols"),
        ("guards/none.py", "import tenuto.learner"),
        ("memory/table.py", "import pickle"),
        ("a_new_room.py", "import math"),
    ],
)
def test_a_broken_law_is_noticed(tmp_path: Path, file: str, line: str) -> None:
    shutil.copytree(ROOT / "tenuto", tmp_path / "tenuto", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "tenuto" / file).open("a") as source:
        source.write(f"\n{line}\n")
    assert lint(tmp_path).returncode != 0


def test_importing_tenuto_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "apsw", "sklearn", "matplotlib", "typer", "rich")
    code = f"import sys, tenuto; dir(tenuto); print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["types", "config", "errors", "parts", "protocols"])
def test_the_ground_floor_needs_no_torch(module: str) -> None:
    code = f"import sys, tenuto.{module}; print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "False"


def test_public_names_are_complete_sorted_and_resolve() -> None:
    assert tenuto.__all__ == sorted(tenuto.__all__)
    assert sorted(tenuto._HOMES) == tenuto.__all__
    assert set(tenuto.__all__) <= set(dir(tenuto))
    for name in tenuto.__all__:
        found = getattr(tenuto, name)
        assert found.__name__ == name
        assert found.__doc__


def test_type_checkers_see_the_public_names() -> None:
    tree = ast.parse((ROOT / "tenuto" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == set(tenuto.__all__)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Leaner'"):
        tenuto.Leaner  # noqa: B018
