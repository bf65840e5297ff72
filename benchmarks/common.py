"""What every benchmark does first: one thread, an allocator that keeps its memory, the data's folder."""

from __future__ import annotations

import os
from pathlib import Path

from tenuto.errors import ConfigError
from tenuto.studies.process import settle

__all__ = ["data", "settle"]


def data(name: str) -> Path:
    """A folder of the shared data: under TENUTO_DATA, else ../shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TENUTO_DATA", beside)) / name
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not there; point TENUTO_DATA at the folder that holds {name}/")
    return folder
