"""The last numbers of a run, and how unusual the next one is beside them.

    z = (x - median) / (1.4826 MAD)

which is a standard score where the numbers are Gaussian and stays put while fewer than half of them are not
(Hampel 1974). The invariant: the state is a tensor of fixed size and two counts.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import torch

from tenuto.types import State

GAUSSIAN = 1.4826
"""The standard deviation of a Gaussian over its median absolute deviation."""


class History:
    """The last `size` numbers.

    Args:
        size: how many are kept.
        least: the least spread it believes in, so that a run of equal numbers makes nothing unusual.

    >>> history = History(5, least=0.1)
    >>> for x in (1.0, 2.0, 3.0, 4.0, 100.0):
    ...     history.note(x)
    >>> history.median, round(history.z(3.0 + 1.4826), 3)
    (3.0, 1.0)
    """

    def __init__(self, size: int, *, least: float = 0.0) -> None:
        self.size, self._least = size, least
        self.restart()

    def __len__(self) -> int:
        return len(self._sorted)

    def restart(self) -> None:
        """Forget all of it."""
        self._ring = torch.zeros(self.size, dtype=torch.float64)
        self._next = 0
        self._sorted: list[float] = []

    def note(self, x: float) -> None:
        """Keep a finite number, in place of the oldest where the history is full."""
        if len(self._sorted) == self.size:
            del self._sorted[bisect_left(self._sorted, float(self._ring[self._next]))]
        insort(self._sorted, x)
        self._ring[self._next] = x
        self._next = (self._next + 1) % self.size

    @property
    def median(self) -> float:
        """The median; 0 of nothing."""
        return _middle(self._sorted) if self._sorted else 0.0

    @property
    def spread(self) -> float:
        """1.4826 MAD, at least the least; found by bisection, since those nearest the median lie together."""
        n = len(self._sorted)
        if not n:
            return self._least
        nearest = self._reach((n + 1) // 2) if n % 2 else (self._reach(n // 2) + self._reach(n // 2 + 1)) / 2
        return max(GAUSSIAN * nearest, self._least)

    def _reach(self, k: int) -> float:
        """How far from the median the k-th nearest number lies: k neighbours reach left and right alike."""
        ordered, centre = self._sorted, self.median
        starts = range(len(ordered) - k + 1)
        at = bisect_left(starts, True, key=lambda i: ordered[i + k - 1] - centre >= centre - ordered[i])
        return min(
            max(centre - ordered[i], ordered[i + k - 1] - centre)
            for i in (at - 1, at)
            if 0 <= i < len(starts)
        )

    def z(self, x: float) -> float:
        """How many spreads a number lies above the median; 0 where there is no spread yet."""
        spread = self.spread
        return (x - self.median) / spread if spread else 0.0

    def state(self) -> State:
        """The ring and where it stands."""
        return {"ring": self._ring, "next": self._next, "count": len(self._sorted)}

    def load_state(self, state: State) -> None:
        """Take a saved ring; it must be of this size."""
        ring: torch.Tensor = state["ring"]
        if ring.shape != (self.size,):
            raise ValueError(f"a history of shape {tuple(ring.shape)} is not one of {self.size} numbers")
        self._ring, self._next = ring.detach().clone(), int(state["next"])
        self._sorted = sorted(self._ring[: int(state["count"])].tolist())


def _middle(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
