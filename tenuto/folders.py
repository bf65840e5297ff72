"""Folders that appear whole or not at all: written beside their place, made durable, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def appearing(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to write files into, which becomes `target` at the end, and is gone if that is not reached.

    What a killed process left of an earlier try is removed first.

    Args:
        replace: remove what stands at `target`; else that is an OSError, and stays.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "made"
    >>> with appearing(place) as part:
    ...     _ = (part / "file").write_text("here")
    ...     place.exists()
    False
    >>> (place / "file").read_text()
    'here'
    """
    part = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        for path in [*part.iterdir(), part]:
            _sync(path)
        if replace:
            shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
