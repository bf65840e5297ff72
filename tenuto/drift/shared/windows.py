"""A baseline window and, after it, one current window after the other, over d streams side by side.

The chance of any false alarm within `horizon` values is at most `rate`: each current window is tested in
each of the d streams at rate / (d x tests), tests being the windows that fit behind the baseline
(Bonferroni, which holds however the tests depend on each other, and they do: on the one baseline). Windows
do not overlap. After a drift everything begins anew, with a baseline of values to come.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from msgspec import Struct

from tenuto.drift.shared.histogram import EXPECTED, Bins, Divergence, divergence, divide
from tenuto.errors import ConfigError, StateError
from tenuto.types import State


class Found(Struct, frozen=True):
    """A drift: in which stream, and by how much."""

    column: int
    divergence: Divergence


class Plan(Struct, frozen=True, kw_only=True):
    """How windows are compared. Raises ConfigError where there are too few values for the bins.

    Args:
        rate, horizon: the chance of a false alarm within so many values.
        bins: of each histogram.
        baseline, window: values in the older and in each newer window.
        before: values that go by before the baseline.
    """

    rate: float
    horizon: int
    bins: int
    baseline: int
    window: int
    before: int = 0

    def __post_init__(self) -> None:
        least = EXPECTED * self.bins
        for name, size in (("baseline", self.baseline), ("window", self.window)):
            if size < least:
                raise ConfigError(f"{name} is {size}; with {self.bins} bins it must be at least {least}")

    @property
    def chance(self) -> float:
        """The chance of a false alarm at each current window."""
        return self.rate / max(1, (self.horizon - self.before - self.baseline) // self.window)


class Windows:
    """The windows of d streams, as histograms.

    >>> windows = Windows(Plan(rate=0.01, horizon=10_000, bins=2, baseline=100, window=20))
    >>> found = [windows.add([float(i % 7), float(i % 2 or i > 200)]) for i in range(240)]
    >>> [(i, one.column) for i, one in enumerate(found) if one]
    [(239, 1)]
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._reset()

    def _reset(self) -> None:
        self._gathered: list[list[float]] = []
        self._bins: list[Bins] = []
        self._counts: list[list[int]] = []
        self._n = 0

    def add(self, values: Sequence[float]) -> Found | None:
        """The next value of each stream; what was found where that closes a window."""
        if not self._bins:
            self._gathered.append(list(values))
            if len(self._gathered) == self._plan.baseline:
                columns = zip(*self._gathered, strict=True)
                self._bins = [divide(column, self._plan.bins, self._plan.window) for column in columns]
                self._gathered = []
                self._open()
            return None
        for bins, counts, value in zip(self._bins, self._counts, values, strict=True):
            counts[bins.place(value)] += 1
        self._n += 1
        return self._compare() if self._n == self._plan.window else None

    def _open(self) -> None:
        self._counts = [[0] * len(bins.counts) for bins in self._bins]
        self._n = 0

    def _compare(self) -> Found | None:
        chance = self._plan.chance / len(self._bins)
        found = [
            divergence(bins.counts, counts, chance)
            for bins, counts in zip(self._bins, self._counts, strict=True)
        ]
        column = min(range(len(found)), key=lambda i: found[i].p_value)
        if found[column].p_value > chance:
            self._open()
            return None
        self._reset()
        return Found(column, found[column])

    def state(self) -> State:
        """The baseline as it is gathered, then its bins, and the counts of the current window."""
        return {
            "gathered": torch.tensor(self._gathered, dtype=torch.float64),
            "edges": [list(bins.edges) for bins in self._bins],
            "baseline": [list(bins.counts) for bins in self._bins],
            "counts": [list(counts) for counts in self._counts],
            "n": self._n,
        }

    def load_state(self, state: State) -> None:
        """Take saved windows. Raises StateError where they are of another size."""
        gathered, n = state["gathered"].tolist(), state["n"]
        bins = [Bins(list(e), list(c)) for e, c in zip(state["edges"], state["baseline"], strict=True)]
        counts = [list(one) for one in state["counts"]]
        held = [sum(one.counts) for one in bins]
        if n >= self._plan.window or any(m != self._plan.baseline for m in held):
            raise StateError(
                f"windows of {held} values, {n} in the current one, were saved; these take "
                f"{self._plan.baseline} and {self._plan.window}"
            )
        self._gathered, self._bins, self._counts, self._n = gathered, bins, counts, n
