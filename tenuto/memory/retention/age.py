"""Age: a row learned more than N rows of the stream ago leaves.

Evicting old rows for being old is forgetting: this rule is for a stream whose past no longer counts, or whose
rows may only be kept for so long. The age of a row is the number of rows offered since, whatever became of
them; replaying a row does not make it younger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from tenuto.config import Limits
from tenuto.memory.keeping import Held


class Age:
    """No row older than so many rows.

    >>> held = Held({"number": np.array([5, 9, 7])}, capacity=3, seed=0)
    >>> Age(4).room(held, {"number": 10})
    ([0], True)
    """

    needs: frozenset[str] = frozenset()
    share, protecting = 0.0, False

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def room(self, held: Held, row: Mapping[str, Any]) -> tuple[Sequence[int], bool]:
        """Those that are too old by now."""
        old = np.flatnonzero(held.columns["number"] < row["number"] - self._rows)
        return [int(slot) for slot in old], True

    def protects(self, held: Held, slot: int) -> bool:
        """No."""
        return False


def rule(limit: Annotated[int, Limits(low=1, usual=(1000, 1_000_000), unit="rows")]) -> Age:
    """Rows leave when more than `limit` rows came after them."""
    return Age(limit)
