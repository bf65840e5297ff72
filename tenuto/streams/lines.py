"""Sources of one row per line: plain or gzipped files, pipes and standard input.

Blank lines have no offset: the offset of a row is the number of rows before it.
A line that cannot be read stands in its place as a MalformedRow. A source that ends inside a row is a
StreamError at that row instead: a later read goes on there, and finds the row once it is complete.
"""

from __future__ import annotations

import gzip
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tenuto.errors import MalformedRow, StreamError
from tenuto.streams.source import BROKEN, Chunk, Readable, Row, Source, reading
from tenuto.types import OnlineExample

BLOCK = 1 << 16
LONGEST = 1 << 26
"""Bytes a line may have."""
COUNTED = 1 << 26
"""Bytes up to which a plain file is read once more to count its rows."""

Parse = Callable[[bytes], OnlineExample]
"""Reads one line, or raises MalformedRow with the fault and its remedy."""


class Torn(MalformedRow):
    """The text of a row ends too early: a broken row, or the place where a file was cut."""


class Dialect(Protocol):
    """How lines become examples."""

    @property
    def header(self) -> bool:
        """Whether the first line names the columns."""

    def parser(self, source: str, header: bytes) -> Parse:
        """A parser for the lines after `header`, which is empty in a dialect without one."""


class LineStream(Source):
    """A source of one row per line.

    Args:
        name: the name of the source.
        path: the file or named pipe; None for standard input.
        dialect: how lines become examples.
        pulse: seconds after which a silent pipe yields a chunk without rows; None: it waits. What is
            gzipped always waits.
    """

    def __init__(self, name: str, path: Path | None, dialect: Dialect, pulse: float | None = None) -> None:
        super().__init__(name, *([path] if path else []))
        self.path = path
        self.dialect = dialect
        self._pulse = pulse

    @property
    def rows(self) -> int | None:
        """Counted by reading the file, where it is plain and of at most 64 MiB."""
        if self.path is None or self.live or self.path.stat().st_size > COUNTED:
            return None
        with reading(self.path) as file:
            if isinstance(file, gzip.GzipFile):
                return None
            count = sum(not _blank(line) for lines, _ in self._blocks(file) for line in lines)
        return max(0, count - self.dialect.header)

    def read(self, start: int, size: int) -> Iterator[Chunk]:
        """The rows from `start` on, at most `size` at a time; those before a fault are delivered first."""
        rows: list[Row] = []
        raw: list[bytes] = []
        fault: StreamError | None = None
        try:
            for row, line in self._rows(start):
                if row is not None:
                    rows.append(row)
                    if isinstance(row, MalformedRow):
                        raw.append(line)
                if rows and (row is None or len(rows) == size):
                    yield Chunk(self.name, start, rows, raw or None)
                    start, rows, raw = start + len(rows), [], []
                elif row is None and self._pulse is not None:
                    yield Chunk(self.name, start, [])
        except StreamError as error:
            fault = error
        if rows:
            yield Chunk(self.name, start, rows, raw or None)
        if fault is not None:
            raise fault

    def _rows(self, start: int) -> Iterator[tuple[Row | None, bytes]]:
        """Each row from `start` on with its text; None where a pipe has nothing more for now."""
        header = self.dialect.header
        parse = None if header else self.dialect.parser(self.name, b"")
        count = 0
        try:
            for number, line, ended in self._lines():
                if not line:
                    yield None, line
                elif parse is None:
                    parse = self.dialect.parser(self.name, line)
                else:
                    if count >= start:
                        yield self._row(parse, line, number, count, ended), line
                    count += 1
        except BROKEN as error:
            raise StreamError(
                f"{self.name} is cut or damaged at row {count} ({error}); the rows before it were read: "
                "fetch the file again, and reading goes on there"
            ) from error
        self.ended(start, count)

    def _row(self, parse: Parse, line: bytes, number: int, count: int, ended: bool) -> Row:
        try:
            return parse(line)
        except MalformedRow as fault:
            if isinstance(fault, Torn) and not ended:
                raise StreamError(
                    f"{self.name} is cut at row {count}, line {number} ({fault}); the rows before it were "
                    "read: complete the line, or end it with a line break to have it set aside"
                ) from fault
            return MalformedRow(f"{self.name} line {number} (row {count}): {fault}", fault.row)

    def _lines(self) -> Iterator[tuple[int, bytes, bool]]:
        """(line number from 1, text, whether a line break ends it); an empty text where a pipe pauses."""
        number = 0
        live = self.live
        with reading(self.path) as file:
            for lines, ended in self._blocks(file):
                for line in lines:
                    number += 1
                    if not _blank(line):
                        yield number, line, ended
                if live:
                    yield number, b"", True

    def _blocks(self, file: Readable) -> Iterator[tuple[list[bytes], bool]]:
        """Lines as they arrive, and whether a line break ends them; only the very last may have none."""
        parts: list[bytes] = []
        first = True
        while block := file.read1(BLOCK):
            if first:
                block, first = self._text(block), False
            head, found, tail = block.rpartition(b"\n")
            if found:
                yield b"".join([*parts, head]).split(b"\n"), True
                parts = []
            parts.append(tail)
            if sum(map(len, parts)) > LONGEST:
                raise StreamError(f"{self.name} holds a line of more than 64 MiB; is it one row per line?")
            while self._silent(file):
                yield [], True
        if last := b"".join(parts):
            yield [last], False

    def _silent(self, file: Readable) -> bool:
        """Does nothing come through a pipe for the length of a pulse? Its buffer is empty by then."""
        if self._pulse is None or not self.live or isinstance(file, gzip.GzipFile):
            return False
        return not select.select([file], [], [], self._pulse)[0]

    def _text(self, block: bytes) -> bytes:
        if block.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise StreamError(f"{self.name} is UTF-16 text; convert it, as with `iconv -f UTF-16 -t UTF-8`")
        return block.removeprefix(b"\xef\xbb\xbf")


def _blank(line: bytes) -> bool:
    return not line or line.isspace()
