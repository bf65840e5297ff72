"""A folder: each file a source of its own, read one after the other in the order of their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from tenuto.errors import StreamError
from tenuto.streams.source import Chunk, Start, Stream, unreadable


class FolderStream:
    """Several sources in turn.

    Args:
        name: the name of the folder; its sources keep names of their own.
        parts: the sources.
    """

    def __init__(self, name: str, parts: tuple[Stream, ...]) -> None:
        self.name = name
        self.parts = parts

    @property
    def rows(self) -> int | None:
        """The rows of all sources, where each knows its own."""
        counts = [part.rows for part in self.parts]
        return None if None in counts else sum(count for count in counts if count is not None)

    def fingerprint(self) -> None:
        """None: each of the parts has its own."""

    def continues(self, fingerprint: str | None) -> bool:
        """Only None fits: ask its parts."""
        return fingerprint is None

    def chunks(self, start: Start = 0, size: int = 1024) -> Iterator[Chunk]:
        """The rows of each source from its offset in `start` on.

        Raises:
            StreamError: as the sources do, or `start` is one offset for all of them.
        """
        if start == 0:
            start = {}
        if isinstance(start, int):
            raise StreamError(f"{self.name} is a folder; give the offset of each source rather than {start}")
        for part in self.parts:
            yield from part.chunks(start.get(part.name, 0), size)


def files(path: Path) -> list[Path]:
    """The files in a folder and below, hidden ones left out, in the order of their names.

    Raises:
        StreamError: a folder may not be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise unreadable(Path(error.filename), error) from error

    found = []
    for folder, below, names in os.walk(path, onerror=refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())
