"""Priorities to draw in proportion to: a two-level sum over blocks of rows.

    P(i) = p_i / sum p,   i = the first row whose running sum exceeds u * sum p

A write touches the rows alone and notes which; the next draw adds up the blocks written to, then looks among
the blocks' running sums and within one block per draw: N / 32 + 32 numbers, not N. The largest and the least
are found again only when the row that was known to hold them is overwritten.

The invariant: a sum is added up anew from its rows, never corrected by a difference, so all of this is a pure
function of the priorities. No rounding drifts in, and saved priorities resume bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tenuto.errors import ConfigError

WIDTH = 32
"""Rows in a block."""
HIGHEST = 1e290
"""The largest priority there may be: the sum of 10^18 of them is still a number."""
_SHIFT = 5
_WRITES = 64
"""Writes noted one by one between two draws; after more of them every block is summed again."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Sums:
    """Priorities of at least 0 of rows in slots, their total, their largest and their least.

    >>> sums = Sums()
    >>> sums.write(np.arange(4), np.array([1.0, 0.0, 2.0, 1.0]))
    >>> sums.total, sums.largest, sums.least
    (4.0, 2.0, 0.0)
    >>> sums.find(np.array([0.0, 0.25, 0.7, 0.99])).tolist()
    [0, 2, 2, 3]
    """

    def __init__(self) -> None:
        self.count = 0
        self._rows: Floats = np.zeros(WIDTH)
        self._written: list[Ints | slice] = []
        self._high = self._low = -1
        self._forget()

    def __getitem__(self, slots: Ints) -> Floats:
        return self._rows[slots]

    @property
    def priorities(self) -> Floats:
        """The priority of each row, (count,); not to be written to."""
        return self._rows[: self.count]

    @property
    def total(self) -> float:
        """Their sum."""
        return float(self._running()[-1])

    @property
    def largest(self) -> float:
        """The largest of them; 0 where there are none."""
        if not self.count:
            return 0.0
        if self._high < 0:
            self._high = int(self._rows[: self.count].argmax())
        return float(self._rows[self._high])

    @property
    def least(self) -> float:
        """The least of them; 0 where there are none."""
        if not self.count:
            return 0.0
        if self._low < 0:
            self._low = int(self._rows[: self.count].argmin())
        return float(self._rows[self._low])

    def write(self, slots: Ints | slice, values: Floats | float) -> None:
        """Set the priorities (k,), or one for all, of slots (k,), or of a range of them, which may be new.

        Raises:
            ConfigError: a priority is negative, no number, or above HIGHEST.
        """
        low, high = _range(values)
        top = slots.stop if isinstance(slots, slice) else int(np.maximum.reduce(slots)) + 1
        if top > self.count:
            self._grow(top, gap=not isinstance(slots, slice) or slots.start > self.count)
        self._set(slots, values, low, high)

    def update(self, slots: Ints, values: Floats) -> None:
        """Set the priorities (k,) of slots (k,) that are there; of a slot named twice the last one stays.

        Raises:
            ConfigError: a priority is negative, no number, or above HIGHEST.
            IndexError: a slot holds no row.
        """
        self._set(slots, values, *_range(values))

    def _set(self, slots: Ints | slice, values: Floats | float, low: float, high: float) -> None:
        rows, above, below = self._rows, self._high, self._low
        largest, least = (rows[above] if above >= 0 else 0.0), (rows[below] if below >= 0 else 0.0)
        rows[: self.count][slots] = values
        self._written.append(slots)
        if len(self._written) > _WRITES:
            self._written = [slice(0, len(rows))]
        if above >= 0:
            self._high = self._holder(above, largest, high, slots, values, better=high >= largest)
        if below >= 0:
            self._low = self._holder(below, least, low, slots, values, better=low <= least)

    def find(self, u: Floats) -> Ints:
        """The slots (n,) that draws (n,) in [0, 1) fall on; all rows alike where every priority is 0."""
        ends = self._running()
        if not ends[-1] > 0:
            return (u * self.count).astype(np.int64)
        wanted = u * ends[-1]
        blocks = ends.searchsorted(wanted, side="right") - 1
        np.minimum(blocks, len(ends) - 2, out=blocks)
        wanted -= ends[blocks]
        within = self._blocks.take(blocks, 0).cumsum(1)
        within[:, -1] = np.inf
        slots = (blocks << _SHIFT) + (within > wanted[:, None]).argmax(1)
        if not self._rows[slots].all():
            slots = self._off_the_end(slots)
        return np.asarray(slots, dtype=np.int64)

    def load(self, priorities: Floats) -> None:
        """Take saved priorities in place of these.

        Raises:
            ConfigError: one of them cannot be a priority.
        """
        self.count = 0
        self._rows = np.zeros(WIDTH)
        self._forget()
        if len(priorities):
            self.write(slice(0, len(priorities)), priorities)

    def _running(self) -> Floats:
        """0 and the running sums of the blocks, after the blocks that were written to are summed again."""
        written = self._written
        if not written:
            return self._ends
        if sum(_length(slots) for slots in written) >= len(self._sums):
            np.add.reduce(self._blocks, axis=1, out=self._sums)
        else:
            parts = [np.arange(s.start, s.stop) if isinstance(s, slice) else s for s in written]
            blocks = (parts[0] if len(parts) == 1 else np.concatenate(parts)) >> _SHIFT
            self._sums[blocks] = np.add.reduce(self._blocks.take(blocks, 0), axis=1)
        written.clear()
        np.add.accumulate(self._sums, out=self._ends[1:])
        return self._ends

    def _holder(
        self,
        slot: int,
        held: float,
        best: float,
        slots: Ints | slice,
        values: Floats | float,
        *,
        better: bool,
    ) -> int:
        """The slot that holds the extreme after a write; -1 where it must be looked for."""
        if not better:
            return slot if self._rows[slot] == held else -1
        at = 0 if isinstance(values, float) else int((values == best).argmax())
        found = slots.start + at if isinstance(slots, slice) else int(slots[at])
        return found if self._rows[found] == best else -1

    def _off_the_end(self, slots: Ints) -> Ints:
        """A draw that rounding carried past the end of its block is of the last row there that counts."""
        for i in np.flatnonzero(self._rows[slots] == 0):
            slots[i] = np.flatnonzero(self._rows[: slots[i]])[-1]
        return slots

    def _grow(self, top: int, *, gap: bool) -> None:
        """Rows up to `top`, of priority 0 until they are written."""
        if top > len(self._rows):
            rows = np.zeros(-(-max(top, 2 * len(self._rows)) // WIDTH) * WIDTH)
            rows[: self.count] = self._rows[: self.count]
            low, high, self._rows = self._low, self._high, rows
            self._forget()
            self._low, self._high = low, high
        if gap or not self.count:
            self._low = -1
        self.count = top

    def _forget(self) -> None:
        """Nothing is known of the rows but themselves."""
        self._blocks = self._rows.reshape(-1, WIDTH)
        self._sums: Floats = np.zeros(len(self._blocks))
        self._ends: Floats = np.zeros(len(self._blocks) + 1)
        self._written = [slice(0, len(self._rows))]
        self._high = self._low = -1


def _range(values: Floats | float) -> tuple[float, float]:
    """The least and the largest of priorities that may be ones."""
    if isinstance(values, float):
        low = high = values
    else:
        low, high = np.minimum.reduce(values), np.maximum.reduce(values)
    if not 0 <= low <= high <= HIGHEST:
        raise ConfigError(f"priorities lie between {low} and {high}; give numbers from 0 to {HIGHEST}")
    return low, high


def _length(slots: Ints | slice) -> int:
    return slots.stop - slots.start if isinstance(slots, slice) else len(slots)
