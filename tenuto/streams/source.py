"""What a stream is: named rows with offsets, read in chunks, resumed where they were left.

The invariant: every row of a source has one offset for ever, malformed rows included, so that
`<source>:<offset>` names it and a resumed read delivers exactly the rows after it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

from tenuto.errors import ConfigError, MalformedRow, StreamError
from tenuto.types import OnlineExample

Row = OnlineExample | MalformedRow
Start = int | Mapping[str, int]
Readable = BufferedReader | gzip.GzipFile

PREFIX = 64 * 1024
"""Bytes at the head of a file that its fingerprint covers."""

BROKEN = (EOFError, zlib.error, OSError)
"""What reading a damaged or truncated file may raise."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one source that follow one another as it is read.

    Args:
        source: the name of the source.
        offset: how many rows of the source are read before the first.
        rows: examples, and a MalformedRow in the place of each row that could not be read.
        raw: the text of the malformed rows, in their order; None where there is none.
        order: the own offset of each row, where a curriculum changed their order.

    >>> Chunk("a.jsonl", 8, [OnlineExample(input=[1.0], target=0)]).end
    9
    """

    source: str
    offset: int
    rows: list[Row]
    raw: list[bytes] | None = None
    order: list[int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def end(self) -> int:
        """The offset after the last row: where a later read goes on."""
        return self.offset + len(self.rows)

    @property
    def offsets(self) -> Sequence[int]:
        """The own offset of each row, which names it."""
        return range(self.offset, self.end) if self.order is None else self.order

    def after(self, rows: int) -> Chunk:
        """The same rows behind so many others of the source."""
        if not rows:
            return self
        order = None if self.order is None else [own + rows for own in self.order]
        return replace(self, offset=self.offset + rows, order=order)


class Stream(Protocol):
    """Where examples come in."""

    @property
    def name(self) -> str:
        """Names the source; the same name is the same source in a later run."""

    @property
    def rows(self) -> int | None:
        """How many rows there are, where that is cheap to know."""

    @property
    def parts(self) -> tuple[Stream, ...]:
        """The sources of a folder, in the order they are read; else the stream itself."""

    def fingerprint(self) -> str | None:
        """What the source begins with, for `continues`; None for a pipe, and for a folder (ask its parts)."""

    def continues(self, fingerprint: str | None) -> bool:
        """Whether this is the source of that fingerprint, perhaps longer by now. None fits every source."""

    def chunks(self, start: Start = 0, size: int = 1024) -> Iterator[Chunk]:
        """The rows from `start` on, at most `size` at a time.

        Args:
            start: the offset of the first row wanted, or offsets by the name of the source.
            size: rows per chunk; a pipe delivers fewer rather than wait.

        Raises:
            StreamError: the source is empty, cut, unreadable, or shorter than `start`. Every row
                before the fault has been delivered.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """What the parts of a row are called in a source; None: the format's own names.

    Args:
        labelled: whether a row without a target is malformed.
    """

    input: str | None = None
    target: str | None = None
    id: str | None = None
    domain: str | None = None
    labelled: bool = True


class Source(ABC):
    """A named source read from files, or from standard input where there is none.

    A format adds `rows` and `read(start, size)`.
    """

    def __init__(self, name: str, *files: Path) -> None:
        self.name = name
        self.files = files

    @property
    @abstractmethod
    def rows(self) -> int | None:
        """How many rows there are, where that is cheap to know."""

    @abstractmethod
    def read(self, start: int, size: int) -> Iterator[Chunk]:
        """The rows from `start` on, at most `size` at a time."""

    @property
    def parts(self) -> tuple[Stream, ...]:
        """Itself."""
        return (self,)

    @property
    def live(self) -> bool:
        """Whether the rows come through a pipe and may have to be waited for."""
        return not self.files or not all(stat.S_ISREG(_stat(file).st_mode) for file in self.files)

    def fingerprint(self) -> str | None:
        """`<n>:<sha256 of the first n bytes>`, joined by + where there are several files."""
        return None if self.live else "+".join(_digest(file, PREFIX) for file in self.files)

    def continues(self, fingerprint: str | None) -> bool:
        """Whether its files still begin with what the fingerprint covers. Raises StreamError."""
        if fingerprint is None:
            return True
        known = fingerprint.split("+")
        counts = [one.partition(":")[0] for one in known]
        if self.live or len(known) != len(self.files) or not all(map(str.isdecimal, counts)):
            return False
        return known == [_digest(file, int(n)) for file, n in zip(self.files, counts, strict=True)]

    def chunks(self, start: Start = 0, size: int = 1024) -> Iterator[Chunk]:
        """The rows from an offset on, at most `size` at a time. Raises StreamError, ConfigError."""
        offset = start if isinstance(start, int) else start.get(self.name, 0)
        if offset < 0 or size < 1:
            raise ConfigError(f"start is {offset} and size {size}; start is at least 0, size at least 1")
        return self.read(offset, size)

    def ended(self, start: int, rows: int) -> None:
        """Raises StreamError where a source of `rows` rows is empty or ends before `start`."""
        if not rows:
            raise StreamError(f"{self.name} is empty: it holds no row; check that it was written completely")
        if rows < start:
            raise StreamError(
                f"{self.name} has {rows} rows and cannot be read from row {start} on: it was cut or "
                "replaced; restore it, or give the new file a name of its own"
            )


@contextmanager
def reading(path: Path | None) -> Iterator[Readable]:
    """The bytes of a file, or of standard input for None; gunzipped where they are gzip.

    Raises:
        StreamError: it cannot be opened.
    """
    if path is None:
        if sys.stdin is None:
            raise StreamError("standard input is closed; pipe rows into it, or name a file")
        yield _unzipped(cast("BufferedReader", sys.stdin.buffer))
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error
    with file:
        yield _unzipped(file)


def _unzipped(file: BufferedReader) -> Readable:
    return gzip.GzipFile(fileobj=file) if file.peek(3).startswith(b"\x1f\x8b\x08") else file


def unreadable(path: Path, error: OSError) -> StreamError:
    """What to say of a file or folder that the system refuses to read."""
    match error:
        case PermissionError():
            return StreamError(
                f"{path} cannot be read: permission denied; allow it with `chmod a+rX` on it and on the "
                "folders above it, or run as its owner"
            )
        case FileNotFoundError():
            return StreamError(f"there is no file or folder at {path}; check the path")
    return StreamError(f"{path} cannot be read: {error.strerror or error}; check the file and its disk")


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise unreadable(file, error) from error


def _digest(file: Path, limit: int) -> str:
    try:
        with file.open("rb") as head:
            found = head.read(min(limit, PREFIX))
    except OSError as error:
        raise unreadable(file, error) from error
    return f"{len(found)}:{hashlib.sha256(found).hexdigest()}"
