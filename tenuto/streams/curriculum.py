"""A curriculum: the rows of a finite source in another order, easy ones first.

The order is a pure function of the difficulties of all its rows and of the pacing (`pacing.order`), fixed
before the first row is acknowledged: the journal holds the rows in it, and the fold knows of none.
A chunk's offset counts the rows that came before it in this order, so a row held back is never behind the
recorded offset; each row keeps its own offset as its name. The invariant: a read from any offset on
delivers exactly the rest of the same order, or the fingerprint, which covers the order, no longer fits.
A source that grows has another order, so it is refused; a pipe has no end to order by, and is refused too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tenuto.errors import ConfigError, MalformedRow, StreamError
from tenuto.streams.folder import FolderStream
from tenuto.streams.pacing import EASY, Pacing, order
from tenuto.streams.source import Chunk, Row, Start, Stream
from tenuto.types import OnlineExample

Difficulty = Callable[[OnlineExample], float | None]
"""How hard a row is, as a pure function of it; None: unknown."""


def by_level(example: OnlineExample) -> float | None:
    """The level the row came with."""
    return example.level


def paced(stream: Stream, pacing: Pacing | None = None, difficulty: Difficulty = by_level) -> Stream:
    """A file's rows in the order of a curriculum; of a folder each file's, one file after the other.

    Args:
        stream: from `open_stream`.
        pacing: how fast hard rows are let in, and how long one may wait.
        difficulty: how hard a row is. A row without keeps its place; so does a malformed one.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenuto.streams import open_stream
    >>> path = Path(tempfile.mkdtemp()) / "rows.jsonl"
    >>> path.write_text("".join(f'{{"input": [0], "target": 0, "level": {n}}}\\n' for n in (3, 1, 2)))
    120
    >>> [row.level for chunk in paced(open_stream(path)).chunks() for row in chunk.rows]
    [1.0, 2.0, 3.0]
    """
    pacing = Pacing() if pacing is None else pacing
    if stream.parts == (stream,):
        return Curriculum(stream, pacing, difficulty)
    return FolderStream(stream.name, tuple(paced(part, pacing, difficulty) for part in stream.parts))


class Curriculum:
    """One source in the order of a curriculum; `paced` makes it."""

    def __init__(self, stream: Stream, pacing: Pacing, difficulty: Difficulty) -> None:
        self.name = stream.name
        self._stream = stream
        self._pacing = pacing
        self._difficulty = difficulty

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(n,) the offsets of its rows in the order they come; reads all of them once.

        Raises:
            StreamError: it cannot be read to its end, is a pipe, or no row has a difficulty.
        """
        if self._stream.fingerprint() is None:
            raise StreamError(f"{self.name} is a pipe, which has no order before its end; write it to a file")
        rows = _rows(self._stream, 0, 1024)
        found = np.array([self._measured(number, row) for number, row, _ in rows], dtype=np.float64)
        if not (found > EASY).any():
            raise StreamError(
                f"no row of {self.name} has a level to order by; write a level on each, or measure a "
                "difficulty, or learn it without a curriculum"
            )
        return order(found, self._pacing)

    @property
    def rows(self) -> int:
        """How many rows there are. Raises StreamError."""
        return len(self.order)

    @property
    def parts(self) -> tuple[Stream, ...]:
        """Itself."""
        return (self,)

    def fingerprint(self) -> str:
        """`<that of the source>~<rows>:<sha256 of their order>`. Raises StreamError."""
        digest = hashlib.sha256(self.order.astype("<i8").tobytes()).hexdigest()
        return f"{self._stream.fingerprint()}~{len(self.order)}:{digest}"

    def continues(self, fingerprint: str | None) -> bool:
        """Whether this is the source of that fingerprint, in the same order.

        Raises:
            StreamError: it is the same source in another order, or has grown.
        """
        if fingerprint is None or fingerprint == self.fingerprint():
            return True
        if self._stream.continues(fingerprint.partition("~")[0]):
            raise StreamError(
                f"{self.name} was begun in another order: without a curriculum, with other settings of it, "
                "or before the file grew; go on as it was begun, or give new rows a file of their own"
            )
        return False

    def chunks(self, start: Start = 0, size: int = 1024) -> Iterator[Chunk]:
        """The rest of the order after the first `start` rows of it, at most `size` at a time.

        Raises:
            StreamError: as the source does, before the first row; or it changed in the meantime.
        """
        offset = start if isinstance(start, int) else start.get(self.name, 0)
        if offset < 0 or size < 1:
            raise ConfigError(f"start is {offset} and size {size}; start is at least 0, size at least 1")
        if offset > self.rows:
            raise StreamError(f"{self.name} has {self.rows} rows and cannot be read from row {offset} on")
        return self._chunks(offset, size)

    def _chunks(self, offset: int, size: int) -> Iterator[Chunk]:
        rest = self.order[offset:]
        if not len(rest):
            return
        came = np.zeros(self.rows, dtype=np.bool_)
        came[self.order[:offset]] = True
        source = _rows(self._stream, int(rest.min()), size)
        held: dict[int, tuple[Row, bytes | None]] = {}
        for at in range(0, len(rest), size):
            part = rest[at : at + size].tolist()
            for own in part:
                while own not in held:
                    found = next(source, None)
                    if found is None:
                        raise StreamError(f"{self.name} was cut while it was read; restore it")
                    number, row, text = found
                    if not came[number]:
                        held[number] = row, text
            taken = [held.pop(own) for own in part]
            raw = [text for _, text in taken if text is not None]
            yield Chunk(self.name, offset + at, [row for row, _ in taken], raw or None, part)

    def _measured(self, number: int, row: Row) -> float:
        found = None if isinstance(row, MalformedRow) else self._difficulty(row)
        if found is not None and found != found:
            raise StreamError(f"row {number} of {self.name} has difficulty {found}; give a number")
        return EASY if found is None else float(found)


def _rows(stream: Stream, start: int, size: int) -> Iterator[tuple[int, Row, bytes | None]]:
    """Each row from `start` on with its offset, and its text where it is malformed."""
    for chunk in stream.chunks(start, size):
        raw = iter(chunk.raw or ())
        for number, row in enumerate(chunk.rows, start=chunk.offset):
            yield number, row, next(raw, b"") if isinstance(row, MalformedRow) else None
