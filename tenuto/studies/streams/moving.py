"""A stream that moves: batches in their order, and where its world is known to have changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

Rows = tuple[Tensor, Tensor]
"""Inputs (n, ...) and targets (n,) int64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moving:
    """A stream that moves.

    Args:
        batches: what is answered, and then learned, one after the other.
        classes: how many there are: the labels are 0, 1, ...
        changes: the rows at which it moved at once; () where it moves all the time, or nobody knows.
        test: rows to ask in the end; None: there are none.
    """

    batches: list[Rows]
    classes: int
    changes: tuple[int, ...] = ()
    test: Rows | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(len(targets) for _, targets in self.batches)

    def head(self, rows: int | None) -> Moving:
        """Its first rows, in whole batches; None: all of them."""
        if rows is None:
            return self
        kept = [*_first(self.batches, rows)]
        size = sum(len(targets) for _, targets in kept)
        changes = tuple(change for change in self.changes if change < size)
        return Moving(batches=kept, classes=self.classes, changes=changes, test=self.test)


def _first(batches: Iterable[Rows], rows: int) -> Iterator[Rows]:
    seen = 0
    for inputs, targets in batches:
        seen += len(targets)
        if seen > rows:
            return
        yield inputs, targets
