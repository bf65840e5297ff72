"""Importance: the share of memory that the learner answered worst is never replaced.

A row's importance is its newest loss, refreshed whenever it is replayed. The insertion policy may replace
every other row, and other rules may still evict these. The largest losses are also those of wrong labels:
leave most of memory free, and guard against poison where rows are not trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from tenuto.config import Limits
from tenuto.memory.keeping import Held


class Importance:
    """The best-scored rows stay.

    >>> held = Held({"loss": np.array([0.1, 9.0, 0.2, 0.3])}, capacity=4, seed=0)
    >>> [Importance(0.25).protects(held, slot) for slot in range(4)]
    [False, True, False, False]
    """

    needs: frozenset[str] = frozenset({"losses", "fresh losses"})
    protecting = True

    def __init__(self, share: float) -> None:
        self.share = share

    def room(self, held: Held, row: Mapping[str, Any]) -> tuple[Sequence[int], bool]:
        """Nothing goes."""
        return [], True

    def protects(self, held: Held, slot: int) -> bool:
        """Is its loss among the largest? Of equal ones the first in memory count."""
        loss = np.nan_to_num(held.columns["loss"], nan=-np.inf)
        before = (loss > loss[slot]).sum() + (loss[:slot] == loss[slot]).sum()
        return bool(before < int(self.share * (held.capacity or 0)))


def rule(
    limit: Annotated[float, Limits(low=1e-6, high=0.9, usual=(0.05, 0.5), unit="rows / rows")],
) -> Importance:
    """The `limit` of memory of the largest losses is not replaced."""
    return Importance(limit)
