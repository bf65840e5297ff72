"""Names beside rows: each row holds a small number, and a plain table says which name that is.

The invariant: the table holds no more than 64 names and twice as many as there are rows. Where names come
without end, those that no row holds any more make room.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

SPARE = 64
"""Names kept beyond twice the rows before those of no row are let go."""


class Names:
    """Names by number, from 0; -1 is no name.

    >>> names = Names()
    >>> names.numbers(["ann", None, "bob", "ann"]).tolist()
    [0, -1, 1, 0]
    >>> names.table
    ['ann', 'bob']
    """

    def __init__(self, table: Iterable[str] = ()) -> None:
        self._take(table)

    def numbers(self, names: Sequence[str | None]) -> Tensor:
        """The number (n,) of each, new ones given the next."""
        found = []
        for name in names:
            if name is not None and name not in self._number:
                self._number[name] = len(self.table)
                self.table.append(name)
            found.append(-1 if name is None else self._number[name])
        return torch.tensor(found, dtype=torch.int32)

    def known(self, names: Iterable[str]) -> list[int]:
        """The numbers of those that have one."""
        return [self._number[name] for name in names if name in self._number]

    def pruned(self, column: Tensor) -> None:
        """Where there are too many, let go of those that no row of a column (n,) holds; number it anew."""
        if len(self.table) <= SPARE + 2 * len(column):
            return
        held = sorted(set(column.tolist()) - {-1})
        now = torch.full((len(self.table) + 1,), -1, dtype=torch.int32)
        now[torch.tensor(held, dtype=torch.int64)] = torch.arange(len(held), dtype=torch.int32)
        column.copy_(now[column.long()])
        self._take(self.table[number] for number in held)

    def _take(self, table: Iterable[str]) -> None:
        self.table = list(table)
        self._number = {name: number for number, name in enumerate(self.table)}
