"""A baseline window and, after it, a current one that slides on, over d streams side by side.

The chance of any false alarm within `horizon` values is at most `rate`: the current window is tested at every
`every`-th value in each of the d streams, at rate / (d x tests), tests being those that fit behind the
baseline (Bonferroni, which holds however the tests depend on each other, and they do: on the one baseline and
on the values that windows share). After a drift all begins anew, with a baseline of values to come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from msgspec import Struct

from tenuto.drift.shared.histogram import EXPECTED, Bins, Divergence, divergence, divide
from tenuto.errors import ConfigError, StateError
from tenuto.types import State


class Found(Struct, frozen=True):
    """A drift: in which stream, by how much, and did its values move up among the bins (None: of one bin)?"""

    column: int
    divergence: Divergence
    rises: bool | None


class Plan(Struct, frozen=True, kw_only=True):
    """How windows are compared. Raises ConfigError where there are too few values for the bins.

    Args:
        rate, horizon: the chance of a false alarm within so many values.
        bins: of each histogram.
        baseline, window: values in the older and in the newer window.
        every: values between two tests.
        before: values that go by before the baseline.
    """

    rate: float
    horizon: int
    bins: int
    baseline: int
    window: int
    every: int
    before: int = 0

    def __post_init__(self) -> None:
        least = EXPECTED * self.bins
        for name, size in (("baseline", self.baseline), ("window", self.window)):
            if size < least:
                raise ConfigError(f"{name} is {size}; with {self.bins} bins it must be at least {least}")
        if self.every > self.window:
            raise ConfigError(f"every is {self.every}; it must be at most window, {self.window}")

    @property
    def chance(self) -> float:
        """The chance of a false alarm at each test."""
        slides = self.horizon - self.before - self.baseline - self.window
        return self.rate / (max(0, slides // self.every) + 1)


class Windows:
    """The windows of d streams, as histograms.

    >>> windows = Windows(Plan(rate=0.01, horizon=1000, bins=2, baseline=100, window=20, every=5))
    >>> found = [windows.add([float(i % 7), float(i % 2 or i > 200)]) for i in range(240)]
    >>> [(i, one.column) for i, one in enumerate(found) if one]
    [(224, 1)]
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._reset()

    def _reset(self) -> None:
        self._gathered: list[list[float]] = []
        self._bins: list[Bins] = []
        self._counts: list[list[int]] = []
        self._recent: deque[list[int]] = deque()
        self._n = 0

    def add(self, values: Sequence[float]) -> Found | None:
        """The next value of each stream; what was found where a test is due."""
        if not self._bins:
            self._gathered.append(list(values))
            if len(self._gathered) == self._plan.baseline:
                columns = zip(*self._gathered, strict=True)
                self._bins = [divide(column, self._plan.bins, self._plan.window) for column in columns]
                self._counts = [[0] * len(bins.counts) for bins in self._bins]
                self._gathered = []
            return None
        self._n += 1
        self._recent.append([bins.place(value) for bins, value in zip(self._bins, values, strict=True)])
        self._count(self._recent[-1], 1)
        if len(self._recent) > self._plan.window:
            self._count(self._recent.popleft(), -1)
        due = self._n >= self._plan.window and (self._n - self._plan.window) % self._plan.every == 0
        return self._compare() if due else None

    def _count(self, places: list[int], by: int) -> None:
        for counts, place in zip(self._counts, places, strict=True):
            counts[place] += by

    def _compare(self) -> Found | None:
        chance = self._plan.chance / len(self._bins)
        found = [
            divergence(bins.counts, counts, chance)
            for bins, counts in zip(self._bins, self._counts, strict=True)
        ]
        column = min(range(len(found)), key=lambda i: found[i].p_value)
        if found[column].p_value > chance:
            return None
        older, newer = self._bins[column].counts, self._counts[column]
        rises = None if max(older) == sum(older) else _place(newer) > _place(older)
        self._reset()
        return Found(column, found[column], rises)

    def state(self) -> State:
        """The baseline as it is gathered, then its bins, and those of the values in the current window."""
        return {
            "gathered": torch.tensor(self._gathered, dtype=torch.float64),
            "edges": [list(bins.edges) for bins in self._bins],
            "baseline": [list(bins.counts) for bins in self._bins],
            "recent": torch.tensor(list(self._recent), dtype=torch.int64),
            "n": self._n,
        }

    def load_state(self, state: State) -> None:
        """Take saved windows. Raises StateError where they are of another size."""
        gathered, n = state["gathered"].tolist(), state["n"]
        bins = [Bins(list(e), list(c)) for e, c in zip(state["edges"], state["baseline"], strict=True)]
        recent = deque(state["recent"].tolist())
        held = [sum(one.counts) for one in bins]
        if len(recent) != min(n, self._plan.window) or any(m != self._plan.baseline for m in held):
            raise StateError(
                f"windows of {held} values, {len(recent)} in the current one, were saved; these take "
                f"{self._plan.baseline} and {self._plan.window}"
            )
        self._gathered, self._bins, self._recent, self._n = gathered, bins, recent, n
        self._counts = [[0] * len(one.counts) for one in bins]
        for places in recent:
            self._count(places, 1)


def _place(counts: Sequence[int]) -> float:
    """The mean place of counted values among the bins."""
    return sum(place * count for place, count in enumerate(counts)) / sum(counts)
