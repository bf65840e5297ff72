"""Sources that lie in memory as arrays: one row per first index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from tenuto.streams.source import Chunk, Source
from tenuto.types import OnlineExample


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrays:
    """Rows side by side.

    Args:
        inputs: (n, *shape).
        targets: (n,) labels or numbers, or (n, k); None without.
        ids: n names, or None.
        domains: n context names, or None.
    """

    inputs: np.ndarray
    targets: Sequence[Any] | np.ndarray | None = None
    ids: Sequence[str] | None = None
    domains: Sequence[str] | None = None


class ArrayStream(Source):
    """A source of arrays, loaded when rows are first asked for.

    Args:
        name: the name of the source.
        files: the files it lies in.
        load: reads them, or raises StreamError.
    """

    def __init__(self, name: str, files: Sequence[Path], load: Callable[[], Arrays]) -> None:
        super().__init__(name, *files)
        self._load = load

    @cached_property
    def arrays(self) -> Arrays:
        """The arrays, loaded once. Raises StreamError."""
        return self._load()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.arrays.inputs)

    def read(self, start: int, size: int) -> Iterator[Chunk]:
        """The rows from `start` on, `size` at a time."""
        arrays, name = self.arrays, self.name
        self.ended(start, self.rows)
        for offset in range(start, self.rows, size):
            part = slice(offset, offset + size)
            targets, ids, domains = (
                repeat(None) if column is None else column[part]
                for column in (arrays.targets, arrays.ids, arrays.domains)
            )
            yield Chunk(
                name,
                offset,
                [
                    OnlineExample(input=input, target=target, id=id, domain=domain, source=name)
                    for input, target, id, domain in zip(
                        arrays.inputs[part], targets, ids, domains, strict=False
                    )
                ],
            )
