"""Where the shared data lies: `TENUTO_DATA`, else `../shared/data` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("TENUTO_DATA", Path(__file__).parents[2] / "shared" / "data"))


def folder(name: str) -> Path:
    """A folder of the shared data; the test skips where it is absent."""
    path = ROOT / name
    if not path.is_dir():
        pytest.skip(f"there is no shared data at {path}; set TENUTO_DATA to the folder that holds {name}/")
    return path
