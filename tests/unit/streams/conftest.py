"""What the tests of streams share: reading a stream to its end, and comparing rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenuto.errors import MalformedRow
from tenuto.streams import Stream
from tenuto.streams.encoding import encode


@pytest.fixture(scope="session")
def read() -> Callable[..., list[Any]]:
    """All rows of a stream from `start` on; checks that chunks follow one another without a gap."""

    def rows(stream: Stream, start: Any = 0, size: int = 1024) -> list[Any]:
        found: list[Any] = []
        ends: dict[str, int] = {}
        for chunk in stream.chunks(start, size):
            first = start.get(chunk.source, 0) if isinstance(start, dict) else start
            assert chunk.offset == ends.get(chunk.source, first)
            assert 1 <= len(chunk) <= size
            malformed = [row for row in chunk.rows if isinstance(row, MalformedRow)]
            assert len(malformed) == len(chunk.raw or [])
            ends[chunk.source] = chunk.end
            found += chunk.rows
        return found

    return rows


@pytest.fixture(scope="session")
def sign() -> Callable[..., Any]:
    """A row as something that compares: its content, names and source, or its fault."""

    def signature(row: Any) -> Any:
        if isinstance(row, MalformedRow):
            return str(row)
        return encode(row), row.id, row.source, row.principal

    return signature


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the shared data; skips where there is none."""
    path = Path(os.environ.get("TENUTO_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not path.exists():
        pytest.skip(f"there is no shared data at {path}; set TENUTO_DATA")
    return path
